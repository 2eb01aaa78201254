//! Every step, every outcome, a worker that dies at every edge: the run ends the same, and what is recorded is not done again.

use super::sim::{Answer, BROKEN, Crash, POST_HOOK, RESTORE, STEPS, Sim, spec};
use crate::{
    failure::Code,
    journal::{
        Kind, Next, Status,
        next::{OUTCOME_UNKNOWN, RESTORE_FAILED, WORKERS_LOST},
        outcome::SLOT_TIMED_OUT,
        state::AttemptState,
    },
    plan::{OnFailure, OnInterrupt},
};

const POLICIES: [OnFailure; 2] = [OnFailure::Leave, OnFailure::Restore];

fn end(sim: &Sim) -> (Status, Option<Code>) {
    let state = sim.state();
    (state.status(), state.stopped.map(|failure| failure.code))
}

/// How a run ends whose one step answers this.
fn expected(step: &str, answer: Answer) -> (Status, Option<Code>) {
    let hook = step.contains("hooks/");
    let failed = match (step, answer) {
        // A post-deployment hook's own failure warns.
        (POST_HOOK, _) => (Status::Warning, None),
        (_, Answer::Unknown) => (Status::Stuck, Some(BROKEN)),
        _ => (Status::Failed, Some(BROKEN)),
    };
    match answer {
        Answer::Done | Answer::NotYetOnce | Answer::RefusedBetweenLooks => (Status::Succeeded, None),
        Answer::Warned => (Status::Warning, None),
        Answer::SlotTimeout if hook => (Status::Failed, Some(SLOT_TIMED_OUT)),
        Answer::SlotTimeout => (Status::Succeeded, None),
        // Hooks have one attempt.
        Answer::RetryableOnce if hook => failed,
        Answer::RetryableOnce => (Status::Succeeded, None),
        Answer::RetryableForEver | Answer::BrokenBetweenLooks | Answer::Permanent | Answer::Unknown => failed,
    }
}

fn attempts(sim: &Sim) -> usize {
    sim.journal.iter().filter(|event| matches!(event.kind, Kind::StepStarted)).count()
}

#[test]
fn without_a_crash_each_outcome_ends_as_expected() {
    for on_failure in POLICIES {
        for step in STEPS {
            for answer in Answer::ALL {
                let sim = Sim::new(spec(on_failure)).answer(step, answer).run();
                assert_eq!(end(&sim), expected(step, answer), "{step} {answer:?} {on_failure:?}");
            }
        }
    }
}

#[test]
fn retries_are_counted_and_end() {
    let sim = Sim::new(spec(OnFailure::Leave)).answer("push_bundle", Answer::RetryableForEver).run();
    assert_eq!(sim.acted["push_bundle"], 3);
    let failure = sim.state().stopped.unwrap();
    assert_eq!(failure.message, "It is broken. Tried 3 times.");
    let parks = sim.journal.iter().filter_map(|event| match event.kind {
        Kind::Parked { delay_us } => Some(delay_us),
        _ => None,
    });
    // The back-off alone would be 0.75 s and 1.5 s; the other side asked for 2 s.
    assert_eq!(parks.collect::<Vec<_>>(), [2_000_000, 2_000_000]);
}

#[test]
fn a_crash_at_any_edge_changes_nothing() {
    let mut crashes = 0;
    for on_failure in POLICIES {
        for step in STEPS {
            for answer in Answer::ALL {
                let quiet = Sim::new(spec(on_failure)).answer(step, answer).run();
                for number in 0..quiet.commits {
                    for crash in [Crash::Before(number), Crash::After(number)] {
                        let mut sim = Sim::new(spec(on_failure)).answer(step, answer);
                        sim.crash = Some(crash);
                        let sim = sim.run();
                        let context = format!("{step} {answer:?} {on_failure:?} {crash:?}");
                        crashes += 1;
                        if sim.crashed_while() == Some((POST_HOOK, true)) {
                            // It may have acted, and its policy forbids another try.
                            assert_eq!(end(&sim), (Status::Failed, Some(OUTCOME_UNKNOWN)), "{context}");
                            assert!(sim.acted.get(POST_HOOK) <= quiet.acted.get(POST_HOOK), "{context}");
                            continue;
                        }
                        assert_eq!(end(&sim), end(&quiet), "{context}");
                        // A crash within an attempt is no attempt more.
                        assert_eq!(attempts(&sim), attempts(&quiet), "{context}");
                        let more: u32 = sim.acted.values().sum::<u32>() - quiet.acted.values().sum::<u32>();
                        assert!(more <= 1, "{context}: {:?} for {:?}", sim.acted, quiet.acted);
                    }
                }
            }
        }
    }
    assert!(crashes > 4_000, "only {crashes}");
}

#[test]
fn an_interrupted_hook_runs_again_where_its_policy_says_so() {
    let again = || {
        let mut spec = spec(OnFailure::Leave);
        for step in &mut spec.plan.steps {
            step.on_interrupt = OnInterrupt::Rerun;
        }
        Sim::new(spec)
    };
    let quiet = again().run();
    for number in 0..quiet.commits {
        for crash in [Crash::Before(number), Crash::After(number)] {
            let mut sim = again();
            sim.crash = Some(crash);
            assert_eq!(end(&sim.run()), (Status::Succeeded, None), "{crash:?}");
        }
    }
}

#[test]
fn a_restore_follows_a_failure_that_may_have_changed_the_node() {
    for step in STEPS {
        for (answer, restores) in
            [(Answer::Permanent, true), (Answer::RetryableForEver, true), (Answer::Unknown, false)]
        {
            let sim = Sim::new(spec(OnFailure::Restore)).answer(step, answer).run();
            let may = ["activate", "enforce_run_as", "verify"].contains(&step) && restores;
            assert_eq!(sim.acted.get(RESTORE), may.then_some(&1), "{step} {answer:?}");
            assert_eq!(end(&sim), expected(step, answer), "{step} {answer:?}");
        }
    }
}

#[test]
fn a_restore_survives_crashes_and_its_own_retries() {
    for answer in [Answer::Done, Answer::NotYetOnce, Answer::RetryableOnce] {
        let restoring =
            || Sim::new(spec(OnFailure::Restore)).answer("verify", Answer::Permanent).answer(RESTORE, answer);
        let quiet = restoring().run();
        assert_eq!(end(&quiet), (Status::Failed, Some(BROKEN)));
        for number in 0..quiet.commits {
            let mut sim = restoring();
            sim.crash = Some(Crash::After(number));
            assert_eq!(end(&sim.run()), end(&quiet), "{answer:?} {number}");
        }
    }
}

#[test]
fn a_restore_that_fails_needs_a_human() {
    for answer in [Answer::Permanent, Answer::RetryableForEver, Answer::Unknown] {
        let restoring =
            || Sim::new(spec(OnFailure::Restore)).answer("activate", Answer::Permanent).answer(RESTORE, answer);
        let quiet = restoring().run();
        assert_eq!(end(&quiet), (Status::Stuck, Some(RESTORE_FAILED)));
        for number in 0..quiet.commits {
            let mut sim = restoring();
            sim.crash = Some(Crash::Before(number));
            assert_eq!(end(&sim.run()), end(&quiet), "{answer:?} {number}");
        }
    }
}

#[test]
fn three_vanished_workers_in_one_attempt_are_enough() {
    for step in STEPS {
        let mut spec = spec(OnFailure::Leave);
        for planned in &mut spec.plan.steps {
            planned.on_interrupt = OnInterrupt::Rerun;
        }
        let mut sim = Sim::new(spec).until_started(step);
        for lapses in 1..=3 {
            assert_ne!(sim.state().status(), Status::Stuck, "{step} {lapses}");
            // The claim is the last that is heard of it.
            sim.crash = Some(Crash::After(sim.commits));
            sim.one_claim().unwrap_err();
        }
        assert_eq!(end(&sim), (Status::Stuck, Some(WORKERS_LOST)), "{step}");
        assert_eq!(sim.state().next(), Next::Nothing, "{step}");
    }
}

#[test]
fn workers_that_vanish_from_different_attempts_do_not_add_up() {
    let mut sim = Sim::new(spec(OnFailure::Leave)).answer("activate", Answer::RetryableOnce).until_started("activate");
    sim.crash = Some(Crash::After(sim.commits));
    sim.one_claim().unwrap_err();
    // The second worker ends the first attempt; the third one vanishes from the second attempt, the fourth as well.
    sim.crash = None;
    sim.one_claim().unwrap();
    for _ in 0..2 {
        sim.crash = Some(Crash::After(sim.commits));
        sim.one_claim().unwrap_err();
    }
    let sim = sim.run();
    assert_eq!(end(&sim), (Status::Succeeded, None));
    let lapses: Vec<u32> = sim.state().steps[4].attempts.iter().map(AttemptState::lapses).collect();
    assert_eq!(lapses, [2, 2]);
}
