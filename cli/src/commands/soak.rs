//! `slipway soak`: the real thing, under traffic, while it is killed. `slipway soak backlog` and `flood`: while it is loaded.

use std::{fmt::Display, process::ExitCode, sync::Arc, time::Duration};

use engine::clock;
use lab::{
    failure::LabError,
    load::{backlog, flood},
    soak,
};

use super::{say, signals::Signals};
use crate::{
    args::{Soak, SoakCommand, SoakSize},
    failure::Failure,
};

/// Keys of a flood, and the bounds of each: 20 updates a second are accepted, since all of them run.
const FLOOD_KEYS: usize = 4;
const FLOOD_KEY_RATE: u32 = 5;
const FLOOD_KEY_BURST: u32 = 50;

pub(crate) async fn run(args: Soak) -> Result<ExitCode, Failure> {
    match args.command {
        Some(SoakCommand::Backlog { runs, updates, size }) => {
            let settings = backlog::Settings { binary: std::env::current_exe()?, size: size.into(), runs, updates };
            let report = undisturbed(backlog::run(&settings, Arc::new(progress))).await?;
            return verdict(&report, report.is_good());
        }
        Some(SoakCommand::Flood { rate, seconds, workers, size }) => {
            let (binary, size, workers) = (std::env::current_exe()?, size.into(), usize::from(workers));
            let (keys, key_rate, key_burst) = (FLOOD_KEYS, FLOOD_KEY_RATE, FLOOD_KEY_BURST);
            let settings = flood::Settings { binary, size, rate, seconds, workers, keys, key_rate, key_burst };
            let report = undisturbed(flood::run(&settings, Arc::new(progress))).await?;
            return verdict(&report, report.is_good());
        }
        None => {}
    }
    if let Some(path) = &args.check {
        let (records, violations) = soak::check(path)?;
        for violation in &violations {
            say(violation)?;
        }
        say(format!("{records} records, {} promises broken.", violations.len()))?;
        return Ok(if violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let settings = soak::Settings {
        binary: std::env::current_exe()?,
        size: args.size.into(),
        lasts: Duration::from_secs_f64(args.minutes * 60.0),
        seed: args.seed.unwrap_or_else(|| clock::random_u64() >> 32),
        workers: usize::from(args.workers),
        rate: args.rate,
        plan: soak::Plan::Drawn,
        history: args.history,
        times: soak::Times::default(),
    };
    let report = undisturbed(soak::run(&settings, Arc::new(progress))).await?;
    verdict(&report, report.is_good())
}

/// Ends with the first signal, and with it all servers.
pub(super) async fn undisturbed<T>(experiment: impl Future<Output = Result<T, LabError>>) -> Result<T, Failure> {
    let mut signals = Signals::listen()?;
    tokio::select! {
        report = experiment => Ok(report?),
        () = signals.next() => Err(Failure::new("INTERRUPTED", "stopped before it had ended: nothing was judged")),
    }
}

fn verdict(report: &impl Display, good: bool) -> Result<ExitCode, Failure> {
    say("")?;
    say(report)?;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whoever stops to read does not end the soak.
pub(super) fn progress(line: &str) {
    if say(line).is_err() {
        tracing::debug!(line, "nobody reads any more");
    }
}

impl From<LabError> for Failure {
    fn from(error: LabError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

impl From<SoakSize> for soak::Size {
    fn from(size: SoakSize) -> Self {
        match size {
            SoakSize::Embedded => Self::Embedded,
            SoakSize::Fleet => Self::Fleet,
        }
    }
}
