//! What earlier versions left: by label, of the kinds that we make, and never what is still wanted.

use engine::failure::StepError;
use serde_json::Value;

use super::{
    objects::{Id, Kind},
    offered::is_optional,
    place::Place,
};
use crate::{codes, http::CallError};

/// What there is of this deployment, of these kinds, with its unique ids. Of Secrets and all others alike, only what is known of them.
pub(super) async fn ours(place: &Place<'_>, kinds: &[Kind]) -> Result<Vec<(Id, String)>, CallError> {
    let mut all = Vec::new();
    for kind in kinds {
        let listed = match place.api.list_metadata(kind, &place.goal.names.selector()).await {
            // Without a right to them we made none.
            Err(error) if is_optional(kind) && error.is(&codes::NODE_FORBIDDEN) => continue,
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
    wanted: impl Fn(&Id) -> bool,
) -> Result<Vec<Id>, StepError> {
    let mut gone = Vec::new();
    for (id, uid) in ours(place, kinds).await? {
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
