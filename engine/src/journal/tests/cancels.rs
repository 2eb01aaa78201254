//! A cancel at every point, quiet and with a crash besides.

use super::sim::{Answer, Crash, POST_HOOK, RESTORE, STEPS, Sim, spec};
use crate::{
    ids::WorkerId,
    journal::{
        Kind, NewEvent, Next, Phase, State, Status, follow,
        next::{CANCELLED, OUTCOME_UNKNOWN},
    },
    plan::{OnFailure, OnInterrupt},
};

const POLICIES: [OnFailure; 2] = [OnFailure::Leave, OnFailure::Restore];

/// What holds for every run that somebody asked to cancel.
fn check(sim: &Sim, context: &str) {
    let state = sim.state();
    let code = state.stopped.as_ref().map(|failure| failure.code.clone());
    let planned = || state.spec.plan.steps.iter().zip(&state.steps);
    if planned().all(|(planned, step)| planned.only_after_failure || step.is_over()) {
        // Asked when nothing was left to do.
        assert!(matches!(state.status(), Status::Succeeded | Status::Warning), "{context}");
        return;
    }
    if sim.crashed_while() == Some((POST_HOOK, true)) {
        assert_eq!((state.status(), code), (Status::Failed, Some(OUTCOME_UNKNOWN)), "{context}");
        return;
    }
    assert_eq!((state.status(), code), (Status::Cancelled, Some(CANCELLED)), "{context}: {:#?}", sim.journal);
    let asked = sim.journal.iter().position(|event| matches!(event.kind, Kind::CancelRequested { .. })).unwrap();
    for event in &sim.journal[asked..] {
        if let (Kind::StepStarted, Some(step)) = (&event.kind, event.step) {
            assert!(state.spec.plan.steps[step].only_after_failure, "{context}: step {step} begins after the cancel");
        }
    }
    let midway = planned().any(|(planned, step)| planned.restorable && !step.attempts.is_empty())
        && planned().any(|(planned, step)| planned.restorable && step.output.is_none());
    let restores = midway && state.spec.plan.on_failure == OnFailure::Restore;
    assert_eq!(sim.acted.contains_key(RESTORE), restores, "{context}");
}

fn cancelled(on_failure: OnFailure, step: &'static str, answer: Answer, after: usize) -> Sim {
    let mut sim = Sim::new(spec(on_failure)).answer(step, answer);
    sim.cancel_after = Some(after);
    sim
}

#[test]
fn at_every_point() {
    for on_failure in POLICIES {
        for step in STEPS {
            for answer in [Answer::Done, Answer::NotYetOnce, Answer::RetryableOnce, Answer::Warned] {
                if step.contains("hooks/") && answer == Answer::RetryableOnce {
                    // That is a failure of its own.
                    continue;
                }
                let quiet = Sim::new(spec(on_failure)).answer(step, answer).run();
                for after in 0..quiet.commits {
                    let sim = cancelled(on_failure, step, answer, after).run();
                    check(&sim, &format!("{on_failure:?} {step} {answer:?} after {after}"));
                }
            }
        }
    }
}

#[test]
fn with_a_crash_besides() {
    for on_failure in POLICIES {
        let quiet = Sim::new(spec(on_failure)).run();
        for after in 0..quiet.commits {
            for number in 0..quiet.commits {
                for crash in [Crash::Before(number), Crash::After(number)] {
                    let mut sim = cancelled(on_failure, "activate", Answer::Done, after);
                    sim.crash = Some(crash);
                    check(&sim.run(), &format!("{on_failure:?} after {after} {crash:?}"));
                }
            }
        }
    }
}

#[test]
fn of_a_run_that_nobody_holds() {
    for on_failure in POLICIES {
        for (step, answer) in [("activate", Answer::NotYetOnce), ("push_bundle", Answer::Unknown)] {
            let quiet = Sim::new(spec(on_failure)).answer(step, answer).run();
            for length in 1..=quiet.journal.len() {
                let mut state = State::fold(&quiet.journal[..length]).unwrap();
                if matches!(state.next(), Next::Stick(_)) {
                    // Within one commit: the next event says that it is stuck.
                    continue;
                }
                let context = format!("{on_failure:?} {step} {answer:?} {length}: {:?}", state.phase);
                let midway = !state.steps[4].attempts.is_empty() && !state.is_live();
                let over = matches!(state.phase, Phase::Ended { .. });
                if state.phase == Phase::Stuck {
                    // Only whoever says so now ends it.
                    assert_eq!(follow::end_by_cancel(&state, "eve", true), None, "{context}");
                    let epoch = state.epoch + 1;
                    for event in follow::end_stuck_by_cancel(&state, "eve").unwrap() {
                        state.apply(&event.dated(state.seq + 1, epoch, 0)).unwrap();
                    }
                    assert_eq!(state.phase, Phase::Ended { status: Status::Cancelled, at: 0 }, "{context}");
                    continue;
                }
                // A worker leaves the node safe, or puts it back.
                let attended = follow::end_by_cancel(&state, "eve", false);
                assert_eq!(attended.is_none(), midway || over, "{context}");
                let unattended = follow::end_by_cancel(&state, "eve", true);
                assert_eq!(unattended.is_none(), midway && on_failure == OnFailure::Restore || over, "{context}");
                let Some(events) = unattended else { continue };
                let in_post_hook = state.under_way().is_some_and(|(step, attempt)| {
                    attempt.acts && state.spec.plan.steps[step].on_interrupt == OnInterrupt::Fail
                });
                let epoch = state.epoch + 1;
                for event in events {
                    state.apply(&event.dated(state.seq + 1, epoch, 0)).unwrap();
                }
                let done = STEPS.iter().zip(&state.steps).all(|(_, step)| step.is_over());
                let status = match () {
                    () if done => Status::Succeeded,
                    () if in_post_hook => Status::Failed,
                    () => Status::Cancelled,
                };
                assert_eq!(state.phase, Phase::Ended { status, at: 0 }, "{context}");
                let message = state.stopped.map(|failure| failure.message).unwrap_or_default();
                assert_eq!(message.ends_with("look there."), midway, "{context}: {message}");
            }
        }
    }
}

/// A worker recorded the cancel, and was lost while it looked after the node.
#[test]
fn of_a_run_whose_worker_was_lost_after_it_had_recorded_it() {
    let quiet = Sim::new(spec(OnFailure::Leave)).run();
    let inside =
        quiet.journal.iter().position(|event| event.step == Some(4) && event.kind == Kind::StepStarted).unwrap();
    let mut state = State::fold(&quiet.journal[..=inside]).unwrap();
    let epoch = state.epoch + 1;
    for kind in [
        Kind::Claimed { worker: WorkerId(9), lapsed: true, came_back: Vec::new() },
        Kind::CancelRequested { by: "eve".to_owned() },
    ] {
        state.apply(&NewEvent::run(kind).dated(state.seq + 1, epoch, 0)).unwrap();
    }
    assert_eq!(follow::end_by_cancel(&state, "eve", false), None, "a worker can look after the node");
    let events = follow::end_by_cancel(&state, "eve", true).unwrap();
    let asked = |event: &&NewEvent| matches!(event.kind, Kind::CancelRequested { .. });
    assert_eq!(events.iter().filter(asked).count(), 0, "once is enough, for readers of the version before, too");
    for event in events {
        state.apply(&event.dated(state.seq + 1, epoch + 1, 0)).unwrap();
    }
    assert_eq!(state.phase, Phase::Ended { status: Status::Cancelled, at: 0 });
}

#[test]
fn a_cancel_says_what_stands() {
    let sim = cancelled(OnFailure::Leave, "activate", Answer::Done, 0).run();
    let message = sim.state().stopped.unwrap().message;
    assert_eq!(message, "Cancelled by eve before it began; nothing was changed.");
    let mut sim = Sim::new(spec(OnFailure::Leave)).until_started("activate");
    sim.cancel_after = Some(0);
    let message = sim.run().state().stopped.unwrap().message;
    assert_eq!(
        message,
        "Cancelled by eve in step activate. What that had asked of the node may still take effect there; the next update looks first. \
         What the steps before it did stands."
    );
    let mut sim = Sim::new(spec(OnFailure::Restore)).until_started("enforce_run_as");
    sim.cancel_after = Some(0);
    let message = sim.run().state().stopped.unwrap().message;
    assert!(message.starts_with("Cancelled by eve in step enforce_run_as."), "{message}");
    assert!(message.ends_with("What was active before was put back."), "{message}");
    let mut sim = Sim::new(spec(OnFailure::Leave)).until_started("pre_hooks/1");
    sim.cancel_after = Some(0);
    let message = sim.run().state().stopped.unwrap().message;
    assert_eq!(
        message,
        "Cancelled by eve in step pre_hooks/1, before its hook began. What the steps before it did stands."
    );
    let mut sim = Sim::new(spec(OnFailure::Leave)).until_started("post_hooks/1");
    sim.cancel_after = Some(0);
    let message = sim.run().state().stopped.unwrap().message;
    assert!(message.ends_with(" What it deploys is live."), "{message}");
    let state = Sim::new(spec(OnFailure::Leave)).answer("push_bundle", Answer::RetryableOnce).run();
    let parked = state.journal.iter().position(|event| matches!(event.kind, Kind::Parked { .. })).unwrap();
    let state = State::fold(&state.journal[..=parked]).unwrap();
    let message = state.cancelled_failure("eve").message;
    assert!(message.starts_with("Cancelled by eve after a failed attempt at step push_bundle, "), "{message}");
}
