//! A process that dies with ours, however that ends: a shell holds it, and waits on a pipe that only we hold open.

use std::{
    fs,
    io::{self, BufRead, BufReader},
    net::{Ipv4Addr, TcpListener},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::watch;

use crate::failure::LabError;

/// `$1` is the log, `$2` the signal for the end, `$3` a folder to remove after it; the rest is the program. Says its pid, then its exit code.
const SHELL: &str = r#"
log=$1 signal=$2 remove=$3
shift 3
exec 3<&0
"$@" >>"$log" 2>&1 </dev/null 3<&- &
pid=$!
# Whoever reads what we say may be gone.
trap '' PIPE
echo "$pid"
( cat <&3 >/dev/null; kill -s "$signal" "$pid" ) &
watch=$!
wait "$pid"
echo "exit $?"
kill "$watch"
[ -z "$remove" ] || rm -rf "$remove"
"#;

/// What is guarded.
#[derive(Debug)]
pub struct Program {
    command: Vec<String>,
    environment: Vec<(String, String)>,
    log: PathBuf,
    folder: PathBuf,
    signal: &'static str,
    remove: Option<PathBuf>,
    user: Option<(u32, u32)>,
}

impl Program {
    /// A program with arguments; what it prints is added to `log`. It runs in the log's folder.
    pub fn new<S: Into<String>>(command: impl IntoIterator<Item = S>, log: &Path) -> Self {
        let command: Vec<String> = command.into_iter().map(Into::into).collect();
        let folder = log.parent().unwrap_or(Path::new(".")).to_owned();
        Self { command, environment: Vec::new(), log: log.to_owned(), folder, signal: "KILL", remove: None, user: None }
    }

    /// More variables than ours.
    #[must_use]
    pub fn with<K: Into<String>, V: Into<String>>(mut self, variables: impl IntoIterator<Item = (K, V)>) -> Self {
        self.environment.extend(variables.into_iter().map(|(key, value)| (key.into(), value.into())));
        self
    }

    /// What ends it; KILL if not said.
    #[must_use]
    pub fn ended_by(mut self, signal: &'static str) -> Self {
        self.signal = signal;
        self
    }

    /// A folder that goes with it.
    #[must_use]
    pub fn removing(mut self, folder: &Path) -> Self {
        self.remove = Some(folder.to_owned());
        self
    }

    /// As this user and group, when we are root.
    #[must_use]
    pub fn as_user(mut self, user: Option<(u32, u32)>) -> Self {
        self.user = user;
        self
    }

    /// Starts it.
    ///
    /// # Errors
    /// When there is no shell, or it can't start anything.
    pub fn start(self) -> Result<Guarded, LabError> {
        let mut shell = Command::new("/bin/sh");
        let remove = self.remove.as_ref().map(|folder| folder.display().to_string()).unwrap_or_default();
        shell
            .args(["-c", SHELL, "guard", &self.log.display().to_string(), self.signal, &remove])
            .args(&self.command)
            .current_dir(&self.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        // A setting of ours is no setting of the program's.
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("SLIPWAY_") {
                shell.env_remove(variable);
            }
        }
        shell.envs(self.environment);
        if let Some((user, group)) = self.user {
            shell.uid(user).gid(group);
        }
        let mut shell = shell.spawn()?;
        let Some(said) = shell.stdout.take() else { return Err(LabError::failed("/bin/sh", "it has no pipe")) };
        let said = BufReader::new(said);
        let (pid, first) = mpsc::channel();
        let (ended, exited) = watch::channel(None);
        std::thread::spawn(move || {
            for line in said.lines().map_while(Result::ok) {
                match line.strip_prefix("exit ") {
                    Some(code) => {
                        ended.send_replace(code.parse::<i32>().ok());
                        return;
                    }
                    None => {
                        let _ = pid.send(line.parse::<i32>());
                    }
                }
            }
            ended.send_replace(Some(-1));
        });
        let pid = first.recv_timeout(Duration::from_secs(30)).ok().and_then(Result::ok).and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| LabError::failed("/bin/sh", "it said no process id"))?;
        Ok(Guarded { pid, log: self.log, shell, exited })
    }
}

/// A guarded process. Dropping it ends it, and returns when it is gone.
#[derive(Debug)]
pub struct Guarded {
    pid: Pid,
    log: PathBuf,
    shell: Child,
    exited: watch::Receiver<Option<i32>>,
}

impl Guarded {
    /// Its pid.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw_pid()
    }

    /// Its exit code (128 + the signal), if it has ended.
    pub fn exit_code(&self) -> Option<i32> {
        *self.exited.borrow()
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// [`LabError::Late`] when it did not end in `patience`.
    pub async fn exited(&self, patience: Duration) -> Result<i32, LabError> {
        let mut exited = self.exited.clone();
        let waited = tokio::time::timeout(patience, exited.wait_for(Option::is_some)).await;
        let late =
            || LabError::Late { what: format!("the end of process {}", self.pid()), seconds: patience.as_secs() };
        let code = waited.map_err(|_| late())?;
        Ok(code.ok().and_then(|code| *code).unwrap_or(-1))
    }

    /// Sends a signal, unless it has ended.
    pub fn signal(&self, signal: Signal) {
        if self.exit_code().is_none() {
            // It may end right now.
            let _ = kill_process(self.pid, signal);
        }
    }

    /// SIGKILL, and waits for its end.
    ///
    /// # Errors
    /// As [`Guarded::exited`].
    pub async fn kill(&self) -> Result<(), LabError> {
        self.signal(Signal::KILL);
        self.exited(Duration::from_secs(30)).await.map(drop)
    }

    /// What it printed so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The end of that, for a message.
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(25)..].join("\n")
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        // The shell ends when its program has.
        let _ = self.shell.wait();
    }
}

/// A port of this machine that is free now.
///
/// # Errors
/// When there is none.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
