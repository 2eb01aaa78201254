//! What worker and supervisor, and supervisor and runner, say to each other.
//!
//! A frame is a length (four bytes, big endian) and that many bytes of JSON. The worker sends one [`Spec`], then [`Order`]s; the supervisor
//! answers with [`Status`]es and relays the runner's own frames unread as [`Status::Said`]. Both ends are the same binary, so the messages
//! carry no version.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::ProcessLimits;

/// Longest frame from worker to supervisor, in bytes: it carries the hook's code and arguments.
pub(crate) const ORDER_MAX: usize = 32 << 20;
/// Longest frame from supervisor to worker, in bytes.
pub(crate) const STATUS_MAX: usize = 4 << 20;
/// All that one hook may say on its result channel, in bytes.
pub(crate) const SAID_MAX: usize = 1 << 20;

/// Everything the supervisor needs. Deadlines are absolute CLOCK_BOOTTIME nanoseconds.
#[derive(Serialize, Deserialize)]
pub(crate) struct Spec {
    /// The code env's interpreter.
    pub(crate) python: PathBuf,
    /// Shown in the process list after the interpreter's arguments.
    pub(crate) label: String,
    /// Added to the few variables that every hook gets.
    pub(crate) environment: BTreeMap<String, String>,
    /// Made for this hook, mode 0700; removed when no descendant is left.
    pub(crate) scratch: PathBuf,
    /// The account to run as; `None`: the worker's own.
    pub(crate) os_user: Option<String>,
    pub(crate) limits: ProcessLimits,
    /// Added to the file size limit: marks the hook's processes, whatever they do to their environment.
    pub(crate) tag: u64,
    /// Source of the runner.
    pub(crate) runner: String,
    /// What the runner gets once it is ready: code, arguments, keys.
    pub(crate) payload: String,
    pub(crate) lease_deadline: i64,
    pub(crate) step_deadline: i64,
}

/// From the worker, after the [`Spec`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Order {
    /// The worker's lease holds until then (absolute CLOCK_BOOTTIME nanoseconds); replaces the former deadline.
    Lease(i64),
    /// End the hook now.
    Kill,
}

/// From the supervisor. `Refused`, or `Killed` or `Exited`, comes once; `Clean` is the last.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    /// The hook was not started.
    Refused { why: Refusal, detail: String },
    /// The interpreter runs.
    Started { pid: i32 },
    /// The runner is up and has been given the hook.
    Ready,
    /// A frame of the runner's, as it came.
    Said { body: String },
    /// The runner said more than [`SAID_MAX`]; its channel was closed.
    SaidTooMuch,
    /// The hook's own process ended.
    Exited { code: Option<i32>, signal: Option<i32> },
    /// The supervisor begins to kill everything.
    Killed { why: KillReason },
    /// So many processes were still there after the hook's own had ended; they were killed.
    Leftovers { count: u32 },
    /// No descendant is left.
    Clean,
}

/// Why a hook was not started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Refusal {
    /// The OS user does not exist, or this process may not become it.
    User,
    /// The code env's interpreter is not there or can't be executed.
    Interpreter,
    /// Anything else of this machine: scratch directory, limits, no process left.
    System,
}

/// Why the supervisor killed the hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum KillReason {
    /// The worker is gone.
    ControlClosed,
    /// No heartbeat of the worker was confirmed in time.
    LeaseDeadline,
    /// The step ran too long.
    StepDeadline,
    /// The worker asked for it.
    Ordered,
    /// The supervisor itself failed (it could not wait, or not write).
    Fault,
}

/// Appends one frame to `out`.
///
/// # Errors
/// A body that serde can't write, or one longer than a frame can say.
pub(crate) fn frame(out: &mut Vec<u8>, message: &impl Serialize) -> io::Result<()> {
    frame_bytes(out, &serde_json::to_vec(message)?)
}

/// As [`frame`], for a body that is written already.
///
/// # Errors
/// A body longer than a frame can say.
pub(crate) fn frame_bytes(out: &mut Vec<u8>, body: &[u8]) -> io::Result<()> {
    let length = u32::try_from(body.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(body);
    Ok(())
}

/// Puts frames together from bytes as they come.
pub(crate) struct Inbox {
    bytes: Vec<u8>,
    max: usize,
}

impl Inbox {
    /// Refuses frames longer than `max` bytes.
    pub(crate) fn new(max: usize) -> Self {
        Self { bytes: Vec::new(), max }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole frame's body.
    ///
    /// # Errors
    /// The frame claims to be longer than allowed: nothing after it can be read.
    pub(crate) fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        let Some((head, rest)) = self.bytes.split_first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_be_bytes(*head) as usize;
        if length > self.max {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        }
        if rest.len() < length {
            return Ok(None);
        }
        let body = rest[..length].to_vec();
        self.bytes.drain(..4 + length);
        Ok(Some(body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_any_cut() {
        let mut wire = Vec::new();
        frame(&mut wire, &Order::Lease(7)).unwrap();
        frame(&mut wire, &Order::Kill).unwrap();
        for cut in 0..wire.len() {
            let mut inbox = Inbox::new(64);
            let mut got = Vec::new();
            for part in [&wire[..cut], &wire[cut..]] {
                inbox.push(part);
                while let Some(body) = inbox.next().unwrap() {
                    got.push(String::from_utf8(body).unwrap());
                }
            }
            assert_eq!(got, ["{\"lease\":7}", "\"kill\""], "cut at {cut}");
        }
    }

    #[test]
    fn a_frame_over_the_limit_is_refused() {
        let mut inbox = Inbox::new(8);
        inbox.push(&9u32.to_be_bytes());
        assert!(inbox.next().is_err());
    }
}
