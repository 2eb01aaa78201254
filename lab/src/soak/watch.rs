//! What hooks say of themselves, and when their last process is gone: each holds a socket of ours, which only its processes hold.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use engine::clock::{boottime_nanos, now_micros};
use serde::Deserialize;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::{UnixListener, UnixStream},
};

use crate::{failure::LabError, servers::scratch::Scratch};

/// Where hooks report.
#[derive(Debug)]
pub(super) struct Watch {
    scratch: Scratch,
    acts: Arc<Mutex<Vec<Act>>>,
}

/// The processes of one attempt at a hook. Times are microseconds since the Unix epoch.
#[derive(Clone, Debug)]
pub(super) struct Act {
    pub(super) run: i64,
    /// The step's name.
    pub(super) step: String,
    pub(super) attempt: i64,
    /// As the hook said it.
    pub(super) from: i64,
    /// It said that it ends.
    pub(super) ended: bool,
    /// When the last process was gone.
    pub(super) until: Option<i64>,
}

#[derive(Deserialize)]
struct Line {
    key: String,
    attempt: i64,
    /// CLOCK_BOOTTIME, nanoseconds.
    at: i64,
    what: String,
}

impl Watch {
    pub(super) async fn start() -> Result<Self, LabError> {
        let scratch = Scratch::new("watch")?;
        let acts = Arc::default();
        let watch = Self { scratch, acts };
        let listener = UnixListener::bind(watch.door())?;
        let acts = Arc::clone(&watch.acts);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(listen(stream, Arc::clone(&acts)));
            }
        });
        Ok(watch)
    }

    fn door(&self) -> PathBuf {
        self.scratch.path().join("door")
    }

    /// A hook that reports here, as Python. `daemon`: it leaves a process in a session of its own behind, for its supervisor to end.
    pub(super) fn hook(&self, daemon: bool) -> String {
        let door = format!("{:?}", self.door().display().to_string());
        let daemon = if daemon { "True" } else { "False" };
        format!(
            r#"
import json, os, random, socket, subprocess, time

def execute(idempotency_key, attempt, **kwargs):
    door = socket.socket(socket.AF_UNIX)
    door.connect({door})
    os.set_inheritable(door.fileno(), True)

    def say(what):
        at = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        line = {{"key": idempotency_key, "attempt": attempt, "pid": os.getpid(), "at": at, "what": what}}
        door.sendall((json.dumps(line) + "\n").encode())

    say("start")
    if {daemon}:
        subprocess.Popen(["sleep", "600"], start_new_session=True, close_fds=False)
    time.sleep(random.uniform(0.2, 1.2))
    say("end")
    return HookResult.success("Done.")
"#
        )
    }

    /// All that has been heard so far.
    pub(super) fn acts(&self) -> Vec<Act> {
        self.acts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn listen(stream: UnixStream, acts: Arc<Mutex<Vec<Act>>>) {
    let mut lines = BufReader::new(stream).lines();
    let mut place = None;
    let with = |place: usize, change: &dyn Fn(&mut Act)| {
        let mut acts = acts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(act) = acts.get_mut(place) {
            change(act);
        }
    };
    // An error is an end, too.
    while let Ok(Some(line)) = lines.next_line().await {
        let Ok(line) = serde_json::from_str::<Line>(&line) else { continue };
        match (place, line.what.as_str()) {
            (None, "start") => {
                let Some((run, step)) = line.key.split_once('/') else { continue };
                let Ok(run) = run.parse() else { continue };
                let from = now_micros() - (boottime_nanos() - line.at) / 1_000;
                let step = step.to_owned();
                let act = Act { run, step, attempt: line.attempt, from, ended: false, until: None };
                let mut acts = acts.lock().unwrap_or_else(PoisonError::into_inner);
                place = Some(acts.len());
                acts.push(act);
            }
            (Some(place), "end") => with(place, &|act| act.ended = true),
            _ => {}
        }
    }
    if let Some(place) = place {
        let gone = now_micros();
        with(place, &|act| act.until = Some(gone));
    }
}
