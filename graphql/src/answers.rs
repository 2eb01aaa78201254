//! Gives errors that are ours the number under which they were logged.

use std::sync::Arc;

use async_graphql::{
    Response, Value,
    extensions::{Extension, ExtensionContext, ExtensionFactory, NextExecute},
};

use crate::{
    error::{INTERNAL, UNAVAILABLE},
    session::Session,
};

/// The extension.
pub(crate) struct Numbered;

impl ExtensionFactory for Numbered {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Self)
    }
}

#[async_trait::async_trait]
impl Extension for Numbered {
    async fn execute(
        &self,
        ctx: &ExtensionContext<'_>,
        operation_name: Option<&str>,
        next: NextExecute<'_>,
    ) -> Response {
        let mut response = next.run(ctx, operation_name).await;
        let Some(session) = ctx.data_opt::<Arc<Session>>() else { return response };
        for extensions in response.errors.iter_mut().filter_map(|error| error.extensions.as_mut()) {
            if [INTERNAL, UNAVAILABLE].iter().any(|code| extensions.get("code") == Some(&Value::from(*code))) {
                extensions.set("requestId", session.request_id.as_str());
            }
        }
        response
    }
}
