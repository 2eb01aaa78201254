//! What keeps the laboratory from its work.

use std::{io, path::PathBuf};

use engine::db::DbErr;

/// Why an experiment could not be made, or not be judged. `Display` is for whoever runs it.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// A program that the experiment needs is not on this machine.
    #[error("There is no `{program}` here. {install}")]
    ProgramMissing {
        /// Its name.
        program: String,
        /// What to do about it.
        install: &'static str,
    },
    /// A part did not start, or said no.
    #[error("{what} failed: {said}")]
    Failed {
        /// Which part.
        what: String,
        /// Its own words.
        said: String,
    },
    /// A state did not come.
    #[error("waited {seconds} s for {what}")]
    Late {
        /// For what.
        what: String,
        /// How long.
        seconds: u64,
    },
    /// The API refused what the experiment needs.
    #[error("the API refused: {code}: {message}")]
    Refused {
        /// Its code.
        code: String,
        /// Its sentence.
        message: String,
    },
    /// A history that can't be read.
    #[error("{}: {source}", path.display())]
    History {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file system, or a socket.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The database.
    #[error("{0}")]
    Db(#[from] DbErr),
    /// No answer over HTTP.
    #[error("{0}")]
    Http(#[from] reqwest::Error),
}

impl LabError {
    /// The stable name, each with its page in `docs/errors`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::ProgramMissing { .. } => "PROGRAM_MISSING",
            Self::Failed { .. } | Self::Late { .. } | Self::Refused { .. } => "LAB_FAILED",
            Self::History { .. } => "HISTORY_UNREADABLE",
            Self::Io(_) => "IO_FAILED",
            Self::Db(_) => "DATABASE_UNAVAILABLE",
            Self::Http(_) => "SERVER_UNREACHABLE",
        }
    }

    /// A part failed, with its words.
    pub fn failed(what: impl Into<String>, said: impl ToString) -> Self {
        Self::Failed { what: what.into(), said: said.to_string() }
    }
}
