//! The way of one request: read, logged, hit by a fault, done, answered.

use crate::armed::Armed;
use crate::auth::Claim;
use crate::calls::{Call, CallBody};
use crate::faults::{FaultKind, When};
use crate::node::Core;
use crate::reply::{Finished, Refusal};
use crate::request::{Json, Place, Query, is_upload};
use crate::router::{self, Asked};
use crate::socket::{Plug, Plugs};
use crate::{control, trouble};
use poem::http::{Method, StatusCode};
use poem::{Body, Endpoint, Request, Response};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The page at the root, for people who open the node in a browser.
const PAGE: &str = "<!DOCTYPE html><html><head><title>Practice node</title></head><body><h1>Practice node</h1>\
<p>A practice Automation node. Its API is under <code>/dip/publicapi</code> and <code>/public/api</code>.</p></body></html>";

/// The endpoint of a node.
pub(crate) struct Door {
    pub(crate) core: Arc<Core>,
    pub(crate) plugs: Arc<Plugs>,
    pub(crate) stop: CancellationToken,
}

impl Endpoint for Door {
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

async fn answer(core: &Arc<Core>, mut request: Request, plug: &Plug) -> Option<Response> {
    let body = request.take_body();
    let response = match Place::of(request.uri().path()) {
        Place::Api(segments) => return api(core, request, body, segments, plug).await,
        Place::Control(segments) => control::answer(core, &request, body, &segments).await.whole(),
        Place::Pages => {
            let root = request.uri().path() == "/";
            let status = if root { StatusCode::OK } else { StatusCode::NOT_FOUND };
            Finished::html(status, PAGE).whole()
        }
    };
    Some(response)
}

async fn api(core: &Arc<Core>, request: Request, body: Body, segments: Vec<String>, plug: &Plug) -> Option<Response> {
    let claim = Claim::of(&request);
    let who = claim.check(&core.config.keys, &core.state());
    let index = core.calls.begin(Call {
        index: 0,
        method: request.method().to_string(),
        path: format!("/{}", segments.join("/")),
        query: Query::of(&request).0,
        key: claim.kind(&core.config.keys, &core.state()),
        acting: who.as_ref().ok().map(|who| who.identity.clone()),
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
        core.calls.note(index, |call| call.body = CallBody::json(value));
    }
    let fault = core.faults.pick(request.method().as_str(), &segments);
    if let Some(fault) = &fault {
        core.calls.note(index, |call| call.fault = Some(fault.fault.kind.name().to_owned()));
    }
    let finished = match &fault {
        Some(fault) => before(core, fault, &mut body, plug).await,
        None => Some(None),
    };
    let Some(instead) = finished else {
        core.calls.end(index, None);
        return None;
    };
    let asked = Asked { core, index, method: request.method().clone(), query: Query::of(&request), segments, json };
    // The user may be gone by now, or just arrived: a held call is judged when it goes on.
    let who = claim.check(&core.config.keys, &core.state());
    let finished = match (instead, who) {
        (Some(finished), _) => finished,
        (None, Ok(who)) => Finished::from(router::answer(&asked, &who, request, &mut body).await),
        (None, Err(refusal)) => Finished::from(Err(refusal)),
    };
    if let Some(rest) = body.take() {
        drain(core, rest).await;
    }
    let finished = finished.with("dss-version", core.config.version.clone()).with("dss-api-version", "1");
    after(core, index, fault.as_deref(), finished, &asked.method).await
}

/// The part of a fault before the effect. None: no answer; `Some(Some)`: this answer and no effect.
async fn before(core: &Core, armed: &Armed, body: &mut Option<Body>, plug: &Plug) -> Option<Option<Finished>> {
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
                drain(core, rest).await;
            }
            armed.hit();
            Some(trouble::instead(kind))
        }
    }
}

/// The part of a fault after the effect.
async fn after(
    core: &Core,
    index: u64,
    armed: Option<&Armed>,
    finished: Finished,
    method: &Method,
) -> Option<Response> {
    let status = Some(finished.status.as_u16());
    let Some(armed) = armed else {
        core.calls.end(index, status);
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
        FaultKind::Trickle { chunk, pause_ms } => {
            Some(trouble::trickle(finished, *chunk, Duration::from_millis(*pause_ms)))
        }
        _ => Some(finished.whole()),
    };
    core.calls.end(index, status.filter(|_| response.is_some()));
    if matches!(armed.fault.kind, FaultKind::LostAnswer | FaultKind::CutAnswer) {
        armed.hit();
    }
    response
}

/// Reads what is left of an upload, so that its client comes to read the answer.
async fn drain(core: &Core, body: Body) {
    if let Err(error) = trouble::read_some(body, core.config.max_upload).await {
        tracing::debug!(%error, "the rest of an upload did not arrive");
    }
}
