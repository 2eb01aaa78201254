//! What is amended in a manifest, with its secrets opened.

use engine::{failure::StepError, step::StepContext};
use serde_json::{Map, Value, json};

use crate::service::{Auditing, Authorization, ServiceSpec};

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
            let told = match auditing {
                Auditing::None => None,
                somewhere => Some(audited(somewhere, run).await?),
            };
            fields.push(("auditing", told));
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

/// Where the node logs queries, its key in clear.
async fn audited(auditing: &Auditing, run: &dyn StepContext) -> Result<Value, StepError> {
    let mut settings = auditing.node_settings();
    if let Some((name, key)) = auditing.secret() {
        settings["targets"][0][name] = json!(run.secret(&key.id).await?.expose());
    }
    Ok(settings)
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(fields.into_iter().filter(|(_, value)| !value.is_null()).collect()),
        other => other,
    }
}
