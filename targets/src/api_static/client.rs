//! The API node's admin API, as far as we rely on it. What the documentation leaves open is read with tolerance.

use std::time::Duration;

use engine::{failure::Failure, secrets::Secret};
use serde_json::{Value, json};

use super::notes::Share;
use crate::{
    codes,
    http::{Body, CallError, Effect, Http, Method, Node, NodeUrl, Request, Said},
    report::Report,
    spec::NodeSpec,
};

/// The longest list that we read, and the longest name in one, in characters.
const MAX_ITEMS: usize = 10_000;
const MAX_NAME_CHARS: usize = 300;
/// A node that lives says so within this: whoever waits longer waits for one that hangs.
const PROMPTLY: Duration = Duration::from_secs(10);

/// The admin API of one node.
pub(super) struct Api {
    node: Node,
    blocking: Duration,
}

/// The generations of a service.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Generations {
    pub(super) items: Vec<Generation>,
}

/// One of them. What a node does not tell is None.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Generation {
    pub(super) name: String,
    pub(super) preloaded: Option<bool>,
    active: Option<bool>,
    share: Option<f64>,
}

impl Generations {
    pub(super) fn find(&self, name: &str) -> Option<&Generation> {
        self.items.iter().find(|one| one.name == name)
    }

    /// Which of them are mapped, by name; None when the node tells nothing of it.
    pub(super) fn mapping(&self) -> Option<Vec<Share>> {
        let share = |one: &Generation, proba| Share { generation: one.name.clone(), proba };
        let mut shares: Vec<_> = if self.items.iter().any(|one| one.share.is_some()) {
            self.items
                .iter()
                .filter(|one| one.share.is_some_and(|p| p > 0.0))
                .map(|one| share(one, one.share))
                .collect()
        } else if self.items.is_empty() || self.items.iter().any(|one| one.active.is_some()) {
            self.items.iter().filter(|one| one.active == Some(true)).map(|one| share(one, None)).collect()
        } else {
            return None;
        };
        if let [only] = shares.as_mut_slice() {
            only.proba = Some(1.0);
        }
        shares.sort_by(|a, b| a.generation.cmp(&b.generation));
        Some(shares)
    }
}

impl Api {
    pub(super) fn new(http: &Http, node: &NodeSpec, key: &Secret) -> Result<Self, Failure> {
        let url = NodeUrl::parse(&node.url, &http.settings().blocked)?;
        let blocking = Duration::from_millis(node.call_timeout_ms);
        Ok(Self { node: http.node(url, key, node.trust_all_certificates), blocking })
    }

    /// What records about this node are kept under.
    pub(super) fn url(&self) -> &str {
        self.node.url().as_str()
    }

    pub(super) fn blocking(&self) -> Duration {
        self.blocking
    }

    /// The node's words, made harmless.
    pub(super) fn clean(&self, text: &str) -> String {
        self.node.scrubber().clean(text, 300)
    }

    /// Whether it says that it is alive. Says nothing of services.
    pub(super) async fn is_alive(&self) -> Result<bool, CallError> {
        self.is_alive_within(PROMPTLY).await
    }

    /// The same for whoever has less time.
    pub(super) async fn is_alive_within(&self, within: Duration) -> Result<bool, CallError> {
        let doing = "asking whether the node is alive";
        let request = Request { timeout: Some(within), ..Request::new(Method::GET, &["isAlive", ""], doing) };
        let exchange = self.node.exchange(request).await?;
        match exchange.status {
            200..300 => Ok(true),
            500 | 503 => Ok(false),
            _ => Err(exchange.refused(doing, &Said::default())),
        }
    }

    /// Whether the service is enabled, and the node's version; None without the service.
    pub(super) async fn service(&self, id: &str) -> Result<Option<bool>, CallError> {
        Ok(self.services().await?.0.into_iter().find(|(name, _)| name == id).map(|(_, enabled)| enabled))
    }

    /// The services, whether they are enabled, and the node's version.
    pub(super) async fn services(&self) -> Result<(Vec<(String, bool)>, Option<String>), CallError> {
        let doing = "listing the services";
        let path = ["admin", "api", "services"];
        let (answer, version) = self.node.json_and_version(Request::new(Method::GET, &path, doing)).await?;
        let read = |item: &Value| {
            let name = item.get("serviceId").or_else(|| item.get("id"))?.as_str().filter(|name| is_name(name))?;
            Some((name.to_owned(), item.get("enabled").and_then(Value::as_bool).unwrap_or(true)))
        };
        let services = items(&answer, "services", doing)?.iter().map(read).collect::<Option<_>>();
        Ok((services.ok_or_else(|| unexpected(doing))?, version))
    }

    /// Its generations; None without the service.
    pub(super) async fn generations(&self, service: &str) -> Result<Option<Generations>, CallError> {
        let doing = "listing the generations";
        let path = ["admin", "api", "services", service, "generations"];
        let answer = match self.node.json(Request::new(Method::GET, &path, doing)).await {
            Err(error) if error.is(&codes::NODE_NOT_FOUND) => return Ok(None),
            answer => answer?,
        };
        let read = |item: &Value| {
            let name =
                ["generation", "generationId", "id", "name", "tag"].iter().find_map(|key| item.get(*key)?.as_str());
            let name = name.or_else(|| item.as_str()).filter(|name| is_name(name))?.to_owned();
            let told = |key: &str| item.get(key).and_then(Value::as_bool);
            let share = item.get("proba").and_then(Value::as_f64);
            Some(Generation { name, preloaded: told("preloaded"), active: told("active"), share })
        };
        let mut items = items(&answer, "generations", doing)?
            .iter()
            .map(read)
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| unexpected(doing))?;
        if let Some(entries) = answer.pointer("/mapping/entries").and_then(Value::as_array) {
            let entry =
                |name: &str| entries.iter().find(|entry| entry.get("generation").and_then(Value::as_str) == Some(name));
            for item in &mut items {
                item.share = Some(entry(&item.name).and_then(|entry| entry.get("proba")?.as_f64()).unwrap_or_default());
            }
        }
        Ok(Some(Generations { items }))
    }

    pub(super) async fn create_service(&self, service: &str) -> Result<(), CallError> {
        let path = ["admin", "api", "services", ""];
        let body = Body::Json(json!({"serviceId": service}));
        self.act(Request { body, ..Request::new(Method::POST, &path, "creating the service") }).await
    }

    pub(super) async fn delete_service(&self, service: &str) -> Result<(), CallError> {
        let path = ["admin", "api", "services", service];
        self.act(Request::new(Method::DELETE, &path, "deleting the service")).await
    }

    /// Imports a generation from a file on the node's own disk.
    pub(super) async fn import(&self, service: &str, path_there: &str) -> Result<(), CallError> {
        let path = ["admin", "api", "services", service, "generations", "actions", "importFromArchive"];
        let query = [("filePath", path_there)];
        let request = Request { query: &query, ..Request::new(Method::POST, &path, "importing the package") };
        self.act(request).await.map_err(|error| {
            // A path that is wrong looks like a right that is missing.
            let refused = [codes::NODE_FORBIDDEN, codes::NODE_REFUSED].iter().any(|code| error.is(code));
            if !refused {
                return error;
            }
            let said = error.failure.message.trim_end_matches('.');
            let message = format!(
                "{said}. The file is {path_there} on the node's own disk: check that nodePath of the delivery is that folder as the node sees it, and that the node may read it."
            );
            CallError { failure: Failure { message, ..error.failure }, ..error }
        })
    }

    pub(super) async fn preload(&self, service: &str, generation: &str) -> Result<(), CallError> {
        let path = ["admin", "api", "services", service, "generations", generation, "preload"];
        self.act(Request::new(Method::POST, &path, "preloading the generation")).await
    }

    /// These answer from now on; enables the service, too. No query is lost.
    pub(super) async fn map(&self, service: &str, shares: &[(String, f64)]) -> Result<(), CallError> {
        let doing = "switching generations";
        if let [(only, _)] = shares {
            let path = ["admin", "api", "services", service, "actions", "switchTo", only];
            return self.act(Request::new(Method::POST, &path, doing)).await;
        }
        let entries: Vec<_> = shares.iter().map(|(name, share)| json!({"generation": name, "proba": share})).collect();
        let path = ["admin", "api", "services", service, "actions", "setMapping"];
        let body = Body::Json(json!({"entries": entries}));
        self.act(Request { body, ..Request::new(Method::POST, &path, doing) }).await
    }

    pub(super) async fn disable(&self, service: &str) -> Result<(), CallError> {
        let path = ["admin", "api", "services", service, "actions", "disable"];
        self.act(Request::new(Method::POST, &path, "disabling the service")).await
    }

    /// Drops what no service of the node uses.
    pub(super) async fn clean_unused(&self) -> Result<(), CallError> {
        let path = ["admin", "api", "services-clean-unused"];
        self.act(Request::new(Method::DELETE, &path, "cleaning up unused generations")).await
    }

    /// A call that blocks for as long as it takes, and whose answer says nothing, unless it is a report with an error.
    async fn act(&self, request: Request<'_>) -> Result<(), CallError> {
        let doing = request.doing;
        let answer = self.node.any(Request { timeout: Some(self.blocking), ..request }).await?;
        let report = answer.map(|answer| Report::within(&answer, &|text| self.clean(text))).unwrap_or_default();
        report.verdict_in_full(doing).map(drop).map_err(CallError::reported)
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().count() <= MAX_NAME_CHARS
}

/// A list, or the list under `key` of an object: the documentation and the client disagree.
fn items<'a>(answer: &'a Value, key: &str, doing: &str) -> Result<&'a [Value], CallError> {
    let list = answer.as_array().or_else(|| answer.get(key)?.as_array()).filter(|list| list.len() <= MAX_ITEMS);
    list.map(Vec::as_slice).ok_or_else(|| unexpected(doing))
}

/// JSON of another shape than the API promises.
fn unexpected(doing: &str) -> CallError {
    let message = format!(
        "The node's answer does not have the shape that an API node's has ({doing}). Check the URL, and the node's version."
    );
    CallError::permanent(codes::NODE_ANSWER_UNEXPECTED, message, Effect::Ended)
}
