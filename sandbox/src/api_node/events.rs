//! The log of queries: each that was answered is an event of topic `apinode-query`.

use super::ApiAsked;
use super::model::Verb;
use super::version::{EventServer, Version};
use crate::clock::now_ms;
use crate::request::Json;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, watch};

/// The topic.
const TOPIC: &str = "apinode-query";
/// The most events that are kept, and that wait to be sent.
const KEPT: usize = 1000;
/// A query or answer whose text is longer, in bytes, is left out of its event.
const TEXT: usize = 64 * 1024;

/// What became of the events that event servers were to get.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Delivery {
    /// Taken by the event server.
    pub sent: u64,
    /// Not taken: no answer, or one that refuses them. They are not sent again.
    pub failed: u64,
    /// Thrown away, as too many waited already.
    pub dropped: u64,
}

/// An event on its way.
pub(super) struct Parcel {
    pub(super) server: EventServer,
    pub(super) event: Value,
}

#[derive(Default)]
pub(super) struct Events {
    kept: Mutex<VecDeque<Value>>,
    waiting: Mutex<VecDeque<Parcel>>,
    arrived: Notify,
    delivery: watch::Sender<Delivery>,
}

fn lock<T>(queue: &Mutex<T>) -> MutexGuard<'_, T> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Events {
    /// Notes a query that was answered, and gives it to the event servers of its generation.
    pub(super) fn record(&self, version: &Version, endpoint: &str, verb: Verb, asked: &ApiAsked<'_>, answer: &Value) {
        let query = match &asked.json {
            Json::Value(body) if verb != Verb::PredictSimple => body.clone(),
            _ => json!({"features": asked.query.0.iter().cloned().collect::<std::collections::BTreeMap<_, _>>()}),
        };
        let short = |value: Value| if value.to_string().len() > TEXT { Value::Null } else { value };
        let auditing = version.auditing.as_ref();
        let routing_key = auditing.and_then(|auditing| auditing.routing_key.as_ref()).unwrap_or(&version.service);
        let event = json!({
            "topic": TOPIC, "routingKey": routing_key,
            "clientEvent": {
                "msgType": verb.message(), "timestamp": now_ms(), "serviceId": version.service, "endpointId": endpoint,
                "serviceGeneration": version.generation, "query": short(query), "answer": short(answer.clone()),
            },
        });
        for server in auditing.into_iter().flat_map(|auditing| &auditing.servers) {
            self.post(Parcel { server: server.clone(), event: event.clone() });
        }
        let mut kept = lock(&self.kept);
        if kept.len() >= KEPT {
            kept.pop_front();
        }
        kept.push_back(event);
    }

    fn post(&self, parcel: Parcel) {
        let mut waiting = lock(&self.waiting);
        if waiting.len() >= KEPT {
            self.delivery.send_modify(|delivery| delivery.dropped += 1);
            return;
        }
        waiting.push_back(parcel);
        self.arrived.notify_one();
    }

    /// The next events for one event server, `most` of them at most; waits for one.
    pub(super) async fn next(&self, most: usize) -> (EventServer, Vec<Value>) {
        loop {
            if let Some(batch) = self.batch(most) {
                return batch;
            }
            self.arrived.notified().await;
        }
    }

    fn batch(&self, most: usize) -> Option<(EventServer, Vec<Value>)> {
        let mut waiting = lock(&self.waiting);
        let Parcel { server, event } = waiting.pop_front()?;
        let mut events = vec![event];
        while events.len() < most
            && let Some(parcel) = waiting.pop_front_if(|parcel| parcel.server == server)
        {
            events.push(parcel.event);
        }
        Some((server, events))
    }

    pub(super) fn delivered(&self, events: usize, sent: bool) {
        self.delivery.send_modify(|delivery| {
            let count = if sent { &mut delivery.sent } else { &mut delivery.failed };
            *count += events as u64;
        });
    }

    /// Waits until it satisfies `enough`.
    pub(super) async fn until(&self, mut enough: impl FnMut(&Delivery) -> bool) -> Delivery {
        let mut delivery = self.delivery.subscribe();
        // The sender lives in `self`, so there is always an answer; what is there is the answer, too.
        delivery.wait_for(|delivery| enough(delivery)).await.map_or_else(|_| *self.delivery.borrow(), |found| *found)
    }

    pub(super) fn all(&self) -> Vec<Value> {
        lock(&self.kept).iter().cloned().collect()
    }

    pub(super) fn clear(&self) {
        lock(&self.kept).clear();
    }

    /// The events, and what became of those that were to be sent.
    pub(super) fn shown(&self) -> Value {
        let Delivery { sent, failed, dropped } = *self.delivery.borrow();
        json!({"events": self.all(), "delivery": {"sent": sent, "failed": failed, "dropped": dropped}})
    }
}
