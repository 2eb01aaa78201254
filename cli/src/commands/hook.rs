//! `slipway hook test`: a hook, tried out before an infrastructure gets it.

use std::{
    io::{Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use ::worker::{hooks::Supervisor, settings::HookSettings};
use deployer::hooks::LONGEST_CODE;
use lab::hook_test::{self, Settings};

use super::{say, signals::Signals};
use crate::{
    args::{HookPhase, HookTest},
    config::Config,
    failure::Failure,
};

pub(crate) async fn test(args: HookTest, config: &Config) -> Result<ExitCode, Failure> {
    let settings = Settings {
        supervisor: Supervisor::this_program(),
        python: interpreter(args.python.as_deref(), &config.worker.settings.hooks)?,
        code: read(&args.file)?,
        after: args.phase == HookPhase::Post,
        bundle: args.bundle,
        crash: args.crash_between,
        points: args.points.into(),
        deadline: Duration::from_secs(args.deadline),
    };
    let mut signals = Signals::listen()?;
    let report = tokio::select! {
        report = hook_test::run(&settings, &progress) => report?,
        () = signals.next() => return Err(Failure::new("INTERRUPTED", "stopped before the test had ended")),
    };
    say(&report)?;
    Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// How far it is goes where it does not mix with the page.
fn progress(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// A declared code env's interpreter, or a program by its path.
fn interpreter(wanted: Option<&str>, hooks: &HookSettings) -> Result<PathBuf, Failure> {
    if let Some(path) = wanted.filter(|wanted| wanted.contains('/')) {
        // The supervisor works in another folder.
        return Ok(std::path::absolute(path)?);
    }
    hooks.interpreter(wanted).ok_or_else(|| match wanted {
        Some(name) => Failure::new(
            "CODE_ENV_UNKNOWN",
            format!("--python: {name} is not among worker.hooks.code_envs, and no path"),
        ),
        None => Failure::new(
            "PROGRAM_MISSING",
            format!(
                "There is no `{}` here, as worker.hooks.python wants. Install it, or name another one with --python.",
                hooks.python
            ),
        ),
    })
}

fn read(file: &Path) -> Result<String, Failure> {
    let told = |error: std::io::Error| Failure::io(format!("{}: {error}", file.display()));
    let mut code = String::new();
    std::fs::File::open(file).map_err(told)?.take(LONGEST_CODE as u64 + 1).read_to_string(&mut code).map_err(told)?;
    if code.len() > LONGEST_CODE {
        return Err(Failure::new("HOOK_INVALID", format!("{}: longer than {LONGEST_CODE} bytes", file.display())));
    }
    Ok(code)
}
