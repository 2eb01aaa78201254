//! What people name: a deployment, or an update by its own id or by its deployment's.

use serde_json::{Value, json};

use super::list;
use crate::{client::Client, failure::Failure};

const STATUS: &str = "query($id: ID!) { deployment(id: $id) {
  id kind projectKey infrastructureId bundleId deployedProjectKey version updatedAt updatedBy
  infrastructure { stage }
  latestUpdate { id number status bundleId requester requestedAt startedAt endedAt failure { code message } } } }";

/// A deployment, if it is there for who asks.
pub(super) async fn deployment(client: &Client, id: &str) -> Result<Option<Value>, Failure> {
    Ok(Some(client.ask(STATUS, json!({ "id": id })).await?).filter(|found| !found.is_null()))
}

/// How a deployment is; its node is asked.
pub(super) async fn health(client: &Client, id: &str) -> Result<Value, Failure> {
    let document = "query($id: ID!) { deployment(id: $id) { disabled health { health messages { severity code title message } } } }";
    client.ask(document, json!({ "id": id })).await
}

/// What became of each of several nodes in an update.
pub(super) async fn nodes(client: &Client, update: &Value) -> Result<Value, Failure> {
    let document = "query($id: ID!) { update(id: $id) { nodes { name status step failure { code message } } } }";
    Ok(client.ask(document, json!({ "id": update })).await?["nodes"].take())
}

/// Which updates a deployment's id stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    /// The newest one.
    Newest,
    /// The one that is unfinished.
    Unfinished,
}

/// The id of an update that is named by its own id or by its deployment's.
pub(super) async fn update(client: &Client, named: &str, which: Which) -> Result<String, Failure> {
    if named.bytes().all(|byte| byte.is_ascii_digit()) {
        let found = client.ask("query($id: ID!) { update(id: $id) { id } }", json!({ "id": named })).await?;
        if !found.is_null() {
            return Ok(named.to_owned());
        }
    }
    let found = deployment(client, named).await?.ok_or_else(|| list::absent("id"))?;
    if which == Which::Newest {
        let newest = found["latestUpdate"]["id"].as_str();
        return newest
            .map(str::to_owned)
            .ok_or_else(|| Failure::refused("NOT_FOUND", "This deployment has had no update yet.").about(Some("id")));
    }
    let document = "query($filter: UpdateFilter) { updates(first: 10, filter: $filter) { nodes { id status } } }";
    let filter = json!({ "deployment": named, "status": ["QUEUED", "RUNNING", "WAITING", "STUCK"] });
    let unfinished = client.ask(document, json!({ "filter": filter })).await?;
    let ids: Vec<&str> =
        unfinished["nodes"].as_array().into_iter().flatten().filter_map(|one| one["id"].as_str()).collect();
    match ids[..] {
        [one] => Ok(one.to_owned()),
        [] => Err(Failure::refused("UPDATE_ENDED", "No update of this deployment is unfinished.").about(Some("id"))),
        _ => {
            let message =
                format!("Several updates of this deployment are unfinished. Name one of them: {}.", ids.join(", "));
            Err(Failure::refused("UPDATE_AMBIGUOUS", message).about(Some("id")))
        }
    }
}
