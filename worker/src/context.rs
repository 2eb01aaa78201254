//! The held run, as one attempt at one step sees it.

use std::sync::Arc;

use async_trait::async_trait;
use deployer::{Deployer, sealed::KEY_UNKNOWN};
use engine::{
    failure::{Code, Failure, StepError},
    ids::RunId,
    journal::{Kind, NewEvent, State},
    leases::Lease,
    plan::PlannedStep,
    secrets::Secret,
    step::{Audience, StepContext},
};
use serde_json::Value;
use targets::automation::notes;

use crate::held::Held;

/// The code of a failure of ours.
pub const INTERNAL: Code = Code::new("INTERNAL");
/// The code of a step that could not reach the database.
pub const DATABASE_UNAVAILABLE: Code = Code::new("DATABASE_UNAVAILABLE");

/// One attempt at one step of a held run.
pub struct Context {
    pub(crate) held: Arc<Held>,
    pub(crate) step: usize,
    pub(crate) attempt: u32,
    pub(crate) planned: PlannedStep,
    deployer: Option<Deployer>,
}

impl Context {
    pub(crate) fn new(held: Arc<Held>, step: usize, attempt: u32, planned: PlannedStep) -> Self {
        Self { held, step, attempt, planned, deployer: None }
    }

    /// The lease under which this attempt is made: a hook runs until its deadline at most.
    pub fn lease(&self) -> &Lease {
        &self.held.lease
    }

    /// The step's index in the plan.
    pub fn step(&self) -> usize {
        self.step
    }

    /// The fold of the run's journal as it stands.
    pub fn state(&self) -> State {
        self.held.state().clone()
    }

    /// With what secrets are opened.
    pub(crate) fn with(&self, deployer: &Deployer) -> Self {
        let (held, planned) = (Arc::clone(&self.held), self.planned.clone());
        Self { held, step: self.step, attempt: self.attempt, planned, deployer: Some(deployer.clone()) }
    }

    /// The same on every attempt, whoever makes it: what a hook's outside effects are keyed by.
    pub(crate) fn idempotency_key(&self) -> String {
        format!("{}/{}", self.held.run, self.planned.name)
    }
}

#[async_trait]
impl StepContext for Context {
    fn run(&self) -> RunId {
        self.held.run
    }

    fn attempt(&self) -> u32 {
        self.attempt
    }

    fn note(&self, key: &str) -> Option<Value> {
        self.held.state().notes.get(&notes::on(self.planned.lane.as_deref(), key)).cloned()
    }

    async fn put_note(&self, key: &str, value: Value) -> Result<(), StepError> {
        let kind = Kind::StepNoted { key: notes::on(self.planned.lane.as_deref(), key), value };
        let event = NewEvent::step(self.step, self.attempt, kind);
        self.held.append(vec![event]).await.map_err(|_| StepError::LeaseLost)
    }

    async fn log(&self, audience: Audience, line: String) {
        let admins_only = audience == Audience::InfrastructureAdmins;
        self.held.log(self.step, self.attempt, "STEP", admins_only, line).await;
    }

    async fn now(&self) -> Result<i64, StepError> {
        match &self.deployer {
            Some(deployer) => deployer.db.now().await.map_err(unavailable),
            None => Err(internal("a step without a database")),
        }
    }

    async fn secret(&self, reference: &str) -> Result<Secret, StepError> {
        let Some(deployer) = &self.deployer else { return Err(internal("a step without a keyring")) };
        match deployer::sealed::open(&deployer.db, &deployer.keyring, reference).await {
            Ok(Some(secret)) => Ok(secret),
            Ok(None) => Err(internal("a secret that the update needs is no longer stored")),
            Err(error) => Err(from_deployer(error)),
        }
    }
}

/// A failure of ours that another attempt may not meet. A database's words are for the operators' log alone.
pub(crate) fn unavailable(detail: impl std::fmt::Display) -> StepError {
    tracing::warn!(error = %detail, "a step could not reach the database");
    Failure::new(DATABASE_UNAVAILABLE, "Slipway's database did not answer.").retryable(None)
}

/// A failure of ours that another attempt would meet again. Told in the operators' log alone.
pub(crate) fn internal(detail: impl std::fmt::Display) -> StepError {
    tracing::error!(error = %detail, "a step failed on our side");
    let message = "Something went wrong inside Slipway. Its operators find the details in the worker's log.";
    Failure::new(INTERNAL, message).permanent()
}

/// What the deployer answered, as a step's error.
pub(crate) fn from_deployer(error: deployer::error::Error) -> StepError {
    match error {
        deployer::error::Error::Fault(fault) if fault.transient => unavailable(fault.detail),
        deployer::error::Error::Fault(fault) => internal(fault.detail),
        deployer::error::Error::Refused(refusals) => match refusals.first() {
            Some(first) if first.code == KEY_UNKNOWN => {
                Failure::new(Code::new(KEY_UNKNOWN), first.message.clone()).permanent()
            }
            _ => internal(refusals.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")),
        },
    }
}
