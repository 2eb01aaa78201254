//! One command, one file.

mod admin;
mod agent;
mod api;
mod audit;
#[cfg(feature = "lab")]
mod bench;
pub(crate) mod client;
mod demo;
mod dev;
mod event_server;
pub(crate) mod front;
#[cfg(feature = "lab")]
mod hook;
pub(crate) mod image;
mod migrate;
mod sandbox;
mod secrets;
pub(crate) mod show;
mod signals;
#[cfg(feature = "lab")]
mod simulate;
#[cfg(feature = "lab")]
mod soak;
mod worker;

use std::{
    io::{ErrorKind, Write},
    net::SocketAddr,
    process::ExitCode,
};

use tokio::net::TcpListener;

#[cfg(feature = "lab")]
use crate::args::HookCommand;
use crate::{
    args::{Command, EventServerArgs, Secrets},
    config::{Config, DEFAULTS},
    failure::Failure,
    parts, telemetry,
};

/// Runs a command.
pub(crate) async fn run(command: Command, config: Config) -> Result<ExitCode, Failure> {
    if talks_to_a_log(&command) {
        telemetry::start(&config.log)?;
    }
    match command {
        Command::Dev(args) => dev::run(args, config).await?,
        Command::Demo(args) => return demo::run(args, config).await,
        Command::Api(args) => api::run(args, &config).await?,
        Command::Worker(args) => worker::run(args, config).await?,
        Command::EventServer(args) => event_server::run(args, &config).await?,
        Command::Migrate => migrate::run(&config).await?,
        Command::Admin(command) => admin::run(command, &config).await?,
        Command::Secrets(Secrets::GenerateKey { file }) => secrets::generate(&file)?,
        Command::Secrets(Secrets::NewKey) => secrets::new_key(&config)?,
        Command::Secrets(Secrets::Rotate) => secrets::rotate(&config).await?,
        Command::Audit(command) => audit::run(command, &config).await?,
        Command::Config => say(DEFAULTS.trim_end())?,
        Command::Schema => say(graphql::schema_text().trim_end_matches('\n'))?,
        Command::Sandbox(args) => sandbox::run(args).await?,
        Command::Agent(args) => agent::run(args).await?,
        #[cfg(feature = "lab")]
        Command::Simulate(args) => return simulate::run(&args),
        #[cfg(feature = "lab")]
        Command::Soak(args) => return soak::run(args).await,
        #[cfg(feature = "lab")]
        Command::Bench(command) => return bench::run(command).await,
        #[cfg(feature = "lab")]
        Command::Hook(HookCommand::Test(args)) => return hook::test(args, &config).await,
        // Run without a configuration, before this.
        Command::Client(_) | Command::Front(_) | Command::Image(_) | Command::HookExec | Command::CopyExec { .. } => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether a command's log is of use to whoever typed it.
fn talks_to_a_log(command: &Command) -> bool {
    match command {
        Command::Demo(_) => false,
        Command::EventServer(EventServerArgs { command: Some(_), .. }) => false,
        #[cfg(feature = "lab")]
        Command::Simulate(_) | Command::Soak(_) | Command::Bench(_) | Command::Hook(_) => false,
        _ => true,
    }
}

/// A command's answer, on standard output.
pub(crate) fn say(line: impl std::fmt::Display) -> Result<(), Failure> {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{line}").and_then(|()| output.flush()).map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => Failure::closed_pipe(),
        _ => Failure::io(format!("standard output: {error}")),
    })
}

/// The same, as JSON in one line.
pub(crate) fn say_json(value: &serde_json::Value) -> Result<(), Failure> {
    say(crate::plain::json(value))
}

/// So many of a thing.
pub(crate) fn count(n: u64, one: &str) -> String {
    format!("{n} {one}{}", if n == 1 { "" } else { "s" })
}

/// Listens at an address; `mend` says what names another one.
pub(crate) async fn listen(address: SocketAddr, mend: &str) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| cannot_listen(address, mend, &error))
}

/// Why nobody can listen there.
pub(crate) fn cannot_listen(address: SocketAddr, mend: &str, error: &std::io::Error) -> Failure {
    let code = if error.kind() == ErrorKind::AddrInUse { "ADDRESS_IN_USE" } else { "IO_FAILED" };
    Failure::new(code, format!("cannot listen at {address}: {error}. Name another address with {mend}."))
}

/// The first administrator's key, if one was made now that nobody knows yet.
pub(crate) async fn show_first_key(db: &engine::db::Db) -> Result<(), Failure> {
    let given = parts::given_admin_key();
    let made = deployer::bootstrap::first_start(db, given.as_ref()).await?;
    if let Some(key) = made.filter(|_| given.is_none()) {
        say("The first administrator is `admin`. Its key, shown this once:")?;
        say(key.expose())?;
    }
    Ok(())
}
