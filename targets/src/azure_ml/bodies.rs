//! What is sent: an endpoint, a deployment, a version of an environment.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{PORT, names, settings::Settings};
use crate::{managed::found_of, spec::DeploySpec};

/// Traffic by deployment, in percent; those without any are not in it.
pub(super) type Traffic = BTreeMap<String, u32>;

/// Properties of resources that the platform alone writes.
const READ_ONLY: [&str; 3] = ["scoringUri", "swaggerUri", "provisioningState"];

/// The marks of what we make.
pub(super) fn marks(spec: &DeploySpec) -> Map<String, Value> {
    Map::from_iter([
        (names::OWNER.to_owned(), names::owner(spec).into()),
        (names::DEPLOYMENT.to_owned(), spec.deployment.clone().into()),
    ])
}

fn tags(spec: &DeploySpec, settings: &Settings) -> Map<String, Value> {
    let mut tags: Map<String, Value> =
        settings.tags.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    tags.extend(marks(spec));
    tags
}

/// An endpoint as it is there, without what the platform alone writes.
fn kept(there: Option<&Value>, location: &str) -> Map<String, Value> {
    let there = there.cloned().unwrap_or_else(|| json!({}));
    let object = |key: &str| there[key].as_object().cloned().unwrap_or_default();
    let mut body = Map::new();
    for key in ["kind", "sku"] {
        if !there[key].is_null() {
            body.insert(key.to_owned(), there[key].clone());
        }
    }
    let mut properties = object("properties");
    properties.retain(|key, value| !READ_ONLY.contains(&key.as_str()) && !value.is_null());
    let location = if there["location"].is_string() { there["location"].clone() } else { json!(location) };
    body.insert("location".to_owned(), location);
    body.insert("tags".to_owned(), object("tags").into());
    body.insert("identity".to_owned(), identity_of(&there));
    body.insert("properties".to_owned(), properties.into());
    body
}

/// The endpoint as it is to be. What is there already, and is none of ours, stays.
pub(super) fn endpoint(
    spec: &DeploySpec,
    settings: &Settings,
    there: Option<&Value>,
    traffic: Option<&Traffic>,
) -> Value {
    let mut body = Value::Object(kept(there, &settings.location));
    for (name, value) in tags(spec, settings) {
        body["tags"][name] = value;
    }
    body["identity"] = identity(settings);
    body["properties"]["authMode"] = settings.auth_mode.as_str().into();
    body["properties"]["publicNetworkAccess"] = switch(settings.public_network_access).into();
    if let Some(traffic) = traffic {
        body["properties"]["traffic"] = json!(traffic);
    }
    body
}

/// How an endpoint lets callers in: what is put back of it beside its traffic.
pub(super) fn gate(endpoint: &Value) -> Value {
    let properties = &endpoint["properties"];
    json!({
        "authMode": properties["authMode"], "publicNetworkAccess": properties["publicNetworkAccess"],
        "identity": identity_of(endpoint), "tags": endpoint["tags"],
    })
}

/// An endpoint as it is there with this traffic, and with this gate unless that is null.
pub(super) fn endpoint_as(there: &Value, gate: &Value, traffic: &Traffic) -> Value {
    let mut body = Value::Object(kept(Some(there), ""));
    for key in ["authMode", "publicNetworkAccess"] {
        if !gate[key].is_null() {
            body["properties"][key] = gate[key].clone();
        }
    }
    if !gate["identity"].is_null() {
        body["identity"] = gate["identity"].clone();
    }
    for (name, value) in gate["tags"].as_object().into_iter().flatten() {
        body["tags"][name.as_str()] = value.clone();
    }
    body["properties"]["traffic"] = json!(traffic);
    body
}

/// Whether an endpoint has this gate; what was not told of it is not compared.
pub(super) fn has_gate(there: &Value, gate: &Value) -> bool {
    let now = self::gate(there);
    let same = |key: &str| gate[key].is_null() || now[key] == gate[key];
    let tags = gate["tags"].as_object();
    ["authMode", "publicNetworkAccess", "identity"].into_iter().all(same)
        && tags.into_iter().flatten().all(|(name, value)| there["tags"][name.as_str()] == *value)
}

/// Whether the endpoint is as [`endpoint`] would make it.
pub(super) fn endpoint_holds(spec: &DeploySpec, settings: &Settings, there: &Value, wanted: Option<&Traffic>) -> bool {
    endpoint_otherwise(spec, settings, there).is_empty() && wanted.is_none_or(|wanted| traffic(there) == *wanted)
}

/// Where it is not, beside its traffic: what, as it is, as it is to be. What others added is none of it.
pub(super) fn endpoint_otherwise(
    spec: &DeploySpec,
    settings: &Settings,
    there: &Value,
) -> Vec<(&'static str, Value, Value)> {
    let mut all = Vec::new();
    let properties = &there["properties"];
    let mode = properties["authMode"].as_str().unwrap_or_default();
    if !mode.eq_ignore_ascii_case(settings.auth_mode.as_str()) {
        all.push(("the authentication of queries", json!(mode), settings.auth_mode.as_str().into()));
    }
    let access = properties["publicNetworkAccess"].as_str().unwrap_or("Enabled");
    if access != switch(settings.public_network_access) {
        all.push(("the public network access", json!(access), switch(settings.public_network_access).into()));
    }
    let found = there["identity"]["type"].as_str().unwrap_or("None");
    if identity(settings)["type"] != found || !has_identity(settings, there) {
        all.push(("the endpoint's identity", identity_of(there), identity(settings)));
    }
    let wanted = tags(spec, settings);
    let found = found_of(&there["tags"], &wanted);
    if found != wanted {
        all.push(("the endpoint's tags", found.into(), wanted.into()));
    }
    all
}

/// The identity of an endpoint that is there, as it is sent.
fn identity_of(there: &Value) -> Value {
    let kind = there["identity"]["type"].as_str().unwrap_or("SystemAssigned");
    match there["identity"]["userAssignedIdentities"].as_object() {
        Some(all) if !all.is_empty() => {
            let all: Map<String, Value> = all.keys().map(|id| (id.clone(), json!({}))).collect();
            json!({"type": kind, "userAssignedIdentities": all})
        }
        _ => json!({"type": kind}),
    }
}

/// The traffic of an endpoint, without those that get none.
pub(super) fn traffic(endpoint: &Value) -> Traffic {
    let shares = endpoint["properties"]["traffic"].as_object();
    let share = |(name, value): (&String, &Value)| {
        let percent = value.as_u64().and_then(|percent| u32::try_from(percent).ok()).filter(|percent| *percent > 0);
        percent.map(|percent| (name.clone(), percent))
    };
    shares.map(|shares| shares.iter().filter_map(share).collect()).unwrap_or_default()
}

fn identity(settings: &Settings) -> Value {
    if settings.identity_id.is_empty() {
        json!({"type": "SystemAssigned"})
    } else {
        json!({"type": "UserAssigned", "userAssignedIdentities": {&settings.identity_id: {}}})
    }
}

fn has_identity(settings: &Settings, there: &Value) -> bool {
    let assigned = there["identity"]["userAssignedIdentities"].as_object();
    settings.identity_id.is_empty()
        || assigned.is_some_and(|all| all.keys().any(|id| id.eq_ignore_ascii_case(&settings.identity_id)))
}

fn switch(on: bool) -> &'static str {
    if on { "Enabled" } else { "Disabled" }
}

/// How an image is run.
pub(super) fn environment(spec: &DeploySpec, version: &str, image: &str) -> Value {
    let route = |path: &str| json!({"path": path, "port": PORT});
    let mut tags = marks(spec);
    tags.insert(names::VERSION.to_owned(), version.into());
    json!({"properties": {
        "description": format!("Version {version} of an API service, deployed by Slipway."),
        "image": image,
        "osType": "Linux",
        "inferenceConfig": {
            "livenessRoute": route("/liveness"),
            "readinessRoute": route("/readiness"),
            "scoringRoute": route("/score"),
        },
        "tags": tags,
    }})
}

/// One version on its machines.
pub(super) fn deployment(spec: &DeploySpec, settings: &Settings, version: &str, environment_id: &str) -> Value {
    let mut tags = tags(spec, settings);
    tags.insert(names::VERSION.to_owned(), version.into());
    let probe = json!({
        "initialDelay": seconds(settings.startup_seconds), "period": "PT10S", "timeout": "PT5S", "failureThreshold": 30, "successThreshold": 1,
    });
    json!({
        "location": settings.location,
        "sku": {"name": "Default", "capacity": settings.instances},
        "tags": tags,
        "properties": {
            "endpointComputeType": "Managed",
            "environmentId": environment_id,
            "instanceType": settings.instance_type,
            "environmentVariables": settings.environment_variables,
            "scaleSettings": {"scaleType": "Default"},
            "appInsightsEnabled": settings.app_insights,
            "egressPublicNetworkAccess": switch(settings.egress_public_network_access),
            "requestSettings": {
                "requestTimeout": seconds(settings.request_timeout_seconds),
                "maxConcurrentRequestsPerInstance": settings.max_concurrent_requests,
            },
            "livenessProbe": probe,
            "readinessProbe": probe,
        },
    })
}

/// The same, with the tags and variables that others added.
pub(super) fn with_what_is_there(body: &Value, there: Option<&Value>) -> Value {
    let mut body = body.clone();
    for path in ["/tags", "/properties/environmentVariables"] {
        let theirs = there.and_then(|there| there.pointer(path)?.as_object());
        if let (Some(theirs), Some(ours)) = (theirs, body.pointer_mut(path).and_then(Value::as_object_mut)) {
            for (name, value) in theirs {
                ours.entry(name.clone()).or_insert_with(|| value.clone());
            }
        }
    }
    body
}

/// Where one of the platform's deployments is not as `body` would make it: what, as it is, as it is to be. What the platform writes in its own way is not compared,
/// nor what others added.
pub(super) fn otherwise(there: &Value, body: &Value) -> Vec<(&'static str, Value, Value)> {
    let mut all = Vec::new();
    let place = |resource: &Value, path: &str| resource.pointer(path).cloned().unwrap_or_default();
    for (what, path) in [
        ("the environment", "/properties/environmentId"),
        ("the instance type", "/properties/instanceType"),
        ("the instances", "/sku/capacity"),
    ] {
        let (found, wanted) = (place(there, path), place(body, path));
        let same = match (found.as_str(), wanted.as_str()) {
            (Some(found), Some(wanted)) => found.eq_ignore_ascii_case(wanted),
            _ => found == wanted,
        };
        if !same {
            all.push((what, found, wanted));
        }
    }
    // Values may be somebody's secret: names tell enough.
    let variables = place(body, "/properties/environmentVariables");
    let found = &there["properties"]["environmentVariables"];
    let changed = |(name, value): &(&String, &Value)| found[name.as_str()] != **value;
    let names: Vec<_> = variables.as_object().into_iter().flatten().filter(changed).map(|(name, _)| name).collect();
    if !names.is_empty() {
        all.push(("environment variables", json!(names), json!("as the settings say")));
    }
    all
}

fn seconds(seconds: u32) -> String {
    format!("PT{seconds}S")
}
