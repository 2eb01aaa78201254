//! How a deployed service is, and what is otherwise than an update left it. Changes nothing.

use engine::failure::{Code, Failure, StepError};
use serde_json::Value;

use super::{
    K8s,
    activate::{limits, replicas},
    api::failure,
    differences,
    manifests::Manifest,
    names::REVISION,
    notes::Watch,
    place::{Place, invalid},
    rollout::{Standing, condition, is_going, judge},
    settings::ExpositionType,
    urls, verify,
};
use crate::{
    codes,
    on_node::{OnNode, OnService, ServiceTrouble},
    target::{Difference, Look, Receipt, VersionShare},
};

pub(super) async fn observe(k8s: &K8s, look: Look<'_>) -> Result<OnNode, Failure> {
    seen(k8s, look).await.map_err(failure)
}

async fn seen(k8s: &K8s, look: Look<'_>) -> Result<OnNode, StepError> {
    let place = Place::of_look(k8s, look).await?;
    let Some(live) = place.deployment().await? else { return Ok(OnNode::default()) };
    let mut versions = verify::versions(&place, &live);
    let enabled = replicas(Some(&live)).unwrap_or(1) > 0;
    let mut troubles = Vec::new();
    if enabled {
        let label = live.pointer("/spec/template/metadata/labels").and_then(|labels| labels.get(REVISION)?.as_str());
        let revision = label.unwrap_or_default();
        // A look has no past: Pods that fail are told of at once, and are no error while others answer.
        let (pods, mut watch) = (place.pods().await?, Watch::new(0, revision, 0));
        let answering = live.pointer("/status/availableReplicas").and_then(Value::as_u64).unwrap_or(0) > 0;
        let available = condition(&live, "Available").is_none_or(|(status, _, _)| status == "True");
        let mut tell = |code: Code, is_error: bool, message: String| {
            troubles.push(ServiceTrouble { is_error, code, message: place.api.clean(&message) });
        };
        let standing = judge(&live, &pods, revision, limits(&place), 0, &mut watch);
        if standing != Standing::Complete
            && let Some(answering) = answering_now(&place, &pods)
        {
            versions = answering;
        }
        match standing {
            Standing::Complete => {}
            Standing::Going(what) if watch.failing_since.is_none() => tell(codes::K8S_PODS_STARTING, false, what),
            Standing::Going(why) | Standing::Failed(why) => {
                tell(codes::K8S_PODS_FAILING, !answering || !available, why)
            }
        }
    }
    troubles.extend(unselected(&place, &live).await?.filter(|_| enabled));
    let urls = urls::of(&place).await?;
    Ok(OnNode {
        exists: true,
        active_bundle: versions.first().map(|one| one.version.clone()),
        service: Some(OnService { enabled, versions, urls, troubles }),
        ..OnNode::default()
    })
}

/// What the Pods that can be queried serve, each with its part of the queries: during a rollout, not all is as the Deployment wants it. None where no Pod says.
fn answering_now(place: &Place<'_>, pods: &[Value]) -> Option<Vec<VersionShare>> {
    let ready = |pod: &&Value| condition(pod, "Ready").is_some_and(|(status, ..)| status == "True") && !is_going(pod);
    shared(pods.iter().filter(ready).map(|pod| verify::versions(place, pod)).collect())
}

/// What Pods that serve these get of the queries: each the same part. None where one does not say, or there is none.
fn shared(served: Vec<Vec<VersionShare>>) -> Option<Vec<VersionShare>> {
    if served.is_empty() || served.iter().any(Vec::is_empty) {
        return None;
    }
    let mut all: Vec<VersionShare> = Vec::new();
    #[expect(clippy::cast_precision_loss, reason = "so many Pods there are not")]
    let part = 1.0 / served.len() as f64;
    for one in served.into_iter().flatten() {
        let share = one.probability * part;
        match all.iter_mut().find(|known| known.version == one.version) {
            Some(known) => known.probability += share,
            None => all.push(VersionShare { version: one.version, probability: share }),
        }
    }
    Some(all)
}

/// A Service that leads to none of the Pods. Where an infrastructure's own YAML makes it, that is the YAML's own affair.
async fn unselected(place: &Place<'_>, deployment: &Value) -> Result<Option<ServiceTrouble>, StepError> {
    if place.goal.exposition.kind == ExpositionType::Yaml {
        return Ok(None);
    }
    let id = urls::service_id(&place.goal.names.base);
    let told = |code: Code, message: String| Some(ServiceTrouble { is_error: true, code, message });
    let Some(service) = place.owned(&id).await? else {
        let message = format!("The {id} is gone, and with it the way to the Pods. Start an update.");
        return Ok(told(codes::K8S_OBJECT_MISSING, message));
    };
    let labels = deployment.pointer("/spec/template/metadata/labels").and_then(Value::as_object);
    let selector = service.pointer("/spec/selector").and_then(Value::as_object);
    let fits =
        selector.is_some_and(|all| all.iter().all(|(name, value)| labels.and_then(|own| own.get(name)) == Some(value)));
    if fits {
        return Ok(None);
    }
    let message = format!(
        "The {id} selects none of the Pods: somebody changed its selector. Take that out again, and start an update."
    );
    Ok(told(codes::K8S_FIELD_CONFLICT, message))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pod_has_the_same_part_of_the_queries() {
        let of = |all: &[(&str, f64)]| {
            let share = |(version, probability): &(&str, f64)| VersionShare {
                version: (*version).to_owned(),
                probability: *probability,
            };
            all.iter().map(share).collect::<Vec<_>>()
        };
        let found = shared(vec![of(&[("v1", 1.0)]), of(&[("v1", 0.5), ("v2", 0.5)])]).unwrap();
        assert_eq!(found, of(&[("v1", 0.75), ("v2", 0.25)]));
        assert_eq!(shared(vec![of(&[("v1", 1.0)]), Vec::new()]), None, "one of an earlier build does not say");
        assert_eq!(shared(Vec::new()), None);
    }
}
