//! `slipway`: one binary for every part. This file only wires.

mod args;
mod client;
mod commands;
mod config;
mod failure;
mod fleet;
mod house;
mod parts;
mod telemetry;
mod unseen;

use std::{io::Write, process::ExitCode};

use clap::Parser;

use crate::{
    args::{Cli, Command},
    config::Config,
    failure::Failure,
};

/// What a shell says of a program that SIGPIPE ended.
const CLOSED_PIPE: u8 = 128 + 13;

fn main() -> ExitCode {
    let cli = Cli::parse();
    if matches!(cli.command, Command::HookExec) {
        // Single-threaded, and before anything else starts: see the supervisor.
        return worker::hook_exec::main();
    }
    match run(cli) {
        Ok(code) => code,
        Err(failure) if failure.is_closed_pipe() => ExitCode::from(CLOSED_PIPE),
        Err(failure) => {
            tell(&failure);
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode, Failure> {
    let config = Config::load(cli.config.as_deref(), std::env::vars())?;
    // One provider for every client and server of the process.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(commands::run(cli.command, config))
}

/// A command's last word goes to whoever typed it, who may have gone.
fn tell(failure: &Failure) {
    let _ = writeln!(std::io::stderr(), "slipway: {failure}");
}
