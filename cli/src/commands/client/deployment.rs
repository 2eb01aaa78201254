//! `slipway deployment`: makes, changes and shows deployments.

use std::{io::Read as _, path::Path};

use serde_json::{Map, Value, json};

use super::{find, list};
use crate::{
    args::{DeploymentCommand, SettingsArgs},
    client::Client,
    commands::{say, say_json, show},
    failure::Failure,
    half::Half,
    login::Login,
    plain::plain,
};

/// The longest settings that are read, in bytes.
const LONGEST: u64 = 4 << 20;
/// How often a change is tried that somebody else's change comes before.
const CHANGES: u32 = 5;

pub(super) async fn run(command: DeploymentCommand) -> Result<(), Failure> {
    match command {
        DeploymentCommand::Create {
            id,
            infrastructure,
            project,
            bundle,
            deployed_project,
            service,
            service_version,
            deployed_service,
            settings,
            output,
            connect,
        } => {
            let client = Client::of(&Login::find(&connect)?)?;
            let settings = given(&settings)?;
            let (half, input) = match (project, bundle, service, service_version) {
                (Some(project), Some(bundle), None, None) => {
                    let input = json!({
                        "id": id, "infrastructureId": infrastructure, "projectKey": project, "bundleId": bundle,
                        "deployedProjectKey": deployed_project, "settings": settings,
                    });
                    (Half::Project, input)
                }
                (None, None, Some(service), Some(version)) => {
                    let input = json!({
                        "id": id, "infrastructureId": infrastructure, "serviceId": service, "version": version,
                        "deployedServiceId": deployed_service, "settings": settings,
                    });
                    (Half::Service, input)
                }
                _ => {
                    let message = "Name a project and a bundle, or a service and a service version.";
                    return Err(Failure::refused("BAD_REQUEST", message));
                }
            };
            create(&client, half, input).await?;
            show(&client, &id, output.json).await
        }
        DeploymentCommand::Update { id, bundle, expected_version, settings, output, connect } => {
            let client = Client::of(&Login::find(&connect)?)?;
            let settings = given(&settings)?;
            if bundle.is_none() && settings.is_null() {
                let message = "Nothing is to be changed: name a bundle or version, settings or a remapping.";
                return Err(Failure::refused("BAD_REQUEST", message));
            }
            change(&client, &id, bundle.as_deref(), &settings, expected_version).await?;
            show(&client, &id, output.json).await
        }
        DeploymentCommand::Status { id, output, connect } => {
            let client = Client::of(&Login::find(&connect)?)?;
            show(&client, &id, output.json).await
        }
        DeploymentCommand::List { infrastructure, project, stage, output, connect } => {
            let client = Client::of(&Login::find(&connect)?)?;
            let document = "query($filter: DeploymentFilter, $after: String) { deployments(first: 100, filter: $filter, after: $after) {
  nodes { id kind projectKey infrastructureId bundleId deployedProjectKey version service { versions { version probability } } latestUpdate { id number status bundleId endedAt } }
  pageInfo { hasNextPage endCursor } } }";
            let filter = json!({ "infrastructure": infrastructure, "project": project, "stage": stage });
            let found = list::all(&client, document, &json!({ "filter": filter, "after": null })).await?;
            if output.json {
                return found.iter().try_for_each(say_json);
            }
            let services = found.iter().any(|one| Half::of(one) == Half::Service);
            let projects = found.iter().any(|one| Half::of(one) == Half::Project);
            let row = |one: &Value| {
                let newest = &one["latestUpdate"]["status"];
                let cells = ["id", "projectKey", "infrastructureId"].map(|name| &one[name]);
                let [id, parent, infrastructure] = cells.map(text);
                [id, parent, infrastructure, packages(one), text(newest)]
            };
            let (parent, package) = match (projects, services) {
                (true, true) => ("PROJECT OR SERVICE", "BUNDLE OR VERSION"),
                (false, true) => ("SERVICE", "VERSION"),
                _ => ("PROJECT", "BUNDLE"),
            };
            list::table(["DEPLOYMENT", parent, "INFRASTRUCTURE", package, "NEWEST UPDATE"], found.iter().map(row))
        }
    }
}

/// What a deployment is set to: of a service with several versions each, with its share.
fn packages(one: &Value) -> String {
    match one["service"]["versions"].as_array().map(Vec::as_slice) {
        Some(shares @ [_, _, ..]) => {
            let share = |one: &Value| {
                let percent = one["probability"].as_f64().unwrap_or_default() * 100.0;
                format!("{} {percent:.0}%", text(&one["version"]))
            };
            shares.iter().map(share).collect::<Vec<_>>().join(", ")
        }
        _ => text(&one["bundleId"]),
    }
}

/// Makes a deployment.
pub(super) async fn create(client: &Client, half: Half, input: Value) -> Result<(), Failure> {
    let document = match half {
        Half::Project => {
            "mutation($input: CreateDeploymentInput!) { createDeployment(input: $input) {
  deployment { id } refusals { code field message } } }"
        }
        Half::Service => {
            "mutation($input: CreateServiceDeploymentInput!) { createServiceDeployment(input: $input) {
  deployment { id } refusals { code field message } } }"
        }
    };
    client.run(document, json!({ "input": input })).await.map(drop)
}

/// Changes a deployment. Where no version is expected, other people's changes of other things may come between.
pub(super) async fn change(
    client: &Client,
    id: &str,
    bundle: Option<&str>,
    settings: &Value,
    expected: Option<i64>,
) -> Result<(), Failure> {
    let document = "mutation($input: UpdateDeploymentSettingsInput!) { updateDeploymentSettings(input: $input) {
  deployment { version } refusals { code field message } } }";
    for attempt in 1.. {
        let version = match expected {
            Some(version) => json!(version),
            None => find::deployment(client, id).await?.ok_or_else(|| list::absent("id"))?["version"].clone(),
        };
        let mut input = json!({ "id": id, "expectedVersion": version });
        if let Some(bundle) = bundle {
            input["bundleId"] = bundle.into();
        }
        if !settings.is_null() {
            input["settings"] = settings.clone();
        }
        match client.ask(document, json!({ "input": input })).await {
            Err(failure) if failure.code() == "VERSION_CONFLICT" && expected.is_none() && attempt < CHANGES => {}
            changed => return changed.map(drop),
        }
    }
    Ok(())
}

/// A file's settings with the remappings laid over them; null if nothing is given.
fn given(arguments: &SettingsArgs) -> Result<Value, Failure> {
    let mut settings = match &arguments.settings {
        Some(file) => read(file)?,
        None => Map::new(),
    };
    if !arguments.remap.is_empty() {
        let remapping = arguments.remap.iter().map(|(source, target)| json!({ "source": source, "target": target }));
        settings.insert("connectionRemapping".to_owned(), remapping.collect());
    }
    Ok(if settings.is_empty() { Value::Null } else { Value::Object(settings) })
}

fn read(file: &Path) -> Result<Map<String, Value>, Failure> {
    let wrong = |problem: String| Failure::refused("CONFIG_UNREADABLE", format!("{}: {problem}", file.display()));
    let mut text = String::new();
    if file == Path::new("-") {
        std::io::stdin().lock().take(LONGEST).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|open| open.take(LONGEST).read_to_string(&mut text))
    }
    .map_err(|error| wrong(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| wrong(format!("it is no JSON object of settings: {error}")))
}

async fn show(client: &Client, id: &str, json: bool) -> Result<(), Failure> {
    let mut found = find::deployment(client, id).await?.ok_or_else(|| list::absent("id"))?;
    let asked = find::health(client, id).await?;
    (found["disabled"], found["health"]) = (asked["disabled"].clone(), asked["health"].clone());
    if !found["latestUpdate"].is_null() {
        let id = &found["latestUpdate"]["id"];
        found["latestUpdate"]["nodes"] = find::nodes(client, id).await?;
    }
    if json {
        return say_json(&found);
    }
    let (half, version) = (Half::of(&found), &found["version"]);
    let disabled = if found["disabled"] == true { ", disabled" } else { "" };
    say(format!("Deployment      {} (version {version}{disabled})", text(&found["id"])))?;
    let (parent, there) = (text(&found["projectKey"]), text(&found["deployedProjectKey"]));
    match half {
        Half::Project => say(format!("Project         {parent}, on the node {there}"))?,
        Half::Service => say(format!("Service         {parent}, on the platform {there}"))?,
    }
    say(format!("Infrastructure  {}", text(&found["infrastructureId"])))?;
    let word = if half == Half::Project { "Bundle" } else { "Version" };
    say(format!("{word:<15} {}", text(&found["bundleId"])))?;
    say(format!("Health          {}", text(&found["health"]["health"])))?;
    for message in found["health"]["messages"].as_array().into_iter().flatten() {
        say(format!("  {:<13} {}", text(&message["severity"]), text(&message["message"])))?;
    }
    newest(half, &found["latestUpdate"])?;
    show::nodes(&found["latestUpdate"])
}

fn newest(half: Half, newest: &Value) -> Result<(), Failure> {
    if newest.is_null() {
        return say("Newest update   none yet");
    }
    let (number, status, bundle) = (&newest["number"], text(&newest["status"]), text(&newest["bundleId"]));
    say(format!("Newest update   {number} ({}): {status}, {} {bundle}", text(&newest["id"]), half.package()))?;
    say(format!("  requested     {} by {}", text(&newest["requestedAt"]), text(&newest["requester"])))?;
    if let Some(ended) = newest["endedAt"].as_str() {
        say(format!("  ended         {}", plain(ended)))?;
    }
    if !newest["failure"].is_null() {
        let failure = &newest["failure"];
        say(format!("  failure       {}: {}", text(&failure["code"]), text(&failure["message"])))?;
    }
    Ok(())
}

fn text(value: &Value) -> String {
    plain(value.as_str().unwrap_or("-"))
}
