//! `/sandbox/...`: the log of calls, the faults and the end state over HTTP. Needs an administrator's key; is never in
//! the log of calls and never hit by a fault.

use crate::auth::Claim;
use crate::desk::Desk;
use crate::faults::Fault;
use crate::practice::Practice;
use crate::reply::{Answer, Finished, Refusal, Reply};
use crate::request::{Json, Query};
use poem::{Body, Request};
use serde_json::{Value, json};
use std::time::Duration;

/// The longest wait for a fault to be reached, in milliseconds; also the default.
const LONGEST_WAIT: u64 = 60_000;

pub(crate) async fn answer(core: &impl Practice, request: &Request, body: Body, segments: &[String]) -> Finished {
    Finished::from(control(core, request, body, segments).await)
}

async fn control(core: &impl Practice, request: &Request, body: Body, segments: &[String]) -> Answer {
    if !core.may_control(&Claim::of(request)) {
        return Err(Refusal::unauthenticated("an administrator's key is needed"));
    }
    let (desk, query) = (core.desk(), Query::of(request));
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match (request.method().as_str(), segments.as_slice()) {
        ("GET", ["state"]) => Ok(Reply::Json(core.snapshot())),
        ("GET", ["calls"]) => {
            let from = number(&query, "from")?.unwrap_or(0);
            Ok(Reply::Json(json!(desk.calls.from(from))))
        }
        ("DELETE", ["calls"]) => {
            desk.calls.clear();
            Ok(Reply::Json(json!({})))
        }
        ("GET", ["faults"]) => Ok(Reply::Json(Value::Array(desk.faults.states()))),
        ("POST", ["faults"]) => {
            let spec = Json::read(request, body).await.object()?.clone();
            let fault: Fault = serde_json::from_value(Value::Object(spec))
                .map_err(|error| Refusal::bad(format!("that is no fault: {error}")))?;
            let (id, _) = desk.faults.arm(fault).map_err(Refusal::bad)?;
            Ok(Reply::Json(json!({"id": id})))
        }
        ("DELETE", ["faults"]) => {
            desk.faults.clear();
            Ok(Reply::Json(json!({})))
        }
        ("GET", ["faults", id]) => state(desk, known(desk, id)?),
        ("DELETE", ["faults", id]) => {
            desk.faults.disarm(known(desk, id)?);
            Ok(Reply::Json(json!({})))
        }
        ("POST", ["faults", id, "release"]) => {
            let id = known(desk, id)?;
            desk.faults.release(id);
            state(desk, id)
        }
        ("GET", ["faults", id, "reached"]) => reached(desk, known(desk, id)?, &query).await,
        (method, segments) => core.control(method, segments, &Json::read(request, body).await),
    }
}

fn known(desk: &Desk, id: &str) -> Result<u64, Refusal> {
    let id = id.parse().ok().filter(|id| desk.faults.get(*id).is_some());
    id.ok_or_else(|| Refusal::missing("there is no such fault"))
}

fn state(desk: &Desk, id: u64) -> Answer {
    desk.faults.state(id).map(Reply::Json).ok_or_else(|| Refusal::missing("there is no such fault"))
}

/// Waits until the fault has hit `hits` calls (1), at most `timeoutMs`; answers `{"reached": bool}`.
async fn reached(desk: &Desk, id: u64, query: &Query) -> Answer {
    let armed = desk.faults.get(id).ok_or_else(|| Refusal::missing("there is no such fault"))?;
    let hits = u32::try_from(number(query, "hits")?.unwrap_or(1)).map_err(|_| Refusal::bad("hits is too large"))?;
    let wait = Duration::from_millis(number(query, "timeoutMs")?.unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT));
    let reached = tokio::time::timeout(wait, armed.reached(hits)).await.is_ok();
    Ok(Reply::Json(json!({"reached": reached})))
}

fn number(query: &Query, name: &str) -> Result<Option<u64>, Refusal> {
    let parse = |text: &str| text.parse().map_err(|_| Refusal::bad(format!("{name} is no number")));
    query.get(name).map(parse).transpose()
}
