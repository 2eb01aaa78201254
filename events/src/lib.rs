//! The Event Server: it takes batches of events over HTTP and files them by topic, routing key and hour, durable before it answers.
//!
//! It knows no HTTP: `api` brings the bodies, and says what came of them.
//!
//! Pure: [`name`] (topics and routing keys as folders), [`json`] (a document on one line, measured), [`batch`] (a body as lines to be filed), [`keys`] (who may send
//! what), [`settings`], [`error`].
//!
//! With the world: [`shelf`] (whole files, durable: a folder or an object store), [`ledger`] (which batches were filed, so that one sent again is filed once),
//! `filer` (the one writer: many batches, one commit), [`server`] (the front of it all), [`metrics`].

pub mod batch;
pub mod error;
mod filer;
pub mod json;
pub mod keys;
pub mod ledger;
pub mod metrics;
pub mod name;
pub mod server;
pub mod settings;
pub mod shelf;

pub use batch::{Batch, Format};
pub use error::EventError;
pub use keys::{Grant, Keys};
pub use server::{EventServer, Place, Receipt};
pub use settings::Settings;
