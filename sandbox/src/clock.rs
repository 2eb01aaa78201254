//! The node's own clock. A practice node stands for a machine of its own, so its clock is not Slipway's.

use std::time::UNIX_EPOCH;

/// Microseconds since the Unix epoch.
#[expect(clippy::disallowed_methods, reason = "the node is another machine: it has a clock of its own")]
pub(crate) fn now_us() -> i64 {
    let since = std::time::SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// Milliseconds since the Unix epoch, as the wire has them.
pub(crate) fn now_ms() -> i64 {
    now_us() / 1000
}
