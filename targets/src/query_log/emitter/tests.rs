use std::collections::VecDeque;

use async_trait::async_trait;
use engine::failure::{Code, Failure};
use serde_json::json;

use super::*;
use crate::query_log::Undelivered;

/// An outlet that answers as it is told, and keeps what arrived.
#[derive(Clone, Default)]
struct Told {
    answers: Arc<Mutex<VecDeque<Option<Undelivered>>>>,
    seen: Arc<Mutex<Vec<Batch>>>,
    /// Answers nothing at all.
    hangs: bool,
}

fn failure() -> Failure {
    Failure::new(Code::new("NODE_BUSY"), "busy")
}

#[async_trait]
impl Outlet for Told {
    async fn send(&mut self, batch: &Batch) -> Result<(), Undelivered> {
        self.seen.lock().unwrap().push(batch.clone());
        if self.hangs {
            std::future::pending::<()>().await;
        }
        match self.answers.lock().unwrap().pop_front().flatten() {
            Some(undelivered) => Err(undelivered),
            None => Ok(()),
        }
    }
}

impl Told {
    fn answering(answers: impl IntoIterator<Item = Option<Undelivered>>) -> Self {
        Self { answers: Arc::new(Mutex::new(answers.into_iter().collect())), ..Self::default() }
    }

    fn start(&self, bounds: Bounds) -> (Emitter, QueryLogMetrics) {
        let metrics = QueryLogMetrics::default();
        (Emitter::start(Box::new(self.clone()), "churn".to_owned(), "churn-prod", bounds, metrics.clone()), metrics)
    }

    fn seen(&self) -> Vec<Batch> {
        self.seen.lock().unwrap().clone()
    }

    async fn until(&self, batches: usize) {
        while self.seen().len() < batches {
            tokio::task::yield_now().await;
            tokio::time::advance(Duration::from_millis(50)).await;
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::test(start_paused = true)]
async fn events_are_sent_together_in_order() {
    let told = Told::default();
    let bounds = Bounds { batch_events: 3, ..Bounds::default() };
    let (emitter, metrics) = told.start(bounds);
    for n in 0..7 {
        emitter.emit(&json!({ "n": n }));
    }
    told.until(3).await;
    let sizes: Vec<usize> = told.seen().iter().map(|batch| batch.events.len()).collect();
    assert_eq!(sizes, [3, 3, 1]);
    let all: Vec<String> = told.seen().into_iter().flat_map(|batch| batch.events).collect();
    assert_eq!(all, (0..7).map(|n| format!("{{\"n\":{n}}}")).collect::<Vec<_>>());
    assert_eq!(emitter.close(PATIENCE).await, 0);
    assert_eq!((metrics.sent(), metrics.batches.get(), metrics.waiting.get()), (7, 3, 0));
}

#[tokio::test(start_paused = true)]
async fn what_fails_is_sent_again_under_the_same_id_and_not_sooner_than_asked() {
    let slow = Undelivered { retry_after: Some(Duration::from_secs(20)), ..Undelivered::passing(failure()) };
    let told = Told::answering([Some(Undelivered::passing(failure())), Some(slow), None]);
    let (emitter, metrics) = told.start(Bounds::default());
    emitter.emit(&json!({}));
    told.until(2).await;
    let asked = Instant::now();
    told.until(3).await;
    assert!(asked.elapsed() >= Duration::from_secs(19), "{:?}", asked.elapsed());
    let seen = told.seen();
    assert!(seen.iter().all(|batch| *batch == seen[0]) && seen[0].id.len() == 32);
    assert_eq!(emitter.close(PATIENCE).await, 0);
    assert_eq!((metrics.sent(), metrics.retries.get()), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_or_too_old_is_dropped_and_counted() {
    let told = Told::answering([Some(Undelivered::permanent(failure())), None]);
    let (emitter, metrics) = told.start(Bounds::default());
    emitter.emit(&json!({ "n": 1 }));
    told.until(1).await;
    emitter.emit(&json!({ "n": 2 }));
    told.until(2).await;
    assert_eq!(emitter.close(PATIENCE).await, 0);
    assert_eq!((metrics.sent(), metrics.dropped("refused")), (1, 1));

    let told = Told::answering((0..1_000).map(|_| Some(Undelivered::passing(failure()))));
    let (emitter, metrics) = told.start(Bounds { patience: Duration::from_secs(5), ..Bounds::default() });
    emitter.emit(&json!({}));
    while metrics.dropped("too_old") == 0 {
        tokio::task::yield_now().await;
        tokio::time::advance(Duration::from_millis(50)).await;
    }
    assert_eq!((emitter.close(PATIENCE).await, metrics.waiting.get()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_query_never_waits_for_its_log() {
    let told = Told { hangs: true, ..Told::default() };
    let bounds = Bounds { events: 10, event_bytes: 100, batch_events: 2, bytes: 10_000, ..Bounds::default() };
    let (emitter, metrics) = told.start(bounds);
    emitter.emit(&json!({ "n": 0 }));
    emitter.emit(&json!({ "n": 1 }));
    told.until(1).await;
    for n in 0..15 {
        emitter.emit(&json!({ "n": n }));
    }
    emitter.emit(&json!({ "text": "x".repeat(100) }));
    assert_eq!((metrics.dropped("full"), metrics.dropped("too_large"), metrics.waiting.get()), (5, 1, 12));
    assert_eq!(emitter.close(PATIENCE).await, 12, "two that were on their way, ten that waited");
    assert_eq!((metrics.dropped("shutdown"), metrics.waiting.get(), metrics.sent()), (12, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn the_end_does_not_wait_for_more_events() {
    let told = Told::default();
    let (emitter, metrics) = told.start(Bounds { linger: Duration::from_secs(3_600), ..Bounds::default() });
    emitter.emit(&json!({}));
    let began = Instant::now();
    assert_eq!(emitter.close(PATIENCE).await, 0);
    assert!(began.elapsed() < Duration::from_secs(1));
    assert_eq!(metrics.sent(), 1);
}

#[test]
fn an_event_is_told_as_the_event_server_takes_it() {
    let batch = Batch { id: "1".into(), routing_key: "a \"b\"".into(), events: vec![r#"{"n":1}"#.into()] };
    let told: Vec<String> = batch.told().collect();
    assert_eq!(told, [r#"{"topic":"apinode-query","routingKey":"a \"b\"","clientEvent":{"n":1}}"#]);
}
