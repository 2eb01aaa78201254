//! Azure: connections of the type `AZURE`, and its management API.
//!
//! * [`connection`]: the settings of a connection, and what its test says. `sign_in`: tokens.
//! * `arm`: the management API: resources, operations that go on, refusals. `rights`: what the credentials may do.
//! * `registry`: logins for Azure Container Registry.

pub(crate) mod arm;
pub mod connection;
pub(crate) mod registry;
pub(crate) mod rights;
mod sign_in;
