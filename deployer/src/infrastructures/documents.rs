//! The parts of an infrastructure's settings that a schema describes: its target's own, and where queries are logged.

use engine::{db::Tx, secrets::Keyring};
use entities::deployment;
use sea_orm::{ColumnTrait as _, EntityTrait as _, PaginatorTrait as _, QueryFilter as _};
use serde_json::{Map, Value};
use targets::{
    TargetType,
    http::BlockList,
    target::{Half, Target},
};

use super::{
    patch::{InfrastructurePatch, SettingsPatch},
    settings::Settings,
};
use crate::{
    connections,
    error::{Error, Problems, Result},
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
            let readable = problems.count() == before;
            for (path, message) in readable.then(|| target.problems(&prepared.draft())).into_iter().flatten() {
                problems.add("SETTING_INVALID", format!("platform.{path}"), message);
            }
            Some(prepared)
        }
        None => None,
    };
    let query_log = match &patch.query_log {
        Some(document) if described.half == Half::Project => {
            if !document.0.is_empty() {
                problems.add("SETTING_INVALID", "queryLog", "Only API services log queries.");
            }
            None
        }
        Some(document) => Some(query_log(&old.query_log, document.clone(), "queryLog", blocked, problems)?),
        None => None,
    };
    Ok(Documents { platform, query_log })
}

/// Checks where queries are to be logged, on an infrastructure or a deployment. Empty is nowhere.
pub(crate) fn query_log(
    old: &Map<String, Value>,
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
    Ok(schema::take(&*schema::of(QUERY_LOG)?, old, new, field, problems))
}

impl Documents {
    /// Refuses to move what says where deployments live once something lives there: it would be left behind, unwatched.
    ///
    /// # Errors
    /// `SETTING_FIXED`.
    pub(super) async fn refuse_moved(&self, tx: &Tx, id: &str, target: &dyn Target, old: &Settings) -> Result<()> {
        let Some(platform) = &self.platform else { return Ok(()) };
        let schema = schema::of(target.describe().settings)?;
        let Some(first) = schema::moved(&schema, &old.platform, &platform.draft()).into_iter().next() else {
            return Ok(());
        };
        let updated = deployment::Entity::find()
            .filter(deployment::Column::InfrastructureId.eq(id))
            .filter(deployment::Column::LastRunNo.gt(0))
            .count(&**tx)
            .await?;
        if updated == 0 {
            return Ok(());
        }
        let message = format!(
            "What this infrastructure's deployments made lies where this setting says, and would be left behind, unwatched ({updated} were updated). Delete them first, or make another infrastructure."
        );
        Err(Error::field("SETTING_FIXED", format!("platform.{first}"), message))
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

/// Notes settings that are for the other half.
pub(super) fn refuse_other_half(
    kind: TargetType,
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
    for (field, set) in [
        ("nodeUrl", !settings.node_url.is_empty()),
        ("adminKey", key),
        ("multiNode", settings.multi_node),
        ("nodes", nodes),
        ("connectionRemapping", !settings.connection_remapping.is_empty()),
        ("codeEnvRemapping", !settings.code_env_remapping.is_empty()),
        ("containerExecRemapping", !settings.container_exec_remapping.is_empty()),
    ] {
        if set {
            let message =
                "Only infrastructures for projects have this. What this one's platform needs is set in platform.";
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
