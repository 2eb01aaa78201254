//! How a deployed service is, and what is otherwise than an update left it. Changes nothing.

use engine::failure::{Code, Failure, StepError};

use super::{
    K8s,
    activate::{patience, replicas},
    api::failure,
    differences,
    manifests::Manifest,
    names::REVISION,
    notes::Watch,
    place::{Place, invalid},
    rollout::{Standing, condition, judge},
    urls, verify,
};
use crate::{
    codes,
    on_node::{OnNode, OnService, ServiceTrouble},
    target::{Difference, Look, Receipt},
};

pub(super) async fn observe(k8s: &K8s, look: Look<'_>) -> Result<OnNode, Failure> {
    seen(k8s, look).await.map_err(failure)
}

async fn seen(k8s: &K8s, look: Look<'_>) -> Result<OnNode, StepError> {
    let place = Place::of_look(k8s, look).await?;
    let Some(live) = place.deployment().await? else { return Ok(OnNode::default()) };
    let versions = verify::versions(&place, &live);
    let enabled = replicas(Some(&live)).unwrap_or(1) > 0;
    let mut troubles = Vec::new();
    if enabled {
        let label = live.pointer("/spec/template/metadata/labels").and_then(|labels| labels.get(REVISION)?.as_str());
        let revision = label.unwrap_or_default();
        // A look has no past: Pods that fail are told of at once, and are no error while others answer.
        let (pods, mut watch) = (place.pods().await?, Watch::new(0, revision, 0));
        let answering = live.pointer("/status/availableReplicas").and_then(serde_json::Value::as_u64).unwrap_or(0) > 0;
        let available = condition(&live, "Available").is_none_or(|(status, _, _)| status == "True");
        let mut tell = |code: Code, is_error: bool, message: String| {
            troubles.push(ServiceTrouble { is_error, code, message: place.api.clean(&message) });
        };
        match judge(&live, &pods, revision, patience(&place), 0, &mut watch) {
            Standing::Complete => {}
            Standing::Going(what) if watch.failing_since.is_none() => tell(codes::K8S_PODS_STARTING, false, what),
            Standing::Going(why) | Standing::Failed(why) => {
                tell(codes::K8S_PODS_FAILING, !answering || !available, why)
            }
        }
    }
    let urls = urls::of(&place).await?;
    Ok(OnNode {
        exists: true,
        active_bundle: versions.first().map(|one| one.version.clone()),
        service: Some(OnService { enabled, versions, urls, troubles }),
        ..OnNode::default()
    })
}

/// What an update of this spec would put right.
pub(super) async fn drift(k8s: &K8s, look: Look<'_>, receipt: &Receipt) -> Result<Vec<Difference>, Failure> {
    differ(k8s, look, receipt).await.map_err(failure)
}

async fn differ(k8s: &K8s, look: Look<'_>, receipt: &Receipt) -> Result<Vec<Difference>, StepError> {
    let place = Place::of_look(k8s, look).await?;
    let live = place.deployment().await?;
    let noted = receipt.service.as_ref().and_then(|service| service.facts.get("image")?.as_str());
    let image = noted.or_else(|| live.as_ref().and_then(super::place::live_image)).unwrap_or_default();
    let mut manifests: Vec<Manifest> = place.goal.manifests(image, replicas(live.as_ref())).map_err(invalid)?;
    let off = receipt.service.as_ref().is_some_and(|service| !service.enabled);
    if off {
        manifests.retain(|manifest| manifest.id.kind.name != "HorizontalPodAutoscaler");
    }
    let mut found = differences::all(&place, &manifests, true).await?;
    found.retain(|one| !(off && one.what.ends_with("/spec/replicas")));
    let known =
        |one: &Difference| receipt.differences.iter().any(|then| then.what == one.what && then.found == one.found);
    found.retain(|one| !known(one));
    Ok(found)
}
