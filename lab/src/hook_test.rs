//! One hook, tried out: run once to its end, then killed after each of its effects and run again, as by a worker that takes over.
//!
//! The kill comes while an answer is held back: the effect is there, and the hook does not know. Between two effects a kill anywhere leaves the
//! same world to the next attempt, so one point for each effect is all there is to try.
//!
//! * `bench`: a practice node with a live project, a proxy that stands for everybody else, and one run of the hook among them.
//! * `calls`: what was called, in order. `report`: what was made twice, and the verdict.

mod bench;
mod calls;
mod report;

use std::{path::PathBuf, time::Duration};

use engine::clock::random_u64;
use worker::hooks::Supervisor;

use self::bench::Bench;
pub use self::report::Report;
use crate::failure::LabError;

/// What is tried.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How hooks are started.
    pub supervisor: Supervisor,
    /// The interpreter.
    pub python: PathBuf,
    /// The hook's source.
    pub code: String,
    /// Whether it is a hook for after the deployment: then it gets a report.
    pub after: bool,
    /// The bundle that is live on the practice node; a sample when None.
    pub bundle: Option<PathBuf>,
    /// Whether it is killed at all.
    pub crash: bool,
    /// At so many points at most.
    pub points: usize,
    /// The deadline of each run.
    pub deadline: Duration,
}

/// Tries the hook. Each world is new: a node of its own, and nobody remembers the one before. `tell` hears how far it is.
///
/// # Errors
/// When a node or a hook cannot be started, or the bundle is no good.
pub async fn run(settings: &Settings, tell: &(dyn Fn(&str) + Sync)) -> Result<Report, LabError> {
    // The same on every attempt, as in an update; in letters that nobody encodes, so that it can be found in what is called.
    let key = format!("{:016x}", random_u64());
    let bench = Bench::set(settings, &key).await?;
    let alone = bench.attempt(settings, 1).await?;
    let mut report = Report::new(alone, bench.end(), settings.crash);
    bench.clear().await;
    if settings.crash && report.alone_is_good() {
        let points = report.points(settings.points);
        let count = points.len();
        for (point, number) in points.into_iter().zip(1..) {
            tell(&format!("killed and run again: {number} of {count}"));
            let bench = Bench::set(settings, &key).await?;
            let first = bench.killed_after(settings, &point).await?;
            let second = bench.attempt(settings, 2).await?;
            report.add(point, first, second, bench.end());
            bench.clear().await;
        }
    }
    Ok(report)
}
