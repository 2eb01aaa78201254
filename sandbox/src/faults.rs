//! Faults: what a test or a demonstration arms, and the matching of calls against it.

use crate::request::check_id;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// The most faults that may be armed at once.
const ARMED: usize = 1000;

/// One fault, armed for calls that match.
///
/// As JSON: `{"method": "POST", "path": "/projects/*/bundles/imported/*/actions/activate", "kind": "STATUS", "status": 503}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fault {
    /// The HTTP method; any, when absent.
    #[serde(default)]
    pub method: Option<String>,
    /// The path without its base. `*` stands for one segment, a last `**` for any number of them, `X*` for a segment
    /// that begins with `X`.
    pub path: String,
    /// The first matching call that is hit, from 1 (the default).
    #[serde(default = "one")]
    pub nth: u32,
    /// How many calls are hit from then on; 1 when absent, `None` (null) = all.
    #[serde(default = "once")]
    pub count: Option<u32>,
    /// What happens to them.
    #[serde(flatten)]
    pub kind: FaultKind,
}

fn one() -> u32 {
    1
}

fn once() -> Option<u32> {
    Some(1)
}

/// What a fault does to a call.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "SCREAMING_SNAKE_CASE", rename_all_fields = "camelCase")]
pub enum FaultKind {
    /// No effect; this status with an error object.
    Status {
        /// 400 to 599.
        status: u16,
        /// `errorType` of the error object.
        #[serde(default)]
        error_type: Option<String>,
        /// `message` and `detailedMessage` of the error object.
        #[serde(default)]
        message: Option<String>,
        /// The `Retry-After` header, in seconds.
        #[serde(default)]
        retry_after: Option<u64>,
    },
    /// No effect; an HTML page with this status where JSON belongs.
    Html {
        /// Such as 200 or 502.
        status: u16,
    },
    /// No effect; 302 to this address.
    Redirect {
        /// The `Location` header.
        location: String,
    },
    /// No effect; a report with this error inside a 200.
    ReportError {
        /// Such as `ERR_BUNDLE_ACTIVATE_MISSING_CONNECTION`.
        code: String,
        /// The text of the message.
        message: String,
    },
    /// No effect; the connection is reset, no answer.
    Reset,
    /// No effect; this many bytes of the request's body are read, then the connection is reset.
    CutUpload {
        /// Bytes.
        after_bytes: u64,
    },
    /// The effect; then the connection is closed in the middle of the answer's body, before Content-Length is reached.
    CutAnswer,
    /// The effect; then the connection is reset without an answer.
    LostAnswer,
    /// Waits until released, then goes on as if nothing had been.
    Hold {
        /// Before the effect, or after it and before the answer.
        when: When,
    },
    /// The effect; then the answer's body in pieces of `chunk` bytes, one each `pause_ms` milliseconds.
    Trickle {
        /// Bytes, at least 1.
        chunk: usize,
        /// Milliseconds.
        pause_ms: u64,
    },
}

impl FaultKind {
    /// The name in the log of calls.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Status { .. } => "STATUS",
            Self::Html { .. } => "HTML",
            Self::Redirect { .. } => "REDIRECT",
            Self::ReportError { .. } => "REPORT_ERROR",
            Self::Reset => "RESET",
            Self::CutUpload { .. } => "CUT_UPLOAD",
            Self::CutAnswer => "CUT_ANSWER",
            Self::LostAnswer => "LOST_ANSWER",
            Self::Hold { .. } => "HOLD",
            Self::Trickle { .. } => "TRICKLE",
        }
    }
}

/// Where a held call waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum When {
    /// Before the effect. Of an upload, nothing was read yet.
    Before,
    /// After the effect, before the answer.
    After,
}

impl Fault {
    /// A fault for the next call of this method and path.
    pub fn on(method: &str, path: &str, kind: FaultKind) -> Self {
        Self { method: Some(method.to_owned()), path: path.to_owned(), nth: 1, count: Some(1), kind }
    }

    /// From the `nth` matching call on, counted from 1.
    #[must_use]
    pub fn nth(self, nth: u32) -> Self {
        Self { nth, ..self }
    }

    /// For `count` calls.
    #[must_use]
    pub fn times(self, count: u32) -> Self {
        Self { count: Some(count), ..self }
    }

    /// For all calls until it is disarmed.
    #[must_use]
    pub fn for_ever(self) -> Self {
        Self { count: None, ..self }
    }

    /// What is wrong with it, if anything.
    pub(crate) fn check(&self) -> Result<(), String> {
        let status = match self.kind {
            FaultKind::Status { status, .. } if !(400..600).contains(&status) => Some(status),
            FaultKind::Html { status } if !(200..600).contains(&status) => Some(status),
            _ => None,
        };
        if let Some(status) = status {
            return Err(format!("{status} is no status for this kind of fault"));
        }
        if self.nth == 0 {
            return Err("nth counts from 1".to_owned());
        }
        if matches!(self.kind, FaultKind::Trickle { chunk: 0, .. }) {
            return Err("chunk is at least 1".to_owned());
        }
        let header_breaker = |text: &str| text.chars().any(char::is_control);
        if matches!(&self.kind, FaultKind::Redirect { location } if header_breaker(location)) {
            return Err("location has control characters".to_owned());
        }
        Ok(())
    }

    fn matches(&self, method: &str, segments: &[String]) -> bool {
        self.method.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(method))
            && path_matches(&self.path, segments)
    }
}

fn path_matches(pattern: &str, segments: &[String]) -> bool {
    let mut rest = segments.iter();
    for wanted in pattern.split('/').filter(|segment| !segment.is_empty()) {
        if wanted == "**" {
            return true;
        }
        let Some(segment) = rest.next() else { return false };
        let same = match wanted.strip_suffix('*') {
            Some(beginning) => segment.starts_with(beginning),
            None => segment == wanted,
        };
        if !same {
            return false;
        }
    }
    rest.next().is_none()
}

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
    pub(crate) core: Arc<crate::node::Core>,
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
        self.core.faults.disarm(self.id);
        self.release();
    }
}

/// Reads an id of a fault from a path.
pub(crate) fn fault_id(text: &str) -> Option<u64> {
    check_id("fault", text).ok().and_then(|()| text.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(path: &str) -> Vec<String> {
        path.split('/').filter(|segment| !segment.is_empty()).map(str::to_owned).collect()
    }

    #[test]
    fn patterns() {
        for (pattern, path, matches) in [
            ("/projects/*/settings", "/projects/K/settings", true),
            ("/projects/*/settings", "/projects/K/variables", false),
            ("/projects/*/settings", "/projects/settings", false),
            ("/projects/**", "/projects/K/scenarios/S", true),
            ("/projects/K*/settings", "/projects/K2/settings", true),
            ("/projects", "/projects/K", false),
            ("**", "/anything", true),
        ] {
            assert_eq!(path_matches(pattern, &segments(path)), matches, "{pattern} {path}");
        }
    }

    #[test]
    fn nth_and_count_choose_the_calls() {
        let faults = Faults::default();
        let armed = faults.arm(Fault::on("get", "/users", FaultKind::Reset).nth(2).times(2));
        assert!(armed.is_ok());
        let hits: Vec<bool> = (0..5).map(|_| faults.pick("GET", &segments("/users")).is_some()).collect();
        assert_eq!(hits, [false, true, true, false, false]);
        assert!(faults.pick("PUT", &segments("/users")).is_none());
    }

    #[test]
    fn a_fault_reads_as_json() -> Result<(), serde_json::Error> {
        let fault: Fault =
            serde_json::from_value(json!({"path": "/users", "kind": "STATUS", "status": 503, "retryAfter": 2}))?;
        assert_eq!((fault.nth, fault.count), (1, Some(1)));
        assert!(matches!(fault.kind, FaultKind::Status { status: 503, retry_after: Some(2), .. }));
        let fault: Fault =
            serde_json::from_value(json!({"path": "/users", "kind": "HOLD", "when": "AFTER", "count": null}))?;
        assert!(fault.count.is_none());
        Ok(())
    }
}
