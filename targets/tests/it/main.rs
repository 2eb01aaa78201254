//! The targets, driven over real HTTP against the practice node.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod answers;
mod api_static;
mod azure_ml;
mod cloud;
mod conformance;
mod governance;
mod images;
mod k8s;
mod live;
mod push;
mod registry;
mod remapping;
mod restore;
mod run_as;
mod sagemaker;
mod served;
mod snowflake;
mod support;
mod tls;
mod twice;
mod validate;
mod vertex_ai;
mod walk;
mod wire;
