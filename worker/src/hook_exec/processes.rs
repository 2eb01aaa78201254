//! The processes of this machine as `/proc` shows them.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;

use rustix::event::{PollFd, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};
use rustix::time::Timespec;

/// One process. A pid is used again; pid and start time together are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    /// Clock ticks since boot.
    pub(crate) started: u64,
    /// Ended, and not reaped yet.
    pub(crate) zombie: bool,
}

impl Process {
    /// What stays the same for as long as it lives.
    pub(crate) fn identity(&self) -> (i32, u64) {
        (self.pid, self.started)
    }
}

/// All processes that can be seen. One that ends meanwhile is left out.
pub(crate) fn all() -> io::Result<Vec<Process>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        if let Some(pid) = name.to_str().and_then(|name| name.parse().ok())
            && let Some(process) = read(pid)
        {
            found.push(process);
        }
    }
    Ok(found)
}

fn read(pid: i32) -> Option<Process> {
    // A process's own name may be any bytes.
    parse(pid, &String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/stat")).ok()?))
}

/// `pid (name) state ppid … starttime …`: the name may hold anything, so fields count from the last parenthesis.
fn parse(pid: i32, stat: &str) -> Option<Process> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let zombie = matches!(fields.next()?, "Z" | "X");
    let parent = fields.next()?.parse().ok()?;
    let started = fields.nth(17)?.parse().ok()?;
    Some(Process { pid, parent, started, zombie })
}

/// Those of `all` that descend from one of `roots`, the roots left out.
pub(crate) fn descendants(all: &[Process], roots: &HashSet<i32>) -> Vec<Process> {
    let mut children: HashMap<i32, Vec<Process>> = HashMap::new();
    for process in all {
        children.entry(process.parent).or_default().push(*process);
    }
    let mut found = Vec::new();
    let mut seen = roots.clone();
    let mut queue: Vec<i32> = roots.iter().copied().collect();
    while let Some(pid) = queue.pop() {
        for child in children.get(&pid).into_iter().flatten() {
            if seen.insert(child.pid) {
                found.push(*child);
                queue.push(child.pid);
            }
        }
    }
    found
}

/// Sends `signal` to exactly this process: never to another that got its pid meanwhile.
pub(crate) fn signal(process: &Process, signal: Signal) -> rustix::io::Result<()> {
    let pid = Pid::from_raw(process.pid).ok_or(rustix::io::Errno::SRCH)?;
    let handle = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(handle) => Some(handle),
        // Before Linux 5.3, or forbidden by a container: the pid alone, checked just before.
        Err(rustix::io::Errno::NOSYS | rustix::io::Errno::PERM) => None,
        Err(e) => return Err(e),
    };
    if read(process.pid).is_none_or(|now| now.identity() != process.identity()) {
        return Err(rustix::io::Errno::SRCH);
    }
    match handle {
        Some(handle) => pidfd_send_signal(handle, signal),
        None => kill_process(pid, signal),
    }
}

/// How often a stop looks again for newly forked processes before it kills what it has.
const STOP_PASSES: usize = 20;

/// Stops, then kills, all that `find` finds: what is stopped can't fork, so even a fork bomb comes to an end.
/// Returns whom it saw alive. Gone is only who was reaped; call it until nobody is found.
///
/// # Errors
/// `/proc` can't be read.
pub(crate) fn stop_and_kill(mut find: impl FnMut() -> io::Result<Vec<Process>>) -> io::Result<HashSet<(i32, u64)>> {
    let mut stopped = HashSet::new();
    for _ in 0..STOP_PASSES {
        let fresh: Vec<Process> =
            find()?.into_iter().filter(|p| !p.zombie && !stopped.contains(&p.identity())).collect();
        if fresh.is_empty() {
            break;
        }
        for process in fresh {
            // It may have ended; one that may not be signalled is met again below and by the caller's next look.
            let _ = signal(&process, Signal::STOP);
            stopped.insert(process.identity());
        }
    }
    for process in find()? {
        // Zombies, too: a process whose first thread ended shows as one while its other threads run.
        let _ = signal(&process, Signal::KILL);
    }
    Ok(stopped)
}

/// Stops this process's own children, and those who become its children meanwhile (their parents ended), as fast as they are listed: a
/// process that forks and ends at once, again and again, is gone before a look through all of `/proc` comes to it.
///
/// Only for a process that is single-threaded and reaps nobody meanwhile: so no pid of a child can be another's. Does nothing where the
/// kernel has no list of children; `stop_and_kill` is what counts.
pub(crate) fn stop_own_children() {
    let mut stopped = HashSet::new();
    for _ in 0..STOP_CHILDREN_PASSES {
        let list = fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
        let fresh: Vec<i32> = list
            .split_ascii_whitespace()
            .filter_map(|pid| pid.parse().ok())
            .filter(|pid| stopped.insert(*pid))
            .collect();
        if fresh.is_empty() {
            break;
        }
        for pid in fresh.into_iter().filter_map(Pid::from_raw) {
            // It may have ended: then its own children are in the next list.
            let _ = kill_process(pid, Signal::STOP);
        }
    }
}

/// How often [`stop_own_children`] looks again.
const STOP_CHILDREN_PASSES: usize = 1000;

/// Gives the kernel a moment to end what was killed.
pub(crate) fn pause(milliseconds: i64) {
    let time = Timespec { tv_sec: 0, tv_nsec: milliseconds.clamp(0, 999) * 1_000_000 };
    // An interrupted pause is only a shorter one.
    let _ = poll(&mut [] as &mut [PollFd<'_>], Some(&time));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_not_forge_the_fields() {
        let tail = "1 1 1 0 -1 0 0 0 0 0 0 0 0 0 0 0 20 777 0 0";
        let process = parse(5, &format!("5 (a) Z 9 (b) S 42 {tail}"));
        assert_eq!(process, Some(Process { pid: 5, parent: 42, started: 777, zombie: false }));
        assert_eq!(parse(5, "5 (a) S"), None);
    }

    #[test]
    fn this_process_is_seen_with_its_parent() {
        let me = read(rustix::process::getpid().as_raw_pid()).unwrap();
        assert_eq!(Some(me.parent), rustix::process::getppid().map(Pid::as_raw_pid));
        assert!(all().unwrap().contains(&me));
    }

    #[test]
    fn descendants_are_followed_to_the_end() {
        let p = |pid, parent| Process { pid, parent, started: 1, zombie: false };
        let tree = [p(2, 1), p(3, 2), p(4, 3), p(5, 1), p(6, 6)];
        let mut found: Vec<i32> = descendants(&tree, &HashSet::from([2])).iter().map(|p| p.pid).collect();
        found.sort_unstable();
        assert_eq!(found, [3, 4]);
    }
}
