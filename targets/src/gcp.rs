//! Google Cloud: connections of the type `GCP`, and its REST APIs.
//!
//! * [`connection`]: the settings of a connection, and what its test says. `sign_in`: tokens. `key`: a service account's key. `external`: a machine's own identity.
//! * `api`: calls, operations that go on, refusals. `rights`: what the credentials may do.

pub(crate) mod api;
pub mod connection;
mod external;
mod key;
pub(crate) mod rights;
mod sign_in;
