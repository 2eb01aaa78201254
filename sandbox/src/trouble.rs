//! Doing a fault to a call: before its effect, or to its answer.

use crate::faults::FaultKind;
use crate::reply::{Finished, Refusal};
use crate::report::Report;
use bytes::Bytes;
use futures_util::stream;
use poem::http::{StatusCode, header};
use poem::{Body, Response};
use std::io;
use std::task::Poll;
use std::time::Duration;
use tokio::io::AsyncReadExt;

/// The page that stands for a proxy's error page or a login page.
const PAGE: &str = "<!DOCTYPE html><html><head><title>Sign in</title></head><body><h1>Sign in</h1></body></html>";

/// The answer of a fault that replaces the effect; none if the effect takes place.
pub(crate) fn instead(kind: &FaultKind) -> Option<Finished> {
    match kind {
        FaultKind::Status { status, error_type, message, retry_after } => {
            let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let kind = error_type.as_deref().unwrap_or("PracticeFault");
            let message = message.clone().unwrap_or_else(|| format!("this node was told to answer {status}"));
            let finished = Finished::json(status, &Refusal::new(status, kind, message).object());
            Some(match retry_after {
                Some(seconds) => finished.with("retry-after", seconds.to_string()),
                None => finished,
            })
        }
        FaultKind::Html { status } => {
            Some(Finished::html(StatusCode::from_u16(*status).unwrap_or(StatusCode::BAD_GATEWAY), PAGE))
        }
        FaultKind::Redirect { location } => {
            Some(Finished::html(StatusCode::FOUND, PAGE).with("location", location.clone()))
        }
        FaultKind::ReportError { code, message } => {
            let mut report = Report::default();
            report.fatal(code, "The node was told to fail", message);
            Some(Finished::json(StatusCode::OK, &report.value()))
        }
        _ => None,
    }
}

/// Reads this many bytes of a body, or all of it.
pub(crate) async fn read_some(body: Body, bytes: u64) -> io::Result<u64> {
    tokio::io::copy(&mut body.into_async_read().take(bytes), &mut tokio::io::sink()).await
}

/// The answer, closed in its middle: Content-Length promises more than is sent.
pub(crate) fn cut(mut finished: Finished) -> Response {
    let mut body = std::mem::take(&mut finished.body);
    if body.len() < 2 {
        body = b"{ }".to_vec();
    }
    let finished = finished.with(header::CONTENT_LENGTH.as_str(), body.len().to_string());
    body.truncate(body.len() / 2);
    let mut first = Some(Bytes::from(body));
    let mut turns = 0;
    let pieces = stream::poll_fn(move |cx| {
        if let Some(piece) = first.take() {
            return Poll::Ready(Some(Ok(piece)));
        }
        // HTTP's writer flushes what it has while the body is not ready: so the first half is on its way before the end.
        if turns < 3 {
            turns += 1;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::ConnectionAborted, "cut in the middle"))))
    });
    finished.response(Body::from_bytes_stream(pieces))
}

/// The answer in small pieces with pauses.
pub(crate) fn trickle(mut finished: Finished, chunk: usize, pause: Duration) -> Response {
    let body = Bytes::from(std::mem::take(&mut finished.body));
    let finished = finished.with(header::CONTENT_LENGTH.as_str(), body.len().to_string());
    let pieces = stream::unfold(body, move |mut rest| async move {
        if rest.is_empty() {
            return None;
        }
        tokio::time::sleep(pause).await;
        let piece = rest.split_to(chunk.min(rest.len()));
        Some((Ok::<_, io::Error>(piece), rest))
    });
    finished.response(Body::from_bytes_stream(pieces))
}
