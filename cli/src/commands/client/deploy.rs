//! `slipway deploy`: from a file to what is live, in one command that may be given again.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use serde_json::{Value, json};

use super::{deployment, find, list, package, report};
use crate::{
    args::Deploy,
    client::Client,
    commands::{say, say_json},
    failure::Failure,
    half::Half,
    login::Login,
    plain::plain,
};

pub(super) async fn run(args: Deploy) -> Result<ExitCode, Failure> {
    let client = Client::of(&Login::find(&args.connect)?)?;
    let json = args.output.json;
    let (half, named, parent) = what(&args)?;
    let file = file(half, named)?;
    let there = find::deployment(&client, &args.deployment).await?;
    match &there {
        Some(there) => fits(there, &args, half, parent)?,
        None if args.infrastructure.is_none() => return Err(list::absent("deployment")),
        None => {}
    }
    let known = parent.map(str::to_owned).or_else(|| Some(there.as_ref()?["projectKey"].as_str()?.to_owned()));
    let (of, id) = match file {
        Some(file) => {
            let uploaded = package::bring(&client, half, &file, known.as_deref()).await?;
            uploaded.tell(json)?;
            (uploaded.parent, uploaded.id)
        }
        None => match known {
            Some(of) => (of, named.to_owned()),
            None => {
                let (word, of) = (half.package(), half.parent());
                let message =
                    format!("A new deployment of a {word} that is there needs --{of}: of which published {of}?");
                return Err(Failure::refused("BAD_REQUEST", message).about(Some(of)));
            }
        },
    };
    if there.is_none() {
        make(&client, &args, half, (&of, &id), json).await?;
    }
    let started = start(&client, &args, &id).await?;
    let update = report::read(&client, started["update"]["id"].as_str().unwrap_or_default()).await?;
    let repeated = started["repeated"] == true;
    tell(&update, repeated, json)?;
    args.waiting.go_on(&client, &update, repeated, json).await
}

/// Which half, the file or id, and the published project or service, if it is named.
fn what(args: &Deploy) -> Result<(Half, &str, Option<&str>), Failure> {
    match (&args.bundle, &args.service_version) {
        (Some(bundle), None) if args.service.is_none() => Ok((Half::Project, bundle, args.project.as_deref())),
        (None, Some(version)) if args.project.is_none() => Ok((Half::Service, version, args.service.as_deref())),
        _ => Err(Failure::refused(
            "BAD_REQUEST",
            "Name a bundle, and its --project if need be, or a version of a service, and its --service.",
        )),
    }
}

/// A file to upload; None for the id of a package. What looks like a path is never taken for an id.
fn file(half: Half, named: &str) -> Result<Option<PathBuf>, Failure> {
    let path = Path::new(named);
    let looks_like_one = named.contains(['/', '\\']) || named.to_ascii_lowercase().ends_with(".zip");
    match path.is_file() {
        true => Ok(Some(path.to_owned())),
        false if looks_like_one => {
            Err(Failure::refused("IO_FAILED", format!("There is no file {named}.")).about(Some(half.package())))
        }
        false => Ok(None),
    }
}

/// Refuses a deployment that is not the one that the command line describes.
fn fits(there: &Value, args: &Deploy, half: Half, parent: Option<&str>) -> Result<(), Failure> {
    let found = Half::of(there);
    if found != half {
        let (option, kind) = match found {
            Half::Project => ("--bundle", "a project"),
            Half::Service => ("--service-version", "an API service"),
        };
        let message = format!("Deployment {} is of {kind}: name what it is to deploy with {option}.", args.deployment);
        return Err(Failure::refused("DEPLOYMENT_DIFFERS", message).about(Some(half.package())));
    }
    let infrastructure = args.infrastructure.as_deref();
    let asked = [("infrastructure", infrastructure, "infrastructureId"), (half.parent(), parent, "projectKey")];
    for (option, wanted, field) in asked {
        let found = there[field].as_str().unwrap_or_default();
        if wanted.is_some_and(|wanted| wanted != found) {
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
async fn make(
    client: &Client,
    args: &Deploy,
    half: Half,
    (of, package): (&str, &str),
    json: bool,
) -> Result<(), Failure> {
    let (id, infrastructure) = (&args.deployment, &args.infrastructure);
    let (_, parent) = half.uploads();
    let input = json!({ "id": id, "infrastructureId": infrastructure, parent: of, half.id(): package });
    match deployment::create(client, half, input).await {
        Ok(()) => {}
        // The answer was lost, or another job was first: then it is there.
        Err(failure) if failure.is_lost() || failure.code() == "ID_NOT_AVAILABLE" => {
            let Some(there) = find::deployment(client, id).await? else { return Err(failure) };
            fits(&there, args, half, Some(of))?;
        }
        Err(failure) => return Err(failure),
    }
    if json {
        return say_json(&json!({ "type": "deployment", "id": id, "created": true }));
    }
    say(plain(&format!("Made deployment {id} on infrastructure {}.", infrastructure.as_deref().unwrap_or("-"))))
}

/// Sets bundle or version and starts the update, in one: asked again, be it for want of an answer, it is the same update, and sets nothing.
async fn start(client: &Client, args: &Deploy, package: &str) -> Result<Value, Failure> {
    let id = &args.deployment;
    let key = args.waiting.key(id, package);
    let document = "mutation($id: ID!, $bundle: ID!, $key: String) { startUpdate(deploymentId: $id, bundleId: $bundle, idempotencyKey: $key) {
  repeated update { id } refusals { code field message } } }";
    client.ask(document, json!({ "id": id, "bundle": package, "key": key })).await
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
    let (id, deployment, package) = (text("id"), text("deploymentId"), text("bundleId"));
    let word = Half::of(update).package();
    let again = if repeated { ", which was asked for before" } else { "" };
    say(format!("Update {} of {deployment} ({id}), {word} {package}{again}.", update["number"]))
}
