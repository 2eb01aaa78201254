//! The only place that asks this machine for the time or for chance.
//!
//! Times that are *compared* (leases, deadlines of slots, wake-ups) are the database's; these are for what one process measures or shows.

#[cfg(feature = "simulated")]
pub mod simulated;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Microseconds since the Unix epoch by this machine's clock. For display and ids; never compared with another machine's.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn now_micros() -> i64 {
    #[cfg(feature = "simulated")]
    if let Some(now) = simulated::ask(|source| source.now_micros()) {
        return now;
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// Nanoseconds of CLOCK_BOOTTIME: goes on while the machine sleeps, the same for every process of it.
pub fn boottime_nanos() -> i64 {
    #[cfg(feature = "simulated")]
    if let Some(now) = simulated::ask(|source| source.boottime_nanos()) {
        return now;
    }
    let t = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    t.tv_sec.saturating_mul(1_000_000_000).saturating_add(t.tv_nsec)
}

/// Fills `buf` with bytes from the operating system's generator.
///
/// A machine without one can neither make keys nor ids: the process ends.
pub fn random_bytes(buf: &mut [u8]) {
    #[cfg(feature = "simulated")]
    if simulated::ask(|source| source.fill(buf)).is_some() {
        return;
    }
    if getrandom::fill(buf).is_err() {
        tracing::error!("no random numbers from the operating system");
        std::process::abort();
    }
}

/// 64 random bits.
pub fn random_u64() -> u64 {
    let mut bytes = [0; 8];
    random_bytes(&mut bytes);
    u64::from_ne_bytes(bytes)
}

/// A number in 0.0..1.0.
pub fn chance() -> f64 {
    (random_u64() >> 11) as f64 / (1u64 << 53) as f64
}
