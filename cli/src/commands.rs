//! One command, one file.

mod admin;
mod api;
mod demo;
mod dev;
mod migrate;
mod sandbox;
mod secrets;
mod signals;
mod worker;

use std::process::ExitCode;

use crate::{
    args::{Command, Secrets},
    config::{Config, DEFAULTS},
    failure::Failure,
    telemetry,
};

/// Runs a command.
pub(crate) async fn run(command: Command, config: Config) -> Result<ExitCode, Failure> {
    if !matches!(command, Command::Demo(_)) {
        telemetry::start(&config.log)?;
    }
    match command {
        Command::Dev(args) => dev::run(args, config).await?,
        Command::Demo(args) => return demo::run(args, config).await,
        Command::Api(args) => api::run(args, &config).await?,
        Command::Worker(args) => worker::run(args, config).await?,
        Command::Migrate => migrate::run(&config).await?,
        Command::Admin(command) => admin::run(command, &config).await?,
        Command::Secrets(Secrets::GenerateKey { file }) => secrets::generate(&file)?,
        Command::Secrets(Secrets::NewKey) => secrets::new_key(&config)?,
        Command::Secrets(Secrets::Rotate) => secrets::rotate(&config).await?,
        Command::Config => say(DEFAULTS.trim_end()),
        Command::Schema => say(graphql::builder().finish().sdl().trim_end()),
        Command::Sandbox(args) => sandbox::run(args).await?,
        Command::HookExec => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// A command's answer.
#[expect(clippy::print_stdout, reason = "the answer of a command")]
pub(crate) fn say(line: impl std::fmt::Display) {
    println!("{line}");
}
