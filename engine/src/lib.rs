//! The workflow engine. It knows nothing of GraphQL, HTTP or Dataiku, and is generic over plans.
//!
//! Pure: [`ids`], [`spec`] (the frozen copy of what one run deploys), [`plan`], [`journal`] (fold, apply, next), [`failure`], [`retry`], [`step`] (what a step sees of its run).
//!
//! With the world: [`clock`] (time and chance, here alone), [`db`], [`secrets`] and [`packages`].

pub mod clock;
pub mod db;
pub mod failure;
pub mod ids;
pub mod journal;
pub mod packages;
pub mod plan;
pub mod retry;
pub mod secrets;
pub mod spec;
pub mod step;
