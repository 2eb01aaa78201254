//! The client of a CI system, as a job runs it: real processes, their exit codes, what they print.

mod again;
mod deploys;
mod logins;
mod nodes;
mod pieces;
mod places;
pub(crate) mod tls;
mod waits;
mod words;

use std::{
    collections::BTreeMap,
    process::{Command, Output},
};

use sandbox::{BundleSpec, RunningNode, sample_bundle};
use serde_json::{Value, json};
use tests::{Client, Fleet, Size, guard::Program, practice, scratch::Scratch, slipway};

/// A job: a machine with nothing of ours but the binary, and the variables that its CI system sets.
pub(crate) struct Job {
    pub(crate) scratch: Scratch,
    variables: BTreeMap<String, String>,
}

impl Job {
    /// A machine that knows of no API.
    pub(crate) fn new() -> Self {
        let scratch = Scratch::new("job");
        let home = scratch.at("home");
        let path = std::env::var("PATH").unwrap_or_default();
        let variables = [("PATH", path), ("HOME", home), ("RUST_BACKTRACE", "1".to_owned())];
        Self { scratch, variables: variables.map(|(name, value)| (name.to_owned(), value)).into() }
    }

    /// One with the address and the key of this client.
    pub(crate) fn of(client: &Client) -> Self {
        Self::new().with("SLIPWAY_URL", client.url()).with("SLIPWAY_API_KEY", client.key())
    }

    #[must_use]
    pub(crate) fn with(mut self, variable: &str, value: &str) -> Self {
        self.variables.insert(variable.to_owned(), value.to_owned());
        self
    }

    /// The same machine, in a run of a workflow.
    #[must_use]
    pub(crate) fn of_run(self, run: &str, attempt: &str) -> Self {
        self.with("GITHUB_ACTIONS", "true").with("GITHUB_RUN_ID", run).with("GITHUB_RUN_ATTEMPT", attempt)
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(slipway::binary());
        command.args(arguments).env_clear().envs(&self.variables).current_dir(self.scratch.path());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        Ended::of(self.command(arguments).output().unwrap())
    }

    /// The same in the background; what it prints is in the file `name`.
    pub(crate) fn start(&self, name: &str, arguments: &[&str]) -> tests::guard::Guarded {
        let binary = slipway::binary().display().to_string();
        let command = [binary.as_str()].into_iter().chain(arguments.iter().copied());
        Program::new(command, &self.scratch.path().join(name)).with(self.variables.clone()).start()
    }

    /// A bundle in a file: its name.
    pub(crate) fn bundle(&self, spec: &BundleSpec) -> String {
        let file = self.scratch.at(&format!("{}-{}.zip", spec.project_key, spec.bundle_id));
        std::fs::write(&file, sample_bundle(spec)).unwrap();
        file
    }
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let ended = Self { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) };
        assert!(!ended.out.contains("panicked") && !ended.err.contains("panicked"), "{ended:#?}");
        ended
    }

    /// It ended with this code, and said all of this.
    pub(crate) fn is(&self, code: i32, parts: &[&str]) -> &Self {
        assert_eq!(self.code, code, "{self:#?}");
        for part in parts {
            assert!(self.out.contains(part) || self.err.contains(part), "{part} is not in {self:#?}");
        }
        self
    }

    /// Its lines of JSON.
    pub(crate) fn json(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"))).collect()
    }

    /// The last of them.
    pub(crate) fn result(&self) -> Value {
        self.json().pop().unwrap_or_else(|| panic!("nothing was said: {self:#?}"))
    }
}

/// An installation with an infrastructure `production` and a deployment `churn` of CHURN/v1 there.
pub(crate) async fn place() -> (Fleet, RunningNode) {
    let fleet = Fleet::of(Size::Embedded).start().await;
    let node = practice::node().await;
    node.set_user("admin", &["administrators"], true);
    fleet.client.deployments(&node, &["churn"]).await;
    (fleet, node)
}

/// A hook that goes on when there is a file: its code.
pub(crate) fn held_until(file: &str) -> String {
    format!(
        "import os, time\n\ndef execute(**kwargs):\n    print('the hook has begun', flush=True)\n    while not os.path.exists({}):\n        time.sleep(0.02)\n    return HookResult.success('done')\n",
        json!(file)
    )
}

/// How many updates a deployment has had.
pub(crate) async fn updates(client: &Client, deployment: &str) -> usize {
    let document = "query($id: String!) { updates(first: 100, filter: {deployment: $id}) { nodes { id } } }";
    let found = client.ask(document, json!({ "id": deployment })).await;
    found["nodes"].as_array().map_or(0, Vec::len)
}
