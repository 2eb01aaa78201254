//! The schemas, and the typed settings that they describe.

use serde_json::{Map, Value, json};

use super::settings::{DeploymentSettings, Settings};

fn compare(schema: &Value, typed: &Value, path: &str) {
    let properties = schema["properties"].as_object().unwrap_or_else(|| panic!("{path}: no properties"));
    assert_eq!(schema["additionalProperties"], false, "{path}");
    assert_eq!(schema["required"], Value::Null, "{path}");
    let (mut described, mut fields): (Vec<_>, Vec<_>) =
        (properties.keys().collect(), typed.as_object().unwrap().keys().collect());
    described.sort();
    fields.sort();
    assert_eq!(described, fields, "{path}");
    for (name, property) in properties {
        let at = format!("{path}/{name}");
        for key in ["title", "description"] {
            assert!(property[key].is_string(), "{at} lacks {key}");
        }
        if property["properties"].is_object() && typed[name].is_object() {
            compare(property, &typed[name], &at);
        }
    }
}

#[test]
fn schemas_describe_exactly_the_typed_settings() {
    let exposition = json!({"type": "YAML", "params": {}});
    let workload = json!({"autoscaling": {}, "resources": {}, "disruptionBudget": {}});
    let settings = json!({"workload": workload, "defaultServiceExposition": exposition});
    let settings = Settings::read(settings.as_object().unwrap()).unwrap();
    let schema: Value = serde_json::from_str(include_str!("settings.json")).unwrap();
    compare(&schema, &json!(settings), "");

    let deployment = json!({"workload": workload, "serviceExposition": {"type": "INGRESS", "params": {}}});
    let deployment = DeploymentSettings::read(deployment.as_object().unwrap()).unwrap();
    let schema: Value = serde_json::from_str(include_str!("deployment.json")).unwrap();
    let mut typed = json!(deployment);
    // Own YAML is the infrastructure's alone.
    typed["serviceExposition"]["params"].as_object_mut().unwrap().remove("yaml");
    assert!(
        !schema["properties"]["serviceExposition"]["properties"]["type"]["enum"]
            .as_array()
            .unwrap()
            .contains(&json!("YAML"))
    );
    compare(&schema, &typed, "");
}

#[test]
fn nothing_is_required_and_nothing_unknown_is_taken() {
    assert_eq!(Settings::read(&Map::new()).unwrap().namespace(), "default");
    assert!(DeploymentSettings::read(&Map::new()).is_ok());
    for unknown in [json!({"nope": 1}), json!({"cluster": {"nope": 1}}), json!({"workload": {"nope": 1}})] {
        assert!(Settings::read(unknown.as_object().unwrap()).is_err());
    }
}
