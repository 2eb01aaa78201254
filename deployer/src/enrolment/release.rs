//! A managed node becomes one that is managed by hand.

use super::credentials;
use crate::{
    Deployer,
    audit::{Object, ObjectKind, act::Act},
    error::{Error, Result},
    infrastructures::{self, Changing, Infrastructure, lock, require_version},
    rights::{self, Level},
    viewer::Viewer,
};

/// Makes a managed node one that is managed by hand, as it is; its credential dies. `node_name` says which of several. The infrastructure's
/// administrators alone.
///
/// # Errors
/// `NOT_FOUND`, `FORBIDDEN`, `VERSION_CONFLICT`; `NODE_NOT_MANAGED` when it is managed by hand already.
pub async fn release_node(
    deployer: &Deployer,
    viewer: &Viewer,
    infrastructure_id: &str,
    node_name: Option<&str>,
    expected_version: i64,
) -> Result<Infrastructure> {
    let object = Object::new(ObjectKind::Infrastructure, infrastructure_id);
    let act = &Act::new(deployer, viewer, "releaseNode", object);
    act.run(|| release_once(deployer, viewer, infrastructure_id, node_name, expected_version, act)).await
}

async fn release_once(
    deployer: &Deployer,
    viewer: &Viewer,
    id: &str,
    node_name: Option<&str>,
    expected_version: i64,
    act: &Act<'_>,
) -> Result<Infrastructure> {
    // Asked before the lock, too: whoever may not change it must not keep others waiting.
    rights::require_infrastructure(deployer.db.pool(), viewer, id, Level::Admin, "infrastructureId").await?;
    let tx = deployer.db.begin().await?;
    let row = lock(&tx, viewer, id, Level::Admin, "infrastructureId").await?;
    act.before(&tx).await?;
    require_version(&row, expected_version)?;
    let mut changing = Changing::of(row)?;
    match changing.is_managed(node_name) {
        Some(true) => {}
        Some(false) => {
            let message = "This node is managed by hand already: change it in the infrastructure's settings.";
            return Err(Error::field("NODE_NOT_MANAGED", "nodeName", message));
        }
        None => return Err(Error::not_found("nodeName")),
    }
    changing.release(node_name);
    changing.write(&tx, &viewer.login).await?;
    credentials::forget(&tx, id, node_name).await?;
    act.commit(tx).await?;
    infrastructures::get(deployer, viewer, id).await?.ok_or_else(|| Error::not_found("infrastructureId"))
}
