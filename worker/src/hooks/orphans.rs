//! The end of a hook whose supervisor was killed.
//!
//! Its processes are then children of the worker, a subreaper, among others that are none of the hook's. They are told apart by what is
//! inherited: a variable in their environment, and the exact size of their file size limit, which survives a cleared environment; and by
//! descending from one of these.

use std::collections::HashSet;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use engine::clock::random_u64;
use rustix::process::{Pid, WaitOptions, getpid, waitpid};

use crate::hook_exec::processes::{self, Process};

/// Tags count from 1 to this; limits are rounded to it, so that no two hooks have the same sum.
const TAGS: u64 = 1 << 16;
/// The variable's name.
const VARIABLE: &str = "SLIPWAY_HOOK";

/// What all processes of one hook have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    id: String,
    tag: u64,
    file_bytes: u64,
}

impl Mark {
    /// A mark that no other hook of this process has, for a file size limit of about `file_bytes`.
    pub(super) fn new(file_bytes: u64) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self {
            id: format!("{:016x}{:016x}", random_u64(), random_u64()),
            tag: NEXT.fetch_add(1, Ordering::Relaxed) % (TAGS - 1) + 1,
            file_bytes: (file_bytes / TAGS).max(1) * TAGS,
        }
    }

    /// The variable that carries the mark.
    pub(super) fn variable(&self) -> (String, String) {
        (VARIABLE.to_owned(), self.id.clone())
    }

    /// To be added to the file size limit.
    pub(super) fn tag(&self) -> u64 {
        self.tag
    }

    /// The file size limit without the tag, in bytes.
    pub(super) fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    fn in_environment(&self, pid: i32) -> bool {
        // Unreadable, or gone: then the limit has to tell.
        let variable = format!("{VARIABLE}={}", self.id);
        std::fs::read(format!("/proc/{pid}/environ"))
            .is_ok_and(|all| all.split(|b| *b == 0).any(|one| one == variable.as_bytes()))
    }

    fn in_limits(&self, pid: i32) -> bool {
        let wanted = (self.file_bytes + self.tag).to_string();
        std::fs::read_to_string(format!("/proc/{pid}/limits")).is_ok_and(|limits| {
            // Max file size   <soft>   <hard>   bytes
            let line = limits.lines().find_map(|line| line.strip_prefix("Max file size"));
            line.and_then(|line| line.split_ascii_whitespace().nth(1)) == Some(wanted.as_str())
        })
    }
}

/// The pids of all that descends from this process.
///
/// # Errors
/// `/proc` can't be read.
pub fn own_descendants() -> io::Result<Vec<i32>> {
    let me = HashSet::from([getpid().as_raw_pid()]);
    Ok(processes::descendants(&processes::all()?, &me).iter().map(|process| process.pid).collect())
}

/// Kills every process with this mark and all that descends from it, and returns when none is left. Blocks; says how many there were.
///
/// # Errors
/// `/proc` can't be read.
pub(super) fn end(mark: &Mark) -> io::Result<usize> {
    let me = getpid().as_raw_pid();
    let mut met: HashSet<(i32, u64)> = HashSet::new();
    let mut pause = 1;
    loop {
        let found = marked(mark, me, &met)?;
        met.extend(found.iter().map(Process::identity));
        // One that ended and is another's child is for that other to reap.
        let left: Vec<&Process> = found.iter().filter(|process| !(process.zombie && process.parent != me)).collect();
        if left.is_empty() {
            return Ok(met.len());
        }
        for pid in left.iter().filter(|process| process.parent == me).filter_map(|process| Pid::from_raw(process.pid)) {
            // Not ended yet, or reaped by somebody else: the next look tells.
            let _ = waitpid(Some(pid), WaitOptions::NOHANG);
        }
        processes::stop_and_kill(|| marked(mark, me, &met))?;
        processes::pause(pause);
        pause = (pause * 2).min(100);
    }
}

/// Whoever has the mark, was met before, or descends from such a process.
fn marked(mark: &Mark, me: i32, met: &HashSet<(i32, u64)>) -> io::Result<Vec<Process>> {
    let all = processes::all()?;
    let own: HashSet<i32> =
        processes::descendants(&all, &HashSet::from([me])).iter().map(|process| process.pid).collect();
    let has = |process: &&Process| {
        let pid = process.pid;
        pid != me
            && (met.contains(&process.identity())
                || (own.contains(&pid) && mark.in_limits(pid))
                || mark.in_environment(pid))
    };
    let mut found: Vec<Process> = all.iter().filter(has).copied().collect();
    let roots: HashSet<i32> = found.iter().map(|process| process.pid).collect();
    found.extend(processes::descendants(&all, &roots));
    Ok(found)
}
