//! The parts of an infrastructure's settings that a schema describes: its target's own, and where queries are logged.

use engine::{db::Tx, secrets::Keyring};
use entities::deployment;
use sea_orm::{ColumnTrait as _, EntityTrait as _, PaginatorTrait as _, QueryFilter as _};
use serde_json::{Map, Value};
use targets::{
    TargetType,
    http::BlockList,
    spec::SecretRef,
    target::{Half, Target},
};

use super::{
    patch::{InfrastructurePatch, SettingsPatch},
    settings::Settings,
};
use crate::{
    connections,
    error::{Error, Problems, Result},
    kept::inside,
    schema::{self, Document, Prepared},
    sealed,
    services::{QUERY_LOG, checks},
    viewer::Viewer,
};

/// What was entered, still to be sealed; None leaves what is stored.
pub(super) struct Documents {
    platform: Option<Prepared>,
    query_log: Option<Prepared>,
}

/// Checks what was entered. `new` is what the settings will be, but for these.
pub(super) fn prepare(
    target: &dyn Target,
    old: &Settings,
    patch: &SettingsPatch,
    blocked: &BlockList,
    problems: &mut Problems,
) -> Result<Documents> {
    let described = target.describe();
    let platform = match &patch.platform {
        Some(document) => {
            let schema = schema::of(described.settings)?;
            let before = problems.count();
            let prepared = schema::take(&schema, &old.platform, document.clone(), "platform", problems);
            // What the schema refuses, the target can't read.
            if problems.count() == before {
                let draft = prepared.draft();
                let unreadable = target.unreadable(&draft, prepared.entered());
                for (path, message) in target.problems(&draft).into_iter().chain(unreadable) {
                    problems.add("SETTING_INVALID", inside("platform", &path), message);
                }
            }
            Some(prepared)
        }
        None => None,
    };
    let moved = platform.as_ref().and_then(|platform| platform.moved.as_deref());
    let query_log = match &patch.query_log {
        Some(document) if described.half == Half::Project => {
            if !document.0.is_empty() {
                problems.add("SETTING_INVALID", "queryLog", "Only API services log queries.");
            }
            None
        }
        Some(document) => {
            let before = Logged { old: &old.query_log, moved };
            Some(query_log(target, &before, document.clone(), "queryLog", blocked, problems)?)
        }
        None => {
            // A container gets the log's key, too: it goes where everything goes.
            if let Some(why) = moved {
                for (name, _) in old.query_log.iter().filter(|(_, value)| SecretRef::read(value).is_some()) {
                    let message = format!("{why} Enter the secret itself.");
                    problems.add("ADMIN_KEY_MASKED", format!("queryLog.{name}"), message);
                }
            }
            None
        }
    };
    Ok(Documents { platform, query_log })
}

/// A query log that is stored.
pub(crate) struct Logged<'a> {
    pub(crate) old: &'a Map<String, Value>,
    /// Why its secret does not stay, where everything goes elsewhere.
    pub(crate) moved: Option<&'a str>,
}

/// Checks where queries are to be logged, on an infrastructure or a deployment. Empty is nowhere.
pub(crate) fn query_log(
    target: &dyn Target,
    before: &Logged<'_>,
    new: Document,
    field: &str,
    blocked: &BlockList,
    problems: &mut Problems,
) -> Result<Prepared> {
    if new.0.is_empty() {
        return Ok(Prepared::default());
    }
    let variable = new.0.get("keyVariable").and_then(Value::as_str).unwrap_or_default();
    if variable.to_ascii_uppercase().starts_with("SLIPWAY_") {
        let message = "Variables that begin with SLIPWAY_ are Slipway's own. Name another one.";
        problems.add("SETTING_INVALID", format!("{field}.keyVariable"), message);
    }
    checks::query_log(&new.0, field, blocked, problems);
    if variable.is_empty() && target.services().is_some_and(|services| services.has_gate()) {
        for key in ["key", "password"] {
            if new.0.get(key).and_then(Value::as_str).is_some_and(|text| !text.trim().is_empty()) {
                let message = "On this platform a key would be readable in the image or the endpoint's settings. Leave it out; or let the infrastructure's query log name in keyVariable an environment variable of the container that you fill yourself, as from a secret of Snowflake.";
                problems.add("SETTING_INVALID", format!("{field}.{key}"), message);
            }
        }
    }
    Ok(schema::take_along(&*schema::of(QUERY_LOG)?, before.old, new, before.moved, field, problems))
}

impl Documents {
    /// Refuses to move what says where deployments live once something lives there: it would be left behind, unwatched.
    ///
    /// # Errors
    /// `SETTING_FIXED`.
    pub(super) async fn refuse_moved(
        &self,
        tx: &Tx,
        id: &str,
        target: &dyn Target,
        old: &Settings,
        new: &Settings,
    ) -> Result<()> {
        // Whose credentials they are says in whose account it lies.
        let another = old.connection.is_some() && old.connection != new.connection;
        let field = match &self.platform {
            _ if another => "connection".to_owned(),
            None => return Ok(()),
            Some(platform) => {
                let schema = schema::of(target.describe().settings)?;
                let moved = schema::moved(&schema, &old.platform, &platform.draft());
                let Some(first) = moved.into_iter().next() else { return Ok(()) };
                inside("platform", &first)
            }
        };
        refuse_left_behind(tx, &[id], &field).await
    }

    /// Seals what was entered and puts it into the settings.
    pub(super) async fn put(self, tx: &Tx, keyring: &Keyring, id: &str, settings: &mut Settings) -> Result<()> {
        let owner = sealed::platform_owner_of(id);
        if let Some(prepared) = self.platform {
            settings.platform = prepared.seal(tx, keyring, &owner).await?;
        }
        if let Some(prepared) = self.query_log {
            settings.query_log = prepared.seal(tx, keyring, &owner).await?;
        }
        Ok(())
    }
}

/// Refuses a change of where deployments of these infrastructures live, once one of them was updated.
///
/// # Errors
/// `SETTING_FIXED`.
pub(crate) async fn refuse_left_behind(tx: &Tx, infrastructures: &[&str], field: &str) -> Result<()> {
    let updated = deployment::Entity::find()
        .filter(deployment::Column::InfrastructureId.is_in(infrastructures.iter().copied()))
        .filter(deployment::Column::LastRunNo.gt(0))
        .count(&**tx)
        .await?;
    if updated == 0 {
        return Ok(());
    }
    let message = format!(
        "What deployments made lies where this setting says, and would be left behind, unwatched ({updated} were updated). Delete them first, or make another infrastructure."
    );
    Err(Error::field("SETTING_FIXED", field, message))
}

/// Notes settings that are for the other half; `old` are those of before, or the defaults.
pub(super) fn refuse_other_half(
    kind: TargetType,
    old: &Settings,
    settings: &Settings,
    patch: &InfrastructurePatch,
    problems: &mut Problems,
) {
    if kind.half() == Half::Project {
        if settings.connection.is_some() {
            problems.add("SETTING_INVALID", "connection", "An Automation node is reached with its own key.");
        }
        return;
    }
    let key = matches!(&patch.admin_key, Some(Some(_)));
    let nodes = patch.nodes.as_ref().is_some_and(|nodes| !nodes.is_empty());
    // What is stored as it is now keeps nobody from saving something else.
    for (field, set) in [
        ("trustAllCertificates", settings.trust_all_certificates != old.trust_all_certificates),
        ("auditing", settings.auditing != old.auditing),
        ("logging", settings.logging != old.logging),
        ("permissionsPropagation", settings.permissions_propagation != old.permissions_propagation),
        ("projectStandardsPolicy", settings.project_standards_policy != old.project_standards_policy),
        ("runAsScenarios", settings.run_as_scenarios != old.run_as_scenarios),
        ("runAsWebapps", settings.run_as_webapps != old.run_as_webapps),
        ("webappRunAsField", settings.webapp_run_as_field != old.webapp_run_as_field),
        ("nodeUrl", !settings.node_url.is_empty()),
        ("adminKey", key),
        ("multiNode", settings.multi_node),
        ("nodes", nodes),
        ("connectionRemapping", !settings.connection_remapping.is_empty()),
        ("codeEnvRemapping", !settings.code_env_remapping.is_empty()),
        ("containerExecRemapping", !settings.container_exec_remapping.is_empty()),
    ] {
        if set {
            let message = "Only infrastructures for projects have this. What this one's platform needs is set in platform, where queries are logged in queryLog.";
            problems.add("SETTING_INVALID", field, message);
        }
    }
}

/// A connection that is chosen must be one that the viewer may use, of the type that the target needs; one that was chosen before stays without that.
pub(super) async fn hold_connection(
    tx: &Tx,
    viewer: &Viewer,
    target: &dyn Target,
    old: Option<&Settings>,
    new: &Settings,
) -> Result<()> {
    let Some(id) = new.connection.as_ref().filter(|id| old.and_then(|old| old.connection.as_ref()) != Some(*id)) else {
        return Ok(());
    };
    match target.describe().connection {
        Some(kind) => connections::hold(tx, viewer, id, kind).await,
        None => Err(Error::field("SETTING_INVALID", "connection", "This platform is reached without a connection.")),
    }
}
