//! The way of one request: read, logged, hit by a fault, checked, done, answered.

use super::signature::{self, Caller};
use super::{Core, control, images, registry, runtime, sessions};
use crate::auth::KeyKind;
use crate::calls::{Call, CallBody};
use crate::clock::now_us;
use crate::faults::FaultKind;
use crate::reply::Finished;
use crate::serve::{after, before};
use crate::socket::{Plug, Plugs};
use poem::http::StatusCode;
use poem::{Endpoint, Request, Response};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// More of a body is not read, in bytes.
const MOST: usize = 4 * 1024 * 1024;
/// A request may be so old, or so new, in seconds.
const WINDOW: i64 = 300;

/// A refusal, in AWS' words.
pub(super) struct No {
    pub(super) status: u16,
    pub(super) kind: &'static str,
    pub(super) message: String,
}

impl No {
    pub(super) fn new(status: u16, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind, message: message.into() }
    }

    /// What most of SageMaker's refusals are.
    pub(super) fn validation(message: impl Into<String>) -> Self {
        Self::new(400, "ValidationException", message)
    }
}

/// One request, read.
pub(super) struct Heard {
    pub(super) service: &'static str,
    pub(super) operation: String,
    pub(super) path: String,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Vec<u8>,
}

/// The endpoint of a practice SageMaker.
pub(super) struct CloudDoor {
    pub(super) core: Arc<Core>,
    pub(super) plugs: Arc<Plugs>,
    pub(super) stop: CancellationToken,
}

impl Endpoint for CloudDoor {
    type Output = Response;

    /// The work is a task of its own: it goes on when its client has gone.
    async fn call(&self, request: Request) -> poem::Result<Response> {
        let plug = self.plugs.of(request.remote_addr());
        let (core, stop, inner) = (Arc::clone(&self.core), self.stop.clone(), Arc::clone(&plug));
        let task = tokio::spawn(async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => None,
                response = answer(&core, request, &inner) => response,
            }
        });
        if let Ok(Some(response)) = task.await {
            return Ok(response);
        }
        plug.pull();
        Ok(Response::builder().status(StatusCode::INTERNAL_SERVER_ERROR).finish())
    }
}

async fn answer(core: &Core, mut request: Request, plug: &Plug) -> Option<Response> {
    let body = request.take_body().into_bytes_limit(MOST).await.unwrap_or_default();
    let heard = hear(&request, body.to_vec());
    let segments = [heard.service.to_owned(), heard.operation.clone()];
    let images = heard.service == "registry";
    let query = request.uri().query().unwrap_or_default().to_owned();
    if !images {
        core.state().captured.push(json!({
            "service": heard.service,
            "operation": heard.operation,
            "method": request.method().as_str(),
            "path": heard.path,
            "headers": heard.headers,
            "body": String::from_utf8_lossy(&heard.body),
        }));
    }
    let read: Option<Value> = serde_json::from_slice(&heard.body).ok().filter(|_| !images);
    let index = core.desk.calls.begin(Call {
        index: 0,
        method: request.method().to_string(),
        path: format!("/{}", segments.join("/")),
        query: Vec::new(),
        key: KeyKind::None,
        acting: None,
        proxy_user: None,
        body: read.as_ref().map_or(CallBody::None, CallBody::json),
        start: 0,
        end: None,
        status: None,
        fault: None,
    });
    let fault = core.desk.faults.pick(request.method().as_str(), &segments);
    if let Some(fault) = &fault {
        core.desk.calls.note(index, |call| call.fault = Some(fault.fault.kind.name().to_owned()));
    }
    let instead = match &fault {
        None => Some(None),
        Some(fault) => match &fault.fault.kind {
            FaultKind::Status { status, error_type, message, retry_after } => {
                fault.hit();
                let kind = error_type.as_deref().unwrap_or("PracticeFault");
                let body = json!({"__type": kind, "message": message.as_deref().unwrap_or("told to fail")});
                let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                let told = Finished::json(status, &body);
                Some(Some(match retry_after {
                    Some(seconds) => told.with("retry-after", seconds.to_string()),
                    None => told,
                }))
            }
            _ => before(0, fault, &mut None, plug).await,
        },
    };
    let Some(instead) = instead else {
        core.desk.calls.end(index, None);
        return None;
    };
    let finished = match instead {
        Some(finished) => finished,
        None if images => images::answer(&mut core.state(), &heard, request.method().as_str(), &query),
        None => done(core, &heard, request.method().as_str()),
    };
    let date = core.state().skew;
    let finished = finished.with("date", http_date(now_us() / 1_000_000 + date));
    after(&core.desk, index, fault.as_deref(), finished, request.method()).await
}

/// Which service and operation is meant.
fn hear(request: &Request, body: Vec<u8>) -> Heard {
    let header = |(name, value): (&poem::http::HeaderName, &poem::http::HeaderValue)| {
        (name.as_str().to_owned(), value.to_str().unwrap_or_default().to_owned())
    };
    let headers: BTreeMap<_, _> = request.headers().iter().map(header).collect();
    let path = request.uri().path().to_owned();
    let target = headers.get("x-amz-target").map(String::as_str).unwrap_or_default();
    let (service, operation) = match target.split_once('.') {
        Some(("SageMaker", operation)) => ("sagemaker", operation.to_owned()),
        Some(("AmazonEC2ContainerRegistry_V20150921", operation)) => ("ecr", operation.to_owned()),
        _ if path.starts_with("/v2/") => ("registry", request.method().to_string()),
        _ if path.starts_with("/endpoints/") => ("runtime", "InvokeEndpoint".to_owned()),
        _ => ("sts", sessions::field(&body, "Action").unwrap_or_default()),
    };
    Heard { service, operation, path, headers, body }
}

fn done(core: &Core, heard: &Heard, method: &str) -> Finished {
    match try_done(core, heard, method) {
        Ok(finished) => finished,
        Err(no) => {
            let status = StatusCode::from_u16(no.status).unwrap_or(StatusCode::BAD_REQUEST);
            if heard.service == "sts" {
                return sessions::refused(status, &no);
            }
            Finished::json(status, &json!({"__type": no.kind, "message": no.message}))
        }
    }
}

fn try_done(core: &Core, heard: &Heard, method: &str) -> Result<Finished, No> {
    let mut state = core.state();
    let now = now_us() / 1_000_000 + state.skew;
    let caller: Caller = signature::check(heard, method, &core.region, &state.keys)?;
    if (caller.at - now).abs() > WINDOW {
        let message = "Signature expired: its time and the server's differ by more than five minutes.";
        return Err(No::new(403, "InvalidSignatureException", message));
    }
    if state.denied.contains(&heard.operation) {
        let message = format!("User is not authorized to perform: {}:{}", heard.service, heard.operation);
        return Err(No::new(400, "AccessDeniedException", message));
    }
    if heard.service == "sts" {
        return sessions::answer(&mut state, heard, &caller);
    }
    if heard.service == "runtime" {
        return runtime::answer(&state, heard);
    }
    if heard.headers.get("content-type").map(String::as_str) != Some("application/x-amz-json-1.1") {
        return Err(No::new(400, "SerializationException", "the content type is application/x-amz-json-1.1"));
    }
    let body: Value = serde_json::from_slice(&heard.body)
        .map_err(|error| No::new(400, "SerializationException", error.to_string()))?;
    let object = body.as_object().ok_or_else(|| No::new(400, "SerializationException", "an object is wanted"))?;
    let answer = match heard.service {
        "ecr" => registry::answer(&mut state, &heard.operation, object)?,
        _ => control::answer(&mut state, &heard.operation, object)?,
    };
    Ok(Finished::json(StatusCode::OK, &answer))
}

/// `Tue, 15 Nov 1994 08:12:31 GMT`.
fn http_date(seconds: i64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = signature::civil(days);
    let weekday = DAYS[usize::try_from(days.rem_euclid(7)).unwrap_or_default()];
    let name = MONTHS[usize::try_from(month - 1).unwrap_or_default()];
    format!("{weekday}, {day:02} {name} {year} {:02}:{:02}:{:02} GMT", rest / 3_600, rest / 60 % 60, rest % 60)
}
