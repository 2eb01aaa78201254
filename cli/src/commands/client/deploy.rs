//! `slipway deploy`: from a file to what is live, in one command that may be given again.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use serde_json::{Value, json};

use super::{bundle, deployment, find, list, report};
use crate::{
    args::Deploy,
    client::Client,
    commands::{say, say_json},
    failure::Failure,
    login::Login,
    plain::plain,
};

pub(super) async fn run(args: Deploy) -> Result<ExitCode, Failure> {
    let client = Client::of(&Login::find(&args.connect)?)?;
    let json = args.output.json;
    let file = file(&args.bundle)?;
    let there = find::deployment(&client, &args.deployment).await?;
    match &there {
        Some(there) => fits(there, &args)?,
        None if args.infrastructure.is_none() => return Err(list::absent("deployment")),
        None => {}
    }
    let project = args.project.clone().or_else(|| Some(there.as_ref()?["projectKey"].as_str()?.to_owned()));
    let (project, bundle) = match file {
        Some(file) => {
            let uploaded = bundle::bring(&client, &file, project.as_deref()).await?;
            uploaded.tell(json)?;
            (uploaded.project, uploaded.bundle)
        }
        None => match project {
            Some(project) => (project, args.bundle.clone()),
            None => {
                let message = "A new deployment of a bundle that is there needs --project: in which published project?";
                return Err(Failure::refused("BAD_REQUEST", message).about(Some("project")));
            }
        },
    };
    if there.is_none() {
        make(&client, &args, &project, &bundle, json).await?;
    }
    let started = start(&client, &args, &bundle).await?;
    let update = report::read(&client, started["update"]["id"].as_str().unwrap_or_default()).await?;
    let repeated = started["repeated"] == true;
    tell(&update, repeated, json)?;
    args.waiting.go_on(&client, &update, repeated, json).await
}

/// A file to upload; None for the id of a bundle. What looks like a path is never taken for an id.
fn file(bundle: &str) -> Result<Option<PathBuf>, Failure> {
    let path = Path::new(bundle);
    let looks_like_one = bundle.contains(['/', '\\']) || bundle.to_ascii_lowercase().ends_with(".zip");
    match path.is_file() {
        true => Ok(Some(path.to_owned())),
        false if looks_like_one => {
            Err(Failure::refused("IO_FAILED", format!("There is no file {bundle}.")).about(Some("bundle")))
        }
        false => Ok(None),
    }
}

/// Refuses a deployment that is not the one that the command line describes.
fn fits(there: &Value, args: &Deploy) -> Result<(), Failure> {
    let asked =
        [("infrastructure", &args.infrastructure, "infrastructureId"), ("project", &args.project, "projectKey")];
    for (option, wanted, field) in asked {
        let found = there[field].as_str().unwrap_or_default();
        if wanted.as_deref().is_some_and(|wanted| wanted != found) {
            let message = format!(
                "Deployment {} has {option} {found}, and that never changes. Leave --{option} out, or name another deployment.",
                args.deployment
            );
            return Err(Failure::refused("DEPLOYMENT_DIFFERS", message).about(Some(option)));
        }
    }
    Ok(())
}

/// Makes the deployment.
async fn make(client: &Client, args: &Deploy, project: &str, bundle: &str, json: bool) -> Result<(), Failure> {
    let (id, infrastructure) = (&args.deployment, &args.infrastructure);
    let input = json!({ "id": id, "infrastructureId": infrastructure, "projectKey": project, "bundleId": bundle });
    match deployment::create(client, input).await {
        Ok(()) => {}
        // The answer was lost, or another job was first: then it is there.
        Err(failure) if failure.is_lost() || failure.code() == "ID_NOT_AVAILABLE" => {
            let Some(there) = find::deployment(client, id).await? else { return Err(failure) };
            fits(&there, args)?;
        }
        Err(failure) => return Err(failure),
    }
    if json {
        return say_json(&json!({ "type": "deployment", "id": id, "created": true }));
    }
    say(plain(&format!("Made deployment {id} on infrastructure {}.", infrastructure.as_deref().unwrap_or("-"))))
}

/// Sets the bundle and starts the update, in one: asked again, be it for want of an answer, it is the same update, and sets nothing.
async fn start(client: &Client, args: &Deploy, bundle: &str) -> Result<Value, Failure> {
    let id = &args.deployment;
    let key = args.waiting.key(id, bundle);
    let document = "mutation($id: ID!, $bundle: ID!, $key: String) { startUpdate(deploymentId: $id, bundleId: $bundle, idempotencyKey: $key) {
  repeated update { id } refusals { code field message } } }";
    client.ask(document, json!({ "id": id, "bundle": bundle, "key": key })).await
}

/// Says which update it is.
pub(super) fn tell(update: &Value, repeated: bool, json: bool) -> Result<(), Failure> {
    if json {
        let (id, deployment, bundle) = (&update["id"], &update["deploymentId"], &update["bundleId"]);
        return say_json(&json!({
            "type": "update", "id": id, "number": update["number"], "deploymentId": deployment, "bundleId": bundle, "repeated": repeated,
        }));
    }
    let text = |name: &str| plain(update[name].as_str().unwrap_or("-"));
    let (id, deployment, bundle) = (text("id"), text("deploymentId"), text("bundleId"));
    let again = if repeated { ", which was asked for before" } else { "" };
    say(format!("Update {} of {deployment} ({id}), bundle {bundle}{again}.", update["number"]))
}
