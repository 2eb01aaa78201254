//! Worker processes.

use async_graphql::{ComplexObject, ID, SimpleObject};
use deployer::workers;

use super::node::all;
use crate::scalars::{DateTime, Long};

/// One life of a worker process, which has not ended.
#[derive(Clone, Debug, SimpleObject)]
#[graphql(complex)]
pub(crate) struct Worker {
    /// Unique: a process that registers anew is another worker.
    id: ID,
    /// Host and process, or what its configuration says.
    name: String,
    /// When it registered.
    started_at: DateTime,
    /// Its newest heartbeat.
    heard_of: DateTime,
    /// Since when it takes nothing new, or was asked to; null if it takes updates.
    draining_since: Option<DateTime>,
    /// The updates that it drives, oldest first. A worker that drains ends when none is left.
    left: Vec<WorkerUpdate>,
}

/// What follows from the rest.
#[ComplexObject]
impl Worker {
    /// Whether it takes nothing new.
    async fn draining(&self) -> bool {
        self.draining_since.is_some()
    }

    /// How many updates it drives.
    async fn running(&self) -> Long {
        Long::from(self.left.len() as u64)
    }
}

/// An update that a worker drives.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct WorkerUpdate {
    /// The update's id.
    update_id: ID,
    /// Its deployment's id.
    deployment_id: ID,
    /// The index of the step that it is at, from 0; null between steps.
    step: Option<i32>,
}

impl From<workers::Worker> for Worker {
    fn from(worker: workers::Worker) -> Self {
        Self {
            id: ID(worker.id.to_string()),
            name: worker.name,
            started_at: worker.started_at.into(),
            heard_of: worker.heard_of.into(),
            draining_since: worker.draining_since.map(Into::into),
            left: all(worker.left),
        }
    }
}

impl From<workers::Left> for WorkerUpdate {
    fn from(left: workers::Left) -> Self {
        Self {
            update_id: ID(left.run.to_string()),
            deployment_id: ID(left.deployment_id),
            step: left.step.and_then(|step| i32::try_from(step).ok()),
        }
    }
}
