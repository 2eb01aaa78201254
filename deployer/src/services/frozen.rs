//! What an update deploys of an API service, as its spec holds it.

use entities::{bundle, deployment};
use sea_orm::ConnectionTrait;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use targets::{
    spec::{Auditing, Authorization, ServiceSpec, ServiceVersionSpec},
    target::VersionShare,
};

use super::{
    checks,
    versions::{self, Contents},
};
use crate::{
    deployments::ApiSettings,
    error::{Error, Result},
    halves, infrastructures,
};

/// The service of a deployment, with the settings of its infrastructure where it has none of its own.
pub(crate) async fn service<C: ConnectionTrait>(
    db: &C,
    row: &deployment::Model,
    package: &bundle::Model,
    api: &ApiSettings,
    place: &infrastructures::Settings,
) -> Result<ServiceSpec> {
    let only = [VersionShare { version: package.bundle_id.clone(), probability: 1.0 }];
    let shares = if api.versions.is_empty() { &only[..] } else { &api.versions };
    let mut all = Vec::with_capacity(shares.len());
    let mut logs_itself = false;
    for share in shares {
        let found = versions::row(db, &row.project_key, &share.version).await?;
        let (version, contents) = found.ok_or_else(|| unknown(&share.version))?;
        logs_itself |= versions::may_log_itself(&version)?;
        all.push(version_spec(version, contents, share.probability));
    }
    Ok(ServiceSpec {
        published_service_id: halves::shown(&row.project_key).to_owned(),
        service_id: row.deployed_project_key.clone(),
        endpoint: api.endpoint.clone().or_else(|| only_endpoint(&all).map(str::to_owned)),
        versions: all,
        authorization: authorization(&api.authorization)?,
        // A version that logs nothing itself is delivered as it was uploaded.
        auditing: logged(api, place, &row.id)?.filter(|log| logs_itself || *log != Auditing::None),
        settings: api.platform.clone(),
    })
}

/// The endpoint of versions that have only that one.
pub(crate) fn only_endpoint(versions: &[ServiceVersionSpec]) -> Option<&str> {
    let [first] = versions.first()?.endpoints.as_slice() else { return None };
    let same = |version: &ServiceVersionSpec| version.endpoints.len() == 1 && version.endpoints[0].id == first.id;
    versions.iter().all(same).then_some(first.id.as_str())
}

fn unknown(version: &str) -> Error {
    let message = format!("The deployment's version {version} was deleted. Choose another one.");
    Error::field("BUNDLE_UNKNOWN", "version", message)
}

fn version_spec(row: bundle::Model, contents: Contents, probability: f64) -> ServiceVersionSpec {
    ServiceVersionSpec {
        version: row.bundle_id,
        sha256: row.sha256,
        size: row.size.unsigned_abs(),
        probability,
        endpoints: contents.endpoints,
        auth_method: contents.auth_method,
        api_keys: contents.api_keys,
    }
}

/// Who may call, in place of what the versions say; None leaves that.
fn authorization(document: &Map<String, Value>) -> Result<Option<Authorization>> {
    if document.is_empty() {
        return Ok(None);
    }
    Ok(Some(serde_json::from_value(Value::Object(document.clone()))?))
}

/// Where the queries of a deployment are logged: an empty document of its own leaves what its infrastructure says, and an empty one there what the versions say, as one of type
/// AS_PACKAGED does; one of type NONE logs none.
pub(crate) fn logged(
    api: &ApiSettings,
    place: &infrastructures::Settings,
    deployment: &str,
) -> Result<Option<Auditing>> {
    auditing(if api.query_log.is_empty() { &place.query_log } else { &api.query_log }, deployment)
}

/// Where queries are logged. The routing key of a deployment is its id, unless one is set.
pub(crate) fn auditing(document: &Map<String, Value>, deployment: &str) -> Result<Option<Auditing>> {
    match document.get("type").and_then(Value::as_str) {
        None | Some("AS_PACKAGED") => return Ok(None),
        Some("NONE") => return Ok(Some(Auditing::None)),
        Some(_) => {}
    }
    let mut document = document.clone();
    document.entry("routingKey").or_insert_with(|| routing_key(deployment).into());
    Ok(Some(serde_json::from_value(Value::Object(document))?))
}

/// So many characters of an id that is too long begin its routing key.
const KEPT_OF_ID: usize = 180;

/// The routing key of a deployment: its id. One that no folder of the Event Server could be called is cut, and told from others by a checksum.
fn routing_key(deployment: &str) -> String {
    if checks::folder_length(deployment) <= checks::LONGEST_FOLDER {
        return deployment.to_owned();
    }
    let mut key = String::new();
    for letter in deployment.chars() {
        key.push(letter);
        if checks::folder_length(&key) > KEPT_OF_ID {
            key.pop();
            break;
        }
    }
    let digest: String = Sha256::digest(deployment).iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    format!("{key}-{digest}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use targets::spec::SecretRef;

    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap()
    }

    #[test]
    fn every_id_has_a_routing_key_that_the_event_server_takes() {
        assert_eq!(routing_key("fraud-prod"), "fraud-prod");
        let (one, other) = (format!("{}a", "ä".repeat(99)), format!("{}b", "ä".repeat(99)));
        assert!(checks::folder_length(&routing_key(&one)) <= checks::LONGEST_FOLDER);
        assert_ne!(routing_key(&one), routing_key(&other));
    }

    #[test]
    fn documents_become_what_targets_read() {
        let key = SecretRef { id: "1".to_owned() };
        let read = authorization(&map(json!({"method": "API_KEYS", "keys": [key.to_value()]}))).unwrap();
        assert_eq!(read, Some(Authorization::ApiKeys { keys: vec![key.clone()] }));
        assert_eq!(authorization(&Map::new()).unwrap(), None);
        let jwt =
            authorization(&map(json!({"method": "OAUTH2", "jwksUri": "https://i/keys", "audience": "a"}))).unwrap();
        assert!(matches!(jwt, Some(Authorization::Oauth2(jwt)) if jwt.audience.as_deref() == Some("a")));
        let log =
            auditing(&map(json!({"type": "EVENT_SERVER", "url": "http://e", "key": key.to_value()})), "d").unwrap();
        let expected = Auditing::EventServer {
            url: "http://e".into(),
            key: Some(key),
            key_variable: None,
            routing_key: "d".into(),
            trust_all_certificates: false,
        };
        assert_eq!(log, Some(expected));
        assert_eq!(auditing(&map(json!({"type": "NONE"})), "d").unwrap(), Some(Auditing::None));
        assert_eq!(auditing(&Map::new(), "d").unwrap(), None);
        assert_eq!(auditing(&map(json!({"type": "AS_PACKAGED"})), "d").unwrap(), None);
        let kafka =
            json!({"type": "KAFKA", "brokers": ["b:9092"], "topic": "t", "sasl": "SCRAM_SHA_512", "routingKey": "r"});
        assert!(
            matches!(auditing(&map(kafka), "d").unwrap(), Some(Auditing::Kafka { routing_key, .. }) if routing_key == "r")
        );
    }
}
