//! What a process does to itself: the supervisor before it starts a hook (a child inherits all of it), the worker at its start.

use rustix::process::{DumpableBehavior, Resource, Rlimit, getpid, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};

/// Resource limits of a hook's processes. They hold for each process, save `processes`, which the kernel counts per OS user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessLimits {
    /// Seconds of processor time; `None`: only the step deadline counts. A process that asks for it gets a minute more.
    pub cpu_seconds: Option<u64>,
    /// Open files; at least 128 are given.
    pub open_files: u64,
    /// Processes and threads of the OS user, those of others under the same user included (so only useful with an OS user for hooks alone).
    pub processes: Option<u64>,
    /// Size of a file that the hook writes, in bytes.
    pub file_bytes: u64,
    /// Address space in bytes; at least 256 MiB are given. Python with numerical libraries maps far more than it uses.
    pub address_space_bytes: Option<u64>,
}

impl Default for ProcessLimits {
    fn default() -> Self {
        Self { cpu_seconds: None, open_files: 1024, processes: None, file_bytes: 1 << 30, address_space_bytes: None }
    }
}

/// Open files that the runner itself may need: below this a hook could not even start.
const FEWEST_FILES: u64 = 128;
/// Address space that the supervisor itself and a bare interpreter need.
const LEAST_ADDRESS_SPACE: u64 = 256 << 20;
/// Processor time, in seconds, by which the hard limit is above the soft one: the supervisor's own share, see [`relax`].
const SUPERVISOR_CPU: u64 = 60;

/// Shuts the supervisor in. Everything is inherited by the hook, save that an exec makes it dumpable again.
pub(super) fn shut_in(limits: &ProcessLimits, tag: u64) -> rustix::io::Result<()> {
    rustix::process::set_child_subreaper(Some(getpid()))?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    rustix::thread::set_no_new_privs(true)?;
    // A capability in the ambient set would outlive the change to another OS user.
    rustix::thread::clear_ambient_capability_set()?;
    limit(Resource::Core, 0)?;
    limit(Resource::Nofile, limits.open_files.max(FEWEST_FILES))?;
    limit(Resource::Fsize, limits.file_bytes.saturating_add(tag))?;
    if let Some(processes) = limits.processes {
        limit(Resource::Nproc, processes)?;
    }
    if let Some(bytes) = limits.address_space_bytes {
        limit(Resource::As, bytes.max(LEAST_ADDRESS_SPACE))?;
    }
    if let Some(seconds) = limits.cpu_seconds {
        limit(Resource::Cpu, seconds.saturating_add(SUPERVISOR_CPU))?;
        let hard = getrlimit(Resource::Cpu).maximum;
        setrlimit(Resource::Cpu, Rlimit { current: hard.map(|hard| hard.min(seconds)), maximum: hard })?;
    }
    Ok(())
}

/// Gives the supervisor more processor time than the hook that it has started by now: the end of a fork bomb is work.
pub(super) fn relax() -> rustix::io::Result<()> {
    let hard = getrlimit(Resource::Cpu).maximum;
    setrlimit(Resource::Cpu, Rlimit { current: hard, maximum: hard })
}

/// Lowers a limit for good; what is lower already stays.
fn limit(resource: Resource, value: u64) -> rustix::io::Result<()> {
    let value = Some(getrlimit(resource).maximum.map_or(value, |hard| hard.min(value)));
    setrlimit(resource, Rlimit { current: value, maximum: value })
}

/// Makes this process a worker that hooks can be started from: orphans of a killed supervisor come to it, and processes of the same OS user
/// can't read its memory (keys). Call it once at the start of a worker, before the first hook.
///
/// # Errors
/// The kernel knows neither (before Linux 3.4).
pub fn harden_worker() -> std::io::Result<()> {
    rustix::process::set_child_subreaper(Some(getpid()))?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(())
}
