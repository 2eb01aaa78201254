//! What can go wrong with a batch: a code, the input that is meant, and a sentence for whoever sent it.

use std::io;

use engine::{failure::Code, location::LocationError};

/// Why a batch was not filed. `Display` is for the sender; the source is for the log.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// The body is no batch.
    #[error("{problem}")]
    Invalid {
        /// The input, such as `events[3].topic`.
        field: String,
        /// What is wrong with it, and what would be right.
        problem: String,
    },
    /// More than the bounds allow.
    #[error("{problem}")]
    TooLarge {
        /// The input.
        field: String,
        /// Which bound, and what it is.
        problem: String,
    },
    /// The key may not send this.
    #[error("This key may not send events of this {what}.")]
    NotAllowed {
        /// The input.
        field: String,
        /// `topic` or `routing key`.
        what: &'static str,
    },
    /// The id was used for other events.
    #[error(
        "A batch of other events was filed under this id before. Nothing was filed now. Give each batch an id of its own, and send the same events with it when you try again."
    )]
    Mismatch,
    /// A server died while it was filing this batch.
    #[error(
        "A server died while it filed a batch with this id, and the store may still put it. Nothing was filed now. Send it again with the same batchId, as long as this is the answer: about a minute."
    )]
    InDoubt,
    /// More came than can be held.
    #[error(
        "More events come than this server can hold at once. This batch was not filed. Wait as long as Retry-After says, and send it again."
    )]
    Busy,
    /// The process is ending.
    #[error(
        "This server is stopping. This batch was not filed. Send it again: to another server, or to this one when it is back."
    )]
    Stopping,
    /// The store failed.
    #[error(
        "The events could not be filed: the store failed while {doing}. Nothing of this batch stays. Send it again with the same batchId."
    )]
    NotFiled {
        /// What was being done.
        doing: &'static str,
        /// For the log.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The keys are no good.
    #[error("{0}")]
    KeysInvalid(String),
    /// The configuration names no place where events can be.
    #[error("events.location: {0}")]
    Location(LocationError),
    /// The folder for notes is missing, or one too many.
    #[error("events.state: {0}")]
    StateInvalid(&'static str),
}

impl From<LocationError> for EventError {
    fn from(error: LocationError) -> Self {
        Self::Location(error)
    }
}

impl EventError {
    /// The stable name, each with its page in `docs/errors`.
    pub fn code(&self) -> Code {
        Code::new(match self {
            Self::Invalid { .. } => "EVENT_INVALID",
            Self::TooLarge { .. } => "EVENT_BATCH_TOO_LARGE",
            Self::NotAllowed { .. } => "EVENT_NOT_ALLOWED",
            Self::Mismatch => "EVENT_BATCH_MISMATCH",
            Self::InDoubt => "EVENT_BATCH_IN_DOUBT",
            Self::Busy => "EVENT_SERVER_BUSY",
            Self::Stopping => "EVENT_SERVER_STOPPING",
            Self::NotFiled { .. } => "EVENTS_NOT_FILED",
            Self::KeysInvalid(_) => "EVENT_KEYS_INVALID",
            Self::Location(LocationError::Unsupported { .. }) => "EVENT_STORE_UNSUPPORTED",
            Self::Location(LocationError::Invalid { .. }) => "EVENT_STORE_UNUSABLE",
            Self::StateInvalid(_) => "CONFIG_INVALID",
        })
    }

    /// The input that is meant, if it is one.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::Invalid { field, .. } | Self::TooLarge { field, .. } | Self::NotAllowed { field, .. } => Some(field),
            Self::Mismatch | Self::InDoubt => Some("batchId"),
            _ => None,
        }
    }

    pub(crate) fn invalid(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), problem: problem.into() }
    }

    pub(crate) fn too_large(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::TooLarge { field: field.into(), problem: problem.into() }
    }

    pub(crate) fn io(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::NotFiled { doing, source: error.into() }
    }

    /// The same for another batch of a commit that failed as a whole.
    pub(crate) fn again(&self) -> Self {
        match self {
            Self::NotFiled { doing, source } => Self::NotFiled { doing, source: source.to_string().into() },
            _ => Self::Stopping,
        }
    }
}
