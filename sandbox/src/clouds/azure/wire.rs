//! What bodies may say: the names and types of the vendor's own model, and what its service refuses beyond that.

use serde_json::Value;

/// What a field may be.
enum Kind {
    Text,
    OneOf(&'static [&'static str]),
    Whole(u64, u64),
    Truth,
    Duration,
    Texts,
    Wholes,
    Fields(&'static [(&'static str, Kind)]),
    Anything,
}

use Kind::{Anything, Duration, Fields, OneOf, Text, Texts, Truth, Whole, Wholes};

const IDENTITY: &[(&str, Kind)] = &[
    ("type", OneOf(&["None", "SystemAssigned", "UserAssigned", "SystemAssigned,UserAssigned"])),
    ("userAssignedIdentities", Anything),
];

const ENDPOINT: &[(&str, Kind)] = &[
    ("location", Text),
    ("tags", Texts),
    ("identity", Fields(IDENTITY)),
    ("kind", Text),
    ("sku", Anything),
    (
        "properties",
        Fields(&[
            ("authMode", OneOf(&["AMLToken", "Key", "AADToken"])),
            ("description", Text),
            ("properties", Texts),
            ("compute", Text),
            ("mirrorTraffic", Wholes),
            ("publicNetworkAccess", OneOf(&["Enabled", "Disabled"])),
            ("traffic", Wholes),
        ]),
    ),
];

const PROBE: &[(&str, Kind)] = &[
    ("failureThreshold", Whole(1, 1_000)),
    ("initialDelay", Duration),
    ("period", Duration),
    ("successThreshold", Whole(1, 1_000)),
    ("timeout", Duration),
];

const DEPLOYMENT: &[(&str, Kind)] = &[
    ("location", Text),
    ("tags", Texts),
    ("kind", Text),
    ("sku", Fields(&[("name", OneOf(&["Default"])), ("capacity", Whole(1, 1_000))])),
    (
        "properties",
        Fields(&[
            ("description", Text),
            ("environmentId", Text),
            ("environmentVariables", Texts),
            ("properties", Texts),
            ("appInsightsEnabled", Truth),
            ("egressPublicNetworkAccess", OneOf(&["Enabled", "Disabled"])),
            ("endpointComputeType", OneOf(&["Managed"])),
            ("instanceType", Text),
            ("livenessProbe", Fields(PROBE)),
            ("readinessProbe", Fields(PROBE)),
            ("model", Text),
            (
                "requestSettings",
                Fields(&[
                    ("maxConcurrentRequestsPerInstance", Whole(1, 1_000)),
                    ("maxQueueWait", Duration),
                    ("requestTimeout", Duration),
                ]),
            ),
            ("scaleSettings", Fields(&[("scaleType", OneOf(&["Default"]))])),
        ]),
    ),
];

const ROUTE: &[(&str, Kind)] = &[("path", Text), ("port", Whole(1, 65_535))];

const ENVIRONMENT: &[(&str, Kind)] = &[(
    "properties",
    Fields(&[
        ("description", Text),
        ("tags", Texts),
        ("image", Text),
        ("osType", OneOf(&["Linux", "Windows"])),
        (
            "inferenceConfig",
            Fields(&[
                ("livenessRoute", Fields(ROUTE)),
                ("readinessRoute", Fields(ROUTE)),
                ("scoringRoute", Fields(ROUTE)),
            ]),
        ),
    ]),
)];

/// The first thing that is wrong with an endpoint.
pub(super) fn endpoint(body: &Value) -> Result<(), String> {
    fields(ENDPOINT, body, "")?;
    needed(body, &["/location", "/properties/authMode"])
}

/// The first thing that is wrong with a deployment.
pub(super) fn deployment(body: &Value) -> Result<(), String> {
    fields(DEPLOYMENT, body, "")?;
    needed(
        body,
        &[
            "/location",
            "/sku/name",
            "/properties/endpointComputeType",
            "/properties/environmentId",
            "/properties/instanceType",
        ],
    )
}

/// The first thing that is wrong with an environment's version.
pub(super) fn environment(body: &Value) -> Result<(), String> {
    fields(ENVIRONMENT, body, "")?;
    needed(body, &["/properties/image"])
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
    let every = |test: fn(&Value) -> bool| value.as_object().is_some_and(|all| all.values().all(test));
    let fine = match kind {
        Text => value.is_string(),
        OneOf(words) => value.as_str().is_some_and(|word| words.contains(&word)),
        Whole(least, most) => value.as_u64().is_some_and(|n| (*least..=*most).contains(&n)),
        Truth => value.is_boolean(),
        Duration => value.as_str().is_some_and(is_duration),
        Texts => every(Value::is_string),
        Wholes => every(Value::is_u64),
        Fields(known) => return fields(known, value, path),
        Anything => true,
    };
    if fine { Ok(()) } else { Err(format!("{path} has a value that it can't have: {value}")) }
}

/// `PT…S` and the like.
fn is_duration(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("PT") else { return false };
    let number = rest.trim_end_matches(['H', 'M', 'S']);
    number.len() + 1 == rest.len() && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
}
