//! What bodies may say: the names and types of the vendor's discovery document, and what its service refuses beyond that.

use serde_json::Value;

/// What a field may be.
enum Kind {
    Text,
    OneOf(&'static [&'static str]),
    Whole(u64, u64),
    Share,
    Truth,
    Labels,
    Split,
    Fields(&'static [(&'static str, Kind)]),
    List(&'static [(&'static str, Kind)]),
}

use Kind::{Fields, Labels, List, OneOf, Share, Split, Text, Truth, Whole};

const MODEL: &[(&str, Kind)] = &[
    ("displayName", Text),
    ("description", Text),
    ("labels", Labels),
    (
        "containerSpec",
        Fields(&[
            ("imageUri", Text),
            ("predictRoute", Text),
            ("healthRoute", Text),
            ("ports", List(&[("containerPort", Whole(1, 65_535))])),
            ("env", List(&[("name", Text), ("value", Text)])),
            ("deploymentTimeout", Text),
        ]),
    ),
];

const ENDPOINT: &[(&str, Kind)] = &[
    ("displayName", Text),
    ("description", Text),
    ("labels", Labels),
    ("trafficSplit", Split),
    (
        "predictRequestResponseLoggingConfig",
        Fields(&[("enabled", Truth), ("samplingRate", Share), ("bigqueryDestination", Fields(&[("outputUri", Text)]))]),
    ),
];

const DEPLOYED: &[(&str, Kind)] = &[
    ("id", Text),
    ("model", Text),
    ("displayName", Text),
    ("serviceAccount", Text),
    ("disableContainerLogging", Truth),
    ("enableAccessLogging", Truth),
    (
        "dedicatedResources",
        Fields(&[
            (
                "machineSpec",
                Fields(&[
                    ("machineType", Text),
                    ("acceleratorType", OneOf(&["NVIDIA_TESLA_T4", "NVIDIA_L4", "NVIDIA_TESLA_A100"])),
                    ("acceleratorCount", Whole(1, 16)),
                ]),
            ),
            ("minReplicaCount", Whole(1, 1_000)),
            ("maxReplicaCount", Whole(1, 1_000)),
        ]),
    ),
];

/// The first thing that is wrong with a request to upload a model.
pub(super) fn upload(body: &Value) -> Result<(), String> {
    fields(&[("model", Fields(MODEL)), ("modelId", Text)], body, "")?;
    needed(body, &["/model/displayName", "/model/containerSpec/imageUri"])
}

/// The first thing that is wrong with an endpoint.
pub(super) fn endpoint(body: &Value, new: bool) -> Result<(), String> {
    fields(ENDPOINT, body, "")?;
    needed(body, if new { &["/displayName"] } else { &[] })
}

/// The first thing that is wrong with a request to deploy a model.
pub(super) fn deploy(body: &Value) -> Result<(), String> {
    fields(&[("deployedModel", Fields(DEPLOYED)), ("trafficSplit", Split)], body, "")?;
    let resources = "/deployedModel/dedicatedResources";
    let machine = format!("{resources}/machineSpec/machineType");
    let least = format!("{resources}/minReplicaCount");
    needed(body, &["/deployedModel/model", &machine, &least])
}

/// The first thing that is wrong with a request to change a deployed model.
pub(super) fn scale(body: &Value) -> Result<(), String> {
    fields(&[("deployedModel", Fields(DEPLOYED)), ("updateMask", Text)], body, "")?;
    needed(body, &["/deployedModel/id", "/updateMask"])
}

/// The first thing that is wrong with a request to undeploy a model.
pub(super) fn undeploy(body: &Value) -> Result<(), String> {
    fields(&[("deployedModelId", Text), ("trafficSplit", Split)], body, "")?;
    needed(body, &["/deployedModelId"])
}

/// The first thing that is wrong with a request to predict.
pub(super) fn predict(body: &Value) -> Result<(), String> {
    let fine = body["instances"].is_array()
        && body.as_object().is_some_and(|all| all.keys().all(|key| matches!(key.as_str(), "instances" | "parameters")));
    if fine { Ok(()) } else { Err("instances".to_owned()) }
}

fn needed(body: &Value, pointers: &[&str]) -> Result<(), String> {
    let missing = pointers.iter().find(|pointer| body.pointer(pointer).is_none_or(Value::is_null));
    missing.map_or(Ok(()), |pointer| Err(format!("{pointer} is required")))
}

fn fields(known: &[(&str, Kind)], value: &Value, path: &str) -> Result<(), String> {
    let object = value.as_object().ok_or_else(|| format!("{path} must be an object"))?;
    for (name, value) in object {
        let path = format!("{path}/{name}");
        let kind = known.iter().find(|(known, _)| known == name).map(|(_, kind)| kind);
        check(kind.ok_or_else(|| format!("{path} is unknown"))?, value, &path)?;
    }
    Ok(())
}

fn check(kind: &Kind, value: &Value, path: &str) -> Result<(), String> {
    let label = |text: &str| {
        text.len() <= 63
            && text
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_'))
    };
    let fine = match kind {
        Text => value.as_str().is_some_and(|text| !text.is_empty()),
        OneOf(words) => value.as_str().is_some_and(|word| words.contains(&word)),
        Whole(least, most) => value.as_u64().is_some_and(|n| (*least..=*most).contains(&n)),
        Share => value.as_f64().is_some_and(|share| share > 0.0 && share <= 1.0),
        Truth => value.is_boolean(),
        Labels => value.as_object().is_some_and(|all| {
            all.len() <= 64 && all.iter().all(|(name, value)| label(name) && value.as_str().is_some_and(label))
        }),
        Split => value.as_object().is_some_and(|all| {
            let sum: u64 = all.values().filter_map(Value::as_u64).sum();
            all.values().all(Value::is_u64) && (all.is_empty() || sum == 100)
        }),
        Fields(known) => return fields(known, value, path),
        List(known) => {
            let items = value.as_array().ok_or_else(|| format!("{path} must be a list"))?;
            return items.iter().enumerate().try_for_each(|(n, item)| fields(known, item, &format!("{path}/{n}")));
        }
    };
    if fine { Ok(()) } else { Err(format!("{path} has a value that it can't have: {value}")) }
}
