//! One run at a time per deployment, in order of request, whoever races.

mod cancels;

use std::time::Duration;

use engine::{
    bell::Bell,
    db::{Db, sql_with},
    ids::{self, RunId, WorkerId},
    journal::{Event, Kind, NewEvent, Status, follow},
    leases,
    plan::{OnFailure, Plan, PlannedStep, StepPolicy},
    retry::RetryPolicy,
    runs::{self, Answer, Op, Writer},
    spec::RunSpec,
};
use entities::{deployment, worker};
use futures_util::future::join_all;
use sandbox::BundleSpec;
use sea_orm::{ActiveValue::Set, ConnectionTrait, EntityTrait};
use serde_json::json;
use tests::{Base, Fleet, PATIENCE, Size, Store, history, practice, until_true};

/// The numbers of a deployment's runs that others can see.
async fn numbers(db: &Db, deployment: &str) -> Vec<i64> {
    let sql = "SELECT run_no FROM run WHERE deployment_id = $1 ORDER BY run_no";
    let rows = db.pool().query_all_raw(sql_with(db.pool(), sql, [deployment.into()])).await.unwrap();
    rows.iter().map(|row| row.try_get("", "run_no").unwrap()).collect()
}

/// When a run was taken for the first time, and when it ended.
fn span(journal: &[Event]) -> (i64, i64) {
    let taken = journal.iter().find(|event| matches!(event.kind, Kind::Claimed { .. })).expect("a claim");
    let ended = journal.iter().find(|event| matches!(event.kind, Kind::Finished { .. })).expect("an end");
    (taken.at, ended.at)
}

async fn racing(size: Size) {
    let fleet = Fleet::of(size).start().await;
    let node = practice::node().await;
    let client = &fleet.client;
    client.infrastructure("test", &node, json!({})).await;
    client.bundle(&BundleSpec::new("CHURN", "v1")).await;
    client.deployment("churn", "test", ("CHURN", "v1"), "CHURN_TEST", json!({})).await;
    let first: RunId = client.run("churn", "SUCCEEDED").await["id"].as_str().unwrap().parse().unwrap();

    // A request that holds its transaction open.
    let db = fleet.db().await;
    let spec = history::load(&db, first).await.state.spec;
    let tx = db.begin().await.unwrap();
    tx.lock("deployment", "id = $1", "churn").await.unwrap();
    let late = runs::request(&tx, "churn", &spec).await.unwrap();

    // Others that come meanwhile wait for it; nobody sees it, or runs anything.
    let others: Vec<_> = (0..3)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.start("churn").await })
        })
        .collect();
    if size == Size::Fleet {
        until_true("requests that wait for the deployment", PATIENCE, || async {
            let sql = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
            !db.pool().query_all_raw(sql_with(db.pool(), sql, [])).await.unwrap().is_empty()
        })
        .await;
    }
    // The API answers others the while.
    assert_eq!(client.update(&first.to_string()).await["status"], "SUCCEEDED");
    assert_eq!(numbers(&db, "churn").await, [1]);
    assert!(others.iter().all(|other| !other.is_finished()), "a request got past one that was under way");
    // Whoever asked dies right after the commit: nobody is told, the sweep finds it.
    tx.commit().await.unwrap();

    let others: Vec<RunId> = join_all(others).await.into_iter().map(|other| other.unwrap().parse().unwrap()).collect();
    let mut ended = Vec::new();
    for run in [first, late.run].into_iter().chain(others) {
        let loaded = history::until_over(&db, run, PATIENCE).await;
        assert_eq!(loaded.state.status(), Status::Succeeded, "{:?}", loaded.state.stopped);
        ended.push((loaded.row.run_no, loaded.row.requested_at, span(&history::journal(&db, run).await), run));
    }
    ended.sort_unstable();
    assert_eq!(ended.iter().map(|(number, ..)| *number).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert_eq!(ended[1].3, late.run, "the one that held the deployment comes before those that waited");
    for pair in ended.windows(2) {
        let [(_, requested, (_, end), _), (_, next_requested, (begin, _), _)] = pair else { continue };
        assert!(requested < next_requested, "in order of request");
        assert!(end <= begin, "one at a time: {end} {begin}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_commit_keeps_its_place_in_a_fleet() {
    racing(Size::Fleet).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_commit_keeps_its_place_in_one_process() {
    racing(Size::Embedded).await;
}

/// A deployment's runs, without anything that drives them.
async fn bare(store: Store, runs: usize) -> (Base, Vec<RunId>) {
    let base = Base::new(store).await;
    let tx = base.db.begin().await.unwrap();
    let row = deployment::ActiveModel {
        id: Set("churn".to_owned()),
        project_key: Set("CHURN".to_owned()),
        infrastructure_id: Set("test".to_owned()),
        bundle_id: Set("v1".to_owned()),
        deployed_project_key: Set("CHURN".to_owned()),
        settings: Set("{}".to_owned()),
        version: Set(1),
        other_version: Set(0),
        last_run_no: Set(0),
        created_at: Set(1),
        created_by: Set("ada".to_owned()),
        updated_at: Set(1),
        updated_by: Set("ada".to_owned()),
    };
    deployment::Entity::insert(row).exec_without_returning(&*tx).await.unwrap();
    tx.commit().await.unwrap();
    let step = PlannedStep {
        name: "verify".to_owned(),
        kind: "verify".to_owned(),
        policy: StepPolicy { retry: RetryPolicy::NEVER, deadline_ms: 1_000 },
        params: json!(null),
        restorable: false,
        only_after_failure: false,
        slot: None,
        on_interrupt: Default::default(),
        failure_warns: false,
        lane: None,
    };
    let plan = Plan::new(vec![step], OnFailure::Leave);
    let spec = RunSpec { plan, requester: "ada".to_owned(), body: json!({}), inherited: None };
    let mut ids = Vec::new();
    for _ in 0..runs {
        let tx = base.db.begin().await.unwrap();
        tx.lock("deployment", "id = $1", "churn").await.unwrap();
        ids.push(runs::request(&tx, "churn", &spec).await.unwrap().run);
        tx.commit().await.unwrap();
    }
    (base, ids)
}

/// A process that writes.
struct Process {
    worker: WorkerId,
    writer: Writer,
    db: Db,
}

impl Process {
    async fn new(base: &Base) -> Self {
        let db = base.open().await;
        let now = db.now().await.unwrap();
        let worker = WorkerId(ids::fresh());
        let row = worker::ActiveModel {
            id: Set(worker.0),
            name: Set("bare".to_owned()),
            started_at: Set(now),
            lease_until: Set(now + 3_600_000_000),
            ended_at: Set(None),
            draining_since: Set(None),
            facts: Set("{}".to_owned()),
            came_back_at: Set(None),
        };
        let tx = db.begin().await.unwrap();
        worker::Entity::insert(row).exec_without_returning(&*tx).await.unwrap();
        tx.commit().await.unwrap();
        Self { worker, writer: Writer::start(&db, Bell::embedded()).await.unwrap(), db }
    }

    async fn claim(&self, run: RunId) -> Answer {
        let loaded = history::load(&self.db, run).await;
        let lapsed = loaded.row.worker_id.is_some();
        let claimed = vec![NewEvent::run(Kind::claimed(self.worker, lapsed))];
        let events = follow::edge(&loaded.state, loaded.state.epoch + 1, claimed, None, None);
        match Op::claim(run, &loaded.state, self.worker, &events) {
            Ok(op) => self.writer.write(op).await,
            // Whoever was faster ended it.
            Err(_) => Answer::Refused,
        }
    }

    /// The one step is done, and with it the run.
    fn done(&self, run: RunId, state: &engine::journal::State) -> Op {
        let done = NewEvent::step(0, 1, Kind::StepSucceeded { output: json!(1), warnings: Vec::new() });
        let events = follow::edge(state, state.epoch, vec![done], None, None);
        Op::append(run, state, &events).unwrap()
    }

    async fn lapse(&self) {
        let tx = self.db.begin().await.unwrap();
        tx.execute_raw(sql_with(&*tx, "UPDATE worker SET lease_until = 1 WHERE id = $1", [self.worker.0.into()]))
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }
}

fn accepted(answers: &[Answer]) -> Vec<usize> {
    let accepted = |(index, answer): (usize, &Answer)| matches!(answer, Answer::Accepted { .. }).then_some(index);
    answers.iter().enumerate().filter_map(accepted).collect()
}

async fn claims(store: Store) {
    let (base, runs) = bare(store, 3).await;
    let mut processes = Vec::new();
    for _ in 0..6 {
        processes.push(Process::new(&base).await);
    }
    for (number, run) in runs.iter().enumerate() {
        // All want all of them at once; the first in line is had by one.
        let wanted = processes.iter().flat_map(|process| runs[number..].iter().map(|run| process.claim(*run)));
        let answers = join_all(wanted).await;
        let won = accepted(&answers);
        assert_eq!(won.len(), 1, "one claim is accepted: {answers:?}");
        let left = runs.len() - number;
        assert_eq!(won[0] % left, 0, "only the first in line is to be had");
        let winner = &processes[won[0] / left];
        let state = history::load(&base.db, *run).await.state;
        let finished = winner.writer.write(winner.done(*run, &state)).await;
        assert!(matches!(finished, Answer::Accepted { .. }));
        // What it writes twice is refused, not repeated.
        assert_eq!(winner.writer.write(winner.done(*run, &state)).await, Answer::Refused);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_claims_wins_on_sqlite() {
    claims(Store::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_claims_wins_on_postgres() {
    claims(Store::Postgres).await;
}

async fn fences(store: Store) {
    let (base, runs) = bare(store, 1).await;
    let run = runs[0];
    let (old, new) = (Process::new(&base).await, Process::new(&base).await);
    assert!(matches!(old.claim(run).await, Answer::Accepted { epoch: 1, .. }));
    let stale = history::load(&base.db, run).await.state;
    assert_eq!(new.claim(run).await, Answer::Refused, "a living worker holds it");
    // A lapse is an act: as long as nobody ended the worker, it still holds, and still may write.
    old.lapse().await;
    assert_eq!(new.claim(run).await, Answer::Refused);
    let noted = NewEvent::step(0, 1, Kind::StepNoted { key: "seen".to_owned(), value: json!(1) });
    let op = Op::append(run, &stale, &[noted]).unwrap();
    assert!(matches!(old.writer.write(op).await, Answer::Accepted { .. }));
    let stale = history::load(&base.db, run).await.state;
    let tx = base.db.begin().await.unwrap();
    assert_eq!(leases::end_lapsed(&tx).await.unwrap(), [old.worker]);
    tx.commit().await.unwrap();
    // An ended worker never writes again, claimed by another or not.
    assert_eq!(old.writer.write(old.done(run, &stale)).await, Answer::Refused);
    assert!(matches!(new.claim(run).await, Answer::Accepted { epoch: 2, .. }));
    assert_eq!(old.writer.write(old.done(run, &stale)).await, Answer::Refused);
    assert_eq!(old.claim(run).await, Answer::Refused);
    let state = history::load(&base.db, run).await.state;
    assert_eq!(state.under_way().map(|(_, attempt)| attempt.lapses()), Some(1));
    assert!(matches!(new.writer.write(new.done(run, &state)).await, Answer::Accepted { epoch: 2, .. }));
    assert_eq!(history::load(&base.db, run).await.state.status(), Status::Succeeded);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_writer_is_refused_on_sqlite() {
    fences(Store::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_writer_is_refused_on_postgres() {
    fences(Store::Postgres).await;
}

/// Many writes of many runs at once: each is answered for itself, and no journal has a gap.
#[tokio::test(flavor = "multi_thread")]
async fn writes_that_are_committed_together_are_answered_apart() {
    for store in [Store::Sqlite, Store::Postgres] {
        let (base, runs) = bare(store, 1).await;
        let process = Process::new(&base).await;
        assert!(matches!(process.claim(runs[0]).await, Answer::Accepted { .. }));
        let state = history::load(&base.db, runs[0]).await.state;
        let note = |number: i32| {
            let kind = Kind::StepNoted { key: format!("note-{number}"), value: json!(number) };
            Op::append(runs[0], &state, &[NewEvent::step(0, 1, kind)]).unwrap()
        };
        // Twenty that build on the same state: one wins.
        let answers = join_all((0..20).map(|number| process.writer.write(note(number)))).await;
        assert_eq!(accepted(&answers).len(), 1, "{answers:?}");
        let journal = history::journal(&base.db, runs[0]).await;
        assert_eq!(journal.iter().map(|event| event.seq).collect::<Vec<_>>(), [1, 2, 3, 4]);
        let end = tokio::time::timeout(Duration::from_secs(10), process.writer.write(note(21))).await;
        assert_eq!(end.unwrap(), Answer::Refused);
    }
}
