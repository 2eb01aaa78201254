//! `slipway simulate`.

use std::{process::ExitCode, thread, time::Instant};

use lab::{
    checker::Violation,
    rows::Break,
    simulation::{self, Outcome},
};

use super::say;
use crate::{args::Simulate, failure::Failure};

/// Runs seeds, and says what came of them. Exit code 1 when a promise was broken.
pub(crate) fn run(args: &Simulate) -> Result<ExitCode, Failure> {
    let threads = args.threads.map_or_else(|| thread::available_parallelism().map_or(1, Into::into), usize::from);
    if args.trace {
        let outcome = one(args.seed, args.broken)?;
        say(outcome.trace.join("\n"))?;
        say(format!("seed {}: {} runs", outcome.seed, outcome.runs))?;
        return judge(&outcome.violations);
    }
    let began = Instant::now();
    let verdict = simulation::simulate(args.seed, args.seeds, args.broken, threads)?;
    let took = began.elapsed().as_secs_f64();
    if let Some((seed, _)) = &verdict.failed {
        let outcome = one(*seed, args.broken)?;
        say(outcome.trace.join("\n"))?;
        say("")?;
    }
    say(format!(
        "{} seeds, {} runs, {:.1} h of virtual time, in {took:.1} s: {:.0} runs/s",
        verdict.seeds,
        verdict.runs,
        verdict.virtual_us as f64 / 3.6e9,
        verdict.runs as f64 / took.max(0.001)
    ))?;
    let Some((seed, violations)) = verdict.failed else { return judge(&[]) };
    say(format!("seed {seed} broke a promise; its trace is above"))?;
    let broken = args.broken.map(|broken| format!(" --break {broken}")).unwrap_or_default();
    let code = judge(&violations)?;
    say(format!("again: slipway simulate --seed {seed}{broken} --trace"))?;
    Ok(code)
}

/// One seed, on a thread that no runtime holds: its processes are runtimes of their own.
fn one(seed: u64, broken: Option<Break>) -> Result<Outcome, Failure> {
    let outcome = thread::spawn(move || simulation::run(seed, broken, true)).join();
    outcome.map_err(|_| Failure::new("INTERNAL", "the simulation panicked"))?.map_err(Failure::from)
}

fn judge(violations: &[Violation]) -> Result<ExitCode, Failure> {
    if violations.is_empty() {
        say("verdict: every promise was kept")?;
        return Ok(ExitCode::SUCCESS);
    }
    for violation in violations {
        say(format!("BROKEN {violation}"))?;
    }
    say("verdict: BROKEN")?;
    Ok(ExitCode::FAILURE)
}
