//! The types of the schema: thin coats over what the deployer answers. Their comments are the users' documentation.

pub(crate) mod accounts;
pub(crate) mod audit;
pub(crate) mod deployment;
pub(crate) mod enrolment;
pub(crate) mod enums;
pub(crate) mod governance;
pub(crate) mod health;
pub(crate) mod hook;
pub(crate) mod infrastructure;
pub(crate) mod node;
pub(crate) mod platform;
pub(crate) mod pool;
pub(crate) mod preview;
pub(crate) mod project;
pub(crate) mod service;
pub(crate) mod settings;
pub(crate) mod step;
pub(crate) mod update;
pub(crate) mod update_event;
pub(crate) mod worker;
