//! What was seen, as the history that the checker reads.

use engine::plan::OnInterrupt;
use sandbox::Call;
use serde_json::Value;

use super::{
    SLACK_US, calls,
    seen::{Run, Seen},
    traffic::Book,
    watch::Act,
};
use crate::history::{Event, Facts, Record, Step};

const POOL: &str = "hooks";
/// The pool's limit, which the soak leaves alone.
pub(super) const LIMIT: i64 = 3;

/// The whole history.
pub(super) fn of(seen: &Seen, book: &Book, hooks: &[Act], calls: &[Call], began: i64, closed: i64) -> Vec<Record> {
    let mut records = vec![Record::Limit { pool: POOL.to_owned(), at: began, limit: LIMIT }];
    for run in seen.runs.values() {
        records.push(accepted(run, book));
        records.extend(run.events.iter().map(|row| event(row, &data(&row.data))));
        records.extend(run.events.iter().filter_map(grant));
    }
    records.extend(book.cancels.iter().map(|(run, at)| Record::CancelAsked { run: *run, at: *at }));
    records.extend(seen.workers.iter().map(|worker| Record::Worker {
        worker: worker.id,
        ended_at: worker.ended_at,
        came_back_at: worker.came_back_at,
    }));
    for act in hooks {
        let Some(of) = seen.runs.get(&act.run) else { continue };
        let Some(step) = of.step(&act.step) else { continue };
        // What a hook counts are its own beginnings, also those within one attempt.
        let granted = of
            .events
            .iter()
            .filter(|event| event.kind == "SlotGranted" && event.step == Some(step) && event.at <= act.from + SLACK_US);
        let attempt = granted.filter_map(|event| event.attempt).next_back().unwrap_or(act.attempt);
        let (run, pool) = (act.run, POOL.to_owned());
        records.push(Record::Hook { run, step, attempt, pool, from: act.from, until: act.until });
    }
    for asked in calls::attribute(seen, calls) {
        let step = asked.step.and_then(|name| seen.runs.get(&asked.run)?.step(name));
        let Some(step) = step else { continue };
        records.push(Record::Call { run: asked.run, step, at: asked.call.start });
        if let Some(at) = asked.shown() {
            records.push(Record::Effect { run: asked.run, step, at });
        }
    }
    records.push(Record::Closed { at: closed, records: Some(records.len() + 1) });
    records
}

/// A run whose answer never arrived was promised by its row alone.
fn accepted(run: &Run, book: &Book) -> Record {
    let answered = book.accepted.iter().find(|(id, ..)| *id == run.row.id).map(|(.., at)| *at);
    let steps = run.spec.iter().flat_map(|spec| &spec.plan.steps).map(|step| Step {
        name: step.name.clone(),
        once: step.on_interrupt == OnInterrupt::Fail,
        after_failure: step.only_after_failure,
        wait_ms: step.slot.as_ref().and_then(|slot| i64::try_from(slot.wait_ms).ok()),
    });
    Record::Accepted {
        run: run.row.id,
        deployment: run.row.deployment_id.clone(),
        number: run.row.run_no,
        at: answered.unwrap_or(run.row.requested_at),
        steps: steps.collect(),
        retry_of: run.spec.as_ref().and_then(|spec| spec.inherited.as_ref()).map(|inherited| inherited.from.0),
    }
}

fn data(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}

fn event(row: &entities::run_event::Model, data: &Value) -> Record {
    Record::Event(Event {
        run: row.run_id,
        seq: row.seq,
        at: row.at,
        epoch: row.epoch,
        kind: row.kind.clone(),
        step: row.step,
        attempt: row.attempt,
        facts: Facts::of(data),
    })
}

fn grant(row: &entities::run_event::Model) -> Option<Record> {
    if row.kind != "SlotGranted" {
        return None;
    }
    let ticket = data(&row.data)["ticket"].as_i64()?;
    let (step, attempt) = (row.step?, row.attempt?);
    let (pool, run) = (POOL.to_owned(), row.run_id);
    Some(Record::Grant { pool, at: row.at, ticket, run, step, attempt, eligible: None })
}
