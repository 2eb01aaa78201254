//! Commands that talk to an API: one command, one file.

mod cancel;
mod completions;
mod deploy;
mod deployment;
mod find;
mod list;
mod login;
mod logs;
mod node;
mod package;
mod prompt;
mod report;
mod restore;
mod wait;

use std::process::ExitCode;

use serde_json::json;

use super::say_json;
use crate::{
    args::{BundleCommand, ClientCommand, DeploymentCommand, NodeCommand, ServiceVersionCommand},
    failure::Failure,
};

/// Runs a command. One that writes JSON says in JSON, too, why it could not do what it was asked.
pub(crate) async fn run(command: ClientCommand) -> Result<ExitCode, Failure> {
    let json = writes_json(&command);
    let ended = dispatch(command).await;
    if let Err(failure) = &ended
        && json
        && !failure.is_closed_pipe()
    {
        let (code, message, field) = (failure.code(), failure.message(), failure.field());
        say_json(
            &json!({ "type": "error", "code": code, "message": message, "field": field, "exitCode": failure.exit() }),
        )?;
    }
    ended
}

async fn dispatch(command: ClientCommand) -> Result<ExitCode, Failure> {
    match command {
        ClientCommand::Login(args) => login::login(args).await?,
        ClientCommand::Logout => login::logout()?,
        ClientCommand::Bundle(command) => package::bundles(command).await?,
        ClientCommand::ServiceVersion(command) => package::versions(command).await?,
        ClientCommand::Deployment(command) => deployment::run(command).await?,
        ClientCommand::Deploy(args) => return deploy::run(args).await,
        ClientCommand::Logs(args) => return logs::run(args).await,
        ClientCommand::Cancel(args) => return cancel::run(args).await,
        ClientCommand::Restore(args) => return restore::run(args).await,
        ClientCommand::Node(command) => node::run(command).await?,
        ClientCommand::Completions { shell } => completions::run(shell)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn writes_json(command: &ClientCommand) -> bool {
    match command {
        ClientCommand::Bundle(BundleCommand::Upload { output, .. } | BundleCommand::List { output, .. }) => output.json,
        ClientCommand::ServiceVersion(
            ServiceVersionCommand::Upload { output, .. } | ServiceVersionCommand::List { output, .. },
        ) => output.json,
        ClientCommand::Deployment(
            DeploymentCommand::Create { output, .. }
            | DeploymentCommand::Update { output, .. }
            | DeploymentCommand::Status { output, .. }
            | DeploymentCommand::List { output, .. },
        ) => output.json,
        ClientCommand::Deploy(args) => args.output.json,
        ClientCommand::Logs(args) => args.output.json,
        ClientCommand::Cancel(args) => args.output.json,
        ClientCommand::Restore(args) => args.output.json,
        ClientCommand::Node(
            NodeCommand::Token { output, .. }
            | NodeCommand::Enroll { output, .. }
            | NodeCommand::Rotate { output, .. }
            | NodeCommand::Remove { output, .. },
        ) => output.json,
        ClientCommand::Login(_) | ClientCommand::Logout | ClientCommand::Completions { .. } => false,
    }
}
