//! What every answer goes through before it leaves: its fields in the order in which they were asked for, a code for each error, and for a fault
//! the number under which it was logged.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use async_graphql::{
    Name, Positioned, Response, ServerError, ServerResult, Value, Variables,
    extensions::{
        Extension, ExtensionContext, ExtensionFactory, NextExecute, NextParseQuery, NextRequest, NextSubscribe,
    },
    futures_util::stream::BoxStream,
    indexmap::IndexMap,
    parser::types::{ExecutableDocument, FragmentDefinition, Selection, SelectionSet},
};
use futures_util::StreamExt as _;

use crate::{
    error::{INTERNAL, UNAVAILABLE},
    session::Session,
};

/// The code of what the library finds wrong with a document or with its variables.
const DOCUMENT_INVALID: &str = "DOCUMENT_INVALID";

/// The extension; one an operation.
#[derive(Default)]
pub(crate) struct Answers {
    document: Mutex<Option<Arc<ExecutableDocument>>>,
}

/// Makes the extension.
pub(crate) struct Factory;

impl ExtensionFactory for Factory {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Answers::default())
    }
}

#[async_trait::async_trait]
impl Extension for Answers {
    async fn request(&self, ctx: &ExtensionContext<'_>, next: NextRequest<'_>) -> Response {
        coded(next.run(ctx).await)
    }

    fn subscribe<'s>(
        &self,
        ctx: &ExtensionContext<'_>,
        stream: BoxStream<'s, Response>,
        next: NextSubscribe<'_>,
    ) -> BoxStream<'s, Response> {
        next.run(ctx, stream).map(coded).boxed()
    }

    async fn parse_query(
        &self,
        ctx: &ExtensionContext<'_>,
        query: &str,
        variables: &Variables,
        next: NextParseQuery<'_>,
    ) -> ServerResult<ExecutableDocument> {
        let document = next.run(ctx, query, variables).await?;
        *self.document.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(document.clone()));
        Ok(document)
    }

    async fn execute(
        &self,
        ctx: &ExtensionContext<'_>,
        operation_name: Option<&str>,
        next: NextExecute<'_>,
    ) -> Response {
        let mut response = next.run(ctx, operation_name).await;
        let document = self.document.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(document) = document {
            sort(&mut response.data, &document, operation_name);
        }
        let Some(session) = ctx.data_opt::<Arc<Session>>() else { return response };
        for extensions in response.errors.iter_mut().filter_map(|error| error.extensions.as_mut()) {
            if [INTERNAL, UNAVAILABLE].iter().any(|code| extensions.get("code") == Some(&Value::from(*code))) {
                extensions.set("requestId", session.request_id.as_str());
            }
        }
        response
    }
}

/// What the library refuses by itself has no code yet.
fn coded(mut response: Response) -> Response {
    let uncoded =
        |error: &&mut ServerError| error.extensions.as_ref().is_none_or(|values| values.get("code").is_none());
    for error in response.errors.iter_mut().filter(uncoded) {
        error.extensions.get_or_insert_default().set("code", DOCUMENT_INVALID);
    }
    response
}

type Fragments = HashMap<Name, Positioned<FragmentDefinition>>;

/// The library resolves fields side by side and answers them as they come; a client may count on the order of its document (GraphQL, 7.2.2).
fn sort(data: &mut Value, document: &ExecutableDocument, operation_name: Option<&str>) {
    let mut operations = document.operations.iter();
    let operation = match operation_name {
        Some(name) => operations.find(|(given, _)| given.is_some_and(|given| given.as_str() == name)),
        None => operations.next(),
    };
    if let Some((_, operation)) = operation {
        sort_value(data, &[&operation.node.selection_set.node], &document.fragments);
    }
}

fn sort_value(value: &mut Value, asked: &[&SelectionSet], fragments: &Fragments) {
    match value {
        Value::List(items) => items.iter_mut().for_each(|item| sort_value(item, asked, fragments)),
        Value::Object(fields) => {
            let mut order = IndexMap::new();
            for set in asked {
                collect(set, fragments, &mut order);
            }
            let mut sorted = IndexMap::with_capacity(fields.len());
            for (key, below) in order {
                if let Some(mut value) = fields.shift_remove(&key) {
                    sort_value(&mut value, &below, fragments);
                    sorted.insert(key, value);
                }
            }
            // A scalar that is an object has nothing that was asked for by name.
            sorted.append(fields);
            *fields = sorted;
        }
        _ => {}
    }
}

/// The keys of an object in the order of their first mention, each with what is asked of it.
fn collect<'a>(set: &'a SelectionSet, fragments: &'a Fragments, order: &mut IndexMap<Name, Vec<&'a SelectionSet>>) {
    for selection in &set.items {
        match &selection.node {
            Selection::Field(field) => {
                let below = order.entry(field.node.response_key().node.clone()).or_default();
                below.push(&field.node.selection_set.node);
            }
            Selection::InlineFragment(fragment) => collect(&fragment.node.selection_set.node, fragments, order),
            Selection::FragmentSpread(spread) => {
                // Documents with circles were refused before they were executed.
                if let Some(fragment) = fragments.get(&spread.node.fragment_name.node) {
                    collect(&fragment.node.selection_set.node, fragments, order);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::{parser::parse_query, value};

    use super::*;

    #[test]
    fn fields_come_in_the_order_of_the_document() {
        let document = parse_query(
            "query Q { b { ...names y } a: c { ... on T { n } m } ...more } fragment names on T { x } fragment more on Query { b { z } d }",
        );
        let mut data =
            value!({"d": 1, "a": [{"m": 1, "n": 2}, {"m": 3, "n": 4}], "b": {"z": 1, "y": {"q": 1, "p": 2}, "x": 3}});
        sort(&mut data, &document.unwrap(), Some("Q"));
        let text = serde_json::to_string(&data).unwrap();
        assert_eq!(text, r#"{"b":{"x":3,"y":{"q":1,"p":2},"z":1},"a":[{"n":2,"m":1},{"n":4,"m":3}],"d":1}"#);
    }
}
