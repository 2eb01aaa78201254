//! One Azure ML workspace: endpoints, deployments, environments, and operations that take several looks.

use super::{AzureSettings, ENDPOINT_KEY, PLACE, refused, wire};
use crate::clouds::door::{Asked, Reply};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

const VERSION: &str = "2023-04-01";
const PERMISSIONS_VERSION: &str = "2022-04-01";

/// What becomes of a resource when its operation ends.
#[derive(Clone)]
enum End {
    Ready,
    Gone,
    Failed(Value),
}

/// Something that goes on.
#[derive(Clone)]
struct Operation {
    /// The resource.
    path: String,
    looks: u32,
    end: End,
}

/// A workspace.
#[derive(Clone)]
pub(in crate::clouds) struct Workspace {
    looks: u32,
    /// By path from the workspace on.
    resources: BTreeMap<String, Value>,
    operations: BTreeMap<u64, Operation>,
    /// How operations ended.
    ended: BTreeMap<u64, Value>,
    next: u64,
    counts: BTreeMap<String, u64>,
    fail: Option<(Value, String)>,
    /// The next change of an endpoint's traffic is done, and ends with this error.
    fail_traffic: Option<Value>,
    logs: BTreeMap<String, String>,
}

impl Workspace {
    pub(super) fn new(settings: &AzureSettings) -> Self {
        Self {
            looks: settings.looks,
            resources: BTreeMap::new(),
            operations: BTreeMap::new(),
            ended: BTreeMap::new(),
            next: 0,
            counts: BTreeMap::new(),
            fail: None,
            fail_traffic: None,
            logs: BTreeMap::new(),
        }
    }

    pub(super) fn fail_next(&mut self, code: &str, message: &str, log: &str) {
        self.fail = Some((json!({"code": code, "message": message}), log.to_owned()));
    }

    pub(super) fn fail_next_traffic(&mut self, code: &str, message: &str) {
        self.fail_traffic = Some(json!({"code": code, "message": message}));
    }

    pub(super) fn meddle(&mut self, path: &str, resource: Value) {
        if resource.is_null() {
            self.resources.remove(path);
        } else {
            self.resources.insert(path.to_owned(), resource);
        }
    }

    pub(super) fn resource(&self, path: &str) -> Value {
        self.resources.get(path).cloned().unwrap_or_default()
    }

    pub(super) fn effects(&self) -> Value {
        json!({"resources": self.resources, "counts": self.counts})
    }

    fn count(&mut self, what: &str) {
        *self.counts.entry(what.to_owned()).or_default() += 1;
    }

    pub(super) fn answer(&mut self, settings: &AzureSettings, asked: &Asked, base: &str) -> Reply {
        let segments = asked.segments();
        let [
            "subscriptions",
            subscription,
            "resourceGroups",
            group,
            "providers",
            "Microsoft.MachineLearningServices",
            rest @ ..,
        ] = &segments[..]
        else {
            return refused(404, "NotFound", "no such path");
        };
        if [*subscription, *group] != PLACE[..2] {
            return refused(404, "ResourceGroupNotFound", "no such resource group");
        }
        if let ["locations", _, "operations", id] = rest {
            return self.operation(id);
        }
        let ["workspaces", workspace, rest @ ..] = rest else { return refused(404, "NotFound", "no such path") };
        if *workspace != PLACE[2] {
            return refused(404, "ResourceNotFound", "no such workspace");
        }
        let wanted = if rest.first() == Some(&"providers") { PERMISSIONS_VERSION } else { VERSION };
        if asked.parameter("api-version") != Some(wanted) {
            return refused(400, "InvalidApiVersionParameter", "api-version");
        }
        let path = rest.join("/");
        match (asked.method.as_str(), rest) {
            ("GET", []) => {
                Reply::json(200, json!({"name": workspace, "location": settings.location, "properties": {}}))
            }
            ("GET", ["providers", "Microsoft.Authorization", "permissions"]) => {
                Reply::json(200, json!({"value": [{"actions": settings.actions, "notActions": []}]}))
            }
            ("GET", ["onlineEndpoints", _, "deployments"] | ["environments", _, "versions"]) => {
                self.list(&path, asked, base)
            }
            (
                "GET",
                ["onlineEndpoints", _]
                | ["onlineEndpoints", _, "deployments", _]
                | ["environments", _, "versions", _]
                | ["environments", _],
            ) => self.look(&path),
            ("PUT", ["environments", name, "versions", _]) => self.put_environment(name, &path, asked),
            ("PUT", ["onlineEndpoints", name]) => self.put_endpoint(settings, name, &path, asked, base),
            ("PUT", ["onlineEndpoints", endpoint, "deployments", name]) => {
                self.put_deployment(settings, endpoint, name, &path, asked, base)
            }
            ("DELETE", ["environments", ..]) => self.delete_environment(&path),
            ("DELETE", ["onlineEndpoints", endpoint]) => self.delete(settings, &path, endpoint, None, base),
            ("DELETE", ["onlineEndpoints", endpoint, "deployments", name]) => {
                self.delete(settings, &path, endpoint, Some(name), base)
            }
            ("POST", ["onlineEndpoints", name, "listKeys" | "token"]) => self.keys(name, rest.last() == Some(&"token")),
            ("POST", ["onlineEndpoints", _, "deployments", name, "getLogs"]) => {
                let Some(body) =
                    asked.json().filter(|body| body["tail"].is_u64() && body["containerType"] == "InferenceServer")
                else {
                    return refused(400, "ValidationError", "containerType, tail");
                };
                drop(body);
                Reply::json(200, json!({"content": self.logs.get(*name).cloned().unwrap_or_default()}))
            }
            _ => refused(404, "NotFound", "no such path"),
        }
    }

    /// One look nearer to the end.
    fn tick(&mut self, id: u64) {
        let Some(operation) = self.operations.get_mut(&id) else { return };
        operation.looks = operation.looks.saturating_sub(1);
        if operation.looks > 0 {
            return;
        }
        let Some(operation) = self.operations.remove(&id) else { return };
        let mut said = json!({"id": id, "status": "Succeeded"});
        let state = match operation.end {
            End::Gone => {
                let below = format!("{}/", operation.path);
                self.resources.retain(|path, _| *path != operation.path && !path.starts_with(&below));
                None
            }
            End::Ready => Some("Succeeded"),
            End::Failed(error) => {
                said = json!({"id": id, "status": "Failed", "error": error});
                Some("Failed")
            }
        };
        if let (Some(state), Some(resource)) = (state, self.resources.get_mut(&operation.path)) {
            resource["properties"]["provisioningState"] = state.into();
        }
        self.ended.insert(id, said);
    }

    fn operation(&mut self, id: &str) -> Reply {
        let id = id.parse().unwrap_or_default();
        self.tick(id);
        if let Some(said) = self.ended.get(&id) {
            return Reply::json(200, said.clone());
        }
        if self.operations.contains_key(&id) {
            return Reply::json(200, json!({"id": id, "status": "InProgress"})).with("retry-after", "5");
        }
        refused(404, "NotFound", "no such operation")
    }

    fn look(&mut self, path: &str) -> Reply {
        if let Some(id) = self.operations.iter().find(|(_, one)| one.path == path).map(|(id, _)| *id) {
            self.tick(id);
        }
        match self.resources.get(path) {
            Some(resource) => Reply::json(200, resource.clone()),
            None => refused(404, "ResourceNotFound", "The resource was not found."),
        }
    }

    /// Two at a time, so that whoever reads lists has to turn pages.
    fn list(&mut self, path: &str, asked: &Asked, base: &str) -> Reply {
        let below = format!("{path}/");
        // Time passes by looks.
        if asked.parameter("$skip").is_none() {
            let of = |(_, one): &(&u64, &Operation)| one.path.starts_with(&below);
            let ids: Vec<_> = self.operations.iter().filter(of).map(|(id, _)| *id).collect();
            ids.into_iter().for_each(|id| self.tick(id));
        }
        let all: Vec<&Value> = self
            .resources
            .iter()
            .filter(|(one, _)| one.strip_prefix(&below).is_some_and(|rest| !rest.contains('/')))
            .map(|(_, resource)| resource)
            .collect();
        let from: usize = asked.parameter("$skip").and_then(|skip| skip.parse().ok()).unwrap_or_default();
        let page: Vec<&Value> = all.iter().skip(from).take(2).copied().collect();
        let mut body = json!({"value": page});
        if from + 2 < all.len() {
            let here = asked.path.join("/");
            body["nextLink"] = json!(format!("{base}/{here}?api-version={VERSION}&$skip={}", from + 2));
        }
        Reply::json(200, body)
    }

    fn busy(&self, path: &str) -> Option<Reply> {
        let busy = self.operations.values().any(|one| one.path == path);
        busy.then(|| refused(409, "Conflict", "Another operation on this resource is in progress."))
    }

    fn begin(&mut self, settings: &AzureSettings, path: &str, end: End, base: &str) -> String {
        self.next += 1;
        let looks = self.looks;
        self.operations.insert(self.next, Operation { path: path.to_owned(), looks, end });
        format!(
            "{base}/subscriptions/{}/resourceGroups/{}/providers/Microsoft.MachineLearningServices/locations/{}/operations/{}?api-version={VERSION}",
            PLACE[0], PLACE[1], settings.location, self.next
        )
    }

    fn put_environment(&mut self, name: &str, path: &str, asked: &Asked) -> Reply {
        let body = match body(asked, wire::environment) {
            Ok(body) => body,
            Err(reply) => return reply,
        };
        if let Some(there) = self.resources.get(path) {
            if there["properties"]["image"] != body["properties"]["image"] {
                return refused(409, "Conflict", "A version can't be changed.");
            }
            return Reply::json(200, there.clone());
        }
        let made = with(body, path, json!("Succeeded"));
        self.resources.insert(path.to_owned(), made.clone());
        let container = format!("environments/{name}");
        self.resources
            .entry(container.clone())
            .or_insert_with(|| json!({"name": name, "id": container, "properties": {}}));
        self.count("environments made");
        Reply::json(201, made)
    }

    fn delete_environment(&mut self, path: &str) -> Reply {
        let below = format!("{path}/");
        if self.resources.keys().any(|one| one.starts_with(&below)) {
            return refused(409, "Conflict", "There are versions.");
        }
        if self.resources.remove(path).is_none() {
            return Reply::json(204, Value::Null);
        }
        self.count("environments deleted");
        Reply::json(200, Value::Null)
    }

    fn put_endpoint(&mut self, settings: &AzureSettings, name: &str, path: &str, asked: &Asked, base: &str) -> Reply {
        let mut body = match body(asked, wire::endpoint) {
            Ok(body) => body,
            Err(reply) => return reply,
        };
        let letters = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if !letters
            || !(3..=32).contains(&name.len())
            || name.ends_with('-')
            || !name.as_bytes()[0].is_ascii_alphabetic()
        {
            return refused(400, "UserError", "The endpoint's name is invalid.");
        }
        if body["location"] != settings.location.as_str() {
            return refused(400, "InvalidLocation", "The endpoint must be in the workspace's region.");
        }
        if let Some(reply) = self.busy(path) {
            return reply;
        }
        let traffic = body["properties"]["traffic"].as_object().cloned().unwrap_or_default();
        let sum: u64 = traffic.values().filter_map(Value::as_u64).sum();
        if sum != 0 && sum != 100 {
            return refused(400, "UserError", "The traffic must sum to 0 or 100.");
        }
        for deployment in traffic.keys() {
            let there = self.resources.get(&format!("{path}/deployments/{deployment}"));
            if there.is_none_or(|there| there["properties"]["provisioningState"] != "Succeeded") {
                return refused(400, "UserError", "The traffic names a deployment that does not run.");
            }
        }
        if body["properties"]["traffic"].is_null() {
            body["properties"]["traffic"] = json!({});
        }
        body["properties"]["scoringUri"] = json!(format!("{base}/{name}/score"));
        body["identity"]["principalId"] = json!("0");
        let new = !self.resources.contains_key(path);
        self.count(if new { "endpoints made" } else { "endpoints changed" });
        let made = with(body, path, json!(if new { "Creating" } else { "Updating" }));
        self.resources.insert(path.to_owned(), made.clone());
        let fails = if traffic.is_empty() { None } else { self.fail_traffic.take() };
        let operation = self.begin(settings, path, fails.map_or(End::Ready, End::Failed), base);
        Reply::json(if new { 201 } else { 200 }, made).with("azure-asyncoperation", operation).with("retry-after", "3")
    }

    fn put_deployment(
        &mut self,
        settings: &AzureSettings,
        endpoint: &str,
        name: &str,
        path: &str,
        asked: &Asked,
        base: &str,
    ) -> Reply {
        let body = match body(asked, wire::deployment) {
            Ok(body) => body,
            Err(reply) => return reply,
        };
        if !(3..=32).contains(&name.len()) || !name.as_bytes()[0].is_ascii_alphabetic() {
            return refused(400, "UserError", "The deployment's name is invalid.");
        }
        let parent = format!("onlineEndpoints/{endpoint}");
        let Some(there) = self.resources.get(&parent) else {
            return refused(404, "ParentResourceNotFound", "no such endpoint");
        };
        if there["properties"]["provisioningState"] != "Succeeded" {
            return refused(409, "Conflict", "The endpoint is not ready.");
        }
        if let Some(reply) = self.busy(path) {
            return reply;
        }
        let whole = workspace_id();
        let environment = body["properties"]["environmentId"].as_str().unwrap_or_default();
        let known =
            environment.strip_prefix(&format!("{whole}/")).is_some_and(|path| self.resources.contains_key(path));
        if !known {
            return refused(400, "UserError", "The environment does not exist.");
        }
        let new = !self.resources.contains_key(path);
        self.count(if new { "deployments made" } else { "deployments changed" });
        let made = with(body, path, json!(if new { "Creating" } else { "Updating" }));
        self.resources.insert(path.to_owned(), made.clone());
        let end = match self.fail.take() {
            Some((error, log)) => {
                self.logs.insert(name.to_owned(), log);
                End::Failed(error)
            }
            None => End::Ready,
        };
        let operation = self.begin(settings, path, end, base);
        Reply::json(if new { 201 } else { 200 }, made).with("azure-asyncoperation", operation)
    }

    fn delete(
        &mut self,
        settings: &AzureSettings,
        path: &str,
        endpoint: &str,
        deployment: Option<&str>,
        base: &str,
    ) -> Reply {
        let traffic = self.resource(&format!("onlineEndpoints/{endpoint}"))["properties"]["traffic"].clone();
        if deployment.is_some_and(|name| traffic[name].as_u64().unwrap_or_default() > 0) {
            return refused(400, "UserError", "A deployment with traffic can't be deleted.");
        }
        if !self.resources.contains_key(path) {
            return Reply::json(204, Value::Null);
        }
        if let Some(reply) = self.busy(path) {
            return reply;
        }
        if let Some(resource) = self.resources.get_mut(path) {
            resource["properties"]["provisioningState"] = "Deleting".into();
        }
        self.count(if deployment.is_some() { "deployments deleted" } else { "endpoints deleted" });
        let operation = self.begin(settings, path, End::Gone, base);
        let reply = Reply::json(202, Value::Null).with("location", operation.clone());
        reply.with("azure-asyncoperation", operation).with("retry-after", "4")
    }

    fn keys(&self, name: &str, token: bool) -> Reply {
        match self.resources.get(&format!("onlineEndpoints/{name}")) {
            None => refused(404, "ResourceNotFound", "no such endpoint"),
            Some(there) if (there["properties"]["authMode"] == "Key") == token => {
                refused(400, "UserError", "The endpoint has another authentication.")
            }
            Some(_) if token => Reply::json(200, json!({"accessToken": ENDPOINT_KEY, "expiryTimeUtc": 0})),
            Some(_) => Reply::json(200, json!({"primaryKey": ENDPOINT_KEY, "secondaryKey": "secondary"})),
        }
    }

    /// Answers with what was asked and who answers.
    pub(super) fn score(&self, endpoint: &str, asked: &Asked) -> Reply {
        if asked.bearer() != Some(ENDPOINT_KEY) {
            return Reply::json(401, json!({"message": "auth"}));
        }
        let Some(body) = asked.json() else { return Reply::json(400, json!({"message": "no JSON"})) };
        let there = self.resource(&format!("onlineEndpoints/{endpoint}"));
        let traffic = there["properties"]["traffic"].as_object().cloned().unwrap_or_default();
        match traffic.iter().find(|(_, percent)| percent.as_u64() > Some(0)) {
            Some((deployment, _)) => Reply::json(200, json!({"deployment": deployment, "asked": body})),
            None => Reply::json(404, json!({"message": "no deployment"})),
        }
    }
}

fn workspace_id() -> String {
    let [subscription, group, workspace] = PLACE;
    format!(
        "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.MachineLearningServices/workspaces/{workspace}"
    )
}

fn body(asked: &Asked, check: fn(&Value) -> Result<(), String>) -> Result<Value, Reply> {
    let body = asked.json().ok_or_else(|| refused(415, "UnsupportedMediaType", "JSON is wanted"))?;
    check(&body).map_err(|problem| refused(400, "ValidationError", &problem))?;
    Ok(body)
}

/// What was sent, as a resource.
fn with(mut body: Value, path: &str, state: Value) -> Value {
    body["name"] = path.rsplit('/').next().unwrap_or_default().into();
    body["id"] = format!("{}/{path}", workspace_id()).into();
    body["properties"]["provisioningState"] = state;
    body["systemData"] = Value::Object(Map::new());
    body
}
