//! Armed faults: counting the calls that match them, holding calls, telling who waits.

use crate::faults::Fault;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// The most faults that may be armed at once.
const ARMED: usize = 1000;

/// A fault that is armed, or was.
pub(crate) struct Armed {
    pub(crate) fault: Fault,
    matched: AtomicU32,
    hits: watch::Sender<u32>,
    released: watch::Sender<bool>,
}

impl Armed {
    /// Counts a hit: the call is at the point where the fault bites.
    pub(crate) fn hit(&self) {
        self.hits.send_modify(|hits| *hits += 1);
    }

    /// Waits until the fault is released or disarmed.
    pub(crate) async fn held(&self) {
        let mut released = self.released.subscribe();
        let gone = released.wait_for(|released| *released).await.is_err();
        debug_assert!(!gone, "the sender lives in self");
    }

    pub(crate) async fn reached(&self, hits: u32) {
        let mut seen = self.hits.subscribe();
        let gone = seen.wait_for(|seen| *seen >= hits).await.is_err();
        debug_assert!(!gone, "the sender lives in self");
    }

    fn state(&self, id: u64) -> Value {
        json!({
            "id": id, "fault": self.fault, "matched": self.matched.load(Ordering::SeqCst),
            "hits": *self.hits.borrow(), "released": *self.released.borrow(),
        })
    }
}

/// All armed faults.
#[derive(Default)]
pub(crate) struct Faults(Mutex<Book>);

#[derive(Default)]
struct Book {
    next: u64,
    armed: BTreeMap<u64, Arc<Armed>>,
}

impl Faults {
    fn lock(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn arm(&self, fault: Fault) -> Result<(u64, Arc<Armed>), String> {
        fault.check()?;
        let mut book = self.lock();
        if book.armed.len() >= ARMED {
            return Err(format!("{ARMED} faults are armed already"));
        }
        let armed = Arc::new(Armed {
            fault,
            matched: AtomicU32::new(0),
            hits: watch::Sender::new(0),
            released: watch::Sender::new(false),
        });
        book.next += 1;
        let id = book.next;
        book.armed.insert(id, Arc::clone(&armed));
        Ok((id, armed))
    }

    /// The oldest armed fault that hits this call. Each fault counts every call that matches it.
    pub(crate) fn pick(&self, method: &str, segments: &[String]) -> Option<Arc<Armed>> {
        let book = self.lock();
        let mut picked = None;
        for armed in book.armed.values().filter(|armed| armed.fault.matches(method, segments)) {
            let turn = armed.matched.fetch_add(1, Ordering::SeqCst).saturating_add(1);
            let first = armed.fault.nth;
            let hit = turn >= first && armed.fault.count.is_none_or(|count| turn - first < count);
            if hit && picked.is_none() {
                picked = Some(Arc::clone(armed));
            }
        }
        picked
    }

    pub(crate) fn get(&self, id: u64) -> Option<Arc<Armed>> {
        self.lock().armed.get(&id).cloned()
    }

    pub(crate) fn release(&self, id: u64) -> bool {
        let armed = self.get(id);
        armed
            .inspect(|armed| {
                armed.released.send_replace(true);
            })
            .is_some()
    }

    pub(crate) fn disarm(&self, id: u64) -> bool {
        let armed = self.lock().armed.remove(&id);
        armed
            .inspect(|armed| {
                armed.released.send_replace(true);
            })
            .is_some()
    }

    pub(crate) fn clear(&self) {
        for armed in std::mem::take(&mut self.lock().armed).into_values() {
            armed.released.send_replace(true);
        }
    }

    pub(crate) fn states(&self) -> Vec<Value> {
        self.lock().armed.iter().map(|(id, armed)| armed.state(*id)).collect()
    }

    pub(crate) fn state(&self, id: u64) -> Option<Value> {
        self.get(id).map(|armed| armed.state(id))
    }
}

/// A test's hold on a fault that it armed.
pub struct FaultHandle {
    pub(crate) id: u64,
    pub(crate) armed: Arc<Armed>,
    pub(crate) faults: Arc<Faults>,
}

impl FaultHandle {
    /// The id under `/sandbox/faults/{id}`.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Waits until the fault has hit a call: a held call is then waiting at its point. A level: true once, true for ever.
    pub async fn reached(&self) {
        self.reached_times(1).await;
    }

    /// Waits until the fault has hit this many calls.
    pub async fn reached_times(&self, hits: u32) {
        self.armed.reached(hits).await;
    }

    /// How many calls it has hit.
    pub fn hits(&self) -> u32 {
        *self.armed.hits.borrow()
    }

    /// Lets held calls go on, those that wait and those that come.
    pub fn release(&self) {
        self.armed.released.send_replace(true);
    }

    /// Releases it and hits no more calls.
    pub fn disarm(&self) {
        self.faults.disarm(self.id);
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::FaultKind;

    #[test]
    fn nth_and_count_choose_the_calls() {
        let faults = Faults::default();
        let armed = faults.arm(Fault::on("get", "/users", FaultKind::Reset).nth(2).times(2));
        assert!(armed.is_ok());
        let hits: Vec<bool> = (0..5).map(|_| faults.pick("GET", &["users".to_owned()]).is_some()).collect();
        assert_eq!(hits, [false, true, true, false, false]);
        assert!(faults.pick("PUT", &["users".to_owned()]).is_none());
    }
}
