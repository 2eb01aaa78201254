//! A hook that leaves traces: what it was given, which processes are its own, and that it waits until it may end.

use std::{fs, path::Path, time::Duration};

use serde_json::{Value, json};
use tests::{until, until_true};

use super::scene::PATIENCE;

/// One hook of a scene.
#[derive(Debug)]
pub(crate) struct Hook {
    effects: String,
    go: String,
}

/// What one attempt at the hook wrote down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Effect {
    /// The idempotency key.
    pub(crate) key: String,
    /// The number of the attempt.
    pub(crate) attempt: u64,
    /// All its processes have this in their environment.
    mark: String,
}

impl Hook {
    /// Its files are in `folder`, under `name`.
    pub(crate) fn new(folder: &Path, name: &str) -> Self {
        let at = |what: &str| folder.join(format!("{name}.{what}")).display().to_string();
        Self { effects: at("effects"), go: at("go") }
    }

    /// As the API takes it. Its daemon has a session of its own: only its mark tells whose it is.
    pub(crate) fn input(&self, on_interrupt: Option<&str>) -> Value {
        let (effects, go) = (json!(self.effects), json!(self.go));
        let code = format!(
            r#"
import json, os, subprocess, time

def execute(idempotency_key, attempt, **kwargs):
    daemon = subprocess.Popen(["sleep", "600"], start_new_session=True)
    effect = {{"key": idempotency_key, "attempt": attempt, "mark": os.environ["SLIPWAY_HOOK"]}}
    with open({effects}, "a") as file:
        file.write(json.dumps(effect) + "\n")
    while not os.path.exists({go}):
        time.sleep(0.02)
    daemon.kill()
    daemon.wait()
    return HookResult.success("Done.")
"#
        );
        json!([{ "name": "traces", "code": code, "onInterrupt": on_interrupt }])
    }

    /// Lets it end, whoever runs it.
    pub(crate) fn let_go(&self) {
        fs::write(&self.go, "").unwrap();
    }

    /// What its attempts wrote down, in order.
    pub(crate) fn effects(&self) -> Vec<Effect> {
        let text = fs::read_to_string(&self.effects).unwrap_or_default();
        // The last line may be half written.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let effect = |line: &str| {
            let line: Value = serde_json::from_str(line).expect("a line of the hook's");
            let text = |field: &str| line[field].as_str().expect("text").to_owned();
            Effect { key: text("key"), attempt: line["attempt"].as_u64().expect("a number"), mark: text("mark") }
        };
        whole.lines().map(effect).collect()
    }

    /// Waits until an attempt, the `nth` from 1, is in the middle of it.
    pub(crate) async fn begun(&self, nth: usize) -> Effect {
        until("the hook", PATIENCE, || async { self.effects().into_iter().nth(nth - 1) }).await
    }
}

impl Effect {
    /// The processes of this attempt that are there now.
    pub(crate) fn processes(&self) -> Vec<String> {
        let wanted = format!("SLIPWAY_HOOK={}", self.mark);
        let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let marked = |pid: &String| {
            // Of one that has ended nothing can be read.
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes())
        };
        processes.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())).filter(marked).collect()
    }

    /// Waits until none is left.
    pub(crate) async fn gone(&self, within: Duration) {
        until_true("the end of the hook's processes", within, || async { self.processes().is_empty() }).await;
    }
}
