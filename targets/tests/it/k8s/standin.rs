//! A strict stand-in for an API server, in memory: who owns which field, label selectors, dry runs, discovery, reviews of rights, preconditions. A rollout goes on by one look at the Deployment at a time; an image's name says how its Pods fare.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
};

use super::{fields, hand::pod_status};
use crate::wire::{Answers, Asked, Server, Told};
use serde_json::{Value, json};

/// An object, and who owns its fields.
#[derive(Clone)]
struct Stored {
    value: Value,
    owners: BTreeMap<String, BTreeSet<String>>,
}

#[derive(Clone, Default)]
pub(crate) struct State {
    objects: BTreeMap<(String, String), Stored>,
    offered: Vec<&'static str>,
    denied: BTreeSet<String>,
    applied: Vec<Value>,
    /// What was really changed.
    changes: Vec<String>,
    counter: u64,
    /// Generation of a Deployment whose rollout has been looked at.
    looked: u64,
}

/// A running stand-in. It ends with its last clone.
#[derive(Clone)]
pub(crate) struct StandIn {
    pub(crate) url: String,
    pub(crate) server: Arc<Server>,
    state: Arc<Mutex<State>>,
}

/// What a current server offers, and what a 1.20 does.
pub(crate) const NEW: &[&str] =
    &["apps/v1", "authorization.k8s.io/v1", "autoscaling/v1", "autoscaling/v2", "networking.k8s.io/v1", "policy/v1"];
pub(crate) const OLD: &[&str] = &[
    "apps/v1",
    "authorization.k8s.io/v1",
    "autoscaling/v1",
    "autoscaling/v2beta2",
    "networking.k8s.io/v1",
    "policy/v1beta1",
];

pub(crate) const TOKEN: &str = "t0ken-of-the-stand-in";
pub(crate) const NAMESPACE: &str = "prod";

impl StandIn {
    pub(crate) async fn start(offered: &'static [&'static str]) -> Self {
        let state = Arc::new(Mutex::new(State { offered: offered.to_vec(), ..State::default() }));
        let server = Server::start(Arc::clone(&state) as Arc<_>).await;
        Self { url: server.url.clone(), server: Arc::new(server), state }
    }

    /// All that it holds.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// `host:port`.
    pub(crate) fn host(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// Rights that the credentials lack, such as `delete services`.
    pub(crate) fn deny(&self, right: &str) {
        self.state().denied.insert(right.to_owned());
    }

    /// The calls so far, method and path.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.server.asked().iter().map(|asked| format!("{} {}", asked.method, asked.target)).collect()
    }

    /// The manifests that were applied in earnest.
    pub(crate) fn applied(&self) -> Vec<Value> {
        self.state().applied.clone()
    }

    /// What was really changed, in order.
    pub(crate) fn changes(&self) -> Vec<String> {
        self.state().changes.clone()
    }

    /// What there is, without what only counts changes: two worlds with the same effects are equal.
    pub(crate) fn effects(&self) -> BTreeMap<String, Value> {
        let state = self.state();
        let each = state.objects.iter().map(|((plural, name), stored)| {
            let mut value = stored.value.clone();
            for key in ["uid", "resourceVersion"] {
                value["metadata"].as_object_mut().unwrap().remove(key);
            }
            value.as_object_mut().unwrap().remove("status");
            (format!("{plural}/{name}"), value)
        });
        each.collect()
    }

    /// Something that somebody else made.
    pub(crate) fn put_foreign(&self, plural: &str, name: &str, value: Value) {
        let mut state = self.state();
        let value = state.stamped(value, name);
        state.objects.insert((plural.to_owned(), name.to_owned()), Stored { value, owners: BTreeMap::new() });
    }
}

type Answer = (u16, Value);

fn status(code: u16, reason: &str, message: impl Into<String>) -> Answer {
    let message: String = message.into();
    (
        code,
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": message, "code": code}),
    )
}

impl Answers for Mutex<State> {
    fn refused(&self, code: u16) -> Value {
        status(code, "Fault", "as it was asked for").1
    }

    fn answer(&self, asked: &Asked) -> Told {
        let headers = asked.headers.iter().cloned().collect::<BTreeMap<_, _>>();
        // It is its own registry, too.
        if asked.target.starts_with("/v2/") && asked.target.contains("/manifests/") {
            let empty = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
            return Told::raw("application/vnd.oci.image.manifest.v1+json", b"{}".to_vec(), empty);
        }
        let (status, body) = if asked.target == "/v2/" {
            (200, json!({}))
        } else if asked.header("authorization") == Some(&format!("Bearer {TOKEN}")) {
            self.lock().unwrap().route(&asked.method, &asked.target, &headers, &asked.body)
        } else {
            status(401, "Unauthorized", "Unauthorized")
        };
        Told::new(status, body)
    }
}

impl State {
    fn route(&mut self, method: &str, target: &str, headers: &BTreeMap<String, String>, body: &[u8]) -> Answer {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let query: BTreeMap<String, String> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        match (method, parts.as_slice()) {
            ("GET", ["version"]) => (200, json!({"gitVersion": "v1.99.0"})),
            ("GET", ["apis"]) => (200, self.groups()),
            ("POST", ["apis", "authorization.k8s.io", "v1", "selfsubjectaccessreviews"]) => self.review(&body),
            ("POST", ["apis", "authentication.k8s.io", ..]) => status(404, "NotFound", "not here"),
            ("POST", ["api", "v1", "namespaces", NAMESPACE, "services", service, "proxy", rest @ ..]) => {
                (200, json!({"through": service, "path": rest.join("/"), "body": body}))
            }
            // The Role of the docs is one of the namespace.
            ("GET", ["api", "v1", "namespaces", _]) => status(403, "Forbidden", "cannot get resource \"namespaces\""),
            (_, ["api", "v1", "namespaces", namespace, rest @ ..]) => {
                self.objects(method, "v1", namespace, rest, &query, headers, &body)
            }
            (_, ["apis", group, version, "namespaces", namespace, rest @ ..]) => {
                let version = format!("{group}/{version}");
                if !self.offered.contains(&version.as_str()) {
                    return (404, json!("404 page not found"));
                }
                self.objects(method, &version, namespace, rest, &query, headers, &body)
            }
            _ => (404, json!("404 page not found")),
        }
    }

    fn groups(&self) -> Value {
        let each = self.offered.iter().map(|version| json!({"versions": [{"groupVersion": version}]}));
        json!({"kind": "APIGroupList", "groups": each.collect::<Vec<_>>()})
    }

    fn review(&self, body: &Value) -> Answer {
        let attributes = &body["spec"]["resourceAttributes"];
        let text = |key: &str| attributes[key].as_str().unwrap();
        let allowed =
            text("namespace") == NAMESPACE && !self.denied.contains(&format!("{} {}", text("verb"), text("resource")));
        (201, json!({"status": {"allowed": allowed}}))
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one request")]
    fn objects(
        &mut self,
        method: &str,
        version: &str,
        namespace: &str,
        rest: &[&str],
        query: &BTreeMap<String, String>,
        headers: &BTreeMap<String, String>,
        body: &Value,
    ) -> Answer {
        if namespace != NAMESPACE {
            return status(403, "Forbidden", "no rights there");
        }
        let verb = match (method, rest.len()) {
            ("GET", 1) => "list",
            ("GET", _) => "get",
            ("PATCH", _) => "patch",
            ("DELETE", _) => "delete",
            _ => return status(405, "MethodNotAllowed", "no such call"),
        };
        if self.denied.contains(&format!("{verb} {}", rest[0])) {
            return status(403, "Forbidden", format!("may not {verb} {}", rest[0]));
        }
        self.go_on();
        match (verb, rest) {
            ("list", [plural]) => self.list(version, plural, query, headers),
            ("get", [plural, name]) => {
                self.look(plural, name);
                match self.objects.get(&((*plural).to_owned(), (*name).to_owned())) {
                    Some(stored) => (200, shown(&stored.value, version, headers)),
                    None => not_found(plural, name),
                }
            }
            ("patch", [plural, name]) => match headers.get("content-type").map(String::as_str) {
                Some("application/apply-patch+yaml") => self.apply(version, plural, name, query, body),
                Some("application/merge-patch+json") => self.merge(plural, name, body),
                _ => status(415, "UnsupportedMediaType", "unsupported"),
            },
            ("delete", [plural, name]) => self.delete(plural, name, body),
            _ => status(404, "NotFound", "no such subresource"),
        }
    }

    fn list(
        &self,
        version: &str,
        plural: &str,
        query: &BTreeMap<String, String>,
        headers: &BTreeMap<String, String>,
    ) -> Answer {
        let Some((key, wanted)) = query.get("labelSelector").and_then(|selector| selector.split_once('=')) else {
            return status(400, "BadRequest", "the tests' lists are by label");
        };
        let of_kind = self.objects.iter().filter(|((kind, _), _)| kind == plural);
        let chosen = of_kind.filter(|(_, stored)| stored.value["metadata"]["labels"][key] == wanted);
        let items: Vec<_> = chosen
            .map(|(_, stored)| {
                let mut item = shown(&stored.value, version, headers);
                item.as_object_mut().unwrap().retain(|key, _| !matches!(key.as_str(), "kind" | "apiVersion"));
                item
            })
            .collect();
        // As servers write an empty list of metadata.
        let items = if items.is_empty() { Value::Null } else { json!(items) };
        (200, json!({"kind": "List", "metadata": {}, "items": items}))
    }

    fn stamped(&mut self, mut value: Value, name: &str) -> Value {
        self.counter += 1;
        value["metadata"]["name"] = json!(name);
        value["metadata"]["namespace"] = json!(NAMESPACE);
        value["metadata"]["uid"] = json!(format!("uid-{}", self.counter));
        value["metadata"]["resourceVersion"] = json!(self.counter.to_string());
        value
    }

    fn apply(
        &mut self,
        version: &str,
        plural: &str,
        name: &str,
        query: &BTreeMap<String, String>,
        body: &Value,
    ) -> Answer {
        let Some(manager) = query.get("fieldManager") else {
            return status(400, "BadRequest", "fieldManager is required");
        };
        let metadata = &body["metadata"];
        let same = body["apiVersion"] == version && metadata["name"] == name && metadata["namespace"] == NAMESPACE;
        if !same || !body["kind"].is_string() || !metadata["managedFields"].is_null() {
            return status(400, "BadRequest", "the body names another object than the path");
        }
        let key = (plural.to_owned(), name.to_owned());
        let before = self.objects.get(&key).cloned();
        let mut stored = before.clone().unwrap_or_else(|| {
            let value = self.stamped(json!({"kind": body["kind"], "apiVersion": version, "metadata": {}}), name);
            Stored { value, owners: BTreeMap::new() }
        });
        let wanted = fields::leaves(body);
        let live = fields::leaves(&stored.value);
        let conflicts: Vec<Value> = wanted
            .iter()
            .filter(|(path, value)| live.get(*path).is_some_and(|live| live != *value))
            .flat_map(|(path, _)| {
                let others = stored.owners.get(path).into_iter().flatten().filter(|owner| *owner != manager);
                others.map(move |owner| {
                    let owner = owner.trim_end_matches('!');
                    json!({"reason": "FieldManagerConflict", "message": format!("conflict with \"{owner}\" using {version}"), "field": fields::dotted(path)})
                })
            })
            .collect();
        if !conflicts.is_empty() && query.get("force").map(String::as_str) != Some("true") {
            let (code, mut answer) =
                status(409, "Conflict", format!("Apply failed with {} conflicts", conflicts.len()));
            answer["details"] = json!({"causes": conflicts});
            return (code, answer);
        }
        fields::apply(&mut stored.value, &mut stored.owners, &wanted, manager);
        if let Some(refused) = refused(before.as_ref().map(|stored| &stored.value), &stored.value) {
            return status(422, "Invalid", refused);
        }
        let was = before.as_ref().map(|stored| stored.value["spec"].clone());
        if was.as_ref() != Some(&stored.value["spec"]) {
            let generation = stored.value["metadata"]["generation"].as_u64().unwrap_or(0) + 1;
            stored.value["metadata"]["generation"] = json!(generation);
        }
        let answer = (if before.is_some() { 200 } else { 201 }, stored.value.clone());
        if query.get("dryRun").map(String::as_str) != Some("All") {
            self.applied.push(body.clone());
            if before.as_ref().map(|stored| &stored.value) != Some(&stored.value) {
                self.changes.push(format!("apply {plural}/{name}"));
            }
            self.objects.insert(key, stored);
        }
        answer
    }

    fn merge(&mut self, plural: &str, name: &str, body: &Value) -> Answer {
        let Some(stored) = self.objects.get_mut(&(plural.to_owned(), name.to_owned())) else {
            return not_found(plural, name);
        };
        let changed = fields::leaves(body);
        self.changes.push(format!("merge {plural}/{name}"));
        // Another kind of call is another manager, though it has the same name.
        fields::take(&mut stored.value, &mut stored.owners, &changed, "slipway!");
        let generation = stored.value["metadata"]["generation"].as_u64().unwrap_or(0) + 1;
        stored.value["metadata"]["generation"] = json!(generation);
        (200, stored.value.clone())
    }

    fn delete(&mut self, plural: &str, name: &str, body: &Value) -> Answer {
        let key = (plural.to_owned(), name.to_owned());
        let Some(stored) = self.objects.get(&key) else { return not_found(plural, name) };
        if !body["preconditions"]["uid"].is_null() && body["preconditions"]["uid"] != stored.value["metadata"]["uid"] {
            return status(409, "Conflict", "the UID in the precondition is another");
        }
        self.objects.remove(&key);
        self.changes.push(format!("delete {plural}/{name}"));
        if plural == "deployments" {
            self.objects.retain(|(plural, _), _| plural != "pods");
        }
        (200, json!({"kind": "Status", "status": "Success"}))
    }

    /// A rollout begins when its Deployment has changed.
    fn go_on(&mut self) {
        let Some((_, stored)) = self.objects.iter().find(|((plural, _), _)| plural == "deployments") else { return };
        let value = stored.value.clone();
        let (generation, wanted) =
            (value["metadata"]["generation"].as_u64().unwrap(), value["spec"]["replicas"].as_u64().unwrap());
        if self.looked >= 2 * generation {
            return;
        }
        self.looked = self.looked.max(2 * generation - 1);
        let template = &value["spec"]["template"];
        let image = template["spec"]["containers"][0]["image"].as_str().unwrap();
        let labels = template["metadata"]["labels"].clone();
        self.objects.retain(|(plural, _), stored| plural != "pods" || stored.value["metadata"]["labels"] == labels);
        self.objects.retain(|(plural, _), _| plural != "pods" || wanted > 0);
        for n in 0..wanted {
            let pod = json!({"metadata": {"labels": labels}, "status": pod_status(image)});
            let name = format!("pod-{generation}-{n}");
            let value = self.stamped(pod, &name);
            self.objects.insert(("pods".to_owned(), name), Stored { value, owners: BTreeMap::new() });
        }
    }

    /// The second look at a rollout finds it done, if its Pods run.
    fn look(&mut self, plural: &str, name: &str) {
        if plural != "deployments" {
            return;
        }
        let Some(stored) = self.objects.get_mut(&(plural.to_owned(), name.to_owned())) else { return };
        let generation = stored.value["metadata"]["generation"].as_u64().unwrap();
        let wanted = stored.value["spec"]["replicas"].clone();
        let image = stored.value["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap_or_default();
        let runs = pod_status(image)["phase"] == "Running";
        let done = self.looked >= 2 * generation;
        let fit = if runs && done { wanted.clone() } else { json!(0) };
        stored.value["status"] = json!({"observedGeneration": generation, "replicas": wanted, "updatedReplicas": wanted, "availableReplicas": fit});
        if self.looked == 2 * generation - 1 && runs {
            self.looked += 1;
        }
    }
}

fn not_found(plural: &str, name: &str) -> Answer {
    status(404, "NotFound", format!("{plural} \"{name}\" not found"))
}

/// What can't be changed, and what can't be.
fn refused(before: Option<&Value>, after: &Value) -> Option<&'static str> {
    if let Some(before) = before {
        if before["spec"]["selector"] != after["spec"]["selector"] && after["kind"] == "Deployment" {
            return Some("spec.selector: field is immutable");
        }
        if before["immutable"] == true && before["data"] != after["data"] {
            return Some("data: field is immutable when `immutable` is set");
        }
    }
    let ports = after["spec"]["ports"].as_array();
    if ports
        .into_iter()
        .flatten()
        .any(|port| port["nodePort"].as_u64().is_some_and(|port| !(30_000..32_768).contains(&port)))
    {
        return Some("spec.ports[0].nodePort: provided port is not in the valid range");
    }
    None
}

/// As the caller wants to see it.
fn shown(value: &Value, version: &str, headers: &BTreeMap<String, String>) -> Value {
    let mut value = value.clone();
    if headers.get("accept").is_some_and(|accept| accept.contains("PartialObjectMetadata")) {
        return json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": value["metadata"]});
    }
    value["apiVersion"] = json!(version);
    value
}
