//! What earlier versions left: by label, of the kinds that we make, and never what is still wanted.

use engine::failure::{Failure, StepError};
use serde_json::Value;

use super::{
    names::KINDS,
    objects::{Id, Kind},
    offered::is_optional,
    place::Place,
};
use crate::codes;

/// What there is of this deployment, of these kinds, with its unique ids. Of Secrets and all others alike, only what is known of them. `made` are the optional kinds of
/// which it is known to have objects: those must be seen.
pub(super) async fn ours(place: &Place<'_>, kinds: &[Kind], made: &[String]) -> Result<Vec<(Id, String)>, StepError> {
    let mut all = Vec::new();
    for kind in kinds {
        let listed = match place.api.list_metadata(kind, &place.goal.names.selector()).await {
            Err(error) if is_optional(kind) && error.is(&codes::NODE_FORBIDDEN) => {
                if !made.contains(&kind.name) {
                    continue;
                }
                let message = format!(
                    "This deployment has objects of the kind {} in namespace {}, and the credentials may not list them any more: they would stay. Give the right back (docs/targets/K8S.md has the Role), or delete them by hand and take {} out of the annotation {KINDS} of the {}.",
                    kind.name,
                    place.goal.namespace(),
                    kind.name,
                    place.deployment_id()
                );
                return Err(Failure::new(codes::K8S_RIGHT_MISSING, message).permanent());
            }
            listed => listed?,
        };
        let text = |object: &Value, key: &str| {
            object.pointer("/metadata").and_then(|metadata| metadata.get(key)?.as_str()).map(str::to_owned)
        };
        all.extend(
            listed
                .iter()
                .filter(|object| place.goal.names.owns(object))
                .filter_map(|object| Some((kind.named(&text(object, "name")?), text(object, "uid")?))),
        );
    }
    Ok(all)
}

/// Deletes what is ours and not wanted, and answers what that was.
pub(super) async fn prune(
    place: &Place<'_>,
    kinds: &[Kind],
    made: &[String],
    wanted: impl Fn(&Id) -> bool,
) -> Result<Vec<Id>, StepError> {
    let mut gone = Vec::new();
    for (id, uid) in ours(place, kinds, made).await? {
        if !wanted(&id) {
            place.api.delete(&id, &uid).await?;
            gone.push(id);
        }
    }
    Ok(gone)
}

/// The kinds of this name alone.
pub(super) fn only(kinds: Vec<Kind>, name: &str) -> Vec<Kind> {
    kinds.into_iter().filter(|kind| kind.name == name).collect()
}
