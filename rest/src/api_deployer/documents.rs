//! What settings of the API Deployer look like to clients, and back. What a platform wants to know stands at the top of an infrastructure's document, by the names of
//! its schema, as the client's own methods expect it (`apiNodes`). What a client keeps that means nothing to us is kept as it is.

use deployer::{
    deployments::{self, ApiChange, Deployment, SettingsChange},
    error::{Error, Result},
    infrastructures::{Infrastructure, Permission, SettingsPatch},
    kept,
    rights::Level,
    schema::Document as Described,
};
use serde_json::{Map, Value, json};
use targets::{TargetType, target::VersionShare};

use crate::{
    Context,
    documents::{MASK, typed, version_tag},
    read::{Document, object, over, renamed, wrong},
};

/// Our names of an infrastructure's settings, and a client's.
pub(super) const INFRA_FIELDS: &[(&str, &str)] = &[("kind", "type"), ("queryLog", "auditing")];
/// Settings that both halves have, by the names that they have here.
const COMMON: [&str; 12] = [
    "governCheckPolicy",
    "governanceUrl",
    "hooksUser",
    "deployAsUser",
    "onFailure",
    "stepPolicies",
    "settleMs",
    "callTimeoutMs",
    "preHookWaitMs",
    "postHookWaitMs",
    "connection",
    "externalUrl",
];

/// The schema of what a platform wants to know.
fn schema_of(context: &Context<'_>, kind: TargetType) -> Result<Value> {
    let target = context.deployer.targets.find(kind);
    let target = target.ok_or_else(|| Error::fault(format!("this build lacks {kind}")))?;
    Ok(serde_json::from_str(target.describe().settings)?)
}

fn properties(schema: &Value) -> Map<String, Value> {
    schema.get("properties").and_then(Value::as_object).cloned().unwrap_or_default()
}

/// An infrastructure's settings, for its administrators.
pub(super) fn infra(
    context: &Context<'_>,
    kind: TargetType,
    infra: &Infrastructure,
    permissions: &[Permission],
) -> Result<Value> {
    let settings = infra.settings.as_ref().ok_or_else(|| Error::forbidden("the right Admin on the infrastructure"))?;
    let known = object(serde_json::to_value(settings)?, "settings")?;
    let mut document = Map::new();
    for (name, schema) in properties(&schema_of(context, kind)?) {
        let value = match (settings.platform.get(&name), schema.get("default")) {
            (Some(value), _) => value.clone(),
            (None, Some(default)) => default.clone(),
            // A list is there from the start: clients add to it.
            (None, None) if schema.get("type").and_then(Value::as_str) == Some("array") => json!([]),
            (None, None) => continue,
        };
        document.insert(name, value);
    }
    for name in COMMON {
        document.insert(name.to_owned(), known.get(name).cloned().unwrap_or_default());
    }
    let right = |one: &Permission| {
        json!({
            "group": one.group,
            "read": one.level >= Level::View,
            "deploy": one.level >= Level::Deploy,
            "admin": one.level >= Level::Admin,
        })
    };
    let more = json!({
        "id": infra.id,
        "stage": infra.stage,
        "type": infra.kind,
        "auditing": settings.query_log,
        "governanceKey": if infra.has_governance_key == Some(true) { MASK } else { "" },
        "permissions": permissions.iter().map(right).collect::<Vec<_>>(),
        "versionTag": version_tag(infra.version, &infra.updated_by, Some(infra.updated_at)),
    });
    document.extend(object(more, "settings")?);
    Ok(Value::Object(over(settings.other.clone(), document)))
}

/// What a document changes of an infrastructure's settings: what it leaves out stays as `stored`. What is left of it is what the client keeps.
pub(super) fn infra_patch(
    context: &Context<'_>,
    kind: TargetType,
    stored: &Map<String, Value>,
    mut document: Document,
) -> Result<SettingsPatch> {
    let (mut platform, mut given) = (stored.clone(), false);
    for name in properties(&schema_of(context, kind)?).keys() {
        let Some(value) = document.left.remove(name) else { continue };
        given = true;
        match value {
            Value::Null => drop(platform.remove(name)),
            value => drop(platform.insert(name.clone(), value)),
        }
    }
    let platform = given.then_some(Described(platform));
    let query_log = document.object("auditing")?;
    let mut patch = Map::new();
    for name in COMMON {
        if let Some(value) = document.left.remove(name) {
            patch.insert(name.to_owned(), value);
        }
    }
    kept::no_secrets(&document.left)?;
    patch.insert("other".to_owned(), Value::Object(document.left));
    let patch: SettingsPatch = typed(Value::Object(patch), "")?;
    Ok(SettingsPatch { platform, query_log: query_log.map(Described), ..patch })
}

/// The same error with a client's names of an infrastructure's fields.
pub(super) fn infra_fields(error: Error) -> Error {
    let Error::Refused(mut refusals) = renamed(error, INFRA_FIELDS) else {
        return Error::fault("a refusal became none");
    };
    for field in refusals.iter_mut().filter_map(|refusal| refusal.field.as_mut()) {
        if let Some(rest) = field.strip_prefix("platform.") {
            *field = rest.to_owned();
        }
    }
    Error::Refused(refusals)
}

/// Our names of a deployment's settings, and a client's.
pub(super) const DEPLOYMENT_FIELDS: &[(&str, &str)] = &[
    ("infrastructureId", "infraId"),
    ("serviceId", "publishedServiceId"),
    ("versions", "generationsMapping.entries"),
    ("endpoint", "endpointId"),
    ("queryGroups", "authorizationsToQueryThroughDeployer"),
    ("queryLog", "auditing"),
];
/// How one version is mapped.
const SINGLE: &str = "SINGLE_GENERATION";
/// How several are: the client's name for it is in no public source.
const SEVERAL: &str = "MULTI_GENERATION";

/// A deployment's settings.
pub(super) fn deployment(one: &Deployment) -> Value {
    let api = one.settings.api.clone().unwrap_or_default();
    let entry = |share: &VersionShare| json!({"generation": share.version, "proba": share.probability});
    let mapping = match api.versions.as_slice() {
        [] => json!({"mode": SINGLE, "generation": one.bundle_id}),
        several => json!({"mode": SEVERAL, "entries": several.iter().map(entry).collect::<Vec<_>>()}),
    };
    let group = |group: &String| json!({"group": group, "queryThroughDeployer": true});
    let known = json!({
        "id": one.id,
        "infraId": one.infrastructure_id,
        "publishedServiceId": one.project_key,
        "deployedServiceId": one.deployed_project_key,
        "enabled": !one.settings.disabled,
        "tags": one.settings.tags,
        "generationsMapping": mapping,
        "endpointId": api.endpoint,
        "authorizationsToQueryThroughDeployer": api.query_groups.iter().map(group).collect::<Vec<_>>(),
        "authorization": api.authorization,
        "auditing": api.query_log,
        "platform": api.platform,
        "onFailure": one.settings.on_failure,
        "versionTag": version_tag(one.version, &one.updated_by, Some(one.updated_at)),
    });
    match known {
        Value::Object(known) => Value::Object(over(one.settings.other.clone(), known)),
        other => other,
    }
}

/// What a document changes of a deployment.
pub(super) fn deployment_change(
    one: &Deployment,
    mut document: Document,
    expected_version: i64,
) -> Result<deployments::Change> {
    document.fixed("id", &one.id)?;
    document.fixed("infraId", &one.infrastructure_id)?;
    document.fixed("publishedServiceId", &one.project_key)?;
    let deployed_project_key = document.text("deployedServiceId")?.filter(|id| !id.is_empty());
    let (bundle_id, versions) = match document.object("generationsMapping")? {
        Some(mapping) => mapped(mapping)?,
        None => (None, None),
    };
    let api = ApiChange {
        enabled: document.flag("enabled")?,
        versions,
        endpoint: document.named("endpointId")?,
        query_groups: query_groups(&mut document)?,
        authorization: document.object("authorization")?.map(Described),
        query_log: document.object("auditing")?.map(Described),
        platform: document.object("platform")?.map(Described),
    };
    let settings = SettingsChange {
        on_failure: match document.left.remove("onFailure") {
            None => None,
            Some(value) => Some(typed(value, "onFailure")?),
        },
        tags: document.texts("tags")?,
        api,
        ..Default::default()
    };
    kept::no_secrets(&document.left)?;
    let settings = SettingsChange { other: Some(document.left), ..settings };
    Ok(deployments::Change { expected_version, bundle_id, deployed_project_key, settings, ..Default::default() })
}

/// The groups that may query through the deployer.
pub(super) fn query_groups(document: &mut Document) -> Result<Option<Vec<String>>> {
    let field = "authorizationsToQueryThroughDeployer";
    let Some(list) = document.list(field)? else { return Ok(None) };
    let mut groups = Vec::new();
    for (at, value) in list.into_iter().enumerate() {
        let mut one = Document { left: object(value, &format!("{field}[{at}]"))? };
        let group = one.required("group").map_err(|error| kept::below(error, &format!("{field}[{at}]")))?;
        if one.flag("queryThroughDeployer").map_err(|error| kept::below(error, &format!("{field}[{at}]")))?
            == Some(true)
        {
            groups.push(group);
        }
    }
    Ok(Some(groups))
}

type Mapped = (Option<String>, Option<Vec<VersionShare>>);

/// Which version answers, or which versions with which shares. A mode that is not known is read by what comes with it.
fn mapped(mapping: Map<String, Value>) -> Result<Mapped> {
    let mut mapping = Document { left: mapping };
    let below = |error| kept::below(error, "generationsMapping");
    mapping.text("mode").map_err(below)?;
    let single = mapping.text("generation").map_err(below)?;
    let Some(entries) = mapping.list("entries").map_err(below)?.filter(|_| single.is_none()) else {
        let single = single.ok_or_else(|| wrong("generationsMapping", "a mapping with a generation or entries"))?;
        return Ok((Some(single), Some(Vec::new())));
    };
    let mut shares = Vec::with_capacity(entries.len());
    for (at, entry) in entries.into_iter().enumerate() {
        let field = |name: &str| format!("generationsMapping.entries[{at}].{name}");
        let mut entry = Document { left: object(entry, &format!("generationsMapping.entries[{at}]"))? };
        let version = match entry.any("generation") {
            Some(Value::String(version)) => version,
            _ => return Err(wrong(&field("generation"), "a text")),
        };
        let probability =
            entry.any("proba").and_then(|share| share.as_f64()).ok_or_else(|| wrong(&field("proba"), "a number"))?;
        shares.push(VersionShare { version, probability });
    }
    let first = shares.first().map(|share| share.version.clone());
    let first = first.ok_or_else(|| wrong("generationsMapping.entries", "a list of one entry at least"))?;
    Ok((Some(first), Some(shares)))
}
