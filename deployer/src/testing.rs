//! Test scenarios: those of a deployed project that are marked as tests, run on the node on request, and how they ended.

use std::time::Duration;

use engine::secrets::Secret;
use entities::deployment;
use sea_orm::EntityTrait as _;
use targets::{
    on_node::{TestRun, TestingStatus},
    spec::NodeSpec,
    target::Target,
};

use crate::{
    Deployer, drift,
    error::{Error, Result},
    freeze,
    live::Standing,
    rights::{self, Access, Level},
    status,
    updates::Trouble,
    viewer::Viewer,
};

/// So long test scenarios may run in one request.
pub const WITHIN: Duration = Duration::from_secs(600);

/// What the node said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told<T> {
    /// It answered.
    Found(T),
    /// It did not, or not as it should.
    Failed(Trouble),
}

/// How the test scenarios of a deployed project ended last, under one bundle or under any.
///
/// # Errors
/// `NOT_FOUND`; `ADMIN_KEY_MISSING`.
pub async fn status(
    deployer: &Deployer,
    viewer: &Viewer,
    id: &str,
    bundle_id: Option<&str>,
) -> Result<Told<TestingStatus>> {
    let row = rights::require_deployment(deployer.db.pool(), viewer, id, Access::See, "id").await?;
    let node = Node::of(deployer, viewer, &row).await?;
    let bundle = bundle_id.filter(|bundle| !bundle.is_empty());
    let told = node.target.testing_status(&node.spec, &node.key, &row.deployed_project_key, bundle).await;
    Ok(node.told(told))
}

/// Runs the test scenarios of a deployed project and waits until all have ended, or [`WITHIN`] has passed. What was begun goes on at the node when nobody
/// waits any more. In the name of the infrastructure's deploy-as user, else of whoever asks.
///
/// # Errors
/// `NOT_FOUND`, `FORBIDDEN` without Deploy on both; `UPDATE_RUNNING` while an update has not ended; `NOT_DEPLOYED`; `ADMIN_KEY_MISSING`.
pub async fn run(deployer: &Deployer, viewer: &Viewer, id: &str) -> Result<Told<TestRun>> {
    let db = deployer.db.pool();
    let row = rights::require_deployment(db, viewer, id, Access::Change, "id").await?;
    let standing = Standing::read(db, id).await?;
    if standing.unfinished.is_some() {
        let message = "An update of this deployment has not ended. Run the test scenarios when it has.";
        return Err(Error::field("UPDATE_RUNNING", "id", message));
    }
    if !standing.live.is_some_and(|live| live.kind.deploys()) {
        return Err(drift::not_deployed("id"));
    }
    let node = Node::of(deployer, viewer, &row).await?;
    let actor = node.deploy_as.as_deref().unwrap_or(&viewer.login);
    tracing::info!(deployment = id, by = viewer.login, "test scenarios are run");
    let told = node.target.run_test_scenarios(&node.spec, &node.key, actor, &row.deployed_project_key, WITHIN).await;
    Ok(node.told(told))
}

struct Node {
    target: std::sync::Arc<dyn Target>,
    spec: NodeSpec,
    key: Secret,
    deploy_as: Option<String>,
    admin: bool,
}

impl Node {
    async fn of(deployer: &Deployer, viewer: &Viewer, row: &deployment::Model) -> Result<Self> {
        let db = deployer.db.pool();
        let level = rights::infrastructure_level(db, viewer, &row.infrastructure_id).await?;
        let place = entities::infrastructure::Entity::find_by_id(row.infrastructure_id.clone()).one(db).await?;
        let place = place.ok_or_else(|| Error::fault(format!("deployment {} has no infrastructure", row.id)))?;
        let place = freeze::place(&place)?;
        let (target, key) = status::node_of(deployer, row, &place.spec.node).await?;
        Ok(Self { target, key, spec: place.spec.node, deploy_as: place.deploy_as, admin: level >= Level::Admin })
    }

    fn told<T>(&self, answer: std::result::Result<T, engine::failure::Failure>) -> Told<T> {
        match answer {
            Ok(found) => Told::Found(found),
            Err(failure) => Told::Failed(Trouble::of(&failure, self.admin)),
        }
    }
}
