//! Where secrets come from: the run of a step, or a look outside one.

use engine::{
    failure::{Failure, StepError},
    secrets::Secret,
    step::StepContext,
};

use crate::target::Secrets;

/// What opens secrets.
#[derive(Clone, Copy)]
pub(crate) enum Vault<'a> {
    /// A step of a run.
    Run(&'a dyn StepContext),
    /// A look.
    Look(&'a dyn Secrets),
}

impl Vault<'_> {
    pub(crate) async fn open(self, reference: &str) -> Result<Secret, StepError> {
        match self {
            Self::Run(run) => run.secret(reference).await,
            Self::Look(secrets) => Ok(secrets.open(reference).await?),
        }
    }
}

/// What ended a look: looks hold no lease and no slot, so only failures end them.
pub(crate) fn failure(error: StepError) -> Failure {
    match error {
        StepError::Permanent(failure) | StepError::Retryable { failure, .. } => failure,
        StepError::SlotTimeout { .. } | StepError::Cancelled | StepError::LeaseLost => {
            Failure::new(engine::failure::Code::new("INTERNAL"), "Something went wrong inside Slipway.")
        }
    }
}
