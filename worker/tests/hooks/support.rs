//! What the tests of hooks share: a call to run, and a look at the machine's processes.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;
use std::time::Duration;

use engine::clock::{boottime_nanos, random_u64};
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use worker::hooks::{
    HookArguments, HookCall, HookControl, HookEnvironment, HookLimits, HookLine, HookReport, HookStream, Supervisor,
};

pub(crate) const SECOND: i64 = 1_000_000_000;

/// The interpreter itself, found through whatever `python3` is on the path (a wrapper needs an environment, hooks have none).
pub(crate) static PYTHON: LazyLock<PathBuf> = LazyLock::new(|| asked_python("python3"));

/// An interpreter that every OS user may run.
pub(crate) static SYSTEM_PYTHON: LazyLock<PathBuf> = LazyLock::new(|| {
    let system = PathBuf::from("/usr/bin/python3");
    if system.exists() { system } else { PYTHON.clone() }
});

fn asked_python(name: &str) -> PathBuf {
    let out = Command::new(name).args(["-c", "import sys; print(sys.executable)"]).output().unwrap();
    PathBuf::from(String::from_utf8(out.stdout).unwrap().trim())
}

/// One hook to run, with a marker that its processes carry in their command lines.
pub(crate) struct Bench {
    pub(crate) call: HookCall,
    pub(crate) lease: watch::Sender<i64>,
    pub(crate) cancel: CancellationToken,
    pub(crate) marker: String,
    pub(crate) scratch: TempDir,
}

/// A hook running, or done.
pub(crate) struct Running {
    task: JoinHandle<HookReport>,
    lines: mpsc::Receiver<HookLine>,
    pub(crate) lease: watch::Sender<i64>,
    pub(crate) cancel: CancellationToken,
    pub(crate) marker: String,
    pub(crate) scratch: TempDir,
}

/// How a hook ended, with all it said.
pub(crate) struct Done {
    pub(crate) report: HookReport,
    pub(crate) lines: Vec<HookLine>,
    pub(crate) marker: String,
    scratch: TempDir,
}

impl Bench {
    /// `code` may name the marker as `{MARK}` and the interpreter as `{PYTHON}`.
    pub(crate) fn new(code: &str) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        // Other OS users pass through.
        fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let marker = format!("mark-{:016x}", random_u64());
        let arguments = HookArguments {
            requesting_user: "ada".to_owned(),
            deploying_user: "deployer".to_owned(),
            deployment_id: marker.clone(),
            deployment_report: None,
            deployed_project_key: Some("SALES".to_owned()),
            extra: BTreeMap::from([("attempt".to_owned(), 1.into())]),
        };
        let code = code.replace("{MARK}", &marker).replace("{PYTHON}", PYTHON.to_str().unwrap());
        let call = HookCall {
            supervisor: Supervisor { program: env!("CARGO_BIN_EXE_hook-exec").into(), args: Vec::new() },
            python: PYTHON.clone(),
            code_env: "plain".to_owned(),
            os_user: None,
            scratch_root: scratch.path().to_owned(),
            environment: HookEnvironment::default(),
            name: "check".to_owned(),
            code,
            arguments,
            automation: None,
            nodes: Default::default(),
            deployer: Err("there is no deployer here"),
            limits: HookLimits { deadline: Duration::from_secs(60), ..HookLimits::default() },
            secrets: Vec::new(),
        };
        let lease = watch::Sender::new(boottime_nanos() + 60 * SECOND);
        Self { call, lease, cancel: CancellationToken::new(), marker, scratch }
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut HookCall)) -> Self {
        change(&mut self.call);
        self
    }

    pub(crate) fn start(self) -> Running {
        let (sender, lines) = mpsc::channel(64);
        let control = HookControl { lease_deadline: self.lease.subscribe(), cancel: self.cancel.clone() };
        let task = tokio::spawn(worker::hooks::run(self.call, control, sender));
        let Self { lease, cancel, marker, scratch, .. } = self;
        Running { task, lines, lease, cancel, marker, scratch }
    }

    pub(crate) async fn run(self) -> Done {
        self.start().done().await
    }
}

impl Running {
    /// Waits for a line; fails when the output ends before it.
    pub(crate) async fn line(&mut self, text: &str) {
        loop {
            let line = self.lines.recv().await.unwrap_or_else(|| panic!("the output ended without {text:?}"));
            if line.text == text {
                return;
            }
        }
    }

    pub(crate) async fn done(self) -> Done {
        let Self { task, mut lines, marker, scratch, .. } = self;
        let mut all = Vec::new();
        while let Some(line) = lines.recv().await {
            all.push(line);
        }
        Done { report: task.await.unwrap(), lines: all, marker, scratch }
    }

    /// As a worker that goes away without a word.
    pub(crate) async fn drop_future(self) -> String {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
        self.marker
    }
}

impl Done {
    pub(crate) fn texts(&self, stream: HookStream) -> Vec<&str> {
        self.lines.iter().filter(|line| line.stream == stream).map(|line| line.text.as_str()).collect()
    }

    /// Nothing is left, as soon as the report is there: no process, no file.
    pub(crate) fn assert_gone(&self) {
        assert_eq!(alive(&self.marker), Vec::<i32>::new(), "processes left after {:?}", self.report);
        assert_eq!(fs::read_dir(self.scratch.path()).unwrap().count(), 0, "scratch left");
    }
}

/// The processes with `marker` in their command line. (One that ended and is not reaped has none.)
pub(crate) fn alive(marker: &str) -> Vec<i32> {
    let pids = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let marked = |pid: &i32| {
        fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains(marker))
    };
    pids.filter(marked).collect()
}

pub(crate) fn parent(pid: i32) -> i32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(')').unwrap().1.split_whitespace().nth(1).unwrap().parse().unwrap()
}

pub(crate) fn signal(pid: i32, signal: rustix::process::Signal) {
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), signal).unwrap();
}

/// Looks until it is so.
pub(crate) async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let mut tick = tokio::time::interval(Duration::from_millis(10));
    let give_up = boottime_nanos() + 30 * SECOND;
    while !so() {
        assert!(boottime_nanos() < give_up, "never: {what}");
        tick.tick().await;
    }
}
