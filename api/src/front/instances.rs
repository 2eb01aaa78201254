//! Vertex AI's contract: `{"instances": [...], "parameters": {...}}` is answered with `{"predictions": [...]}`, in order.

use std::{borrow::Cow, collections::BTreeMap};

use poem::{Response, http::StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    answer::{self, wrong},
    calls,
    upstream::Upstream,
    verb::Verb,
};
use crate::failure::Failure;

/// Members of a query that hold for all of its items.
const PARAMETERS: [&str; 3] = ["context", "dispatch", "explanations"];

#[derive(Deserialize)]
struct Question<'a> {
    #[serde(borrow)]
    instances: Vec<&'a RawValue>,
    #[serde(default, borrow)]
    parameters: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct Predictions {
    predictions: Vec<Box<RawValue>>,
}

pub(super) async fn pass<U: Upstream>(verb: Verb, upstream: &U, body: &[u8]) -> Result<Response, Failure> {
    let question: Question<'_> = serde_json::from_slice(body)
        .map_err(|error| wrong("instances", format!("The body must be {{\"instances\": [...]}}: {error}")))?;
    let instances = question.instances;
    if instances.len() > calls::MOST {
        return Err(wrong("instances", format!("At most {} instances in one request.", calls::MOST)));
    }
    if let Some(n) = instances.iter().position(|instance| !instance.get().starts_with('{')) {
        return Err(wrong(&format!("instances[{n}]"), "An instance must be an object with names and values."));
    }
    let parameters = parameters(verb, question.parameters)?;
    let more: Vec<(&str, &RawValue)> = parameters.iter().map(|(name, value)| (name.as_ref(), *value)).collect();
    let predictions =
        if instances.is_empty() { Vec::new() } else { calls::all(verb, upstream, &instances, &more).await? };
    let body = serde_json::to_vec(&Predictions { predictions }).map_err(|_| Failure::internal())?;
    Ok(answer::json(StatusCode::OK, body))
}

/// Only what the node knows beside its items: a member of another name could stand in for the items.
fn parameters<'a>(verb: Verb, given: Option<&'a RawValue>) -> Result<BTreeMap<Cow<'a, str>, &'a RawValue>, Failure> {
    let Some(given) = given.filter(|given| given.get() != "null") else { return Ok(BTreeMap::new()) };
    let known = PARAMETERS.join(", ");
    let read: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_str(given.get())
        .map_err(|_| wrong("parameters", format!("The parameters must be an object with any of: {known}.")))?;
    if let Some(name) = read.keys().find(|name| verb.many().is_none() || !PARAMETERS.contains(&name.as_ref())) {
        let problem = if verb.many().is_some() {
            format!("This is no parameter; there are: {known}.")
        } else {
            "This endpoint takes no parameters: everything is in its instances.".to_owned()
        };
        return Err(wrong(&format!("parameters.{}", name.chars().take(100).collect::<String>()), problem));
    }
    Ok(read)
}
