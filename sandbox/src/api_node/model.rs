//! What endpoints answer: sums that a test can check, shaped as real answers are.

use super::ApiAsked;
use crate::reply::Refusal;
use crate::request::{Json, Object};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

mod forecast;

/// The most records of one query.
const ITEMS: usize = 10_000;

/// A type of endpoint.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    name: &'static str,
    family: Family,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    Prediction,
    Clustering,
    Forecast,
    Causal,
    Function,
    Lookup,
    Sql,
}

const KINDS: [(&str, Family); 11] = [
    ("STD_PREDICTION", Family::Prediction),
    ("STD_CLUSTERING", Family::Clustering),
    ("STD_FORECAST", Family::Forecast),
    ("STD_CAUSAL_PREDICTION", Family::Causal),
    ("STD_MULTITARGET_PREDICTION", Family::Prediction),
    ("CUSTOM_PREDICTION", Family::Prediction),
    ("CUSTOM_R_PREDICTION", Family::Prediction),
    ("R_FUNCTION", Family::Function),
    ("PY_FUNCTION", Family::Function),
    ("DATASETS_LOOKUP", Family::Lookup),
    ("SQL_QUERY", Family::Sql),
];

impl Kind {
    pub(super) fn named(name: &str) -> Option<Self> {
        KINDS.iter().find(|(known, _)| *known == name).map(|(name, family)| Self { name, family: *family })
    }

    pub(super) fn name(self) -> &'static str {
        self.name
    }
}

/// What is asked of an endpoint.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Predict,
    PredictMulti,
    PredictSimple,
    Forecast,
    PredictEffect,
    PredictEffectMulti,
    Lookup,
    LookupMulti,
    Query,
    Run,
}

impl Verb {
    /// The verb, if endpoints of this kind know it.
    pub(super) fn of(kind: Kind, method: &str, verb: &str) -> Option<Self> {
        Some(match (kind.family, method, verb) {
            (Family::Prediction | Family::Clustering, "POST", "predict") => Self::Predict,
            (Family::Prediction | Family::Clustering, "POST", "predict-multi") => Self::PredictMulti,
            (Family::Prediction | Family::Clustering, "GET", "predict-simple") => Self::PredictSimple,
            (Family::Forecast, "POST", "forecast") => Self::Forecast,
            (Family::Causal, "POST", "predict-effect") => Self::PredictEffect,
            (Family::Causal, "POST", "predict-effect-multi") => Self::PredictEffectMulti,
            (Family::Lookup, "POST", "lookup") => Self::Lookup,
            (Family::Lookup, "POST", "lookup-multi") => Self::LookupMulti,
            (Family::Sql, "POST", "query") => Self::Query,
            (Family::Function, "POST", "run") => Self::Run,
            _ => return None,
        })
    }

    /// `msgType` of its events.
    pub(super) fn message(self) -> &'static str {
        match self {
            Self::Lookup | Self::LookupMulti => "dataset-lookup-query",
            Self::Query => "sql-query",
            Self::Run => "function-query",
            _ => "prediction-query",
        }
    }
}

/// The answer of a generation.
pub(super) fn answer(kind: Kind, verb: Verb, asked: &ApiAsked<'_>, generation: &str) -> Result<Value, Refusal> {
    match verb {
        Verb::PredictSimple => {
            let features: Object = asked.query.0.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
            Ok(json!({"result": predicted(kind, &features, &Value::Null, generation)?}))
        }
        Verb::Predict | Verb::PredictEffect => {
            let body = asked.json.object()?;
            let features = part(body, "features", "features")?;
            Ok(json!({"result": predicted(kind, features, &wanted(body)?, generation)?}))
        }
        Verb::PredictMulti | Verb::PredictEffectMulti => {
            let body = asked.json.object()?;
            let explanations = wanted(body)?;
            let one = |item| predicted(kind, part(item, "features", "items[].features")?, &explanations, generation);
            Ok(json!({"results": items(body)?.into_iter().map(one).collect::<Result<Vec<_>, _>>()?}))
        }
        Verb::Forecast => Ok(json!({"results": forecast::of(&items(asked.json.object()?)?, generation)?})),
        Verb::Lookup => {
            let data = part(asked.json.object()?, "data", "data")?;
            Ok(json!({"results": [looked_up(data, generation)?]}))
        }
        Verb::LookupMulti => {
            let one = |item| looked_up(part(item, "data", "items[].data")?, generation);
            Ok(json!({"results": items(asked.json.object()?)?.into_iter().map(one).collect::<Result<Vec<_>, _>>()?}))
        }
        Verb::Query => Ok(rows(&parameters(asked)?, generation)),
        Verb::Run => Ok(json!({"response": {"arguments": parameters(asked)?, "generation": generation}})),
    }
}

fn part<'a>(body: &'a Object, name: &str, path: &str) -> Result<&'a Object, Refusal> {
    let part = body.get(name).ok_or_else(|| Refusal::bad(format!("{path} is needed")))?;
    part.as_object().ok_or_else(|| Refusal::bad(format!("{path} is no object")))
}

fn items(body: &Object) -> Result<Vec<&Object>, Refusal> {
    let items = body.get("items").and_then(Value::as_array).ok_or_else(|| Refusal::bad("items is no list"))?;
    if items.len() > ITEMS {
        return Err(Refusal::bad(format!("items has more than {ITEMS} entries")));
    }
    items.iter().map(|item| item.as_object().ok_or_else(|| Refusal::bad("items[] is no object"))).collect()
}

/// A bare object of parameters. The client sends none at all when it is empty.
fn parameters(asked: &ApiAsked<'_>) -> Result<Object, Refusal> {
    match &asked.json {
        Json::Absent => Ok(Object::new()),
        json => json.object().cloned(),
    }
}

/// `explanations`: an object, whose fields may be null, or nothing.
fn wanted(body: &Object) -> Result<Value, Refusal> {
    match body.get("explanations") {
        None | Some(Value::Null) => Ok(Value::Null),
        Some(object @ Value::Object(_)) => Ok(object.clone()),
        Some(_) => Err(Refusal::bad("explanations is no object")),
    }
}

/// What a feature counts: a number (also as text) what it is, true 1, false and null 0, another text its characters.
fn worth(name: &str, value: &Value) -> Result<f64, Refusal> {
    match value {
        Value::Null | Value::Bool(false) => Ok(0.0),
        Value::Bool(true) => Ok(1.0),
        Value::Number(number) => Ok(number.as_f64().unwrap_or_default()),
        #[expect(clippy::cast_precision_loss, reason = "a text has not that many characters")]
        Value::String(text) => {
            let number = text.trim().parse().ok().filter(|number: &f64| number.is_finite());
            Ok(number.unwrap_or_else(|| text.chars().count() as f64))
        }
        Value::Array(_) | Value::Object(_) => Err(Refusal::bad(format!("feature {name} is no single value"))),
    }
}

/// What each feature counts.
fn worths(features: &Object) -> Result<BTreeMap<&String, f64>, Refusal> {
    features.iter().map(|(name, value)| Ok((name, worth(name, value)?))).collect()
}

/// The sum of what the features count; of a clustering, a cluster of it. A record without features is ignored.
fn predicted(kind: Kind, features: &Object, explanations: &Value, generation: &str) -> Result<Value, Refusal> {
    if features.is_empty() {
        return Ok(json!({"ignored": true, "ignoreReason": "there are no features", "generation": generation}));
    }
    let worths = worths(features)?;
    let sum: f64 = worths.values().sum();
    let mut result = json!({"ignored": false, "generation": generation});
    match kind.family {
        Family::Clustering => result["prediction"] = json!(format!("cluster_{}", sum.abs().rem_euclid(3.0).floor())),
        Family::Causal => result["predictedEffect"] = json!(sum),
        _ => result["prediction"] = json!(sum),
    }
    if explanations["enabled"] == true {
        let most = explanations["nExplanations"].as_u64().and_then(|most| usize::try_from(most).ok());
        let mut parts: Vec<_> = worths.into_iter().collect();
        parts.sort_by(|one, other| other.1.abs().total_cmp(&one.1.abs()));
        parts.truncate(most.unwrap_or(3));
        let parts: Map<_, _> = parts.into_iter().map(|(name, worth)| (name.clone(), json!(worth))).collect();
        result["explanations"] = Value::Object(parts);
    }
    Ok(result)
}

/// The record that was looked up: what it was asked by, and a sum of it.
fn looked_up(data: &Object, generation: &str) -> Result<Value, Refusal> {
    let score: f64 = worths(data)?.values().sum();
    let mut found = data.clone();
    found.insert("score".to_owned(), json!(score));
    Ok(json!({"data": found, "generation": generation}))
}

/// One row: the parameters as text, and the generation.
fn rows(parameters: &Object, generation: &str) -> Value {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut columns: Vec<Value> = parameters.keys().map(|name| json!({"name": name, "type": "string"})).collect();
    let mut row: Vec<String> = parameters.values().map(text).collect();
    columns.push(json!({"name": "generation", "type": "string"}));
    row.push(generation.to_owned());
    json!({"columns": columns, "rows": [row]})
}
