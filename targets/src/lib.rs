//! The platforms that Slipway deploys to. One platform, one module; nothing outside this crate talks to one.
//!
//! * [`spec`]: what is deployed, frozen; [`service`]: what of it is an API service; [`secret_ref`]: how settings name secrets.
//! * [`target`]: the trait that a platform implements, and what it answers.
//! * [`tools`]: what every target is made with.
//! * [`registry`]: the list of platforms, and [`registry::Targets`], made once per process.
//! * [`http`]: the one HTTP client, and which answers are worth another attempt.
//! * [`on_node`]: what a node shows of a deployed project; [`looks`]: looks at it, kept for a moment.
//! * [`azure`]: Azure's API and connections; [`azure_ml`]: Azure Machine Learning.
//! * [`gcp`]: Google Cloud's APIs and connections; [`vertex_ai`]: Vertex AI.
//! * `caller`: calling a service oneself. `managed`: what platforms that run our containers have in common.
//! * [`automation`]: Dataiku's Automation node; [`api_static`]: its API nodes.
//! * `service_package`: a service version as it is delivered. `report`: a node's answer of 200 that holds an error.
//! * [`k8s`]: Kubernetes clusters.
//! * [`sagemaker`]: Amazon SageMaker, by way of [`aws`].
//! * [`governance`]: asking somebody else whether a bundle may be deployed.
//! * [`snowflake`]: the connection to Snowflake; [`snowpark`]: Snowpark Container Services.
//! * [`query_log`]: events of queries, on their way to an Event Server, Kafka or log files.
//! * [`copy_exec`]: the supervisor of a copy command.
//! * [`connections`]: the credentials with which platforms are reached.
//! * [`image`]: images: a base image and one layer, pushed to a registry.
//! * [`codes`]: the failure codes of this crate, each with a page in `docs/errors`.

pub mod api_static;
pub mod automation;
pub mod aws;
pub mod azure;
pub mod azure_ml;
mod caller;
pub mod codes;
pub mod connections;
pub mod copy_exec;
pub mod gcp;
pub mod governance;
pub mod http;
pub mod image;
pub mod k8s;
pub mod looks;
mod managed;
pub mod on_node;
pub mod query_log;
pub mod registry;
mod report;
pub mod sagemaker;
pub mod secret_ref;
pub mod service;
mod service_package;
pub mod snowflake;
pub mod snowpark;
pub mod spec;
pub mod target;
pub mod tools;
pub mod vertex_ai;
mod warnings;

pub use registry::{TargetType, Targets, all};
