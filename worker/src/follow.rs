//! What an edge writes beside the outcome: the beginning of the next step, or the end. One edge, one commit.

use engine::{
    journal::{Event, Kind, NewEvent, Next, State, Then},
    runs::op::dated,
};

/// Adds to `events`, which follow from `state`, what follows from them in turn, up to the beginning of a step or the end of the run.
/// `epoch` is the one under which they will be written. With `drain`, the run is given back instead of beginning another step.
pub(crate) fn follow(state: &State, epoch: i64, mut events: Vec<NewEvent>, drain: Option<&str>) -> Vec<NewEvent> {
    let mut after = state.clone();
    for event in &events {
        if after.apply(&number(event, &after, epoch)).is_err() {
            // The writer finds it, too, and says which.
            return events;
        }
    }
    // A wait ends the run's stay with this worker.
    if events.iter().any(|event| matches!(event.kind, Kind::Parked { .. } | Kind::StepYielded { .. })) {
        return events;
    }
    loop {
        let event = match after.next() {
            Next::Start { step, attempt } => match drain {
                Some(reason) => NewEvent::run(Kind::LeaseReleased { reason: reason.to_owned() }),
                None => NewEvent::step(step, attempt, Kind::StepStarted),
            },
            Next::Fail { step, attempt, failure } => {
                NewEvent::step(step, attempt, Kind::StepFailed { failure, then: Then::Stop })
            }
            Next::Stick(failure) => NewEvent::run(Kind::Stuck { failure }),
            Next::Finish { status, failure } => NewEvent::run(Kind::Finished { status, failure }),
            Next::Resume { .. } | Next::Nothing => return events,
        };
        let goes_on = matches!(event.kind, Kind::StepFailed { .. });
        if after.apply(&number(&event, &after, epoch)).is_err() {
            return events;
        }
        events.push(event);
        if !goes_on {
            return events;
        }
    }
}

fn number(event: &NewEvent, after: &State, epoch: i64) -> Event {
    dated(event, after.seq + 1, epoch, 0)
}
