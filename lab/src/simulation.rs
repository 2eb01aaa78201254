//! The engine and the worker's runner under a seeded scheduler: virtual time, rows in memory, a scripted node, scripted hooks. All that goes wrong
//! is drawn from the seed, so that the same seed gives the same history; an independent checker judges it.
//!
//! * `scheduler`: who runs when, and what befalls them. `process`: a worker process, in a runtime of its own.
//! * `world`: what they share. `store`: how they ask the rows. `steps`: the node, the hooks and their supervisors.
//! * `profile`, `plan`, `chance`: what is drawn.

mod chance;
mod plan;
mod process;
mod profile;
mod scheduler;
mod steps;
mod store;
#[cfg(test)]
mod tests;
mod world;

use std::{
    io,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use crate::{checker::Violation, history::Record, rows::Break};

/// What came of one seed.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// How many runs were requested.
    pub runs: usize,
    /// How long it took, in virtual microseconds.
    pub virtual_us: i64,
    /// The promises that were broken.
    pub violations: Vec<Violation>,
    /// Who did what when, if that was asked for.
    pub trace: Vec<String>,
    /// What was seen.
    pub records: Vec<Record>,
}

/// What came of many seeds.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// How many seeds were run.
    pub seeds: u64,
    /// How many runs were requested in them.
    pub runs: u64,
    /// How long they took together, in virtual microseconds.
    pub virtual_us: i64,
    /// The lowest seed, of those that were run, that broke a promise.
    pub failed: Option<(u64, Vec<Violation>)>,
}

/// Runs one seed. `broken`: with one check switched off.
///
/// # Errors
/// The operating system gives no runtime.
pub fn run(seed: u64, broken: Option<Break>, trace: bool) -> io::Result<Outcome> {
    scheduler::run(seed, broken, trace, None)
}

/// Runs so many seeds from `first` on, on some threads, until one breaks a promise. After the greatest number comes 0.
///
/// # Errors
/// The operating system gives no thread or runtime.
pub fn simulate(first: u64, seeds: u64, broken: Option<Break>, threads: usize) -> io::Result<Verdict> {
    let next = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let verdict = Mutex::new(Verdict::default());
    let work = || -> io::Result<()> {
        while !stop.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= seeds {
                break;
            }
            let seed = first.wrapping_add(number);
            let outcome = run(seed, broken, false)?;
            let mut verdict = verdict.lock().unwrap_or_else(PoisonError::into_inner);
            verdict.seeds += 1;
            verdict.runs += outcome.runs as u64;
            verdict.virtual_us += outcome.virtual_us;
            if !outcome.violations.is_empty() {
                stop.store(true, Ordering::Relaxed);
                if verdict.failed.as_ref().is_none_or(|(lowest, _)| seed < *lowest) {
                    verdict.failed = Some((seed, outcome.violations));
                }
            }
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            worker.join().unwrap_or_else(|_| Err(io::Error::other("a simulation panicked")))?;
        }
        Ok::<_, io::Error>(())
    })?;
    Ok(verdict.into_inner().unwrap_or_else(PoisonError::into_inner))
}
