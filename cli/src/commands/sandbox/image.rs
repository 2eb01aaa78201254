//! What an image has for the node in it: docs/IMAGES.md.

use std::path::Path;

use sandbox::Package;
use serde_json::{Map, Value, json};
use targets::image::contract::{Authentication, DEPLOYMENT_FILE, ServedDeployment};

/// In a target of the query log: the variable that holds its key.
const KEY_VARIABLE: &str = "keyVariable";

/// The packages of a folder. `variable` knows the container's environment.
pub(super) fn packages(folder: &Path, variable: impl Fn(&str) -> Option<String>) -> Result<Vec<Package>, String> {
    let file = folder.join(DEPLOYMENT_FILE);
    let document = std::fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let deployment = ServedDeployment::parse(&document).map_err(|error| error.to_string())?;
    let needed = |field: &str, name: &str| {
        let value = variable(name).filter(|value| !value.trim().is_empty());
        value.ok_or_else(|| format!("{DEPLOYMENT_FILE}: {field}: the variable {name} is not set."))
    };
    let mut all = Map::new();
    all.insert("serviceId".to_owned(), json!(deployment.service_id));
    match &deployment.authentication {
        None => {}
        Some(Authentication::Public) => authorized(&mut all, "PUBLIC", Value::Null, Value::Null),
        Some(Authentication::Keys { variable }) => {
            let text = needed("authentication.variable", variable)?;
            let keys: Vec<_> = text.lines().map(str::trim).filter(|key| !key.is_empty()).collect();
            authorized(&mut all, "API_KEYS", json!(keys), Value::Null);
        }
        Some(Authentication::Jwt { settings }) => authorized(&mut all, "OAUTH2", Value::Null, settings.clone()),
    }
    if let Some(auditing) = &deployment.auditing {
        let mut auditing = auditing.clone();
        for target in auditing.get_mut("targets").and_then(Value::as_array_mut).into_iter().flatten() {
            let Some(target) = target.as_object_mut() else { continue };
            if let Some(name) = target.remove(KEY_VARIABLE) {
                let name = name.as_str().unwrap_or_default().to_owned();
                let called =
                    if target.get("type").is_some_and(|kind| kind == "KAFKA") { "password" } else { "authKey" };
                target.insert(called.to_owned(), json!(needed("auditing.targets[].keyVariable", &name)?.trim()));
            }
        }
        all.insert("auditing".to_owned(), auditing);
    }
    let package = |generation: &targets::image::contract::ServedGeneration| {
        let mut amended = all.clone();
        amended.insert("generation".to_owned(), json!(generation.generation));
        Package { file: folder.join(&generation.file), proba: generation.proba, amended }
    };
    Ok(deployment.generations.iter().map(package).collect())
}

fn authorized(all: &mut Map<String, Value>, method: &str, keys: Value, oauth2: Value) {
    for (name, value) in [("authMethod", json!(method)), ("apiKeys", keys), ("oauth2", oauth2)] {
        all.insert(name.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(document: &Value) -> Result<Vec<Map<String, Value>>, String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(DEPLOYMENT_FILE), document.to_string()).unwrap();
        let variable = |name: &str| match name {
            "KEYS" => Some("one\n\ntwo\n".to_owned()),
            "AUDIT" => Some("hush\n".to_owned()),
            _ => None,
        };
        let packages = packages(folder.path(), variable)?;
        assert!(packages.iter().all(|package| package.file.starts_with(folder.path())));
        Ok(packages.into_iter().map(|package| package.amended).collect())
    }

    #[test]
    fn keys_come_from_variables() {
        let mut document = json!({
            "format": 1, "serviceId": "churn", "generations": [{"generation": "v1", "file": "v1.zip", "proba": 1.0}],
            "authentication": {"mode": "KEYS", "variable": "KEYS"},
            "auditing": {"routingKey": "d", "targets": [{"type": "EVENT_SERVER", "url": "http://e", "keyVariable": "AUDIT"}]},
        });
        let amended = of(&document).unwrap().remove(0);
        let wanted = json!({
            "serviceId": "churn", "generation": "v1", "authMethod": "API_KEYS", "apiKeys": ["one", "two"], "oauth2": null,
            "auditing": {"routingKey": "d", "targets": [{"type": "EVENT_SERVER", "url": "http://e", "authKey": "hush"}]},
        });
        assert_eq!(Value::Object(amended), wanted);
        document["authentication"]["variable"] = json!("NOT_THERE");
        assert!(of(&document).unwrap_err().contains("NOT_THERE"));
        document["authentication"] = json!({"mode": "PUBLIC"});
        assert_eq!(of(&document).unwrap()[0]["authMethod"], "PUBLIC");
        document.as_object_mut().unwrap().remove("authentication");
        assert!(!of(&document).unwrap()[0].contains_key("authMethod"));
    }

    #[test]
    fn a_folder_without_a_document_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let error = packages(folder.path(), |_| None).err().unwrap();
        assert!(error.contains(DEPLOYMENT_FILE), "{error}");
    }
}
