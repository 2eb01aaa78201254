//! The workflow engine. It knows nothing of GraphQL, HTTP or Dataiku, and is generic over plans.
//!
//! Pure: [`ids`], [`spec`] (the frozen copy of what one run deploys), [`plan`], [`journal`] (fold, apply, next), [`failure`], [`retry`], [`step`] (what a step sees of its run).
//!
//! With the world: [`clock`] (time and chance, here alone), [`db`], [`secrets`], [`location`] (folders and buckets) and [`packages`];
//! [`runs`] (the only writer of journals), [`queue`] (Redis list or embedded), [`bell`] (Redis pub/sub or
//! embedded), [`store`] (what a worker asks of the truth: SQL, or a simulation's rows), [`leases`] (a worker's row and its heartbeat), [`slots`] (the distributed semaphore).

pub mod bell;
pub mod clock;
pub mod db;
pub mod failure;
pub mod ids;
pub mod journal;
pub mod leases;
pub mod location;
pub mod packages;
pub mod plan;
pub mod queue;
pub mod retry;
pub mod runs;
pub mod secrets;
pub mod slots;
pub mod spec;
pub mod step;
pub mod store;
