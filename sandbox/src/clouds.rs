//! Strict stand-ins of clouds: they refuse what the vendors' own models refuse, keep state, let operations take several looks, and can be told to fail.
//!
//! * [`door`]: the way of one request, with faults and a log of all calls. * [`azure`]: Microsoft's sign-in, management API, Azure ML and container registry.
//! * [`images`]: a container registry.
//! * [`google`]: Google's sign-in, resource manager and Vertex AI.

pub mod azure;
pub mod door;
pub mod google;
pub mod images;

pub use azure::Azure;
pub use door::{Asked, CloudCall, Reply, RunningCloud, StandIn};
pub use google::Google;
