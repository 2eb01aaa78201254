//! The way of one request to a cloud's stand-in: read, logged, hit by a fault, done, answered.

use crate::armed::FaultHandle;
use crate::auth::KeyKind;
use crate::calls::{Call, CallBody};
use crate::desk::Desk;
use crate::faults::Fault;
use crate::reply::Finished;
use crate::serve::{after, before};
use crate::socket::{Plug, PlugAcceptor, Plugs};
use bytes::Bytes;
use poem::http::{HeaderMap, Method, StatusCode};
use poem::{Endpoint, Request, Response, Server};
use serde_json::{Value, json};
use std::io;
use std::ops::Deref;
use std::sync::Arc;
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

    /// What puts everything there is back to where it is now.
    fn bookmark(&self) -> Box<dyn Fn(&Self)>;
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
}

impl CloudCall {
    fn of(call: Call) -> Self {
        let Call { method, path, query, body, status, .. } = call;
        let body = if let CallBody::Json(body) = body { body } else { Value::Null };
        Self { method, path, query, body, status }
    }

    /// For judges in other languages.
    pub fn to_json(&self) -> Value {
        json!({"method": self.method, "path": self.path, "query": self.query, "body": self.body, "status": self.status})
    }
}

struct Core<S> {
    stand: S,
    desk: Desk,
    base: String,
    plugs: Arc<Plugs>,
    stop: CancellationToken,
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
        let core = Arc::new(Core { stand, desk: Desk::default(), base, plugs, stop: stop.clone() });
        let door = Door(Arc::clone(&core));
        let server = Server::new_with_acceptor(acceptor);
        tokio::spawn(server.run_with_graceful_shutdown(door, stop.cancelled_owned(), Some(Duration::ZERO)));
        Ok(Self { core })
    }

    /// Its URL, such as `http://127.0.0.1:40123`.
    pub fn url(&self) -> &str {
        &self.core.base
    }

    /// Arms a fault.
    ///
    /// # Errors
    /// A sentence, when the fault makes no sense.
    pub fn arm(&self, fault: Fault) -> Result<FaultHandle, String> {
        self.core.desk.arm(fault)
    }

    /// All calls, in order.
    pub fn calls(&self) -> Vec<CloudCall> {
        self.core.desk.calls().into_iter().map(CloudCall::of).collect()
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
        let desk = &core.desk;
        let index = desk.calls.begin(Call {
            index: 0,
            method: method.to_string(),
            path,
            query: asked.query.clone(),
            key: KeyKind::None,
            acting: None,
            proxy_user: None,
            body: serde_json::from_slice(&asked.body).map_or(CallBody::None, |body| CallBody::json(&body)),
            start: 0,
            end: None,
            status: None,
            fault: None,
        });
        let fault = desk.faults.pick(method.as_str(), &asked.path);
        if let Some(fault) = &fault {
            desk.calls.note(index, |call| call.fault = Some(fault.fault.kind.name().to_owned()));
        }
        let instead = match &fault {
            Some(fault) => before(0, fault, &mut None, &plug).await,
            None => Some(None),
        };
        let Some(instead) = instead else {
            desk.calls.end(index, None);
            return Ok(dropped(&plug));
        };
        let finished = instead.unwrap_or_else(|| sent(core.stand.answer(&asked, &core.base), &method));
        let response = after(desk, index, fault.as_deref(), finished, &method).await;
        Ok(response.unwrap_or_else(|| dropped(&plug)))
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

fn sent(reply: Reply, method: &Method) -> Finished {
    let status = StatusCode::from_u16(reply.status).unwrap_or_default();
    let headers = reply.headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let finished = Finished { status, headers, body: Vec::new() };
    if let Some((kind, body)) = reply.raw {
        // Where nothing is wanted but the head, it says how much there would be.
        let finished = finished.with("content-type", kind);
        return match *method {
            Method::HEAD => finished.with("content-length", body.len().to_string()),
            _ => Finished { body: body.to_vec(), ..finished },
        };
    }
    if reply.body.is_null() || *method == Method::HEAD {
        return finished;
    }
    let finished = finished.with("content-type", "application/json; charset=utf-8");
    Finished { body: reply.body.to_string().into_bytes(), ..finished }
}

fn dropped(plug: &Plug) -> Response {
    plug.pull();
    Response::builder().status(StatusCode::INTERNAL_SERVER_ERROR).finish()
}
