//! Back-off between attempts: exponential, capped, with jitter. Policies are data.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How often a step is tried, and how long apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// Attempts in all, at least 1.
    pub max_attempts: u32,
    /// Before the second attempt, in milliseconds; doubles from there.
    pub initial_ms: u64,
    /// Never longer than this, in milliseconds, whatever the other side asks for.
    pub cap_ms: u64,
}

impl RetryPolicy {
    /// One attempt, never another.
    pub const NEVER: Self = Self { max_attempts: 1, initial_ms: 0, cap_ms: 0 };

    /// The wait after `attempt` (from 1) failed; None when that was the last one.
    ///
    /// `chance` in 0.0..1.0 spreads waits over the upper half of the exponential step, so that runs that failed together do not come
    /// back together; `retry_after` is a lower bound, within the cap.
    pub fn delay(&self, attempt: u32, retry_after: Option<Duration>, chance: f64) -> Option<Duration> {
        if attempt >= self.max_attempts {
            return None;
        }
        let doubled = self.initial_ms.saturating_mul(1u64.checked_shl(attempt.saturating_sub(1)).unwrap_or(u64::MAX));
        let step = Duration::from_millis(doubled.min(self.cap_ms));
        let jittered = step.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0);
        let cap = Duration::from_millis(self.cap_ms);
        Some(jittered.max(retry_after.unwrap_or_default()).min(cap))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RetryPolicy = RetryPolicy { max_attempts: 5, initial_ms: 1_000, cap_ms: 6_000 };

    #[test]
    fn doubles_up_to_the_cap_and_ends() {
        let waits: Vec<_> = (1..=5).map(|n| POLICY.delay(n, None, 1.0).map(|d| d.as_millis())).collect();
        assert_eq!(waits, [Some(1_000), Some(2_000), Some(4_000), Some(6_000), None]);
    }

    #[test]
    fn jitter_stays_in_the_upper_half() {
        assert_eq!(POLICY.delay(2, None, 0.0), Some(Duration::from_secs(1)));
    }

    #[test]
    fn the_other_side_may_ask_for_more_but_not_beyond_the_cap() {
        assert_eq!(POLICY.delay(1, Some(Duration::from_secs(3)), 0.5), Some(Duration::from_secs(3)));
        assert_eq!(POLICY.delay(1, Some(Duration::from_secs(60)), 0.5), Some(Duration::from_secs(6)));
    }

    #[test]
    fn many_attempts_do_not_overflow() {
        let policy = RetryPolicy { max_attempts: u32::MAX, initial_ms: 1_000, cap_ms: 60_000 };
        assert_eq!(policy.delay(200, None, 1.0), Some(Duration::from_secs(60)));
    }
}
