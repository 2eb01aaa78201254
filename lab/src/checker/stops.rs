//! Runs that stopped before their plan's end.

use super::{Rule, Run, Seen, Violation};
use crate::history::Event;

/// How many workers must be lost in one attempt before a run is given to a human.
const LOST: usize = 3;

pub(super) fn check(seen: &Seen<'_>, found: &mut Vec<Violation>) {
    for run in seen.runs.values() {
        cancel(seen, run, found);
        stuck(seen, run, found);
        for event in &run.events {
            match event.facts.code.as_deref() {
                Some("OUTCOME_UNKNOWN") if event.kind == "StepFailed" => unknown(seen, run, event, found),
                Some("WORKERS_LOST") if event.kind == "Stuck" => lost(seen, run, event, found),
                Some("CODE_ENV_UNAVAILABLE") if event.kind == "StepFailed" => unavailable(seen, run, event, found),
                _ => {}
            }
        }
    }
}

/// After the journal knows of it, no step begins but the one that puts back what was there. Before that, whoever asked may be a moment too late
/// for one beginning.
fn cancel(seen: &Seen<'_>, run: &Run<'_>, found: &mut Vec<Violation>) {
    let mut say = |what: String| found.push(Violation { rule: Rule::Cancel, what: format!("{} {what}", run.title()) });
    let begins =
        |event: &&&Event| event.kind == "StepStarted" && !run.step(event.step).is_some_and(|step| step.after_failure);
    if let Some(known) = run.events.iter().find(|event| event.kind == "CancelRequested")
        && let Some(begun) = run.events.iter().filter(begins).find(|event| event.seq > known.seq)
    {
        say(format!(
            "began step {} by event {}, after event {} had cancelled it.",
            run.name(begun.step),
            begun.seq,
            known.seq
        ));
    }
    if let Some(asked) = run.cancelled_at {
        let mut late = run.events.iter().filter(begins).filter(|event| event.at > asked + seen.slack_us);
        if let (Some(_), Some(second)) = (late.next(), late.next()) {
            say(format!(
                "went on to step {} by event {}, two steps after it was asked to stop at {asked}.",
                run.name(second.step),
                second.seq
            ));
        }
    }
}

/// Whoever stuck waits for somebody's word: one that was said before does not count.
fn stuck(seen: &Seen<'_>, run: &Run<'_>, found: &mut Vec<Violation>) {
    for pair in run.events.windows(2).filter(|pair| pair[0].kind == "Stuck") {
        let (stuck, after) = (pair[0], pair[1]);
        let said = |at: &i64| *at >= stuck.at - seen.slack_us && *at <= after.at + seen.slack_us;
        if !run.words.iter().any(said) {
            let (title, seq, kind) = (run.title(), after.seq, &after.kind);
            let what = format!("{title} was stuck by event {}, and nobody asked for event {seq} ({kind}).", stuck.seq);
            found.push(Violation { rule: Rule::Stuck, what });
        }
    }
}

/// The step must be one that is not run again, and the attempt must have been let act by somebody who never told how it went.
fn unknown(seen: &Seen<'_>, run: &Run<'_>, event: &Event, found: &mut Vec<Violation>) {
    let mut say = |what: &str| {
        let what = format!(
            "{} says OUTCOME_UNKNOWN of step {} in event {}, {what}",
            run.title(),
            run.name(event.step),
            event.seq
        );
        found.push(Violation { rule: Rule::Unknown, what });
    };
    if !run.step(event.step).is_some_and(|step| step.once) {
        say("which may be run again.");
    }
    let mine = |other: &&&Event| {
        other.seq < event.seq && other.step == event.step && other.attempt == event.attempt && other.epoch < event.epoch
    };
    let rested =
        run.events.iter().filter(mine).filter(|other| other.kind == "StepYielded").map(|other| other.seq).max();
    let let_in =
        run.events.iter().filter(mine).filter(|other| other.kind == "SlotGranted").map(|other| other.seq).max();
    if let_in.is_none() || let_in < rested {
        say("but nobody had let it act.");
    }
    if run.events.iter().filter(mine).any(|other| matches!(other.kind.as_str(), "StepSucceeded" | "StepFailed")) {
        say("but its outcome was recorded.");
    }
    let own = seen.acts.iter().any(|act| {
        act.run == run.id && Some(act.step) == event.step && Some(act.attempt) == event.attempt && act.from > event.at
    });
    if own {
        say("and it was run again afterwards.");
    }
}

/// Each one that counts went away in this attempt, and had not been heard of again when whoever says so looked: that was after the event before its
/// claim.
fn lost(seen: &Seen<'_>, run: &Run<'_>, event: &Event, found: &mut Vec<Violation>) {
    let start = run.events.iter().rfind(|other| other.kind == "StepStarted" && other.seq < event.seq);
    let since = start.map_or(0, |start| start.seq);
    let claim = run.events.iter().rposition(|other| other.kind == "Claimed" && other.seq < event.seq);
    let looked = claim.and_then(|place| run.events.get(place.checked_sub(1)?)).map_or(i64::MAX, |before| before.at);
    let mut holder = None;
    let mut gone = 0;
    for other in run.events.iter().filter(|other| other.seq < event.seq) {
        if other.seq > since && other.facts.lost {
            let back_at = holder.and_then(|worker| seen.workers.get(&worker)).and_then(|(_, back_at)| *back_at);
            let came_back = back_at.is_some_and(|at| at + seen.slack_us <= looked);
            gone += usize::from(other.kind != "Claimed" || !came_back);
        }
        if other.kind == "Claimed" {
            holder = other.facts.worker;
        }
    }
    if gone < LOST {
        found.push(Violation {
            rule: Rule::Lost,
            what: format!(
                "{} says WORKERS_LOST in event {}, when {gone} workers were lost in that attempt for good.",
                run.title(),
                event.seq
            ),
        });
    }
}

/// From the attempt's beginning, whoever looked meanwhile.
fn unavailable(seen: &Seen<'_>, run: &Run<'_>, event: &Event, found: &mut Vec<Violation>) {
    let begun = |other: &&&Event| {
        other.kind == "StepStarted"
            && (other.step, other.attempt) == (event.step, event.attempt)
            && other.seq < event.seq
    };
    let waited = run.events.iter().find(begun).map(|begun| event.at - begun.at + seen.slack_us);
    let wait = run.step(event.step).and_then(|step| step.wait_ms).map(|ms| ms * 1_000);
    if waited.zip(wait).is_none_or(|(waited, wait)| waited <= wait) {
        let what = format!(
            "{} says CODE_ENV_UNAVAILABLE of step {} in event {}, which waited {waited:?} µs and may {wait:?} µs.",
            run.title(),
            run.name(event.step),
            event.seq
        );
        found.push(Violation { rule: Rule::Unavailable, what });
    }
}
