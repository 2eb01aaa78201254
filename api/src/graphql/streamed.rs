//! Any operation as a stream of answers. A subscription goes on for as long as it likes; a query or a mutation has the time of a request.

use async_graphql::{Executor, Request as Operation, Response as Answer, ServerError, parser::types::OperationType};
use futures_util::{StreamExt, stream, stream::BoxStream};

use super::{LATE, Shared};
use crate::{house::House, limits, settings::Limits};

impl<E: Executor, H: House> Shared<E, H> {
    pub(super) fn stream(&self, mut operation: Operation) -> BoxStream<'static, Answer> {
        let follows = is_subscription(&mut operation, &self.settings.limits);
        let mut answers = self.executor.execute_stream(operation, None);
        if follows {
            return answers;
        }
        let time = self.settings.request_timeout();
        let answer = async move { tokio::time::timeout(time, answers.next()).await.unwrap_or_else(|_| Some(late())) };
        stream::once(answer).filter_map(std::future::ready).boxed()
    }
}

/// Whether this operation is to be followed. What cannot be read is not: its answer says why.
fn is_subscription(operation: &mut Operation, limits: &Limits) -> bool {
    // The parser must not see what was not measured.
    if limits::measure(&operation.query, limits).is_err() {
        return false;
    }
    let name = operation.operation_name.clone();
    let Ok(document) = operation.parsed_query() else { return false };
    let mut operations = document.operations.iter();
    let chosen = match name {
        Some(name) => operations.find(|(given, _)| given.is_some_and(|given| given.as_str() == name)),
        None => operations.next(),
    };
    chosen.is_some_and(|(_, operation)| operation.node.ty == OperationType::Subscription)
}

fn late() -> Answer {
    let mut error = ServerError::new(LATE, None);
    let mut values = async_graphql::ErrorExtensionValues::default();
    values.set("code", "TIMEOUT");
    error.extensions = Some(values);
    Answer::from_errors(vec![error])
}
