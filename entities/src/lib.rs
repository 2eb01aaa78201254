//! SeaORM rows: one table, one file, no rule. The schema itself is the `migration` crate's.
//!
//! Times are microseconds since the Unix epoch; JSON is text; ids are text or 64-bit numbers.

pub mod account;
pub mod api_key;
pub mod audit_event;
pub mod audit_head;
pub mod bundle;
pub mod connection;
pub mod connection_permission;
pub mod deployment;
pub mod drift;
pub mod hook;
pub mod hook_code;
pub mod idempotency_key;
pub mod infrastructure;
pub mod infrastructure_permission;
pub mod installation;
pub mod membership;
pub mod node_enrolment;
pub mod node_import;
pub mod package_binding;
pub mod pool;
pub mod pool_holder;
pub mod pool_waiter;
pub mod published_project;
pub mod published_project_permission;
pub mod removal;
pub mod run;
pub mod run_event;
pub mod run_log;
pub mod secret;
pub mod stage;

pub mod user_group;
pub mod worker;
