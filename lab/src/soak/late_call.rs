//! A worker dies while one of its calls is on its way, and the call arrives when somebody else makes it again.

use std::time::Duration;

use engine::clock::now_micros;
use entities::{run, worker};
use sandbox::{Fault as NodeFault, FaultKind, When};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use tokio::time::timeout;

use super::faults::Hand;
use crate::{failure::LabError, until::until};

const ACTIVATE: &str = "/projects/*/bundles/imported/*/actions/activate";
/// With a request a second there is an activation in this time.
const COMES: Duration = Duration::from_secs(10);
/// So often it is tried.
const TRIES: u32 = 3;

impl Hand<'_> {
    /// Holds an activation before its effect, kills the worker that made it, and lets it go on when it is made again: both are under way then.
    pub(super) async fn late_call(&mut self) -> Result<(), LabError> {
        for _ in 0..TRIES {
            if self.try_late_call().await? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Whether both were under way: an update may be cancelled before it asks again.
    async fn try_late_call(&mut self) -> Result<bool, LabError> {
        let mut both = false;
        let hold = NodeFault::on("POST", ACTIVATE, FaultKind::Hold { when: When::Before });
        let before = self.stage.node.calls().last().map_or(0, |call| call.index);
        let held = self.stage.node.arm(hold).map_err(|said| LabError::failed("a fault of the node", said))?;
        if timeout(COMES, held.reached()).await.is_ok() {
            let made = self.stage.node.calls().into_iter().find(|call| {
                call.index > before && call.end.is_none() && call.fault.is_some() && call.path.ends_with("/activate")
            });
            if let Some(call) = made {
                both = self.see_it_made_again(&call).await?;
            }
        }
        held.disarm();
        Ok(both)
    }

    async fn see_it_made_again(&mut self, call: &sandbox::Call) -> Result<bool, LabError> {
        let db = self.stage.db().await?;
        let project = call.path.split('/').nth(2).unwrap_or_default();
        let deployment = self.traffic.deployment_on(project).unwrap_or_default();
        let running = run::Entity::find().filter(run::Column::DeploymentId.eq(deployment));
        let running = running.filter(run::Column::WorkerId.is_not_null()).one(db.pool()).await?;
        let Some((run, holder)) = running.and_then(|run| Some((run.id, run.worker_id?))) else { return Ok(false) };
        let name = worker::Entity::find_by_id(holder).one(db.pool()).await?.map(|worker| worker.name);
        let Some(victim) = self.stage.workers.iter().position(|member| Some(&member.name) == name.as_ref()) else {
            return Ok(false);
        };
        self.log.say(&format!("the activation of update {run} is under way"));
        self.kill_worker(victim).await?;
        let times = &self.settings.times;
        let patience = times.bound() + Duration::from_millis(times.settle) + COMES;
        let ended = until("an activation that is made again", patience, || async {
            let again = self.stage.node.calls().iter().any(|other| other.index > call.index && other.path == call.path);
            // A run that was cancelled meanwhile asks no more; whoever comes next must not be overtaken by this.
            let over = match run::Entity::find_by_id(run).one(db.pool()).await {
                Ok(Some(run)) => run.ended_at.is_some(),
                _ => false,
            };
            (again || over).then_some(again)
        });
        let ended = ended.await;
        let both = matches!(ended, Ok(true));
        let how = match ended {
            Ok(true) => "arrives, while it is made again",
            Ok(false) => "arrives after its update was cancelled",
            Err(_) => "arrives, though nobody made it again in time",
        };
        self.log.say(&format!("the activation of update {run} {how}, {} ms late", (now_micros() - call.start) / 1_000));
        Ok(both)
    }
}
