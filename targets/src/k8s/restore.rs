//! Puts back what was live before this run: the manifests as they had been applied, and the rollout of those followed to its end.

use engine::failure::{StepError, StepOutcome, StepResult};
use serde_json::{Value, json};

use super::{
    K8s,
    activate::{follow, opened, replicas},
    apply::apply,
    manifests::Manifest,
    names::{REVISION, kinds_of},
    notes::{self, Prior, Watch},
    objects::Id,
    place::{Place, done, log},
    prune::{only, prune},
    verify,
};
use crate::{
    managed::{patience, ready},
    target::Work,
};

/// A restore that fails leaves the service between two states: a human must look.
pub(super) async fn restore(k8s: &K8s, work: &Work<'_>) -> StepResult {
    put_back(k8s, work).await.map_err(|error| match error {
        StepError::Permanent(failure) => StepError::Permanent(failure.outcome_unknown()),
        StepError::Retryable { failure, retry_after } => {
            StepError::Retryable { failure: failure.outcome_unknown(), retry_after }
        }
        other => other,
    })
}

async fn put_back(k8s: &K8s, work: &Work<'_>) -> StepResult {
    let run = work.run;
    let Some(prior) = notes::read::<Prior>(run, notes::PRIOR) else {
        // Nothing was applied: what is live is what was.
        let place = Place::of_work(k8s, work).await?;
        return match place.deployment().await? {
            Some(live) => receipt(&place, &live, Vec::new()).await,
            None => Ok(nothing()),
        };
    };
    let noted: Option<Watch> = notes::read(run, notes::RESTORE).filter(|watch: &Watch| watch.is_of(run));
    let place = ready!(opened(k8s, work, noted.as_ref()).await?);
    let now = ready!(patience::opened(run, noted.is_some(), place.deployment().await).await?);
    let (live, mut made) = (replicas(now.as_ref()), now.as_ref().map(kinds_of).unwrap_or_default());
    // Those of the update that failed, also once the Deployment is the earlier one again.
    made.extend(place.goal.optional_kinds());
    let manifests: Vec<_> = prior.scaled(live).into_iter().filter_map(Manifest::plain).collect();
    let deployment = manifests.iter().find(|manifest| manifest.id.kind.name == "Deployment");
    let (Some(deployment), true) = (deployment, prior.served()) else { return Ok(nothing()) };
    let revision =
        deployment.body.pointer("/spec/template/metadata/labels").and_then(|labels| labels.get(REVISION)?.as_str());
    let revision = revision.unwrap_or_default();
    if noted.is_none() {
        let kept = |id: &Id| manifests.iter().any(|manifest| manifest.id.is(id));
        prune(&place, &only(place.goal.offered.kinds(), "HorizontalPodAutoscaler"), &[], kept).await?;
        for manifest in &manifests {
            apply(&place, manifest, false).await?;
            log(run, format!("Put back {}.", manifest.id)).await;
        }
        notes::write(run, notes::RESTORE, &Watch::new(run.run().0, revision, run.now().await?)).await?;
    }
    match follow(&place, run, notes::RESTORE).await? {
        wait @ StepOutcome::NotYet { .. } => Ok(wait),
        StepOutcome::Done { .. } => {
            let read = contents(&deployment.body);
            let kept = |id: &Id| {
                manifests.iter().any(|manifest| manifest.id.is(id))
                    || (matches!(id.kind.name.as_str(), "ConfigMap" | "Secret") && read.contains(&id.name))
            };
            prune(&place, &place.goal.offered.kinds(), &made, kept).await?;
            match place.deployment().await? {
                Some(live) => receipt(&place, &live, manifests).await,
                None => Ok(nothing()),
            }
        }
    }
}

/// The names of the ConfigMaps and Secrets that a Deployment's Pods read.
fn contents(deployment: &Value) -> Vec<String> {
    let pods = deployment.pointer("/spec/template/spec").cloned().unwrap_or_default();
    let list = |pointer: &str| pods.pointer(pointer).and_then(Value::as_array).cloned().unwrap_or_default();
    let from = list("/containers/0/envFrom").into_iter().chain(list("/imagePullSecrets"));
    let named = from.filter_map(|one| {
        let at = one.get("configMapRef").or_else(|| one.get("secretRef")).unwrap_or(&one);
        at.get("name").and_then(Value::as_str).map(str::to_owned)
    });
    named.collect()
}

async fn receipt(place: &Place<'_>, live: &Value, manifests: Vec<Manifest>) -> StepResult {
    let differences = super::differences::all(place, &manifests, false).await?;
    let receipt = verify::receipt_of(place, live, differences).await?;
    verify::outcome(receipt)
}

/// With nothing live before there is nothing to put back: what is there stands, as under LEAVE, and that is said.
fn nothing() -> StepOutcome {
    let said = "Nothing was live before this update, so nothing was put back: what it made in the cluster stands.";
    done(json!(null), vec![said.to_owned()])
}
