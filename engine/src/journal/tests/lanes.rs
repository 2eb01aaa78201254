//! Several nodes behind one run: what becomes of the others when one fails.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::sim::{Answer, BROKEN, Crash, POST_HOOK, Sim, of_steps};
use crate::{
    journal::{
        Status,
        next::{CANCELLED, RESTORE_FAILED},
    },
    plan::{OnFailure, PLAN_VERSION, Plan},
    spec::RunSpec,
};

/// Two nodes.
const STEPS: [&str; 12] = [
    "check_policy",
    "validate_remap/a",
    "validate_remap/b",
    "push_bundle/a",
    "push_bundle/b",
    "activate/a",
    "enforce_run_as/a",
    "verify/a",
    "activate/b",
    "enforce_run_as/b",
    "verify/b",
    POST_HOOK,
];
const POLICIES: [OnFailure; 3] = [OnFailure::Leave, OnFailure::Restore, OnFailure::GoOn];

fn spec(on_failure: OnFailure) -> RunSpec {
    let restores = if on_failure == OnFailure::Restore { &["restore/b", "restore/a"][..] } else { &[] };
    of_steps(STEPS.into_iter().chain(restores.iter().copied()), on_failure)
}

fn end(sim: &Sim) -> (Status, Option<crate::failure::Code>) {
    let state = sim.state();
    (state.status(), state.stopped.map(|failure| failure.code))
}

fn position(step: &str) -> usize {
    STEPS.iter().position(|one| *one == step).unwrap()
}

fn lane(step: &str) -> Option<&str> {
    step.split_once('/').map(|(_, lane)| lane).filter(|_| step != POST_HOOK)
}

/// What acts, and how the run ends, when this step fails for good.
fn expected(on_failure: OnFailure, failing: &str) -> (Vec<String>, Status) {
    let before = STEPS[..=position(failing)].iter();
    match on_failure {
        OnFailure::GoOn if lane(failing).is_some() => {
            let after = STEPS[position(failing) + 1..].iter().filter(|step| lane(step) != lane(failing));
            (before.chain(after).map(|step| (*step).to_owned()).collect(), Status::Warning)
        }
        OnFailure::Restore => {
            let began =
                |node: &str| lane(failing).is_some() && position(failing) >= position(&format!("activate/{node}"));
            let restores = ["b", "a"].into_iter().filter(|node| began(node)).map(|node| format!("restore/{node}"));
            (before.map(|step| (*step).to_owned()).chain(restores).collect(), Status::Failed)
        }
        _ => (before.map(|step| (*step).to_owned()).collect(), Status::Failed),
    }
}

fn acted(sim: &Sim) -> BTreeMap<String, bool> {
    sim.acted.keys().map(|step| (step.clone(), true)).collect()
}

#[test]
fn each_policy_does_what_it_says_of_the_other_node() {
    for on_failure in POLICIES {
        for failing in STEPS.into_iter().filter(|step| *step != POST_HOOK) {
            for answer in [Answer::Permanent, Answer::RetryableForEver] {
                let quiet = Sim::new(spec(on_failure)).answer(failing, answer).run();
                let (acts, status) = expected(on_failure, failing);
                let context = format!("{on_failure:?} {failing} {answer:?}");
                assert_eq!(acted(&quiet), acts.into_iter().map(|step| (step, true)).collect(), "{context}");
                let code = (status == Status::Failed).then_some(BROKEN);
                assert_eq!(end(&quiet), (status, code), "{context}");
                for number in 0..quiet.commits {
                    let mut sim = Sim::new(spec(on_failure)).answer(failing, answer);
                    sim.crash = Some(Crash::After(number));
                    let sim = sim.run();
                    if sim.crashed_while() == Some((POST_HOOK, true)) {
                        continue;
                    }
                    assert_eq!((end(&sim), acted(&sim)), (end(&quiet), acted(&quiet)), "{context} {number}");
                }
            }
        }
    }
}

#[test]
fn a_node_of_which_nobody_knows_stops_the_run_under_every_policy() {
    for on_failure in POLICIES {
        let sim = Sim::new(spec(on_failure)).answer("activate/a", Answer::Unknown).run();
        assert_eq!(end(&sim), (Status::Stuck, Some(BROKEN)), "{on_failure:?}");
        assert!(!sim.acted.contains_key("activate/b") && !sim.acted.contains_key("restore/a"), "{on_failure:?}");
    }
}

#[test]
fn with_no_node_left_the_run_fails() {
    for (first, second) in
        [("activate/a", "verify/b"), ("validate_remap/a", "validate_remap/b"), ("validate_remap/b", "activate/a")]
    {
        let sim = Sim::new(spec(OnFailure::GoOn)).answer(first, Answer::Permanent).answer(second, Answer::Permanent);
        let sim = sim.run();
        assert_eq!(end(&sim), (Status::Failed, Some(BROKEN)), "{first} {second}");
        assert!(!sim.acted.contains_key(POST_HOOK), "{first} {second}");
    }
}

#[test]
fn a_node_that_cannot_be_put_back_keeps_no_other_from_it() {
    let sim = Sim::new(spec(OnFailure::Restore))
        .answer("verify/b", Answer::Permanent)
        .answer("restore/b", Answer::RetryableForEver)
        .run();
    assert_eq!(end(&sim), (Status::Stuck, Some(RESTORE_FAILED)));
    assert_eq!(sim.acted["restore/a"], 1);
    let message = sim.state().stopped.unwrap().message;
    assert!(message.contains("could not be put back on b."), "{message}");
    let reasons = "It stopped because: It is broken. It was not put back because (BROKEN): It is broken. Tried";
    assert!(message.contains(reasons), "{message}");
}

#[test]
fn a_cancel_between_two_nodes_ends_by_policy() {
    for on_failure in POLICIES {
        let quiet = Sim::new(spec(on_failure)).run();
        for after in 0..quiet.commits {
            let mut sim = Sim::new(spec(on_failure));
            sim.cancel_after = Some(after);
            let sim = sim.run();
            let state = sim.state();
            if state.status() == Status::Succeeded {
                continue;
            }
            let context = format!("{on_failure:?} {after}: {:?}", sim.acted);
            assert_eq!(end(&sim), (Status::Cancelled, Some(CANCELLED)), "{context}");
            let began = |node: &str| {
                let index = position(&format!("activate/{node}"));
                !state.steps[index].attempts.is_empty()
            };
            let whole = state.is_live();
            for node in ["a", "b"] {
                let restores = on_failure == OnFailure::Restore && began(node) && !whole;
                assert_eq!(sim.acted.contains_key(&format!("restore/{node}")), restores, "{node} {context}");
            }
        }
    }
}

#[test]
fn what_needs_care_is_the_node_that_is_midway() {
    let names = |sim: &Sim| {
        let state = sim.state();
        state.midway().into_iter().map(|index| STEPS[index]).collect::<Vec<_>>()
    };
    let at = |step: &str| Sim::new(spec(OnFailure::Leave)).until_started(step);
    assert_eq!(names(&at("push_bundle/b")), [""; 0]);
    assert_eq!(names(&at("activate/a")), ["activate/a"]);
    assert_eq!(names(&at("verify/a")), ["verify/a"]);
    assert_eq!(names(&at("activate/b")), ["activate/b"]);
    assert_eq!(names(&at(POST_HOOK)), [""; 0]);
}

#[test]
fn after_a_cancel_one_failed_restore_keeps_no_other_from_it() {
    // Between the two nodes, and within the second one.
    let quiet = Sim::new(spec(OnFailure::Restore)).run();
    let mut tried = 0;
    for after in 0..quiet.commits {
        let mut sim = Sim::new(spec(OnFailure::Restore)).answer("restore/b", Answer::Unknown);
        sim.cancel_after = Some(after);
        let sim = sim.run();
        if !sim.acted.contains_key("restore/b") {
            continue;
        }
        tried += 1;
        assert_eq!(end(&sim), (Status::Stuck, Some(RESTORE_FAILED)), "{after}");
        assert_eq!(sim.acted.get("restore/a"), Some(&1), "{after}: {:?}", sim.acted);
        let message = sim.state().stopped.unwrap().message;
        assert!(message.contains("CANCELLED") && message.contains("on b."), "{message}");
    }
    assert!(tried > 3, "only {tried}");
}

#[test]
fn a_place_is_in_order_when_it_was_verified_or_put_back_and_not_when_that_failed() {
    let kinds = ["verify", "restore"];
    let settled = |sim: &Sim| ["a", "b"].map(|lane| sim.state().is_settled(Some(lane), &kinds));
    let failing = || Sim::new(spec(OnFailure::Restore)).answer("verify/b", Answer::Permanent);
    assert_eq!(settled(&failing().run()), [true, true]);
    assert_eq!(settled(&failing().answer("restore/a", Answer::Permanent).run()), [false, true]);
    assert_eq!(settled(&failing().answer("restore/b", Answer::Permanent).run()), [true, false]);
    assert_eq!(settled(&Sim::new(spec(OnFailure::Leave)).answer("verify/b", Answer::Permanent).run()), [true, false]);
    assert!(!Sim::new(spec(OnFailure::Leave)).run().state().is_settled(None, &kinds));
}

/// Up to five nodes, and the steps of each.
const LANES: [&str; 5] = ["a", "b", "c", "d", "e"];
const OF_ONE: [&str; 5] = ["validate_remap", "push_bundle", "activate", "enforce_run_as", "verify"];

/// The plan of an update of so many nodes, and the names of its steps.
fn with_quorum(nodes: usize, quorum: Option<u32>) -> (RunSpec, Vec<&'static str>) {
    let named = |kind: &str, lane: &str| -> &'static str { Box::leak(format!("{kind}/{lane}").into_boxed_str()) };
    let mut steps = vec!["check_policy"];
    for kinds in [&OF_ONE[..1], &OF_ONE[1..2], &OF_ONE[2..]] {
        for lane in &LANES[..nodes] {
            steps.extend(kinds.iter().map(|kind| named(kind, lane)));
        }
    }
    steps.push(POST_HOOK);
    let mut spec = of_steps(steps.iter().copied(), OnFailure::GoOn);
    spec.plan = spec.plan.with_quorum(quorum);
    (spec, steps)
}

/// What acts under a quorum, and how the run ends, when in each of these nodes this step fails for good: told without looking at how the journal counts.
fn foretold(steps: &[&str], nodes: usize, least: usize, failing: &[&str]) -> (BTreeMap<String, bool>, Status) {
    let (mut acts, mut out) = (BTreeMap::new(), Vec::new());
    for step in steps {
        if lane(step).is_some_and(|lane| out.contains(&lane)) {
            continue;
        }
        acts.insert((*step).to_owned(), true);
        if failing.contains(step) {
            out.extend(lane(step));
            if nodes - out.len() < least.clamp(1, nodes) {
                return (acts, Status::Failed);
            }
        }
    }
    (acts, if out.is_empty() { Status::Succeeded } else { Status::Warning })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_run_goes_on_while_its_quorum_can_still_succeed(
        nodes in 1..=LANES.len(),
        quorum in proptest::option::of(0..7_u32),
        broken in prop::collection::vec(proptest::option::of(0..OF_ONE.len()), LANES.len()),
        answer in prop_oneof![Just(Answer::Permanent), Just(Answer::RetryableForEver)],
        crash in any::<prop::sample::Index>(),
    ) {
        let (spec, steps) = with_quorum(nodes, quorum);
        let failing: Vec<_> = steps.iter().copied().filter(|step| {
            let at = lane(step).and_then(|lane| LANES.iter().position(|one| *one == lane));
            at.and_then(|at| broken[at]).is_some_and(|kind| step.starts_with(OF_ONE[kind]))
        }).collect();
        let make = || failing.iter().fold(Sim::new(spec.clone()), |sim, step| sim.answer(step, answer));
        let quiet = make().run();
        let (acts, status) = foretold(&steps, nodes, quorum.unwrap_or(1) as usize, &failing);
        prop_assert_eq!(acted(&quiet), acts);
        prop_assert_eq!(end(&quiet), (status, (status == Status::Failed).then_some(BROKEN)));
        let mut sim = make();
        sim.crash = Some(Crash::After(crash.index(quiet.commits)));
        let sim = sim.run();
        if sim.crashed_while() != Some((POST_HOOK, true)) {
            prop_assert_eq!((end(&sim), acted(&sim)), (end(&quiet), acted(&quiet)));
        }
    }
}

#[test]
fn a_plan_has_the_lowest_version_that_can_say_it_and_old_plans_are_read() {
    let version = |on_failure, quorum| {
        let plan = of_steps(STEPS.into_iter(), on_failure).plan.with_quorum(quorum);
        (plan.version, plan.quorum)
    };
    assert_eq!(version(OnFailure::GoOn, None), (2, None));
    assert_eq!(version(OnFailure::GoOn, Some(1)), (2, None));
    assert_eq!(version(OnFailure::GoOn, Some(2)), (PLAN_VERSION, Some(2)));
    // Nothing goes on under the others.
    assert_eq!(version(OnFailure::Leave, Some(2)), (2, None));
    assert_eq!(version(OnFailure::Restore, Some(2)), (2, None));
    let plan = spec(OnFailure::GoOn).plan;
    let mut stored = serde_json::to_value(&plan).unwrap();
    assert!(stored.get("quorum").is_none());
    assert_eq!(serde_json::from_value::<Plan>(stored.clone()).unwrap(), plan);
    stored["version"] = 3.into();
    stored["quorum"] = 2.into();
    assert_eq!(serde_json::from_value::<Plan>(stored).unwrap(), plan.with_quorum(Some(2)));
}
