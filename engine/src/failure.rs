//! What a step may answer, and how a failure is told: one code, one sentence for the user, one detail for us.
//!
//! An error that nobody classified is permanent: a retry that nobody thought about is how things get done twice.

use std::{borrow::Cow, fmt, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A stable name of a failure, such as `NODE_UNREACHABLE`. Each has a page, `docs/errors/<CODE>.md`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Code(Cow<'static, str>);

impl Code {
    /// A code known at compile time.
    pub const fn new(code: &'static str) -> Self {
        Self(Cow::Borrowed(code))
    }

    /// The code as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why an attempt failed. Recorded in the journal; shown to whoever may see the update.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The stable name.
    pub code: Code,
    /// For the user: what happened, and what to do. Never a secret, never a database's words.
    pub message: String,
    /// For infrastructure administrators: what we saw (a status, an answer's first words). Never a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The effect may have happened and nobody can tell: the run becomes STUCK instead of FAILED.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub outcome_unknown: bool,
}

impl Failure {
    /// A failure with a code and the user's sentence.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), detail: None, outcome_unknown: false }
    }

    /// Adds what only infrastructure administrators see.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Marks the effect as unknown (see [`Failure::outcome_unknown`]).
    #[must_use]
    pub fn outcome_unknown(mut self) -> Self {
        self.outcome_unknown = true;
        self
    }

    /// This failure, never to be tried again.
    pub fn permanent(self) -> StepError {
        StepError::Permanent(self)
    }

    /// This failure, worth another attempt; `retry_after` is what the other side asked for, if it did.
    pub fn retryable(self, retry_after: Option<Duration>) -> StepError {
        StepError::Retryable { failure: self, retry_after }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

/// What one attempt at a step came to.
#[derive(Clone, Debug, PartialEq)]
pub enum StepOutcome {
    /// The step's effect stands; `output` is kept in the journal for later steps.
    Done {
        /// Small JSON, read by later steps through the folded journal.
        output: Value,
        /// Things the user should know although the step succeeded; they make the run WARNING.
        warnings: Vec<String>,
    },
    /// Nothing failed, but the step must look again later (the node is still busy). Not an attempt.
    NotYet {
        /// When to look again.
        check_in: Duration,
    },
}

impl StepOutcome {
    /// Done, with nothing to remember and nothing to warn of.
    pub fn done() -> Self {
        Self::Done { output: Value::Null, warnings: Vec::new() }
    }

    /// Done, with an output for later steps.
    pub fn output(output: Value) -> Self {
        Self::Done { output, warnings: Vec::new() }
    }
}

/// Why an attempt ended without an outcome.
#[derive(Clone, Debug, PartialEq)]
pub enum StepError {
    /// Worth another attempt, as far as the step's policy allows.
    Retryable {
        /// What failed.
        failure: Failure,
        /// At least this long, when the other side said so.
        retry_after: Option<Duration>,
    },
    /// Never to be tried again by itself.
    Permanent(Failure),
    /// No slot came free within the schedule timeout.
    SlotTimeout {
        /// The pool.
        pool: String,
        /// How long the step waited.
        waited: Duration,
        /// The runs that held the slots, as ids: rendered for the viewer later.
        holders: Vec<i64>,
    },
    /// The user asked to cancel, and the step stopped.
    Cancelled,
    /// This worker no longer holds the run: it must write nothing more.
    LeaseLost,
}

impl From<Failure> for StepError {
    /// Unknown means permanent.
    fn from(failure: Failure) -> Self {
        Self::Permanent(failure)
    }
}

/// The answer of a step.
pub type StepResult = Result<StepOutcome, StepError>;
