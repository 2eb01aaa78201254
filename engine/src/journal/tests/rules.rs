//! Single rules of fold and next.

use std::collections::BTreeMap;

use serde_json::json;

use super::sim::{Answer, Sim, spec};
use crate::{
    failure::Failure,
    ids::{RunId, WorkerId},
    journal::{Event, Kind, NewEvent, Next, Phase, State, Status, Then, follow, next},
    plan::OnFailure,
    spec::Inherited,
};

fn leave() -> Sim {
    Sim::new(spec(OnFailure::Leave))
}

fn claimed(lapsed: bool) -> NewEvent {
    NewEvent::run(Kind::claimed(WorkerId(7), lapsed))
}

/// Adds events under the state's epoch, or the next one for a claim.
fn add(state: &mut State, events: impl IntoIterator<Item = NewEvent>) {
    for event in events {
        let epoch = state.epoch + i64::from(matches!(event.kind, Kind::Claimed { .. }));
        state.apply(&event.dated(state.seq + 1, epoch, 0)).unwrap();
    }
}

fn refused(state: &State, event: &Event) -> &'static str {
    let mut after = state.clone();
    let why = after.apply(event).unwrap_err().why;
    assert_eq!(after, *state, "a refused event changed the state");
    why
}

#[test]
fn a_journal_begins_with_a_request() {
    assert_eq!(State::fold(&[]).unwrap_err().why, "the journal is empty");
    let claim = claimed(false).dated(1, 1, 0);
    assert_eq!(State::fold(&[claim]).unwrap_err().why, "a journal begins with Requested");
    let first = leave().journal.remove(0);
    for wrong in [Event { seq: 2, ..first.clone() }, Event { epoch: 1, ..first.clone() }] {
        assert_eq!(State::fold(&[wrong]).unwrap_err().why, "event 1 has number 1 and epoch 0");
    }
    let state = State::fold([&first]).unwrap();
    assert_eq!((state.status(), state.position()), (Status::Queued, (None, 0)));
    assert_eq!(refused(&state, &Event { seq: 2, ..first }), "a run is requested once");
}

#[test]
fn numbers_and_epochs_follow() {
    let state = leave().until_started("activate").state();
    let done = NewEvent::step(4, 1, Kind::StepSucceeded { output: json!(1), warnings: Vec::new() });
    assert_eq!(refused(&state, &done.dated(state.seq, state.epoch, 0)), "its number does not follow");
    assert_eq!(refused(&state, &done.dated(state.seq + 2, state.epoch, 0)), "its number does not follow");
    // The fence: a stale writer, and one of the future.
    for epoch in [state.epoch - 1, state.epoch + 1] {
        assert_eq!(refused(&state, &done.dated(state.seq + 1, epoch, 0)), "its epoch does not follow");
    }
    assert_eq!(refused(&state, &claimed(true).dated(state.seq + 1, state.epoch, 0)), "its epoch does not follow");
}

#[test]
fn steps_and_attempts_follow() {
    let state = leave().until_started("activate").state();
    let at = |event: NewEvent| event.dated(state.seq + 1, state.epoch, 0);
    let done = || Kind::StepSucceeded { output: json!(1), warnings: Vec::new() };
    assert_eq!(refused(&state, &at(NewEvent::step(3, 1, done()))), "another step is under way");
    assert_eq!(refused(&state, &at(NewEvent::step(4, 2, done()))), "another attempt is under way");
    assert_eq!(refused(&state, &at(NewEvent::run(done()))), "another step is under way");
    assert_eq!(refused(&state, &at(NewEvent::step(5, 1, Kind::StepStarted))), "a step begins at an edge");
    assert_eq!(refused(&state, &at(NewEvent::run(Kind::Parked { delay_us: 1 }))), "only a failed attempt is parked");
    let abandoned = NewEvent::run(Kind::Abandoned { by: "eve".to_owned() });
    assert_eq!(refused(&state, &at(abandoned)), "only a stuck run is abandoned");
    let unfinished = NewEvent::run(Kind::Finished { status: Status::Running, failure: None });
    assert_eq!(refused(&state, &at(unfinished)), "not a final status");

    let mut edge = state.clone();
    add(&mut edge, [NewEvent::step(4, 1, done())]);
    let start = |step, attempt| NewEvent::step(step, attempt, Kind::StepStarted).dated(edge.seq + 1, edge.epoch, 0);
    assert_eq!(refused(&edge, &start(6, 1)), "this step is not the next one");
    assert_eq!(refused(&edge, &start(4, 2)), "this step is not the next one");
    assert_eq!(refused(&edge, &start(99, 1)), "this step is not the next one");
    assert_eq!(refused(&edge, &start(5, 2)), "its attempt does not follow");
    let nobody = leave().state();
    assert_eq!(refused(&nobody, &NewEvent::step(0, 1, Kind::StepStarted).dated(2, 0, 0)), "nobody holds the run");
}

#[test]
fn nothing_follows_the_end() {
    let sim = leave().run();
    let state = sim.state();
    assert_eq!(state.next(), Next::Nothing);
    for event in &sim.journal[1..] {
        let again = Event { seq: state.seq + 1, epoch: state.epoch, ..event.clone() };
        let claims = i64::from(matches!(event.kind, Kind::Claimed { .. }));
        assert_eq!(refused(&state, &Event { epoch: state.epoch + claims, ..again }), "the run has ended");
    }
}

#[test]
fn a_stuck_run_is_cancelled_or_abandoned_and_nothing_else() {
    let mut state = leave().answer("activate", Answer::Unknown).run().state();
    assert_eq!((state.status(), state.next()), (Status::Stuck, Next::Nothing));
    assert_eq!(refused(&state, &claimed(false).dated(state.seq + 1, state.epoch + 1, 0)), "the run is stuck");
    let released = NewEvent::run(Kind::released(String::new()));
    assert_eq!(refused(&state, &released.dated(state.seq + 1, state.epoch, 0)), "the run is stuck");
    let failure = Failure::new(next::CANCELLED, "x");
    let abandoned = [
        NewEvent::run(Kind::Abandoned { by: "eve".to_owned() }),
        NewEvent::run(Kind::Finished { status: Status::Failed, failure: Some(failure) }),
    ];
    let epoch = state.epoch + 1;
    for event in abandoned {
        state.apply(&event.dated(state.seq + 1, epoch, 0)).unwrap();
    }
    assert_eq!(state.status(), Status::Failed);
}

#[test]
fn what_is_inherited_is_not_done_again() {
    let inherited = Inherited {
        from: RunId(5),
        steps: BTreeMap::from([("pre_hooks/1".to_owned(), json!({ "status": "SUCCESS" }))]),
        notes: BTreeMap::from([("intent".to_owned(), json!("v1"))]),
    };
    let sim = leave().inheriting(inherited);
    let before = sim.state();
    assert!(before.steps[1].inherited && before.steps[1].is_over() && before.steps[1].attempts.is_empty());
    assert_eq!(before.notes["intent"], "v1");
    let sim = sim.run();
    assert_eq!(sim.state().status(), Status::Succeeded);
    assert!(!sim.acted.contains_key("pre_hooks/1") && sim.acted.contains_key("check_policy"));
}

#[test]
fn notes_survive_attempts_and_are_replaced_by_the_same_key() {
    let sim = leave().answer("activate", Answer::RetryableOnce).run();
    assert_eq!(sim.state().notes["activate.seen"], 2);
    assert_eq!(sim.state().notes["push_bundle.seen"], 1);
}

#[test]
fn a_run_that_was_given_back_goes_on_under_its_attempt() {
    let mut state = leave().until_started("activate").state();
    add(&mut state, [NewEvent::run(Kind::released("the worker drains".to_owned())), claimed(false)]);
    assert_eq!(state.next(), Next::Resume { step: 4, attempt: 1 });
    let (_, attempt) = state.under_way().unwrap();
    // Nobody vanished, but it may have acted.
    assert_eq!((attempt.lapses(), attempt.interrupted), (0, true));
}

#[test]
fn workers_that_came_back_are_not_lost() {
    let mut state = leave().until_started("activate").state();
    let claimed = |worker: i64, came_back: &[i64]| {
        let came_back = came_back.iter().copied().map(WorkerId).collect();
        NewEvent::run(Kind::Claimed { worker: WorkerId(worker), lapsed: true, came_back })
    };
    // The one that claimed it first has come back when the third is lost, the second one has not.
    add(&mut state, [claimed(8, &[]), claimed(9, &[]), claimed(10, &[7])]);
    assert_eq!(state.under_way().map(|(_, attempt)| attempt.lost.clone()), Some(vec![WorkerId(8), WorkerId(9)]));
    assert_eq!(state.next(), Next::Resume { step: 4, attempt: 1 });
    // It is known of the second one now; and whoever is lost and back at once was never lost.
    add(&mut state, [claimed(11, &[8, 10]), claimed(12, &[])]);
    assert_eq!(state.under_way().map(|(_, attempt)| attempt.lapses()), Some(2));
    add(&mut state, [claimed(13, &[])]);
    assert!(matches!(state.next(), Next::Stick(failure) if failure.code == next::WORKERS_LOST));
}

#[test]
fn a_hook_that_only_waited_did_not_act() {
    let mut state = leave().until_started("post_hooks/1").state();
    let wait = Kind::SlotWaiting { pool: "hooks".to_owned(), wait_ms: 60_000, holders: Vec::new() };
    add(&mut state, [NewEvent::step(7, 1, wait)]);
    assert_eq!(state.status(), Status::Waiting);
    add(&mut state, [claimed(true)]);
    assert_eq!(state.next(), Next::Resume { step: 7, attempt: 1 });
    let granted = Kind::SlotGranted { pool: "hooks".to_owned(), ticket: 4 };
    add(&mut state, [NewEvent::step(7, 1, granted)]);
    assert_eq!(state.status(), Status::Running);
    add(&mut state, [claimed(true)]);
    let Next::Fail { step: 7, attempt: 1, failure } = state.next() else { panic!("{:?}", state.next()) };
    assert_eq!(failure.code, next::OUTCOME_UNKNOWN);
}

#[test]
fn a_window_may_end_before_anybody_said_that_it_waits() {
    let mut state = leave().until_started("pre_hooks/1").state();
    let over = Kind::SlotTimedOut { pool: "hooks".to_owned(), waited_ms: 0, holders: vec![RunId(3)] };
    add(&mut state, [NewEvent::step(1, 1, over)]);
    let slot = state.under_way().and_then(|(_, attempt)| attempt.slot.clone()).unwrap();
    assert_eq!((slot.timed_out_at, slot.holders, slot.since), (Some(0), vec![RunId(3)], None));
}

#[test]
fn waits_are_told() {
    let sim = leave().answer("activate", Answer::RetryableOnce).answer("verify", Answer::NotYetOnce).run();
    let rests: Vec<_> = (1..=sim.journal.len())
        .map(|length| State::fold(&sim.journal[..length]).unwrap())
        .filter_map(|state| Some((state.rests_us?, state.status(), state.phase)))
        .collect();
    let expected =
        [(750_000, Status::Waiting, Phase::Edge { parked: true }), (5_000_000, Status::Waiting, Phase::In { step: 6 })];
    assert_eq!(rests, expected);
}

#[test]
fn a_worker_that_drains_begins_nothing() {
    let state = leave().until_started("activate").state();
    let done = NewEvent::step(4, 1, Kind::StepSucceeded { output: json!(1), warnings: Vec::new() });
    let events = follow::edge(&state, state.epoch, vec![done], None, Some("the worker drains"));
    assert!(matches!(events[1].kind, Kind::LeaseReleased { .. }), "{events:?}");
    // But it ends what needs no step.
    let state = leave().until_started("post_hooks/1").state();
    let done = NewEvent::step(7, 1, Kind::StepSucceeded { output: json!(1), warnings: Vec::new() });
    let events = follow::edge(&state, state.epoch, vec![done], None, Some("the worker drains"));
    assert!(matches!(events[1].kind, Kind::Finished { status: Status::Succeeded, .. }), "{events:?}");
}

#[test]
fn the_first_failure_stays_the_runs_failure() {
    let mut state =
        Sim::new(spec(OnFailure::Restore)).answer("activate", Answer::Permanent).until_started("restore").state();
    let then = Kind::StepFailed { failure: Failure::new(next::CANCELLED, "of the restore"), then: Then::Stop };
    add(&mut state, [NewEvent::step(8, 1, then)]);
    assert_eq!(state.stopped.as_ref().unwrap().message, "It is broken.");
}

#[test]
fn a_look_that_found_everything_in_order_ends_a_row_of_failures() {
    let sim = leave().answer("activate", Answer::RefusedBetweenLooks).run();
    let state = sim.state();
    assert_eq!(state.status(), Status::Succeeded, "{:?}", state.stopped);
    assert_eq!(sim.acted["activate"], 14, "seven attempts of two looks each, where three in a row would be the last");
    for (answer, acted) in [(Answer::RetryableForEver, 3), (Answer::BrokenBetweenLooks, 6)] {
        let sim = leave().answer("activate", answer).run();
        assert_eq!((sim.state().status(), sim.acted["activate"]), (Status::Failed, acted), "{answer:?}");
    }
}
