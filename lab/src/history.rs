//! What was seen of a system while it ran: one record a line, as JSON. The simulator writes it; whoever watches a real system can write it, too,
//! and have it checked by the same code.
//!
//! All times are microseconds of one clock. Where they are of several (hooks date themselves, rows are dated by the database), the checker is
//! given the most that these can differ.

use std::io::{self, BufRead, Write};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One thing that was seen. The order of records does not matter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Record {
    /// From now on, a pool has this limit.
    Limit {
        /// The pool.
        pool: String,
        /// When.
        at: i64,
        /// At once.
        limit: i64,
    },
    /// A request was answered: from here on the run must end.
    Accepted {
        /// The run.
        run: i64,
        /// Its deployment.
        deployment: String,
        /// Its number within the deployment.
        number: i64,
        /// When.
        at: i64,
        /// Its plan.
        steps: Vec<Step>,
        /// The run that it retries: what that one recorded of its hooks before the deployment is not redone.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_of: Option<i64>,
    },
    /// A request to cancel was answered with "asked" or "ended".
    CancelAsked {
        /// The run.
        run: i64,
        /// When.
        at: i64,
    },
    /// An operator gave a stuck run up.
    AbandonAsked {
        /// The run.
        run: i64,
        /// When.
        at: i64,
    },
    /// An entry of a journal.
    Event(Event),
    /// A worker, as it was last seen.
    Worker {
        /// Its id.
        worker: i64,
        /// When it was ended, if it was.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ended_at: Option<i64>,
        /// When its process was heard of after it had lost its lease, if it was.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        came_back_at: Option<i64>,
    },
    /// The processes of a hook, from the first to the end of the last.
    Hook {
        /// The run.
        run: i64,
        /// The step's index.
        step: i64,
        /// The attempt.
        attempt: i64,
        /// The pool that its slot is of.
        pool: String,
        /// When the first one began.
        from: i64,
        /// When the last one was gone; None while one is there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<i64>,
    },
    /// A worker was at a step.
    Work {
        /// The run.
        run: i64,
        /// Under which it was held.
        epoch: i64,
        /// The step's index.
        step: i64,
        /// From when.
        from: i64,
        /// Until when.
        until: i64,
    },
    /// A node was asked to do what a step is for.
    Call {
        /// The run.
        run: i64,
        /// The step's index.
        step: i64,
        /// When.
        at: i64,
    },
    /// From here on a node shows a step's effect.
    Effect {
        /// The run.
        run: i64,
        /// The step's index.
        step: i64,
        /// When.
        at: i64,
    },
    /// A slot was granted.
    Grant {
        /// The pool.
        pool: String,
        /// When.
        at: i64,
        /// The place in line.
        ticket: i64,
        /// The run.
        run: i64,
        /// The step's index.
        step: i64,
        /// The attempt.
        attempt: i64,
        /// The tickets of all who stood in line in that turn and could have had it, this one included; None when nobody knows.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        eligible: Option<Vec<i64>>,
    },
    /// Nobody watched any longer. What has not ended by now, never will.
    Closed {
        /// When.
        at: i64,
        /// How many records there are, this one included: whoever reads fewer does not see all. None for a history that is not kept.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        records: Option<usize>,
    },
}

/// A step of a plan, as far as the checker asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Step {
    /// Its name.
    pub name: String,
    /// It must not be run again after an interrupted attempt: nothing can tell what that one did.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub once: bool,
    /// It only runs after a failure, and after a cancel.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub after_failure: bool,
    /// How long it may wait for a slot, or for a worker that has what it needs, in milliseconds; None for one that needs no slot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<i64>,
}

/// An entry of a journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Event {
    /// The run.
    pub run: i64,
    /// Its number.
    pub seq: i64,
    /// When.
    pub at: i64,
    /// Under which it was written.
    pub epoch: i64,
    /// Its name.
    pub kind: String,
    /// The step it speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<i64>,
    /// The attempt it speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<i64>,
    /// What else of it matters.
    #[serde(default, skip_serializing_if = "Facts::is_none")]
    pub facts: Facts,
}

/// The parts of an event's data that the checker asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Facts {
    /// Who claimed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<i64>,
    /// The one before vanished; or the run was given back because something broke.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lost: bool,
    /// A failure's code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// How the run ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
}

impl Facts {
    fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// From an event's data as it is stored.
    pub fn of(data: &Value) -> Self {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Self {
            worker: data["worker"].as_i64(),
            lost: data["lapsed"] == true || data["fault"] == true,
            code: text(&data["failure"]["code"]),
            status: text(&data["status"]),
        }
    }
}

/// Writes records, one a line.
///
/// # Errors
/// The writer's error.
pub fn write<'a>(mut to: impl Write, records: impl IntoIterator<Item = &'a Record>) -> io::Result<()> {
    for record in records {
        serde_json::to_writer(&mut to, record)?;
        to.write_all(b"\n")?;
    }
    Ok(())
}

/// Reads records, one a line; empty lines are skipped.
///
/// # Errors
/// The reader's error, or a line that is no record.
pub fn read(from: impl BufRead) -> io::Result<Vec<Record>> {
    let mut records = Vec::new();
    for (number, line) in (1..).zip(from.lines()) {
        let line = line?;
        if !line.trim().is_empty() {
            let record = serde_json::from_str(&line);
            // serde_json counts the lines of what it was given, and that is one.
            records.push(record.map_err(|error| io::Error::other(format!("line {number}, {}", column(&error))))?);
        }
    }
    Ok(records)
}

/// Whether all is there that was seen, to the end.
pub fn is_whole(records: &[Record]) -> bool {
    let closed = records.iter().find_map(|record| match record {
        Record::Closed { records, .. } => Some(records.unwrap_or(0)),
        _ => None,
    });
    closed.is_some_and(|seen| records.len() >= seen)
}

fn column(error: &serde_json::Error) -> String {
    let said = error.to_string();
    let what = said.rsplit_once(" at line ").map_or(said.as_str(), |(what, _)| what);
    format!("column {}: {what}", error.column())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_again() {
        let facts = Facts::of(&serde_json::json!({ "failure": { "code": "BROKEN", "message": "no" }, "then": "STOP" }));
        assert_eq!(facts.code.as_deref(), Some("BROKEN"));
        let event = Event {
            run: 1,
            seq: 2,
            at: 3,
            epoch: 1,
            kind: "StepFailed".to_owned(),
            step: Some(0),
            attempt: Some(1),
            facts,
        };
        let step = Step { name: "verify".to_owned(), once: false, after_failure: false, wait_ms: None };
        let records = [
            Record::Limit { pool: "hooks".to_owned(), at: 0, limit: 3 },
            Record::Accepted {
                run: 1,
                deployment: "d".to_owned(),
                number: 1,
                at: 1,
                steps: vec![step],
                retry_of: None,
            },
            Record::Event(event),
            Record::Worker { worker: 7, ended_at: Some(9), came_back_at: None },
            Record::Closed { at: 10, records: None },
        ];
        let mut written = Vec::new();
        write(&mut written, &records).unwrap();
        assert_eq!(String::from_utf8_lossy(&written).lines().count(), records.len());
        assert_eq!(read(written.as_slice()).unwrap(), records);
    }
}
