//! Every step, with each of its calls meeting each fault: the right class of outcome, and in the end exactly what would have come without it.

use std::{future::Future, sync::atomic::Ordering};

use engine::failure::{Failure, StepError, StepOutcome};
use sandbox::clouds::{CloudCall, CloudFault, RunningCloud, StandIn};
use serde_json::Value;

use super::CloudWorld;
use crate::support::Step;

/// What a fault must come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Retryable(&'static str),
    Permanent(&'static str),
}

const FAULTS: [(CloudFault, Class); 7] = [
    (CloudFault::Status(429), Class::Retryable("NODE_BUSY")),
    (CloudFault::Status(503), Class::Retryable("NODE_UNAVAILABLE")),
    (CloudFault::Status(401), Class::Permanent("NODE_KEY_REJECTED")),
    (CloudFault::Status(422), Class::Permanent("NODE_REFUSED")),
    (CloudFault::Reset, Class::Retryable("NODE_ANSWER_CUT")),
    (CloudFault::LostAnswer, Class::Retryable("NODE_ANSWER_CUT")),
    (CloudFault::Silence, Class::Retryable("NODE_TIMED_OUT")),
];

/// Versions with their shares, and the steps of their run.
type Stage = (&'static [(&'static str, f64)], &'static [Step]);

/// The deployment's life: which steps, after which others. A new run begins where versions are named.
const LIFE: [Stage; 4] = [
    (&[("v1", 1.0)], &[Step::Validate, Step::Push, Step::Activate, Step::RunAs, Step::Verify]),
    (
        &[("v1", 0.3), ("v2", 0.7)],
        &[Step::Validate, Step::Push, Step::Activate, Step::Restore, Step::Activate, Step::RunAs, Step::Verify],
    ),
    (&[("v3", 1.0)], &[Step::Push, Step::Activate, Step::RunAs, Step::Verify, Step::SwitchOff]),
    (&[("v3", 1.0)], &[Step::DeleteProject]),
];

/// Where in a life something happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    run: usize,
    step: usize,
}

/// Lives the life. At `place` the fault meets the call after `after` others, counted from the step's first; or the lease is lost at that note.
enum Trouble {
    /// None, to the end.
    None,
    Fault(Place, usize, CloudFault, Class),
    Crash(Place, u32),
}

/// What a life came to, and how many calls and notes each step took.
struct Lived {
    effects: Vec<Value>,
    took: Vec<(Place, Vec<CloudCall>, u32)>,
    met: bool,
}

async fn live<S: StandIn>(cloud: &RunningCloud<S>, world: &mut CloudWorld, trouble: &Trouble) -> Lived {
    let mut lived = Lived { effects: Vec::new(), took: Vec::new(), met: false };
    for (run, (versions, steps)) in LIFE.iter().enumerate() {
        world.next_run(versions);
        for (step, kind) in steps.iter().enumerate() {
            let place = Place { run, step };
            let (calls, writes) = (cloud.calls().len(), world.run.writes());
            match trouble {
                Trouble::Fault(at, after, fault, class) if *at == place => {
                    cloud.arm(*after, *fault);
                    lived.met = meet(cloud, world, *kind, *class, *fault).await;
                }
                Trouble::Crash(at, after) if *at == place => {
                    world.run.lease_until.store(writes + after, Ordering::SeqCst);
                    lived.met = crash(world, *kind).await;
                    world.run = world.run.taken_over();
                }
                _ => {}
            }
            world.step(*kind).await.unwrap_or_else(|failure| panic!("{place:?} {kind:?}: {failure:?}"));
            lived.took.push((place, cloud.calls().split_off(calls), world.run.writes() - writes));
        }
        lived.effects.push(cloud.effects());
        // What comes after a run that came to the same comes to the same.
        if matches!(trouble, Trouble::Fault(at, ..) | Trouble::Crash(at, _) if at.run == run) {
            break;
        }
    }
    lived
}

/// Attempts until the fault has met a call, whose attempt must end as it should.
async fn meet<S: StandIn>(
    cloud: &RunningCloud<S>,
    world: &CloudWorld,
    step: Step,
    class: Class,
    fault: CloudFault,
) -> bool {
    for _ in 0..100 {
        let before = cloud.calls().len();
        let outcome = world.attempt(step).await;
        let armed = cloud.disarm();
        if armed {
            match outcome {
                Ok(StepOutcome::NotYet { check_in }) => {
                    world.run.advance(check_in);
                    // Armed again for what is left of its calls.
                    let left = LEFT.with(|left| left.get()) - (cloud.calls().len() - before);
                    LEFT.with(|cell| cell.set(left));
                    cloud.arm(left, fault);
                    continue;
                }
                // It ended before that call: fewer looks were needed.
                Ok(StepOutcome::Done { .. }) => return false,
                other => panic!("{step:?}: {other:?}"),
            }
        }
        match (class, outcome) {
            (Class::Retryable(code), Err(StepError::Retryable { failure, retry_after })) => {
                assert!(names(&failure, code), "{step:?} {fault:?}: {failure:?}");
                let asked = matches!(fault, CloudFault::Status(429 | 503)).then_some(7);
                assert_eq!(retry_after.map(|wait| wait.as_secs()), asked, "{step:?} {fault:?}");
            }
            (Class::Permanent(code), Err(StepError::Permanent(failure))) => {
                let said = format!("{} {}", failure.code, failure.message);
                assert!(said.contains(code) || names(&failure, code), "{step:?} {fault:?}: {said}");
            }
            // What is left over and can't be deleted is only warned of.
            (Class::Permanent(_), Ok(StepOutcome::Done { warnings, .. })) if step == Step::Verify => {
                assert!(!warnings.is_empty(), "{step:?} {fault:?}");
            }
            // Sending to a registry goes on where it was cut, and a key that is not taken is asked for anew, once; one that deletes nothing keeps what it has.
            (Class::Retryable(_) | Class::Permanent("NODE_KEY_REJECTED"), Ok(_)) if in_registry(cloud) => {}
            (Class::Permanent(_), Ok(_)) if step == Step::DeleteProject && in_registry(cloud) => {}
            (class, other) => panic!("{step:?} {fault:?}: {class:?} expected, and it was {other:?}"),
        }
        return true;
    }
    panic!("{step:?} does not come to its end");
}

thread_local! {
    static LEFT: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Whether a failure has this code; a registry has codes of its own for the same.
fn names(failure: &Failure, code: &str) -> bool {
    let found = failure.code.as_str();
    found == code
        || (found.strip_prefix("REGISTRY_").is_some()
            && found.strip_prefix("REGISTRY_") == code.replace("ANSWER_", "").strip_prefix("NODE_"))
}

/// Whether the fault met a call to the registry.
fn in_registry<S: StandIn>(cloud: &RunningCloud<S>) -> bool {
    let met = cloud.calls().into_iter().rfind(|call| call.fault);
    met.is_some_and(|call| call.path.starts_with("/v2/") || call.path.starts_with("/oauth2/token"))
}

/// Attempts until the lease is lost.
async fn crash(world: &CloudWorld, step: Step) -> bool {
    for _ in 0..100 {
        match world.attempt(step).await {
            Err(StepError::LeaseLost) => return true,
            Ok(StepOutcome::NotYet { check_in }) => world.run.advance(check_in),
            Ok(StepOutcome::Done { .. }) => return false,
            other => panic!("{step:?}: {other:?}"),
        }
    }
    panic!("{step:?} does not come to its end");
}

/// Panics with what differs.
fn same(found: &[Value], wanted: &[Value], what: &str) {
    for (run, (found, wanted)) in found.iter().zip(wanted).enumerate() {
        assert_eq!(found["counts"], wanted["counts"], "{what}: counts after run {run}");
        for (path, wanted) in wanted["resources"].as_object().unwrap() {
            assert_eq!(found["resources"][path], *wanted, "{what}: {path} after run {run}");
        }
        assert_eq!(found, wanted, "{what}: after run {run}");
    }
}

/// What is tried with a call: everything with the first of a step and with those that change something; of the many looks each meets another fault.
fn faults(after: usize, call: &CloudCall) -> Vec<(CloudFault, Class)> {
    let changes = call.method != "GET" && call.method != "HEAD" && !call.path.starts_with("/v2/");
    if after == 0 || changes { FAULTS.to_vec() } else { vec![FAULTS[after % FAULTS.len()]] }
}

/// All of it.
pub(crate) async fn every_fault_at_every_call<S, F>(world: impl Fn() -> F)
where
    S: StandIn,
    F: Future<Output = (RunningCloud<S>, CloudWorld)>,
{
    let (cloud, mut first) = world().await;
    let wanted = live(&cloud, &mut first, &Trouble::None).await;
    let (mut met, mut tried) = (0, 0);
    for (place, calls, _) in &wanted.took {
        for (after, call) in calls.iter().enumerate() {
            for (fault, class) in faults(after, call) {
                LEFT.with(|left| left.set(after));
                let (cloud, mut world) = world().await;
                let lived = live(&cloud, &mut world, &Trouble::Fault(*place, after, fault, class)).await;
                // A registry that does not let us delete keeps its images, which is told and stops nothing.
                let kept = matches!(class, Class::Permanent(_)) && place.run + 1 == LIFE.len();
                let (mut found, mut right) = (lived.effects, wanted.effects.clone());
                for one in found.iter_mut().chain(right.iter_mut()).filter(|_| kept) {
                    one["registry"] = Value::Null;
                }
                same(&found, &right, &format!("{place:?}, call {after}, {fault:?}"));
                tried += 1;
                met += usize::from(lived.met);
            }
        }
    }
    assert!(met * 10 > tried * 9, "only {met} of {tried} faults met their call");
}

/// A worker dies at every note of every step: what it did is found, and not done again.
pub(crate) async fn a_crash_at_every_note<S, F>(world: impl Fn() -> F)
where
    S: StandIn,
    F: Future<Output = (RunningCloud<S>, CloudWorld)>,
{
    let (cloud, mut first) = world().await;
    let wanted = live(&cloud, &mut first, &Trouble::None).await;
    let mut met = 0;
    for (place, _, writes) in &wanted.took {
        for after in 0..*writes {
            let (cloud, mut world) = world().await;
            let lived = live(&cloud, &mut world, &Trouble::Crash(*place, after)).await;
            same(&lived.effects, &wanted.effects, &format!("{place:?}, note {after}"));
            met += usize::from(lived.met);
        }
    }
    assert!(met > 20, "only {met} crashes");
}
