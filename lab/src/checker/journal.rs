//! Each journal by itself, beside what its steps did on the node.

use std::collections::{BTreeMap, BTreeSet};

use super::{Rule, Run, Seen, Violation};
use crate::history::Record;

pub(super) fn check(seen: &Seen<'_>, found: &mut Vec<Violation>) {
    for run in seen.runs.values() {
        ends(seen, run, found);
        order(seen, run, found);
        epochs(seen, run, found);
        recorded(seen, run, found);
        inherited(seen, run, found);
    }
    alone(seen, found);
}

/// Under one epoch nobody begins with a step before the one before it was left.
fn alone(seen: &Seen<'_>, found: &mut Vec<Violation>) {
    let mut held: BTreeMap<(i64, i64), Vec<[i64; 3]>> = BTreeMap::new();
    for record in seen.records {
        if let Record::Work { run, epoch, step, from, until } = record {
            held.entry((*run, *epoch)).or_default().push([*from, *until, *step]);
        }
    }
    for ((run, epoch), work) in &mut held {
        work.sort_unstable();
        for pair in work.windows(2) {
            let ([_, until, before], [from, _, after]) = (pair[0], pair[1]);
            if from + seen.slack_us < until {
                let what =
                    format!("run {run} was at steps {before} and {after} at once under epoch {epoch}, at {from}.");
                found.push(Violation { rule: Rule::Alone, what });
            }
        }
    }
}

fn ends(seen: &Seen<'_>, run: &Run<'_>, found: &mut Vec<Violation>) {
    if seen.closed_at.is_some() && run.finished().is_none() {
        let last = run.events.last().map_or_else(
            || "nothing of it is in its journal".to_owned(),
            |event| format!("its last event is {} {} of epoch {}", event.seq, event.kind, event.epoch),
        );
        found.push(Violation {
            rule: Rule::Ends,
            what: format!("{} was accepted and has not ended; {last}.", run.title()),
        });
    }
}

fn order(seen: &Seen<'_>, run: &Run<'_>, found: &mut Vec<Violation>) {
    let mut say = |what: String| found.push(Violation { rule: Rule::Journal, what: format!("{} {what}", run.title()) });
    for (expected, event) in (1..).zip(&run.events) {
        if event.seq != expected {
            say(format!("has event {} ({}) where {expected} is due.", event.seq, event.kind));
            break;
        }
    }
    // A request may be dated ahead, so that each has an instant of its own within its deployment.
    for pair in run.events.windows(2).skip(1) {
        if pair[1].at < pair[0].at - seen.slack_us {
            say(format!("has event {} ({}) dated before event {}.", pair[1].seq, pair[1].kind, pair[0].seq));
        }
    }
    if let Some(end) = run.finished()
        && let Some(after) = run.events.iter().find(|event| event.seq > end.seq)
    {
        say(format!("has event {} ({}) behind its end, event {}.", after.seq, after.kind, end.seq));
    }
}

/// Who holds a run writes under its epoch, as long as it is not ended; whoever comes next writes under a greater one.
fn epochs(seen: &Seen<'_>, run: &Run<'_>, found: &mut Vec<Violation>) {
    let mut say = |what: String| found.push(Violation { rule: Rule::Epoch, what: format!("{} {what}", run.title()) });
    let mut holders = BTreeMap::new();
    let mut newest = 0;
    for event in &run.events {
        if event.epoch < newest {
            say(format!(
                "accepted event {} ({}) under epoch {}, when epoch {newest} had begun.",
                event.seq, event.kind, event.epoch
            ));
        }
        // A claim, or whoever ends a run that nobody holds.
        let begins = matches!(event.kind.as_str(), "Claimed" | "CancelRequested" | "Abandoned");
        if event.epoch > newest && !begins {
            say(format!(
                "accepted event {} ({}) under epoch {}, which nobody claimed.",
                event.seq, event.kind, event.epoch
            ));
        }
        if event.kind == "Claimed" {
            if event.epoch <= newest {
                say(format!("was claimed twice under epoch {}, again by event {}.", event.epoch, event.seq));
            }
            holders.insert(event.epoch, event.facts.worker);
        }
        newest = newest.max(event.epoch);
        if let Some(Some(worker)) = holders.get(&event.epoch)
            && let Some((Some(ended_at), _)) = seen.workers.get(worker)
            && event.at > ended_at + seen.slack_us
        {
            say(format!(
                "accepted event {} ({}) of epoch {} from worker {worker}, which had been ended {} µs before.",
                event.seq,
                event.kind,
                event.epoch,
                event.at - ended_at
            ));
        }
    }
}

fn recorded(seen: &Seen<'_>, run: &Run<'_>, found: &mut Vec<Violation>) {
    let mut say =
        |what: String| found.push(Violation { rule: Rule::Recorded, what: format!("{} {what}", run.title()) });
    let mut done: BTreeMap<i64, (i64, i64)> = BTreeMap::new();
    let mut begun = BTreeSet::new();
    for event in &run.events {
        let Some(step) = event.step else { continue };
        let name = run.name(event.step);
        if let Some((seq, _)) = done.get(&step) {
            say(format!(
                "has event {} ({}) of step {name}, which event {seq} had recorded as done.",
                event.seq, event.kind
            ));
        }
        if event.kind == "StepSucceeded" {
            done.entry(step).or_insert((event.seq, event.at));
        }
        if event.kind == "StepStarted" && !begun.insert((step, event.attempt)) {
            say(format!(
                "began attempt {:?} of step {name} twice, again by event {}.",
                event.attempt.unwrap_or(0),
                event.seq
            ));
        }
    }
    for act in seen.acts.iter().filter(|act| act.run == run.id) {
        if let Some((seq, at)) = done.get(&act.step)
            && act.from > at + seen.slack_us
        {
            say(format!(
                "began hook {} at {}, after event {seq} had recorded it as done.",
                run.name(Some(act.step)),
                act.from
            ));
        }
    }
    for (step, at) in &run.calls {
        let name = run.name(Some(*step));
        if let Some((seq, recorded_at)) = done.get(step)
            && *at > recorded_at + seen.slack_us
        {
            say(format!("called the node for step {name} at {at}, after event {seq} had recorded it as done."));
        }
        if let Some((_, shown_at)) =
            run.effects.iter().find(|(of, shown_at)| of == step && shown_at + seen.slack_us < *at)
        {
            say(format!("called the node for step {name} at {at}, when it had shown the effect since {shown_at}."));
        }
    }
}

/// Hooks before the deployment that the run which this one retries had recorded, or had inherited itself.
fn inherited(seen: &Seen<'_>, run: &Run<'_>, found: &mut Vec<Violation>) {
    let mut later = run;
    // A run is retried by later ones alone.
    while let Some(before) = later.retry_of.and_then(|id| seen.runs.get(&id)).filter(|run| run.number < later.number) {
        for done in before.events.iter().filter(|event| event.kind == "StepSucceeded") {
            let name = before.name(done.step);
            let again = run.events.iter().find(|event| event.kind == "StepStarted" && run.name(event.step) == name);
            if let Some(again) = again.filter(|_| name.starts_with("pre_hooks/")) {
                let (title, old) = (run.title(), before.title());
                let what = format!("{title} began {name} again by event {}, which {old} had recorded.", again.seq);
                found.push(Violation { rule: Rule::Recorded, what });
            }
        }
        later = before;
    }
}
