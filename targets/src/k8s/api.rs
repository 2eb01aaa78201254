//! The API server, as far as we need it: objects of one namespace, applied from our side; reviews of rights; what it offers.

use bytes::Bytes;
use engine::{
    failure::{Failure, StepError},
    secrets::Secret,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    access::Reach,
    names::MANAGER,
    objects::{Id, Kind},
};
use crate::{
    codes,
    http::{Body, CallError, Exchange, HeaderName, Http, Method, Node, NodeUrl, Request, Said, Who, header},
};

const WHO: &str = "The Kubernetes API server";
/// So many objects are asked for at once.
const PAGE: &str = "500";
/// More objects of one kind than this are not ours to count.
const MOST_LISTED: usize = 5_000;
/// Instead of objects, what is known of them: names, labels, annotations.
const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
const METADATA_LIST: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

/// One namespace of a cluster.
pub(super) struct Api {
    node: Node,
    pub(super) namespace: String,
    pub(super) identity: String,
}

/// What came of applying.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Applied {
    /// The object, as it is now.
    Done(Value),
    /// Nothing was changed: other managers hold these fields.
    Conflicts(Vec<Conflict>),
}

/// A field that somebody else manages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Conflict {
    pub(super) field: String,
    pub(super) manager: String,
}

/// How an object is applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct How {
    /// Fields of other managers become ours.
    pub(super) force: bool,
    /// Nothing changes; the answer is what would be.
    pub(super) dry: bool,
}

#[derive(Deserialize)]
struct Listed {
    #[serde(default)]
    metadata: ListedMetadata,
    /// Null where a server has none, of some lists.
    #[serde(default)]
    items: Option<Vec<Value>>,
}

#[derive(Default, Deserialize)]
struct ListedMetadata {
    #[serde(default, rename = "continue")]
    more: Option<String>,
}

impl Api {
    pub(super) fn new(http: &Http, reach: Reach, namespace: &str) -> Result<Self, Failure> {
        let url = NodeUrl::parse(&reach.url, &http.settings().blocked)?;
        let tls = &reach.tls;
        // Clients are dear: one of its own only where the certificates are.
        let own = tls.trust_all || tls.authorities.is_some() || tls.identity.is_some();
        let node =
            if own { http.with_tls(tls)?.platform(WHO, url, reach.auth) } else { http.platform(WHO, url, reach.auth) };
        Ok(Self { node, namespace: namespace.to_owned(), identity: reach.identity })
    }

    /// A platform's words, made harmless.
    pub(super) fn clean(&self, text: &str) -> String {
        self.node.scrubber().clean(text, 300)
    }

    /// All texts in a value, made harmless.
    pub(super) fn clean_value(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.clean(text)),
            Value::Array(items) => items.iter().map(|item| self.clean_value(item)).collect(),
            Value::Object(map) => map.iter().map(|(key, item)| (self.clean(key), self.clean_value(item))).collect(),
            other => other.clone(),
        }
    }

    /// The object; None if there is none of this name.
    pub(super) async fn get(&self, id: &Id) -> Result<Option<Value>, CallError> {
        self.get_as(id, "application/json").await
    }

    /// What is known of the object: never what a Secret holds.
    pub(super) async fn metadata(&self, id: &Id) -> Result<Option<Value>, CallError> {
        self.get_as(id, METADATA).await
    }

    async fn get_as(&self, id: &Id, accept: &str) -> Result<Option<Value>, CallError> {
        let doing = format!("reading {id}");
        let path = id.path(&self.namespace);
        let path = refs(&path);
        let headers = [accepting(accept)];
        let request = Request { headers: &headers, ..Request::new(Method::GET, &path, &doing) };
        let answer = self.node.exchange(request).await?;
        if answer.status == 404 && is_status(&answer) {
            return Ok(None);
        }
        self.read(answer, &doing).map(Some)
    }

    /// All objects of a kind that a label selects.
    pub(super) async fn list(&self, kind: &Kind, selector: &str) -> Result<Vec<Value>, CallError> {
        self.list_as(kind, selector, "application/json").await
    }

    /// What is known of them.
    pub(super) async fn list_metadata(&self, kind: &Kind, selector: &str) -> Result<Vec<Value>, CallError> {
        self.list_as(kind, selector, METADATA_LIST).await
    }

    async fn list_as(&self, kind: &Kind, selector: &str, accept: &str) -> Result<Vec<Value>, CallError> {
        let doing = format!("listing {}", kind.plural);
        let path = kind.path(&self.namespace);
        let path = refs(&path);
        let headers = [accepting(accept)];
        let (mut all, mut more) = (Vec::new(), String::new());
        loop {
            let query = [("labelSelector", selector), ("limit", PAGE), ("continue", more.as_str())];
            let query = if more.is_empty() { &query[..2] } else { &query[..] };
            let request = Request { headers: &headers, query, ..Request::new(Method::GET, &path, &doing) };
            let answer = self.node.exchange(request).await?;
            let page: Listed = serde_json::from_value(self.read(answer, &doing)?).map_err(|_| unexpected(&doing))?;
            all.extend(page.items.unwrap_or_default());
            match page.metadata.more.filter(|more| !more.is_empty()) {
                Some(next) if all.len() < MOST_LISTED => more = next,
                _ => return Ok(all),
            }
        }
    }

    /// Server-side apply under our own manager.
    pub(super) async fn apply(&self, manifest: &Value, how: How) -> Result<Applied, CallError> {
        let Some(id) = Id::of(manifest) else { return Err(unexpected("applying an object")) };
        let doing = if how.dry { format!("trying {id}") } else { format!("applying {id}") };
        let path = id.path(&self.namespace);
        let path = refs(&path);
        let force = if how.force { "true" } else { "false" };
        let query = [("fieldManager", MANAGER), ("force", force), ("dryRun", "All")];
        let request = Request {
            query: if how.dry { &query } else { &query[..2] },
            body: Body::Bytes("application/apply-patch+yaml", Bytes::from(manifest.to_string())),
            ..Request::new(Method::PATCH, &path, &doing)
        };
        let answer = self.node.exchange(request).await?;
        let conflicts = if answer.status == 409 { self.conflicts(&answer) } else { Vec::new() };
        if !conflicts.is_empty() {
            return Ok(Applied::Conflicts(conflicts));
        }
        self.read(answer, &doing).map(Applied::Done)
    }

    fn conflicts(&self, answer: &Exchange) -> Vec<Conflict> {
        let body = answer.value().unwrap_or_default();
        let causes = body.pointer("/details/causes").and_then(Value::as_array).cloned().unwrap_or_default();
        let text = |cause: &Value, key: &str| cause.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let of_fields = causes.iter().filter(|cause| text(cause, "reason") == "FieldManagerConflict");
        of_fields
            .map(|cause| {
                let message = text(cause, "message");
                let manager = message.split('"').nth(1).unwrap_or("an unnamed manager");
                Conflict { field: self.clean(&text(cause, "field")), manager: self.clean(manager) }
            })
            .collect()
    }

    /// Sets how many Pods run, and nothing else.
    pub(super) async fn scale(&self, id: &Id, replicas: u32) -> Result<(), CallError> {
        let body = json!({"spec": {"replicas": replicas}});
        self.patched(id, &format!("scaling {id} to {replicas}"), "application/merge-patch+json", &body).await
    }

    /// Takes out what others have set, by a strategic merge patch.
    pub(super) async fn patch(&self, id: &Id, body: &Value) -> Result<(), CallError> {
        let doing = format!("taking out of {id} what others set");
        self.patched(id, &doing, "application/strategic-merge-patch+json", body).await
    }

    async fn patched(&self, id: &Id, doing: &str, kind: &'static str, body: &Value) -> Result<(), CallError> {
        let path = id.path(&self.namespace);
        let path = refs(&path);
        let request = Request {
            query: &[("fieldManager", MANAGER)],
            body: Body::Bytes(kind, Bytes::from(body.to_string())),
            ..Request::new(Method::PATCH, &path, doing)
        };
        let answer = self.node.exchange(request).await?;
        self.read(answer, doing).map(drop)
    }

    /// Deletes this very object, with what hangs on it. One that is gone, or another by now, is fine.
    pub(super) async fn delete(&self, id: &Id, uid: &str) -> Result<(), CallError> {
        let doing = format!("deleting {id}");
        let path = id.path(&self.namespace);
        let path = refs(&path);
        let options = json!({
            "kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background", "preconditions": {"uid": uid},
        });
        let request = Request { body: Body::Json(options), ..Request::new(Method::DELETE, &path, &doing) };
        let answer = self.node.exchange(request).await?;
        if matches!(answer.status, 404 | 409) && is_status(&answer) {
            return Ok(());
        }
        self.read(answer, &doing).map(drop)
    }

    /// Whether the credentials may do this here.
    pub(super) async fn may(&self, verb: &str, group: &str, resource: &str) -> Result<bool, CallError> {
        let doing = "asking what the credentials may do";
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let attributes = json!({
            "namespace": self.namespace, "verb": verb, "group": group, "resource": resource, "subresource": subresource,
        });
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        });
        let path = ["apis", "authorization.k8s.io", "v1", "selfsubjectaccessreviews"];
        let answer = self.call(Method::POST, &path, Body::Json(review), doing).await?;
        answer.pointer("/status/allowed").and_then(Value::as_bool).ok_or_else(|| unexpected(doing))
    }

    /// The server's version, such as `v1.20.2`.
    pub(super) async fn version(&self) -> Result<String, CallError> {
        let doing = "reading the version";
        let answer = self.call(Method::GET, &["version"], Body::None, doing).await?;
        let version = answer.get("gitVersion").and_then(Value::as_str).ok_or_else(|| unexpected(doing))?;
        Ok(self.clean(version))
    }

    /// Whether the namespace is known not to be there. Most credentials may not ask.
    pub(super) async fn lacks_namespace(&self) -> Result<bool, CallError> {
        let path = ["api", "v1", "namespaces", self.namespace.as_str()];
        match self.call(Method::GET, &path, Body::None, "looking for the namespace").await {
            Ok(_) => Ok(false),
            Err(error) if error.is(&codes::NODE_NOT_FOUND) => Ok(true),
            Err(error) if error.is(&codes::NODE_FORBIDDEN) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The group versions that the server offers, such as `apps/v1`.
    pub(super) async fn group_versions(&self) -> Result<Vec<String>, CallError> {
        let doing = "reading what the API server offers";
        let answer = self.call(Method::GET, &["apis"], Body::None, doing).await?;
        let groups = answer.get("groups").and_then(Value::as_array).ok_or_else(|| unexpected(doing))?;
        let versions = groups.iter().filter_map(|group| group.get("versions")?.as_array()).flatten();
        Ok(versions.filter_map(|version| version.get("groupVersion")?.as_str()).map(str::to_owned).collect())
    }

    /// Whom the server takes us for, where it tells (from 1.28 on).
    pub(super) async fn whoami(&self) -> Result<Option<String>, CallError> {
        let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
        let path = ["apis", "authentication.k8s.io", "v1", "selfsubjectreviews"];
        let doing = "asking whose the credentials are";
        match self.call(Method::POST, &path, Body::Json(review), doing).await {
            Ok(answer) => {
                let name = answer.pointer("/status/userInfo/username").and_then(Value::as_str);
                Ok(name.map(|name| self.clean(name)))
            }
            Err(error) if error.is(&codes::NODE_NOT_FOUND) || error.is(&codes::NODE_FORBIDDEN) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A call through the API server to a Service's port.
    pub(super) async fn through(&self, request: Request<'_>) -> Result<Exchange, CallError> {
        self.node.exchange(request).await
    }

    async fn call(&self, method: Method, path: &[&str], body: Body, doing: &str) -> Result<Value, CallError> {
        let answer = self.node.exchange(Request { body, ..Request::new(method, path, doing) }).await?;
        self.read(answer, doing)
    }

    fn read(&self, answer: Exchange, doing: &str) -> Result<Value, CallError> {
        if answer.succeeded() {
            return answer.json(doing);
        }
        let status = answer.value().unwrap_or_default();
        let text = |key: &str| status.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let said = Said { code: text("reason"), message: text("message") };
        let error = answer.refused(doing, &said);
        // Two writers met, or a list has grown too old to be continued: the next look sees what is.
        if matches!(answer.status, 409 | 410) && is_status(&answer) {
            return Err(CallError { retryable: true, ..error });
        }
        Err(error)
    }
}

/// Whether Kubernetes itself answered, and no proxy in front of it.
fn is_status(answer: &Exchange) -> bool {
    answer.value().is_some_and(|body| body.get("kind").and_then(Value::as_str) == Some("Status"))
}

fn accepting(accept: &str) -> (HeaderName, Secret) {
    (header::ACCEPT, Secret::from(accept.to_owned()))
}

pub(super) fn refs(path: &[String]) -> Vec<&str> {
    path.iter().map(String::as_str).collect()
}

fn unexpected(doing: &str) -> CallError {
    let inside = Who(WHO).inside();
    let message = format!("The answer of {inside} does not have the shape that its API promises ({doing}).");
    CallError::permanent(codes::NODE_ANSWER_UNEXPECTED, message, crate::http::Effect::Ended)
}

/// The failure of a look, which takes no attempt and no slot.
pub(super) fn failure(error: StepError) -> Failure {
    match error {
        StepError::Retryable { failure, .. } | StepError::Permanent(failure) => failure,
        StepError::SlotTimeout { .. } | StepError::Cancelled | StepError::LeaseLost => {
            Failure::new(codes::NODE_ANSWER_UNEXPECTED, "The look at the cluster ended without an answer.")
        }
    }
}
