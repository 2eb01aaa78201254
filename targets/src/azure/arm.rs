//! Azure's management API: resources by path, operations that go on, refusals.

use engine::failure::Failure;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;
use url::Url;

use super::sign_in::said;
use crate::{
    codes,
    http::{Body, CallError, Exchange, HeaderName, Method, Request, Said},
    managed::signed_in::SignedIn,
};

/// More pages of a list are not read.
const MAX_PAGES: usize = 50;
/// Longer addresses of operations are not kept.
const MAX_OPERATION: usize = 2_000;
const SUBSCRIPTIONS_VERSION: &str = "2022-12-01";
const LOCATION: HeaderName = HeaderName::from_static("location");
const ASYNC_OPERATION: HeaderName = HeaderName::from_static("azure-asyncoperation");

/// The management API, signed in.
#[derive(Clone)]
pub(crate) struct Arm {
    api: SignedIn,
}

/// What became of a call that may go on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Operation {
    /// Where it is asked about; None when the platform named no place, or one that is not its own.
    pub(crate) url: Option<String>,
    /// When to ask first, in seconds.
    pub(crate) retry_after: Option<u64>,
}

/// How an operation is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It goes on.
    Running(Option<Duration>),
    /// It ended well.
    Succeeded,
    /// It did not.
    Failed(Said),
    /// The platform does not know it any more.
    Forgotten,
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    value: Vec<Value>,
    #[serde(default, rename = "nextLink")]
    next_link: Option<String>,
}

impl Arm {
    pub(super) fn new(api: SignedIn) -> Self {
        Self { api }
    }

    /// The other side's words, made harmless.
    pub(crate) fn clean(&self, text: &str, most: usize) -> String {
        self.api.node().scrubber().clean(text, most)
    }

    async fn exchange(
        &self,
        method: Method,
        path: &[&str],
        version: &str,
        body: Option<&Value>,
        doing: &str,
    ) -> Result<Exchange, CallError> {
        let query = [("api-version", version)];
        let body = || body.map_or(Body::None, |body| Body::Json(body.clone()));
        let request = || Request { query: &query, body: body(), ..Request::new(method.clone(), path, doing) };
        self.api.exchange(request).await
    }

    /// A resource; None when there is none.
    pub(crate) async fn get(&self, path: &[&str], version: &str, doing: &str) -> Result<Option<Value>, CallError> {
        let answer = self.exchange(Method::GET, path, version, None, doing).await?;
        match answer.status {
            404 => Ok(None),
            _ if answer.succeeded() => Ok(Some(answer.json(doing)?)),
            _ => Err(refused(&answer, doing)),
        }
    }

    /// Makes a resource, or makes it so.
    pub(crate) async fn put(
        &self,
        path: &[&str],
        version: &str,
        body: Value,
        doing: &str,
    ) -> Result<Operation, CallError> {
        let answer = self.exchange(Method::PUT, path, version, Some(&body), doing).await?;
        self.begun(&answer, doing)
    }

    /// Takes a resource away; one that is not there is away. None: there was none.
    pub(crate) async fn delete(
        &self,
        path: &[&str],
        version: &str,
        doing: &str,
    ) -> Result<Option<Operation>, CallError> {
        let answer = self.exchange(Method::DELETE, path, version, None, doing).await?;
        if answer.status == 404 { Ok(None) } else { self.begun(&answer, doing).map(Some) }
    }

    /// An action of a resource that answers at once.
    pub(crate) async fn post(
        &self,
        path: &[&str],
        version: &str,
        body: Value,
        doing: &str,
    ) -> Result<Value, CallError> {
        let body = Some(&body).filter(|body| !body.is_null());
        let answer = self.exchange(Method::POST, path, version, body, doing).await?;
        if answer.succeeded() { answer.json(doing) } else { Err(refused(&answer, doing)) }
    }

    /// All of a list.
    pub(crate) async fn list(&self, path: &[&str], version: &str, doing: &str) -> Result<Vec<Value>, CallError> {
        let mut answer = self.exchange(Method::GET, path, version, None, doing).await?;
        let mut all = Vec::new();
        for _ in 0..MAX_PAGES {
            if answer.status == 404 {
                return Ok(all);
            }
            if !answer.succeeded() {
                return Err(refused(&answer, doing));
            }
            let page: Page = answer.json(doing)?;
            all.extend(page.value);
            let Some(next) = page.next_link.filter(|next| !next.is_empty()) else { return Ok(all) };
            answer = self.at(&next, doing).await?;
        }
        let message = format!("Azure's list does not end while {doing}: more than {MAX_PAGES} pages.");
        Err(CallError::reported(Failure::new(codes::NODE_ANSWER_TOO_LARGE, message)))
    }

    /// The ids of the subscriptions that the credentials see.
    pub(crate) async fn subscriptions(&self) -> Result<Vec<Value>, CallError> {
        self.list(&["subscriptions"], SUBSCRIPTIONS_VERSION, "listing the subscriptions").await
    }

    /// How an operation is.
    pub(crate) async fn progress(&self, url: &str) -> Result<Progress, CallError> {
        let doing = "asking about an operation";
        let answer = self.at(url, doing).await?;
        let status = |value: &Value| value["status"].as_str().unwrap_or_default().to_ascii_lowercase();
        match answer.status {
            202 => Ok(Progress::Running(answer.retry_after())),
            404 | 410 => Ok(Progress::Forgotten),
            _ if !answer.succeeded() => Err(refused(&answer, doing)),
            _ => Ok(match answer.value() {
                Some(value) => match status(&value).as_str() {
                    // What a `Location` leads to is the resource itself once it is there.
                    "succeeded" | "" => Progress::Succeeded,
                    "failed" => Progress::Failed(said(&value)),
                    "canceled" | "cancelled" => Progress::Failed(Said {
                        code: "Canceled".to_owned(),
                        message: "Somebody cancelled it.".to_owned(),
                    }),
                    _ => Progress::Running(answer.retry_after()),
                },
                None => Progress::Succeeded,
            }),
        }
    }

    /// Reads a URL that the platform named, on its own host alone.
    async fn at(&self, url: &str, doing: &str) -> Result<Exchange, CallError> {
        let at = self.api.node().url().named(url).ok_or_else(|| {
            let message = format!("Azure named an address that is none while {doing}.");
            CallError::reported(Failure::new(codes::NODE_ANSWER_UNEXPECTED, message))
        })?;
        self.api.exchange(|| Request { at: Some(at.clone()), ..Request::new(Method::GET, &[], doing) }).await
    }

    fn begun(&self, answer: &Exchange, doing: &str) -> Result<Operation, CallError> {
        if !answer.succeeded() {
            return Err(refused(answer, doing));
        }
        let named = answer.header(ASYNC_OPERATION).or_else(|| answer.header(LOCATION));
        // Kept only if it may be asked later: it goes into the run's notes.
        let node = self.api.node();
        let own = |text: &&str| {
            text.len() <= MAX_OPERATION
                && node.url().named(text).is_some_and(|url| same_place(node.url().as_str(), &url))
        };
        let url = named.filter(own).map(str::to_owned);
        Ok(Operation { url, retry_after: answer.retry_after().map(|wait| wait.as_secs()) })
    }
}

fn same_place(base: &str, other: &Url) -> bool {
    Url::parse(base).is_ok_and(|base| base.origin() == other.origin())
}

/// What a refusal means.
fn refused(answer: &Exchange, doing: &str) -> CallError {
    let said = answer.value().map(|value| said(&value)).unwrap_or_default();
    let error = answer.refused(doing, &said);
    // Something else goes on with this resource: it may be over when we come back.
    if answer.status == 409 || answer.status == 412 {
        let failure = Failure { code: codes::NODE_BUSY, ..error.failure };
        return CallError { failure, retryable: true, retry_after: answer.retry_after(), ..error };
    }
    error
}
