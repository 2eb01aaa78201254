//! `slipway soak`: the real thing, under traffic, while it is killed.

use std::{process::ExitCode, sync::Arc, time::Duration};

use engine::clock;
use lab::{failure::LabError, soak};

use super::{say, signals::Signals};
use crate::{
    args::{Soak, SoakSize},
    failure::Failure,
};

pub(crate) async fn run(args: Soak) -> Result<ExitCode, Failure> {
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
        size: match args.size {
            SoakSize::Embedded => soak::Size::Embedded,
            SoakSize::Fleet => soak::Size::Fleet,
        },
        lasts: Duration::from_secs_f64((args.minutes * 60.0).clamp(1.0, 30.0 * 24.0 * 3_600.0)),
        seed: args.seed.unwrap_or_else(|| clock::random_u64() >> 32),
        workers: args.workers.clamp(2, 64),
        rate: args.rate,
        plan: soak::Plan::Drawn,
        history: args.history,
        times: soak::Times::default(),
    };
    let mut signals = Signals::listen()?;
    let report = tokio::select! {
        report = soak::run(&settings, Arc::new(progress)) => report?,
        () = signals.next() => return Err(Failure::new("INTERRUPTED", "stopped before the soak had ended")),
    };
    say("")?;
    say(&report)?;
    Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whoever stops to read does not end the soak.
fn progress(line: &str) {
    if say(line).is_err() {
        tracing::debug!(line, "nobody reads any more");
    }
}

impl From<LabError> for Failure {
    fn from(error: LabError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}
