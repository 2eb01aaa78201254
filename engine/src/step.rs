//! What a step sees of the run that it is part of. The worker's runner implements it; targets and steps use it.

use async_trait::async_trait;
use serde_json::Value;

use crate::{failure::StepError, ids::RunId, secrets::Secret};

/// Who may read a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Whoever may see the update.
    Everyone,
    /// Administrators of the infrastructure (tracebacks may print a hook's source).
    InfrastructureAdmins,
}

/// The run, as one attempt at one step sees it.
///
/// Every method that writes is fenced: once the lease is lost it answers [`StepError::LeaseLost`], and the step must stop at once.
#[async_trait]
pub trait StepContext: Send + Sync {
    /// The run.
    fn run(&self) -> RunId;

    /// The attempt, from 1. An attempt that was interrupted by a crash goes on under its number.
    fn attempt(&self) -> u32;

    /// A fact that was made durable by this or an earlier attempt at any step of this run, or inherited from the run that this one retries.
    fn note(&self, key: &str) -> Option<Value>;

    /// Makes a fact durable before the step goes on. Writing the same key again replaces it.
    async fn put_note(&self, key: &str, value: Value) -> Result<(), StepError>;

    /// Adds a line to the update's log. At most 8 KiB are kept of it.
    async fn log(&self, audience: Audience, line: String);

    /// The database's clock, in microseconds. What notes are dated with.
    async fn now(&self) -> Result<i64, StepError>;

    /// A secret by the immutable reference that the spec holds.
    async fn secret(&self, reference: &str) -> Result<Secret, StepError>;
}
