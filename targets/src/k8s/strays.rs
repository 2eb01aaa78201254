//! What somebody set in our objects beside what we set, where it undoes ours: server-side apply leaves fields of others alone, whatever they do. Everything else that
//! others add (sidecars, annotations, labels) is theirs, and stays.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::manifests::{Goal, Manifest, config, pods::CONTAINER};

/// Such fields of one object.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Strays {
    /// Where they stand.
    pub(super) paths: Vec<String>,
    /// The strategic merge patch that takes them out; null where there is nothing to take out.
    pub(super) removal: Value,
    /// The rollouts are paused: they go on once all is as it should be.
    pub(super) is_paused: bool,
}

/// Of a live object that is to be as this manifest says.
pub(super) fn of(goal: &Goal<'_>, manifest: &Manifest, live: &Value) -> Strays {
    match manifest.id.kind.name.as_str() {
        "Service" => of_service(&manifest.body, live),
        "Deployment" => of_deployment(&variables(goal, &manifest.body), live),
        _ => Strays::default(),
    }
}

/// The variables that the container reads as a whole: an entry of its own with such a name would win. None of a manifest of another update: nobody knows which it reads.
fn variables(goal: &Goal<'_>, manifest: &Value) -> BTreeSet<String> {
    let from = manifest.pointer("/spec/template/spec/containers/0/envFrom").cloned().unwrap_or_default().to_string();
    let read = [config::variables_name(goal), config::secret_variables_name(goal)];
    if !read.iter().flatten().all(|name| from.contains(name.as_str())) {
        return BTreeSet::new();
    }
    let secret = config::secret_variables(goal).into_iter().map(|(name, _)| name);
    goal.workload.env.keys().cloned().chain(secret).collect()
}

/// A Service selects Pods that have all of its labels: one more, and it selects none.
fn of_service(manifest: &Value, live: &Value) -> Strays {
    let selector = |object: &Value| object.pointer("/spec/selector").and_then(Value::as_object).cloned();
    let (Some(own), Some(found)) = (selector(manifest), selector(live)) else { return Strays::default() };
    let more: Vec<String> = found.into_iter().map(|(name, _)| name).filter(|name| !own.contains_key(name)).collect();
    if more.is_empty() {
        return Strays::default();
    }
    let gone: Map<String, Value> = more.iter().map(|name| (name.clone(), Value::Null)).collect();
    let paths = more.iter().map(|name| format!("/spec/selector/{name}")).collect();
    Strays { paths, removal: json!({"spec": {"selector": gone}}), is_paused: false }
}

fn of_deployment(variables: &BTreeSet<String>, live: &Value) -> Strays {
    let (mut paths, mut removal) = (Vec::new(), Value::Null);
    let is_paused = live.pointer("/spec/paused") == Some(&Value::Bool(true));
    if is_paused {
        paths.push("/spec/paused".to_owned());
    }
    let containers = live.pointer("/spec/template/spec/containers").and_then(Value::as_array);
    let own = containers.into_iter().flatten().find(|one| one.get("name").is_some_and(|name| name == CONTAINER));
    if let Some(own) = own {
        let mut container = Map::new();
        for field in ["command", "args"].into_iter().filter(|field| own.get(*field).is_some()) {
            paths.push(format!("/spec/template/spec/containers/{CONTAINER}/{field}"));
            container.insert(field.to_owned(), Value::Null);
        }
        let env = own.get("env").and_then(Value::as_array).into_iter().flatten();
        let named: Vec<&str> =
            env.filter_map(|one| one.get("name")?.as_str()).filter(|name| variables.contains(*name)).collect();
        if !named.is_empty() {
            paths.extend(named.iter().map(|name| format!("/spec/template/spec/containers/{CONTAINER}/env/{name}")));
            let gone: Vec<_> = named.iter().map(|name| json!({"name": name, "$patch": "delete"})).collect();
            container.insert("env".to_owned(), json!(gone));
        }
        if !container.is_empty() {
            container.insert("name".to_owned(), json!(CONTAINER));
            removal = json!({"spec": {"template": {"spec": {"containers": [container]}}}});
        }
    }
    Strays { paths, removal, is_paused }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_with_one_label_more_selects_nothing() {
        let own = json!({"spec": {"selector": {"a": "1"}}});
        assert_eq!(of_service(&own, &own), Strays::default());
        let found = of_service(&own, &json!({"spec": {"selector": {"a": "1", "b": "2"}}}));
        assert_eq!(found.paths, ["/spec/selector/b"]);
        assert_eq!(found.removal, json!({"spec": {"selector": {"b": null}}}));
    }

    #[test]
    fn what_wins_over_ours_is_a_stray_and_the_rest_is_not() {
        let variables = ["KEY".to_owned()].into();
        let live = |container: Value, paused: bool| {
            let containers = json!([{"name": "sidecar", "command": ["x"]}, container]);
            json!({"spec": {"paused": paused, "template": {"spec": {"containers": containers}}}})
        };
        let theirs = json!({"name": CONTAINER, "env": [{"name": "TRACE", "value": "1"}]});
        assert_eq!(of_deployment(&variables, &live(theirs, false)), Strays::default());
        let over = json!({"name": CONTAINER, "command": ["sleep"], "env": [{"name": "KEY", "value": "1"}]});
        let found = of_deployment(&variables, &live(over, true));
        assert_eq!(
            found.paths,
            [
                "/spec/paused",
                "/spec/template/spec/containers/service/command",
                "/spec/template/spec/containers/service/env/KEY"
            ]
        );
        let container = json!({"name": CONTAINER, "command": null, "env": [{"name": "KEY", "$patch": "delete"}]});
        let wanted = json!({"spec": {"template": {"spec": {"containers": [container]}}}});
        assert_eq!((found.removal, found.is_paused), (wanted, true));
    }
}
