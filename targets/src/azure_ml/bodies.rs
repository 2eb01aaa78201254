//! What is sent: an endpoint, a deployment, a version of an environment.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{PORT, names, settings::Settings};
use crate::spec::DeploySpec;

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

/// The endpoint as it is to be. What is there already, and is none of ours, stays.
pub(super) fn endpoint(
    spec: &DeploySpec,
    settings: &Settings,
    there: Option<&Value>,
    traffic: Option<&Traffic>,
) -> Value {
    let there = there.cloned().unwrap_or_else(|| json!({}));
    let object = |key: &str| there[key].as_object().cloned().unwrap_or_default();
    let mut body = Map::new();
    for key in ["kind", "sku"] {
        if !there[key].is_null() {
            body.insert(key.to_owned(), there[key].clone());
        }
    }
    let mut tagged = object("tags");
    tagged.extend(tags(spec, settings));
    let mut properties = object("properties");
    properties.retain(|key, value| !READ_ONLY.contains(&key.as_str()) && !value.is_null());
    properties.insert("authMode".to_owned(), settings.auth_mode.as_str().into());
    properties.insert("publicNetworkAccess".to_owned(), switch(settings.public_network_access).into());
    if let Some(traffic) = traffic {
        properties.insert("traffic".to_owned(), json!(traffic));
    }
    let location = if there["location"].is_string() { there["location"].clone() } else { json!(settings.location) };
    body.insert("location".to_owned(), location);
    body.insert("tags".to_owned(), tagged.into());
    body.insert("identity".to_owned(), identity(settings));
    body.insert("properties".to_owned(), properties.into());
    body.into()
}

/// Whether the endpoint is as [`endpoint`] would make it.
pub(super) fn endpoint_holds(spec: &DeploySpec, settings: &Settings, there: &Value, wanted: Option<&Traffic>) -> bool {
    let properties = &there["properties"];
    let access = properties["publicNetworkAccess"].as_str().unwrap_or("Enabled");
    let type_ = there["identity"]["type"].as_str().unwrap_or("None");
    let tagged = |(name, value): (&String, &Value)| there["tags"][name.as_str()] == *value;
    properties["authMode"].as_str().is_some_and(|mode| mode.eq_ignore_ascii_case(settings.auth_mode.as_str()))
        && access == switch(settings.public_network_access)
        && identity(settings)["type"] == type_
        && has_identity(settings, there)
        && tags(spec, settings).iter().all(tagged)
        && wanted.is_none_or(|wanted| traffic(there) == *wanted)
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

fn seconds(seconds: u32) -> String {
    format!("PT{seconds}S")
}
