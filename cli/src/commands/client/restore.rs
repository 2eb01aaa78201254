//! `slipway restore`: puts back what was live before.

use std::process::ExitCode;

use serde_json::json;

use super::{deploy, report};
use crate::{args::Restore, client::Client, failure::Failure, login::Login};

pub(super) async fn run(args: Restore) -> Result<ExitCode, Failure> {
    let client = Client::of(&Login::find(&args.connect)?)?;
    let (id, to, json) = (&args.deployment, &args.update, args.output.json);
    // No bundle has such an id: within one attempt of a job, deploying and restoring are two requests.
    let key = args.waiting.key(id, &format!("restore/{}", to.as_deref().unwrap_or_default()));
    let document = "mutation($id: ID!, $to: ID, $key: String) { restoreDeployment(deploymentId: $id, updateId: $to, idempotencyKey: $key) {
  repeated update { id } refusals { code field message } } }";
    // The first contact of this command: only from then on may it be asked again.
    client.ask("{ viewer { login } }", json!({})).await?;
    let started = client.ask(document, json!({ "id": id, "to": to, "key": key })).await?;
    let update = report::read(&client, started["update"]["id"].as_str().unwrap_or_default()).await?;
    let repeated = started["repeated"] == true;
    deploy::tell(&update, repeated, json)?;
    args.waiting.go_on(&client, &update, repeated, json).await
}
