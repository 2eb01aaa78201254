//! Random histories, turn by turn: what must hold after each, whatever came before.

use std::time::Duration;

use engine::{
    ids::WorkerId,
    slots::{
        Demand,
        turn::{self, Granted, Wishes},
    },
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use tests::Store;

use super::bench::{Bench, LEASE, POOL, Seen};

/// One thing that happens. Numbers choose among the workers and runs that there are.
#[derive(Clone, Debug)]
enum Happens {
    /// This many runs of one worker come in, in one turn.
    Enter { worker: usize, runs: usize },
    /// An attempt gives up its place.
    Leave { run: usize },
    /// A step's edge: nobody takes a turn for it.
    Edge { run: usize },
    /// A worker's lease lapses; nobody has noticed yet.
    Lapse { worker: usize },
    /// A worker misses heartbeats.
    Overdue { worker: usize },
    /// A worker is heard of again.
    Heard { worker: usize },
    /// Another worker takes a run over from one that was ended.
    TakeOver { run: usize, worker: usize },
    /// A window is over.
    LastChance { run: usize },
    /// The limit changes.
    Limit { slots: i32 },
    /// Somebody looks.
    Look { worker: usize },
}

fn happens() -> impl Strategy<Value = Happens> {
    let any = 0..64_usize;
    prop_oneof![
        5 => (any.clone(), 1..4_usize).prop_map(|(worker, runs)| Happens::Enter { worker, runs }),
        1 => any.clone().prop_map(|run| Happens::Leave { run }),
        5 => any.clone().prop_map(|run| Happens::Edge { run }),
        1 => any.clone().prop_map(|worker| Happens::Lapse { worker }),
        1 => any.clone().prop_map(|worker| Happens::Overdue { worker }),
        1 => any.clone().prop_map(|worker| Happens::Heard { worker }),
        3 => (any.clone(), any.clone()).prop_map(|(run, worker)| Happens::TakeOver { run, worker }),
        2 => any.clone().prop_map(|run| Happens::LastChance { run }),
        1 => (1..6_i32).prop_map(|slots| Happens::Limit { slots }),
        3 => any.prop_map(|worker| Happens::Look { worker }),
    ]
}

/// A history under way.
struct History<'a> {
    bench: &'a Bench,
    workers: Vec<WorkerId>,
    /// Each with the worker that holds it.
    runs: Vec<(Demand, WorkerId)>,
    highest_ticket: i64,
}

impl History<'_> {
    async fn happen(&mut self, happens: &Happens) {
        let worker = |index: &usize| self.workers[index % self.workers.len()];
        let run = |index: &usize| (!self.runs.is_empty()).then(|| index % self.runs.len());
        match happens {
            Happens::Enter { worker: index, runs } => {
                let worker = worker(index);
                let mut enter = Vec::new();
                for _ in 0..*runs {
                    let demand = self.bench.run(worker, Duration::from_secs(600)).await;
                    enter.push(demand.clone());
                    self.runs.push((demand, worker));
                }
                self.turn(worker, Wishes { enter, ..Wishes::default() }).await;
            }
            Happens::Leave { run: index } => {
                if let Some((demand, worker)) = run(index).map(|index| self.runs[index].clone()) {
                    self.turn(worker, Wishes { leave: vec![demand], ..Wishes::default() }).await;
                }
            }
            Happens::Edge { run: index } => {
                if let Some(index) = run(index) {
                    let (demand, _) = self.runs.remove(index);
                    self.bench.edge(demand.run).await;
                }
            }
            Happens::Lapse { worker: index } => {
                self.bench.lapse(worker(index)).await;
                // Its process registers anew.
                let anew = self.bench.worker().await;
                let place = index % self.workers.len();
                self.workers[place] = anew;
            }
            Happens::Overdue { worker: index } => self.bench.overdue(worker(index)).await,
            Happens::Heard { worker: index } => self.bench.healthy(worker(index)).await,
            Happens::TakeOver { run: index, worker: other } => {
                let Some(index) = run(index) else { return };
                let (demand, holder) = self.runs[index].clone();
                if self.bench.seen().await.is_ended(holder.0) {
                    let worker = worker(other);
                    let demand = self.bench.take_over(&demand, worker).await;
                    self.runs[index] = (demand.clone(), worker);
                    self.turn(worker, Wishes { enter: vec![demand], ..Wishes::default() }).await;
                }
            }
            Happens::LastChance { run: index } => {
                if let Some((demand, worker)) = run(index).map(|index| self.runs[index].clone()) {
                    self.turn(worker, Wishes { last_chance: vec![demand], ..Wishes::default() }).await;
                }
            }
            Happens::Limit { slots } => {
                self.bench.sql("UPDATE pool SET slot_limit = $1", [(*slots).into()]).await;
            }
            Happens::Look { worker: index } => self.turn(worker(index), Wishes::default()).await,
        }
    }

    async fn turn(&mut self, worker: WorkerId, wishes: Wishes) {
        let before = self.bench.seen().await;
        let granted = turn::take(self.bench.db(), POOL, worker, &LEASE, &wishes).await.unwrap();
        let after = self.bench.seen().await;
        self.check(&before, &wishes, &granted, &after);
        self.highest_ticket = tickets(&after).chain([self.highest_ticket]).max().unwrap_or_default();
    }

    fn check(&self, before: &Seen, wishes: &Wishes, granted: &Granted, after: &Seen) {
        assert_eq!(granted.holders.len(), after.holders.len(), "what is told is what is there");
        assert_eq!(after.valid_holders().len(), after.holders.len(), "every holder that is left counts");
        // Lowering the limit ends nothing; beyond that it is never exceeded.
        let kept: Vec<_> = before
            .valid_holders()
            .into_iter()
            .filter(|row| !wishes.leave.iter().any(|demand| demand.run.0 == row.run_id))
            .collect();
        assert!(after.holders.len() <= after.limit.max(kept.len()), "{} of {}", after.holders.len(), after.limit);
        for row in &kept {
            let still = after.holders.iter().find(|now| (now.run_id, now.epoch) == (row.run_id, row.epoch));
            assert_eq!(still.map(|now| now.ticket), Some(row.ticket), "a living holder lost its slot");
        }
        // In order of tickets among the living, and nobody waits beside a free slot.
        let had = before.holder_keys();
        let new = after.holders.iter().filter(|row| !had.contains(&(row.run_id, row.epoch)));
        let waiting = after.living_waiters();
        let first = waiting.iter().map(|row| row.ticket).min().unwrap_or(i64::MAX);
        for row in new {
            assert!(row.ticket < first, "ticket {} was granted before {first}", row.ticket);
            assert!(granted.new.iter().any(|run| run.0 == row.run_id), "a grant that nobody is told of");
        }
        assert!(waiting.is_empty() || after.holders.len() >= after.limit, "somebody waits beside a free slot");
        // A ticket is kept by a takeover, and otherwise new.
        for demand in &wishes.enter {
            let now = after.ticket_of(demand.run).expect("who came in has a place");
            match before.ticket_of(demand.run) {
                Some(ticket) => assert_eq!(now, ticket, "a takeover keeps its ticket"),
                None => assert!(now > self.highest_ticket, "a new ticket is behind all others"),
            }
        }
        for demand in &wishes.leave {
            assert_eq!(after.ticket_of(demand.run), None, "who leaves has no place");
        }
        let overdue = after.holders.iter().any(|row| after.is_overdue(row.worker_id));
        assert_eq!(granted.overdue, overdue);
        for demand in &wishes.last_chance {
            let holds = after.holder_keys().contains(&(demand.run.0, demand.epoch));
            let timed_out = granted.timed_out.contains(demand);
            assert_eq!(timed_out, !holds && !overdue, "nobody fails for a dead holder");
            assert!(!timed_out || after.ticket_of(demand.run).is_none(), "who timed out has no place");
        }
        assert!(granted.timed_out.iter().all(|demand| wishes.last_chance.contains(demand)));
        assert!(after.holders.iter().all(|row| after.is_alive(row.worker_id)), "a lapse frees");
    }
}

fn tickets(seen: &Seen) -> impl Iterator<Item = i64> {
    seen.holders.iter().map(|row| row.ticket).chain(seen.waiters.iter().map(|row| row.ticket))
}

/// Blocks, as the runner of properties does.
fn histories(store: Store, cases: u32) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let bench = runtime.block_on(Bench::new(store));
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    let strategy = prop::collection::vec(happens(), 1..60);
    let tested = TestRunner::new(config).run(&strategy, |history| {
        runtime.block_on(async {
            bench.clear().await;
            let mut workers = Vec::new();
            for _ in 0..3 {
                workers.push(bench.worker().await);
            }
            let mut under_way = History { bench: &bench, workers, runs: Vec::new(), highest_ticket: 0 };
            for happens in &history {
                under_way.happen(happens).await;
            }
        });
        Ok(())
    });
    if let Err(failure) = tested {
        panic!("{failure}");
    }
}

#[test]
fn random_histories_on_sqlite() {
    histories(Store::Sqlite, 48);
}

#[test]
fn random_histories_on_postgres() {
    histories(Store::Postgres, 24);
}
