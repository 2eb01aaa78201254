//! The rows in memory and a real database are given the same work, and give the same answers. With a check of the rows switched off they do not.

use std::time::Duration;

use engine::{
    db::{Db, Use, sql_with},
    failure::{Code, Failure, StepOutcome},
    ids::{RunId, WorkerId},
    journal::{Kind, NewEvent, Phase, State, follow, outcome},
    leases::LeaseSettings,
    plan::{OnFailure, OnInterrupt, Plan, PlannedStep, SlotDemand, StepPolicy},
    retry::RetryPolicy,
    runs::{self, Loaded, Op, Written, due::Place},
    slots::{Demand, turn::Wishes},
    spec::RunSpec,
    store::Store,
};
use entities::{pool_holder, pool_waiter, run};
use lab::rows::{Break, Rows};
use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{TestError, TestRunner},
};
use sea_orm::{ActiveValue::Set, ConnectionTrait, EntityTrait};
use serde_json::{Value, json};

const POOL: &str = "hooks";
/// Long enough that none lapses by itself.
const LEASE: LeaseSettings = LeaseSettings { lease_ms: 3_600_000, heartbeat_ms: 60_000, hook_grace_ms: 1_800_000 };
const HOUR_US: i64 = 3_600_000_000;
/// Where the end of a window is put that is extended: far beyond any that is not.
const FAR_US: i64 = 24 * HOUR_US;

/// One thing that is done to both. Numbers choose among what is there.
#[derive(Clone, Debug)]
enum Act {
    Request(u8),
    Register {
        before: Option<u8>,
    },
    Claim {
        worker: u8,
        run: u8,
    },
    Append {
        held: u8,
        what: u8,
        cancel: bool,
    },
    Turn {
        worker: u8,
        enter: Vec<u8>,
        leave: Option<u8>,
        last: Option<u8>,
        extend: Option<u8>,
    },
    Heartbeat(u8),
    Lapse(u8),
    Overdue(u8),
    End(u8),
    Sweep,
    Cancel(u8),
    Abandon(u8),
    Limit(u8),
    /// Claims and appends of several deployments in one commit.
    Batch(Vec<(u8, u8)>),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let some = || any::<u8>();
    let perhaps = |weight| prop::option::weighted(weight, any::<u8>());
    let act = prop_oneof![
        3 => some().prop_map(Act::Request),
        2 => prop::option::of(some()).prop_map(|before| Act::Register { before }),
        6 => (some(), some()).prop_map(|(worker, run)| Act::Claim { worker, run }),
        9 => (some(), some(), prop::bool::weighted(0.1)).prop_map(|(held, what, cancel)| Act::Append { held, what, cancel }),
        6 => (some(), vec(some(), 0..9), perhaps(0.2), perhaps(0.3), perhaps(0.4))
            .prop_map(|(worker, enter, leave, last, extend)| Act::Turn { worker, enter, leave, last, extend }),
        1 => some().prop_map(Act::Heartbeat),
        2 => some().prop_map(Act::Lapse),
        1 => some().prop_map(Act::Overdue),
        1 => some().prop_map(Act::End),
        2 => Just(Act::Sweep),
        1 => some().prop_map(Act::Cancel),
        1 => some().prop_map(Act::Abandon),
        1 => (0..4u8).prop_map(Act::Limit),
        2 => vec((some(), some()), 1..4).prop_map(Act::Batch),
    ];
    vec(act, 20..90)
}

fn step(name: &str) -> PlannedStep {
    let hook = name.contains("hooks/");
    PlannedStep {
        name: name.to_owned(),
        kind: if hook { "hook" } else { name }.to_owned(),
        policy: StepPolicy {
            retry: RetryPolicy { max_attempts: 3, initial_ms: 7_200_000, cap_ms: 7_200_000 },
            deadline_ms: 60_000,
        },
        params: Value::Null,
        restorable: name == "activate",
        only_after_failure: name == "restore",
        slot: hook.then(|| SlotDemand { pool: POOL.to_owned(), wait_ms: 60_000 }),
        on_interrupt: if name == "post_hooks/1" { OnInterrupt::Fail } else { OnInterrupt::Rerun },
        failure_warns: name == "post_hooks/1",
        lane: None,
    }
}

fn spec() -> RunSpec {
    let steps = ["pre_hooks/1", "activate", "post_hooks/1", "restore"].map(step).into();
    let plan = Plan::new(steps, OnFailure::Restore);
    RunSpec { plan, requester: "ada".to_owned(), body: Value::Null, inherited: None }
}

/// What a worker knows of a run that it took: on both sides.
#[derive(Clone)]
struct Held {
    run: RunId,
    worker: WorkerId,
    rows: State,
    sql: State,
}

struct Both {
    db: Db,
    rows: Rows,
    workers: Vec<WorkerId>,
    runs: Vec<RunId>,
    held: Vec<Held>,
    _folder: tempfile::TempDir,
}

fn pick<T: Clone>(from: &[T], number: u8) -> Option<T> {
    (!from.is_empty()).then(|| from[usize::from(number) % from.len()].clone())
}

impl Both {
    async fn new(broken: Option<Break>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("rows.db").display());
        let db = Db::open(&url, Use::Shared(2)).await.unwrap();
        migration::migrate(db.pool()).await.unwrap();
        let mut both = Self {
            db,
            rows: Rows::new(POOL, 2, broken),
            workers: Vec::new(),
            runs: Vec::new(),
            held: Vec::new(),
            _folder: folder,
        };
        both.sql("UPDATE pool SET slot_limit = 2", []).await;
        for name in ["d0", "d1", "d2"] {
            let row = entities::deployment::ActiveModel {
                id: Set(name.to_owned()),
                project_key: Set("P".to_owned()),
                infrastructure_id: Set("i".to_owned()),
                bundle_id: Set("v1".to_owned()),
                deployed_project_key: Set(name.to_owned()),
                settings: Set("{}".to_owned()),
                version: Set(1),
                other_version: Set(0),
                last_run_no: Set(0),
                created_at: Set(0),
                created_by: Set("ada".to_owned()),
                updated_at: Set(0),
                updated_by: Set("ada".to_owned()),
            };
            entities::deployment::Entity::insert(row).exec_without_returning(both.db.pool()).await.unwrap();
        }
        both.act(&Act::Register { before: None }).await;
        both
    }

    async fn sql(&mut self, sql: &str, values: impl IntoIterator<Item = sea_orm::Value>) {
        let tx = self.db.begin().await.unwrap();
        tx.execute_raw(sql_with(&*tx, sql, values)).await.unwrap();
        tx.commit().await.unwrap();
    }

    async fn now(&self) -> i64 {
        self.db.now().await.unwrap()
    }

    async fn load(&self, run: RunId) -> (Loaded, Loaded) {
        let rows = self.rows.load(run).unwrap().unwrap();
        (rows, runs::load(self.db.pool(), run).await.unwrap().unwrap())
    }

    /// Commits on both sides; what each answered, without the time.
    async fn commit(&mut self, rows: &[&Op], sql: &[&Op]) -> Vec<Written> {
        let now = self.now().await;
        let timeless = |written: Vec<Written>| {
            let mut written: Vec<_> = written.into_iter().map(|each| Written { at: 0, ..each }).collect();
            written.sort_by_key(|each| each.run);
            written
        };
        let ours = timeless(self.rows.commit(now, rows).unwrap());
        let theirs = timeless(self.db.commit(sql).await.unwrap());
        assert_eq!(ours, theirs, "what a commit accepted: {rows:?}");
        ours
    }

    fn claim_events(state: &State, row: &run::Model, worker: WorkerId) -> Vec<NewEvent> {
        let claimed = vec![NewEvent::run(Kind::claimed(worker, row.worker_id.is_some()))];
        let cancel = row.cancel_requested_by.as_deref().filter(|_| state.cancelled_by.is_none());
        follow::edge(state, state.epoch + 1, claimed, cancel, None)
    }

    /// Events by which whoever holds the run goes on.
    fn append_events(state: &State, what: u8, cancel: bool) -> Option<Vec<NewEvent>> {
        let (step, _) = state.under_way()?;
        let attempt = state.steps[step].attempts.len() as u32;
        let event = |kind| Some(vec![NewEvent::step(step, attempt, kind)]);
        let failure = || Failure::new(Code::new("BROKEN"), "no");
        let result = match what % 10 {
            0..=3 => Ok(StepOutcome::output(json!({ "n": what }))),
            4 => Ok(StepOutcome::NotYet { check_in: Duration::ZERO }),
            5 => Err(failure().retryable(None)),
            6 => Err(if what > 128 { failure().outcome_unknown() } else { failure() }.permanent()),
            7 => return event(Kind::StepNoted { key: "k".to_owned(), value: json!(what) }),
            8 => return event(Kind::SlotGranted { pool: POOL.to_owned(), ticket: 1 }),
            _ => return Some(vec![NewEvent::run(Kind::LeaseReleased { reason: "r".to_owned(), fault: what > 128 })]),
        };
        let events = match outcome::settle(state, step, attempt, result, 0.0) {
            outcome::Settled::Events(events) => events,
            outcome::Settled::GivesUp(failure) => outcome::given_up(state, step, attempt, failure),
            outcome::Settled::Lost => return None,
        };
        Some(follow::edge(state, state.epoch, events, cancel.then_some("bob"), None))
    }

    fn apply(held: &mut Held, events: &[NewEvent]) {
        for event in events {
            let (rows, sql) = (&mut held.rows, &mut held.sql);
            rows.apply(&event.dated(rows.seq + 1, rows.epoch.max(epoch_of(rows, event)), 0)).unwrap();
            sql.apply(&event.dated(sql.seq + 1, sql.epoch.max(epoch_of(sql, event)), 0)).unwrap();
        }
    }

    async fn claim(&mut self, worker: WorkerId, run: RunId) {
        let (rows, sql) = self.load(run).await;
        if matches!(rows.state.phase, Phase::Ended { .. } | Phase::Stuck) {
            return;
        }
        let events = Self::claim_events(&rows.state, &rows.row, worker);
        let (Ok(ours), Ok(theirs)) =
            (Op::claim(run, &rows.state, worker, &events), Op::claim(run, &sql.state, worker, &events))
        else {
            return;
        };
        if !self.commit(&[&ours], &[&theirs]).await.is_empty() {
            let mut held = Held { run, worker, rows: rows.state, sql: sql.state };
            Self::apply(&mut held, &events);
            self.held.push(held);
        }
    }

    fn demand(&self, number: u8) -> Option<Demand> {
        let held = pick(&self.held, number)?;
        let (step, attempt) = held.rows.position();
        Some(Demand {
            run: held.run,
            epoch: held.rows.epoch,
            step: step?,
            attempt,
            pool: POOL.to_owned(),
            wait: Duration::from_secs(60),
        })
    }

    async fn act(&mut self, act: &Act) {
        match act {
            Act::Request(number) => {
                let deployment = format!("d{}", number % 3);
                let tx = self.db.begin().await.unwrap();
                let theirs = runs::request(&tx, &deployment, &spec()).await.unwrap();
                tx.commit().await.unwrap();
                let ours = self.rows.request(theirs.at, theirs.run.0, &deployment, &spec());
                assert_eq!(ours, theirs);
                self.runs.push(theirs.run);
            }
            Act::Register { before } => {
                let worker = WorkerId(self.workers.len() as i64 + 1);
                let before = before.and_then(|number| pick(&self.workers, number));
                let lease_us = LEASE.lease_ms as i64 * 1_000;
                self.db.register(worker, before, "w", &json!({}), lease_us).await.unwrap();
                let now = self.now().await;
                self.rows.register(now, worker, before, lease_us);
                self.workers.push(worker);
            }
            Act::Claim { worker, run } => {
                if let (Some(worker), Some(run)) = (pick(&self.workers, *worker), pick(&self.runs, *run)) {
                    self.claim(worker, run).await;
                }
            }
            Act::Append { held, what, cancel } => {
                let Some(chosen) = pick(&self.held, *held) else { return };
                let Some(events) = Self::append_events(&chosen.rows, *what, *cancel) else { return };
                let ours = Op::append(chosen.run, &chosen.rows, &events);
                let (Ok(ours), Ok(theirs)) = (ours, Op::append(chosen.run, &chosen.sql, &events)) else { return };
                if !self.commit(&[&ours], &[&theirs]).await.is_empty() {
                    let place = usize::from(*held) % self.held.len();
                    // Sometimes its writer does not hear of it, and goes on from what it knew.
                    if what % 7 != 0 {
                        Self::apply(&mut self.held[place], &events);
                    }
                }
            }
            Act::Turn { worker, enter, leave, last, extend } => {
                self.turn(*worker, enter, *leave, *last, *extend).await;
            }
            Act::Heartbeat(number) => {
                let Some(worker) = pick(&self.workers, *number) else { return };
                let now = self.now().await;
                let lease_us = LEASE.lease_ms as i64 * 1_000;
                let theirs = self.db.renew(worker, lease_us).await.unwrap();
                assert_eq!(self.rows.renew(now, worker, lease_us), theirs, "a heartbeat");
            }
            Act::Lapse(number) => self.lease_until(*number, 1).await,
            Act::Overdue(number) => {
                let until = self.now().await + HOUR_US - 3 * 60_000_000;
                self.lease_until(*number, until).await;
            }
            Act::End(number) => {
                let Some(worker) = pick(&self.workers, *number) else { return };
                let now = self.now().await;
                Store::end(&self.db, worker).await.unwrap();
                self.rows.end(now, worker);
            }
            Act::Sweep => {
                let now = self.now().await;
                let mut theirs = Store::sweep(&self.db, true, HOUR_US, HOUR_US).await.unwrap();
                theirs.ended.sort();
                assert_eq!(self.rows.sweep(now, true, HOUR_US, HOUR_US), theirs);
            }
            Act::Cancel(number) => {
                let Some(run) = pick(&self.runs, *number) else { return };
                let now = self.now().await;
                let tx = self.db.begin().await.unwrap();
                let theirs = runs::cancel(&tx, run, "bob").await.unwrap();
                tx.commit().await.unwrap();
                assert_eq!(self.rows.cancel(now, run, "bob").unwrap(), theirs);
            }
            Act::Abandon(number) => {
                let Some(run) = pick(&self.runs, *number) else { return };
                let now = self.now().await;
                let tx = self.db.begin().await.unwrap();
                let theirs = runs::abandon(&tx, run, "bob").await.unwrap();
                tx.commit().await.unwrap();
                assert_eq!(self.rows.abandon(now, run, "bob").unwrap(), theirs);
            }
            Act::Limit(limit) => {
                let now = self.now().await;
                self.sql("UPDATE pool SET slot_limit = $1", [i32::from(*limit).into()]).await;
                self.rows.set_limit(now, POOL, i64::from(*limit));
            }
            Act::Batch(claims) => self.batch(claims).await,
        }
    }

    async fn lease_until(&mut self, number: u8, until: i64) {
        let Some(worker) = pick(&self.workers, number) else { return };
        self.sql("UPDATE worker SET lease_until = $1 WHERE id = $2", [until.into(), worker.0.into()]).await;
        self.rows.workers.get_mut(&worker.0).unwrap().lease_until = until;
    }

    /// Claims of several deployments' first runs, or of others, together.
    async fn batch(&mut self, claims: &[(u8, u8)]) {
        let (mut ours, mut theirs, mut deployments) = (Vec::new(), Vec::new(), Vec::new());
        for (worker, run) in claims {
            let (Some(worker), Some(run)) = (pick(&self.workers, *worker), pick(&self.runs, *run)) else { return };
            let (rows, sql) = self.load(run).await;
            let over = matches!(rows.state.phase, Phase::Ended { .. } | Phase::Stuck);
            // What SQLite sees of one statement's other rows is its own affair.
            if over || deployments.contains(&rows.row.deployment_id) {
                continue;
            }
            let events = Self::claim_events(&rows.state, &rows.row, worker);
            ours.push(Op::claim(run, &rows.state, worker, &events).unwrap());
            theirs.push(Op::claim(run, &sql.state, worker, &events).unwrap());
            deployments.push(rows.row.deployment_id);
        }
        let (ours, theirs): (Vec<_>, Vec<_>) = (ours.iter().collect(), theirs.iter().collect());
        self.commit(&ours, &theirs).await;
    }

    async fn turn(&mut self, worker: u8, enter: &[u8], leave: Option<u8>, last: Option<u8>, extend: Option<u8>) {
        let Some(worker) = pick(&self.workers, worker) else { return };
        // A worker enters for what it took, however long ago.
        let own = |number: &u8| pick(&self.held, *number).is_some_and(|held| held.worker == worker);
        let wishes = Wishes {
            enter: enter.iter().filter(|number| own(number)).filter_map(|number| self.demand(*number)).collect(),
            leave: leave.and_then(|number| self.demand(number)).into_iter().collect(),
            last_chance: last.and_then(|number| self.demand(number)).into_iter().collect(),
            extend: extend.and_then(|number| self.demand(number)).map(|demand| (demand, FAR_US)).into_iter().collect(),
        };
        let now = self.now().await;
        let theirs = self.db.turn(POOL, worker, &LEASE, &wishes).await.unwrap();
        let ours = self.rows.turn(now, POOL, worker, &LEASE, &wishes).unwrap();
        let timeless = |holders: &[pool_holder::Model]| {
            let mut holders: Vec<_> =
                holders.iter().map(|holder| pool_holder::Model { granted_at: 0, ..holder.clone() }).collect();
            holders.sort_by_key(|holder| holder.ticket);
            holders
        };
        assert_eq!(timeless(&ours.holders), timeless(&theirs.holders), "holders after {wishes:?}");
        assert_eq!(ours.new, theirs.new, "grants after {wishes:?}");
        assert_eq!((ours.timed_out, ours.overdue), (theirs.timed_out, theirs.overdue));
    }

    /// All that can be read is the same.
    async fn compare(&self) {
        let now = self.now().await;
        let look = self.db.look(Place::default(), 100).await.unwrap();
        let due = look.runs.into_iter().map(|(run, _)| run).chain(look.orphans).collect();
        assert_eq!(sorted(self.rows.due(now, 100)), sorted(due));
        for run in &self.runs {
            let (rows, sql) = self.load(*run).await;
            assert_eq!(bare(rows.row), bare(sql.row));
            let told =
                |state: &State| (state.seq, state.epoch, state.status(), state.position(), state.cancelled_by.clone());
            assert_eq!(told(&rows.state), told(&sql.state));
        }
        let theirs = self.db.came_back(&self.workers).await.unwrap();
        assert_eq!(sorted(self.rows.came_back(&self.workers)), sorted(theirs));
        for worker in &self.workers {
            assert_eq!(sorted(self.rows.held_by(*worker)), sorted(self.db.held_by(*worker).await.unwrap()));
            assert_eq!(sorted(self.rows.cancels(*worker)), sorted(self.db.cancels(*worker).await.unwrap()));
        }
        for deployment in ["d0", "d1", "d2"] {
            let theirs = self.db.next_of_deployment(deployment).await.unwrap();
            assert_eq!(self.rows.next_of_deployment(deployment), theirs);
        }
        for number in 0..self.held.len().min(255) {
            if let Some(demand) = self.demand(number as u8) {
                assert_eq!(self.rows.holds(now, &demand), self.db.holds(&demand).await.unwrap(), "{demand:?}");
            }
        }
        let mut theirs = pool_waiter::Entity::find().all(self.db.pool()).await.unwrap();
        theirs.sort_by_key(|waiter| waiter.ticket);
        let mut ours: Vec<_> = self.rows.waiters.values().cloned().collect();
        ours.sort_by_key(|waiter| waiter.ticket);
        // Of a deadline only whether it was put far off.
        let timeless = |waiter: pool_waiter::Model| {
            let far = i64::from(waiter.deadline > now + FAR_US / 2);
            pool_waiter::Model { since: 0, deadline: far, ..waiter }
        };
        let (ours, theirs): (Vec<_>, Vec<_>) =
            (ours.into_iter().map(timeless).collect(), theirs.into_iter().map(timeless).collect());
        assert_eq!(ours, theirs, "the line");
        let pool = entities::pool::Entity::find_by_id(POOL).one(self.db.pool()).await.unwrap().unwrap();
        let row = &self.rows.pools[POOL];
        assert_eq!((row.next_ticket, row.grants, row.timeouts), (pool.next_ticket, pool.grants, pool.timeouts));
    }
}

fn epoch_of(state: &State, event: &NewEvent) -> i64 {
    state.epoch + i64::from(matches!(event.kind, Kind::Claimed { .. }))
}

fn sorted<T: Ord>(mut list: Vec<T>) -> Vec<T> {
    list.sort();
    list
}

/// Without times, but with whether there is one.
fn bare(row: run::Model) -> run::Model {
    let some = |at: Option<i64>| at.map(|_| 0);
    run::Model {
        wake_at: some(row.wake_at),
        started_at: some(row.started_at),
        ended_at: some(row.ended_at),
        cancel_requested_at: some(row.cancel_requested_at),
        ..row
    }
}

/// Panics when they differ.
fn compare(acts: &[Act], broken: Option<Break>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut both = Both::new(broken).await;
        for (number, act) in acts.iter().enumerate() {
            both.act(act).await;
            if number % 6 == 5 {
                both.compare().await;
            }
        }
        both.compare().await;
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn memory_and_database_agree(acts in acts()) {
        compare(&acts, None);
    }
}

#[test]
fn a_missing_check_is_seen() {
    for broken in Break::ALL {
        let config =
            ProptestConfig { cases: 200, failure_persistence: None, max_shrink_iters: 0, ..ProptestConfig::default() };
        let seen = TestRunner::new(config).run(&acts(), |acts| {
            compare(&acts, Some(broken));
            Ok(())
        });
        assert!(matches!(seen, Err(TestError::Fail(..))), "nobody misses the check of {broken}: {seen:?}");
    }
}
