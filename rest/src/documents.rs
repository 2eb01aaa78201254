//! What settings look like to clients, and back. What a client keeps in them that means nothing to us is kept as it is.

use deployer::{
    deployments::{self, Deployment},
    error::{Error, Result},
    infrastructures::{self, Infrastructure, NodePatch, Permission, SettingsPatch},
    kept,
    rights::Level,
    viewer::Viewer,
};
use engine::secrets::Secret;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use targets::spec::CodeEnvsBehavior;

use crate::{
    call::Call,
    read::{Document, object, over, wrong},
};

/// What stands for a stored key.
pub(crate) const MASK: &str = "**********";

/// Our names of settings, and a client's.
pub(crate) const INFRA_FIELDS: &[(&str, &str)] = &[
    ("nodeUrl", "automationNodeUrl"),
    ("externalUrl", "automationNodeExternalUrl"),
    ("adminKey", "adminApiKey"),
    ("trustAllCertificates", "trustAllSSLCertificates"),
    ("connectionRemapping", "bundleContainerSettings.remapping.connections"),
    ("codeEnvRemapping", "bundleContainerSettings.remapping.codeEnvs"),
    ("containerExecRemapping", "bundleContainerSettings.remapping.containerExecs"),
];
/// The same of a deployment.
pub(crate) const DEPLOYMENT_FIELDS: &[(&str, &str)] = &[
    ("infrastructureId", "infraId"),
    ("projectKey", "publishedProjectKey"),
    ("projectFolder", "projectFolderId"),
    ("scenarios", "scenariosToActivate"),
    ("connectionRemapping", "bundleContainerSettings.remapping.connections"),
    ("codeEnvRemapping", "bundleContainerSettings.remapping.codeEnvs"),
    ("containerExecRemapping", "bundleContainerSettings.remapping.containerExecs"),
];

/// A document's version, as clients see it and give it back.
pub(crate) fn version_tag(version: i64, by: &str, at: Option<i64>) -> Value {
    json!({"versionNumber": version, "lastModifiedBy": {"login": by}, "lastModifiedOn": at.map(millis)})
}

/// What is known of a document's versions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Versions<'a> {
    /// The newest.
    pub(crate) newest: i64,
    /// Who made it.
    pub(crate) by: &'a str,
    /// The newest one that somebody else made than the one after it.
    pub(crate) other: i64,
}

/// The version that a save is about. A document of an earlier version is refused if somebody else changed it since; one's own saves may follow
/// one another from one copy, as scripts do. One of a version that is not yet is of another thing, and refused. A document
/// without a version is about the newest one.
pub(crate) fn expected_version(
    call: &Call,
    document: &mut Document,
    viewer: &Viewer,
    now: Versions<'_>,
) -> Result<i64> {
    if let Some(given) = call.text("expectedVersion") {
        return given.parse().map_err(|_| wrong("expectedVersion", "a number"));
    }
    let seen = match document.object("versionTag")?.and_then(|tag| tag.get("versionNumber").cloned()) {
        None | Some(Value::Null) => None,
        Some(number) => Some(number.as_i64().ok_or_else(|| wrong("versionTag.versionNumber", "a number"))?),
    };
    let own = |seen: i64| now.by == viewer.login && seen >= now.other;
    match seen {
        Some(seen) if seen > now.newest || (seen < now.newest && !own(seen)) => Ok(seen),
        _ => Ok(now.newest),
    }
}

/// Milliseconds of our microseconds.
pub(crate) fn millis(micros: i64) -> i64 {
    micros.div_euclid(1_000)
}

/// Reads a part of a document into what it must be.
pub(crate) fn typed<T: DeserializeOwned>(value: Value, field: &str) -> Result<T> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let field = match (field.is_empty(), path.as_str()) {
            (false, ".") => field.to_owned(),
            (false, path) if path.starts_with('[') => format!("{field}{path}"),
            (false, path) => format!("{field}.{path}"),
            (true, path) => path.to_owned(),
        };
        Error::field("FIELD_INVALID", field, format!("This cannot be read: {}.", error.inner()))
    })
}

/// An infrastructure's settings, for its administrators.
pub(crate) fn infra(infra: &Infrastructure, permissions: &[Permission]) -> Result<Value> {
    let settings = infra.settings.as_ref().ok_or_else(|| Error::forbidden("the right Admin on the infrastructure"))?;
    let mut known = object(serde_json::to_value(settings)?, "settings")?;
    let mut moved = |name: &str| known.remove(name).unwrap_or_default();
    let kept = object(moved("other"), "settings")?;
    let text = |value: Value| if value.is_null() { json!("") } else { value };
    let mut document = Map::new();
    document.insert("id".to_owned(), infra.id.as_str().into());
    document.insert("stage".to_owned(), infra.stage.as_str().into());
    document.insert("automationNodeUrl".to_owned(), text(moved("nodeUrl")));
    document.insert("automationNodeExternalUrl".to_owned(), text(moved("externalUrl")));
    document.insert("trustAllSSLCertificates".to_owned(), moved("trustAllCertificates"));
    let stored = infra.has_admin_key == Some(true);
    document.insert("adminApiKey".to_owned(), if stored { MASK } else { "" }.into());
    let stored = infra.has_governance_key == Some(true);
    document.insert("governanceKey".to_owned(), if stored { MASK } else { "" }.into());
    document.insert("autoconfigureFromNodesDirectory".to_owned(), infra.managed.into());
    let managed = moved("managed");
    if let Some(id) = managed.get("nodeId") {
        document.insert("nodeId".to_owned(), id.clone());
    }
    let nodes: Vec<Map<String, Value>> = typed(moved("nodes"), NODES)?;
    let nodes =
        nodes.into_iter().zip(&infra.nodes).map(|(node, seen)| shown_node(node, seen.has_admin_key == Some(true)));
    document.insert(NODES.to_owned(), nodes.collect());
    let list = |value: Value| if value.is_null() { json!([]) } else { value };
    document.insert(
        "bundleContainerSettings".to_owned(),
        json!({"remapping": {
            "connections": list(moved("connectionRemapping")),
            "codeEnvs": list(moved("codeEnvRemapping")),
            "containerExecs": list(moved("containerExecRemapping")),
        }}),
    );
    document.insert("permissions".to_owned(), permissions.iter().map(permission).collect());
    document.insert("versionTag".to_owned(), version_tag(infra.version, &infra.updated_by, Some(infra.updated_at)));
    document.extend(known);
    let mut document = over(kept, document);
    document.entry("nodeId").or_insert(Value::Null);
    Ok(Value::Object(document))
}

/// A client's name for the list of several nodes.
const NODES: &str = "automationNodes";
/// Our names of one node's fields, and a client's: those of an infrastructure of one node.
const NODE_FIELDS: [(&str, &str); 7] = [
    ("name", "id"),
    ("url", "automationNodeUrl"),
    ("externalUrl", "automationNodeExternalUrl"),
    ("trustAllCertificates", "trustAllSSLCertificates"),
    ("adminKey", "adminApiKey"),
    ("auditing", "auditing"),
    ("logging", "logging"),
];

/// One of several nodes, for a client.
fn shown_node(mut node: Map<String, Value>, has_key: bool) -> Value {
    let mut shown = Map::new();
    for (ours, theirs) in NODE_FIELDS {
        let value = match (ours, node.remove(ours).unwrap_or_default()) {
            ("adminKey", _) => json!(if has_key { MASK } else { "" }),
            ("externalUrl", Value::Null) => json!(""),
            (_, value) => value,
        };
        shown.insert(theirs.to_owned(), value);
    }
    let managed = node.get("managed").is_some_and(|managed| !managed.is_null());
    shown.insert("autoconfigureFromNodesDirectory".to_owned(), managed.into());
    Value::Object(shown)
}

/// The list of several nodes, as a client writes it.
pub(crate) fn nodes(infra: &Infrastructure, document: &mut Document) -> Result<Option<Vec<NodePatch>>> {
    let Some(list) = document.list(NODES)? else { return Ok(None) };
    let numbered = list.into_iter().enumerate();
    numbered.map(|(at, value)| node(infra, value, &format!("{NODES}[{at}]"))).collect::<Result<_>>().map(Some)
}

fn node(infra: &Infrastructure, value: Value, field: &str) -> Result<NodePatch> {
    let mut one = Document { left: object(value, field)? };
    let read = (|| {
        let name = one.required("id")?;
        let managed = infra.nodes.iter().any(|node| node.name == name && node.managed);
        says_of_itself(&mut one, managed)?;
        let key = one.named("adminApiKey")?;
        let keeps_key = matches!(&key, Some(Some(key)) if key == MASK);
        let patch = NodePatch {
            name,
            url: one.text("automationNodeUrl")?.unwrap_or_default(),
            external_url: one.named("automationNodeExternalUrl")?,
            trust_all_certificates: one.flag("trustAllSSLCertificates")?,
            auditing: one.object("auditing")?,
            logging: one.object("logging")?,
            // An empty text is what a node shows that has no key.
            admin_key: key.filter(|_| !keeps_key).map(|key| key.map(Secret::new)),
            keeps_key,
        };
        match one.left.keys().next() {
            Some(unknown) => {
                Err(Error::field("FIELD_INVALID", unknown.escape_debug().to_string(), "A node has no such field."))
            }
            None => Ok(patch),
        }
    })();
    read.map_err(|error| kept::below(error, field))
}

/// The same error with a client's names of a node's fields.
pub(crate) fn node_fields(error: Error) -> Error {
    let Error::Refused(mut refusals) = error else { return error };
    for field in refusals.iter_mut().filter_map(|refusal| refusal.field.as_mut()) {
        let Some(rest) = field.strip_prefix("nodes") else { continue };
        let (at, part) = rest.split_once('.').unwrap_or((rest, ""));
        let theirs = NODE_FIELDS.iter().find(|(ours, _)| *ours == part).map_or(part, |(_, theirs)| theirs);
        *field = if theirs.is_empty() { format!("{NODES}{at}") } else { format!("{NODES}{at}.{theirs}") };
    }
    Error::Refused(refusals)
}

/// The fields of a remapping.
const REMAPPING: [&str; 2] = ["source", "target"];

/// Items of lists have no place of their own: what is unknown in them could not be kept with them.
pub(crate) fn nothing_else(left: &Map<String, Value>, item: &str) -> Result<()> {
    let Some(unknown) = left.keys().next() else { return Ok(()) };
    let field = format!("{item}.{}", unknown.escape_debug());
    Err(Error::field(
        "FIELD_INVALID",
        field,
        "Slipway knows no such field here, and keeps none in lists. Leave it out.",
    ))
}

/// The list, if its items have these fields alone.
fn known_items(list: Value, field: &str, known: &[&str]) -> Result<Value> {
    for (at, item) in list.as_array().into_iter().flatten().enumerate() {
        let mut left = item.as_object().cloned().unwrap_or_default();
        left.retain(|name, _| !known.contains(&name.as_str()));
        nothing_else(&left, &format!("{field}[{at}]"))?;
    }
    Ok(list)
}

fn permission(one: &Permission) -> Value {
    json!({
        "group": one.group,
        "read": one.level >= Level::View,
        "deploy": one.level >= Level::Deploy,
        "admin": one.level >= Level::Admin,
    })
}

/// Rights on an infrastructure, as a client writes them. A group without any right has none.
pub(crate) fn permissions(list: Vec<Value>) -> Result<Vec<Permission>> {
    let mut all = Vec::with_capacity(list.len());
    for (at, value) in list.into_iter().enumerate() {
        let field = |name: &str| format!("permissions[{at}].{name}");
        let mut one = Document { left: object(value, &format!("permissions[{at}]"))? };
        let group =
            one.text("group")?.ok_or_else(|| Error::field("FIELD_INVALID", field("group"), "This is missing."))?;
        let mut flag = |name: &str| match one.any(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(_) => Err(wrong(&field(name), "true or false")),
        };
        let (read, deploy, admin) = (flag("read")?, flag("deploy")?, flag("admin")?);
        nothing_else(&one.left, &format!("permissions[{at}]"))?;
        let level = match (admin, deploy, read) {
            (true, ..) => Level::Admin,
            (_, true, _) => Level::Deploy,
            (.., true) => Level::View,
            _ => continue,
        };
        all.push(Permission { group, level });
    }
    Ok(all)
}

/// Takes out what a node says of itself when it enrolls, and nobody else.
fn says_of_itself(document: &mut Document, managed: bool) -> Result<()> {
    match document.flag("autoconfigureFromNodesDirectory")? {
        Some(true) if !managed => {
            let message =
                "A node says this of itself when it enrolls. Enter the node's URL and key, or have it enroll.";
            Err(Error::field("FIELD_INVALID", "autoconfigureFromNodesDirectory", message))
        }
        Some(false) if managed => {
            let message = "A fleet manages this node. Release it first to change it by hand.";
            Err(Error::field("NODE_MANAGED", "autoconfigureFromNodesDirectory", message))
        }
        _ => Ok(()),
    }
}

/// What a document changes of an infrastructure's settings. What is left of it is what the client keeps.
pub(crate) fn infra_patch(infra: &Infrastructure, mut document: Document) -> Result<SettingsPatch> {
    let mut patch = Map::new();
    for (ours, theirs) in INFRA_FIELDS.iter().filter(|(ours, _)| *ours != "adminKey") {
        let value = match theirs.strip_prefix("bundleContainerSettings.") {
            None => document.left.remove(*theirs),
            Some(path) => {
                let value = inner(&mut document, path)?.filter(|value| !value.is_null());
                value.map(|value| known_items(value, theirs, &REMAPPING)).transpose()?
            }
        };
        // A text that may be empty is emptied by null, too.
        if let Some(value) = value {
            patch.insert((*ours).to_owned(), value);
        }
    }
    says_of_itself(&mut document, infra.managed)?;
    if infra.managed {
        document.left.remove("nodeId");
    }
    let Value::Object(names) = serde_json::to_value(infrastructures::Settings::default())? else {
        return Err(Error::fault("settings are no object"));
    };
    for name in names.keys().filter(|name| {
        !["other", "nodes", "managed"].contains(&name.as_str()) && !INFRA_FIELDS.iter().any(|(ours, _)| ours == name)
    }) {
        if let Some(value) = document.left.remove(name) {
            patch.insert(name.clone(), value);
        }
    }
    if patch.get("nodeUrl").is_some_and(Value::is_null) {
        patch.insert("nodeUrl".to_owned(), json!(""));
    }
    kept::no_secrets(&document.left)?;
    patch.insert("other".to_owned(), Value::Object(document.left));
    typed(Value::Object(patch), "").map_err(|error| crate::read::renamed(error, INFRA_FIELDS))
}

/// Takes a value out of the object `bundleContainerSettings`, and empty objects with it.
fn inner(document: &mut Document, path: &str) -> Result<Option<Value>> {
    let Some(value) = document.left.get_mut("bundleContainerSettings") else { return Ok(None) };
    let mut at = value;
    let mut name = "bundleContainerSettings".to_owned();
    let mut parts = path.split('.').peekable();
    while let Some(part) = parts.next() {
        let Value::Object(object) = at else {
            return if at.is_null() { Ok(None) } else { Err(wrong(&name, "an object")) };
        };
        if parts.peek().is_none() {
            return Ok(object.remove(part));
        }
        let Some(next) = object.get_mut(part) else { return Ok(None) };
        at = next;
        name = format!("{name}.{part}");
    }
    Ok(None)
}

/// A deployment's settings.
pub(crate) fn deployment(one: &Deployment) -> Value {
    let settings = &one.settings;
    let known = json!({
        "id": one.id,
        "infraId": one.infrastructure_id,
        "publishedProjectKey": one.project_key,
        "bundleId": one.bundle_id,
        "deployedProjectKey": one.deployed_project_key,
        "projectFolderId": settings.project_folder,
        "tags": settings.tags,
        "bundleContainerSettings": {
            "remapping": {
                "connections": settings.connection_remapping,
                "codeEnvs": settings.code_env_remapping.as_deref().unwrap_or_default(),
                "containerExecs": settings.container_exec_remapping.as_deref().unwrap_or_default(),
            },
            "codeEnvsBehavior": settings.code_envs_behavior.unwrap_or_default(),
            "mergeInfrastructureRemapping": settings.merge_infrastructure_remapping,
        },
        "localVariables": settings.local_variables.clone().unwrap_or_default(),
        "scenariosToActivate": settings.scenarios,
        "disableAutomaticTriggers": settings.disable_automatic_triggers,
        "onFailure": settings.on_failure,
        "versionTag": version_tag(one.version, &one.updated_by, Some(one.updated_at)),
    });
    match known {
        Value::Object(known) => Value::Object(over(settings.other.clone(), known)),
        other => other,
    }
}

/// An empty list is what a deployment shows that leaves the node's list alone.
fn unless_shown<T>(given: Option<Vec<T>>, now: &Option<Vec<T>>) -> Option<Vec<T>> {
    given.filter(|given| now.is_some() || !given.is_empty())
}

/// What a document changes of a deployment, and the version that it is about.
pub(crate) fn deployment_change(
    one: &Deployment,
    mut document: Document,
    expected_version: i64,
) -> Result<deployments::Change> {
    document.fixed("id", &one.id)?;
    document.fixed("infraId", &one.infrastructure_id)?;
    document.fixed("publishedProjectKey", &one.project_key)?;
    let bundle_id = document.text("bundleId")?;
    let deployed_project_key = document.text("deployedProjectKey")?.filter(|key| !key.is_empty());
    let remapping = |document: &mut Document, part: &str| -> Result<Option<_>> {
        let value = inner(document, &format!("remapping.{part}"))?.filter(|value| !value.is_null());
        let field = format!("bundleContainerSettings.remapping.{part}");
        value.map(|value| typed(known_items(value, &field, &REMAPPING)?, &field)).transpose()
    };
    let behavior = behavior(&mut document)?;
    let merge = inner(&mut document, "mergeInfrastructureRemapping")?.filter(|value| !value.is_null());
    let variables = document.object("localVariables")?;
    // An empty object is what a deployment shows that leaves the node's variables alone.
    let unset = one.settings.local_variables.is_none();
    let settings = deployments::SettingsChange {
        connection_remapping: remapping(&mut document, "connections")?,
        code_env_remapping: unless_shown(remapping(&mut document, "codeEnvs")?, &one.settings.code_env_remapping),
        container_exec_remapping: unless_shown(
            remapping(&mut document, "containerExecs")?,
            &one.settings.container_exec_remapping,
        ),
        merge_infrastructure_remapping: merge
            .map(|value| typed(value, "bundleContainerSettings.mergeInfrastructureRemapping"))
            .transpose()?,
        // What a deployment shows that leaves the node's own way alone.
        code_envs_behavior: behavior
            .filter(|given| one.settings.code_envs_behavior.is_some() || *given != CodeEnvsBehavior::default())
            .map(Some),
        local_variables: variables.filter(|given| !(given.is_empty() && unset)).map(Some),
        scenarios: document.object("scenariosToActivate")?.map(switches).transpose()?,
        project_folder: document.named("projectFolderId")?,
        on_failure: match document.left.remove("onFailure") {
            None => None,
            Some(value) => Some(typed(value, "onFailure")?),
        },
        disable_automatic_triggers: document.flag("disableAutomaticTriggers")?,
        tags: document.texts("tags")?,
        other: Some(document.left),
        ..Default::default()
    };
    if let Some(kept) = &settings.other {
        kept::no_secrets(kept)?;
    }
    Ok(deployments::Change { expected_version, bundle_id, deployed_project_key, settings, ..Default::default() })
}

/// How code envs are imported, as far as a document says so. What else it has there is what the client keeps.
fn behavior(document: &mut Document) -> Result<Option<CodeEnvsBehavior>> {
    let mut given = Map::new();
    for part in ["importTimeMode", "envImportSpecificationMode"] {
        let value = inner(document, &format!("codeEnvsBehavior.{part}"))?.filter(|value| !value.is_null());
        given.extend(value.map(|value| (part.to_owned(), value)));
    }
    let field = "bundleContainerSettings.codeEnvsBehavior";
    Some(given).filter(|given| !given.is_empty()).map(|given| typed(Value::Object(given), field)).transpose()
}

fn switches(given: Map<String, Value>) -> Result<std::collections::BTreeMap<String, bool>> {
    let named = given.into_iter().filter(|(_, on)| !on.is_null());
    named
        .map(|(id, on)| match on {
            Value::Bool(on) => Ok((id, on)),
            _ => Err(wrong(&format!("scenariosToActivate.{}", id.escape_debug()), "true or false")),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use bytes::Bytes;
    use deployer::viewer::Origin;

    use super::*;
    use crate::call::Method;

    #[test]
    fn a_save_is_about_a_version_that_is_there() {
        let call = Call { method: Method::Put, path: Vec::new(), query: Vec::new(), body: Bytes::new() };
        let viewer = Viewer {
            login: "ann".to_owned(),
            display_name: "Ann".to_owned(),
            groups: BTreeSet::new(),
            key_id: None,
            origin: Origin::default(),
        };
        let about = |seen: i64, by: &str, other: i64| {
            let mut document = Document::of(json!({"versionTag": {"versionNumber": seen}})).unwrap();
            expected_version(&call, &mut document, &viewer, Versions { newest: 5, by, other }).unwrap()
        };
        assert_eq!((about(5, "bob", 4), about(4, "bob", 4), about(4, "ann", 0)), (5, 4, 5));
        // Neither is 5: both are refused.
        assert_eq!((about(6, "bob", 4), about(6, "ann", 0)), (6, 6));
        // Somebody else made version 3, which a copy of it has, and one of version 2 lacks.
        assert_eq!((about(3, "ann", 3), about(2, "ann", 3)), (5, 2));
    }
}
