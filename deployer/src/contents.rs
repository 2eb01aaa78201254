//! What a bundle holds, for a worker: no viewer asks here, a run's spec does.

use entities::bundle;
use sea_orm::EntityTrait;
use targets::spec::BundleContents;

use crate::{Deployer, error::Result};

/// The contents of a bundle; None when it is gone.
///
/// # Errors
/// The database's, or a stored document of another shape.
pub async fn of_bundle(deployer: &Deployer, project_key: &str, bundle_id: &str) -> Result<Option<BundleContents>> {
    let key = (project_key.to_owned(), bundle_id.to_owned());
    let row = bundle::Entity::find_by_id(key).one(deployer.db.pool()).await?;
    Ok(row.map(|row| serde_json::from_str(&row.contents)).transpose()?)
}
