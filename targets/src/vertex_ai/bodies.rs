//! Names, which follow from the deployment and from what is deployed, and what is sent.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{PORT, settings::Settings};
use crate::{
    managed::{found_of, names},
    spec::DeploySpec,
};

/// Whose it is: on everything that we make.
pub(super) const OWNER: &str = "slipway-owner";

/// Traffic by the id of a deployed model, in percent; those without any are not in it.
pub(super) type Traffic = BTreeMap<String, u32>;

/// The id of the endpoint: letters, digits and hyphens, a letter first.
pub(super) fn endpoint_id(spec: &DeploySpec) -> String {
    let service = spec.service.as_ref().map_or(spec.deployment.as_str(), |service| &service.service_id);
    format!("{}-{}", names::slug(service, 30), &owner(spec)[..16])
}

/// Who made it, as a mark.
pub(super) fn owner(spec: &DeploySpec) -> String {
    names::hash([spec.infrastructure.id.as_str(), &spec.owner()], 32)
}

/// The id of a version's model: another content, another id. At most 63 characters.
pub(super) fn model_id(endpoint: &str, body: &Value) -> String {
    format!("{endpoint}-{}", names::hash([body.to_string()], 12))
}

/// The id of a deployed model: ten digits, no zero first.
pub(super) fn deployed_id(body: &Value) -> String {
    let digits = names::hash([body.to_string()], 15);
    let number = u64::from_str_radix(&digits, 16).unwrap_or_default();
    (1_000_000_000 + number % 9_000_000_000).to_string()
}

fn labels(spec: &DeploySpec, settings: &Settings) -> Map<String, Value> {
    let mut labels: Map<String, Value> =
        settings.labels.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    labels.insert(OWNER.to_owned(), owner(spec).into());
    labels
}

/// A name for people, at most as long as the platform takes.
pub(super) fn display(text: &str) -> String {
    text.chars().take(128).collect()
}

/// How queries are logged.
fn logging(settings: &Settings) -> Value {
    if settings.request_log_table.is_empty() {
        return json!({"enabled": false});
    }
    json!({
        "enabled": true,
        "samplingRate": settings.request_log_sampling,
        "bigqueryDestination": {"outputUri": settings.request_log_table},
    })
}

/// The endpoint as it is to be, without its traffic.
pub(super) fn endpoint(spec: &DeploySpec, settings: &Settings, there: Option<&Value>) -> Value {
    // Others may put labels of their own on it.
    let mut labelled = there.and_then(|there| there["labels"].as_object().cloned()).unwrap_or_default();
    labelled.extend(labels(spec, settings));
    json!({
        "displayName": display(&spec.deployment),
        "labels": labelled,
        "predictRequestResponseLoggingConfig": logging(settings),
    })
}

/// What of the endpoint is ours to change.
pub(super) const ENDPOINT_MASK: &str = "displayName,labels,predictRequestResponseLoggingConfig";

/// Whether the endpoint is as [`endpoint`] would make it.
pub(super) fn endpoint_holds(spec: &DeploySpec, settings: &Settings, there: &Value) -> bool {
    endpoint_otherwise(spec, settings, there).is_empty()
}

/// Where it is not: what, as it is, as it is to be. Labels of others are none of it.
pub(super) fn endpoint_otherwise(
    spec: &DeploySpec,
    settings: &Settings,
    there: &Value,
) -> Vec<(&'static str, Value, Value)> {
    let mut all = Vec::new();
    let mut compare = |what, found: Value, wanted: Value| {
        if found != wanted {
            all.push((what, found, wanted));
        }
    };
    compare("the endpoint's name", there["displayName"].clone(), display(&spec.deployment).into());
    let wanted = labels(spec, settings);
    let found = found_of(&there["labels"], &wanted);
    compare("the endpoint's labels", found.into(), wanted.into());
    let (logged, wanted) = (&there["predictRequestResponseLoggingConfig"], logging(settings));
    let found = if logged["enabled"] == true {
        let keys = ["enabled", "samplingRate", "bigqueryDestination"];
        // Google writes 1.0 as 1.
        let shown = |value: &Value| value.as_f64().map_or_else(|| value.clone(), Value::from);
        keys.iter().filter_map(|key| Some(((*key).to_owned(), shown(logged.get(*key)?)))).collect::<Map<_, _>>().into()
    } else {
        json!({"enabled": false})
    };
    compare("the logging of queries", found, wanted);
    all
}

/// Where an endpoint is called, below Google's address.
pub(super) fn predict_path(settings: &Settings, endpoint: &str) -> String {
    let Settings { project, location, .. } = settings;
    format!("/v1/projects/{project}/locations/{location}/endpoints/{endpoint}:predict")
}

/// The traffic of an endpoint, without those that get none.
pub(super) fn traffic(endpoint: &Value) -> Traffic {
    let shares = endpoint["trafficSplit"].as_object();
    let share = |(name, value): (&String, &Value)| {
        let percent = value.as_u64().and_then(|percent| u32::try_from(percent).ok()).filter(|percent| *percent > 0);
        percent.map(|percent| (name.clone(), percent))
    };
    shares.map(|shares| shares.iter().filter_map(share).collect()).unwrap_or_default()
}

/// A version in the model registry.
pub(super) fn model(spec: &DeploySpec, settings: &Settings, version: &str, image: &str) -> Value {
    let env: Vec<Value> =
        settings.environment_variables.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
    let mut container = json!({
        "imageUri": image,
        "predictRoute": "/predict",
        "healthRoute": "/health",
        "ports": [{"containerPort": PORT}],
    });
    if !env.is_empty() {
        container["env"] = env.into();
    }
    let service = spec.service.as_ref().map_or("", |service| &service.service_id);
    json!({
        "displayName": display(&format!("{service} {version}")),
        "description": format!("Version {version} of an API service, deployed by Slipway."),
        "labels": labels(spec, settings),
        "containerSpec": container,
    })
}

/// Where a version's machines are not as the settings say: what, as it is, as it is to be.
pub(super) fn otherwise(settings: &Settings, there: &Value) -> Vec<(&'static str, Value, Value)> {
    let wanted = deployed(settings, "", "", None);
    let compared = [
        ("the fewest replicas", "/dedicatedResources/minReplicaCount"),
        ("the most replicas", "/dedicatedResources/maxReplicaCount"),
        ("the machines", "/dedicatedResources/machineSpec/machineType"),
        ("the accelerators", "/dedicatedResources/machineSpec/acceleratorType"),
        ("the number of accelerators", "/dedicatedResources/machineSpec/acceleratorCount"),
        ("the service account", "/serviceAccount"),
        ("that its container logs nothing", "/disableContainerLogging"),
        ("the access log", "/enableAccessLogging"),
    ];
    // What is not set, Google leaves out, or tells as what it amounts to.
    let place = |resources: &Value, path: &str| match resources.pointer(path) {
        Some(Value::Bool(false) | Value::Null) | None => Value::Null,
        Some(Value::String(text)) if text.is_empty() || text.ends_with("UNSPECIFIED") => Value::Null,
        Some(value) => value.clone(),
    };
    let pair = |(what, path): (&'static str, &str)| (what, place(there, path), place(&wanted, path));
    compared.into_iter().map(pair).filter(|(_, found, wanted)| found != wanted).collect()
}

/// Where a version's model is not as the settings say. Values of variables may be somebody's secret: names tell enough.
pub(super) fn model_otherwise(
    spec: &DeploySpec,
    settings: &Settings,
    there: &Value,
    repository: &str,
) -> Vec<(&'static str, Value, Value)> {
    let image = there["containerSpec"]["imageUri"].as_str().unwrap_or_default();
    let wanted = model(spec, settings, "", image);
    let variables = |model: &Value| -> BTreeMap<String, Value> {
        let all = model["containerSpec"]["env"].as_array().cloned().unwrap_or_default();
        all.iter().filter_map(|one| Some((one["name"].as_str()?.to_owned(), one["value"].clone()))).collect()
    };
    let mut all = Vec::new();
    let (now, then) = (variables(there), variables(&wanted));
    if now != then {
        let differs: std::collections::BTreeSet<&String> =
            now.keys().chain(then.keys()).filter(|name| now.get(*name) != then.get(*name)).collect();
        all.push(("environment variables", json!(differs), json!("as the settings say")));
    }
    let wanted = labels(spec, settings);
    let found = found_of(&there["labels"], &wanted);
    if found != wanted {
        all.push(("the model's labels", found.into(), wanted.into()));
    }
    let of = image.split('@').next().unwrap_or_default();
    if of != repository {
        all.push(("the repository of the image", json!(of), json!(repository)));
    }
    all
}

/// How many machines a version has, which is all that can be changed of one that is deployed.
pub(super) fn replicas(deployed: &Value) -> [&Value; 2] {
    let resources = &deployed["dedicatedResources"];
    [&resources["minReplicaCount"], &resources["maxReplicaCount"]]
}

/// A version on its machines; `id` is left out to find the id.
pub(super) fn deployed(settings: &Settings, version: &str, model: &str, id: Option<&str>) -> Value {
    let mut machine = json!({"machineType": settings.machine_type});
    if !settings.accelerator_type.is_empty() {
        machine["acceleratorType"] = json!(settings.accelerator_type);
        machine["acceleratorCount"] = json!(settings.accelerator_count);
    }
    let mut body = json!({
        "model": model,
        "displayName": display(version),
        "dedicatedResources": {
            "machineSpec": machine,
            "minReplicaCount": settings.min_replicas,
            "maxReplicaCount": settings.max_replicas.max(settings.min_replicas),
        },
        "disableContainerLogging": !settings.container_logging,
        "enableAccessLogging": settings.access_logging,
    });
    if !settings.service_account.is_empty() {
        body["serviceAccount"] = json!(settings.service_account);
    }
    if let Some(id) = id {
        body["id"] = json!(id);
    }
    body
}
