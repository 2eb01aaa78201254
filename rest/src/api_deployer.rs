//! The API Deployer: stages, infrastructures, published services with their versions, deployments. Updates and futures are those of the Project Deployer.
//!
//! * `routes`: which path is which function.
//! * `infras`, `services`, `deployments`: the functions. `documents`: what settings look like there.

mod deployments;
mod documents;
mod infras;
mod routes;
mod services;

pub(crate) use self::routes::{ApiRow, asked, document, row};
