//! How a service is called where Slipway itself is the caller: with which key, and by which last part of the path (wire contract, section 4.2).

use engine::{failure::StepError, secrets::Secret};
use serde_json::Value;

use crate::{
    http::HeaderName,
    managed::opener::Opener,
    service::{Authorization, ServiceSpec},
    spec::SecretRef,
    target::ServiceQuery,
};

/// So many keys of a version are looked through.
const MOST_KEYS: usize = 100;

/// The last part of the path of a query.
pub(crate) fn verb(kind: Option<&str>) -> &'static str {
    match kind.unwrap_or_default() {
        "STD_FORECAST" => "forecast",
        "STD_CAUSAL_PREDICTION" => "predict-effect",
        "PY_FUNCTION" | "R_FUNCTION" => "run",
        "DATASETS_LOOKUP" => "lookup",
        "SQL_QUERY" => "query",
        _ => "predict",
    }
}

/// The last part of the path of this query: many in one (`items`) go where the node takes many.
pub(crate) fn verb_of(query: &ServiceQuery) -> &'static str {
    let many = query.body.get("items").is_some_and(Value::is_array);
    match verb(query.endpoint.kind.as_deref()) {
        "predict" if many => "predict-multi",
        "predict-effect" if many => "predict-effect-multi",
        "lookup" if many => "lookup-multi",
        one => one,
    }
}

/// The headers that come with a query. What is no header was refused before; their values are never shown.
pub(crate) fn headers(query: &ServiceQuery) -> Vec<(HeaderName, Secret)> {
    let given = query.headers.iter();
    given.filter_map(|(name, value)| Some((name.parse().ok()?, Secret::from(value.clone())))).collect()
}

/// A key that lets in to every version: the first of the override, else one that all of them have in their manifests.
pub(crate) async fn key(service: &ServiceSpec, opener: Opener<'_>) -> Result<Option<Secret>, StepError> {
    let lists: Vec<&[SecretRef]> = match &service.authorization {
        Some(Authorization::ApiKeys { keys }) => vec![keys.get(..1).unwrap_or_default()],
        Some(_) => return Ok(None),
        None => {
            let locked = service.versions.iter().filter(|version| version.auth_method.as_deref() == Some("API_KEYS"));
            locked.map(|version| version.api_keys.as_slice()).collect()
        }
    };
    let mut common: Option<Vec<Secret>> = None;
    for list in lists {
        let mut opened = Vec::new();
        for key in list.iter().take(MOST_KEYS) {
            opened.push(opener.open(key).await?);
        }
        let has = |key: &Secret| opened.iter().any(|one| one.expose() == key.expose());
        common = Some(match common {
            Some(before) => before.into_iter().filter(has).collect(),
            None => opened,
        });
    }
    Ok(common.and_then(|keys| keys.into_iter().next()))
}
