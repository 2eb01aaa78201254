//! A service version: the `service.json` of its archive.

use super::fields::Fields;
use super::jwt::KeySet;
use super::model::Kind;
use crate::manifest;
use crate::reply::Refusal;
use crate::request::Object;
use poem::http::Uri;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fs::File;

/// The entry that makes an archive a service version.
pub(crate) const ENTRY: &str = "service.json";

/// What this node needs of a service version.
pub(super) struct Version {
    pub(super) service: String,
    pub(super) generation: String,
    pub(super) auth: Auth,
    /// Kinds by the ids of endpoints.
    pub(super) endpoints: BTreeMap<String, Kind>,
    pub(super) code_envs: Vec<String>,
    pub(super) model_runtime: Option<String>,
    pub(super) auditing: Option<Auditing>,
}

/// Who may query.
pub(super) enum Auth {
    /// Everybody.
    Public,
    /// Who has one of these keys.
    Keys(Vec<String>),
    /// Who has a token that is signed and says what it must.
    Tokens(Box<KeySet>),
}

impl Auth {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Public => "PUBLIC",
            Self::Keys(_) => "API_KEYS",
            Self::Tokens(_) => "OAUTH2",
        }
    }
}

/// How queries are logged.
pub(super) struct Auditing {
    /// As it was written, without its secrets: for showing.
    pub(super) shown: Value,
    /// The routing key of this deployment's events; the service's id when absent.
    pub(super) routing_key: Option<String>,
    pub(super) servers: Vec<EventServer>,
}

/// An event server that gets the events.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct EventServer {
    pub(super) url: String,
    pub(super) key: Option<String>,
}

impl Version {
    /// Reads an archive; `amended` stands instead of the fields of its names, null for none. Blocks.
    pub(super) fn read(file: File, amended: &Object) -> Result<Self, Refusal> {
        let bytes = manifest::entry(file, ENTRY)?;
        // serde's own words may repeat a value: only the place is told.
        let mut value: Object = serde_json::from_slice(&bytes).map_err(|error| {
            Refusal::bad(format!("{ENTRY} is no JSON object: line {}, column {}", error.line(), error.column()))
        })?;
        value.extend(amended.clone());
        Self::of(&value)
    }

    fn of(value: &Object) -> Result<Self, Refusal> {
        let fields = Fields::new(value, "");
        let format = fields
            .get("formatVersion")
            .map(|version| version.as_u64().ok_or_else(|| fields.wrong("formatVersion", "is no whole number")));
        manifest::check_format(format.transpose()?)?;
        let mut endpoints = BTreeMap::new();
        for endpoint in fields.list("endpoints")? {
            let endpoint = Fields::of(endpoint, "endpoints[]")?;
            let (id, kind) = (endpoint.id("id")?, endpoint.needed("type")?);
            let kind = Kind::named(kind).ok_or_else(|| endpoint.wrong("type", "is no type of endpoint"))?;
            if endpoints.insert(id, kind).is_some() {
                return Err(fields.wrong("endpoints", "has two of one id"));
            }
        }
        let mut code_envs = Vec::new();
        for env in fields.list("codeEnvs")? {
            code_envs.push(Fields::of(env, "codeEnvs[]")?.needed("name")?.to_owned());
        }
        Ok(Self {
            service: fields.id("serviceId")?,
            generation: fields.id("generation")?,
            auth: auth(&fields)?,
            endpoints,
            code_envs,
            model_runtime: fields.text("modelRuntime")?.map(str::to_owned),
            auditing: fields.object("auditing")?.map(auditing).transpose()?,
        })
    }
}

fn auth(fields: &Fields<'_>) -> Result<Auth, Refusal> {
    match fields.text("authMethod")? {
        None | Some("PUBLIC") => Ok(Auth::Public),
        Some("API_KEYS") => Ok(Auth::Keys(fields.texts("apiKeys")?)),
        Some("OAUTH2") => {
            let oauth2 = fields.object("oauth2")?.ok_or_else(|| fields.wrong("oauth2", "is needed for OAUTH2"))?;
            Ok(Auth::Tokens(Box::new(KeySet::read(&Fields::new(oauth2, "oauth2"))?)))
        }
        Some(_) => Err(fields.wrong("authMethod", "is none of PUBLIC, API_KEYS, OAUTH2")),
    }
}

/// `{"routingKey", "targets": [{"type": "EVENT_SERVER", "url", "authKey"}, …]}`. Targets of other types are kept, and
/// are not this node's to serve.
fn auditing(object: &Object) -> Result<Auditing, Refusal> {
    let fields = Fields::new(object, "auditing");
    let mut servers = Vec::new();
    for target in fields.list("targets")? {
        let target = Fields::of(target, "auditing.targets[]")?;
        if target.needed("type")? != "EVENT_SERVER" {
            continue;
        }
        let url = target.needed("url")?;
        let uri: Option<Uri> = url.parse().ok();
        if !uri.as_ref().is_some_and(is_address) {
            return Err(target.wrong("url", "is no http or https address without user, password and query"));
        }
        let key = target.text("authKey")?;
        if key.is_some_and(|key| key.chars().any(|c| !c.is_ascii_graphic())) {
            return Err(target.wrong("authKey", "has characters that no header can carry"));
        }
        servers.push(EventServer { url: url.trim_end_matches('/').to_owned(), key: key.map(str::to_owned) });
    }
    let routing_key = fields.text("routingKey")?.map(str::to_owned);
    Ok(Auditing { shown: masked(&Value::Object(object.clone())), routing_key, servers })
}

fn is_address(uri: &Uri) -> bool {
    let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'));
    matches!(uri.scheme_str(), Some("http" | "https")) && authority.is_some() && uri.query().is_none()
}

/// Names of fields that hold secrets, in lower case: whole, or their ends.
const SECRET: [&str; 4] = ["key", "password", "secret", "token"];

/// A value without its secrets.
fn masked(value: &Value) -> Value {
    match value {
        Value::Object(object) => Value::Object(
            object
                .iter()
                .map(|(name, value)| {
                    let lower = name.to_ascii_lowercase();
                    let secret = lower != "routingkey" && SECRET.iter().any(|end| lower.ends_with(end));
                    (name.clone(), if secret && !value.is_null() { "***".into() } else { masked(value) })
                })
                .collect::<Map<_, _>>(),
        ),
        Value::Array(list) => Value::Array(list.iter().map(masked).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refused(value: Value) -> String {
        let object = value.as_object().cloned().unwrap_or_default();
        Version::of(&object).err().map(|refusal| refusal.message).unwrap_or_default()
    }

    #[test]
    fn a_refusal_names_the_field_and_never_the_value() {
        let ids = json!({"serviceId": "s", "generation": "g"});
        for (name, value, says) in [
            ("apiKeys", json!("top-secret"), "apiKeys is no list"),
            ("apiKeys", json!(["top-secret", 7]), "apiKeys has an entry that is no text"),
            ("oauth2", json!({"jwks": "top-secret"}), "apiKeys"),
            ("auditing", json!("top-secret"), "auditing is no object"),
            ("endpoints", json!([{"id": "e", "type": "top-secret"}]), "endpoints[].type is no type of endpoint"),
            ("formatVersion", json!(2), "formatVersion 2 is newer"),
        ] {
            let mut whole = ids.clone();
            whole["authMethod"] = json!("API_KEYS");
            whole[name] = value;
            let message = refused(whole);
            assert!(!message.contains("top-secret"), "{message}");
            assert!(name == "oauth2" || message.contains(says), "{name}: {message}");
        }
        assert_eq!(refused(json!({"generation": "g"})), "serviceId is needed");
        assert_eq!(refused(json!({"serviceId": "a/b", "generation": "g"})), "serviceId is no valid id");
        for url in
            ["ftp://events.example", "http://user:top-secret@events.example", "events.example", "/events", "http://"]
        {
            let auditing = json!({"targets": [{"type": "EVENT_SERVER", "url": url}]});
            let message = refused(json!({"serviceId": "s", "generation": "g", "auditing": auditing}));
            assert!(message.contains("targets[].url") && !message.contains("top-secret"), "{url}: {message}");
        }
    }

    #[test]
    fn secrets_are_masked_wherever_they_are() {
        let shown =
            masked(&json!({"routingKey": "d", "targets": [{"authKey": "x", "sasl": {"password": "y"}, "t": 1}]}));
        assert_eq!(
            shown,
            json!({"routingKey": "d", "targets": [{"authKey": "***", "sasl": {"password": "***"}, "t": 1}]})
        );
    }
}
