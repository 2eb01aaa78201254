//! What an update is asked for, and the spec that comes of it. The caller holds the deployment's lock; what a purpose changes of the deployment itself is
//! part of the same transaction.

use engine::{
    db::{Tx, sql_with},
    ids::RunId,
    journal::Status,
    runs::{self},
    spec::{Inherited, RunSpec},
};
use entities::{deployment, removal, run};
use sea_orm::{
    ActiveModelTrait as _, ActiveValue::Set, ColumnTrait as _, ConnectionTrait as _, EntityTrait as _,
    QueryFilter as _, QueryOrder as _, QuerySelect as _,
};
use serde_json::{Value, json};
use targets::automation::notes;

use super::{kind::UpdateType, restore};
use crate::{
    deployments::{OnNode, Settings, write, write::counted},
    error::{Error, Result},
    freeze, live,
    viewer::Viewer,
};

/// What somebody asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose<'a> {
    /// Of this bundle, if one is named: the deployment is set to it.
    Update(Option<&'a str>),
    /// To an update, or to what was live before.
    Restore(Option<RunId>),
    Enable,
    Disable,
    Delete(OnNode),
}

impl<'a> Purpose<'a> {
    /// The request's own arguments, by which an idempotency key knows it again.
    pub(super) fn arguments(self) -> Value {
        let operation = self.operation();
        match self {
            Self::Update(None) | Self::Enable | Self::Disable => json!({ "operation": operation }),
            Self::Update(Some(bundle)) => json!({ "operation": operation, "bundle": bundle }),
            Self::Restore(to) => json!({ "operation": operation, "update": to.map(|run| run.to_string()) }),
            Self::Delete(on_node) => json!({ "operation": operation, "onNode": on_node.as_str() }),
        }
    }

    /// The mutation's name.
    pub(super) fn operation(self) -> &'static str {
        match self {
            Self::Update(_) => "startUpdate",
            Self::Restore(_) => "restoreDeployment",
            Self::Enable => "enableDeployment",
            Self::Disable => "disableDeployment",
            Self::Delete(_) => "deleteDeployment",
        }
    }

    /// The bundle that the deployment is to be set to.
    pub(super) fn bundle(self) -> Option<&'a str> {
        if let Self::Update(bundle) = self { bundle } else { None }
    }

    /// The argument that names the deployment.
    pub(super) fn field(self) -> &'static str {
        if matches!(self, Self::Delete(_)) { "id" } else { "deploymentId" }
    }

    /// Refuses what does not fit where the deployment stands.
    pub(super) async fn check(self, tx: &Tx, row: &deployment::Model) -> Result<()> {
        refuse_deleted(tx, &row.id, self.field()).await?;
        let settings = Settings::read(&row.settings)?;
        let disabled = settings.disabled;
        match self {
            // An API service that is set to be off is switched off by its updates; whoever names a version wants it to answer.
            Self::Update(None) if disabled && settings.api.is_some() => Ok(()),
            Self::Update(_) | Self::Restore(_) if disabled && settings.api.is_some() => {
                let message = "This deployment is disabled: its updates switch the service off. Enable it (its setting enabled, or enableDeployment), and name the version then.";
                Err(Error::field("DEPLOYMENT_DISABLED", "deploymentId", message))
            }
            Self::Update(_) | Self::Restore(_) if disabled => Err(disabled_refusal()),
            Self::Enable if !disabled => {
                let message = "This deployment is not disabled. If the update that enabled it did not succeed, retry that one, or start a new one.";
                Err(Error::field("DEPLOYMENT_NOT_DISABLED", "deploymentId", message))
            }
            Self::Restore(_) => refuse_unfinished(tx, &row.id, self.field()).await,
            Self::Delete(on_node) => {
                refuse_unfinished(tx, &row.id, self.field()).await?;
                // A project of that key that another one put there is none of ours.
                if on_node != OnNode::Leave && !live::ever_changed(&**tx, &row.id).await? {
                    let message = "No update of this deployment has changed its node: nothing there is its work. Delete it with onNode LEAVE.";
                    return Err(Error::field("NOT_DEPLOYED", self.field(), message));
                }
                Ok(())
            }
            Self::Update(_) | Self::Enable | Self::Disable => Ok(()),
        }
    }

    /// The spec, and what changes of the deployment.
    pub(super) async fn spec(self, tx: &Tx, row: deployment::Model, viewer: &Viewer) -> Result<RunSpec> {
        let login = viewer.login.as_str();
        match self {
            Self::Update(bundle) => {
                let row = set_bundle(tx, row, bundle, login).await?;
                if Settings::read(&row.settings)?.disabled {
                    return switching_off(tx, &row, login).await;
                }
                freeze::freeze(tx, &row, login).await
            }
            Self::Restore(to) => restore::spec(tx, row, to, login).await,
            Self::Enable => {
                let row = set_disabled(tx, row, false, login).await?;
                let mut spec = freeze::freeze(tx, &row, login).await?;
                spec.inherited = as_it_was(tx, &row.id).await?;
                UpdateType::Enable.mark(&mut spec);
                Ok(spec)
            }
            Self::Disable => {
                let row = set_disabled(tx, row, true, login).await?;
                switching_off(tx, &row, login).await
            }
            Self::Delete(on_node) => {
                let step = match on_node {
                    OnNode::DeleteProject => freeze::DELETE_PROJECT,
                    OnNode::SwitchOff | OnNode::Leave => freeze::SWITCH_OFF,
                };
                let mut spec = freeze::freeze_acting(tx, &row, login, Some(step)).await?;
                UpdateType::Delete.mark(&mut spec);
                Ok(spec)
            }
        }
    }
}

/// Of an update that switches off what a deployment's updates made.
async fn switching_off(tx: &Tx, row: &deployment::Model, login: &str) -> Result<RunSpec> {
    // What another one put there under that key is none of ours.
    let ours = live::ever_changed(&**tx, &row.id).await?;
    let mut spec = freeze::freeze_acting(tx, row, login, ours.then_some(freeze::SWITCH_OFF)).await?;
    UpdateType::Disable.mark(&mut spec);
    Ok(spec)
}

/// The deployment goes when this update succeeds.
pub(super) async fn goes_with(tx: &Tx, deployment: &str, run: RunId) -> Result<()> {
    let sql = "INSERT INTO removal (deployment_id, run_id) VALUES ($1, $2) \
               ON CONFLICT (deployment_id) DO UPDATE SET run_id = excluded.run_id";
    tx.execute_raw(sql_with(&**tx, sql, [deployment.into(), run.0.into()])).await?;
    Ok(())
}

/// Nothing is asked of a deployment that goes; one whose deletion failed stays, as if nothing had been.
async fn refuse_deleted(tx: &Tx, deployment: &str, field: &str) -> Result<()> {
    let Some(row) = removal::Entity::find_by_id(deployment).one(&**tx).await? else { return Ok(()) };
    let run = run::Entity::find_by_id(row.run_id).one(&**tx).await?;
    let failed =
        run.is_none_or(|run| [Status::Failed, Status::Cancelled].map(Status::as_str).contains(&run.status.as_str()));
    if failed {
        removal::Entity::delete_by_id(deployment).exec(&**tx).await?;
        return Ok(());
    }
    let message = "This deployment is being deleted. If its update fails, it stays and can be used again.";
    Err(Error::field("DEPLOYMENT_DELETED", field, message))
}

pub(super) fn disabled_refusal() -> Error {
    let message = "This deployment is disabled. Enable it: that deploys it, with its scenarios as they were.";
    Error::field("DEPLOYMENT_DISABLED", "deploymentId", message)
}

async fn refuse_unfinished(tx: &Tx, deployment: &str, field: &str) -> Result<()> {
    let unfinished = run::Entity::find()
        .filter(run::Column::DeploymentId.eq(deployment))
        .filter(run::Column::EndedAt.is_null())
        .limit(1)
        .one(&**tx)
        .await?;
    if unfinished.is_none() {
        return Ok(());
    }
    let message =
        "An update of this deployment has not ended. Wait for it, or cancel it (or abandon it, if it is stuck).";
    Err(Error::field("UPDATE_RUNNING", field, message))
}

/// Sets the deployment's bundle, where another one is named.
async fn set_bundle(tx: &Tx, row: deployment::Model, bundle: Option<&str>, login: &str) -> Result<deployment::Model> {
    let Some(bundle) = bundle else { return Ok(row) };
    let mut settings = Settings::read(&row.settings)?;
    // Whoever names one version wants all queries answered by it.
    let shared = settings.api.as_mut().map(|api| std::mem::take(&mut api.versions)).unwrap_or_default();
    if bundle == row.bundle_id && shared.is_empty() {
        return Ok(row);
    }
    write::require_bundle(tx, &row.project_key, bundle).await?;
    let mut row = counted(row, login, tx.now().await?);
    row.bundle_id = Set(bundle.to_owned());
    if !shared.is_empty() {
        row.settings = Set(serde_json::to_string(&settings)?);
    }
    Ok(row.update(&**tx).await?)
}

/// Changes the switch of the deployment itself.
async fn set_disabled(tx: &Tx, row: deployment::Model, disabled: bool, login: &str) -> Result<deployment::Model> {
    let settings = Settings::read(&row.settings)?;
    if settings.disabled == disabled {
        return Ok(row);
    }
    let mut row = counted(row, login, tx.now().await?);
    row.settings = Set(serde_json::to_string(&Settings { disabled, ..settings })?);
    Ok(row.update(&**tx).await?)
}

/// So many updates back are looked through.
const DEPTH: u64 = 200;

/// The switches as the first update noted them that did not leave the deployment live: what an enabled deployment's scenarios go back to.
async fn as_it_was(tx: &Tx, deployment: &str) -> Result<Option<Inherited>> {
    let rows = run::Entity::find()
        .filter(run::Column::DeploymentId.eq(deployment))
        .order_by_desc(run::Column::RunNo)
        .limit(DEPTH)
        .all(&**tx)
        .await?;
    let mut found: Option<Inherited> = None;
    for row in rows {
        let Some(loaded) = runs::load(&**tx, RunId(row.id)).await? else { continue };
        let state = loaded.state;
        let deployed = matches!(state.status(), Status::Succeeded | Status::Warning);
        if deployed && UpdateType::of(&state.spec).deploys() {
            break;
        }
        // Of each node; those of an earlier update replace those of a later one.
        let mut states = state.notes.into_iter().filter(|(name, _)| notes::is(name, notes::STATES)).peekable();
        if states.peek().is_some() {
            let from = RunId(row.id);
            let kept =
                found.get_or_insert_with(|| Inherited { from, steps: Default::default(), notes: Default::default() });
            kept.from = from;
            kept.notes.extend(states);
        }
    }
    Ok(found)
}
