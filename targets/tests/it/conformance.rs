//! Every target, every step, everything that can go wrong with a call of it: the right class of outcome, and in the end the same platform with the same effects, each
//! once, as where nothing went wrong.
//!
//! A target is here by its [`Bench`], one file below this one, and by a line in [`benches`].

mod automation;
mod clouds;
mod k8s;
mod sagemaker;
mod snowpark;
mod static_nodes;

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use engine::failure::{Failure, StepError, StepOutcome, StepResult};
use sandbox::{Call, Fault, FaultHandle, FaultKind, When};
use serde_json::Value;

use crate::{
    support::Step,
    wire::{Asked, Kind, Server},
};

/// What goes wrong with one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The effect, and the answer in small pieces.
    Slow,
    /// Status 429 without an effect, and the wish to be left alone for [`WAIT`].
    TooMany,
    /// Status 503 without an effect, and the same wish.
    Unavailable,
    /// Status 401, without an effect.
    Unauthorized,
    /// Status 422, without an effect.
    Unprocessable,
    /// The connection is reset, without an effect.
    Reset,
    /// The effect, and no answer.
    AnswerLost,
    /// The effect; then the worker dies, before it could write anything down.
    Crash,
}

const TROUBLES: [Trouble; 8] = [
    Trouble::Slow,
    Trouble::TooMany,
    Trouble::Unavailable,
    Trouble::Unauthorized,
    Trouble::Unprocessable,
    Trouble::Reset,
    Trouble::AnswerLost,
    Trouble::Crash,
];

/// A look that failed at what goes on is made again after this.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// What `Retry-After` asks for. Sending to a registry really waits as long.
pub(crate) const WAIT: Duration = Duration::from_secs(1);

impl Trouble {
    /// What the practice nodes call it; `named` is how their platform names what they refuse with a status.
    fn kind(self, named: impl Fn(u16) -> Option<&'static str>) -> FaultKind {
        let status = |status, retry_after| FaultKind::Status {
            status,
            error_type: named(status).map(str::to_owned),
            message: None,
            retry_after,
        };
        match self {
            Self::Slow => FaultKind::Trickle { chunk: 64, pause_ms: 1 },
            Self::TooMany => status(429, Some(WAIT.as_secs())),
            Self::Unavailable => status(503, Some(WAIT.as_secs())),
            Self::Unauthorized => status(401, None),
            Self::Unprocessable => status(422, None),
            Self::Reset => FaultKind::Reset,
            Self::AnswerLost => FaultKind::LostAnswer,
            Self::Crash => FaultKind::Hold { when: When::After },
        }
    }
}

impl From<Trouble> for Kind {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Slow => Self::Slow,
            Trouble::TooMany => Self::Status(429, Some(WAIT.as_secs())),
            Trouble::Unavailable => Self::Status(503, Some(WAIT.as_secs())),
            Trouble::Unauthorized => Self::Status(401, None),
            Trouble::Unprocessable => Self::Status(422, None),
            Trouble::Reset => Self::Reset,
            Trouble::AnswerLost => Self::Lost,
            Trouble::Crash => Self::Held,
        }
    }
}

/// From where on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scene {
    /// Nothing of the deployment is there; `v1` is deployed.
    First,
    /// `v1` is live; `v2` is deployed, with other settings.
    Second,
}

/// A call as the platform saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Which of the platform's servers.
    pub(crate) door: usize,
    /// Its method and path.
    pub(crate) what: String,
    /// Whether it may have an effect.
    pub(crate) changes: bool,
}

/// What a practice node saw.
fn seen(calls: Vec<Call>, changes: impl Fn(&Call) -> bool) -> Vec<Seen> {
    let seen = |call: Call| Seen { door: 0, what: format!("{} {}", call.method, call.path), changes: changes(&call) };
    calls.into_iter().map(seen).collect()
}

/// What the servers of a stand-in saw. Of what goes to a registry, the second, only a manifest makes something: layers lie there by their digests.
fn seen_by(doors: [&Server; 2], changes: impl Fn(&Asked) -> bool) -> Vec<Seen> {
    let mut all = Vec::new();
    for (door, server) in doors.into_iter().enumerate() {
        let seen = |asked: Asked| {
            let what = format!("{} {}", asked.method, asked.target);
            let manifest = asked.method == "PUT" && asked.target.contains("/manifests/");
            Seen { door, what, changes: if door == 0 { changes(&asked) } else { manifest } }
        };
        all.extend(server.asked().into_iter().map(seen));
    }
    all
}

/// What took effect of the calls of a practice node that may have one.
fn took_effect(calls: Vec<Call>, changes: impl Fn(&Call) -> bool) -> Vec<String> {
    let kept = ["RESET", "STATUS"];
    let reached = |call: &Call| {
        call.status.is_none_or(|status| status < 400)
            && call.fault.as_deref().is_none_or(|fault| !kept.contains(&fault))
    };
    let effects = calls.iter().filter(|call| changes(call) && reached(call));
    effects.map(|call| format!("{} {}", call.method, call.path)).collect()
}

/// A trouble that waits for its call.
#[async_trait]
pub(crate) trait Armed {
    fn has_met(&self) -> bool;
    /// Waits until it has met its call.
    async fn met(&self);
    /// Lets go of a call that it holds.
    fn release(&self);
}

#[async_trait]
impl Armed for FaultHandle {
    fn has_met(&self) -> bool {
        self.hits() > 0
    }

    async fn met(&self) {
        self.reached().await;
    }

    fn release(&self) {
        FaultHandle::release(self);
    }
}

#[async_trait]
impl Armed for &Server {
    fn has_met(&self) -> bool {
        Server::has_met(self)
    }

    async fn met(&self) {
        Server::met(self).await;
    }

    fn release(&self) {
        Server::release(self);
    }
}

/// What brings a bench back to where it was.
pub(crate) type Back<B> = Box<dyn Fn(&mut B)>;

/// The call of a practice node after so many others, counted from now.
fn any(after: usize, kind: FaultKind) -> Fault {
    Fault { method: None, path: "**".to_owned(), nth: u32::try_from(after).unwrap() + 1, count: Some(1), kind }
}

/// A platform's stand-in, and a deployment there.
pub(crate) trait Bench: Sized {
    /// At the beginning of the run of this scene.
    async fn new(scene: Scene) -> Self;

    /// What brings the platform and the run back to where they are now, if they can be: then what comes before a step is lived once, and not for each trouble.
    fn bookmark(&mut self) -> Option<Back<Self>> {
        None
    }

    /// Another run of the same.
    fn next_run(&mut self);

    /// One attempt at a step.
    async fn attempt(&self, step: Step) -> StepResult;

    /// Time passes in the run.
    fn pass(&self, time: Duration);

    /// All calls; those of a door in the order in which they came.
    fn calls(&self) -> Vec<Seen>;

    /// The call after so many others at this door, counted from now, meets this.
    fn arm(&self, door: usize, after: usize, trouble: Trouble) -> Box<dyn Armed + '_>;

    /// What there is on the platform, as another one with the same would show it.
    fn left(&self) -> Value;

    /// All that was changed on the platform, in order.
    fn effects(&self) -> Vec<String>;

    /// Whether a step of this scene calls nobody: nothing can go wrong with it.
    fn calls_nobody(scene: Scene, step: Step) -> bool {
        let _ = (scene, step);
        false
    }

    /// Whether this was a call of a look, and the run noted that a look at what goes on failed.
    fn looks_again(&self, call: &Seen) -> bool {
        let _ = call;
        false
    }

    /// Codes of its own for what others have one of [`targets::codes`] for.
    fn own_codes(&self, trouble: Trouble) -> &'static [&'static str] {
        let _ = trouble;
        &[]
    }

    /// Whether the step itself gets over this, perhaps with warnings: then it may be done at once.
    fn gets_over(&self, step: Step, trouble: Trouble, call: &Seen, warnings: &[String]) -> bool {
        let _ = (step, trouble, call, warnings);
        false
    }

    /// What may end otherwise after this, and is not compared: it is taken out.
    fn forgive(&self, step: Step, trouble: Trouble, call: &Seen, left: &mut Value, effects: &mut Vec<String>) {
        let _ = (step, trouble, call, left, effects);
    }
}

/// What comes before a step in its run.
fn earlier(step: Step) -> &'static [Step] {
    use Step::*;
    match step {
        Validate => &[],
        Push => &[Validate],
        Activate => &[Validate, Push],
        Enforce | Restore => &[Validate, Push, Activate],
        Verify => &[Validate, Push, Activate, Enforce],
        SwitchOff | Remove => &[Validate, Push, Activate, Enforce, Verify],
    }
}

async fn before<B: Bench>(scene: Scene, step: Step) -> B {
    let mut bench = B::new(scene).await;
    for step in earlier(step) {
        finish(&bench, *step).await.unwrap_or_else(|failure| panic!("{step:?}: {failure:?}"));
    }
    if matches!(step, Step::SwitchOff | Step::Remove) {
        bench.next_run();
    }
    bench
}

/// Attempts until the step is done, or fails for good; time passes as it asks.
async fn finish<B: Bench>(bench: &B, step: Step) -> Result<(), Failure> {
    for _ in 0..500 {
        match bench.attempt(step).await {
            Ok(StepOutcome::Done { .. }) => return Ok(()),
            Ok(StepOutcome::NotYet { check_in }) => bench.pass(check_in),
            Err(StepError::Retryable { retry_after, .. }) => bench.pass(retry_after.unwrap_or(Duration::from_secs(1))),
            Err(StepError::Permanent(failure)) => return Err(failure),
            Err(other) => panic!("{step:?}: {other:?}"),
        }
    }
    panic!("{step:?} does not end");
}

/// Attempts until the trouble has met its call: what that attempt came to. None: its worker died.
async fn until_met<B: Bench>(
    bench: &B,
    step: Step,
    trouble: Trouble,
    armed: &dyn Armed,
    told: &str,
) -> Option<StepResult> {
    for _ in 0..500 {
        let outcome = tokio::select! {
            outcome = bench.attempt(step) => outcome,
            () = armed.met(), if trouble == Trouble::Crash => return None,
        };
        if armed.has_met() {
            return Some(outcome);
        }
        match outcome {
            Ok(StepOutcome::NotYet { check_in }) => bench.pass(check_in),
            other => panic!("{told}: it did not come to that call: {other:?}"),
        }
    }
    panic!("{told}: it does not end");
}

/// Whether a failure has this code, or tells of one that has; a registry has codes of its own for the same.
fn names(failure: &Failure, code: &str, own: &[&str]) -> bool {
    let found = failure.code.as_str();
    let of_registry = code.replace("NODE_", "REGISTRY_").replace("ANSWER_", "");
    found == code || found == of_registry || own.contains(&found) || failure.message.contains(code)
}

fn judge<B: Bench>(bench: &B, step: Step, trouble: Trouble, call: &Seen, outcome: Option<StepResult>, told: &str) {
    let wanted = match trouble {
        Trouble::Slow | Trouble::Crash => None,
        Trouble::TooMany => Some((true, "NODE_BUSY")),
        Trouble::Unavailable => Some((true, "NODE_UNAVAILABLE")),
        Trouble::Unauthorized => Some((false, "NODE_KEY_REJECTED")),
        Trouble::Unprocessable => Some((false, "NODE_REFUSED")),
        Trouble::Reset | Trouble::AnswerLost => Some((true, "NODE_ANSWER_CUT")),
    };
    let own = bench.own_codes(trouble);
    match (wanted, outcome) {
        (None, None) => {}
        (None, Some(Ok(_))) if trouble == Trouble::Slow => {}
        (Some((true, code)), Some(Err(StepError::Retryable { failure, retry_after }))) => {
            assert!(names(&failure, code, own), "{told}: {failure:?}");
            if !own.contains(&failure.code.as_str()) {
                let asked = matches!(trouble, Trouble::TooMany | Trouble::Unavailable).then_some(WAIT);
                assert_eq!(retry_after, asked, "{told}: {failure:?}");
            }
        }
        (Some((false, code)), Some(Err(StepError::Permanent(failure)))) => {
            assert!(names(&failure, code, own), "{told}: {failure:?}");
        }
        // What goes on is followed through looks that fail.
        (Some((true, _)), Some(Ok(StepOutcome::NotYet { check_in })))
            if bench.looks_again(call) && check_in == LOOK_AGAIN => {}
        // It looked by itself, and found its effect.
        (_, Some(Ok(_))) if trouble == Trouble::AnswerLost => {}
        (Some(_), Some(Ok(StepOutcome::NotYet { .. }))) if bench.gets_over(step, trouble, call, &[]) => {}
        (Some(_), Some(Ok(StepOutcome::Done { warnings, .. }))) if bench.gets_over(step, trouble, call, &warnings) => {}
        (_, outcome) => panic!("{told}: {outcome:?}"),
    }
}

/// What is tried with a call: everything with the first of a step and with those that may have an effect; of the many looks each meets another trouble.
fn troubles(nth: usize, call: &Seen) -> Vec<Trouble> {
    if nth == 0 || call.changes { TROUBLES.to_vec() } else { vec![TROUBLES[nth % TROUBLES.len()]] }
}

fn counted(effects: Vec<String>) -> BTreeMap<String, usize> {
    let mut counted = BTreeMap::new();
    for effect in effects {
        *counted.entry(effect).or_default() += 1;
    }
    counted
}

async fn every_trouble_of<B: Bench>(scene: Scene, step: Step) {
    let mut bench = before::<B>(scene, step).await;
    let back = bench.bookmark();
    let mut seen = BTreeMap::<usize, usize>::new();
    for call in bench.calls() {
        *seen.entry(call.door).or_default() += 1;
    }
    finish(&bench, step).await.unwrap();
    let (left, effects, calls) = (bench.left(), bench.effects(), bench.calls());
    let silent = calls.len() == seen.values().sum::<usize>();
    assert_eq!(silent, B::calls_nobody(scene, step), "{scene:?} {step:?}: whether it calls nobody");
    let mut counts = BTreeMap::<usize, usize>::new();
    for call in &calls {
        let count = counts.entry(call.door).or_default();
        *count += 1;
        let Some(nth) = (*count - 1).checked_sub(seen.get(&call.door).copied().unwrap_or_default()) else { continue };
        for trouble in troubles(nth, call) {
            let told = format!("{scene:?} {step:?}, {trouble:?} at call {nth} of {}: {}", call.door, call.what);
            match &back {
                Some(back) => back(&mut bench),
                None => bench = before(scene, step).await,
            }
            let armed = bench.arm(call.door, nth, trouble);
            let outcome = until_met(&bench, step, trouble, &*armed, &told).await;
            armed.release();
            // What says that it is done must be: it is not attempted again.
            let done = matches!(&outcome, Some(Ok(StepOutcome::Done { warnings, .. })) if warnings.is_empty());
            judge(&bench, step, trouble, call, outcome, &told);
            if !done {
                finish(&bench, step).await.unwrap_or_else(|failure| panic!("{told}: then {failure:?}"));
            }
            let ends = [(bench.left(), bench.effects()), (left.clone(), effects.clone())];
            let [found, wanted] = ends.map(|(mut left, mut effects)| {
                bench.forgive(step, trouble, call, &mut left, &mut effects);
                (left, counted(effects))
            });
            assert!(found == wanted, "{told}\n found: {found:#?}\nwanted: {wanted:#?}");
        }
    }
}

/// A loop of its own for each step of each target: they run side by side, and are named by what fails.
macro_rules! benches {
    ($($name:ident: $kind:ident => $bench:ty,)*) => {
        mod every_trouble {
            $(mod $name {
                use super::super::*;
                benches! { @steps $bench;
                    validate_first: First Validate, push_first: First Push, activate_first: First Activate, enforce_first: First Enforce, verify_first: First Verify,
                    restore_first: First Restore, switch_off_first: First SwitchOff, remove_first: First Remove,
                    validate: Second Validate, push: Second Push, activate: Second Activate, enforce: Second Enforce, verify: Second Verify,
                    restore: Second Restore, switch_off: Second SwitchOff, remove: Second Remove,
                }
            })*
        }

        #[test]
        fn every_target_has_a_bench() {
            let here = std::collections::BTreeSet::from([$(targets::TargetType::$kind.as_str()),*]);
            let all = targets::all().iter().map(|(kind, _)| kind.as_str()).collect();
            assert_eq!(here, all);
        }
    };
    (@steps $bench:ty; $($name:ident: $scene:ident $step:ident,)*) => {
        $(#[tokio::test]
        async fn $name() {
            super::super::every_trouble_of::<$bench>(Scene::$scene, Step::$step).await;
        })*

        #[test]
        fn no_step_is_left_out() {
            for step in Step::ALL {
                assert!([$(Step::$step),*].contains(&step), "{step:?}");
            }
        }
    };
}

benches! {
    automation: AutomationNode => automation::Automation,
    static_nodes: Static => static_nodes::StaticNodes,
    k8s: K8s => k8s::Cluster,
    sagemaker: Sagemaker => sagemaker::Account,
    azure_ml: AzureMl => clouds::AzureMl,
    vertex_ai: VertexAi => clouds::VertexAi,
    snowpark: Snowpark => snowpark::Account<snowpark::Now>,
    snowpark_that_answers_later: Snowpark => snowpark::Account<snowpark::AnswersLater>,
    snowpark_that_works_later: Snowpark => snowpark::Account<snowpark::EffectsLater>,
}
