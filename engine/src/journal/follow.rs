//! What an edge writes beside the outcome: a cancel that was asked for, then the beginning of the next step, or the end. One edge, one commit.

use super::{Kind, NewEvent, Next, Phase, State, Status, Then};

/// The events of one edge: those of an outcome, what somebody asked meanwhile, and what follows. `epoch` is the one under which they will be
/// written. `cancel` is who asked to cancel, if that is not in the journal yet. With `drain`, the run is given back instead of beginning
/// another step.
pub fn edge(
    state: &State,
    epoch: i64,
    mut events: Vec<NewEvent>,
    cancel: Option<&str>,
    drain: Option<&str>,
) -> Vec<NewEvent> {
    if events.iter().any(|event| matches!(event.kind, Kind::LeaseReleased { .. })) {
        return events;
    }
    if let Some(by) = cancel {
        // Whoever asked waits for the end: a park or a yield would only delay it.
        events.retain(|event| !matches!(event.kind, Kind::Parked { .. } | Kind::StepYielded { .. }));
        events.push(NewEvent::run(Kind::CancelRequested { by: by.to_owned() }));
    }
    follow(state, epoch, events, drain)
}

/// Adds to `events`, which follow from `state`, what follows from them in turn, up to the beginning of a step or the end of the run.
fn follow(state: &State, epoch: i64, mut events: Vec<NewEvent>, drain: Option<&str>) -> Vec<NewEvent> {
    let mut after = state.clone();
    for event in &events {
        if after.apply(&event.dated(after.seq + 1, epoch, 0)).is_err() {
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
                Some(reason) => NewEvent::run(Kind::released(reason)),
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
        if after.apply(&event.dated(after.seq + 1, epoch, 0)).is_err() {
            return events;
        }
        events.push(event);
        if !goes_on {
            return events;
        }
    }
}

/// The events that end a run which nobody holds, on a cancel. None when a worker must do it: the node may be between two states, or a hook may
/// have acted and nobody recorded how that went.
pub fn end_by_cancel(state: &State, login: &str) -> Option<Vec<NewEvent>> {
    if state.phase == Phase::Stuck {
        let failure = state.cancelled_failure(login);
        let asked = match state.cancelled_by {
            None => Kind::CancelRequested { by: login.to_owned() },
            // It got stuck while it was being cancelled: this is an operator's word on it.
            Some(_) => Kind::Abandoned { by: login.to_owned() },
        };
        let finished = Kind::Finished { status: Status::Cancelled, failure: Some(failure) };
        return Some(vec![NewEvent::run(asked), NewEvent::run(finished)]);
    }
    let acted =
        state.under_way().is_some_and(|(step, attempt)| attempt.acts && state.spec.plan.steps[step].slot.is_some());
    if acted || state.changed_midway() {
        return None;
    }
    let cancel = vec![NewEvent::run(Kind::CancelRequested { by: login.to_owned() })];
    let events = follow(state, state.epoch + 1, cancel, None);
    matches!(events.last()?.kind, Kind::Finished { .. }).then_some(events)
}
