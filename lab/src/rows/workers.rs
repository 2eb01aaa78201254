//! Leases, and what sweeps find.

use engine::{
    ids::{RunId, WorkerId},
    store::Swept,
};

use super::{Rows, Worker};
use crate::history::Record;

impl Rows {
    /// Adds a worker. The one that its process was `before` has come back.
    pub fn register(&mut self, now: i64, worker: WorkerId, before: Option<WorkerId>, lease_us: i64) {
        self.workers.insert(worker.0, Worker { lease_until: now + lease_us, ended_at: None, came_back_at: None });
        if let Some(row) = before.and_then(|before| self.workers.get_mut(&before.0)) {
            row.came_back_at.get_or_insert(now);
        }
    }

    /// Those of these workers that have come back.
    pub fn came_back(&self, workers: &[WorkerId]) -> Vec<WorkerId> {
        let back = |worker: &WorkerId| self.workers.get(&worker.0).is_some_and(|row| row.came_back_at.is_some());
        workers.iter().copied().filter(back).collect()
    }

    /// A heartbeat.
    pub fn renew(&mut self, now: i64, worker: WorkerId, lease_us: i64) -> bool {
        match self.workers.get_mut(&worker.0) {
            Some(row) if row.ended_at.is_none() && row.lease_until > now => {
                row.lease_until = now + lease_us;
                true
            }
            _ => false,
        }
    }

    /// Ends a worker.
    pub fn end(&mut self, now: i64, worker: WorkerId) {
        if let Some(row) = self.workers.get_mut(&worker.0) {
            row.ended_at.get_or_insert(now);
        }
    }

    /// Ends all whose lease lapsed.
    pub fn end_lapsed(&mut self, now: i64) -> Vec<WorkerId> {
        let mut ended = Vec::new();
        for (id, row) in &mut self.workers {
            if row.ended_at.is_none() && row.lease_until < now {
                row.ended_at = Some(now);
                ended.push(WorkerId(*id));
            }
        }
        ended
    }

    /// Wishes to cancel runs that nobody living holds.
    pub fn unseen_cancels(&self, now: i64) -> Vec<RunId> {
        let lives = |id| self.workers.get(&id).is_some_and(|row| row.ended_at.is_none() && row.lease_until >= now);
        let open = self.runs.values().map(|run| &run.row).filter(|row| row.ended_at.is_none() && row.status != "STUCK");
        let wishes = open.filter(|row| row.cancel_requested_at.is_some());
        wishes.filter(|row| row.worker_id.is_none_or(|worker| !lives(worker))).map(|row| RunId(row.id)).collect()
    }

    /// One process's part of a sweep.
    pub fn sweep(&mut self, now: i64, always: bool, period_us: i64, forget_every_us: i64) -> Swept {
        let mine = self.take_chore(now, "sweep", period_us) || always;
        let forget = self.take_chore(now, "forget", forget_every_us);
        let ended = if mine { self.end_lapsed(now) } else { Vec::new() };
        Swept { mine, forget, ended }
    }

    fn take_chore(&mut self, now: i64, name: &'static str, period_us: i64) -> bool {
        let at = self.chores.entry(name).or_insert(0);
        let taken = *at <= now - period_us;
        if taken {
            *at = now;
        }
        taken
    }

    /// The runs that can go on, oldest first.
    pub fn due(&self, now: i64, limit: u64) -> Vec<RunId> {
        let mut due: Vec<(i64, i64)> = self
            .runs
            .values()
            .map(|run| &run.row)
            .filter(|row| {
                row.ended_at.is_none()
                    && row.status != "STUCK"
                    && self.is_free(row)
                    && Self::is_due(row, now)
                    && self.is_first(row)
            })
            .map(|row| (row.requested_at, row.id))
            .collect();
        due.sort_unstable();
        due.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        due.into_iter().map(|(_, id)| RunId(id)).collect()
    }

    /// The first unfinished run of a deployment.
    pub fn next_of_deployment(&self, deployment: &str) -> Option<RunId> {
        let unfinished = self.runs.values().map(|run| &run.row).filter(|row| row.ended_at.is_none());
        unfinished.filter(|row| row.deployment_id == deployment).min_by_key(|row| row.run_no).map(|row| RunId(row.id))
    }

    /// The runs that a worker holds.
    pub fn held_by(&self, worker: WorkerId) -> Vec<RunId> {
        let held = self.runs.values().map(|run| &run.row);
        held.filter(|row| row.worker_id == Some(worker.0) && row.ended_at.is_none()).map(|row| RunId(row.id)).collect()
    }

    /// Runs of a worker that somebody asked to cancel.
    pub fn cancels(&self, worker: WorkerId) -> Vec<(RunId, String)> {
        let held = self.runs.values().map(|run| &run.row);
        held.filter(|row| row.worker_id == Some(worker.0) && row.ended_at.is_none())
            .filter(|row| row.cancel_requested_at.is_some())
            .filter_map(|row| Some((RunId(row.id), row.cancel_requested_by.clone()?)))
            .collect()
    }

    /// The workers, as an observer sees them at the end. `came_back_at` says of each when its process was heard of after it had lost its lease.
    pub fn see_workers(&mut self, came_back_at: impl Fn(i64) -> Option<i64>) {
        let workers = self.workers.iter();
        let seen: Vec<_> = workers
            .map(|(id, row)| Record::Worker { worker: *id, ended_at: row.ended_at, came_back_at: came_back_at(*id) })
            .collect();
        self.seen.extend(seen);
    }
}
