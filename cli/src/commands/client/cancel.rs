//! `slipway cancel`: asks an update to stop.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::{
    find::{self, Which},
    report,
    wait::Wait,
};
use crate::{
    args::Cancel,
    client::Client,
    commands::{say, say_json},
    failure::Failure,
    login::Login,
    plain::plain,
};

pub(super) async fn run(args: Cancel) -> Result<ExitCode, Failure> {
    let client = Client::of(&Login::find(&args.connect)?)?;
    let id = find::update(&client, &args.of, Which::Unfinished).await?;
    let asked = ask(&client, &id).await?;
    let (status, json) = (asked["status"].as_str().unwrap_or("-"), args.output.json);
    if json {
        say_json(&json!({ "type": "cancel", "updateId": id, "status": status }))?;
    } else {
        say(plain(&format!("Asked update {id} to stop; it is {status}.")))?;
    }
    if !args.wait {
        return Ok(ExitCode::SUCCESS);
    }
    let wait = Wait { timeout: args.patience.timeout, logs: false, json, cancel_on_interrupt: false, repeated: false };
    let update = report::read(&client, &id).await?;
    let exit = wait.on(&client, &update).await?;
    // That it stopped is what was asked for.
    let stopped = exit == 1 && report::read(&client, &id).await?["status"] == "CANCELLED";
    Ok(if stopped { ExitCode::SUCCESS } else { ExitCode::from(exit) })
}

/// Asks an update to stop: as it is then.
pub(super) async fn ask(client: &Client, id: &str) -> Result<Value, Failure> {
    let document =
        "mutation($id: ID!) { cancelUpdate(id: $id) { update { id status } refusals { code field message } } }";
    Ok(client.ask(document, json!({ "id": id })).await?["update"].clone())
}
