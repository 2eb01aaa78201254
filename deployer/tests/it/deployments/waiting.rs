//! What an update waits for, live and afterwards; who may not be named is counted.

use deployer::{
    hooks::{self, HookInput, Phase},
    infrastructures,
    updates::{self, StepStatus, WaitKind},
};
use engine::journal::{Kind, NewEvent, Status};

use crate::deployments::support::{RIGHTS, World, bundle, new_deployment, permission, world};

async fn one_hook(world: &World) {
    let version = infrastructures::get(&world.deployer, &world.root, "PROD").await.unwrap().unwrap().version;
    let hook = HookInput {
        name: "secret name".to_owned(),
        code: "def execute(**kwargs):\n    return None\n".to_owned(),
        code_env: None,
        os_user: None,
        deadline_ms: None,
        enabled: None,
        on_interrupt: None,
    };
    hooks::set_hooks(&world.deployer, &world.root, "PROD", Phase::Pre, vec![hook], version).await.unwrap();
}

#[tokio::test]
async fn for_its_turn_and_for_a_worker() {
    let world = world().await;
    let (deployer, root) = (&world.deployer, &world.root);
    world.deployment("d", "CHURN").await;
    let mut runs = Vec::new();
    for _ in 0..3 {
        runs.push(updates::start(deployer, root, "d", None).await.unwrap().update.id);
    }
    let found = updates::by_ids(deployer, root, &runs).await.unwrap();
    let waits = |at: usize| found[&runs[at]].waiting_on.clone().unwrap();
    assert_eq!((waits(0).kind, waits(0).position), (WaitKind::Worker, None));
    for at in [1, 2] {
        assert_eq!((waits(at).kind, waits(at).position), (WaitKind::EarlierUpdate, Some(at as u32)));
        assert_eq!(waits(at).holders.visible, [(runs[0], "d".to_owned())]);
    }
    let worker = world.worker().await;
    worker.claim(runs[0]).await;
    assert_eq!(updates::get(deployer, root, runs[0]).await.unwrap().unwrap().waiting_on, None);
    // What may go on later says when.
    worker.succeed(runs[0], 0, 0, serde_json::Value::Null).await;
    worker.write(runs[0], &[NewEvent::step(1, 1, Kind::StepStarted)], false).await;
    worker.write(runs[0], &[NewEvent::step(1, 1, Kind::StepYielded { check_in_us: 5_000_000 })], false).await;
    let shown = updates::get(deployer, root, runs[0]).await.unwrap().unwrap();
    let waits = shown.waiting_on.unwrap();
    assert_eq!(
        (shown.status, waits.kind, shown.steps[1].status),
        (Status::Waiting, WaitKind::Node, StepStatus::Waiting)
    );
    assert!(waits.deadline > waits.since);
}

#[tokio::test]
async fn for_a_slot() {
    let world = world().await;
    let (deployer, root) = (&world.deployer, &world.root);
    one_hook(&world).await;
    world.deployment("d", "CHURN").await;
    // Of a project that readers of CHURN may not see.
    world.upload(root, None, &bundle("HIDDEN", "v1")).await.unwrap();
    let hidden = deployer::deployments::NewDeployment { project_key: "HIDDEN".to_owned(), ..new_deployment("h", "H") };
    deployer::deployments::create(deployer, root, hidden).await.unwrap();
    let holder = updates::start(deployer, root, "h", None).await.unwrap().update.id;
    let run = updates::start(deployer, root, "d", None).await.unwrap().update.id;
    let worker = world.worker().await;
    for run in [holder, run] {
        worker.claim(run).await;
        worker.succeed(run, 0, 0, serde_json::Value::Null).await;
        worker.write(run, &[NewEvent::step(1, 1, Kind::StepStarted)], false).await;
    }
    let granted = Kind::SlotGranted { pool: "hooks".to_owned(), ticket: 1 };
    worker.write(holder, &[NewEvent::step(1, 1, granted)], false).await;
    let waiting = Kind::SlotWaiting { pool: "hooks".to_owned(), wait_ms: 10_000, holders: vec![holder] };
    worker.write(run, &[NewEvent::step(1, 1, waiting)], false).await;

    let reader = world.somebody("view", "read").await;
    let seen = async |viewer| updates::get(deployer, viewer, run).await.unwrap().unwrap();
    // As the journal has it, before the tables have.
    let waits = seen(root).await.waiting_on.unwrap();
    assert_eq!((waits.kind, waits.pool.as_deref(), waits.position), (WaitKind::Slot, Some("hooks"), None));
    assert_eq!(waits.deadline.unwrap() - waits.since.unwrap(), 10_000_000);
    world
        .sql(&format!(
            "INSERT INTO pool_holder (run_id, step, attempt, pool, ticket, epoch, worker_id, granted_at) VALUES ({holder}, 1, 1, 'hooks', 1, 1, 1, 1)"
        ))
        .await;
    for (run, ticket) in [(99, 3), (run.0, 5)] {
        world
            .sql(&format!(
                "INSERT INTO pool_waiter (run_id, step, attempt, pool, ticket, epoch, worker_id, since, deadline) \
                 VALUES ({run}, 1, 1, 'hooks', {ticket}, 1, 1, 100, 200)"
            ))
            .await;
    }
    let waits = seen(root).await.waiting_on.unwrap();
    assert_eq!((waits.position, waits.since, waits.deadline), (Some(2), Some(100), Some(200)));
    assert_eq!((waits.holders.visible.as_slice(), waits.holders.hidden), ([(holder, "h".to_owned())].as_slice(), 0));
    let waits = seen(&reader).await.waiting_on.unwrap();
    assert_eq!((waits.holders.visible.len(), waits.holders.hidden), (0, 1));
    // A holder whose worker has ended holds nothing, nor does one whose run moved on.
    world.sql("UPDATE worker SET ended_at = 1").await;
    assert_eq!(seen(root).await.waiting_on.unwrap().holders, updates::Holders::default());
    world.sql("UPDATE worker SET ended_at = NULL").await;
    worker.succeed(holder, 1, 1, serde_json::Value::Null).await;
    assert_eq!(seen(root).await.waiting_on.unwrap().holders.visible, []);

    let timed_out = Kind::SlotTimedOut { pool: "hooks".to_owned(), waited_ms: 10_000, holders: vec![holder] };
    worker.write(run, &[NewEvent::step(1, 1, timed_out)], false).await;
    let after = seen(&reader).await;
    assert_eq!(after.waiting_on, None);
    let slot = after.steps[1].attempts[0].slot.clone().unwrap();
    assert_eq!((slot.timed_out_at.is_some(), slot.holders.hidden, slot.holders.visible.len()), (true, 1, 0));
    assert_eq!(after.steps[1].hook_name, None);
    assert!(!format!("{after:?}").contains("secret name"));
    let admin = world.somebody("admin", "read").await;
    assert_eq!(seen(&admin).await.steps[1].hook_name.as_deref(), Some("secret name"));
    let events = updates::events(deployer, &reader, run, 0, 100).await.unwrap().unwrap();
    let told = events.iter().find(|event| event.kind == "SlotTimedOut").unwrap();
    assert_eq!(told.holders.as_ref().unwrap().hidden, 1);
    // Once the other project may be read, the same record names it.
    world
        .set_permissions("HIDDEN", RIGHTS[1..2].iter().map(|right| permission(&format!("of-{right}"), right)).collect())
        .await;
    let slot = seen(&reader).await.steps[1].attempts[0].slot.clone().unwrap();
    assert_eq!(slot.holders.visible, [(holder, "h".to_owned())]);
}
