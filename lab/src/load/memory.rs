//! How much memory processes use.

use std::{
    fmt, fs,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::task::AbortHandle;

const EVERY: Duration = Duration::from_millis(200);

/// What a process uses now, in KiB; 0 when it is gone.
pub(super) fn resident(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse().ok()).unwrap_or(0)
}

/// In MiB, for people.
pub(super) fn mib(kib: u64) -> String {
    format!("{:.1} MiB", kib as f64 / 1_024.0)
}

/// What one process used, in KiB.
#[derive(Clone, Debug)]
pub(super) struct Used {
    /// Whose name it goes by.
    pub process: String,
    /// At the beginning.
    pub first: u64,
    /// The most that was seen.
    pub most: u64,
    /// At the end.
    pub last: u64,
}

impl Used {
    /// What it grew by at most.
    pub(super) fn grown(&self) -> u64 {
        self.most.saturating_sub(self.first)
    }
}

impl fmt::Display for Used {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} at first, {} at most, {} at the end",
            self.process,
            mib(self.first),
            mib(self.most),
            mib(self.last)
        )
    }
}

/// Looks at processes, again and again, until it is dropped.
pub(super) struct Memory {
    used: Arc<Mutex<Vec<Used>>>,
    looks: AbortHandle,
}

impl Memory {
    pub(super) fn watch(processes: Vec<(String, i32)>) -> Self {
        let first = |(process, pid): &(String, i32)| {
            let now = resident(*pid);
            Used { process: process.clone(), first: now, most: now, last: now }
        };
        let used: Arc<Mutex<Vec<Used>>> = Arc::new(Mutex::new(processes.iter().map(first).collect()));
        let seen = Arc::clone(&used);
        let looks = tokio::spawn(async move {
            loop {
                tokio::time::sleep(EVERY).await;
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                for (used, (_, pid)) in seen.iter_mut().zip(&processes) {
                    used.last = resident(*pid);
                    used.most = used.most.max(used.last);
                }
            }
        });
        Self { used, looks: looks.abort_handle() }
    }

    pub(super) fn used(&self) -> Vec<Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.looks.abort();
    }
}
