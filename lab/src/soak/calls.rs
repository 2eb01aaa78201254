//! What was asked of the node, and whether anything was asked twice.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use sandbox::{Call, CallBody, Node, RunningNode};
use targets::spec::DeploySpec;
use tokio::task::JoinHandle;

use super::seen::{Run, Seen};

/// The node forgets its oldest calls; we copy those that matter before.
const OFTEN: Duration = Duration::from_secs(5);

/// Copies the node's log of calls while it grows.
pub(super) struct Gathering {
    node: Node,
    kept: Arc<Mutex<BTreeMap<u64, Call>>>,
    task: JoinHandle<()>,
}

impl Gathering {
    pub(super) fn start(node: &RunningNode) -> Self {
        let (node, kept) = (node.node().clone(), Arc::<Mutex<BTreeMap<u64, Call>>>::default());
        let (source, into) = (node.clone(), Arc::clone(&kept));
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(OFTEN).await;
                gather(&source, &into);
            }
        });
        Self { node, kept, task }
    }

    /// All calls that ask for an effect, in order of arrival.
    pub(super) async fn finish(self) -> Vec<Call> {
        self.task.abort();
        gather(&self.node, &self.kept);
        let kept = std::mem::take(&mut *self.kept.lock().unwrap_or_else(PoisonError::into_inner));
        kept.into_values().collect()
    }
}

fn gather(node: &Node, into: &Mutex<BTreeMap<u64, Call>>) {
    let mut kept = into.lock().unwrap_or_else(PoisonError::into_inner);
    for call in node.calls() {
        if call.method != "GET" {
            kept.insert(call.index, call);
        }
    }
}

/// A call that asks for an effect, and the run that made it.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    pub(super) run: i64,
    /// The step's name, where the call tells it.
    pub(super) step: Option<&'static str>,
    pub(super) call: &'a Call,
}

impl Asked<'_> {
    /// When the node showed the effect: the call was done, whether its answer arrived or not.
    pub(super) fn shown(&self) -> Option<i64> {
        let lost = matches!(self.call.fault.as_deref(), Some("LOST_ANSWER" | "CUT_ANSWER"));
        let done = lost || self.call.status.is_some_and(|status| (200..300).contains(&status));
        self.call.end.filter(|_| done)
    }
}

/// Which run made which call: each project on the node has one deployment, which has one run at a time.
pub(super) fn attribute<'a>(seen: &Seen, calls: &'a [Call]) -> Vec<Asked<'a>> {
    let mut projects: BTreeMap<String, Vec<(i64, i64, &Run)>> = BTreeMap::new();
    for run in seen.runs.values() {
        let Some(spec) = deploy_spec(run) else { continue };
        let Some(from) = run.row.started_at else { continue };
        projects.entry(spec.on_node).or_default().push((from, run.row.ended_at.unwrap_or(i64::MAX), run));
    }
    let of_call = |call: &'a Call| {
        let made = projects.iter().flat_map(|(key, runs)| runs.iter().map(move |run| (key, run)));
        let mut made = made.filter(|(_, (from, until, _))| (*from..=*until).contains(&call.start));
        let (_, (.., run)) = made.find(|(key, (.., run))| is_of(call, key, run))?;
        Some(Asked { run: run.row.id, step: step(call), call })
    };
    calls.iter().filter_map(of_call).collect()
}

fn is_of(call: &Call, key: &str, run: &Run) -> bool {
    if let Some(rest) = call.path.strip_prefix("/projects/") {
        return rest.split('/').next() == Some(key);
    }
    match &call.body {
        CallBody::Upload { sha256, .. } => deploy_spec(run).is_some_and(|spec| spec.sha256 == *sha256),
        CallBody::Json(body) => body["projectKey"] == key,
        _ => false,
    }
}

fn step(call: &Call) -> Option<&'static str> {
    match call.path.as_str() {
        "/projectsFromBundle" => Some("push_bundle"),
        path if path.ends_with("/actions/importFromStream") => Some("push_bundle"),
        path if path.ends_with("/actions/activate") => Some("activate"),
        _ => None,
    }
}

/// What of a run's spec matters here.
pub(super) struct Wanted {
    pub(super) on_node: String,
    pub(super) bundle: String,
    sha256: String,
    pub(super) spec: DeploySpec,
}

/// What a run was to bring about.
pub(super) fn deploy_spec(run: &Run) -> Option<Wanted> {
    let spec: DeploySpec = serde_json::from_value(run.spec.as_ref()?.body.clone()).ok()?;
    Some(Wanted {
        on_node: spec.deployed_project_key.clone(),
        bundle: spec.package.bundle_id.clone(),
        sha256: spec.package.sha256.clone(),
        spec,
    })
}

/// Calls of one run that ask for what an earlier one of it had asked for.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    /// The node showed the effect when it was asked again.
    pub(super) shown: Vec<String>,
    /// The first one was still under way.
    pub(super) in_flight: u64,
    /// The node does not show what a preload did.
    pub(super) unseen: u64,
    /// The first one had failed.
    pub(super) failed: u64,
}

/// Compares the calls of each run with one another.
pub(super) fn repeats(asked: &[Asked<'_>]) -> Repeats {
    let mut repeats = Repeats::default();
    for (place, again) in asked.iter().enumerate() {
        let same = |first: &&Asked<'_>| {
            first.run == again.run
                && (&first.call.method, &first.call.path, &first.call.body)
                    == (&again.call.method, &again.call.path, &again.call.body)
        };
        let mut before = asked[..place].iter().filter(same).peekable();
        if before.peek().is_none() {
            continue;
        }
        let firsts: Vec<&Asked<'_>> = before.collect();
        if again.call.path.ends_with("/actions/preload") {
            repeats.unseen += 1;
        } else if let Some(first) =
            firsts.iter().find(|first| first.shown().is_some_and(|shown| shown < again.call.start))
        {
            let (method, path, late) = (&again.call.method, &again.call.path, again.call.start - first.call.start);
            repeats.shown.push(format!("update {}: {method} {path} again after {late} µs", again.run));
        } else if firsts.iter().any(|first| first.call.end.is_none_or(|end| end >= again.call.start)) {
            repeats.in_flight += 1;
        } else {
            repeats.failed += 1;
        }
    }
    repeats
}
