//! Several nodes behind one run: what becomes of the others when one fails.

use std::collections::BTreeMap;

use super::sim::{Answer, BROKEN, Crash, POST_HOOK, Sim, of_steps};
use crate::{
    journal::{
        Status,
        next::{CANCELLED, RESTORE_FAILED},
    },
    plan::OnFailure,
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
