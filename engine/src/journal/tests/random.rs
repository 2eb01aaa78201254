//! Lists of events that nobody wrote: legal, nearly legal and absurd ones.

use proptest::prelude::*;
use serde_json::json;

use super::sim::{BROKEN, spec};
use crate::{
    failure::Failure,
    ids::{RunId, WorkerId},
    journal::{Event, Kind, NewEvent, Next, Phase, State, Status, Then, follow},
    plan::OnFailure,
};

/// One thing that happens to a run.
#[derive(Clone, Debug)]
enum Happens {
    /// A worker goes on by the rules: it claims, or records this outcome and what follows.
    Rightly(Outcome),
    /// This event, wherever the run stands, with number and epoch this far off.
    Event { kind: Kind, step: Option<usize>, attempt: Option<u32>, seq: i64, epoch: i64 },
}

#[derive(Clone, Copy, Debug)]
enum Outcome {
    Claim { lapsed: bool, cancel: bool },
    Done,
    Yield,
    Fail(Then),
    Release,
}

fn failure() -> Failure {
    Failure::new(BROKEN, "It is broken.")
}

fn then() -> impl Strategy<Value = Then> {
    prop_oneof![Just(Then::Retry), Just(Then::Warn), Just(Then::Stop)]
}

fn kind() -> impl Strategy<Value = Kind> {
    let pool = || "hooks".to_owned();
    let status = (0..Status::ALL.len()).prop_map(|index| Status::ALL[index]);
    prop_oneof![
        Just(Kind::Requested { spec: Box::new(spec(OnFailure::Restore)) }),
        (any::<bool>(), prop::collection::vec(Just(WorkerId(1)), 0..2)).prop_map(|(lapsed, came_back)| Kind::Claimed {
            worker: WorkerId(1),
            lapsed,
            came_back
        }),
        Just(Kind::StepStarted),
        Just(Kind::SlotWaiting { pool: pool(), wait_ms: 1, holders: vec![RunId(1)] }),
        Just(Kind::SlotGranted { pool: pool(), ticket: 1 }),
        Just(Kind::SlotTimedOut { pool: pool(), waited_ms: 1, holders: Vec::new() }),
        Just(Kind::StepNoted { key: "k".to_owned(), value: json!(1) }),
        Just(Kind::StepSucceeded { output: json!(null), warnings: vec!["w".to_owned()] }),
        any::<i64>().prop_map(|check_in_us| Kind::StepYielded { check_in_us }),
        (then(), any::<bool>()).prop_map(|(then, unknown)| {
            let failure = if unknown { failure().outcome_unknown() } else { failure() };
            Kind::StepFailed { failure, then }
        }),
        any::<i64>().prop_map(|delay_us| Kind::Parked { delay_us }),
        Just(Kind::released(String::new())),
        Just(Kind::CancelRequested { by: "eve".to_owned() }),
        Just(Kind::Stuck { failure: failure() }),
        Just(Kind::Abandoned { by: "eve".to_owned() }),
        (status, any::<bool>()).prop_map(|(status, failed)| Kind::Finished { status, failure: failed.then(failure) }),
    ]
}

fn happens() -> impl Strategy<Value = Happens> {
    let outcome = prop_oneof![
        3 => (any::<bool>(), prop::bool::weighted(0.1)).prop_map(|(lapsed, cancel)| Outcome::Claim { lapsed, cancel }),
        6 => Just(Outcome::Done),
        1 => Just(Outcome::Yield),
        2 => then().prop_map(Outcome::Fail),
        1 => Just(Outcome::Release),
    ];
    let off = || prop_oneof![8 => Just(0_i64), 1 => Just(-1), 1 => Just(1), 1 => any::<i64>()];
    let step = prop_oneof![3 => Just(None), 5 => (0..10_usize).prop_map(Some), 1 => Just(Some(usize::MAX))];
    let attempt = prop_oneof![3 => Just(None), 5 => (0..3_u32).prop_map(Some), 1 => Just(Some(u32::MAX))];
    prop_oneof![
        outcome.prop_map(Happens::Rightly),
        (kind(), step, attempt, off(), off()).prop_map(|(kind, step, attempt, seq, epoch)| Happens::Event {
            kind,
            step,
            attempt,
            seq,
            epoch
        }),
    ]
}

/// What a worker would write.
fn rightly(state: &State, outcome: Outcome) -> (i64, Vec<NewEvent>) {
    let at = state.under_way().map(|(step, _)| (step, state.steps[step].attempts.len() as u32));
    let event = |kind| at.map(|(step, attempt)| NewEvent::step(step, attempt, kind)).into_iter().collect::<Vec<_>>();
    let mut epoch = state.epoch;
    let mut cancel = None;
    let events = match outcome {
        Outcome::Claim { lapsed, cancel: asked } => {
            epoch += 1;
            cancel = (asked && state.cancelled_by.is_none()).then_some("eve");
            vec![NewEvent::run(Kind::claimed(WorkerId(1), lapsed))]
        }
        Outcome::Done => event(Kind::StepSucceeded { output: json!(1), warnings: Vec::new() }),
        Outcome::Yield => event(Kind::StepYielded { check_in_us: 1 }),
        Outcome::Fail(then) => {
            let mut events = event(Kind::StepFailed { failure: failure(), then });
            if then == Then::Retry && !events.is_empty() {
                events.push(NewEvent::run(Kind::Parked { delay_us: 1 }));
            }
            events
        }
        Outcome::Release => vec![NewEvent::run(Kind::released(String::new()))],
    };
    (epoch, follow::edge(state, epoch, events, cancel, None))
}

/// Applies one event to the fold, and to the list if it was legal.
fn add(state: &mut State, legal: &mut Vec<Event>, event: Event) -> Result<bool, TestCaseError> {
    let before = state.clone();
    let applied = state.apply(&event);
    if applied.is_err() {
        prop_assert_eq!(&*state, &before, "a refused event changed the state: {:?}", event);
        return Ok(false);
    }
    prop_assert!(!matches!(before.phase, Phase::Ended { .. }), "an ended run took {:?}", event);
    prop_assert_eq!(state.seq, before.seq + 1);
    prop_assert!(state.epoch == before.epoch || state.epoch == before.epoch + 1);
    for (before, after) in before.steps.iter().zip(&state.steps) {
        prop_assert!(before.output.is_none() || before.output == after.output, "a recorded step changed: {:?}", event);
        prop_assert!(before.attempts.len() <= after.attempts.len());
    }
    legal.push(event);
    Ok(true)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn folding_never_panics_and_refusals_change_nothing(
        restore in any::<bool>(),
        history in prop::collection::vec(happens(), 0..80),
    ) {
        let on_failure = if restore { OnFailure::Restore } else { OnFailure::Leave };
        let first = NewEvent::run(Kind::Requested { spec: Box::new(spec(on_failure)) }).dated(1, 0, 1);
        let mut legal = vec![first];
        let mut state = State::fold(&legal).unwrap();
        for happens in history {
            match happens {
                Happens::Event { kind, step, attempt, seq, epoch } => {
                    let event = Event {
                        seq: (state.seq + 1).saturating_add(seq),
                        at: 0,
                        epoch: state.epoch.saturating_add(epoch),
                        step,
                        attempt,
                        kind,
                    };
                    add(&mut state, &mut legal, event)?;
                }
                Happens::Rightly(outcome) => {
                    let (epoch, events) = rightly(&state, outcome);
                    for event in events {
                        let event = event.dated(state.seq + 1, epoch, 0);
                        if !add(&mut state, &mut legal, event)? {
                            break;
                        }
                    }
                }
            }
            let (next, _, _) = (state.next(), state.status(), state.position());
            // What next says can be done.
            if let Next::Start { step, attempt } = next && state.epoch > 0 {
                let start = NewEvent::step(step, attempt, Kind::StepStarted).dated(state.seq + 1, state.epoch, 0);
                prop_assert_eq!(state.clone().apply(&start), Ok(()));
            }
        }
        prop_assert_eq!(State::fold(&legal).unwrap(), state);
    }
}
