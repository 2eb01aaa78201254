//! Refusals in bulk: whoever repeats a refused request a thousand times must not fill the audit.
//!
//! For each caller (login and key) and minute, the first [`EACH`] different refusals are records of their own, at once. Equal ones after that are
//! counted, and so are all beyond those; the counts become records (`times`) when the minute is over and this process writes to the audit next. Counts
//! of the running minute are lost with the process; its log has a line for each.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{
    act::Caller,
    object::{Object, ObjectKind, Outcome},
};

/// How long equal refusals are one.
pub const WINDOW: Duration = Duration::from_secs(60);
/// So many different refusals a caller and window are records of their own.
pub const EACH: usize = 60;
/// The most callers that are remembered at once.
const CALLERS: usize = 10_000;

/// What was refused, and why.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Refused {
    pub(crate) action: &'static str,
    pub(crate) object: Object,
    pub(crate) outcome: Outcome,
    pub(crate) codes: Vec<String>,
}

/// Counts that are to be recorded.
#[derive(Debug)]
pub(crate) struct Counted {
    pub(crate) caller: Caller,
    pub(crate) refused: Refused,
    pub(crate) times: i64,
}

struct Window {
    since: Instant,
    /// The caller as it came first.
    caller: Caller,
    /// How often again.
    again: HashMap<Refused, i64>,
    /// Further ones.
    more: i64,
}

/// What one process has counted. Cheap to clone.
#[derive(Clone, Default)]
pub struct Ledger(Arc<Mutex<HashMap<CallerKey, Window>>>);

/// A login and a key's id.
type CallerKey = (String, Option<String>);

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ledger")
    }
}

impl Ledger {
    /// Whether this one is to be recorded now; it is counted otherwise.
    pub(crate) fn is_new(&self, caller: &Caller, refused: &Refused, now: Instant) -> bool {
        let mut callers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (caller.login.clone(), caller.key_id.clone());
        if callers.len() >= CALLERS && !callers.contains_key(&key) {
            // As if all of these were one caller.
            return false;
        }
        let fresh = || Window { since: now, caller: caller.clone(), again: HashMap::new(), more: 0 };
        let window = callers.entry(key).or_insert_with(fresh);
        if let Some(times) = window.again.get_mut(refused) {
            *times += 1;
            return false;
        }
        if window.again.len() >= EACH {
            window.more += 1;
            return false;
        }
        window.again.insert(refused.clone(), 0);
        true
    }

    /// Takes the counts of windows that are over.
    pub(crate) fn over(&self, now: Instant) -> Vec<Counted> {
        let mut callers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counted = Vec::new();
        callers.retain(|_, window| {
            if now.saturating_duration_since(window.since) < WINDOW {
                return true;
            }
            let caller = window.caller.clone();
            if window.more > 0 {
                let many = Refused {
                    action: "*",
                    object: Object::new(ObjectKind::Many, ""),
                    outcome: Outcome::Refused,
                    codes: Vec::new(),
                };
                counted.push(Counted { caller: caller.clone(), refused: many, times: window.more });
            }
            let again = mem::take(&mut window.again).into_iter().filter(|(_, times)| *times > 0);
            counted.extend(again.map(|(refused, times)| Counted { caller: caller.clone(), refused, times }));
            false
        });
        counted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(id: &str) -> Refused {
        let object = Object::new(ObjectKind::User, id);
        Refused { action: "deleteUser", object, outcome: Outcome::Refused, codes: vec!["FORBIDDEN".to_owned()] }
    }

    #[test]
    fn a_flood_is_a_few_records_a_minute() {
        let (ledger, start) = (Ledger::default(), Instant::now());
        let caller = Caller::of("ann");
        let news = |id: &str, now| ledger.is_new(&caller, &refused(id), now);
        assert!(news("x", start));
        assert!((0..1_000).all(|_| !news("x", start)));
        let fresh = (0..1_000).filter(|n| news(&n.to_string(), start)).count();
        assert_eq!(fresh, EACH - 1);
        assert!(ledger.over(start).is_empty(), "the minute is not over");
        let mut counted: Vec<_> = ledger.over(start + WINDOW).into_iter().map(|one| one.times).collect();
        counted.sort_unstable();
        assert_eq!(counted, [1_000 - (EACH as i64 - 1), 1_000]);
        assert!(ledger.over(start + WINDOW).is_empty() && news("x", start + WINDOW), "and all begins anew");
    }
}
