//! What an update would change, found without changing anything.

use std::sync::Arc;

use engine::secrets::Secret;
use entities::{bundle, deployment, infrastructure};
use sea_orm::EntityTrait as _;
use targets::{
    TargetType,
    spec::{BundleContents, DeploySpec, InfrastructureSpec},
    target::{Preview, Target},
};

use crate::{
    Deployer,
    error::{Error, Result},
    freeze,
    rights::{self, Access, Level},
    sealed,
    updates::{HookCounts, Trouble, steps::hook_name},
    viewer::Viewer,
};

/// An update that was not started.
#[derive(Clone, Debug, PartialEq)]
pub struct UpdatePreview {
    /// What the node said.
    pub outcome: PreviewOutcome,
    /// How many hooks would run.
    pub hooks: HookCounts,
    /// Their steps and names, in order; for administrators of the infrastructure alone.
    pub hook_names: Option<Vec<(String, String)>>,
    /// As whom changes would be made on the node.
    pub acting_user: String,
}

/// What a preview came to.
#[derive(Clone, Debug, PartialEq)]
pub enum PreviewOutcome {
    /// The node answered. Its problems may still stop an update.
    Found(Preview),
    /// It did not, or not as it should: with the code that an update would fail with.
    Failed(Trouble),
}

/// Previews the next update of a deployment. Reads from the node with the infrastructure's key, and changes nothing, neither there nor here.
///
/// # Errors
/// `NOT_FOUND`, `FORBIDDEN` without Deploy on both; `ADMIN_KEY_MISSING`; `BUNDLE_UNKNOWN`.
pub async fn preview_update(deployer: &Deployer, viewer: &Viewer, deployment_id: &str) -> Result<UpdatePreview> {
    let db = deployer.db.pool();
    let row = rights::require_deployment(db, viewer, deployment_id, Access::Change, "deploymentId").await?;
    let level = rights::infrastructure_level(db, viewer, &row.infrastructure_id).await?;
    let package = bundle::Entity::find_by_id((row.project_key.clone(), row.bundle_id.clone())).one(db).await?;
    let package = package.ok_or_else(|| {
        Error::field("BUNDLE_UNKNOWN", "bundleId", "The deployment's bundle was deleted. Choose another one.")
    })?;
    let contents: BundleContents = serde_json::from_str(&package.contents)?;
    let (spec, plan) = freeze::read(db, &row, &package, &viewer.login).await?;
    let (target, key) = target(deployer, &row, &spec.infrastructure).await?;
    let admin = level >= Level::Admin;
    let names = plan.steps.iter().filter_map(|step| Some((step.name.clone(), hook_name(step)?)));
    Ok(UpdatePreview {
        outcome: ask(target.as_ref(), &spec, &contents, &key, admin).await,
        hooks: HookCounts::of(&plan),
        hook_names: admin.then(|| names.collect()),
        acting_user: spec.acting_user.clone(),
    })
}

async fn ask(
    target: &dyn Target,
    spec: &DeploySpec,
    contents: &BundleContents,
    key: &Secret,
    admin: bool,
) -> PreviewOutcome {
    match target.preview(spec, contents, key).await {
        Ok(preview) => PreviewOutcome::Found(preview),
        Err(failure) => PreviewOutcome::Failed(Trouble::of(&failure, admin)),
    }
}

/// The platform behind a deployment, and the key of its node.
async fn target(
    deployer: &Deployer,
    row: &deployment::Model,
    spec: &InfrastructureSpec,
) -> Result<(Arc<dyn Target>, Secret)> {
    let place = infrastructure::Entity::find_by_id(row.infrastructure_id.clone()).one(deployer.db.pool()).await?;
    let place = place.ok_or_else(|| Error::fault(format!("deployment {} has no infrastructure", row.id)))?;
    let kind = place.kind.parse::<TargetType>().map_err(|error| Error::fault(error.to_string()))?;
    let target = deployer.targets.find(kind).ok_or_else(|| Error::fault(format!("this build lacks {kind}")))?;
    let key = sealed::open(&deployer.db, &deployer.keyring, &spec.node.key).await?;
    let key = key.ok_or_else(|| {
        Error::refused("ADMIN_KEY_MISSING", "The administrator key of the node was replaced meanwhile. Try again.")
    })?;
    Ok((target, key))
}
