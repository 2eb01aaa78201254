//! The table of what was found.

use engine::db::{Db, sql_with};
use entities::{deployment, drift};
use sea_orm::{ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _};

use super::compare::Found;
use crate::{
    error::Result,
    live::Success,
    projects::storable,
    rights::{self, Access, Level},
    viewer::Viewer,
};

/// What was found at these deployments, as far as the viewer may see them and no later update succeeded, with the viewer's level.
pub(super) async fn current<C: ConnectionTrait>(
    db: &C,
    viewer: &Viewer,
    ids: &[String],
) -> Result<Vec<(drift::Model, Level)>> {
    let rows = deployment::Entity::find()
        .filter(deployment::Column::Id.is_in(storable(ids)))
        .filter(rights::deployments_where(viewer, Access::See))
        .all(db)
        .await?;
    let rights = rights::deployment_rights(db, viewer, &rows).await?;
    let seen: Vec<_> = rows.iter().map(|row| row.id.clone()).collect();
    if seen.is_empty() {
        return Ok(Vec::new());
    }
    let later = "NOT EXISTS (SELECT 1 FROM run r WHERE r.deployment_id = drift.deployment_id AND r.requested_at > drift.requested_at \
                 AND r.status IN ('SUCCEEDED', 'WARNING')) AND EXISTS (SELECT 1 FROM run o WHERE o.id = drift.run_id)";
    let found = drift::Entity::find()
        .filter(drift::Column::DeploymentId.is_in(seen))
        .filter(sea_orm::sea_query::Expr::cust(later))
        .all(db)
        .await?;
    let level = |id: &str| rights.get(id).map(|rights| rights.infrastructure).unwrap_or_default();
    Ok(found
        .into_iter()
        .map(|row| {
            let level = level(&row.deployment_id);
            (row, level)
        })
        .collect())
}

/// Deployments that are due: with a success, without an unfinished update, not looked at since `before`; those that wait longest first. As many as one of
/// `sweeps` sweeps must take to get through all, `most` at most.
pub(super) async fn due(db: &Db, before: i64, most: u64, sweeps: u64) -> Result<Vec<String>> {
    let pool = db.pool();
    let sql = "SELECT COUNT(*) AS all_of_them FROM deployment d WHERE d.last_run_no > 0";
    let count = pool.query_one_raw(sql_with(pool, sql, [])).await?;
    let count = count.map(|row| row.try_get::<i64>("", "all_of_them")).transpose()?.unwrap_or_default();
    // Twice as many as an even spread would take: so a sweep that was missed is made good.
    let limit = (count.unsigned_abs().saturating_mul(2)).div_ceil(sweeps).clamp(1, most);
    let sql = "SELECT d.id AS id FROM deployment d LEFT JOIN drift x ON x.deployment_id = d.id \
               WHERE d.last_run_no > 0 AND (x.begun_at IS NULL OR x.begun_at <= $1) \
               AND EXISTS (SELECT 1 FROM run r WHERE r.deployment_id = d.id AND r.status IN ('SUCCEEDED', 'WARNING')) \
               AND NOT EXISTS (SELECT 1 FROM run r WHERE r.deployment_id = d.id AND r.ended_at IS NULL) \
               ORDER BY COALESCE(x.begun_at, 0), d.id LIMIT $2";
    let values = [before.into(), i64::try_from(limit).unwrap_or(i64::MAX).into()];
    let rows = pool.query_all_raw(sql_with(pool, sql, values)).await?;
    Ok(rows.iter().map(|row| row.try_get("", "id")).collect::<std::result::Result<_, engine::db::DbErr>>()?)
}

/// Takes a deployment for a check; false if another process did since `before`, or if it is gone.
pub(super) async fn take(db: &Db, deployment: &str, before: i64) -> Result<bool> {
    let tx = db.begin().await?;
    tx.lock("deployment", "id = $1", deployment).await?;
    let now = tx.now().await?;
    let sql = "INSERT INTO drift (deployment_id, run_id, requested_at, begun_at, differences) \
               SELECT d.id, 0, 0, CAST($2 AS BIGINT), '[]' FROM deployment d WHERE d.id = $1 \
               ON CONFLICT (deployment_id) DO UPDATE SET begun_at = excluded.begun_at WHERE drift.begun_at <= $3";
    let values = [deployment.into(), now.into(), before.into()];
    let taken = tx.execute_raw(sql_with(&*tx, sql, values)).await?.rows_affected() == 1;
    tx.commit().await?;
    Ok(taken)
}

/// Keeps what was found, unless an update was requested since `row` was read, or the deployment is gone.
pub(super) async fn keep(db: &Db, row: &deployment::Model, live: &Success, found: &Found) -> Result<bool> {
    let differences = serde_json::to_string(&found.differences)?;
    let failure = found.failure.as_ref().map(serde_json::to_string).transpose()?;
    let tx = db.begin().await?;
    tx.lock("deployment", "id = $1", row.id.as_str()).await?;
    let now = deployment::Entity::find_by_id(row.id.clone()).one(&*tx).await?;
    if now.is_none_or(|now| now.last_run_no != row.last_run_no) {
        return Ok(false);
    }
    let at = tx.now().await?;
    let sql = "INSERT INTO drift (deployment_id, run_id, requested_at, begun_at, checked_at, differences, failure) \
               VALUES ($1, $2, $3, $4, $4, $5, $6) ON CONFLICT (deployment_id) DO UPDATE SET run_id = excluded.run_id, \
               requested_at = excluded.requested_at, begun_at = excluded.begun_at, checked_at = excluded.checked_at, \
               differences = excluded.differences, failure = excluded.failure";
    let values = [
        row.id.as_str().into(),
        live.run.0.into(),
        live.requested_at.into(),
        at.into(),
        differences.into(),
        failure.into(),
    ];
    tx.execute_raw(sql_with(&*tx, sql, values)).await?;
    tx.commit().await?;
    Ok(true)
}
