//! Test scenarios: those of a deployed project that are marked as tests, run on the node on request, and how they ended.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use engine::secrets::Secret;
use entities::deployment;
use sea_orm::EntityTrait as _;
use targets::{
    on_node::{TestRun, TestingStatus},
    spec::{InfrastructureSpec, NodeSpec},
    target::Target,
};

use crate::{
    Deployer,
    audit::{Object, ObjectKind, act::Act},
    drift,
    error::{Error, Result},
    freeze, infrastructures,
    live::Standing,
    platform,
    rights::{self, Access, Level},
    updates::Trouble,
    viewer::Viewer,
};

/// So long test scenarios may run in one request.
pub const WITHIN: Duration = Duration::from_secs(600);

/// So many deployments' test scenarios does one process run at once: each waits for its node as long as [`WITHIN`].
pub const AT_ONCE: usize = 16;

/// The deployments whose test scenarios this process runs.
static RUNNING: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// The argument that names the deployment.
const FIELD: &str = "deploymentId";

/// What the node said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told<T> {
    /// It answered.
    Found(T),
    /// It did not, or not as it should.
    Failed(Trouble),
}

/// How the test scenarios of a deployed project ended last, under one bundle or under any. Where there are several nodes, on the one that is named, else
/// on the first.
///
/// # Errors
/// `NOT_FOUND`; `NODE_UNKNOWN`; `ADMIN_KEY_MISSING`.
pub async fn status(
    deployer: &Deployer,
    viewer: &Viewer,
    id: &str,
    bundle_id: Option<&str>,
    node: Option<&str>,
) -> Result<Told<TestingStatus>> {
    let row = rights::require_deployment(deployer.db.pool(), viewer, id, Access::See, FIELD).await?;
    let node = Node::of(deployer, viewer, &row, node).await?;
    let bundle = bundle_id.filter(|bundle| !bundle.is_empty());
    let told = platform::projects(&node.target, FIELD)?
        .testing_status(&node.spec, &node.key, &row.deployed_project_key, bundle)
        .await;
    Ok(node.told(told))
}

/// Runs the test scenarios of a deployed project and waits until all have ended, or [`WITHIN`] has passed. What was begun goes on at the node when nobody
/// waits any more. In the name of the infrastructure's deploy-as user, else of whoever asks.
///
/// # Errors
/// `NOT_FOUND`, `FORBIDDEN` without Deploy on both; `NODE_UNKNOWN`; `UPDATE_RUNNING` while an update has not ended; `NOT_DEPLOYED`; `ADMIN_KEY_MISSING`;
/// `TEST_SCENARIOS_BUSY` while this process runs those of this deployment already, or those of [`AT_ONCE`] others.
pub async fn run(deployer: &Deployer, viewer: &Viewer, id: &str, node: Option<&str>) -> Result<Told<TestRun>> {
    let act = Act::new(deployer, viewer, "runTestScenarios", Object::new(ObjectKind::Deployment, id));
    act.once(run_once(deployer, viewer, id, node, &act)).await
}

async fn run_once(
    deployer: &Deployer,
    viewer: &Viewer,
    id: &str,
    node: Option<&str>,
    act: &Act<'_>,
) -> Result<Told<TestRun>> {
    let db = deployer.db.pool();
    let row = rights::require_deployment(db, viewer, id, Access::Change, FIELD).await?;
    let standing = Standing::read(db, id).await?;
    if standing.unfinished.is_some() {
        let message = "An update of this deployment has not ended. Run the test scenarios when it has.";
        return Err(Error::field("UPDATE_RUNNING", FIELD, message));
    }
    if !standing.live.is_some_and(|live| live.kind.deploys()) {
        return Err(drift::not_deployed(FIELD));
    }
    let node = Node::of(deployer, viewer, &row, node).await?;
    let _place = Place::take(id)?;
    // Before the node is asked: whoever asked may not wait for its answer, and what it began has its record all the same.
    act.record().await?;
    let actor = node.deploy_as.as_deref().unwrap_or(&viewer.login);
    tracing::info!(deployment = id, by = viewer.login, "test scenarios are run");
    let told = platform::projects(&node.target, FIELD)?
        .run_test_scenarios(&node.spec, &node.key, actor, &row.deployed_project_key, WITHIN)
        .await;
    Ok(node.told(told))
}

/// One of the places for running test scenarios; free again when it is dropped.
struct Place(String);

impl Place {
    fn take(id: &str) -> Result<Self> {
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        let message = if running.contains(id) {
            "The test scenarios of this deployment are being run. Ask again when they have ended."
        } else if running.len() >= AT_ONCE {
            "The test scenarios of as many deployments as one process takes are being run. Ask again in a minute."
        } else {
            running.insert(id.to_owned());
            return Ok(Self(id.to_owned()));
        };
        Err(Error::field("TEST_SCENARIOS_BUSY", FIELD, message))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        RUNNING.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
    }
}

struct Node {
    target: std::sync::Arc<dyn Target>,
    spec: NodeSpec,
    key: Secret,
    deploy_as: Option<String>,
    admin: bool,
}

impl Node {
    async fn of(deployer: &Deployer, viewer: &Viewer, row: &deployment::Model, name: Option<&str>) -> Result<Self> {
        let db = deployer.db.pool();
        let level = rights::infrastructure_level(db, viewer, &row.infrastructure_id).await?;
        let place = entities::infrastructure::Entity::find_by_id(row.infrastructure_id.clone()).one(db).await?;
        let place = place.ok_or_else(|| Error::fault(format!("deployment {} has no infrastructure", row.id)))?;
        let place = freeze::place(db, &place).await?;
        let spec = named(&place.spec, name.filter(|name| !name.is_empty()))?;
        let target = platform::of_deployment(deployer, row).await?;
        let key = infrastructures::node_key(deployer, &spec).await?;
        Ok(Self { target, key, spec, deploy_as: place.deploy_as, admin: level >= Level::Admin })
    }

    fn told<T>(&self, answer: std::result::Result<T, engine::failure::Failure>) -> Told<T> {
        match answer {
            Ok(found) => Told::Found(found),
            Err(failure) => Told::Failed(Trouble::of(&failure, self.admin)),
        }
    }
}

/// The node of this name; without a name the first. An infrastructure of one node has no names: any is taken for that node's.
fn named(infrastructure: &InfrastructureSpec, name: Option<&str>) -> Result<NodeSpec> {
    let Some(name) = name.filter(|_| !infrastructure.nodes.is_empty()) else { return Ok(infrastructure.node.clone()) };
    let found = infrastructure.places().into_iter().find(|place| place.name == Some(name));
    found.map(|place| place.node.clone()).ok_or_else(|| {
        let message = "This infrastructure has no node of this name. Name one of its nodes, or none: then the first one is asked.";
        Error::field("NODE_UNKNOWN", "node", message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_has_one_place_and_a_process_a_few() {
        let code = |answer: Result<Place>| match answer {
            Err(Error::Refused(refusals)) => refusals[0].code,
            _ => "",
        };
        let first = Place::take("d0").unwrap();
        assert_eq!(code(Place::take("d0")), "TEST_SCENARIOS_BUSY");
        let others: Vec<_> = (1..AT_ONCE).map(|n| Place::take(&format!("d{n}")).unwrap()).collect();
        assert_eq!(code(Place::take("one more")), "TEST_SCENARIOS_BUSY");
        drop(first);
        drop(Place::take("d0").unwrap());
        drop(others);
        assert!(RUNNING.lock().unwrap().is_empty());
    }
}
