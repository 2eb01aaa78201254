//! Endpoints and models of one region, and operations that take several looks.

use super::{PLACE, refused, wire};
use crate::clouds::door::{Asked, Reply};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What is done when an operation ends.
#[derive(Clone)]
enum End {
    Put(Value),
    Gone,
    Deploy(Value),
    Undeploy(String),
    /// How many machines the deployed model of this id has.
    Scale(String, Value),
    Failed(Value),
}

#[derive(Clone)]
struct Operation {
    /// The resource, from the region on.
    path: String,
    looks: u32,
    end: Option<End>,
    error: Value,
}

/// What of a deployed model's machines may be changed.
const REPLICAS: [&str; 2] = ["minReplicaCount", "maxReplicaCount"];

/// A region.
#[derive(Clone)]
pub(in crate::clouds) struct Vertex {
    looks: u32,
    resources: BTreeMap<String, Value>,
    operations: BTreeMap<u64, Operation>,
    counts: BTreeMap<String, u64>,
    fail: Option<Value>,
}

fn name(path: &str) -> String {
    format!("projects/{}/locations/{}/{path}", PLACE[1], PLACE[2])
}

fn is_id(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(plain)
        && text.as_bytes()[0].is_ascii_lowercase()
        && !text.ends_with('-')
}

impl Vertex {
    pub(super) fn new(looks: u32) -> Self {
        Self { looks, resources: BTreeMap::new(), operations: BTreeMap::new(), counts: BTreeMap::new(), fail: None }
    }

    pub(super) fn fail_next(&mut self, code: u32, message: &str) {
        self.fail = Some(json!({"code": code, "message": message}));
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

    pub(super) fn answer(&mut self, rest: &[&str], asked: &Asked) -> Reply {
        let path = rest.join("/");
        match (asked.method.as_str(), rest) {
            ("POST", ["models:upload"]) => self.upload(asked),
            ("POST", ["endpoints"]) => self.create(asked),
            ("GET", ["models"]) => self.list(asked),
            ("GET", ["models" | "endpoints", _]) => match self.resources.get(&path) {
                Some(resource) => Reply::json(200, resource.clone()),
                None => refused(404, "NOT_FOUND", "The resource is not found."),
            },
            ("GET", ["models" | "endpoints", _, "operations"]) => self.ongoing(&path),
            ("GET", ["models" | "endpoints", _, "operations", id]) => self.operation(id),
            ("PATCH", ["endpoints", _]) => self.patch(&path, asked),
            ("DELETE", ["models" | "endpoints", _]) => self.delete(&path),
            ("POST", ["endpoints", action]) => match action.split_once(':') {
                Some((id, "deployModel")) => self.deploy(&format!("endpoints/{id}"), asked),
                Some((id, "undeployModel")) => self.undeploy(&format!("endpoints/{id}"), asked),
                Some((id, "mutateDeployedModel")) => self.scale(&format!("endpoints/{id}"), asked),
                Some((id, "predict")) => self.predict(&format!("endpoints/{id}"), asked),
                _ => refused(404, "NOT_FOUND", "no such method"),
            },
            _ => refused(404, "NOT_FOUND", "no such path"),
        }
    }

    fn begin(&mut self, path: &str, end: End) -> Reply {
        let id = self.operations.len() as u64 + 1;
        let operation = Operation { path: path.to_owned(), looks: self.looks, end: Some(end), error: Value::Null };
        self.operations.insert(id, operation);
        Reply::json(200, self.shown(id))
    }

    fn shown(&self, id: u64) -> Value {
        let Some(operation) = self.operations.get(&id) else { return Value::Null };
        let mut shown = json!({"name": format!("{}/operations/{id}", name(&operation.path)), "metadata": {}});
        if operation.end.is_none() {
            shown["done"] = json!(true);
            if operation.error.is_null() {
                shown["response"] = json!({});
            } else {
                shown["error"] = operation.error.clone();
            }
        }
        shown
    }

    /// One look nearer to the end.
    fn tick(&mut self, id: u64) {
        let Some(operation) = self.operations.get_mut(&id) else { return };
        operation.looks = operation.looks.saturating_sub(1);
        if operation.looks > 0 {
            return;
        }
        let (path, end) = (operation.path.clone(), operation.end.take());
        match end {
            Some(End::Put(resource)) => {
                self.resources.insert(path, resource);
            }
            Some(End::Gone) => {
                self.resources.remove(&path);
            }
            Some(End::Deploy(model)) => {
                if let Some(endpoint) = self.resources.get_mut(&path) {
                    let mut models = endpoint["deployedModels"].as_array().cloned().unwrap_or_default();
                    models.push(model);
                    endpoint["deployedModels"] = models.into();
                }
            }
            Some(End::Undeploy(gone)) => {
                if let Some(endpoint) = self.resources.get_mut(&path)
                    && let Some(models) = endpoint["deployedModels"].as_array_mut()
                {
                    models.retain(|one| one["id"] != gone.as_str());
                }
            }
            Some(End::Scale(id, resources)) => {
                let models = self.resources.get_mut(&path).and_then(|one| one["deployedModels"].as_array_mut());
                for model in models.into_iter().flatten().filter(|one| one["id"] == id.as_str()) {
                    for count in REPLICAS {
                        model["dedicatedResources"][count] = resources[count].clone();
                    }
                }
            }
            Some(End::Failed(error)) => {
                if let Some(operation) = self.operations.get_mut(&id) {
                    operation.error = error;
                }
            }
            None => {}
        }
    }

    fn operation(&mut self, id: &str) -> Reply {
        let id = id.parse().unwrap_or_default();
        self.tick(id);
        match self.shown(id) {
            Value::Null => refused(404, "NOT_FOUND", "no such operation"),
            shown => Reply::json(200, shown),
        }
    }

    fn ongoing(&mut self, path: &str) -> Reply {
        let of = path.trim_end_matches("/operations").to_owned();
        let all: Vec<u64> = self.operations.iter().filter(|(_, one)| one.path == of).map(|(id, _)| *id).collect();
        for id in &all {
            self.tick(*id);
        }
        Reply::json(200, json!({"operations": all.iter().map(|id| self.shown(*id)).collect::<Vec<_>>()}))
    }

    fn goes_on(&self, path: &str, what: fn(&End) -> bool) -> bool {
        self.operations.values().any(|one| one.path == path && one.end.as_ref().is_some_and(what))
    }

    fn upload(&mut self, asked: &Asked) -> Reply {
        let body = match body(asked, wire::upload) {
            Ok(body) => body,
            Err(reply) => return reply,
        };
        let id = body["modelId"].as_str().unwrap_or_default();
        if !is_id(id) {
            return refused(400, "INVALID_ARGUMENT", "model_id");
        }
        let path = format!("models/{id}");
        if self.resources.contains_key(&path) || self.goes_on(&path, |end| matches!(end, End::Put(_))) {
            return refused(409, "ALREADY_EXISTS", "There is a model of this id.");
        }
        self.count("models uploaded");
        let mut model = body["model"].clone();
        model["name"] = json!(name(&path));
        model["versionId"] = json!("1");
        self.begin(&path, End::Put(model))
    }

    fn create(&mut self, asked: &Asked) -> Reply {
        let mut body = match body(asked, |body| wire::endpoint(body, true)) {
            Ok(body) => body,
            Err(reply) => return reply,
        };
        let id = asked.parameter("endpointId").unwrap_or_default();
        if !is_id(id) {
            return refused(400, "INVALID_ARGUMENT", "endpoint_id");
        }
        let path = format!("endpoints/{id}");
        if self.resources.contains_key(&path) || self.goes_on(&path, |end| matches!(end, End::Put(_))) {
            return refused(409, "ALREADY_EXISTS", "There is an endpoint of this id.");
        }
        self.count("endpoints made");
        body["name"] = json!(name(&path));
        self.begin(&path, End::Put(body))
    }

    fn patch(&mut self, path: &str, asked: &Asked) -> Reply {
        let body = match body(asked, |body| wire::endpoint(body, false)) {
            Ok(body) => body,
            Err(reply) => return reply,
        };
        let Some(mask) = asked.parameter("updateMask").filter(|mask| !mask.is_empty()) else {
            return refused(400, "INVALID_ARGUMENT", "update_mask");
        };
        let Some(there) = self.resources.get(path).cloned() else {
            return refused(404, "NOT_FOUND", "The endpoint is not found.");
        };
        let mut now = there.clone();
        for field in mask.split(',') {
            if !["displayName", "labels", "trafficSplit", "predictRequestResponseLoggingConfig"].contains(&field) {
                return refused(400, "INVALID_ARGUMENT", "update_mask");
            }
            now[field] = body[field].clone();
        }
        let models = there["deployedModels"].as_array().cloned().unwrap_or_default();
        let split = now["trafficSplit"].as_object().cloned().unwrap_or_default();
        if !split.keys().all(|id| models.iter().any(|one| one["id"] == id.as_str())) {
            return refused(400, "INVALID_ARGUMENT", "traffic_split names a model that is not deployed");
        }
        self.count("endpoints changed");
        self.resources.insert(path.to_owned(), now.clone());
        Reply::json(200, now)
    }

    fn deploy(&mut self, path: &str, asked: &Asked) -> Reply {
        let body = match body(asked, wire::deploy) {
            Ok(body) => body,
            Err(reply) => return reply,
        };
        let Some(endpoint) = self.resources.get(path) else {
            return refused(404, "NOT_FOUND", "The endpoint is not found.");
        };
        let mut model = body["deployedModel"].clone();
        let resources = &model["dedicatedResources"];
        if resources["maxReplicaCount"].as_u64() < resources["minReplicaCount"].as_u64() {
            return refused(400, "INVALID_ARGUMENT", "max_replica_count");
        }
        let id = model["id"].as_str().unwrap_or_default().to_owned();
        if !(1..=10).contains(&id.len()) || !id.bytes().all(|byte| byte.is_ascii_digit()) {
            return refused(400, "INVALID_ARGUMENT", "deployed_model.id");
        }
        let there =
            endpoint["deployedModels"].as_array().is_some_and(|all| all.iter().any(|one| one["id"] == id.as_str()));
        let coming = self.operations.values().any(|one| {
            one.path == path && matches!(&one.end, Some(End::Deploy(coming)) if coming["id"] == id.as_str())
        });
        if there || coming {
            return refused(409, "ALREADY_EXISTS", "There is a deployed model of this id.");
        }
        if !body["trafficSplit"].is_null() {
            return refused(501, "UNIMPLEMENTED", "this stand-in moves traffic by PATCH alone");
        }
        let of =
            model["model"].as_str().unwrap_or_default().rsplit_once("/models/").map(|(_, id)| format!("models/{id}"));
        let Some(of) = of.filter(|of| self.resources.contains_key(of)) else {
            return refused(404, "NOT_FOUND", "The model is not found.");
        };
        model["model"] = json!(name(&of));
        model["modelVersionId"] = json!("1");
        self.count("models deployed");
        match self.fail.take() {
            Some(error) => self.begin(path, End::Failed(error)),
            None => self.begin(path, End::Deploy(model)),
        }
    }

    fn undeploy(&mut self, path: &str, asked: &Asked) -> Reply {
        let body = match body(asked, wire::undeploy) {
            Ok(body) => body,
            Err(reply) => return reply,
        };
        let endpoint = self.resource(path);
        let id = body["deployedModelId"].as_str().unwrap_or_default();
        let there = endpoint["deployedModels"].as_array().is_some_and(|all| all.iter().any(|one| one["id"] == id));
        if !there {
            return refused(404, "NOT_FOUND", "The deployed model is not found.");
        }
        if endpoint["trafficSplit"][id].as_u64().unwrap_or_default() > 0 {
            return refused(400, "FAILED_PRECONDITION", "The deployed model gets traffic.");
        }
        self.count("models undeployed");
        self.begin(path, End::Undeploy(id.to_owned()))
    }

    fn scale(&mut self, path: &str, asked: &Asked) -> Reply {
        let body = match body(asked, wire::scale) {
            Ok(body) => body,
            Err(reply) => return reply,
        };
        let mask = body["updateMask"].as_str().unwrap_or_default();
        if mask != REPLICAS.map(|count| format!("dedicatedResources.{count}")).join(",") {
            return refused(400, "INVALID_ARGUMENT", "update_mask");
        }
        let (model, endpoint) = (&body["deployedModel"], self.resource(path));
        let id = model["id"].as_str().unwrap_or_default().to_owned();
        let there =
            endpoint["deployedModels"].as_array().is_some_and(|all| all.iter().any(|one| one["id"] == id.as_str()));
        if !there {
            return refused(404, "NOT_FOUND", "The deployed model is not found.");
        }
        self.count("models scaled");
        self.begin(path, End::Scale(id, model["dedicatedResources"].clone()))
    }

    fn delete(&mut self, path: &str) -> Reply {
        let Some(resource) = self.resources.get(path) else {
            return refused(404, "NOT_FOUND", "The resource is not found.");
        };
        if resource["deployedModels"].as_array().is_some_and(|all| !all.is_empty()) {
            return refused(400, "FAILED_PRECONDITION", "The endpoint has deployed models.");
        }
        let deployed = |endpoint: &Value| {
            let all = endpoint["deployedModels"].as_array();
            all.is_some_and(|all| all.iter().any(|one| one["model"] == name(path).as_str()))
        };
        if self.resources.values().any(deployed) {
            return refused(400, "FAILED_PRECONDITION", "The model is deployed.");
        }
        self.count(if path.starts_with("models") { "models deleted" } else { "endpoints deleted" });
        self.begin(path, End::Gone)
    }

    /// Two at a time, so that whoever reads lists has to turn pages.
    fn list(&self, asked: &Asked) -> Reply {
        let Some((label, value)) =
            asked.parameter("filter").and_then(|filter| filter.strip_prefix("labels.")?.split_once('='))
        else {
            return refused(400, "INVALID_ARGUMENT", "filter");
        };
        let matching: Vec<&Value> = self
            .resources
            .iter()
            .filter(|(path, one)| path.starts_with("models/") && one["labels"][label] == value)
            .map(|(_, one)| one)
            .collect();
        let from: usize = asked.parameter("pageToken").and_then(|token| token.parse().ok()).unwrap_or_default();
        let page: Vec<&Value> = matching.iter().skip(from).take(2).copied().collect();
        let mut body = json!({"models": page});
        if from + 2 < matching.len() {
            body["nextPageToken"] = json!((from + 2).to_string());
        }
        Reply::json(200, body)
    }

    /// Answers each instance with itself, and who answers.
    fn predict(&self, path: &str, asked: &Asked) -> Reply {
        let body = match body(asked, wire::predict) {
            Ok(body) => body,
            Err(reply) => return reply,
        };
        let endpoint = self.resource(path);
        let split = endpoint["trafficSplit"].as_object().cloned().unwrap_or_default();
        match split.iter().find(|(_, percent)| percent.as_u64() > Some(0)) {
            None => refused(400, "FAILED_PRECONDITION", "The endpoint has no deployed model with traffic."),
            Some((id, _)) => Reply::json(200, json!({"predictions": body["instances"], "deployedModelId": id})),
        }
    }
}

fn body(asked: &Asked, check: impl Fn(&Value) -> Result<(), String>) -> Result<Value, Reply> {
    let body = asked.json().ok_or_else(|| refused(400, "INVALID_ARGUMENT", "JSON is wanted"))?;
    check(&body).map_err(|problem| refused(400, "INVALID_ARGUMENT", &problem))?;
    Ok(body)
}
