//! Whether what was accepted has ended.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use engine::db::{Db, sql_with};
use sea_orm::ConnectionTrait;
use tokio::time::Instant;

use crate::failure::LabError;

/// So long none may end before those that are left count as lost.
const PATIENCE: Duration = Duration::from_secs(120);
const EVERY: Duration = Duration::from_millis(250);

/// What became of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Ends {
    /// How many ended as what.
    pub outcomes: BTreeMap<String, u64>,
    /// Accepted, and not ended.
    pub lost: Vec<i64>,
    /// Not accepted, and there all the same.
    pub unasked: Vec<i64>,
}

impl Ends {
    pub(super) fn told(&self) -> String {
        let all: Vec<String> = self.outcomes.iter().map(|(status, count)| format!("{status} {count}")).collect();
        if all.is_empty() { "none".to_owned() } else { all.join(", ") }
    }

    /// What must not be, in a sentence each.
    pub(super) fn broken(&self) -> impl Iterator<Item = String> {
        let lost = self.lost.iter().map(|run| format!("update {run} was accepted and did not end"));
        lost.chain(self.unasked.iter().map(|run| format!("update {run} is there, though its request was refused")))
    }
}

/// Waits until all of these have ended, as long as some do. Runs from `first` on were requested by us: ids are in order of time.
pub(super) async fn until_ended(db: &Db, first: i64, accepted: &BTreeSet<i64>) -> Result<Ends, LabError> {
    let mut moved = (0, Instant::now());
    loop {
        let sql = "SELECT id, status, CASE WHEN ended_at IS NULL THEN 0 ELSE 1 END AS ended FROM run WHERE id >= $1";
        let (mut ends, mut left) = (Ends::default(), accepted.clone());
        for row in db.pool().query_all_raw(sql_with(db.pool(), sql, [first.into()])).await? {
            let id = row.try_get("", "id")?;
            if !accepted.contains(&id) {
                ends.unasked.push(id);
            } else if row.try_get::<i32>("", "ended")? == 1 {
                left.remove(&id);
                *ends.outcomes.entry(row.try_get("", "status")?).or_default() += 1;
            }
        }
        if left.len() != moved.0 {
            moved = (left.len(), Instant::now());
        }
        if left.is_empty() || moved.1.elapsed() > PATIENCE {
            ends.lost = left.into_iter().collect();
            return Ok(ends);
        }
        tokio::time::sleep(EVERY).await;
    }
}
