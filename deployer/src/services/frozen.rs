//! What an update deploys of an API service, as its spec holds it.

use entities::{bundle, deployment};
use sea_orm::ConnectionTrait;
use serde_json::{Map, Value};
use targets::{
    spec::{Auditing, Authorization, ServiceSpec, ServiceVersionSpec},
    target::VersionShare,
};

use super::versions::{self, Contents};
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
    for share in shares {
        let found = versions::row(db, &row.project_key, &share.version).await?;
        let (version, contents) = found.ok_or_else(|| unknown(&share.version))?;
        all.push(version_spec(version, contents, share.probability));
    }
    Ok(ServiceSpec {
        published_service_id: halves::shown(&row.project_key).to_owned(),
        service_id: row.deployed_project_key.clone(),
        endpoint: api.endpoint.clone().or_else(|| only_endpoint(&all).map(str::to_owned)),
        versions: all,
        authorization: authorization(&api.authorization)?,
        auditing: logged(api, place, &row.id)?,
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

/// Where the queries of a deployment are logged: an empty document of its own leaves what its infrastructure says, one of type NONE logs none.
pub(crate) fn logged(
    api: &ApiSettings,
    place: &infrastructures::Settings,
    deployment: &str,
) -> Result<Option<Auditing>> {
    auditing(if api.query_log.is_empty() { &place.query_log } else { &api.query_log }, deployment)
}

/// Where queries are logged. The routing key of a deployment is its id, unless one is set.
pub(crate) fn auditing(document: &Map<String, Value>, deployment: &str) -> Result<Option<Auditing>> {
    let none = document.get("type").and_then(Value::as_str).is_none_or(|kind| kind == "NONE");
    if none {
        return Ok(None);
    }
    let mut document = document.clone();
    document.entry("routingKey").or_insert_with(|| deployment.into());
    Ok(Some(serde_json::from_value(Value::Object(document))?))
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
        assert_eq!(auditing(&map(json!({"type": "NONE"})), "d").unwrap(), None);
        let kafka =
            json!({"type": "KAFKA", "brokers": ["b:9092"], "topic": "t", "sasl": "SCRAM_SHA_512", "routingKey": "r"});
        assert!(
            matches!(auditing(&map(kafka), "d").unwrap(), Some(Auditing::Kafka { routing_key, .. }) if routing_key == "r")
        );
    }
}
