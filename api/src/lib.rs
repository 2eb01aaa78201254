//! The HTTP edge. It knows transports and bounds; what lies behind is a [`House`].
//!
//! * [`app`], [`worker_app`] and [`event_app`]: all addresses. [`serve`]: the server.
//! * `edge`: what holds for every request (number, origin, panics, headers, log, metrics).
//! * `auth`: finding the key. [`Failure`]: the one shape of an error.
//! * `graphql`: GraphQL over HTTP, server-sent events and WebSocket; [`limits`]: bounds on what a document may ask.
//! * `rate`: how fast requests are taken, and how many at once; `connections`: a bound on those.
//! * `rest`: the REST API of Dataiku's client, as calls of the house.
//! * [`front`]: the front in an image for a cloud.
//! * [`agent`]: `slipway agent`, which takes packages beside an API node.
//! * `fleet`: nodes that register themselves. `events`: batches for the Event Server.
//! * `bundles`: uploads and downloads. `graphiql`: the page. [`health`]: health, readiness, metrics.

pub mod agent;
mod auth;
mod body;
mod bundles;
mod connections;
mod edge;
mod events;
mod failure;
mod fleet;
pub mod front;
mod graphiql;
mod graphql;
pub mod health;
mod house;
pub mod limits;
mod metrics;
mod origin;
mod rate;
mod rest;
mod routes;
mod server;
mod settings;

pub use edge::RequestId;
pub use failure::{Failure, Problem};
pub use house::{Arrival, ByteStream, Download, House, Key, Package, Parent, Pass, Readiness, RestAnswer, RestCall};
pub use metrics::HttpMetrics;
pub use poem::http::StatusCode;
pub use routes::{app, event_app, worker_app};
pub use server::serve;
pub use settings::{Limits, Settings};
