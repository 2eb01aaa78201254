//! One comparison of a deployment's nodes with the receipt of the last success.

use std::time::Duration;

use engine::failure::Failure;
use entities::deployment;
use futures_util::future::try_join_all;
use sea_orm::EntityTrait as _;
use targets::{
    codes,
    spec::{BundleContents, InfrastructureSpec, NodePlace},
    target::{Difference, Look, Receipt},
};

use super::store;
use crate::{
    Deployer, contents,
    error::Result,
    freeze,
    imports::Records,
    live::{Standing, Success},
    platform::{self, Opener},
    status,
};

/// So long one comparison may take.
const WITHIN: Duration = Duration::from_secs(120);

/// So many differences are kept.
const MOST: usize = 1_000;

/// What became of a comparison.
pub(super) enum Compared {
    /// An update has not ended, or was requested meanwhile.
    Busy,
    /// No success to compare with.
    NotLive,
    /// It is kept.
    Found { differences: usize, failed: bool },
}

pub(super) async fn compare(deployer: &Deployer, row: &deployment::Model) -> Result<Compared> {
    let standing = Standing::read(deployer.db.pool(), &row.id).await?;
    if standing.unfinished.is_some() {
        return Ok(Compared::Busy);
    }
    let Some(live) = standing.live.filter(|live| live.kind.deploys()) else { return Ok(Compared::NotLive) };
    let found = look(deployer, row, &live).await?;
    let kept = store::keep(&deployer.db, row, &live, &found).await?;
    if !kept {
        return Ok(Compared::Busy);
    }
    Ok(Compared::Found { differences: found.differences.len(), failed: found.failure.is_some() })
}

type Looked = std::result::Result<Vec<Difference>, Failure>;

/// What a comparison of all nodes found.
#[derive(Default)]
pub(super) struct Found {
    pub(super) differences: Vec<Difference>,
    /// Why a node could not be compared; the first one, where there are several.
    pub(super) failure: Option<Failure>,
}

impl Found {
    fn failed(failure: Failure) -> Self {
        Self { differences: Vec::new(), failure: Some(failure) }
    }
}

async fn look(deployer: &Deployer, row: &deployment::Model, live: &Success) -> Result<Found> {
    if live.receipts.is_empty() {
        let message = "The receipt of the last update is of another version and can't be compared. Start an update.";
        return Ok(Found::failed(Failure::new(codes::NODE_ANSWER_UNEXPECTED, message)));
    }
    let place =
        entities::infrastructure::Entity::find_by_id(row.infrastructure_id.clone()).one(deployer.db.pool()).await?;
    let Some(place) = place else { return Ok(Found::failed(missing())) };
    // The key goes to the node that it was entered for, whatever the update's node was.
    let now = match status::split(freeze::place(deployer.db.pool(), &place).await)? {
        (Some(place), _) => place.spec,
        (None, refused) => return Ok(Found::failed(refused.unwrap_or_else(missing))),
    };
    let package = &live.body.package;
    let contents = contents::of_bundle(deployer, &package.project_key, &package.bundle_id).await?.unwrap_or_default();
    // A node that is new since, or was left out then, has nothing to compare: that is a matter of health.
    let places = now.places();
    let looks = places.iter().filter_map(|place| {
        let receipt = live.receipt(place.name)?;
        Some(look_at(deployer, row, live, &now, &contents, *place, receipt))
    });
    let mut found = Found::default();
    for looked in try_join_all(looks).await? {
        match looked {
            Ok(differences) => found.differences.extend(differences),
            // A node that is away keeps nobody from learning what is otherwise on the others.
            Err(failure) => found.failure = found.failure.or(Some(failure)),
        }
    }
    found.differences.truncate(MOST);
    Ok(found)
}

async fn look_at(
    deployer: &Deployer,
    row: &deployment::Model,
    live: &Success,
    now: &InfrastructureSpec,
    contents: &BundleContents,
    place: NodePlace<'_>,
    receipt: &Receipt,
) -> Result<Looked> {
    let said = |text: &str| place.name.map_or_else(|| text.to_owned(), |name| format!("Node {name}: {text}"));
    let target = platform::of_deployment(deployer, row).await?;
    let mut spec = live.body.clone();
    if live.body.service.is_some() {
        spec.infrastructure = now.clone();
        platform::as_deployed(&*target, &live.body, &mut spec.infrastructure)?;
    }
    (spec.infrastructure.node, spec.infrastructure.nodes) = (place.node.clone(), Vec::new());
    let look = Look { spec: &spec, contents, secrets: &Opener(deployer), imports: &Records(&deployer.db) };
    let looking = target.drift(look, receipt);
    Ok(match tokio::time::timeout(WITHIN, looking).await {
        Ok(Ok(differences)) => {
            Ok(differences.into_iter().map(|one| Difference { what: on(place.name, one.what), ..one }).collect())
        }
        Ok(Err(failure)) => Err(Failure { message: said(&failure.message), ..failure }),
        Err(_) => {
            let seconds = WITHIN.as_secs();
            let message = format!("The node did not tell within {seconds} seconds how what is deployed is.");
            Err(Failure::new(codes::NODE_TIMED_OUT, said(&message)))
        }
    })
}

/// What differs, with the node's name where there are several.
pub(crate) fn on(node: Option<&str>, what: String) -> String {
    node.map_or_else(|| what.clone(), |name| format!("{what} on node {name}"))
}

fn missing() -> Failure {
    Failure::new(codes::NODE_UNREACHABLE, "The infrastructure or its node's key is not there any more.")
}
