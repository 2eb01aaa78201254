//! What is otherwise in the cluster than it should be: found by a trial that changes nothing, so that the API server's own defaults and spellings count.

use engine::failure::StepError;
use serde_json::{Value, json};

use super::{
    api::{Api, Applied, How},
    manifests::{Manifest, config},
    names::{APPLIED, KINDS, VERSIONS},
    place::Place,
    strays,
};
use crate::target::Difference;

/// So many differences of one object are told.
const MOST: usize = 20;
/// A value is told in so many characters.
const MOST_CHARS: usize = 200;

/// Of these manifests and the Secrets. What Secrets hold is not looked at: their names say which content they have, and they can't be changed.
pub(super) async fn all(
    place: &Place<'_>,
    manifests: &[Manifest],
    secrets: bool,
) -> Result<Vec<Difference>, StepError> {
    let mut differences = Vec::new();
    for manifest in manifests {
        of_one(place, manifest, &mut differences).await?;
    }
    if secrets {
        for id in config::secret_ids(&place.goal) {
            if place.api.metadata(&id).await?.is_none_or(|found| !place.goal.names.owns(&found)) {
                differences.push(presence(id.to_string()));
            }
        }
    }
    Ok(differences)
}

async fn of_one(place: &Place<'_>, manifest: &Manifest, into: &mut Vec<Difference>) -> Result<(), StepError> {
    let Some(live) = place.owned(&manifest.id).await? else {
        into.push(presence(manifest.id.to_string()));
        return Ok(());
    };
    into.extend(strays::of(&place.goal, manifest, &live).paths.into_iter().map(|path| Difference {
        what: format!("{} {}", manifest.id, place.api.clean(&path)),
        // A variable's value may be a secret.
        found: json!("set by somebody else"),
        wanted: json!("absent"),
    }));
    let would = place.api.apply(&manifest.body, How { force: true, dry: true }).await?;
    let Applied::Done(mut would) = would else { return Ok(()) };
    forget_new_marks(&live, &mut would);
    let mut found = Vec::new();
    compare(&live, &would, &mut String::new(), &mut found);
    into.extend(found.into_iter().take(MOST).map(|(path, found, wanted)| Difference {
        what: format!("{} {}", manifest.id, place.api.clean(&path)),
        found: shown(&place.api, &found),
        wanted: shown(&place.api, &wanted),
    }));
    Ok(())
}

fn presence(what: String) -> Difference {
    Difference { what, found: json!("absent"), wanted: json!("present") }
}

/// What the server keeps for itself, and our own copy of the manifest.
fn is_bookkeeping(path: &str) -> bool {
    const OWN: &[&str] = [
        "/status",
        "/metadata/managedFields",
        "/metadata/resourceVersion",
        "/metadata/generation",
        "/metadata/uid",
        "/metadata/creationTimestamp",
    ]
    .as_slice();
    OWN.contains(&path) || path.strip_prefix("/metadata/annotations/") == Some(APPLIED)
        // The Deployment's controller counts its rollouts there.
        || path == "/metadata/annotations/deployment.kubernetes.io/revision"
}

/// Marks that an earlier build did not set come with the next update, and are nobody's change.
fn forget_new_marks(live: &Value, would: &mut Value) {
    for (place, mark) in [("/spec/template/metadata", VERSIONS), ("/metadata", KINDS)] {
        let at = format!("{place}/annotations");
        if live.pointer(&at).and_then(|all| all.get(mark)).is_some() {
            continue;
        }
        let absent = live.pointer(&at).is_none();
        let Some(all) = would.pointer_mut(&at).and_then(Value::as_object_mut) else { continue };
        all.remove(mark);
        if all.is_empty()
            && absent
            && let Some(metadata) = would.pointer_mut(place).and_then(Value::as_object_mut)
        {
            metadata.remove("annotations");
        }
    }
}

fn compare(live: &Value, would: &Value, path: &mut String, into: &mut Vec<(String, Value, Value)>) {
    if live == would || into.len() >= MOST || is_bookkeeping(path) {
        return;
    }
    let before = path.len();
    match (live, would) {
        (Value::Object(a), Value::Object(b)) => {
            let more = b.keys().filter(|key| !a.contains_key(*key));
            for key in a.keys().chain(more) {
                path.push('/');
                path.push_str(key);
                let of = |map: &serde_json::Map<String, Value>| map.get(key).cloned().unwrap_or_default();
                compare(&of(a), &of(b), path, into);
                path.truncate(before);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (n, (a, b)) in a.iter().zip(b).enumerate() {
                path.push_str(&format!("/{n}"));
                compare(a, b, path, into);
                path.truncate(before);
            }
        }
        _ => into.push((path.clone(), live.clone(), would.clone())),
    }
}

fn shown(api: &Api, value: &Value) -> Value {
    match value {
        Value::Array(_) | Value::Object(_) => {
            let text = api.clean(&value.to_string());
            Value::String(text.chars().take(MOST_CHARS).collect())
        }
        other => api.clean_value(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_of_a_later_build_are_no_difference() {
        let live = json!({"metadata": {"annotations": {"a": "1"}}, "spec": {"template": {"metadata": {"labels": {}}}}});
        let mut would = live.clone();
        would["metadata"]["annotations"][KINDS] = json!("Ingress");
        would["spec"]["template"]["metadata"]["annotations"] = json!({VERSIONS: "v1=1"});
        forget_new_marks(&live, &mut would);
        assert_eq!(would, live);
        // Where they are, they count.
        let (mut live, mut would) = (live.clone(), live);
        live["metadata"]["annotations"][KINDS] = json!("Ingress");
        would["metadata"]["annotations"][KINDS] = json!("HTTPRoute");
        let wanted = would.clone();
        forget_new_marks(&live, &mut would);
        assert_eq!(would, wanted);
    }

    #[test]
    fn differences_are_leaves() {
        let live = json!({"status": {"a": 1}, "metadata": {"generation": 1, "labels": {"x": "1"}}, "spec": {"l": [1, {"b": 2}], "m": [1]}});
        let would =
            json!({"metadata": {"generation": 2, "labels": {}}, "spec": {"l": [1, {"b": 3}], "m": [1, 2], "n": true}});
        let mut found = Vec::new();
        compare(&live, &would, &mut String::new(), &mut found);
        let paths: Vec<_> = found.iter().map(|(path, _, _)| path.as_str()).collect();
        assert_eq!(paths, ["/metadata/labels/x", "/spec/l/1/b", "/spec/m", "/spec/n"]);
    }
}
