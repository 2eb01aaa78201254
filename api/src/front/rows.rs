//! Snowflake's contract: `{"data": [[row, arguments…], …]}` is answered with `{"data": [[row, value], …]}`, with the same row numbers in the same order.

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

#[derive(Deserialize)]
struct Question<'a> {
    #[serde(borrow)]
    data: Vec<Vec<&'a RawValue>>,
}

#[derive(Serialize)]
struct Values<'a> {
    data: Vec<(&'a RawValue, Box<RawValue>)>,
}

pub(super) async fn pass<U: Upstream>(
    verb: Verb,
    names: &[String],
    upstream: &U,
    body: &[u8],
) -> Result<Response, Failure> {
    let question: Question<'_> = serde_json::from_slice(body)
        .map_err(|error| wrong("data", format!("The body must be {{\"data\": [[row, arguments…]]}}: {error}")))?;
    if question.data.len() > calls::MOST {
        return Err(wrong("data", format!("At most {} rows in one request.", calls::MOST)));
    }
    let mut numbers = Vec::with_capacity(question.data.len());
    let mut made: Vec<Box<RawValue>> = Vec::with_capacity(question.data.len());
    for (n, row) in question.data.iter().enumerate() {
        let field = || format!("data[{n}]");
        let Some((number, arguments)) = row.split_first() else {
            return Err(wrong(&field(), "A row must begin with its number."));
        };
        if number.get().parse::<u64>().is_err() {
            return Err(wrong(&format!("data[{n}][0]"), "A row's number must be a whole number from 0."));
        }
        numbers.push(*number);
        made.push(asked(names, arguments).map_err(|problem| wrong(&field(), problem))?);
    }
    let asked: Vec<&RawValue> = made.iter().map(|each| &**each).collect();
    let values = if asked.is_empty() { Vec::new() } else { calls::all(verb, upstream, &asked, &[]).await? };
    let data = numbers.into_iter().zip(values).collect();
    let body = serde_json::to_vec(&Values { data }).map_err(|_| Failure::internal())?;
    Ok(answer::json(StatusCode::OK, body))
}

/// One object is the question itself; other arguments get their names by place.
fn asked(names: &[String], arguments: &[&RawValue]) -> Result<Box<RawValue>, String> {
    if let [whole] = arguments
        && whole.get().starts_with('{')
    {
        return Ok((*whole).to_owned());
    }
    if names.is_empty() {
        return Err("This function takes one argument, an object with names and values.".to_owned());
    }
    if names.len() != arguments.len() {
        return Err(format!("This function takes {} arguments, and got {}.", names.len(), arguments.len()));
    }
    // As they came: a number read and written again may be another one.
    let mut object = String::from("{");
    for (name, value) in names.iter().zip(arguments) {
        let comma = if object.len() > 1 { "," } else { "" };
        let name = serde_json::to_string(name).map_err(|error| error.to_string())?;
        object.extend([comma, &name, ":", value.get()]);
    }
    object.push('}');
    RawValue::from_string(object).map_err(|error| error.to_string())
}
