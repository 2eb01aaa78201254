//! The calls.

use std::{io, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, TryStreamExt as _};
use poem::{
    Body, Endpoint, EndpointExt as _, Request, Response, Route,
    endpoint::make,
    get,
    http::{HeaderMap, Method, StatusCode},
};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    name::Name,
    store::{Agent, Held, Range, Refusal, refusal},
};

/// The version of these calls.
const VERSION: u32 = 1;
/// An upload of which nothing comes for so long is over; what came is kept.
const STILL: Duration = Duration::from_secs(60);
/// The longest list that is answered, in files.
const MOST_LISTED: usize = 10_000;

pub(super) fn app(agent: Arc<Agent>) -> impl Endpoint<Output = Response> {
    let alive = make(|_| async { answer(StatusCode::OK, &json!({"status": "alive"})) });
    let calls = make(move |request: Request| {
        let agent = Arc::clone(&agent);
        async move { called(&agent, request).await.unwrap_or_else(|refused| told(&refused)) }
    });
    Route::new().at("/healthz", get(alive)).at("*", calls).map_to_response()
}

async fn called(agent: &Arc<Agent>, mut request: Request) -> Result<Response, Refusal> {
    // Nobody without the key learns what there is.
    let key = request.headers().get("authorization").and_then(|value| value.to_str().ok());
    let key = key.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    if !agent.knows(key) {
        return Err(refusal(StatusCode::UNAUTHORIZED, "KEY_REJECTED", "The agent's key is wanted, as a bearer token."));
    }
    let path = request.uri().path().trim_end_matches('/').to_owned();
    let Some(rest) = path.strip_prefix("/agent/v1") else { return Err(nothing()) };
    match (request.method().clone(), rest) {
        (Method::GET, "") => hello(agent).await,
        (Method::GET, "/files") => list(agent).await,
        (method, rest) => {
            let name = rest.strip_prefix("/files/").ok_or_else(nothing)?;
            let name = Name::read(name).ok_or_else(|| {
                let message = "A file is called slipway-<12 hex>-<64 hex>.zip, or with -<8 hex> before the end.";
                refusal(StatusCode::BAD_REQUEST, "NAME_INVALID", message)
            })?;
            match method {
                Method::GET => held(agent, name).await,
                Method::DELETE => remove(agent, name).await,
                Method::PUT => {
                    let body = request.take_body();
                    put(agent, name, request.headers(), body).await
                }
                _ => Err(nothing()),
            }
        }
    }
}

async fn hello(agent: &Arc<Agent>) -> Result<Response, Refusal> {
    let shared = Arc::clone(agent);
    let free = blocking(move || Ok(shared.free()?)).await?;
    let told = json!({"agent": VERSION, "folder": agent.folder(), "free": free, "largest": agent.largest()});
    Ok(answer(StatusCode::OK, &told))
}

async fn list(agent: &Arc<Agent>) -> Result<Response, Refusal> {
    let shared = Arc::clone(agent);
    let files = blocking(move || Ok(shared.list()?)).await?;
    let file = |(name, held): (Name, Held)| json!({"name": name.as_str(), "received": held.received, "complete": held.complete});
    let files: Vec<_> = files.into_iter().take(MOST_LISTED).map(file).collect();
    Ok(answer(StatusCode::OK, &json!({"files": files})))
}

async fn held(agent: &Arc<Agent>, name: Name) -> Result<Response, Refusal> {
    let shared = Arc::clone(agent);
    let found = blocking(move || Ok(shared.held(&name)?)).await?;
    found.map(shown).ok_or_else(missing)
}

async fn remove(agent: &Arc<Agent>, name: Name) -> Result<Response, Refusal> {
    let taken = agent.take(&name)?;
    let shared = Arc::clone(agent);
    let found = blocking(move || {
        let _taken = taken;
        Ok(shared.remove(&name)?)
    });
    if found.await? { Ok(answer(StatusCode::OK, &json!({}))) } else { Err(missing()) }
}

async fn put(agent: &Arc<Agent>, name: Name, headers: &HeaderMap, body: Body) -> Result<Response, Refusal> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let range = range(text("content-range")).ok_or_else(|| {
        let message = "Content-Range is wanted: bytes FROM-LAST/SIZE, where LAST is SIZE - 1.";
        refusal(StatusCode::BAD_REQUEST, "RANGE_INVALID", message)
    })?;
    let sha256 = digest(text("x-slipway-sha256")).ok_or_else(|| {
        let message = "X-Slipway-Sha256 is wanted: the checksum of the whole file, 64 hexadecimal digits.";
        refusal(StatusCode::BAD_REQUEST, "CHECKSUM_INVALID", message)
    })?;
    let (shared, there) = (Arc::clone(agent), name.clone());
    if blocking(move || Ok(shared.has(&there, range.size, &sha256)?)).await? {
        return Ok(shown(Held { received: range.size, complete: true }));
    }
    let taken = agent.take(&name)?;
    let mut writing = blocking(move || taken.open(range)).await?;
    let mut pieces = body.into_bytes_stream().map_err(io::Error::other);
    loop {
        let piece = match timeout(STILL, pieces.next()).await {
            Ok(Some(Ok(piece))) => piece,
            Ok(None) => break,
            Ok(Some(Err(_))) | Err(_) => {
                let message = "The upload broke off. Go on from where this agent stands.";
                return Err(refusal(StatusCode::REQUEST_TIMEOUT, "UPLOAD_CUT", message));
            }
        };
        writing = blocking(move || writing.write(&piece).map(|()| writing)).await?;
    }
    Ok(shown(blocking(move || writing.finish(&sha256)).await?))
}

/// Work on the disk, away from the threads that serve. It comes to its end also when the caller is gone.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Refusal> + Send + 'static) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// `bytes FROM-LAST/SIZE` with the last byte of all, or `bytes */SIZE` when all bytes are there.
fn range(text: &str) -> Option<Range> {
    let (span, size) = text.strip_prefix("bytes ")?.split_once('/')?;
    let size: u64 = size.parse().ok()?;
    if span == "*" {
        return Some(Range { from: size, size });
    }
    let (from, last) = span.split_once('-')?;
    let (from, last): (u64, u64) = (from.parse().ok()?, last.parse().ok()?);
    (from <= last && last.checked_add(1)? == size).then_some(Range { from, size })
}

fn digest(text: &str) -> Option<[u8; 32]> {
    let hex = text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
    let mut bytes = [0; 32];
    for (at, byte) in bytes.iter_mut().enumerate().filter(|_| hex) {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    hex.then_some(bytes)
}

fn nothing() -> Refusal {
    refusal(StatusCode::NOT_FOUND, "NO_SUCH_CALL", "This agent knows no such call.")
}

fn missing() -> Refusal {
    refusal(StatusCode::NOT_FOUND, "FILE_MISSING", "This agent has no such file.")
}

fn shown(held: Held) -> Response {
    answer(StatusCode::OK, &json!({"received": held.received, "complete": held.complete}))
}

fn told(refused: &Refusal) -> Response {
    tracing::info!(status = refused.status.as_u16(), code = refused.code, "the agent refused a call");
    answer(refused.status, &json!({"code": refused.code, "message": refused.message}))
}

fn answer(status: StatusCode, body: &Value) -> Response {
    Response::builder().status(status).content_type("application/json; charset=utf-8").body(body.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_end_at_the_end() {
        assert_eq!(range("bytes 0-9/10"), Some(Range { from: 0, size: 10 }));
        assert_eq!(range("bytes 4-9/10"), Some(Range { from: 4, size: 10 }));
        assert_eq!(range("bytes */10"), Some(Range { from: 10, size: 10 }));
        for bad in ["", "bytes 0-8/10", "bytes 9-4/10", "bytes 0-/10", "0-9/10", "bytes 0-18446744073709551615/0"] {
            assert_eq!(range(bad), None, "{bad}");
        }
        assert_eq!(digest(&"0f".repeat(32)), Some([15; 32]));
        assert!(digest("0f").is_none() && digest(&"xy".repeat(32)).is_none());
    }
}
