//! The platforms that Slipway deploys to. One platform, one module; nothing outside this crate talks to one.
//!
//! * [`spec`]: what is deployed, frozen; [`service`]: what of it is an API service; [`secret_ref`]: how settings name secrets.
//! * [`target`]: the trait that a platform implements, and what it answers.
//! * [`tools`]: what every target is made with.
//! * [`registry`]: the list of platforms, and [`registry::Targets`], made once per process.
//! * [`http`]: the one HTTP client, and which answers are worth another attempt.
//! * [`on_node`]: what a node shows of a deployed project; [`looks`]: looks at it, kept for a moment.
//! * [`automation`]: Dataiku's Automation node.
//! * [`k8s`]: Kubernetes.
//! * [`governance`]: asking somebody else whether a bundle may be deployed.
//! * [`connections`]: the credentials with which platforms are reached.
//! * [`codes`]: the failure codes of this crate, each with a page in `docs/errors`.

pub mod automation;
pub mod codes;
pub mod connections;
pub mod governance;
pub mod http;
pub mod k8s;
pub mod looks;
pub mod on_node;
pub mod registry;
pub mod secret_ref;
pub mod service;
pub mod spec;
pub mod target;
pub mod tools;

pub use registry::{TargetType, Targets, all};
