//! Step `verify`: what is there is read back, and what earlier versions left is deleted.

use std::collections::BTreeMap;

use engine::failure::{Failure, StepError, StepOutcome, StepResult};
use serde_json::{Value, json};

use super::{
    K8s,
    activate::replicas,
    differences,
    names::{REVISION, VERSIONS, kinds_of},
    notes::{self, Prior},
    place::{Place, done, image, invalid, live_image, log},
    prune::prune,
    settings::ExpositionType,
    urls,
};
use crate::{
    codes,
    target::{Difference, Receipt, ServiceReceipt, VersionShare, Work},
};

pub(super) async fn verify(k8s: &K8s, work: &Work<'_>) -> StepResult {
    let place = Place::of_work(k8s, work).await?;
    let live = place.deployment().await?.ok_or_else(|| gone(&place))?;
    let manifests = place.goal.manifests(&image(work.run)?, replicas(Some(&live))).map_err(invalid)?;
    let receipt = receipt_of(&place, &live, differences::all(&place, &manifests, true).await?).await?;
    let prior = notes::read::<Prior>(work.run, notes::PRIOR).unwrap_or_default();
    let made: Vec<_> = prior.manifests.iter().flat_map(kinds_of).collect();
    let left = prune(&place, &place.goal.offered.kinds(), &made, |id| place.goal.wants(&manifests, id)).await?;
    for id in left {
        log(work.run, format!("Deleted {id}, which an earlier version left.")).await;
    }
    match outcome(receipt)? {
        StepOutcome::Done { output, mut warnings } => {
            warnings.extend(unaddressed(&place).await?);
            Ok(done(output, warnings))
        }
        wait @ StepOutcome::NotYet { .. } => Ok(wait),
    }
}

/// What it says of a service that the cluster has given no address to.
async fn unaddressed(place: &Place<'_>) -> Result<Option<String>, StepError> {
    let waits = match place.goal.exposition.kind {
        ExpositionType::LoadBalancer => "Its load balancer",
        ExpositionType::Ingress => "Its Ingress, which has no host of its own,",
        ExpositionType::ClusterIp | ExpositionType::NodePort | ExpositionType::Yaml => return Ok(None),
    };
    let none = urls::of(place).await?.is_empty();
    Ok(none.then(|| format!("{waits} has no address yet, so nobody outside the cluster can call the service. Look at what the cluster says of it.")))
}

pub(super) fn gone(place: &Place<'_>) -> Failure {
    Failure::new(codes::K8S_OBJECT_MISSING, format!("The {} is not there.", place.deployment_id()))
}

/// What a live Deployment says of itself.
pub(super) async fn receipt_of(
    place: &Place<'_>,
    live: &Value,
    differences: Vec<Difference>,
) -> Result<Receipt, StepError> {
    let versions = versions(place, live);
    let label =
        live.pointer("/spec/template/metadata/labels").and_then(|labels| labels.get(REVISION)).and_then(Value::as_str);
    let facts = BTreeMap::from([
        ("namespace".to_owned(), json!(place.goal.namespace())),
        ("deployment".to_owned(), json!(place.goal.names.base)),
        ("image".to_owned(), json!(live_image(live).map(|image| place.api.clean(image)))),
        ("revision".to_owned(), json!(label.map(|label| place.api.clean(label)))),
        ("replicas".to_owned(), json!(replicas(Some(live)))),
    ]);
    let service = ServiceReceipt {
        service_id: place.goal.service.service_id.clone(),
        enabled: replicas(Some(live)).unwrap_or(1) > 0,
        versions: versions.clone(),
        urls: urls::of(place).await?,
        facts,
    };
    Ok(Receipt {
        project_key: place.goal.spec.deployed_project_key.clone(),
        bundle: versions.first().map(|one| one.version.clone()),
        service: Some(service),
        differences,
        ..Receipt::default()
    })
}

/// The versions that a live Deployment, or a Pod, names.
pub(super) fn versions(place: &Place<'_>, live: &Value) -> Vec<VersionShare> {
    let noted = live.pointer("/metadata/annotations").and_then(|all| all.get(VERSIONS)).and_then(Value::as_str);
    let shares = noted.unwrap_or_default().split(' ').take(64).filter_map(|one| {
        let (version, share) = one.rsplit_once('=')?;
        let probability = share.parse().ok().filter(|share: &f64| *share > 0.0 && *share <= 1.0)?;
        Some(VersionShare { version: place.api.clean(version), probability })
    });
    shares.collect()
}

/// The receipt as the step's output, its differences as warnings.
pub(super) fn outcome(receipt: Receipt) -> StepResult {
    let warnings = receipt.warnings();
    Ok(done(json!(receipt), warnings))
}
