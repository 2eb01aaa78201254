//! Switching a service off, and deleting it.

use std::time::Duration;

use engine::{
    failure::{StepError, StepOutcome, StepResult},
    step::StepContext,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    K8s,
    activate::replicas,
    names::kinds_of,
    notes,
    place::{Place, done, log},
    prune::{only, ours, prune},
};
use crate::target::Work;

const LOOK_EVERY: Duration = Duration::from_secs(2);
/// So long Pods may take to end, in microseconds; then it is told that they have not.
const ENDING: i64 = 10 * 60 * 1_000_000;

#[derive(Serialize, Deserialize)]
struct Going {
    run: i64,
    since: i64,
}

/// No Pod runs any more; everything else stays, so that the next update has it back soon.
pub(super) async fn switch_off(k8s: &K8s, work: &Work<'_>) -> StepResult {
    let place = Place::of_work(k8s, work).await?;
    let Some(deployment) = place.deployment().await? else { return Ok(absent(&place)) };
    // It would start Pods again.
    for id in prune(&place, &only(place.goal.offered.kinds(), "HorizontalPodAutoscaler"), &[], |_| false).await? {
        log(work.run, format!("Deleted {id}.")).await;
    }
    if replicas(Some(&deployment)) != Some(0) {
        place.api.scale(&place.deployment_id(), 0).await?;
        log(work.run, format!("{} has no Pods any more.", place.deployment_id())).await;
    }
    ended(&place, work.run, json!({"deploymentSwitchedOff": place.goal.names.base})).await
}

/// Everything of this deployment goes, also what earlier versions made.
pub(super) async fn remove(k8s: &K8s, work: &Work<'_>) -> StepResult {
    let place = Place::of_work(k8s, work).await?;
    let kinds = place.goal.offered.kinds();
    let made = place.deployment().await?.as_ref().map(kinds_of).unwrap_or_default();
    for id in prune(&place, &kinds, &made, |_| false).await? {
        log(work.run, format!("Deleted {id}.")).await;
    }
    if !ours(&place, &kinds, &made).await?.is_empty() {
        return wait(work.run).await.map(|_| StepOutcome::NotYet { check_in: LOOK_EVERY });
    }
    ended(&place, work.run, json!({"deploymentDeleted": place.goal.names.base})).await
}

/// Waits until the last Pod has ended.
async fn ended(place: &Place<'_>, run: &dyn StepContext, output: serde_json::Value) -> StepResult {
    let left = place.pods().await?.len();
    if left == 0 {
        return Ok(done(output, Vec::new()));
    }
    if wait(run).await? < ENDING {
        return Ok(StepOutcome::NotYet { check_in: LOOK_EVERY });
    }
    let warning =
        format!("{left} Pods were told to end, and have not ended in 10 minutes. Look at the nodes that they run on.");
    Ok(done(output, vec![warning]))
}

/// How long this run has been waiting, in microseconds.
async fn wait(run: &dyn StepContext) -> Result<i64, StepError> {
    let now = run.now().await?;
    match notes::read::<Going>(run, notes::GOING).filter(|going| going.run == run.run().0) {
        Some(going) => Ok(now.saturating_sub(going.since)),
        None => {
            notes::write(run, notes::GOING, &Going { run: run.run().0, since: now }).await?;
            Ok(0)
        }
    }
}

fn absent(place: &Place<'_>) -> StepOutcome {
    let warning = format!("The {} is not in the cluster: there was nothing to do.", place.deployment_id());
    done(json!({}), vec![warning])
}
