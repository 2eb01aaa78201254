//! The only writer of `run` and `run_event`.
//!
//! * [`op`]: one write, made from a folded state and the events that follow.
//! * `sql`: how a batch of them becomes one commit, on PostgreSQL and on SQLite.
//! * [`writer`]: the one writer task of a process, which commits together what is ready together.
//! * [`mod@request`]: accepting and abandoning a run, inside the caller's transaction; [`cancels`]: cancelling one.
//! * [`read`]: loading journals and logs; [`due`]: what a sweeper finds.
//! * [`retain`]: what is kept of runs that have ended; [`figures`]: how many there are.
//! * [`log`]: the lines that hooks and nodes say.

pub mod cancels;
pub mod due;
pub mod figures;
pub mod log;
pub mod op;
pub mod read;
pub mod request;
pub mod retain;
mod sql;
pub mod writer;

pub use cancels::{Cancel, Wish, cancel};
pub use figures::Figures;
pub use log::{LogLine, LogWriter, NewLogLine};
pub use op::Op;
pub use read::{Loaded, events, events_of, load, load_many, log_lines_of};
pub use request::{Requested, abandon, forget, request};
pub use sql::Written;
pub(crate) use sql::commit;
pub use writer::{Answer, Writer};

use crate::journal::Illegal;

/// Why a run could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RunsError {
    /// The database.
    #[error(transparent)]
    Db(#[from] sea_orm::DbErr),
    /// A journal that does not fold.
    #[error("the journal of run {run} is broken: {source}")]
    Broken {
        /// The run.
        run: crate::ids::RunId,
        /// Why.
        source: Illegal,
    },
    /// A plan of a later version than this program knows.
    #[error("the plan has version {version}, which this program is too old for")]
    Newer {
        /// The plan's version.
        version: u64,
    },
    /// A stored document of another shape.
    #[error("a stored event cannot be read: {0}")]
    Json(#[from] serde_json::Error),
}
