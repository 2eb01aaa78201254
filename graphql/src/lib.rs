//! The GraphQL schema: thin resolvers over the deployer, without a rule and without SQL of their own.
//!
//! * [`builder`]: the schema, yet without the bounds of a transport; [`schema_text`] is its text. [`request_data`]: what each operation must be given.
//! * `query`, `mutations`, `subscription`: what can be asked, changed, followed. `types`: what is answered.
//! * `loaders`: many reads as one. `page`: lists. `scalars`: DateTime, Long.
//! * [`ApiError`]: refusals and faults. `answers`: what every answer goes through.
//! * [`Tail`]: looks once for all subscriptions and wakes them up. `board`: where deployments stand.
//!
//! The schema's text is `schema.graphql`; a test holds it.

mod answers;
mod board;
mod error;
mod loaders;
mod mutations;
mod page;
mod query;
mod scalars;
mod session;
mod subscription;
mod tail;
mod types;

use async_graphql::{SDLExportOptions, Schema, SchemaBuilder};

pub use error::ApiError;
pub use mutations::Mutation;
pub use query::Query;
pub use session::{Session, request_data};
pub use subscription::Subscription;
pub use tail::Tail;

/// The schema.
pub type SlipwaySchema = Schema<Query, Mutation, Subscription>;

/// The schema, yet without the bounds of a transport (depth, complexity, aliases).
pub fn builder() -> SchemaBuilder<Query, Mutation, Subscription> {
    Schema::build(Query, Mutation::default(), Subscription).extension(answers::Factory)
}

/// The schema's text, in an order that does not depend on the order of the sources.
pub fn schema_text() -> String {
    let options = SDLExportOptions::new().sorted_fields().sorted_arguments().sorted_enum_items();
    builder().finish().sdl_with_options(options)
}
