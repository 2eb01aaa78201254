//! The way of one request: read, logged, hit by a fault, done, answered.

use crate::armed::Armed;
use crate::auth::Claim;
use crate::calls::{Call, CallBody};
use crate::desk::Desk;
use crate::faults::{FaultKind, When};
use crate::practice::Practice;
use crate::reply::{Finished, Refusal};
use crate::request::{Asked, Json, Place, Query, is_upload};
use crate::socket::{Plug, Plugs};
use crate::{control, trouble};
use poem::http::{Method, StatusCode};
use poem::{Body, Endpoint, Request, Response};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The endpoint of a node.
pub(crate) struct Door<P> {
    pub(crate) core: Arc<P>,
    pub(crate) plugs: Arc<Plugs>,
    pub(crate) stop: CancellationToken,
}

impl<P: Practice> Endpoint for Door<P> {
    type Output = Response;

    /// The work is a task of its own: like a real node, this one goes on with a call whose client has gone.
    async fn call(&self, request: Request) -> poem::Result<Response> {
        let plug = self.plugs.of(request.remote_addr());
        let (core, stop) = (Arc::clone(&self.core), self.stop.clone());
        let inner = Arc::clone(&plug);
        let task = tokio::spawn(async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => None,
                response = answer(&core, request, &inner) => response,
            }
        });
        match task.await {
            Ok(Some(response)) => Ok(response),
            Ok(None) => Ok(dropped(&plug)),
            Err(error) => {
                tracing::error!(%error, "a practice node failed at a call");
                Ok(dropped(&plug))
            }
        }
    }
}

/// No answer: the connection is reset before this could be written.
fn dropped(plug: &Plug) -> Response {
    plug.pull();
    Response::builder().status(StatusCode::INTERNAL_SERVER_ERROR).finish()
}

async fn answer<P: Practice>(core: &Arc<P>, mut request: Request, plug: &Plug) -> Option<Response> {
    let body = request.take_body();
    let response = match P::place(request.uri().path()) {
        Place::Api(segments) => return api(core, request, body, segments, plug).await,
        Place::Control(segments) => control::answer(&**core, &request, body, &segments).await.whole(),
        Place::Pages => {
            let root = request.uri().path() == "/";
            let status = if root { StatusCode::OK } else { StatusCode::NOT_FOUND };
            Finished::html(status, P::PAGE).whole()
        }
    };
    Some(response)
}

async fn api<P: Practice>(
    core: &Arc<P>,
    request: Request,
    body: Body,
    segments: Vec<String>,
    plug: &Plug,
) -> Option<Response> {
    let (desk, claim) = (core.desk(), Claim::of(&request));
    let (key, acting) = core.caller(&claim, &segments);
    let index = desk.calls.begin(Call {
        index: 0,
        method: request.method().to_string(),
        path: core.logged(&segments),
        query: Query::of(&request).0,
        key,
        acting,
        proxy_user: claim.proxy_user.clone(),
        body: CallBody::None,
        start: 0,
        end: None,
        status: None,
        fault: None,
    });
    let (json, mut body) = if is_upload(&request) {
        let refusal = Refusal::media("this call takes no upload");
        (Json::Wrong(refusal), Some(body))
    } else {
        (Json::read(&request, body).await, None)
    };
    if let Json::Value(value) = &json {
        desk.calls.note(index, |call| call.body = CallBody::json(value));
    }
    let fault = desk.faults.pick(request.method().as_str(), &segments);
    if let Some(fault) = &fault {
        desk.calls.note(index, |call| call.fault = Some(fault.fault.kind.name().to_owned()));
    }
    let finished = match &fault {
        Some(fault) => before(core.max_upload(), fault, &mut body, plug).await,
        None => Some(None),
    };
    let Some(instead) = finished else {
        desk.calls.end(index, None);
        return None;
    };
    let asked = Asked { core, index, method: request.method().clone(), query: Query::of(&request), segments, json };
    let finished = match instead {
        Some(finished) => finished,
        // The user may be gone by now, or just arrived: a held call is judged when it goes on.
        None => Finished::from(P::answer(&asked, &claim, request, &mut body).await),
    };
    if let Some(rest) = body.take() {
        drain(core.max_upload(), rest).await;
    }
    let finished = finished.with("dss-version", core.version()).with("dss-api-version", "1");
    after(desk, index, fault.as_deref(), finished, &asked.method).await
}

/// The part of a fault before the effect. None: no answer; `Some(Some)`: this answer and no effect.
pub(crate) async fn before(
    max_upload: u64,
    armed: &Armed,
    body: &mut Option<Body>,
    plug: &Plug,
) -> Option<Option<Finished>> {
    match &armed.fault.kind {
        FaultKind::Reset => {
            plug.pull();
            armed.hit();
            None
        }
        FaultKind::CutUpload { after_bytes } => {
            if let Some(body) = body.take()
                && let Err(error) = trouble::read_some(body, *after_bytes).await
            {
                tracing::debug!(%error, "an upload ended before it was cut");
            }
            plug.pull();
            armed.hit();
            None
        }
        FaultKind::Hold { when: When::Before } => {
            armed.hit();
            armed.held().await;
            Some(None)
        }
        FaultKind::Hold { when: When::After } | FaultKind::CutAnswer | FaultKind::LostAnswer => Some(None),
        FaultKind::Trickle { .. } => {
            armed.hit();
            Some(None)
        }
        kind => {
            if let Some(rest) = body.take() {
                drain(max_upload, rest).await;
            }
            armed.hit();
            Some(trouble::instead(kind))
        }
    }
}

/// The part of a fault after the effect.
pub(crate) async fn after(
    desk: &Desk,
    index: u64,
    armed: Option<&Armed>,
    finished: Finished,
    method: &Method,
) -> Option<Response> {
    let status = Some(finished.status.as_u16());
    let Some(armed) = armed else {
        desk.calls.end(index, status);
        return Some(finished.whole());
    };
    let response = match &armed.fault.kind {
        FaultKind::LostAnswer => None,
        FaultKind::Hold { when: When::After } => {
            armed.hit();
            armed.held().await;
            Some(finished.whole())
        }
        FaultKind::CutAnswer if *method != Method::HEAD => Some(trouble::cut(finished)),
        FaultKind::Trickle { chunk, pause_ms } if *method != Method::HEAD => {
            Some(trouble::trickle(finished, *chunk, Duration::from_millis(*pause_ms)))
        }
        _ => Some(finished.whole()),
    };
    desk.calls.end(index, status.filter(|_| response.is_some()));
    if matches!(armed.fault.kind, FaultKind::LostAnswer | FaultKind::CutAnswer) {
        armed.hit();
    }
    response
}

/// Reads what is left of an upload, so that its client comes to read the answer.
async fn drain(max_upload: u64, body: Body) {
    if let Err(error) = trouble::read_some(body, max_upload).await {
        tracing::debug!(%error, "the rest of an upload did not arrive");
    }
}
