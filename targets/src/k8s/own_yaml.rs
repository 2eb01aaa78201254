//! Own YAML: the objects that expose a service, as an administrator wrote them, with variables. Kinds are allowed by a list, the namespace is ours, and every
//! object gets our marks.
//!
//! Comments say where the service is called: `# __exposed_service_id__` beside the name of the Service, `# __exposed_ingress_id__` beside that of the Ingress;
//! `# __exposed_scheme__: https`, `# __exposed_service_path__: /x` and `# __exposed_forced_url__: https://…` anywhere.

use serde_json::{Map, Value, json};

use super::{names::Names, objects::Kind, variables::Variables, yaml};

/// What it may make.
const ALLOWED: &[(&str, &str)] = &[
    ("v1", "Service"),
    ("networking.k8s.io/v1", "Ingress"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("gateway.networking.k8s.io/v1", "HTTPRoute"),
];

/// What the comments say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Hints {
    pub(super) service: Option<String>,
    pub(super) ingress: Option<String>,
    pub(super) scheme: Option<String>,
    pub(super) path: Option<String>,
    pub(super) forced_url: Option<String>,
}

/// The objects, and what the comments say. The error follows "The YAML".
pub(super) fn objects(
    text: &str,
    variables: &Variables,
    namespace: &str,
    labels: &Map<String, Value>,
    names: &Names,
) -> Result<(Vec<Value>, Hints), String> {
    let text = variables.replace(text)?;
    let documents = yaml::documents(&text).map_err(|error| error.to_string())?;
    if documents.is_empty() {
        return Err("holds no object".to_owned());
    }
    let mut objects: Vec<Value> = Vec::new();
    for (n, document) in documents.into_iter().enumerate() {
        let marked =
            marked(document, namespace, labels, names).map_err(|error| format!("{error} (object {})", n + 1))?;
        let same = |one: &Value| one["kind"] == marked["kind"] && one["metadata"]["name"] == marked["metadata"]["name"];
        if objects.iter().any(same) {
            return Err(format!("holds two objects of one kind and name (object {})", n + 1));
        }
        objects.push(marked);
    }
    let hints = hints(&text)?;
    let there = |kind: &str, name: &Option<String>| {
        name.as_ref()
            .is_none_or(|name| objects.iter().any(|one| one["kind"] == kind && one["metadata"]["name"] == **name))
    };
    if !there("Service", &hints.service) || !there("Ingress", &hints.ingress) {
        return Err("has a comment __exposed_service_id__ or __exposed_ingress_id__ beside something else than its object's name".to_owned());
    }
    Ok((objects, hints))
}

fn marked(document: Value, namespace: &str, labels: &Map<String, Value>, names: &Names) -> Result<Value, String> {
    let Value::Object(mut object) = document else { return Err("holds something that is no object".to_owned()) };
    let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
    let (version, kind) = (text("apiVersion"), text("kind"));
    if !ALLOWED.contains(&(version, kind)) || Kind::new(version, kind).is_none() {
        let all: Vec<_> = ALLOWED.iter().map(|(version, kind)| format!("{kind} ({version})")).collect();
        return Err(format!("may hold objects of these kinds alone: {}", all.join(", ")));
    }
    let is_service = kind == "Service";
    object.remove("status");
    let Some(Value::Object(metadata)) = object.get_mut("metadata") else { return Err("lacks metadata".to_owned()) };
    if let Some(other) =
        metadata.keys().find(|key| !matches!(key.as_str(), "name" | "namespace" | "labels" | "annotations"))
    {
        return Err(format!("sets metadata.{}, which is not its to set", other.chars().take(40).collect::<String>()));
    }
    match metadata.get("namespace") {
        None => {}
        Some(Value::String(own)) if own == namespace => {}
        Some(_) => return Err("names another namespace than the infrastructure's".to_owned()),
    }
    let name = metadata.get("name").and_then(Value::as_str).unwrap_or_default();
    let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > 63 || !name.chars().all(fine) {
        return Err("lacks a metadata.name of lower-case letters, digits and hyphens".to_owned());
    }
    // Two deployments of one infrastructure would make the same object, and take it from each other.
    if !name.contains(&names.owner[..8]) {
        return Err("has a metadata.name without ${executionId} or ${k8sDeploymentId}: every deployment's objects need names of their own".to_owned());
    }
    metadata.insert("namespace".to_owned(), json!(namespace));
    let mut own = match metadata.remove("labels") {
        None => Map::new(),
        Some(Value::Object(own)) => own,
        Some(_) => return Err("has metadata.labels that are none".to_owned()),
    };
    own.extend(labels.clone());
    metadata.insert("labels".to_owned(), Value::Object(own));
    if is_service {
        state_protocols(object.get_mut("spec"));
    }
    Ok(Value::Object(object))
}

/// Ports are merged by number and protocol: one that leaves the protocol out can't be applied twice.
fn state_protocols(spec: Option<&mut Value>) {
    let ports = spec.and_then(|spec| spec.get_mut("ports")).and_then(Value::as_array_mut);
    for port in ports.into_iter().flatten().filter_map(Value::as_object_mut) {
        port.entry("protocol").or_insert_with(|| json!("TCP"));
    }
}

fn hints(text: &str) -> Result<Hints, String> {
    let mut hints = Hints::default();
    let mut beside: Option<&str> = None;
    for line in text.lines() {
        let (code, comment) = line.split_once('#').map_or((line, ""), |(code, comment)| (code, comment.trim()));
        let name = code
            .trim()
            .trim_start_matches("- ")
            .strip_prefix("name:")
            .map(|name| name.trim().trim_matches(['"', '\'']));
        let (word, value) = comment.split_once([':', '=', ' ']).unwrap_or((comment, ""));
        let value = Some(value.trim().to_owned()).filter(|value| !value.is_empty());
        match word {
            "__exposed_service_id__" | "__exposed_ingress_id__" => beside = Some(word),
            "__exposed_scheme__" => hints.scheme = value.filter(|scheme| matches!(scheme.as_str(), "http" | "https")),
            "__exposed_service_path__" => hints.path = value.filter(|path| path.starts_with('/')),
            "__exposed_forced_url__" => {
                let fine = |url: &String| url.starts_with("http://") || url.starts_with("https://");
                hints.forced_url =
                    Some(value.filter(fine).ok_or("has a comment __exposed_forced_url__ without a URL")?);
            }
            _ => {}
        }
        if let (Some(what), Some(name)) = (beside, name) {
            let place = if what == "__exposed_service_id__" { &mut hints.service } else { &mut hints.ingress };
            *place = Some(name.to_owned());
            beside = None;
        }
    }
    Ok(hints)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(Vec<Value>, Hints), String> {
        let names = Names { base: "slipway-churn-01234567".into(), owner: "0123456789abcdef".into() };
        let labels = Map::from_iter([("slipway/deployment".to_owned(), json!("0123456789abcdef"))]);
        objects(text, &Variables::default(), "prod", &labels, &names)
    }

    const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata:\n  # __exposed_service_id__\n  name: a-01234567\n  labels: {team: x, slipway/deployment: other}\nspec:\n  ports: [{port: 80}]\n";

    #[test]
    fn objects_get_our_marks() {
        let (objects, hints) =
            read(&format!("{SERVICE}# __exposed_scheme__: https\n# __exposed_service_path__ /x\n")).unwrap();
        let metadata = &objects[0]["metadata"];
        assert_eq!(metadata["namespace"], "prod");
        assert_eq!(metadata["labels"], json!({"team": "x", "slipway/deployment": "0123456789abcdef"}));
        assert_eq!(objects[0]["spec"]["ports"], json!([{"port": 80, "protocol": "TCP"}]));
        let wanted = Hints {
            service: Some("a-01234567".into()),
            scheme: Some("https".into()),
            path: Some("/x".into()),
            ..Hints::default()
        };
        assert_eq!(hints, wanted);
    }

    #[test]
    fn what_is_not_its_own_is_refused() {
        let role = "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: a-01234567}\n";
        let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a-01234567}\n";
        let elsewhere = SERVICE.replace("  labels:", "  namespace: kube-system\n  labels:");
        let shared = SERVICE.replace("a-01234567", "gateway");
        let finalizers = SERVICE.replace("  labels:", "  finalizers: [x]\n  labels:");
        let twice = format!("{SERVICE}---\n{SERVICE}");
        let unknown = SERVICE.replace("port: 80", "port: ${nope}");
        for (text, said) in [
            (role, "these kinds alone"),
            (pod, "these kinds alone"),
            (&elsewhere, "another namespace"),
            (&shared, "names of their own"),
            (&finalizers, "metadata.finalizers"),
            (&twice, "two objects"),
            (&unknown, "variable nope"),
            ("- a\n", "no object"),
            ("", "holds no object"),
            ("a: &b 1\n", "no YAML"),
            (&format!("{SERVICE}# __exposed_forced_url__: javascript:x\n"), "without a URL"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }
}
