//! Applying: ours alone, and never over another manager's head.

use engine::failure::{Failure, StepError};
use serde_json::{Value, json};

use super::{
    api::{Applied, Conflict, How},
    manifests::Manifest,
    names::MANAGER,
    place::{Place, taken},
    settings::Conflicts,
    strays,
};
use crate::codes;

/// So many fields of a conflict are named.
const MOST_NAMED: usize = 10;

/// Applies one manifest: the object as it is then, or would be.
pub(super) async fn apply(place: &Place<'_>, manifest: &Manifest, dry: bool) -> Result<Value, StepError> {
    // An object of this name that is not ours would be taken over without a word: applying knows fields, not objects.
    let whole = matches!(manifest.id.kind.name.as_str(), "Service" | "Deployment");
    let found = if whole { place.api.get(&manifest.id).await? } else { place.api.metadata(&manifest.id).await? };
    if found.as_ref().is_some_and(|found| !place.goal.names.owns(found)) {
        return Err(taken(&manifest.id).permanent());
    }
    let force = place.goal.settings.conflicts == Conflicts::Force;
    let strays = found.filter(|_| whole).map(|live| strays::of(&place.goal, manifest, &live)).unwrap_or_default();
    if !strays.paths.is_empty() {
        if !force {
            return Err(undone(place, manifest, &strays.paths).permanent());
        }
        if !dry && !strays.removal.is_null() {
            place.api.patch(&manifest.id, &strays.removal).await?;
        }
    }
    let applied = put(place, manifest, How { force, dry }).await?;
    if strays.is_paused && !dry {
        // Not before: what was there would be rolled out first.
        place.api.patch(&manifest.id, &json!({"spec": {"paused": null}})).await?;
    }
    Ok(applied)
}

async fn put(place: &Place<'_>, manifest: &Manifest, how: How) -> Result<Value, StepError> {
    match place.api.apply(&manifest.body, how).await? {
        Applied::Done(object) => Ok(object),
        Applied::Conflicts(conflicts) if conflicts.iter().all(is_own) => {
            match place.api.apply(&manifest.body, How { force: true, ..how }).await? {
                Applied::Done(object) => Ok(object),
                Applied::Conflicts(conflicts) => Err(conflict(manifest, &conflicts).permanent()),
            }
        }
        Applied::Conflicts(conflicts) => Err(conflict(manifest, &conflicts).permanent()),
    }
}

/// A field that we set by another kind of call (switching off), or that the cluster's autoscaler sets in our name.
fn is_own(conflict: &Conflict) -> bool {
    conflict.manager == MANAGER || (conflict.field == ".spec.replicas" && conflict.manager == "kube-controller-manager")
}

fn undone(place: &Place<'_>, manifest: &Manifest, paths: &[String]) -> Failure {
    let named: Vec<_> = paths.iter().take(MOST_NAMED).map(|path| place.api.clean(path)).collect();
    let message = format!(
        "In {}, somebody else set what undoes what Slipway sets: {}. Take that out again, or set conflicts to FORCE in the infrastructure's settings.",
        manifest.id,
        named.join("; ")
    );
    Failure::new(codes::K8S_FIELD_CONFLICT, message)
}

fn conflict(manifest: &Manifest, conflicts: &[Conflict]) -> Failure {
    let named = conflicts.iter().take(MOST_NAMED).map(|one| format!("{} is managed by {}", one.field, one.manager));
    let named: Vec<_> = named.collect();
    let message = format!(
        "In {}, somebody else manages what Slipway sets: {}. Take that out of the other tool, or set conflicts to FORCE in the infrastructure's settings.",
        manifest.id,
        named.join("; ")
    );
    Failure::new(codes::K8S_FIELD_CONFLICT, message)
}
