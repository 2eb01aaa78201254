//! Many queries of one request: answers in the order of the questions, a few calls at once.

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{answer::strange, upstream::Upstream, verb::Verb};
use crate::failure::Failure;

/// More questions in one request are refused.
pub(super) const MOST: usize = 10_000;
/// Of these, so many go to the node in one call.
const TOGETHER: usize = 500;
/// Calls at once for one request.
const AT_ONCE: usize = 4;

#[derive(Deserialize)]
struct Results {
    results: Vec<Box<RawValue>>,
}

/// Asks all, and answers each one's result.
pub(super) async fn all<U: Upstream>(
    verb: Verb,
    upstream: &U,
    asked: &[&RawValue],
    more: &[(&str, &RawValue)],
) -> Result<Vec<Box<RawValue>>, Failure> {
    let Some(many) = verb.many() else {
        let bodies: Vec<Bytes> = asked.iter().map(|each| Bytes::copy_from_slice(each.get().as_bytes())).collect();
        let calls = bodies.into_iter().map(|body| async {
            let body = upstream.ask(verb.one(), body).await?.success()?;
            serde_json::from_slice::<Box<RawValue>>(&body).map_err(|_| strange("it is no JSON."))
        });
        return stream::iter(calls).buffered(AT_ONCE).try_collect().await;
    };
    let batches: Vec<(usize, Bytes)> =
        asked.chunks(TOGETHER).map(|batch| (batch.len(), verb.bodies(batch, more))).collect();
    let calls = batches.into_iter().map(|(count, body)| async move {
        let body = upstream.ask(many, body).await?.success()?;
        let answer: Results = serde_json::from_slice(&body).map_err(|_| strange("it has no list `results`."))?;
        if answer.results.len() == count {
            Ok(answer.results)
        } else {
            Err(strange(&format!("{count} queries brought {} results.", answer.results.len())))
        }
    });
    let batches: Vec<Vec<Box<RawValue>>> = stream::iter(calls).buffered(AT_ONCE).try_collect().await?;
    Ok(batches.into_iter().flatten().collect())
}
