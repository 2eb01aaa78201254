//! The REST API that Dataiku's Python client speaks (`dataiku-api-client` 15), as calls of the deployer. Thin: no rule and no SQL of its own, and
//! no HTTP server: whoever has one hands over a [`Call`] and gets an [`Answer`], or the deployer's error with the client's names of fields.
//!
//! * [`Call`], [`Answer`]; `routes`: which path is which function; `asked`: what the audit calls it.
//! * `infras`, `projects`, `deployments`, `updates`, `futures`: the Project Deployer. `documents`: what settings look like there.
//! * `api_deployer`: the API Deployer.
//! * `people`, `groups`, `keys`, `instance`: the rest of what scripts on a deployer ask.
//! * [`FleetCall`]: nodes that register themselves, beside that API.
//! * `messages`: the report object that recurs everywhere. `read`: taking documents from outside apart.

mod api_deployer;
mod asked;
mod call;
mod deployments;
mod documents;
mod fleet;
mod futures;
mod groups;
mod infras;
mod instance;
mod keys;
mod messages;
mod people;
mod projects;
mod read;
mod routes;
mod updates;

use deployer::{Deployer, error::Result, viewer::Viewer};

pub use self::{
    call::{Answer, Call, Method},
    fleet::FleetCall,
    instance::Instance,
    routes::{UploadTo, is_patient, upload_to},
};

/// What every call works with.
pub(crate) struct Context<'a> {
    pub(crate) deployer: &'a Deployer,
    pub(crate) viewer: &'a Viewer,
    pub(crate) instance: &'a Instance,
}

/// Answers a call.
///
/// # Errors
/// `NOT_FOUND` and `METHOD_NOT_ALLOWED` for what this API does not have; `BAD_REQUEST` and `FIELD_INVALID` for documents that cannot be read; the
/// deployer's.
pub async fn answer(deployer: &Deployer, viewer: &Viewer, instance: &Instance, call: &Call) -> Result<Answer> {
    routes::answer(&Context { deployer, viewer, instance }, call).await
}
