//! Subscriptions as server-sent events, after the distinct connections mode of graphql-sse: each answer is an event `next`, the end is an
//! event `complete`.
//!
//! An answer whose only root field is an object with a `seq` carries it as the event's id. A client that comes back with `Last-Event-ID` goes on
//! after it: the number replaces the variable `afterSeq`. That is what an `EventSource` does by itself.

use std::sync::Arc;

use async_graphql::{Executor, Name, Request as Operation, Response as Answer, Value};
use bytes::Bytes;
use futures_util::{StreamExt, stream, stream::BoxStream};
use poem::{Body, Response};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::Shared;
use crate::{
    auth,
    edge::RequestId,
    failure::Failure,
    house::{House, Pass},
    metrics::OpenStream,
};

struct Running<H: House> {
    answers: BoxStream<'static, Answer>,
    house: Arc<H>,
    pass: Pass<H::Viewer>,
    ping: Interval,
    recheck: Interval,
    shutdown: tokio_util::sync::CancellationToken,
    ended: bool,
    _open: OpenStream,
}

pub(super) fn answer<E: Executor, H: House>(
    shared: &Shared<E, H>,
    mut operation: Operation,
    pass: Pass<H::Viewer>,
    id: &RequestId,
    last_event: Option<i64>,
) -> Response {
    if let Some(seq) = last_event {
        operation.variables.insert(Name::new("afterSeq"), Value::from(seq));
    }
    operation.data = shared.house.request_data(&pass, &id.0);
    let running = Running {
        answers: shared.stream(operation),
        house: shared.house.clone(),
        pass,
        ping: every(shared.settings.ping()),
        recheck: every(shared.settings.recheck()),
        shutdown: shared.shutdown.clone(),
        ended: false,
        _open: shared.metrics.open("sse"),
    };
    let frames = stream::unfold(running, |mut running| async move {
        let frame = running.next().await?;
        Some((Ok::<_, std::io::Error>(frame), running))
    });
    Response::builder()
        .content_type("text/event-stream; charset=utf-8")
        .header("x-accel-buffering", "no")
        .body(Body::from_bytes_stream(frames))
}

impl<H: House> Running<H> {
    /// The next piece of the body.
    async fn next(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        loop {
            tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return None,
                _ = self.recheck.tick() => match auth::admit(&*self.house, self.pass.key.clone(), self.pass.from.clone()).await {
                    Ok(pass) => self.pass = pass,
                    Err(failure) if failure == Failure::unauthenticated() => {
                        self.ended = true;
                        return Some(framed(None, &failure.json(), true));
                    }
                    // Not known: the next look decides.
                    Err(_) => {}
                },
                answer = self.answers.next() => {
                    self.ping.reset();
                    return Some(self.frame(answer));
                }
                _ = self.ping.tick() => return Some(Bytes::from_static(b":\n\n")),
            }
        }
    }

    fn frame(&mut self, answer: Option<Answer>) -> Bytes {
        let Some(answer) = answer else {
            self.ended = true;
            return Bytes::from_static(b"event: complete\ndata:\n\n");
        };
        match serde_json::to_vec(&answer) {
            Ok(json) => framed(seq_of(&answer), &json, false),
            Err(error) => {
                tracing::error!(error = %error, "an event cannot be written as JSON");
                self.ended = true;
                framed(None, &Failure::internal().json(), true)
            }
        }
    }
}

/// JSON has no line breaks of its own, so one `data` line holds it.
fn framed(id: Option<i64>, json: &[u8], last: bool) -> Bytes {
    let mut frame = b"event: next\n".to_vec();
    if let Some(id) = id {
        frame.extend_from_slice(format!("id: {id}\n").as_bytes());
    }
    frame.extend_from_slice(b"data: ");
    frame.extend_from_slice(json);
    frame.extend_from_slice(b"\n\n");
    if last {
        frame.extend_from_slice(b"event: complete\ndata:\n\n");
    }
    frame.into()
}

fn seq_of(answer: &Answer) -> Option<i64> {
    let Value::Object(root) = &answer.data else { return None };
    let (Some((_, Value::Object(event))), 1) = (root.iter().next(), root.len()) else { return None };
    match event.get("seq")? {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

pub(super) fn every(period: std::time::Duration) -> Interval {
    let mut interval = interval_at(Instant::now() + period, period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}
