//! What bundles say of themselves: documents of megabytes, read only for whoever asks for them.

use std::collections::HashMap;

use entities::bundle;
use sea_orm::{
    EntityTrait as _, QueryFilter as _, QuerySelect as _,
    sea_query::{Expr, ExprTrait as _, Func},
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use targets::spec::BundleContents;

use super::{BundleKey, among};
use crate::{
    Deployer,
    error::{Error, Result},
    rights::{self, Right},
    viewer::Viewer,
};

/// The most that one call reads, in characters.
pub const MOST: i64 = 64 << 20;

/// What these bundles hold, as far as a target must know; of those that the viewer may see.
///
/// # Errors
/// `BUNDLE_DOCUMENTS_TOO_LARGE` above [`MOST`].
pub async fn contents_of(
    deployer: &Deployer,
    viewer: &Viewer,
    keys: &[BundleKey],
) -> Result<HashMap<BundleKey, BundleContents>> {
    read(deployer, viewer, keys, bundle::Column::Contents).await
}

/// The manifests of these bundles, unknown keys and all; built from what was found if one has none. Of those that the viewer may see.
///
/// # Errors
/// `BUNDLE_DOCUMENTS_TOO_LARGE` above [`MOST`].
pub async fn manifests_of(
    deployer: &Deployer,
    viewer: &Viewer,
    keys: &[BundleKey],
) -> Result<HashMap<BundleKey, Value>> {
    read(deployer, viewer, keys, bundle::Column::Manifest).await
}

async fn read<T: DeserializeOwned>(
    deployer: &Deployer,
    viewer: &Viewer,
    keys: &[BundleKey],
    document: bundle::Column,
) -> Result<HashMap<BundleKey, T>> {
    let Some(wanted) = among(keys) else { return Ok(HashMap::new()) };
    let query = bundle::Entity::find().select_only().filter(wanted).filter(rights::projects_where(
        viewer,
        bundle::Column::ProjectKey,
        Right::Read,
    ));
    let db = deployer.db.pool();
    // Measured first: what is too much must not come into memory at all.
    let length = Func::char_length(Expr::col(document)).sum().cast_as("bigint");
    let length: Option<Option<i64>> = query.clone().expr_as(length, "length").into_tuple().one(db).await?;
    if length.flatten().unwrap_or_default() > MOST {
        let message = "The manifests or contents of these bundles are too large for one answer. Ask for those of fewer bundles at once.";
        return Err(Error::refused("BUNDLE_DOCUMENTS_TOO_LARGE", message));
    }
    let rows: Vec<(String, String, String)> =
        query.columns([bundle::Column::ProjectKey, bundle::Column::BundleId, document]).into_tuple().all(db).await?;
    let mut found = HashMap::with_capacity(rows.len());
    for (project_key, bundle_id, text) in rows {
        found.insert(BundleKey { project_key, bundle_id }, serde_json::from_str(&text)?);
    }
    Ok(found)
}
