//! Practice nodes: Dataiku's Automation node and API node over real HTTP, with their state in memory.
//!
//! `slipway demo` and the tests deploy to them. They are strict where a real node is strict, and can be told to fail.
//!
//! | file | what it holds |
//! |---|---|
//! | `practice` | what a kind of node brings along |
//! | `node` | the Automation node: [`Builder`], [`Node`] |
//! | `api_node` | the API node: [`ApiNodeBuilder`], [`ApiNode`] |
//! | `running` | [`Running`]: a node that listens |
//! | `desk` | [`Desk`]: what a test does with any node |
//! | `socket` | connections that can be torn down under an answer |
//! | `serve` | the way of one request: log, fault, effect, answer |
//! | `request`, `reply` | what a request asks, what it is answered |
//! | `router` | of an Automation node: method and path to function |
//! | `auth` | keys, the user acted for, rights on a project |
//! | `state` | what it knows |
//! | `upload`, `manifest` | an uploaded archive, streamed to a file and read |
//! | `bundles`, `activation`, `report` | importing, preloading, activating bundles; the reports |
//! | `projects`, `settings`, `folders` | projects and what hangs on them |
//! | `scenarios`, `runs`, `webapps`, `admin` | the rest of the API |
//! | `calls` | the [log of calls](Call) |
//! | `faults`, `armed`, `trouble` | [what a test arms](Fault), which call it hits, how it is done to an answer |
//! | `control` | `/sandbox/...`: log, faults and state over HTTP |
//! | `snapshot` | the end state, for comparing |
//! | `governance` | [a governance source](Governance) |
//! | `outside` | [everybody but the node](Outside) |
//! | [`clouds`] | strict stand-ins of Azure and Google Cloud |
//! | `sample`, `sample_service` | [bundles](sample_bundle) and [service versions](sample_service) to deploy |

mod activation;
mod admin;
mod api_node;
mod armed;
mod auth;
mod bundles;
mod calls;
mod clock;
pub mod clouds;
mod control;
mod desk;
mod faults;
mod folders;
mod governance;
mod manifest;
mod node;
mod outside;
mod practice;
mod projects;
mod reply;
mod report;
mod request;
mod router;
mod running;
mod runs;
pub mod sagemaker;
mod sample;
mod sample_service;
mod scenarios;
mod serve;
mod settings;
mod snapshot;
mod socket;
mod state;
mod trouble;
mod upload;
mod webapps;

pub use api_node::{ApiNode, ApiNodeBuilder, Delivery, Package, RunningApiNode};
pub use armed::FaultHandle;
pub use auth::KeyKind;
pub use calls::{Call, CallBody};
pub use desk::Desk;
pub use faults::{Fault, FaultKind, When};
pub use governance::{Governance, GovernanceQuestion};
pub use node::{Builder, Node, RunningNode};
pub use outside::{Outside, OutsideCall};
pub use running::Running;
pub use sample::{
    BundleSpec, SampleConnection, SampleScenario, SampleWebapp, Written, sample_bundle, write_big_bundle,
};
pub use sample_service::{ServiceSpec, sample_service};
