//! Secrets, opened the same way by a step of a run and by a look outside one.

use engine::{
    failure::{Code, Failure, StepError},
    secrets::Secret,
    step::StepContext,
};

use crate::{spec::SecretRef, target::Secrets};

/// What opens secrets.
#[derive(Clone, Copy)]
pub(crate) enum Opener<'a> {
    /// A step's run.
    Run(&'a dyn StepContext),
    /// A look's.
    Look(&'a dyn Secrets),
}

impl Opener<'_> {
    /// The secret of this reference.
    pub(crate) async fn open(self, reference: &SecretRef) -> Result<Secret, StepError> {
        match self {
            Self::Run(run) => run.secret(&reference.id).await,
            Self::Look(secrets) => Ok(secrets.open(&reference.id).await?),
        }
    }
}

/// What is to be told outside a run, where nothing is tried again.
pub(crate) fn told(error: StepError) -> Failure {
    match error {
        StepError::Retryable { failure, .. } | StepError::Permanent(failure) => failure,
        other => internal(&format!("a look ended as only a step can: {other:?}")),
    }
}

/// Something that can't be.
pub(crate) fn internal(detail: &str) -> Failure {
    Failure::new(Code::new("INTERNAL"), "Something went wrong inside Slipway.").detail(detail)
}
