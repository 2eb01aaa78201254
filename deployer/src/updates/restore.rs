//! Restoring: to put back what was live before, by an update of its own. Its spec is that of the earlier update; where the node is, its key, run-as users
//! and hooks are as they are set now. The deployment is set as that update had it, so that the next ordinary update does not undo the restore.

use engine::{db::Tx, ids::RunId, spec::RunSpec};
use entities::deployment;
use sea_orm::{ActiveModelTrait as _, ActiveValue::Set};
use serde_json::Value;
use targets::spec::DeploySpec;

use super::kind::UpdateType;
use crate::{
    bundles::{self, BundleKey, Hold},
    deployments::{Settings, write::counted},
    error::{Error, Result},
    freeze,
    live::{self, Success},
    status::changes::changes,
};

/// So many successes back are looked through.
const DEPTH: u64 = 50;

/// The spec of the update that restores; the deployment is set to match.
pub(super) async fn spec(tx: &Tx, row: deployment::Model, to: Option<RunId>, login: &str) -> Result<RunSpec> {
    let before = choose(tx, &row.id, to).await?;
    let package = BundleKey {
        project_key: before.body.package.project_key.clone(),
        bundle_id: before.body.package.bundle_id.clone(),
    };
    let found = bundles::lock(tx, &package, Hold::Keep).await?;
    if found.is_none_or(|found| found.sha256 != before.body.package.sha256) {
        let message = format!(
            "Bundle {} of update {} was deleted. Upload it again, or choose another update.",
            package.bundle_id, before.number
        );
        return Err(Error::field("BUNDLE_UNKNOWN", "updateId", message));
    }
    let row = agree(tx, row, &before.body, login).await?;
    let mut spec = freeze::freeze(tx, &row, login).await?;
    let now: DeploySpec = serde_json::from_value(spec.body)?;
    let body = DeploySpec {
        infrastructure: now.infrastructure,
        acting_user: now.acting_user,
        deployed_project_key: now.deployed_project_key,
        deployment: now.deployment,
        ..before.body
    };
    spec.body = serde_json::to_value(body)?;
    UpdateType::Restore.mark(&mut spec);
    Ok(spec)
}

/// The update whose work is put back: the one that was asked for, or what was live before.
async fn choose(tx: &Tx, deployment: &str, to: Option<RunId>) -> Result<Success> {
    let successes = live::successes(&**tx, deployment, DEPTH).await?;
    let mut deployed = successes.into_iter().filter(|success| success.kind.deploys());
    if let Some(to) = to {
        return deployed.find(|success| success.run == to).ok_or_else(|| {
            let message =
                "Only an update of this deployment that succeeded, and that deployed a bundle, can be put back.";
            Error::field("RESTORE_NOT_POSSIBLE", "updateId", message)
        });
    }
    let nothing = || {
        let message = "Nothing else was live before: no earlier update of this deployment succeeded with another bundle or other settings.";
        Error::field("RESTORE_NOT_POSSIBLE", "deploymentId", message)
    };
    let newest = deployed.next().ok_or_else(nothing)?;
    // An update that failed half-way left something else: what was live before is what the newest success put there.
    if live::half_done_since(&**tx, deployment, newest.number).await? {
        return Ok(newest);
    }
    for earlier in deployed {
        if !same(&earlier.body, &newest.body)? {
            return Ok(earlier);
        }
    }
    Err(nothing())
}

/// Whether two updates deployed the same, wherever to.
fn same(one: &DeploySpec, other: &DeploySpec) -> Result<bool> {
    let there = DeploySpec { infrastructure: other.infrastructure.clone(), ..one.clone() };
    Ok(changes(&there, other)?.is_empty())
}

/// Sets the deployment as the update had it: its bundle, and each setting that stands in a spec under the same name, also such as later versions add.
async fn agree(tx: &Tx, row: deployment::Model, body: &DeploySpec, login: &str) -> Result<deployment::Model> {
    let mut settings = Settings::read(&row.settings)?;
    if let (Value::Object(mut kept), Value::Object(body)) =
        (serde_json::to_value(&settings)?, serde_json::to_value(body)?)
    {
        for (name, value) in body {
            let Some(before) = kept.get(&name).cloned() else { continue };
            kept.insert(name.clone(), value);
            match serde_json::from_value(Value::Object(kept.clone())) {
                Ok(with) => settings = with,
                // A spec of an earlier version says nothing of it.
                Err(_) => drop(kept.insert(name, before)),
            }
        }
    }
    // Its remappings hold what was merged then: what the infrastructure says now would come on top.
    settings.merge_infrastructure_remapping = false;
    let mut row = counted(row, login, tx.now().await?);
    row.bundle_id = Set(body.package.bundle_id.clone());
    row.settings = Set(serde_json::to_string(&settings)?);
    Ok(row.update(&**tx).await?)
}
