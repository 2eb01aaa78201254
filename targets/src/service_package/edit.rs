//! What is amended in a manifest, with its secrets opened.

use engine::{failure::StepError, step::StepContext};
use serde_json::{Map, Value, json};

use crate::service::{Auditing, Authorization, Sasl, ServiceSpec};

/// Fields of the manifest, and what they become; None takes one out. Holds secrets: it has no `Debug`.
pub(super) struct Edit {
    fields: Vec<(&'static str, Option<Value>)>,
    /// The service that the archive must hold.
    pub(super) service: String,
}

impl Edit {
    pub(super) async fn of(service: &ServiceSpec, generation: &str, run: &dyn StepContext) -> Result<Self, StepError> {
        let mut fields = vec![("serviceId", Some(json!(service.service_id))), ("generation", Some(json!(generation)))];
        if let Some(authorization) = &service.authorization {
            fields.extend(authorized(authorization, run).await?);
        }
        if let Some(auditing) = &service.auditing {
            fields.push(("auditing", Some(audited(auditing, run).await?)));
        }
        Ok(Self { fields, service: service.published_service_id.clone() })
    }

    /// Writes the fields; all others stay.
    pub(super) fn apply(&self, manifest: &mut Map<String, Value>) {
        for (name, value) in &self.fields {
            match value {
                Some(value) => manifest.insert((*name).to_owned(), value.clone()),
                None => manifest.remove(*name),
            };
        }
    }
}

type Fields = [(&'static str, Option<Value>); 3];

async fn authorized(authorization: &Authorization, run: &dyn StepContext) -> Result<Fields, StepError> {
    let fields =
        |method: &str, keys, oauth2| [("authMethod", Some(json!(method))), ("apiKeys", keys), ("oauth2", oauth2)];
    Ok(match authorization {
        Authorization::Public => fields("PUBLIC", None, None),
        Authorization::ApiKeys { keys } => {
            let mut opened = Vec::with_capacity(keys.len());
            for key in keys {
                opened.push(json!(run.secret(&key.id).await?.expose()));
            }
            fields("API_KEYS", Some(Value::Array(opened)), None)
        }
        Authorization::Oauth2(tokens) => fields("OAUTH2", None, Some(without_nulls(json!(tokens)))),
    })
}

/// `{"routingKey", "targets": [{"type", …}]}`.
async fn audited(auditing: &Auditing, run: &dyn StepContext) -> Result<Value, StepError> {
    let (routing_key, target) = match auditing {
        Auditing::EventServer { url, key, routing_key } => {
            let key = match key {
                Some(key) => Some(run.secret(&key.id).await?.expose().to_owned()),
                None => None,
            };
            (routing_key, json!({"type": "EVENT_SERVER", "url": url, "authKey": key}))
        }
        Auditing::Kafka { brokers, topic, tls, sasl, username, password, routing_key } => {
            let password = match password {
                Some(password) => Some(run.secret(&password.id).await?.expose().to_owned()),
                None => None,
            };
            let sasl = (*sasl != Sasl::None).then_some(sasl);
            let target = json!({"type": "KAFKA", "brokers": brokers, "topic": topic, "tls": tls, "sasl": sasl,
                "username": username, "password": password});
            (routing_key, target)
        }
        Auditing::LogFiles { routing_key } => (routing_key, json!({"type": "LOG_FILES"})),
    };
    Ok(json!({"routingKey": routing_key, "targets": [without_nulls(target)]}))
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(fields.into_iter().filter(|(_, value)| !value.is_null()).collect()),
        other => other,
    }
}
