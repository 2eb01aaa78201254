//! What one run deploys of an API service.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::secret_ref::SecretRef;

/// An API service on one infrastructure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceSpec {
    /// The published service.
    pub published_service_id: String,
    /// Its id on the platform: what callers name.
    pub service_id: String,
    /// Its versions, each with its share of the queries; the shares sum to 1. One at least; the first is the run's package.
    pub versions: Vec<ServiceVersionSpec>,
    /// The only endpoint that is served, on platforms that serve one; None where all are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// In place of what the versions say of who may call; None leaves that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization: Option<Authorization>,
    /// Where queries are logged; None leaves what the versions say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auditing: Option<Auditing>,
    /// What the target wants to know of a deployment, as its deployment schema describes it.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub settings: Map<String, Value>,
}

/// One version of a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceVersionSpec {
    /// Its id: the generation in its manifest.
    pub version: String,
    /// SHA-256 of the archive, lower-case hex.
    pub sha256: String,
    /// Size of the archive in bytes.
    pub size: u64,
    /// Its share of the queries, above 0 and at most 1.
    pub probability: f64,
    /// What can be called.
    #[serde(default)]
    pub endpoints: Vec<EndpointSpec>,
    /// `PUBLIC`, `API_KEYS` or `OAUTH2`; None when the manifest does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_method: Option<String>,
    /// The keys that its own manifest gives its callers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub api_keys: Vec<SecretRef>,
}

/// One endpoint of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointSpec {
    /// Its id.
    pub id: String,
    /// Its type, such as `STD_PREDICTION`; None when the manifest does not say.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
}

impl ServiceSpec {
    /// The endpoints of all versions, each once: of one id, the first that has it.
    pub fn endpoints(&self) -> Vec<&EndpointSpec> {
        let mut all: Vec<&EndpointSpec> = Vec::new();
        for endpoint in self.versions.iter().flat_map(|version| &version.endpoints) {
            if all.iter().all(|one| one.id != endpoint.id) {
                all.push(endpoint);
            }
        }
        all
    }

    /// A warning, where several versions share the queries and not all of them have the same endpoints.
    pub(crate) fn endpoints_of_some(&self) -> Option<String> {
        let has = |version: &ServiceVersionSpec, id: &str| version.endpoints.iter().any(|one| one.id == id);
        // Of a version that names none, nobody knows.
        if self.versions.iter().any(|version| version.endpoints.is_empty()) {
            return None;
        }
        let all: BTreeSet<&str> =
            self.versions.iter().flat_map(|version| &version.endpoints).map(|one| one.id.as_str()).collect();
        let lack = |id: &&str| self.versions.iter().any(|version| !has(version, id));
        let some: Vec<&str> = all.into_iter().filter(lack).collect();
        let said = some.join(", ");
        (!some.is_empty()).then(|| {
            format!("Not all versions have the endpoint {said}: a query for it is answered by some of them alone, and by chance.")
        })
    }
}

/// Who may call a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE", tag = "method")]
pub enum Authorization {
    /// Everybody.
    Public,
    /// Whoever has one of these keys.
    ApiKeys {
        /// The keys.
        keys: Vec<SecretRef>,
    },
    /// Whoever has a JWT that this accepts.
    Oauth2(OAuth2),
}

/// Which JWTs are accepted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct OAuth2 {
    /// Where the issuer's keys are read from: an https URL.
    pub jwks_uri: Option<String>,
    /// The issuer's keys themselves, a JWK set.
    pub jwks: Option<Value>,
    /// The `iss` that is demanded.
    pub issuer: Option<String>,
    /// The `aud` that is demanded.
    pub audience: Option<String>,
    /// The claim that holds the scopes.
    pub scope_claim: Option<String>,
    /// The scope that is demanded.
    pub scope: Option<String>,
    /// The claim that names the client, for logs.
    pub client_id_claim: Option<String>,
}

/// Where the queries of a service are logged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE", tag = "type", rename_all_fields = "camelCase")]
pub enum Auditing {
    /// Nowhere, whatever the versions say themselves.
    None,
    /// To an Event Server.
    EventServer {
        /// Its URL.
        url: String,
        /// Its key; None sends none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<SecretRef>,
        /// Where containers find a key, in place of that one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key_variable: Option<String>,
        /// The routing key of each event.
        routing_key: String,
        /// Accept any certificate.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        trust_all_certificates: bool,
    },
    /// To a topic of Kafka.
    Kafka {
        /// `host:port`, one at least.
        brokers: Vec<String>,
        /// The topic.
        topic: String,
        /// Over TLS.
        #[serde(default)]
        tls: bool,
        /// `NONE`, `PLAIN`, `SCRAM_SHA_256` or `SCRAM_SHA_512`.
        #[serde(default)]
        sasl: Sasl,
        /// Who, where one signs in.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        username: Option<String>,
        /// With what.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        password: Option<SecretRef>,
        /// Where containers find a password, in place of that one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key_variable: Option<String>,
        /// The routing key of each event.
        routing_key: String,
        /// Certificates (PEM) to trust instead of the machine's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        certificate_authorities: Option<String>,
    },
    /// To files beside the node.
    LogFiles {
        /// The routing key of each event.
        routing_key: String,
    },
}

impl Auditing {
    /// As an API node's settings say it: `{"routingKey", "targets": [{"type", …}]}`, without keys (wire contract, section 6).
    pub fn node_settings(&self) -> Value {
        let (routing_key, target) = match self {
            Self::None => return json!({"targets": []}),
            Self::EventServer { url, routing_key, trust_all_certificates, .. } => {
                let trusting = trust_all_certificates.then_some(true);
                (routing_key, json!({"type": "EVENT_SERVER", "url": url, "trustAllCertificates": trusting}))
            }
            Self::Kafka { brokers, topic, tls, sasl, username, routing_key, certificate_authorities, .. } => {
                let sasl = (*sasl != Sasl::None).then_some(sasl);
                let target = json!({"type": "KAFKA", "brokers": brokers, "topic": topic, "tls": tls, "sasl": sasl,
                    "username": username, "certificateAuthorities": certificate_authorities});
                (routing_key, target)
            }
            Self::LogFiles { routing_key } => (routing_key, json!({"type": "LOG_FILES"})),
        };
        let target = match target {
            Value::Object(fields) => fields.into_iter().filter(|(_, value)| !value.is_null()).collect(),
            _ => Map::new(),
        };
        json!({"routingKey": routing_key, "targets": [target]})
    }

    /// The same for a container, whose image holds no key: in `keyVariable` is the environment variable that it is in, the one that was chosen or else `own`.
    pub fn container_settings(&self, own: Option<&str>) -> Value {
        let mut settings = self.node_settings();
        if let Some(variable) = self.key_variable().or(own.filter(|_| self.secret().is_some())) {
            settings["targets"][0]["keyVariable"] = json!(variable);
        }
        settings
    }

    /// The environment variable of containers that the platform, or whoever runs it, puts the key into.
    pub fn key_variable(&self) -> Option<&str> {
        match self {
            Self::EventServer { key_variable, .. } | Self::Kafka { key_variable, .. } => key_variable.as_deref(),
            Self::None | Self::LogFiles { .. } => None,
        }
    }

    /// The key that a container needs, and that only Slipway could put there.
    pub fn container_secret(&self) -> Option<&SecretRef> {
        self.secret().map(|(_, key)| key).filter(|_| self.key_variable().is_none())
    }

    /// The key or the password, and what a node's settings call it.
    pub fn secret(&self) -> Option<(&'static str, &SecretRef)> {
        match self {
            Self::EventServer { key, .. } => key.as_ref().map(|key| ("authKey", key)),
            Self::Kafka { password, .. } => password.as_ref().map(|password| ("password", password)),
            Self::None | Self::LogFiles { .. } => None,
        }
    }
}

/// How one signs in to Kafka.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sasl {
    /// Not at all.
    #[default]
    #[serde(rename = "NONE")]
    None,
    /// With the password itself.
    #[serde(rename = "PLAIN")]
    Plain,
    /// SCRAM with SHA-256.
    #[serde(rename = "SCRAM_SHA_256")]
    ScramSha256,
    /// SCRAM with SHA-512.
    #[serde(rename = "SCRAM_SHA_512")]
    ScramSha512,
}

/// The connection by which an infrastructure reaches its platform: whose credentials they are, and where they may be sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConnectionSpec {
    /// Its id.
    pub id: String,
    /// Its type, such as `AWS`.
    pub kind: String,
    /// As its type's schema describes it; secrets by reference.
    pub settings: Map<String, Value>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_that_not_all_versions_have_are_told() {
        let version = |endpoints: &[&str]| {
            let endpoints: Vec<_> = endpoints.iter().map(|id| json!({"id": id})).collect();
            json!({"version": "v", "sha256": "0", "size": 1, "probability": 0.5, "endpoints": endpoints})
        };
        let told = |versions: &[&[&str]]| {
            let versions: Vec<_> = versions.iter().map(|one| version(one)).collect();
            let spec = json!({"publishedServiceId": "s", "serviceId": "s", "versions": versions});
            serde_json::from_value::<ServiceSpec>(spec).unwrap().endpoints_of_some()
        };
        assert_eq!(told(&[&["a", "b"], &["b", "a"]]), None);
        assert_eq!(told(&[&["a"], &[]]), None, "nobody knows");
        assert!(told(&[&["a", "b"], &["b", "c"]]).unwrap().contains("the endpoint a, c:"));
    }

    #[test]
    fn a_container_is_told_where_its_key_is_and_never_the_key() {
        let read = |settings: Value| serde_json::from_value::<Auditing>(settings).unwrap();
        let log = json!({"type": "EVENT_SERVER", "url": "http://e", "routingKey": "r", "key": {"$secret": "1"}});
        let plain = read(log.clone());
        assert!(plain.container_secret().is_some());
        assert_eq!(plain.container_settings(None)["targets"][0].get("keyVariable"), None);
        assert_eq!(plain.container_settings(Some("OURS"))["targets"][0]["keyVariable"], "OURS");
        let mut log = log;
        log["keyVariable"] = json!("THEIRS");
        let chosen = read(log);
        assert_eq!(chosen.container_secret(), None);
        let settings = chosen.container_settings(Some("OURS"));
        assert_eq!(
            settings,
            json!({"routingKey": "r", "targets": [{"type": "EVENT_SERVER", "url": "http://e", "keyVariable": "THEIRS"}]})
        );
        assert!(chosen.secret().is_some(), "for the deployer itself");
        let open = read(json!({"type": "LOG_FILES", "routingKey": "r"}));
        assert_eq!(open.container_settings(Some("OURS"))["targets"][0], json!({"type": "LOG_FILES"}));
    }
}
