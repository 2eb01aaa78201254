//! How the node's API is called: under `/dip/publicapi`, with the administrator's key, sometimes acting as a user.

use std::time::Duration;

use engine::{failure::Failure, secrets::Secret};
use serde_json::{Map, Value};

use crate::{
    codes,
    http::{Body, CallError, Effect, Http, Method, Node, NodeUrl, Request, Upload},
    report::Report,
    spec::NodeSpec,
};

/// Longest list that we read, and longest id in one: notes and receipts are made of them.
const MAX_ITEMS: usize = 10_000;
const MAX_ID_CHARS: usize = 300;

/// The node's API.
pub(super) struct Api {
    node: Node,
    blocking: Duration,
    acting_user: Option<String>,
    /// The name of a web app's run-as field.
    pub(super) webapp_run_as_field: String,
}

/// In whose name a call is made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum As {
    /// The key's own.
    Admin,
    /// The deploy-as user's, else the requester's.
    Actor,
}

impl Api {
    pub(super) fn new(http: &Http, node: &NodeSpec, key: &Secret, acting_user: Option<&str>) -> Result<Self, Failure> {
        let url = NodeUrl::parse(&node.url, &http.settings().blocked)?;
        Ok(Self {
            node: http.node(url, key, node.trust_all_certificates),
            blocking: Duration::from_millis(node.call_timeout_ms),
            acting_user: acting_user.map(str::to_owned),
            webapp_run_as_field: node.webapp_run_as_field.clone(),
        })
    }

    /// What records about this node are kept under.
    pub(super) fn url(&self) -> &str {
        self.node.url().as_str()
    }

    /// A node's words, made harmless.
    pub(super) fn clean(&self, text: &str) -> String {
        self.node.scrubber().clean(text, 300)
    }

    /// A node's value for a receipt: only simple ones, made harmless.
    pub(super) fn clean_value(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.clean(text)),
            Value::Array(_) | Value::Object(_) => Value::String(self.clean(&value.to_string())),
            simple => simple.clone(),
        }
    }

    /// The node's version, beside the answer.
    pub(super) async fn get_with_version(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        doing: &str,
    ) -> Result<(Value, Option<String>), CallError> {
        let path = full(path);
        self.node.json_and_version(self.request(Method::GET, &path, query, As::Admin, Body::None, doing)).await
    }

    /// Reads, as administrator.
    pub(super) async fn get(&self, path: &[&str], doing: &str) -> Result<Value, CallError> {
        let path = full(path);
        self.node.json(self.request(Method::GET, &path, &[], As::Admin, Body::None, doing)).await
    }

    /// Reads with a query, as administrator.
    pub(super) async fn get_with(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        doing: &str,
    ) -> Result<Value, CallError> {
        let path = full(path);
        self.node.json(self.request(Method::GET, &path, query, As::Admin, Body::None, doing)).await
    }

    /// Reads an object, as administrator.
    pub(super) async fn get_object(&self, path: &[&str], doing: &str) -> Result<Map<String, Value>, CallError> {
        object(self.get(path, doing).await?, doing)
    }

    /// Writes; the answer's body says nothing.
    pub(super) async fn put(&self, path: &[&str], who: As, body: Value, doing: &str) -> Result<(), CallError> {
        let path = full(path);
        self.silent(self.request(Method::PUT, &path, &[], who, Body::Json(body), doing)).await
    }

    /// Does something that takes no body and answers nothing of use.
    pub(super) async fn put_action(&self, path: &[&str], who: As, doing: &str) -> Result<(), CallError> {
        let path = full(path);
        self.silent(self.request(Method::PUT, &path, &[], who, Body::None, doing)).await
    }

    /// Makes something new; the answer's body says nothing.
    pub(super) async fn create(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        body: Value,
        doing: &str,
    ) -> Result<(), CallError> {
        let path = full(path);
        self.silent(self.request(Method::POST, &path, query, As::Actor, Body::Json(body), doing)).await
    }

    /// Does something and answers what the node says of it.
    pub(super) async fn act(&self, path: &[&str], who: As, body: Value, doing: &str) -> Result<Value, CallError> {
        let path = full(path);
        self.node.json(self.request(Method::POST, &path, &[], who, Body::Json(body), doing)).await
    }

    /// Deletes: a call that blocks for as long as it takes.
    pub(super) async fn delete(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        who: As,
        doing: &str,
    ) -> Result<(), CallError> {
        let path = full(path);
        let request = self.request(Method::DELETE, &path, query, who, Body::None, doing);
        self.silent(Request { timeout: Some(self.blocking), ..request }).await
    }

    /// Uploads as the acting user: a call that blocks for as long as it takes.
    pub(super) async fn upload(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        upload: Upload,
        doing: &str,
    ) -> Result<(), CallError> {
        let path = full(path);
        let request = self.request(Method::POST, &path, query, As::Actor, Body::Upload(upload), doing);
        self.silent(Request { timeout: Some(self.blocking), ..request }).await
    }

    /// Makes a call as the acting user that blocks for as long as it takes, and answers a report.
    pub(super) async fn blocking(&self, path: &[&str], body: Option<Value>, doing: &str) -> Result<Value, CallError> {
        let path = full(path);
        let body = body.map_or(Body::None, Body::Json);
        let request = self.request(Method::POST, &path, &[], As::Actor, body, doing);
        self.node.json(Request { timeout: Some(self.blocking), ..request }).await
    }

    /// A call whose answer says nothing, unless it is a report with an error.
    async fn silent(&self, request: Request<'_>) -> Result<(), CallError> {
        let doing = request.doing.to_owned();
        let answer = self.node.any(request).await?;
        let report = answer.map(|answer| Report::within(&answer, &|text| self.clean(text))).unwrap_or_default();
        match report.verdict(&doing) {
            Ok(_) => Ok(()),
            Err(failure) => Err(CallError::reported(failure)),
        }
    }

    fn request<'a>(
        &'a self,
        method: Method,
        path: &'a [&'a str],
        query: &'a [(&'a str, &'a str)],
        who: As,
        body: Body,
        doing: &'a str,
    ) -> Request<'a> {
        let acting_as = self.acting_user.as_deref().filter(|_| who == As::Actor);
        Request { method, path, at: None, query, headers: &[], acting_as, body, timeout: None, doing }
    }
}

fn full<'a>(path: &[&'a str]) -> Vec<&'a str> {
    ["dip", "publicapi"].into_iter().chain(path.iter().copied()).collect()
}

/// JSON of another shape than the API promises.
pub(super) fn unexpected(doing: &str) -> CallError {
    CallError::permanent(
        codes::NODE_ANSWER_UNEXPECTED,
        format!(
            "The node's answer does not have the shape that an Automation node's has ({doing}). Check the URL, and the node's version."
        ),
        Effect::Ended,
    )
}

pub(super) fn object(value: Value, doing: &str) -> Result<Map<String, Value>, CallError> {
    match value {
        Value::Object(map) => Ok(map),
        _ => Err(unexpected(doing)),
    }
}

pub(super) fn list(value: Value, doing: &str) -> Result<Vec<Value>, CallError> {
    match value {
        Value::Array(items) if items.len() <= MAX_ITEMS => Ok(items),
        _ => Err(unexpected(doing)),
    }
}

/// The text under `key`, as an id.
pub(super) fn id(item: &Value, key: &str, doing: &str) -> Result<String, CallError> {
    let text =
        item.get(key).and_then(Value::as_str).filter(|text| !text.is_empty() && text.chars().count() <= MAX_ID_CHARS);
    text.map(str::to_owned).ok_or_else(|| unexpected(doing))
}
