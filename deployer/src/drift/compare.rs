//! One comparison of one node with the receipt of the last success.

use std::time::Duration;

use engine::failure::Failure;
use entities::deployment;
use sea_orm::EntityTrait as _;
use targets::{codes, spec::BundleContents, target::Difference};

use super::store;
use crate::{
    Deployer, contents,
    error::Result,
    freeze,
    live::{Standing, Success},
    status,
};

/// So long one comparison may take.
const WITHIN: Duration = Duration::from_secs(120);

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
    let looked = look(deployer, row, &live).await?;
    let kept = store::keep(&deployer.db, row, &live, &looked).await?;
    if !kept {
        return Ok(Compared::Busy);
    }
    Ok(Compared::Found { differences: looked.as_ref().map_or(0, Vec::len), failed: looked.is_err() })
}

type Looked = std::result::Result<Vec<Difference>, Failure>;

async fn look(deployer: &Deployer, row: &deployment::Model, live: &Success) -> Result<Looked> {
    let Some(receipt) = &live.receipt else {
        let message = "The receipt of the last update is of another version and can't be compared. Start an update.";
        return Ok(Err(Failure::new(codes::NODE_ANSWER_UNEXPECTED, message)));
    };
    let place =
        entities::infrastructure::Entity::find_by_id(row.infrastructure_id.clone()).one(deployer.db.pool()).await?;
    let Some(place) = place else { return Ok(Err(missing())) };
    // The key goes to the node that it was entered for, whatever the update's node was.
    let reached = match status::split(freeze::place(&place))? {
        (Some(place), _) => place.spec.node,
        (None, refused) => return Ok(Err(refused.unwrap_or_else(missing))),
    };
    let (target, key) = match status::node_of(deployer, row, &reached).await {
        Ok(found) => found,
        Err(refused) => return Ok(Err(status::split::<()>(Err(refused))?.1.unwrap_or_else(missing))),
    };
    let mut spec = live.body.clone();
    spec.infrastructure.node = reached;
    let package = &spec.package;
    let contents: BundleContents =
        contents::of_bundle(deployer, &package.project_key, &package.bundle_id).await?.unwrap_or_default();
    let looking = target.drift(&spec, &contents, receipt, &key);
    Ok(match tokio::time::timeout(WITHIN, looking).await {
        Ok(looked) => looked,
        Err(_) => {
            let seconds = WITHIN.as_secs();
            let message = format!("The node did not tell within {seconds} seconds how the project is.");
            Err(Failure::new(codes::NODE_TIMED_OUT, message))
        }
    })
}

fn missing() -> Failure {
    Failure::new(codes::NODE_UNREACHABLE, "The infrastructure or its node's key is not there any more.")
}
