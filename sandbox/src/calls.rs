//! The log of calls: what was asked, by whom, when, and what was answered. Keys are never in it.

use crate::auth::KeyKind;
use crate::clock::now_us;
use serde::Serialize;
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// The most calls kept, unless a kind of node keeps fewer; older ones are forgotten.
const KEPT: usize = 100_000;
/// A JSON body whose text is longer, in bytes, is logged by its size alone.
const BODY_KEPT: usize = 256 * 1024;

/// One call that the node received.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Call {
    /// Its place in the order of arrival, from 0; never used twice, not even after the log was cleared.
    pub index: u64,
    /// The HTTP method.
    pub method: String,
    /// The path without base and stray slashes, such as `/projects/CHURN/settings`.
    pub path: String,
    /// The query parameters, in order.
    pub query: Vec<(String, String)>,
    /// The kind of the key that the call carried.
    pub key: KeyKind,
    /// The login (or `api:…` for a global key) under which the call acts; absent when the key is not known.
    pub acting: Option<String>,
    /// What `X-DKU-ProxyUser` said, known or not.
    pub proxy_user: Option<String>,
    /// The body, when it was read.
    pub body: CallBody,
    /// When it arrived, in microseconds since the epoch.
    pub start: i64,
    /// When its answer was ready to be sent (or was thrown away by a fault).
    pub end: Option<i64>,
    /// The status that was sent; absent while the call lasts, and when a fault dropped the answer.
    pub status: Option<u16>,
    /// The kind of the fault that hit the call.
    pub fault: Option<String>,
}

/// What is kept of a request's body.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum CallBody {
    /// No body, or one that was never read.
    #[default]
    None,
    /// A JSON body.
    Json(Value),
    /// An uploaded file that arrived whole.
    #[serde(rename_all = "camelCase")]
    Upload {
        /// The file name that the client gave.
        file: String,
        /// Bytes.
        size: u64,
        /// SHA-256 in hexadecimal digits.
        sha256: String,
    },
    /// A body that is no JSON, or too long to be kept.
    #[serde(rename_all = "camelCase")]
    Other {
        /// Bytes of the body, as text.
        size: usize,
    },
}

impl CallBody {
    pub(crate) fn json(value: &Value) -> Self {
        let size = value.to_string().len();
        if size > BODY_KEPT { Self::Other { size } } else { Self::Json(value.clone()) }
    }
}

/// The log.
pub(crate) struct Calls {
    log: Mutex<Log>,
    changes: watch::Sender<u64>,
    kept: usize,
}

#[derive(Default)]
struct Log {
    next: u64,
    calls: VecDeque<Call>,
}

impl Default for Calls {
    fn default() -> Self {
        Self::keeping(KEPT)
    }
}

impl Calls {
    pub(crate) fn keeping(kept: usize) -> Self {
        Self { log: Mutex::default(), changes: watch::Sender::new(0), kept }
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// Enters a call; returns its index. The index and the start of `call` are set here.
    pub(crate) fn begin(&self, mut call: Call) -> u64 {
        let index = {
            let mut log = self.lock();
            call.index = log.next;
            call.start = now_us();
            log.next += 1;
            if log.calls.len() >= self.kept {
                log.calls.pop_front();
            }
            log.calls.push_back(call);
            log.next - 1
        };
        self.changed();
        index
    }

    /// Adds to a call that is still in the log.
    pub(crate) fn note(&self, index: u64, note: impl FnOnce(&mut Call)) {
        if let Some(call) = self.lock().calls.iter_mut().rev().find(|call| call.index == index) {
            note(call);
        }
        self.changed();
    }

    /// Notes the end of a call, and the status unless the answer was dropped.
    pub(crate) fn end(&self, index: u64, status: Option<u16>) {
        self.note(index, |call| {
            call.end = Some(now_us());
            call.status = status;
        });
    }

    pub(crate) fn all(&self) -> Vec<Call> {
        self.lock().calls.iter().cloned().collect()
    }

    pub(crate) fn from(&self, index: u64) -> Vec<Call> {
        self.lock().calls.iter().filter(|call| call.index >= index).cloned().collect()
    }

    pub(crate) fn clear(&self) {
        self.lock().calls.clear();
        self.changed();
    }

    /// Waits until the log satisfies `enough`; looks again at each change.
    pub(crate) async fn until(&self, mut enough: impl FnMut(&[Call]) -> bool) -> Vec<Call> {
        let mut changes = self.changes.subscribe();
        loop {
            let calls = self.all();
            if enough(&calls) {
                return calls;
            }
            if changes.changed().await.is_err() {
                // The sender lives in `self`, so this can't be; if it were, what is there is the answer.
                return calls;
            }
        }
    }
}
