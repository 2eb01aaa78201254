//! `slipway`: one binary for every part. This file only wires.

mod advice;
mod args;
mod ci;
mod client;
mod commands;
mod config;
mod failure;
mod fleet;
mod half;
mod house;
mod login;
mod parts;
mod plain;
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
    let cli = Cli::try_parse().unwrap_or_else(|error| args::refuse(&error));
    if matches!(cli.command, Command::HookExec) {
        // Single-threaded, and before anything else starts: see the supervisor.
        return worker::hook_exec::main();
    }
    if let Command::CopyExec { words } = &cli.command {
        return targets::copy_exec::main(words);
    }
    let is_client = matches!(cli.command, Command::Client(_));
    match run(cli) {
        Ok(code) => code,
        Err(failure) if failure.is_closed_pipe() => ExitCode::from(CLOSED_PIPE),
        Err(failure) => {
            if is_client {
                // Its words may be another machine's. Scripts tell its ends apart.
                tell(plain::plain(&failure.to_string()));
                failure.exit_code()
            } else {
                tell(&failure);
                ExitCode::FAILURE
            }
        }
    }
}

/// A thread's stack, in bytes: without optimisation a request through all rooms takes more than the usual two mebibytes. Only what is used is memory.
const STACK: usize = 16 << 20;

fn run(cli: Cli) -> Result<ExitCode, Failure> {
    // These know nothing of the server's settings: they run where there are none.
    let config = match &cli.command {
        Command::Client(_) | Command::Front(_) | Command::Image(_) => None,
        _ => Some(Config::load(cli.config.as_deref(), std::env::vars())?),
    };
    // One provider for every client and server of the process.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_stack_size(STACK).build()?;
    match (cli.command, config) {
        (Command::Client(command), _) => runtime.block_on(commands::client::run(command)),
        (Command::Image(command), _) => runtime.block_on(commands::image::run(command)),
        (Command::Front(args), _) => runtime.block_on(commands::front::run(args)),
        (command, Some(config)) => runtime.block_on(commands::run(command, config)),
        // Each command is one of these.
        (_, None) => Ok(ExitCode::FAILURE),
    }
}

/// A word besides the answer goes to whoever typed the command, who may have gone.
fn tell(word: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "slipway: {word}");
}
