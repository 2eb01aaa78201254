//! What an update would change, found without changing anything.

use engine::failure::{Failure, StepError};
use serde_json::json;

use super::{
    K8s,
    activate::replicas,
    api::failure,
    differences,
    manifests::deployment,
    place::{invalid, live_image},
    prune::ours,
    validate, verify,
};
use crate::target::{Difference, Look, Preview};

pub(super) async fn preview(k8s: &K8s, look: Look<'_>) -> Result<Preview, Failure> {
    found(k8s, look).await.map_err(failure)
}

async fn found(k8s: &K8s, look: Look<'_>) -> Result<Preview, StepError> {
    let (place, problems) = match validate::look(k8s, look).await? {
        (Some(place), problems) => (place, problems),
        (None, problems) => {
            return Ok(Preview { bundle: look.spec.package.bundle_id.clone(), problems, ..Preview::default() });
        }
    };
    let mut preview = Preview { bundle: look.spec.package.bundle_id.clone(), problems, ..Preview::default() };
    if !preview.problems.is_empty() {
        // What can't be tried can't be compared.
        return Ok(preview);
    }
    let live = place.deployment().await?;
    let versions = live.as_ref().map(|live| verify::versions(&place, live)).unwrap_or_default();
    preview.active_bundle = versions.first().map(|one| one.version.clone());
    preview.creates_project = live.is_none();
    // The image is made by the update: what would change of it shows by its versions.
    let image = live.as_ref().and_then(live_image).unwrap_or(validate::ANY_IMAGE);
    let manifests = place.goal.manifests(image, replicas(live.as_ref())).map_err(invalid)?;
    preview.changes = differences::all(&place, &manifests, true).await?;
    for (id, _) in ours(&place, &place.goal.offered.kinds(), &[]).await? {
        if !place.goal.wants(&manifests, &id) {
            preview.changes.push(Difference { what: id.to_string(), found: json!("present"), wanted: json!("absent") });
        }
    }
    let (now, then) = (live.as_ref().map(|_| shares(&versions)), deployment::versions(&place.goal));
    if now.as_deref().is_some_and(|now| now != then) {
        preview.changes.push(Difference { what: "the versions".to_owned(), found: json!(now), wanted: json!(then) });
    }
    Ok(preview)
}

fn shares(versions: &[crate::target::VersionShare]) -> String {
    let all: Vec<_> = versions.iter().map(|one| format!("{}={}", one.version, one.probability)).collect();
    all.join(" ")
}
