//! What an edge writes beside the outcome: a cancel that was asked for, then the beginning of the next step, or the end. One edge, one commit.

use super::{Kind, NewEvent, Next, Phase, State, Status};
use crate::ids::WorkerId;

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
            Next::Fail { step, attempt, failure } => NewEvent::step(step, attempt, after.giving_up(step, failure)),
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

/// What is said when a run ends between two states of the node, and nobody was there to look after it.
const UNATTENDED: &str = "No worker came in time to put the node in order: look there.";

/// The events that end a STUCK run, on a cancel: an operator's word on it.
pub fn end_stuck_by_cancel(state: &State, login: &str) -> Option<Vec<NewEvent>> {
    if state.phase != Phase::Stuck {
        return None;
    }
    let failure = state.cancelled_failure(login);
    let asked = match state.cancelled_by {
        None => Kind::CancelRequested { by: login.to_owned() },
        // It got stuck while it was being cancelled.
        Some(_) => Kind::Abandoned { by: login.to_owned() },
    };
    let finished = Kind::Finished { status: Status::Cancelled, failure: Some(failure) };
    Some(vec![NewEvent::run(asked), NewEvent::run(finished)])
}

/// The events that end a run which nobody living holds, on a cancel: what a claim would write. None for a STUCK one, which somebody must decide
/// on, and when it is a worker's: there is something to put back, or the node may be between two states. `unattended`: no worker came that could
/// look after the node; then only what is to be put back waits for one.
pub fn end_by_cancel(state: &State, login: &str, unattended: bool) -> Option<Vec<NewEvent>> {
    let midway = state.changed_midway();
    if midway && !unattended {
        return None;
    }
    let first = match state.cancelled_by {
        None => Kind::CancelRequested { by: login.to_owned() },
        // The worker that had recorded it was lost before the end.
        Some(_) => Kind::Claimed { worker: WorkerId::NOBODY, lapsed: false, came_back: Vec::new() },
    };
    let mut events = follow(state, state.epoch + 1, vec![NewEvent::run(first)], None);
    let Kind::Finished { failure, .. } = &mut events.last_mut()?.kind else { return None };
    if let Some(failure) = failure.as_mut().filter(|_| midway) {
        failure.message = format!("{} {UNATTENDED}", failure.message);
    }
    Some(events)
}
