//! One turn for slots.

use engine::{
    db::DbErr,
    ids::{RunId, WorkerId},
    leases::LeaseSettings,
    slots::{
        Demand,
        turn::{Granted, Wishes},
    },
};
use entities::{pool_holder, pool_waiter};

use super::{Break, Place, Rows};
use crate::history::Record;

fn place(demand: &Demand) -> Place {
    (demand.run.0, demand.step, demand.attempt)
}

fn us(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX / 4_000) * 1_000
}

impl Rows {
    /// Whether this run stands at exactly this step and attempt.
    fn stands_at(&self, (run, step, attempt): Place) -> bool {
        self.runs
            .get(&run)
            .is_some_and(|run| run.row.step == Some(step) && run.row.attempt == attempt && run.row.ended_at.is_none())
    }

    /// Whether it does so under this epoch, held by somebody who has not ended.
    fn is_leased(&self, at: Place, epoch: i64) -> bool {
        let row = self.runs.get(&at.0).map(|run| &run.row);
        self.stands_at(at)
            && row.is_some_and(|row| row.epoch == epoch && row.worker_id.is_some_and(|worker| self.lives(worker)))
    }

    /// Whether the slot is held right now.
    pub fn holds(&self, now: i64, demand: &Demand) -> bool {
        let holder = self.holders.get(&place(demand));
        let worker = self.runs.get(&demand.run.0).and_then(|run| run.row.worker_id);
        holder.is_some_and(|holder| holder.epoch == demand.epoch && holder.pool == demand.pool)
            && self.is_leased(place(demand), demand.epoch)
            && worker.and_then(|worker| self.workers.get(&worker)).is_some_and(|worker| worker.lease_until > now)
    }

    /// Takes a turn.
    ///
    /// # Errors
    /// No such pool.
    pub fn turn(
        &mut self,
        now: i64,
        name: &str,
        worker: WorkerId,
        settings: &LeaseSettings,
        wishes: &Wishes,
    ) -> Result<Granted, DbErr> {
        let Some(limit) = self.pools.get(name).map(|pool| pool.limit) else {
            return Err(DbErr::RecordNotFound(format!("the pool {name}")));
        };
        self.end_lapsed(now);
        for demand in &wishes.leave {
            self.forget_waiter(demand);
            self.forget_holder(demand);
        }
        for demand in &wishes.enter {
            self.enter(now, worker, demand);
        }
        for (demand, from_now) in &wishes.extend {
            if let Some(waiter) = self.waiters.get_mut(&place(demand)) {
                waiter.deadline = now + from_now;
            }
        }
        self.forget_invalid(now, name);

        let holders = self.holders_of(name);
        let free = match self.broken {
            Some(Break::Slots) => usize::MAX,
            _ => usize::try_from(limit).unwrap_or(0).saturating_sub(holders.len()),
        };
        let new = self.grant(now, name, free);
        let mut granted = Granted { holders, ..Granted::default() };
        granted.new = new.iter().map(|holder| RunId(holder.run_id)).collect();
        granted.holders.extend(new);
        let heard_by = now + us(settings.lease_ms) - 2 * us(settings.heartbeat_ms);
        granted.overdue = granted
            .holders
            .iter()
            .any(|holder| self.workers.get(&holder.worker_id).is_some_and(|worker| worker.lease_until < heard_by));
        if !granted.overdue {
            for demand in &wishes.last_chance {
                let has = |holder: &pool_holder::Model| {
                    (holder.run_id, holder.step, holder.attempt) == place(demand) && holder.epoch == demand.epoch
                };
                if !granted.holders.iter().any(has) {
                    self.forget_waiter(demand);
                    granted.timed_out.push(demand.clone());
                }
            }
        }
        if let Some(pool) = self.pools.get_mut(name) {
            pool.grants += granted.new.len() as i64;
            pool.timeouts += granted.timed_out.len() as i64;
        }
        Ok(granted)
    }

    /// A takeover keeps its ticket, whether it waited or held; whoever comes with an older epoch than the row's is late, and changes nothing.
    fn enter(&mut self, now: i64, worker: WorkerId, demand: &Demand) {
        let key = place(demand);
        let held = self.holders.get(&key).map(|holder| (holder.epoch, holder.ticket));
        let waits = self.waiters.get(&key).map(|waiter| (waiter.epoch, waiter.ticket));
        if held.is_some_and(|(epoch, _)| epoch >= demand.epoch) || waits.is_some_and(|(epoch, _)| epoch > demand.epoch)
        {
            return;
        }
        let ticket = match (waits, held, self.pools.get_mut(&demand.pool)) {
            (Some((_, ticket)), ..) | (None, Some((_, ticket)), _) => ticket,
            (None, None, Some(pool)) => {
                pool.next_ticket += 1;
                pool.next_ticket - 1
            }
            (None, None, None) => return,
        };
        self.forget_holder(demand);
        let wait = i64::try_from(demand.wait.as_micros()).unwrap_or(i64::MAX / 4);
        let waiter = pool_waiter::Model {
            run_id: key.0,
            step: key.1,
            attempt: key.2,
            pool: demand.pool.clone(),
            ticket,
            epoch: demand.epoch,
            worker_id: worker.0,
            since: now,
            deadline: now.saturating_add(wait),
        };
        self.waiters.insert(key, waiter);
    }

    fn forget_waiter(&mut self, demand: &Demand) {
        if self.waiters.get(&place(demand)).is_some_and(|waiter| waiter.epoch == demand.epoch) {
            self.waiters.remove(&place(demand));
        }
    }

    fn forget_holder(&mut self, demand: &Demand) {
        if self.holders.get(&place(demand)).is_some_and(|holder| holder.epoch <= demand.epoch) {
            self.holders.remove(&place(demand));
        }
    }

    /// What is valid no more. A holder whose run still stands there, and only lost its lease, keeps its ticket as a waiter.
    fn forget_invalid(&mut self, now: i64, name: &str) {
        let holders: Vec<pool_holder::Model> = self.holders_of(name);
        for holder in holders {
            let key = (holder.run_id, holder.step, holder.attempt);
            if self.is_leased(key, holder.epoch) {
                continue;
            }
            self.holders.remove(&key);
            if self.stands_at(key) {
                self.waiters.entry(key).or_insert(pool_waiter::Model {
                    run_id: holder.run_id,
                    step: holder.step,
                    attempt: holder.attempt,
                    pool: holder.pool,
                    ticket: holder.ticket,
                    epoch: holder.epoch,
                    worker_id: holder.worker_id,
                    since: now,
                    deadline: now,
                });
            }
        }
        let gone: Vec<Place> = self
            .waiters
            .iter()
            .filter(|(key, waiter)| waiter.pool == name && !self.stands_at(**key))
            .map(|(key, _)| *key)
            .collect();
        for key in gone {
            self.waiters.remove(&key);
        }
    }

    fn grant(&mut self, now: i64, name: &str, free: usize) -> Vec<pool_holder::Model> {
        let mut line: Vec<pool_waiter::Model> = self
            .waiters
            .iter()
            .filter(|(key, waiter)| waiter.pool == name && self.is_leased(**key, waiter.epoch))
            .map(|(_, waiter)| waiter.clone())
            .collect();
        line.sort_by_key(|waiter| waiter.ticket);
        let eligible: Vec<i64> = line.iter().map(|waiter| waiter.ticket).collect();
        let mut granted = Vec::new();
        for waiter in line.into_iter().take(free) {
            let key = (waiter.run_id, waiter.step, waiter.attempt);
            self.seen.push(Record::Grant {
                pool: name.to_owned(),
                at: now,
                ticket: waiter.ticket,
                run: key.0,
                step: key.1,
                attempt: key.2,
                eligible: Some(eligible.clone()),
            });
            let holder = pool_holder::Model {
                run_id: key.0,
                step: key.1,
                attempt: key.2,
                pool: waiter.pool,
                ticket: waiter.ticket,
                epoch: waiter.epoch,
                worker_id: waiter.worker_id,
                granted_at: now,
            };
            self.waiters.remove(&key);
            self.holders.insert(key, holder.clone());
            granted.push(holder);
        }
        granted
    }

    /// In order of tickets.
    fn holders_of(&self, name: &str) -> Vec<pool_holder::Model> {
        let mut holders: Vec<_> = self.holders.values().filter(|holder| holder.pool == name).cloned().collect();
        holders.sort_by_key(|holder| holder.ticket);
        holders
    }
}
