use serde_json::{Value, json};
use targets::spec::DeploySpec;

use super::changes;

fn spec() -> Value {
    json!({
        "deployment": "d",
        "infrastructure": {
            "id": "PROD",
            "node": { "url": "http://node", "key": "k", "webapp_run_as_field": "runAsUser", "settle_ms": 1, "call_timeout_ms": 1 },
            "permissions_propagation": "NONE", "run_as_scenarios": "robot",
        },
        "package": { "project_key": "P", "bundle_id": "v1", "sha256": "s", "size": 1 },
        "deployed_project_key": "P",
        "connection_remapping": [{ "source": "a", "target": "x" }, { "source": "b", "target": "y" }],
        "local_variables": { "k": 1, "s": "same" },
        "scenarios": { "DAILY": true },
        "acting_user": "ann",
    })
}

fn read(value: Value) -> DeploySpec {
    serde_json::from_value(value).unwrap()
}

fn with(pointer: &str, value: Value) -> Vec<(String, Value, Value)> {
    let mut other = spec();
    match other.pointer_mut(pointer) {
        Some(place) => *place = value,
        None => {
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            other.pointer_mut(parent).unwrap().as_object_mut().unwrap().insert(key.to_owned(), value);
        }
    }
    let found = changes(&read(spec()), &read(other), &["cluster".to_owned()]).unwrap();
    found.into_iter().map(|one| (one.what, one.found, one.wanted)).collect()
}

#[test]
fn each_change_is_named() {
    for (pointer, value, what, found, wanted) in [
        ("/package/bundle_id", json!("v2"), "the bundle", json!("v1"), json!("v2")),
        ("/scenarios/WEEKLY", json!(false), "the switch of scenario WEEKLY", Value::Null, json!(false)),
        ("/local_variables/k", json!(2), "the local variable k", json!("a value"), json!("another value")),
        ("/local_variables/n", json!(2), "the local variable n", json!("absent"), json!("a value")),
        ("/project_folder", json!("f"), "the project folder", Value::Null, json!("f")),
        (
            "/infrastructure/run_as_scenarios",
            json!("other"),
            "the run-as user of scenarios",
            json!("robot"),
            json!("other"),
        ),
        (
            "/infrastructure/node/url",
            json!("http://b"),
            "the address of the node",
            json!("http://node"),
            json!("http://b"),
        ),
        ("/connection_remapping/0/target", json!("z"), "the remapping of connection a", json!("x"), json!("z")),
    ] {
        assert_eq!(with(pointer, value), [(what.to_owned(), found, wanted)], "{pointer}");
    }
}

#[test]
fn how_the_node_is_reached_is_no_change() {
    for (pointer, value) in [
        ("/infrastructure/node/key", json!("other")),
        ("/infrastructure/node/settle_ms", json!(9)),
        ("/infrastructure/permissions_propagation", json!("FULL")),
        ("/acting_user", json!("bob")),
        ("/connection_remapping", json!([{ "source": "b", "target": "y" }, { "source": "a", "target": "x" }])),
    ] {
        assert_eq!(with(pointer, value), [], "{pointer}");
    }
}

#[test]
fn keys_that_the_platform_gets_are_changes_and_keys_that_reach_it_are_none() {
    let with_keys = |content: &str, reach: &str| {
        let mut spec = spec();
        spec["infrastructure"]["settings"] =
            json!({"workload": {"env": [{"$secret": content}]}, "cluster": {"token": {"$secret": reach}}});
        read(spec)
    };
    let found = |content: &str, reach: &str| {
        let found = changes(&with_keys("1", "2"), &with_keys(content, reach), &["cluster".to_owned()]).unwrap();
        found.into_iter().map(|one| one.what).collect::<Vec<_>>()
    };
    assert_eq!(found("1", "9"), [""; 0]);
    assert_eq!(found("9", "2"), ["the platform's setting workload"]);
}

#[test]
fn fields_of_later_versions_take_part() {
    let mut found = Vec::new();
    super::compare("", &json!({ "new_field": [1] }), &json!({ "new_field": [2] }), &mut found);
    assert_eq!(found.pop().unwrap().what, "new field");
    // But what an infrastructure is set to is not shown to everybody.
    let of = |value: &str| json!({ "infrastructure": { "new_policy": value } });
    super::compare("", &of("internal-1"), &of("internal-2"), &mut found);
    let told = found.pop().unwrap();
    assert_eq!((told.what.as_str(), told.wanted), ("new policy", json!("as it is set now")));
}
