//! A query through the SQL function, with the connection's own credentials. Many queries in `items` are many calls of it in one statement. The answer is an API node's.

use engine::failure::{Failure, StepError};
use serde_json::{Map, Value, json};

use super::{function::Function, goal::argument_names, site::Site};
use crate::{
    codes,
    managed::answers,
    snowflake::statements::Statement,
    target::{ServiceAnswer, ServiceQuery},
};

/// More items in one query are refused.
const MOST_ITEMS: usize = 100;
/// Members of a query's body that hold its names and values, as API nodes have them.
const WRAPPERS: [&str; 2] = ["features", "data"];

/// Asks, and answers what came; a refusal of the function's is an answer, too.
pub(super) async fn query(site: &Site, query: &ServiceQuery) -> Result<ServiceAnswer, StepError> {
    if query.endpoint.id != site.goal.endpoint.id {
        let message = format!("endpoint: this deployment serves the endpoint {} alone.", site.goal.endpoint.id);
        return Err(Failure::new(codes::SETTING_INVALID, message).permanent());
    }
    let function = &site.goal.function;
    let kind = site.goal.kind;
    let many = query.body["items"].as_array().filter(|_| answers::takes_many(kind));
    let asked = many.map_or(std::slice::from_ref(&query.body), Vec::as_slice);
    if asked.is_empty() {
        return Ok(ServiceAnswer { status: 200, body: answers::many(Vec::new()) });
    }
    if asked.len() > MOST_ITEMS {
        let message = format!("body: at most {MOST_ITEMS} items in one query.");
        return Err(Failure::new(codes::SETTING_INVALID, message).permanent());
    }
    let bound: Result<Vec<_>, _> = asked.iter().map(|body| bindings(function, body)).collect();
    let statement = Statement {
        sql: function.select(site.within(), asked.len()),
        bindings: bound.map_err(Failure::permanent)?.concat(),
        context: &site.place.context(),
        doing: "calling the function",
    };
    match tokio::time::timeout(query.timeout, site.api.read(&statement)).await {
        Err(_) => {
            let message = "Snowflake did not answer the query in time.";
            Err(Failure::new(codes::NODE_TIMED_OUT, message).retryable(None))
        }
        Ok(Err(error)) if error.is(&codes::SNOWFLAKE_SQL_FAILED) => {
            Ok(ServiceAnswer { status: 422, body: json!({"message": error.failure.message}) })
        }
        Ok(Err(error)) => Err(error.into()),
        Ok(Ok(rows)) => {
            let mut results: Vec<Value> =
                rows.first().map(|row| row.all().map(|text| value(function, text)).collect()).unwrap_or_default();
            let body = if many.is_some() {
                answers::many(results)
            } else {
                answers::one(kind, if results.is_empty() { Value::Null } else { results.swap_remove(0) })
            };
            Ok(ServiceAnswer { status: 200, body })
        }
    }
}

/// What the function gave.
fn value(function: &Function, text: Option<&str>) -> Value {
    match text {
        None => Value::Null,
        Some(text) if function.returns.is_json() => {
            serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
        }
        Some(text) => Value::String(text.to_owned()),
    }
}

/// A text for each argument; None is NULL.
fn bindings(function: &Function, body: &Value) -> Result<Vec<Option<String>>, Failure> {
    let refused = |message: String| Failure::new(codes::SETTING_INVALID, message);
    let object = body.as_object().ok_or_else(|| refused("body: an object is needed.".to_owned()))?;
    let names = argument_names(function);
    if names.is_empty() {
        return Ok(vec![Some(body.to_string())]);
    }
    let inside = WRAPPERS.iter().find_map(|wrapper| object.get(*wrapper).and_then(Value::as_object)).unwrap_or(object);
    unknown(inside, &names).map_err(refused)?;
    let each = function.arguments.iter().zip(&names).map(|(argument, name)| match inside.get(name) {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) if !argument.kind.is_json() => Some(text.clone()),
        Some(value) => Some(value.to_string()),
    });
    Ok(each.collect())
}

/// A name that no argument has would be lost without a word.
fn unknown(inside: &Map<String, Value>, names: &[String]) -> Result<(), String> {
    let lost: Vec<&str> = inside.keys().filter(|key| !names.contains(key)).map(String::as_str).take(20).collect();
    if lost.is_empty() { Ok(()) } else { Err(format!("body: the function has no arguments {}.", lost.join(", "))) }
}
