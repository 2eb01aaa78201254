//! The platforms that Slipway deploys to. One platform, one module; nothing outside this crate talks to one.
//!
//! * [`spec`]: what is deployed, frozen.
//! * [`target`]: the trait that a platform implements, and what it answers.
//! * [`http`]: the one HTTP client, and which answers are worth another attempt.
//! * [`automation`]: Dataiku's Automation node.

pub mod spec;
pub mod target;
