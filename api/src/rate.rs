//! How fast requests are taken, and how many at once: a process whose clients ask for too much refuses some, and stays as small as it is.
//!
//! Each key has a bucket of tokens that fills steadily: a request takes one before anybody looks whose key it is, then one more for each further
//! operation or field of a mutation. The process has one besides, from which each request takes one.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use async_graphql::{
    BatchRequest, Request as Operation,
    parser::types::{ExecutableDocument, OperationType, Selection, SelectionSet},
};
use poem::http::StatusCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    failure::Failure,
    house::Key,
    limits,
    settings::{Limits, Settings},
};

/// How long a request waits for a place. Its body has not been read.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most keys that are remembered. A full bucket need not be.
const KEYS: usize = 10_000;

pub(crate) struct Rates {
    at_once: Arc<Semaphore>,
    all: Mutex<Bucket>,
    /// By a hash of the key.
    keys: Mutex<HashMap<u64, Bucket>>,
    hasher: RandomState,
    process: Rate,
    key: Rate,
}

/// Tokens a second, and how many a full bucket holds. Zero a second: no bound.
#[derive(Clone, Copy)]
struct Rate {
    second: f64,
    burst: f64,
}

#[derive(Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    fn full(rate: Rate, now: Instant) -> Self {
        Self { tokens: rate.burst, at: now }
    }

    fn fill(&mut self, rate: Rate, now: Instant) {
        let grown = now.saturating_duration_since(self.at).as_secs_f64() * rate.second;
        (self.tokens, self.at) = ((self.tokens + grown).min(rate.burst), now);
    }

    /// What costs more than a bucket holds takes a full one.
    fn take(&mut self, cost: u32, rate: Rate, now: Instant) -> bool {
        self.fill(rate, now);
        let cost = f64::from(cost).min(rate.burst);
        let enough = self.tokens >= cost;
        if enough {
            self.tokens -= cost;
        }
        enough
    }
}

impl Rates {
    pub(crate) fn new(settings: &Settings) -> Self {
        let rate = |second: u32, burst: u32| Rate { second: second.into(), burst: burst.max(1).into() };
        let process = rate(settings.requests_per_second, settings.burst);
        Self {
            at_once: Arc::new(Semaphore::new(settings.requests_at_once.clamp(1, Semaphore::MAX_PERMITS))),
            all: Mutex::new(Bucket::full(process, Instant::now())),
            keys: Mutex::default(),
            hasher: RandomState::new(),
            process,
            key: rate(settings.key_requests_per_second, settings.key_burst),
        }
    }

    /// A place among the requests that are answered at once, if one is free in time. `key` pays one token for that.
    pub(crate) async fn enter(&self, key: Option<&Key>) -> Result<OwnedSemaphorePermit, Failure> {
        if self.process.second > 0.0 {
            let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
            if !all.take(1, self.process, Instant::now()) {
                return Err(limited());
            }
        }
        if let Some(key) = key {
            self.take(key, 1)?;
        }
        let place = tokio::time::timeout(PATIENCE, Arc::clone(&self.at_once).acquire_owned()).await;
        place.map_err(|_| limited())?.map_err(|_| limited())
    }

    /// Takes what operations of this key cost.
    pub(crate) fn take(&self, key: &Key, cost: u32) -> Result<(), Failure> {
        if self.key.second <= 0.0 {
            return Ok(());
        }
        let now = Instant::now();
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.len() >= KEYS {
            keys.retain(|_, bucket| {
                bucket.fill(self.key, now);
                bucket.tokens < self.key.burst
            });
            // More than so many are busy: the bound of the process holds for them all.
            if keys.len() >= KEYS {
                keys.clear();
            }
        }
        let bucket = keys.entry(self.hasher.hash_one(key.expose())).or_insert_with(|| Bucket::full(self.key, now));
        if bucket.take(cost, self.key, now) { Ok(()) } else { Err(limited()) }
    }
}

fn limited() -> Failure {
    Failure::new(
        StatusCode::TOO_MANY_REQUESTS,
        "RATE_LIMITED",
        "Too many requests at once. Nothing was done. Wait a second, ask again, and then less often.",
    )
}

/// What a request costs: one for each operation, or each field of a mutation.
pub(crate) fn cost(batch: &mut BatchRequest, limits: &Limits) -> u32 {
    match batch {
        BatchRequest::Single(one) => cost_of(one, limits),
        BatchRequest::Batch(all) => all.iter_mut().map(|one| cost_of(one, limits)).sum(),
    }
}

/// As [`cost`]. What cannot be read costs one: nothing of it is done.
pub(crate) fn cost_of(operation: &mut Operation, limits: &Limits) -> u32 {
    // The parser must not see what was not measured.
    if limits::measure(&operation.query, limits).is_err() {
        return 1;
    }
    let Ok(document) = operation.parsed_query() else { return 1 };
    let mutations = document.operations.iter().filter(|(_, one)| one.node.ty == OperationType::Mutation);
    let mut seen = Vec::new();
    let fields = mutations.map(|(_, one)| fields(document, &one.node.selection_set.node, &mut seen)).sum();
    u32::max(1, fields)
}

/// Fields of the first level. A fragment counts once: used again, it asks for the same fields. Recursion is bounded, as in [`limits`].
fn fields<'d>(document: &'d ExecutableDocument, set: &'d SelectionSet, seen: &mut Vec<&'d str>) -> u32 {
    let mut count: u32 = 0;
    for selection in &set.items {
        let more = match &selection.node {
            Selection::Field(_) => 1,
            Selection::InlineFragment(inline) => fields(document, &inline.node.selection_set.node, seen),
            Selection::FragmentSpread(spread) => {
                let name = spread.node.fragment_name.node.as_str();
                match document.fragments.get(name) {
                    Some(fragment) if !seen.contains(&name) => {
                        seen.push(name);
                        fields(document, &fragment.node.selection_set.node, seen)
                    }
                    _ => 0,
                }
            }
        };
        count = count.saturating_add(more);
    }
    count
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_bucket_fills_steadily_and_not_beyond_its_brim() {
        let (rate, start) = (Rate { second: 10.0, burst: 3.0 }, Instant::now());
        let mut bucket = Bucket::full(rate, start);
        let mut took = |ms: u64, cost: u32| bucket.take(cost, rate, start + Duration::from_millis(ms));
        assert_eq!([took(0, 1), took(0, 2), took(0, 1), took(50, 1), took(100, 1)], [true, true, false, false, true]);
        assert_eq!([took(9_000, 4), took(9_000, 1)], [true, false], "a full bucket is as much as there is");
    }

    #[test]
    fn each_field_of_a_mutation_counts() {
        let cost = |query: &str| cost_of(&mut Operation::new(query), &Limits::default());
        assert_eq!(cost("{ a b c }"), 1);
        assert_eq!(cost("not graphql"), 1);
        assert_eq!(cost("mutation { a: start { x y } b: start { x } }"), 2);
        assert_eq!(cost("mutation { ...F ...F a ... { d } } fragment F on M { b c ...F }"), 4);
    }

    #[tokio::test]
    async fn one_key_does_not_use_up_anothers() {
        let settings =
            Settings { key_requests_per_second: 1, key_burst: 2, requests_at_once: 1, ..Settings::default() };
        let rates = Rates::new(&settings);
        let (one, other) = (Key::new("one").unwrap(), Key::new("other").unwrap());
        assert!(rates.take(&one, 2).is_ok());
        assert!(rates.enter(Some(&one)).await.is_err());
        assert_eq!(rates.take(&one, 1).unwrap_err().status, StatusCode::TOO_MANY_REQUESTS);
        assert!(rates.take(&other, 1).is_ok());
        let place = rates.enter(Some(&other)).await.unwrap();
        assert!(rates.enter(None).now_or_never().is_none(), "one at once: the next one waits");
        drop(place);
        assert!(rates.enter(None).await.is_ok());
    }
}
