//! What an update deploys, as it was frozen when it was asked for: read from the first entry of its journal alone.

use std::collections::HashMap;

use engine::{ids::RunId, journal::Kind, runs};
use entities::{deployment, run, run_event};
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _, QuerySelect as _, sea_query::Query};
use serde_json::Value;
use targets::spec::DeploySpec;

use super::{
    ask::RETRY_OF,
    kind::UpdateType,
    view::{HookCounts, Update},
};
use crate::{
    Deployer,
    error::Result,
    rights::{self, Access},
    viewer::Viewer,
};

/// The part of an update's spec that everybody sees who sees the update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frozen {
    /// The bundle.
    pub bundle_id: String,
    /// The project key on the node.
    pub deployed_project_key: String,
    /// The login as whom changes are made on the node.
    pub acting_user: String,
    /// What it is for.
    pub kind: UpdateType,
    /// The update that it retries.
    pub retry_of: Option<RunId>,
    /// How many hooks it runs.
    pub hooks: HookCounts,
}

impl From<&Update> for Frozen {
    fn from(update: &Update) -> Self {
        Self {
            bundle_id: update.bundle_id.clone(),
            deployed_project_key: update.deployed_project_key.clone(),
            acting_user: update.acting_user.clone(),
            kind: update.kind,
            retry_of: update.retry_of,
            hooks: update.hooks,
        }
    }
}

/// Of those of these updates that the viewer may see. One query, however many.
///
/// # Errors
/// Faults only.
pub async fn frozen(deployer: &Deployer, viewer: &Viewer, ids: &[RunId]) -> Result<HashMap<RunId, Frozen>> {
    let seen = Query::select()
        .column(deployment::Column::Id)
        .from(deployment::Entity)
        .cond_where(rights::deployments_where(viewer, Access::See))
        .to_owned();
    let visible = Query::select()
        .column(run::Column::Id)
        .from(run::Entity)
        .and_where(run::Column::Id.is_in(ids.iter().map(|id| id.0)))
        .and_where(run::Column::DeploymentId.in_subquery(seen))
        .to_owned();
    let rows: Vec<(i64, String, String)> = run_event::Entity::find()
        .select_only()
        .columns([run_event::Column::RunId, run_event::Column::Kind, run_event::Column::Data])
        .filter(run_event::Column::RunId.in_subquery(visible))
        .filter(run_event::Column::Seq.eq(1))
        .into_tuple()
        .all(deployer.db.pool())
        .await?;
    let mut found = HashMap::with_capacity(rows.len());
    for (id, kind, data) in rows {
        let Kind::Requested { spec } = Kind::from_row(&kind, &data).map_err(runs::RunsError::from)? else { continue };
        let kind = UpdateType::of(&spec);
        let retry_of = spec.body.get(RETRY_OF).and_then(Value::as_i64).map(RunId);
        let body: DeploySpec = serde_json::from_value(spec.body)?;
        let frozen = Frozen {
            bundle_id: body.package.bundle_id,
            deployed_project_key: body.deployed_project_key,
            acting_user: body.acting_user,
            kind,
            retry_of,
            hooks: HookCounts::of(&spec.plan),
        };
        found.insert(RunId(id), frozen);
    }
    Ok(found)
}
