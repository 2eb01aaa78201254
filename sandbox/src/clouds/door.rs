//! The way of one request to a cloud's stand-in: read, logged, hit by a fault, done, answered.

use crate::socket::{Plug, PlugAcceptor, Plugs};
use bytes::Bytes;
use poem::http::{HeaderMap, Method, StatusCode};
use poem::{Endpoint, Request, Response, Server};
use serde_json::{Value, json};
use std::io;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Larger bodies are refused, in bytes.
const MAX_BODY: usize = 64 * 1024 * 1024;

/// A cloud.
pub trait StandIn: Send + Sync + 'static {
    /// Does what a call asks. `base` is the stand-in's own URL.
    fn answer(&self, asked: &Asked, base: &str) -> Reply;

    /// What there is, for comparing: state and counted effects.
    fn effects(&self) -> Value;
}

/// A call.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Its method.
    pub method: String,
    /// Its path, unescaped, by segments.
    pub path: Vec<String>,
    /// Its query.
    pub query: Vec<(String, String)>,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Asked {
    /// A header that is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// What the caller shows itself with.
    pub fn bearer(&self) -> Option<&str> {
        self.header("authorization")?.strip_prefix("Bearer ")
    }

    /// The body, if it is JSON and says so.
    pub fn json(&self) -> Option<Value> {
        self.header("content-type").filter(|kind| kind.starts_with("application/json"))?;
        serde_json::from_slice(&self.body).ok()
    }

    /// A field of a form.
    pub fn form(&self, name: &str) -> Option<String> {
        self.header("content-type").filter(|kind| *kind == "application/x-www-form-urlencoded")?;
        let fields = url::form_urlencoded::parse(&self.body);
        fields.into_iter().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }

    /// A parameter of the query.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The path's segments as text, for matching.
    pub fn segments(&self) -> Vec<&str> {
        self.path.iter().map(String::as_str).collect()
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Its status.
    pub status: u16,
    /// Headers beside those of every answer.
    pub headers: Vec<(&'static str, String)>,
    /// Its body; null is none.
    pub body: Value,
    /// Instead of that: bytes of this type.
    pub raw: Option<(&'static str, Bytes)>,
}

impl Reply {
    /// With a body.
    pub fn json(status: u16, body: Value) -> Self {
        Self { status, headers: Vec::new(), body, raw: None }
    }

    /// With bytes.
    pub fn raw(status: u16, kind: &'static str, body: Bytes) -> Self {
        Self { status, headers: Vec::new(), body: Value::Null, raw: Some((kind, body)) }
    }

    /// One more header.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// What happens to a call instead, or after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloudFault {
    /// Refused with this status, without an effect; 429 and 503 with `Retry-After: 7`.
    Status(u16),
    /// The connection is reset, without an effect.
    Reset,
    /// The connection is reset after the effect.
    LostAnswer,
    /// The effect, and no answer ever.
    Silence,
}

/// A call as it came.
#[derive(Clone, Debug)]
pub struct CloudCall {
    /// Its method.
    pub method: String,
    /// Its path as it was sent.
    pub path: String,
    /// Its query.
    pub query: Vec<(String, String)>,
    /// Its body, if it is JSON.
    pub body: Value,
    /// The answer's status; None where there was none.
    pub status: Option<u16>,
    /// Whether a fault met it.
    pub fault: bool,
}

impl CloudCall {
    /// For judges in other languages.
    pub fn to_json(&self) -> Value {
        json!({"method": self.method, "path": self.path, "query": self.query, "body": self.body, "status": self.status})
    }
}

#[derive(Default)]
struct Desk {
    calls: Vec<CloudCall>,
    /// After so many calls more, this once.
    fault: Option<(usize, CloudFault)>,
}

struct Core<S> {
    stand: S,
    desk: Mutex<Desk>,
    base: String,
    plugs: Arc<Plugs>,
    stop: CancellationToken,
}

impl<S> Core<S> {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fault(&self) -> Option<CloudFault> {
        let mut desk = self.desk();
        let (left, fault) = desk.fault.as_mut()?;
        if *left > 0 {
            *left -= 1;
            return None;
        }
        let fault = *fault;
        desk.fault = None;
        Some(fault)
    }
}

/// A stand-in that listens, until it is dropped.
pub struct RunningCloud<S> {
    core: Arc<Core<S>>,
}

impl<S: StandIn> RunningCloud<S> {
    /// Listens on a free port of this machine.
    ///
    /// # Errors
    /// When there is no port.
    pub async fn start(stand: S) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let base = format!("http://{}", listener.local_addr()?);
        let (plugs, stop) = (Arc::new(Plugs::default()), CancellationToken::new());
        let acceptor = PlugAcceptor { listener, plugs: Arc::clone(&plugs) };
        let core = Arc::new(Core { stand, desk: Mutex::default(), base, plugs, stop: stop.clone() });
        let door = Door(Arc::clone(&core));
        let server = Server::new_with_acceptor(acceptor);
        tokio::spawn(server.run_with_graceful_shutdown(door, stop.cancelled_owned(), Some(Duration::ZERO)));
        Ok(Self { core })
    }

    /// Its URL, such as `http://127.0.0.1:40123`.
    pub fn url(&self) -> &str {
        &self.core.base
    }

    /// The call after so many others meets this fault, once.
    pub fn arm(&self, after: usize, fault: CloudFault) {
        self.core.desk().fault = Some((after, fault));
    }

    /// Whether the fault that was armed is still to come. It is disarmed.
    pub fn disarm(&self) -> bool {
        self.core.desk().fault.take().is_some()
    }

    /// All calls, in order.
    pub fn calls(&self) -> Vec<CloudCall> {
        self.core.desk().calls.clone()
    }

    /// What there is, for comparing with another one's: its own address is `CLOUD`.
    pub fn effects(&self) -> Value {
        let told = self.core.stand.effects().to_string().replace(&self.core.base, "CLOUD");
        serde_json::from_str(&told).unwrap_or_default()
    }
}

impl<S> Deref for RunningCloud<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.core.stand
    }
}

impl<S> Drop for RunningCloud<S> {
    fn drop(&mut self) {
        self.core.stop.cancel();
        self.core.plugs.pull_all();
    }
}

struct Door<S>(Arc<Core<S>>);

impl<S: StandIn> Endpoint for Door<S> {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let core = &self.0;
        let plug = core.plugs.of(request.remote_addr());
        let (path, method) = (request.uri().path().to_owned(), request.method().clone());
        let asked = match read(request).await {
            Ok(asked) => asked,
            Err(status) => return Ok(Response::builder().status(status).finish()),
        };
        let fault = core.fault();
        let reply = match fault {
            Some(CloudFault::Status(status)) => Some(instead(status)),
            Some(CloudFault::Reset) => None,
            _ => Some(core.stand.answer(&asked, &core.base)),
        };
        let heard = !matches!(fault, Some(CloudFault::Reset | CloudFault::LostAnswer | CloudFault::Silence));
        let status = reply.as_ref().map(|reply| reply.status).filter(|_| heard);
        let body = serde_json::from_slice(&asked.body).unwrap_or_default();
        let (query, fault_) = (asked.query.clone(), fault.is_some());
        core.desk().calls.push(CloudCall { method: method.to_string(), path, query, body, status, fault: fault_ });
        match fault {
            Some(CloudFault::Silence) => core.stop.cancelled().await,
            Some(CloudFault::Reset | CloudFault::LostAnswer) => plug.pull(),
            _ => {}
        }
        Ok(reply.map_or_else(|| dropped(&plug), |reply| sent(reply, &method)))
    }
}

async fn read(mut request: Request) -> Result<Asked, StatusCode> {
    let body = request.take_body().into_bytes_limit(MAX_BODY).await.map_err(|_| StatusCode::PAYLOAD_TOO_LARGE)?;
    let segments = request.uri().path().trim_start_matches('/').split('/');
    let decode = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8().map(|text| text.into_owned());
    let path: Result<Vec<String>, _> = segments.map(decode).collect();
    let query = url::form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes());
    Ok(Asked {
        method: request.method().to_string(),
        path: path.map_err(|_| StatusCode::BAD_REQUEST)?,
        query: query.map(|(key, value)| (key.into_owned(), value.into_owned())).collect(),
        headers: request.headers().clone(),
        body,
    })
}

fn instead(status: u16) -> Reply {
    let said = json!({"error": {"code": "Injected", "message": "a fault that a test armed", "status": "INJECTED"}});
    let reply = Reply::json(status, said);
    if matches!(status, 429 | 503) { reply.with("retry-after", "7") } else { reply }
}

fn sent(reply: Reply, method: &Method) -> Response {
    let mut response = Response::builder().status(StatusCode::from_u16(reply.status).unwrap_or_default());
    for (name, value) in &reply.headers {
        response = response.header(*name, value);
    }
    if let Some((kind, body)) = reply.raw {
        // Where nothing is wanted but the head, it says how much there would be.
        let response = response.content_type(kind).header("content-length", body.len());
        return if *method == Method::HEAD { response.finish() } else { response.body(body) };
    }
    if reply.body.is_null() || *method == Method::HEAD {
        return response.finish();
    }
    response.content_type("application/json; charset=utf-8").body(reply.body.to_string())
}

fn dropped(plug: &Plug) -> Response {
    plug.pull();
    Response::builder().status(StatusCode::INTERNAL_SERVER_ERROR).finish()
}
