//! `slipway agent` beside the node, over HTTP: files by name, resumed where a broken connection left them, checked at their end. See `docs/targets/STATIC.md`.

use std::time::Duration;

use engine::{
    failure::{Failure, StepError},
    secrets::Secret,
};
use futures_util::StreamExt as _;
use serde::Deserialize;

use super::{failed, problem_of};
use crate::{
    codes,
    http::{Auth, Body, Exchange, HeaderName, Method, Node, NodeUrl, Request, Said, Tls},
    service_package::ServicePackage,
    target::Problem,
    tools::Tools,
};

/// What the agent is called in texts.
const WHO: &str = "The agent beside the node";
/// The version of the agent's API that we speak.
const VERSION: u32 = 1;
const SENDING: &str = "sending the package to the agent";
const CONTENT_RANGE: HeaderName = HeaderName::from_static("content-range");
const SHA256: HeaderName = HeaderName::from_static("x-slipway-sha256");

/// An agent.
pub(in crate::api_static) struct Agent {
    node: Node,
    /// Its folder as the API node sees it, if not as the agent does.
    there: Option<String>,
    patience: Duration,
}

/// What an agent says of itself.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Hello {
    agent: u32,
    /// Absolute, as the agent sees it.
    folder: String,
    /// Bytes that may still be brought.
    free: u64,
    /// The largest file, in bytes.
    largest: u64,
}

/// What it has of a file.
#[derive(Debug, Deserialize)]
struct Held {
    /// Bytes.
    received: u64,
    /// Checked, and in its place.
    complete: bool,
}

#[derive(Deserialize)]
struct Listed {
    files: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
struct Refusal {
    code: String,
    message: String,
}

impl Agent {
    pub(super) fn new(
        tools: &Tools,
        url: &str,
        key: &Secret,
        trust_all: bool,
        there: Option<String>,
        patience: Duration,
    ) -> Result<Self, Failure> {
        let url = NodeUrl::parse(url, &tools.http.settings().blocked)?;
        let http =
            if trust_all { tools.http.with_tls(&Tls { trust_all, ..Tls::default() })? } else { tools.http.clone() };
        Ok(Self { node: http.platform(WHO, url, Auth::Bearer(key.clone())), there, patience })
    }

    async fn hello(&self) -> Result<Hello, StepError> {
        let doing = "asking the agent what it is";
        let exchange = self.node.exchange(Request::new(Method::GET, &["agent", "v1"], doing)).await?;
        if !exchange.succeeded() {
            return Err(refused(&exchange, doing));
        }
        let hello: Hello = exchange.json(doing)?;
        if hello.agent != VERSION || !super::is_plain_path(&hello.folder) {
            let message = "What answers at the agent's URL is no agent of a version that this worker knows, or its folder has a name that can't be used. Check the URL, and update the agent.";
            return Err(Failure::new(codes::AGENT_INVALID, message).permanent());
        }
        Ok(hello)
    }

    pub(super) async fn problems(&self, most: u64) -> Result<Vec<Problem>, StepError> {
        let hello = match self.hello().await {
            Err(StepError::Permanent(failure)) => return Ok(vec![super::problem(failure)]),
            hello => hello?,
        };
        Ok(too_large(&hello, most).map(|message| problem_of(&codes::DELIVERY_FAILED, message)).into_iter().collect())
    }

    pub(super) async fn put(&self, name: &str, package: &ServicePackage) -> Result<String, StepError> {
        let hello = self.hello().await?;
        let there = format!("{}/{name}", self.there.as_deref().unwrap_or(&hello.folder));
        let held = self.held(name).await?;
        // It looks at what it has before it says so again: somebody may have changed it since.
        if held.complete && held.received == package.size {
            let looked = self.send(name, package, package.size).await?;
            match looked.status {
                // Other bytes: nothing of it is of use.
                409 => {}
                _ if looked.succeeded() => return Ok(there),
                _ => return Err(refused(&looked, SENDING)),
            }
        }
        // What lies there is no beginning of what is sent: it begins anew.
        let anew = held.complete || held.received > package.size;
        let received = if anew { self.delete(name).await.map(|()| 0)? } else { held.received };
        if let Some(message) = too_large(&hello, package.size - received) {
            return Err(failed(message, String::new()).retryable(None));
        }
        let exchange = self.send(name, package, received).await?;
        if !exchange.succeeded() {
            return Err(refused(&exchange, SENDING));
        }
        match self.held(name).await? {
            Held { complete: true, .. } => Ok(there),
            held => {
                let message = "The agent took the package and does not show it. Look at the agent's log.";
                Err(failed(message, format!("{held:?}")).retryable(None))
            }
        }
    }

    /// Sends what follows `from`.
    async fn send(&self, name: &str, package: &ServicePackage, from: u64) -> Result<Exchange, StepError> {
        let (size, left) = (package.size, package.size - from);
        let range = match left {
            0 => format!("bytes */{size}"),
            _ => format!("bytes {from}-{}/{size}", size - 1),
        };
        let content = package.open_at(from).await?.boxed();
        let path = ["agent", "v1", "files", name];
        let request = Request {
            headers: &[(CONTENT_RANGE, Secret::from(range)), (SHA256, Secret::from(package.sha256.clone()))],
            body: Body::Stream("application/octet-stream", left, content),
            timeout: Some(self.patience),
            ..Request::new(Method::PUT, &path, SENDING)
        };
        Ok(self.node.exchange(request).await?)
    }

    async fn held(&self, name: &str) -> Result<Held, StepError> {
        let doing = "asking the agent for the package";
        let exchange = self.node.exchange(Request::new(Method::GET, &["agent", "v1", "files", name], doing)).await?;
        match exchange.status {
            404 => Ok(Held { received: 0, complete: false }),
            200 => Ok(exchange.json(doing)?),
            _ => Err(refused(&exchange, doing)),
        }
    }

    async fn delete(&self, name: &str) -> Result<(), StepError> {
        let doing = "removing a package from the agent's folder";
        let exchange = self.node.exchange(Request::new(Method::DELETE, &["agent", "v1", "files", name], doing)).await?;
        if exchange.succeeded() || exchange.status == 404 { Ok(()) } else { Err(refused(&exchange, doing)) }
    }

    pub(super) async fn remove(&self, prefix: &str, keep: &[String]) -> Result<(), StepError> {
        let doing = "listing the agent's files";
        let exchange = self.node.exchange(Request::new(Method::GET, &["agent", "v1", "files"], doing)).await?;
        if !exchange.succeeded() {
            return Err(refused(&exchange, doing));
        }
        let listed: Listed = exchange.json(doing)?;
        for Named { name } in listed.files {
            if name.starts_with(prefix) && !keep.contains(&name) {
                self.delete(&name).await?;
            }
        }
        Ok(())
    }
}

fn too_large(hello: &Hello, bytes: u64) -> Option<String> {
    if bytes > hello.largest {
        return Some(format!(
            "The package is larger than the agent takes: {bytes} bytes, and it takes {}.",
            hello.largest
        ));
    }
    (bytes > hello.free).then(|| {
        format!(
            "The disk beside the node has no room for the package: {bytes} bytes are to be brought, and {} are left.",
            hello.free
        )
    })
}

/// What the agent's refusal means: another try begins where this one ended, or anew where what arrived was not what was sent.
fn refused(exchange: &Exchange, doing: &str) -> StepError {
    let said: Option<Refusal> = exchange.json(doing).ok();
    let said = said.map(|said| Said { code: said.code, message: said.message }).unwrap_or_default();
    let mut error = exchange.refused(doing, &said);
    // 409: it has other bytes than we thought. 422: what arrived has another checksum. 423: another upload of it is under way. 507: its disk is full.
    error.retryable |= matches!(exchange.status, 409 | 422 | 423 | 507);
    error.into()
}
