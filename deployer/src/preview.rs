//! What an update would change, found without changing anything.

use entities::bundle;
use futures_util::future::try_join_all;
use sea_orm::EntityTrait as _;
use targets::{
    spec::BundleContents,
    target::{Look, Preview, Target},
};

use crate::{
    Deployer,
    error::{Error, Result},
    freeze, halves,
    imports::Records,
    platform::{self, Opener},
    rights::{self, Access, Level},
    updates::{HookCounts, Trouble, steps::hook_name},
    viewer::Viewer,
};

/// An update that was not started.
#[derive(Clone, Debug, PartialEq)]
pub struct UpdatePreview {
    /// What the node said; the first one, where there are several.
    pub outcome: PreviewOutcome,
    /// What each of several nodes said, by name; empty when there is one.
    pub nodes: Vec<(String, PreviewOutcome)>,
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
        let deleted = halves::package(halves::half_of(&row.project_key));
        Error::field(
            "BUNDLE_UNKNOWN",
            "bundleId",
            format!("The deployment's {deleted} was deleted. Choose another one."),
        )
    })?;
    let contents: BundleContents = serde_json::from_str(&package.contents)?;
    freeze::refuse_taken(db, &row).await?;
    let (spec, plan) = freeze::read(db, &row, &package, &viewer.login).await?;
    let admin = level >= Level::Admin;
    let asked = spec.infrastructure.places().into_iter().map(|place| {
        let (row, contents, name) = (&row, &contents, place.name.map(str::to_owned));
        // Each is there: the places are the spec's own.
        let of_node = spec.on(place.name);
        async move {
            let spec = of_node.ok_or_else(|| Error::fault("a node that the spec does not name"))?;
            let target = platform::of_deployment(deployer, row).await?;
            let look = Look { spec: &spec, contents, secrets: &Opener(deployer), imports: &Records(&deployer.db) };
            Ok::<_, Error>((name, ask(target.as_ref(), look, admin).await))
        }
    });
    let asked = try_join_all(asked).await?;
    let first = asked.first().ok_or_else(|| Error::fault("an infrastructure without a node"))?.1.clone();
    let names = plan.steps.iter().filter_map(|step| Some((step.name.clone(), hook_name(step)?)));
    Ok(UpdatePreview {
        outcome: first,
        nodes: asked.into_iter().filter_map(|(name, outcome)| Some((name?, outcome))).collect(),
        hooks: HookCounts::of(&plan),
        hook_names: admin.then(|| names.collect()),
        acting_user: spec.acting_user.clone(),
    })
}

async fn ask(target: &dyn Target, look: Look<'_>, admin: bool) -> PreviewOutcome {
    match platform::asked_for_a_while(target.preview(look)).await {
        Ok(preview) => PreviewOutcome::Found(preview),
        Err(failure) => PreviewOutcome::Failed(Trouble::of(&failure, admin)),
    }
}
