//! Requests, claims, appends, cancels.

use engine::{
    db::DbErr,
    failure::Failure,
    ids::RunId,
    journal::{Event, Kind, NewEvent, Phase, State, Status, follow},
    runs::{Cancel, Loaded, Op, Requested, RunsError, Written, request::ABANDONED},
    spec::RunSpec,
};
use entities::run;
use serde_json::Value;

use super::{Break, Rows, Run};
use crate::history::{self, Facts, Record, Step};

impl Rows {
    /// Accepts a run, under an id that the caller drew.
    pub fn request(&mut self, now: i64, id: i64, deployment: &str, spec: &RunSpec) -> Requested {
        let number = self.numbers.entry(deployment.to_owned()).or_insert(0);
        *number += 1;
        let run_no = *number;
        let newest =
            self.runs.values().filter(|run| run.row.deployment_id == deployment).map(|run| run.row.requested_at).max();
        let at = (now / 1_000 * 1_000).max(newest.map_or(0, |newest| newest + 1_000));
        let row = run::Model {
            id,
            deployment_id: deployment.to_owned(),
            run_no,
            status: Status::Queued.as_str().to_owned(),
            epoch: 0,
            seq: 1,
            worker_id: None,
            step: None,
            attempt: 0,
            wake_at: None,
            requester: spec.requester.clone(),
            requested_at: at,
            started_at: None,
            ended_at: None,
            cancel_requested_at: None,
            cancel_requested_by: None,
        };
        let kind = Kind::Requested { spec: Box::new(spec.clone()) };
        let first = Event { seq: 1, at, epoch: 0, step: None, attempt: None, kind };
        self.seen.push(Record::Accepted {
            run: id,
            deployment: deployment.to_owned(),
            number: run_no,
            at,
            steps: steps(spec),
            retry_of: spec.inherited.as_ref().map(|inherited| inherited.from.0),
        });
        self.seen.push(Record::Event(history::Event {
            run: id,
            seq: 1,
            at,
            epoch: 0,
            kind: "Requested".to_owned(),
            step: None,
            attempt: None,
            facts: Facts::default(),
        }));
        self.runs.insert(id, Run { row, events: vec![first] });
        Requested { run: RunId(id), run_no, at }
    }

    /// A run with its folded journal.
    ///
    /// # Errors
    /// A journal that does not fold.
    pub fn load(&self, id: RunId) -> Result<Option<Loaded>, RunsError> {
        let Some(run) = self.runs.get(&id.0) else { return Ok(None) };
        let state = State::fold(&run.events).map_err(|source| RunsError::Broken { run: id, source })?;
        Ok(Some(Loaded { row: run.row.clone(), state }))
    }

    /// Commits writes. All are judged by the rows as they were before.
    ///
    /// # Errors
    /// An event that cannot be read.
    pub fn commit(&mut self, now: i64, ops: &[&Op]) -> Result<Vec<Written>, DbErr> {
        let accepted: Vec<&&Op> = ops.iter().filter(|op| self.accepts(now, op)).collect();
        let mut written = Vec::new();
        for op in accepted {
            written.extend(self.write(now, op)?);
        }
        Ok(written)
    }

    fn accepts(&self, now: i64, op: &Op) -> bool {
        let Some(Run { row, .. }) = self.runs.get(&op.run) else { return false };
        if row.ended_at.is_some() {
            return false;
        }
        let fenced = self.broken != Some(Break::Epoch);
        if !op.claim && !fenced && op.epoch < row.epoch {
            return true;
        }
        let newest = row.seq == op.seq || (!op.claim && self.broken == Some(Break::Journal));
        if row.epoch != op.epoch || !newest {
            return false;
        }
        if !op.claim {
            return row.worker_id.is_some_and(|worker| !fenced || self.lives(worker));
        }
        let goes_on = |worker| {
            row.status != Status::Stuck.as_str() && Self::is_due(row, now) && self.lives(worker) && self.is_first(row)
        };
        self.is_free(row) && op.worker.is_none_or(goes_on)
    }

    fn write(&mut self, now: i64, op: &Op) -> Result<Option<Written>, DbErr> {
        let Some(Run { row, events }) = self.runs.get_mut(&op.run) else { return Ok(None) };
        // Only a broken check makes this another one than the row's.
        let epoch = op.epoch + i64::from(op.claim);
        for (off, event) in (1..).zip(&op.events) {
            let bad = |error: serde_json::Error| DbErr::Json(error.to_string());
            let data: Value = serde_json::from_str(&event.data).map_err(bad)?;
            let kind = Kind::from_row(&event.kind, &event.data).map_err(bad)?;
            let seq = row.seq + off;
            events.push(Event { seq, at: now, epoch, step: event.step, attempt: event.attempt, kind });
            self.seen.push(Record::Event(history::Event {
                run: op.run,
                seq,
                at: now,
                epoch,
                kind: event.kind.clone(),
                step: event.step.map(|step| step as i64),
                attempt: event.attempt.map(i64::from),
                facts: Facts::of(&data),
            }));
        }
        row.seq += op.n;
        row.epoch = row.epoch.max(epoch);
        row.status = op.status.to_owned();
        (row.step, row.attempt) = (op.step, op.attempt);
        if op.release {
            row.worker_id = None;
        } else if op.claim {
            row.worker_id = op.worker;
        }
        row.wake_at = op.wake_in.map(|wake_in| now + wake_in);
        if op.worker.is_some() {
            row.started_at.get_or_insert(now);
        }
        row.ended_at = op.ended.then_some(now);
        if let Some(by) = &op.cancelled_by {
            row.cancel_requested_at.get_or_insert(now);
            row.cancel_requested_by.get_or_insert_with(|| by.clone());
        }
        let cancel_by = row.cancel_requested_by.clone();
        Ok(Some(Written { run: op.run, epoch: row.epoch, seq: row.seq, at: now, cancel_by }))
    }

    /// Asks to cancel. A run that nobody living holds ends here, unless it is a worker's.
    ///
    /// # Errors
    /// A broken journal.
    pub fn cancel(&mut self, now: i64, id: RunId, login: &str) -> Result<Cancel, RunsError> {
        let Some(loaded) = self.load(id)? else { return Ok(Cancel::Absent) };
        if loaded.row.ended_at.is_some() {
            return Ok(Cancel::AlreadyEnded);
        }
        self.seen.push(Record::CancelAsked { run: id.0, at: now });
        let state = &loaded.state;
        let events = follow::end_stuck_by_cancel(state, login).or_else(|| follow::end_by_cancel(state, login, false));
        if self.end_by(now, id, state, events)? {
            return Ok(Cancel::Ended);
        }
        if let Some(Run { row, .. }) = self.runs.get_mut(&id.0)
            && row.cancel_requested_at.is_none()
        {
            row.cancel_requested_at = Some(now);
            row.cancel_requested_by = Some(login.to_owned());
        }
        Ok(Cancel::Asked)
    }

    /// Ends a run that somebody asked to cancel, and that nobody living holds.
    ///
    /// # Errors
    /// A broken journal.
    pub fn end_unseen(&mut self, now: i64, id: RunId, unattended: bool) -> Result<bool, RunsError> {
        let Some(loaded) = self.load(id)? else { return Ok(false) };
        let Some(login) = loaded.row.cancel_requested_by.filter(|_| loaded.row.ended_at.is_none()) else {
            return Ok(false);
        };
        self.end_by(now, id, &loaded.state, follow::end_by_cancel(&loaded.state, &login, unattended))
    }

    fn end_by(&mut self, now: i64, id: RunId, state: &State, events: Option<Vec<NewEvent>>) -> Result<bool, RunsError> {
        let Some(events) = events else { return Ok(false) };
        let op = Op::end(id, state, &events).map_err(|source| RunsError::Broken { run: id, source })?;
        Ok(!self.commit(now, &[&op])?.is_empty())
    }

    /// Ends a stuck run, on an operator's word.
    ///
    /// # Errors
    /// A broken journal.
    pub fn abandon(&mut self, now: i64, id: RunId, login: &str) -> Result<bool, RunsError> {
        let Some(loaded) = self.load(id)? else { return Ok(false) };
        if loaded.state.phase != Phase::Stuck {
            return Ok(false);
        }
        self.seen.push(Record::AbandonAsked { run: id.0, at: now });
        let failure = Failure::new(ABANDONED, "Given up.");
        let events = [
            NewEvent::run(Kind::Abandoned { by: login.to_owned() }),
            NewEvent::run(Kind::Finished { status: Status::Failed, failure: Some(failure) }),
        ];
        let op = Op::end(id, &loaded.state, &events).map_err(|source| RunsError::Broken { run: id, source })?;
        Ok(!self.commit(now, &[&op])?.is_empty())
    }
}

/// What a checker asks of a plan.
fn steps(spec: &RunSpec) -> Vec<Step> {
    let step = |step: &engine::plan::PlannedStep| Step {
        name: step.name.clone(),
        once: step.on_interrupt == engine::plan::OnInterrupt::Fail,
        after_failure: step.only_after_failure,
        wait_ms: step.slot.as_ref().and_then(|slot| i64::try_from(slot.wait_ms).ok()),
    };
    spec.plan.steps.iter().map(step).collect()
}
