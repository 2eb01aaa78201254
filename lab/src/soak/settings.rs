//! What is wanted of a soak.

use std::{path::PathBuf, time::Duration};

use engine::leases::LeaseSettings;

/// What is wanted.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The `slipway` binary.
    pub binary: PathBuf,
    /// Which processes there are.
    pub size: Size,
    /// Faults are made for so long.
    pub lasts: Duration,
    /// What all chance of the schedule comes from.
    pub seed: u64,
    /// How many workers, at least 2; the embedded size has one process.
    pub workers: usize,
    /// Updates requested in a second.
    pub rate: f64,
    /// Which faults.
    pub plan: Plan,
    /// Where the history goes, if it is wanted.
    pub history: Option<PathBuf>,
    /// Times of the system under test.
    pub times: Times,
}

/// The two sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// One process on SQLite.
    Embedded,
    /// An API, workers, PostgreSQL and Redis.
    Fleet,
}

/// Which faults there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Each kind once in a drawn order, then drawn ones until the time is over.
    Drawn,
    /// Each kind once, and no more; the time is a bound.
    Each,
}

/// Times of the system under test, in milliseconds: shorter than the defaults, so that a few minutes see many lapses.
#[derive(Clone, Debug)]
pub struct Times {
    /// Lease, heartbeat, hooks' grace.
    pub lease: LeaseSettings,
    /// Between sweeps.
    pub sweep: u64,
    /// A node has settled so long after a call was lost.
    pub settle: u64,
    /// Steps under way get so long after SIGTERM.
    pub drain: u64,
}

impl Default for Times {
    fn default() -> Self {
        let lease = LeaseSettings { lease_ms: 3_000, heartbeat_ms: 500, hook_grace_ms: 1_800 };
        Self { lease, sweep: 500, settle: 2_000, drain: 4_000 }
    }
}

impl Times {
    /// How long a killed worker's run may stand still: the lease, a sweep, and a second for everything else.
    pub fn bound(&self) -> Duration {
        Duration::from_millis(self.lease.lease_ms + self.sweep + 1_000)
    }
}

impl Settings {
    /// What is about to happen, in a few lines.
    pub(super) fn told(&self) -> String {
        let times = &self.times;
        let what = match self.size {
            Size::Embedded => "one process on SQLite".to_owned(),
            Size::Fleet => format!("{} workers, an API, PostgreSQL, Redis", self.workers),
        };
        let how_long = match self.plan {
            Plan::Drawn => format!("faults for {} s", self.lasts.as_secs()),
            Plan::Each => "each fault once".to_owned(),
        };
        format!(
            "Soak: {what}; seed {}; {how_long}; {} updates a second.\n\
             Shortened times: lease {} ms, heartbeat {} ms, hooks' grace {} ms, sweep {} ms, settle {} ms, drain {} ms.",
            self.seed,
            self.rate,
            times.lease.lease_ms,
            times.lease.heartbeat_ms,
            times.lease.hook_grace_ms,
            times.sweep,
            times.settle,
            times.drain,
        )
    }
}
