//! Step `activate`: what was live is noted, everything is applied, and the rollout is followed to its end.

use std::time::Duration;

use engine::{
    failure::{Failure, StepError, StepOutcome, StepResult},
    step::StepContext,
};
use serde_json::Value;

use super::{
    K8s,
    apply::apply,
    manifests::{Manifest, pods},
    notes::{self, Prior, Watch},
    place::{Place, done, image, invalid, log},
    prune::{only, prune},
    rollout::{Limits, Standing, judge},
};
use crate::{
    codes,
    managed::{Flow, patience, ready},
    target::Work,
};

/// Looks at a rollout are so far apart.
const LOOK_EVERY: Duration = Duration::from_secs(2);

pub(super) async fn activate(k8s: &K8s, work: &Work<'_>) -> StepResult {
    let noted: Option<Watch> = notes::read(work.run, notes::ROLLOUT).filter(|watch: &Watch| watch.is_of(work.run));
    let place = ready!(opened(k8s, work, noted.as_ref()).await?);
    let image = image(work.run)?;
    let (_, revision) = pods::template(&place.goal, &image);
    if noted.is_none_or(|watch| watch.revision != revision) {
        let live = place.deployment().await?;
        note_prior(&place, work.run).await?;
        put(&place, work.run, &image, replicas(live.as_ref())).await?;
        let now = work.run.now().await?;
        notes::write(work.run, notes::ROLLOUT, &Watch::new(work.run.run().0, &revision, now)).await?;
    }
    follow(&place, work.run, notes::ROLLOUT).await
}

/// How many Pods a Deployment asks for.
pub(super) fn replicas(deployment: Option<&Value>) -> Option<u64> {
    deployment?.pointer("/spec/replicas")?.as_u64()
}

/// Notes what is live before this run changes anything, once.
async fn note_prior(place: &Place<'_>, run: &dyn StepContext) -> Result<(), StepError> {
    if run.note(notes::PRIOR).is_some() {
        return Ok(());
    }
    let mut prior = Prior { manifests: Vec::new(), replicas: replicas(place.deployment().await?.as_ref()) };
    let mut manifests = Vec::new();
    for kind in place.goal.offered.kinds().iter().filter(|kind| !matches!(kind.name.as_str(), "ConfigMap" | "Secret")) {
        let listed = match place.api.list(kind, &place.goal.names.selector()).await {
            Err(error) if super::offered::is_optional(kind) && error.is(&codes::NODE_FORBIDDEN) => continue,
            listed => listed?,
        };
        for mut live in listed {
            // Items of a list don't say what they are.
            if let Some(object) = live.as_object_mut() {
                object.insert("apiVersion".to_owned(), Value::String(kind.version.clone()));
                object.insert("kind".to_owned(), Value::String(kind.name.clone()));
            }
            manifests.extend(Manifest::of_live(&live));
        }
    }
    manifests.sort_by_key(|manifest| rank(&manifest.id.kind.name));
    prior.manifests = manifests.into_iter().map(|manifest| manifest.body).collect();
    notes::write(run, notes::PRIOR, &prior).await
}

/// The order in which objects are applied.
pub(super) fn rank(kind: &str) -> u8 {
    match kind {
        "Deployment" => 1,
        "HorizontalPodAutoscaler" => 2,
        _ => 0,
    }
}

/// Applies everything. Each object's effect shows by itself: what is there already is left as it is.
async fn put(place: &Place<'_>, run: &dyn StepContext, image: &str, live: Option<u64>) -> Result<(), StepError> {
    let manifests = place.goal.manifests(image, live).map_err(invalid)?;
    // An autoscaler that is not wanted any more would undo the number of Pods.
    let autoscalers = only(place.goal.offered.kinds(), "HorizontalPodAutoscaler");
    for id in prune(place, &autoscalers, &[], |id| place.goal.wants(&manifests, id)).await? {
        log(run, format!("Deleted {id}.")).await;
    }
    for manifest in place.secrets().await?.iter().chain(&manifests) {
        apply(place, manifest, false).await?;
        log(run, format!("Applied {}.", manifest.id)).await;
    }
    Ok(())
}

/// The place; while a rollout goes on there, with the patience of who follows it.
pub(super) async fn opened<'a>(
    k8s: &K8s,
    work: &'a Work<'a>,
    watch: Option<&Watch>,
) -> Result<Flow<Place<'a>>, StepError> {
    patience::opened(work.run, watch.is_some(), Place::of_work(k8s, work).await).await
}

/// Looks at the rollout of this note.
pub(super) async fn follow(place: &Place<'_>, run: &dyn StepContext, note: &str) -> StepResult {
    let Some(mut watch) = notes::read::<Watch>(run, note) else { return Ok(StepOutcome::done()) };
    let look = async { Ok((place.deployment().await?, place.pods().await?)) };
    let (Some(deployment), pods) = ready!(patience::looked(run, look.await).await?) else {
        let message = format!("The {} was deleted while it was rolled out.", place.deployment_id());
        return Err(Failure::new(codes::K8S_OBJECT_MISSING, message).permanent());
    };
    let now = run.now().await?;
    let before = watch.clone();
    let standing = judge(&deployment, &pods, &watch.revision.clone(), limits(place), now, &mut watch);
    match standing {
        Standing::Complete => {
            log(run, format!("The {} is rolled out.", place.deployment_id())).await;
            Ok(done(Value::Null, Vec::new()))
        }
        Standing::Failed(why) => {
            let message = format!("The new Pods do not come to answer queries. {}", place.api.clean(&why));
            Err(Failure::new(codes::K8S_ROLLOUT_FAILED, message).permanent())
        }
        Standing::Going(what) => {
            let what = place.api.clean(&what);
            if what != watch.said {
                log(run, what.clone()).await;
                watch.said = what;
            }
            if watch != before {
                notes::write(run, note, &watch).await?;
            }
            Ok(StepOutcome::NotYet { check_in: LOOK_EVERY })
        }
    }
}

pub(super) fn limits(place: &Place<'_>) -> Limits {
    let workload = &place.goal.workload;
    Limits {
        progress: workload.progress_deadline(),
        failing: workload.failing_pod(),
        unplaced: workload.unschedulable(),
    }
}
