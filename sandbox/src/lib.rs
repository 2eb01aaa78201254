//! A practice Automation node: Dataiku's public API over real HTTP, with its state in memory.
//!
//! `slipway demo` and the tests deploy to it. It is strict where a real node is strict, and it can be told to fail.
//!
//! | file | what it holds |
//! |---|---|
//! | `node` | [`Builder`], [`Node`], [`RunningNode`]: making, starting and stopping one |
//! | `socket` | connections that can be torn down under an answer |
//! | `serve` | the way of one request: log, fault, effect, answer |
//! | `request`, `reply` | what a request asks, what it is answered |
//! | `router` | method and path to function |
//! | `auth` | keys, the user acted for, rights on a project |
//! | `state` | what the node knows |
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
//! | `sample` | [bundles to deploy](sample_bundle) |

mod activation;
mod admin;
mod armed;
mod auth;
mod bundles;
mod calls;
mod clock;
pub mod clouds;
mod control;
mod faults;
mod folders;
mod governance;
mod manifest;
mod node;
mod outside;
mod projects;
mod reply;
mod report;
mod request;
mod router;
mod runs;
mod sample;
mod scenarios;
mod serve;
mod settings;
mod snapshot;
mod socket;
mod state;
mod trouble;
mod upload;
mod webapps;

pub use armed::FaultHandle;
pub use auth::KeyKind;
pub use calls::{Call, CallBody};
pub use faults::{Fault, FaultKind, When};
pub use governance::{Governance, GovernanceQuestion};
pub use node::{Builder, Node, RunningNode};
pub use outside::{Outside, OutsideCall};
pub use sample::{
    BundleSpec, SampleConnection, SampleScenario, SampleWebapp, Written, sample_bundle, write_big_bundle,
};
