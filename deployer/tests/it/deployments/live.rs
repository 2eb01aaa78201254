//! What is live: health, drift, restoring, disabling, deleting; with a practice node, and a worker that writes what it is told.

use std::time::Duration;

use deployer::{
    deployments::{self, Change, Deletion, NewDeployment, OnNode, SettingsChange, removal},
    drift::{self, DriftSettings},
    error::Error,
    infrastructures::{self, InfrastructurePatch},
    status::{self, Health, Heavy},
    testing,
    updates::{self, UpdateType},
};
use engine::{
    failure::{Code, Failure},
    ids::RunId,
    journal::{Kind, NewEvent, Status, Then},
    runs,
};
use sandbox::{Node, RunningNode};
use serde_json::{Value, json};
use targets::spec::DeploySpec;

use crate::deployments::support::{Worker, World, bundle, code, new_deployment, viewer, world, world_at};

/// A node with an empty project `CHURN`, on which nothing is active; and a deployment `d` of it.
async fn scene() -> (World, RunningNode, Worker) {
    let node = Node::builder().admin_key("node-key").user("root", &["administrators"], true).build();
    let node = node.start("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let world = world_at(&node.url()).await;
    world.deployment("d", "CHURN").await;
    let worker = world.worker().await;
    (world, node, worker)
}

/// An update that succeeds, with a receipt of what is really there: an active bundle is not.
async fn succeed(world: &World, worker: &Worker) -> RunId {
    let run = updates::start(&world.deployer, &world.root, "d", None).await.unwrap().update.id;
    finish(world, worker, run, json!({ "project_key": "CHURN", "bundle": null, "connections": [], "scenarios": [], "webapps": [], "differences": [] })).await;
    run
}

async fn finish(world: &World, worker: &Worker, run: RunId, output: Value) {
    let steps = runs::load(world.deployer.db.pool(), run).await.unwrap().unwrap().state.steps.len();
    worker.claim(run).await;
    worker.succeed(run, 0, steps - 2, Value::Null).await;
    worker.write(run, &[NewEvent::step(steps - 1, 1, Kind::StepStarted)], false).await;
    let done = Kind::StepSucceeded { output, warnings: Vec::new() };
    let end = Kind::Finished { status: Status::Succeeded, failure: None };
    worker.write(run, &[NewEvent::step(steps - 1, 1, done), NewEvent::run(end)], false).await;
}

/// An update that fails for good in this step.
async fn fail(worker: &Worker, run: RunId, step: usize) {
    worker.claim(run).await;
    if step > 0 {
        worker.succeed(run, 0, step - 1, Value::Null).await;
        worker.write(run, &[NewEvent::step(step, 1, Kind::StepStarted)], false).await;
    }
    let failure = Failure::new(Code::new("NODE_ERROR"), "The node failed.").detail("500 from /x");
    let failed = Kind::StepFailed { failure: failure.clone(), then: Then::Stop };
    let end = Kind::Finished { status: Status::Failed, failure: Some(failure) };
    worker.write(run, &[NewEvent::step(step, 1, failed), NewEvent::run(end)], false).await;
}

async fn set(world: &World, change: Change) {
    let version = deployments::get(&world.deployer, &world.root, "d").await.unwrap().unwrap().version;
    let change = Change { expected_version: version, ..change };
    deployments::update_settings(&world.deployer, &world.root, "d", change).await.unwrap();
}

async fn health(world: &World) -> Heavy {
    let viewer = viewer("watcher", &["on-view", "of-read"]);
    status::heavy(&world.deployer, &viewer, "d").await.unwrap()
}

fn codes(heavy: &Heavy) -> (Health, Vec<&str>) {
    (heavy.health, heavy.messages.iter().map(|message| message.code.as_str()).collect())
}

#[tokio::test]
async fn health_by_what_updates_did() {
    let (world, node, worker) = scene().await;
    assert_eq!(codes(&health(&world).await), (Health::Unknown, vec!["NEVER_DEPLOYED"]));
    assert!(node.calls().is_empty(), "nothing to ask it");
    let light = status::light(&world.deployer, &world.root, "d").await.unwrap();
    assert!(light.never_ever_deployed);
    assert_eq!(light.packages.len(), 1);

    // A cancel that changed nothing says nothing; a failure does, with its details for administrators alone.
    let run = updates::start(&world.deployer, &world.root, "d", None).await.unwrap().update.id;
    assert_eq!(codes(&health(&world).await), (Health::Unknown, vec!["UPDATE_UNFINISHED", "NEVER_DEPLOYED"]));
    updates::cancel(&world.deployer, &world.root, run).await.unwrap();
    assert_eq!(codes(&health(&world).await).0, Health::Unknown);
    let run = updates::start(&world.deployer, &world.root, "d", None).await.unwrap().update.id;
    fail(&worker, run, 1).await;
    let failed = health(&world).await;
    assert_eq!(codes(&failed), (Health::Error, vec!["NODE_ERROR"]));
    assert_eq!(failed.messages[0].details, None);
    let admin = status::heavy(&world.deployer, &world.root, "d").await.unwrap();
    assert_eq!(admin.messages[0].details.as_deref(), Some("500 from /x"));

    // The project that the update left is not on the node.
    succeed(&world, &worker).await;
    assert_eq!(codes(&health(&world).await), (Health::Error, vec!["PROJECT_MISSING"]));
    assert!(!status::light(&world.deployer, &world.root, "d").await.unwrap().never_ever_deployed);
    // Many questions, one look.
    node.clear_calls();
    for _ in 0..5 {
        health(&world).await;
    }
    assert!(node.calls().is_empty(), "{:?}", node.calls());
}

#[tokio::test]
async fn changed_settings_are_named_and_a_missing_key_is_told() {
    let (world, _node, worker) = scene().await;
    succeed(&world, &worker).await;
    world.upload(&world.root, Some("CHURN"), &bundle("CHURN", "v2")).await.unwrap();
    let switches = SettingsChange { scenarios: Some([("DAILY".to_owned(), true)].into()), ..Default::default() };
    set(&world, Change { bundle_id: Some("v2".to_owned()), settings: switches, ..Default::default() }).await;
    let changed = health(&world).await;
    let message = changed.messages.iter().find(|message| message.code == "SETTINGS_CHANGED").unwrap();
    assert!(message.message.contains("the bundle, the switch of scenario DAILY"), "{message:?}");
    assert!(message.details.as_ref().unwrap().contains("\"v1\" → \"v2\""), "{message:?}");
    // Tags say nothing of the node.
    set(
        &world,
        Change {
            bundle_id: Some("v1".to_owned()),
            settings: SettingsChange {
                scenarios: Some([].into()),
                tags: Some(vec!["churn".to_owned()]),
                ..Default::default()
            },
            ..Default::default()
        },
    )
    .await;
    assert!(health(&world).await.messages.iter().all(|message| message.code != "SETTINGS_CHANGED"));

    let version = infrastructures::get(&world.deployer, &world.root, "PROD").await.unwrap().unwrap().version;
    let patch = InfrastructurePatch { admin_key: Some(None), ..Default::default() };
    infrastructures::update(&world.deployer, &world.root, "PROD", version, patch).await.unwrap();
    assert_eq!(codes(&health(&world).await), (Health::Error, vec!["ADMIN_KEY_MISSING"]));
}

#[tokio::test]
async fn a_node_that_is_down_is_bad_health() {
    let world = world().await;
    world.deployment("d", "CHURN").await;
    let worker = world.worker().await;
    succeed(&world, &worker).await;
    let down = health(&world).await;
    assert_eq!(codes(&down), (Health::Error, vec!["NODE_UNREACHABLE"]));
    let found = drift::check(&world.deployer, &world.root, "d").await.unwrap();
    assert_eq!((found.failure.unwrap().code.as_str(), found.differences.len()), ("NODE_UNREACHABLE", 0));
}

#[tokio::test]
async fn who_may_not_see_it_learns_nothing() {
    let world = world().await;
    world.deployment("d", "CHURN").await;
    let hidden = world.somebody("view", "none").await;
    let deployer = &world.deployer;
    for id in ["d", "absent"] {
        assert_eq!(code(&status::heavy(deployer, &hidden, id).await), "NOT_FOUND");
        assert_eq!(code(&status::light(deployer, &hidden, id).await), "NOT_FOUND");
        assert_eq!(code(&drift::check(deployer, &hidden, id).await), "NOT_FOUND");
        assert_eq!(code(&testing::status(deployer, &hidden, id, None, None).await), "NOT_FOUND");
        assert_eq!(code(&testing::run(deployer, &hidden, id, None).await), "NOT_FOUND");
        assert_eq!(code(&updates::restore(deployer, &hidden, id, None, None).await), "NOT_FOUND");
        assert_eq!(code(&updates::disable(deployer, &hidden, id, None).await), "NOT_FOUND");
        assert_eq!(code(&deployments::delete_with(deployer, &hidden, id, OnNode::SwitchOff, None).await), "NOT_FOUND");
    }
    let reader = world.somebody("view", "read").await;
    assert_eq!(code(&status::heavy(deployer, &reader, "d").await), "OK");
    assert_eq!(code(&drift::check(deployer, &reader, "d").await), "NOT_DEPLOYED");
    assert_eq!(code(&testing::run(deployer, &reader, "d", None).await), "FORBIDDEN");
    assert_eq!(code(&updates::restore(deployer, &reader, "d", None, None).await), "FORBIDDEN");
    assert_eq!(code(&updates::enable(deployer, &reader, "d", None).await), "FORBIDDEN");
    assert_eq!(code(&deployments::delete_with(deployer, &reader, "d", OnNode::DeleteProject, None).await), "FORBIDDEN");
}

#[tokio::test]
async fn a_sweep_compares_each_deployment_once_a_period() {
    let world = world().await;
    world.deployment("d", "CHURN").await;
    world.deployment("e", "E").await;
    let worker = world.worker().await;
    let deployer = &world.deployer;
    let every = DriftSettings { every_minutes: 60 };
    let again = async || world.sql("UPDATE chore SET at = 0 WHERE name = 'drift'").await;
    assert_eq!(drift::sweep(deployer, every).await.unwrap(), drift::Swept::default());
    succeed(&world, &worker).await;
    assert_eq!(drift::sweep(deployer, every).await.unwrap().failed, 0, "not this process's turn");
    again().await;
    assert_eq!(drift::sweep(deployer, DriftSettings { every_minutes: 0 }).await.unwrap(), drift::Swept::default());
    assert_eq!(drift::sweep(deployer, every).await.unwrap().failed, 1);
    again().await;
    assert_eq!(drift::sweep(deployer, every).await.unwrap().failed, 0, "not due yet");
    let id = ["d".to_owned()];
    assert_eq!(drift::by_deployments(deployer, &world.root, &id).await.unwrap().len(), 1);
    // An update that runs is left alone, and one that succeeded makes old news of what was found.
    world.sql("UPDATE drift SET begun_at = 0").await;
    let run = updates::start(deployer, &world.root, "d", None).await.unwrap().update.id;
    again().await;
    assert_eq!(drift::sweep(deployer, every).await.unwrap(), drift::Swept::default());
    assert_eq!(code(&drift::check(deployer, &world.root, "d").await), "UPDATE_RUNNING");
    finish(&world, &worker, run, json!({ "project_key": "CHURN", "bundle": null, "connections": [], "scenarios": [], "webapps": [], "differences": [] })).await;
    assert_eq!(drift::by_deployments(deployer, &world.root, &id).await.unwrap().len(), 0);
}

/// What the audit holds: who, and what.
async fn acts(world: &World) -> Vec<(String, String)> {
    use sea_orm::EntityTrait as _;
    let rows = entities::audit_event::Entity::find().all(world.deployer.db.pool()).await.unwrap();
    rows.into_iter().map(|row| (row.login, row.action)).collect()
}

async fn spec_of(world: &World, run: RunId) -> (engine::spec::RunSpec, DeploySpec) {
    let state = runs::load(world.deployer.db.pool(), run).await.unwrap().unwrap().state;
    let body = serde_json::from_value(state.spec.body.clone()).unwrap();
    ((*state.spec).clone(), body)
}

#[tokio::test]
async fn a_restore_puts_back_what_was_live_before() {
    let (world, _node, worker) = scene().await;
    let (deployer, root) = (&world.deployer, &world.root);
    let restore = async |to| updates::restore(deployer, root, "d", to, None).await;
    assert_eq!(code(&restore(None).await), "RESTORE_NOT_POSSIBLE");
    let first = succeed(&world, &worker).await;
    assert_eq!(code(&restore(None).await), "RESTORE_NOT_POSSIBLE", "nothing else was live");
    world.upload(root, Some("CHURN"), &bundle("CHURN", "v2")).await.unwrap();
    let settings = SettingsChange {
        scenarios: Some([("DAILY".to_owned(), true)].into()),
        local_variables: Some(Some(json!({ "a": 1 }).as_object().unwrap().clone())),
        tags: Some(vec!["kept".to_owned()]),
        ..Default::default()
    };
    set(&world, Change { bundle_id: Some("v2".to_owned()), settings, ..Default::default() }).await;
    let second = succeed(&world, &worker).await;
    // The same again is not what was before.
    succeed(&world, &worker).await;

    let queued = updates::start(deployer, root, "d", None).await.unwrap().update.id;
    assert_eq!(code(&restore(None).await), "UPDATE_RUNNING");
    updates::cancel(deployer, root, queued).await.unwrap();
    let somebody = world.somebody("deploy", "deploy").await;
    let restored = updates::restore(deployer, &somebody, "d", None, Some("k")).await.unwrap().update;
    assert!(updates::restore(deployer, &somebody, "d", None, Some("k")).await.unwrap().repeated);
    assert_eq!((restored.kind, restored.bundle_id.as_str()), (UpdateType::Restore, "v1"));
    let (spec, body) = spec_of(&world, restored.id).await;
    let (_, wanted) = spec_of(&world, first).await;
    assert_eq!(
        (body.scenarios, body.local_variables, body.connection_remapping),
        (wanted.scenarios, wanted.local_variables, wanted.connection_remapping)
    );
    assert_eq!(spec.requester, "deploy-deploy");
    let now = deployments::get(deployer, root, "d").await.unwrap().unwrap();
    assert_eq!(
        (now.bundle_id.as_str(), now.settings.local_variables, now.settings.tags),
        ("v1", None, vec!["kept".to_owned()])
    );
    let frozen = updates::frozen(deployer, root, &[restored.id, second]).await.unwrap();
    assert_eq!((frozen[&restored.id].kind, frozen[&second].kind), (UpdateType::Restore, UpdateType::Update));

    // It failed half-way: what was live before it is the second's work. Retried, it is a restore again.
    fail(&worker, restored.id, 3).await;
    let retried = updates::retry(deployer, root, restored.id, None).await.unwrap().update;
    assert_eq!((retried.kind, retried.bundle_id.as_str()), (UpdateType::Restore, "v1"));
    updates::cancel(deployer, root, retried.id).await.unwrap();
    // Another one failed since, before it did anything: what the first one left half-done is there all the same.
    let early = updates::start(deployer, root, "d", None).await.unwrap().update.id;
    fail(&worker, early, 1).await;
    let back = restore(None).await.unwrap().update;
    assert_eq!(back.bundle_id, "v2");
    updates::cancel(deployer, root, back.id).await.unwrap();
    // By name; and what is no success of this deployment is not to be had.
    let named = restore(Some(first)).await.unwrap().update;
    assert_eq!(named.bundle_id, "v1");
    updates::cancel(deployer, root, named.id).await.unwrap();
    assert_eq!(code(&restore(Some(restored.id)).await), "RESTORE_NOT_POSSIBLE");
    let acts = acts(&world).await;
    assert!(
        acts.iter().any(|(login, action)| (login.as_str(), action.as_str()) == ("deploy-deploy", "restoreDeployment"))
    );
}

#[tokio::test]
async fn a_disabled_deployment_takes_no_update_but_one() {
    let (world, _node, worker) = scene().await;
    let (deployer, root) = (&world.deployer, &world.root);
    assert_eq!(code(&updates::enable(deployer, root, "d", None).await), "DEPLOYMENT_NOT_DISABLED");
    // Nothing on the node is its work yet: a project of its key there is left alone, and stays so.
    let early = updates::disable(deployer, root, "d", None).await.unwrap().update;
    assert_eq!(early.steps.iter().map(|step| step.kind.as_str()).collect::<Vec<_>>(), ["check_policy"]);
    worker.claim(early.id).await;
    worker.succeed(early.id, 0, 0, Value::Null).await;
    let end = Kind::Finished { status: Status::Succeeded, failure: None };
    worker.write(early.id, &[NewEvent::run(end)], false).await;
    let delete = deployments::delete_with(deployer, root, "d", OnNode::DeleteProject, None).await;
    assert_eq!(code(&delete), "NOT_DEPLOYED");
    let enabled = updates::enable(deployer, root, "d", None).await.unwrap().update.id;
    updates::cancel(deployer, root, enabled).await.unwrap();
    let first = succeed(&world, &worker).await;
    // Called off before it began: it takes no updates, and nobody calls that healthy.
    let called_off = updates::disable(deployer, root, "d", None).await.unwrap().update.id;
    updates::cancel(deployer, root, called_off).await.unwrap();
    assert_eq!(codes(&health(&world).await), (Health::Unknown, vec!["DEPLOYMENT_DISABLED"]));
    let disabling = updates::disable(deployer, root, "d", None).await.unwrap().update;
    assert_eq!(disabling.kind, UpdateType::Disable);
    let names: Vec<_> = disabling.steps.iter().map(|step| step.kind.as_str()).collect();
    assert_eq!(names, ["check_policy", "switch_off"]);
    assert_eq!(code(&updates::start(deployer, root, "d", None).await), "DEPLOYMENT_DISABLED");
    worker.claim(disabling.id).await;
    worker.succeed(disabling.id, 0, 0, Value::Null).await;
    worker.write(disabling.id, &[NewEvent::step(1, 1, Kind::StepStarted)], false).await;
    let states = json!({ "scenarios": { "DAILY": { "active": true } }, "webapps": {} });
    let note = Kind::StepNoted { key: "states".to_owned(), value: states.clone() };
    worker.write(disabling.id, &[NewEvent::step(1, 1, note)], false).await;
    let done = Kind::StepSucceeded { output: json!({}), warnings: Vec::new() };
    let end = Kind::Finished { status: Status::Succeeded, failure: None };
    worker.write(disabling.id, &[NewEvent::step(1, 1, done), NewEvent::run(end)], false).await;
    assert_eq!(codes(&health(&world).await), (Health::Unknown, vec!["DEPLOYMENT_DISABLED"]));
    assert_eq!(code(&drift::check(deployer, root, "d").await), "NOT_DEPLOYED");
    assert_eq!(code(&testing::run(deployer, root, "d", None).await), "NOT_DEPLOYED");
    assert_eq!(code(&updates::restore(deployer, root, "d", None, None).await), "DEPLOYMENT_DISABLED");
    assert!(deployments::get(deployer, root, "d").await.unwrap().unwrap().settings.disabled);

    // Twice is no harm: what was on before the first time counts.
    let again = updates::disable(deployer, root, "d", None).await.unwrap().update.id;
    finish(&world, &worker, again, json!({})).await;
    let enabling = updates::enable(deployer, root, "d", None).await.unwrap().update;
    assert_eq!(enabling.kind, UpdateType::Enable);
    let inherited = spec_of(&world, enabling.id).await.0.inherited.unwrap();
    assert_eq!((inherited.from, inherited.notes.get("states")), (disabling.id, Some(&states)));
    assert!(!deployments::get(deployer, root, "d").await.unwrap().unwrap().settings.disabled);
    assert_ne!(first, enabling.id);

    // It fails: the deployment is enabled and its project is off. Both answers say what to do, and it can be done.
    fail(&worker, enabling.id, 0).await;
    let seen = health(&world).await;
    let said = seen.messages.iter().find(|message| message.code == "DEPLOYMENT_DISABLED").unwrap();
    assert!(said.message.starts_with("It is enabled, but what it deploys is still switched off"), "{}", said.message);
    let Err(Error::Refused(all)) = updates::enable(deployer, root, "d", None).await else { panic!() };
    let refused = &all[0];
    assert!(refused.message.ends_with("retry that one, or start a new one."), "{}", refused.message);
    let retried = updates::retry(deployer, root, enabling.id, None).await.unwrap().update;
    assert_eq!(retried.kind, UpdateType::Enable);
    assert_eq!(spec_of(&world, retried.id).await.0.inherited.unwrap().notes.get("states"), Some(&states));

    // It ends in the middle of its work: what is there now, nobody can tell from here.
    let begun = runs::load(deployer.db.pool(), retried.id).await.unwrap().unwrap().state;
    let activate = begun.spec.plan.steps.iter().position(|step| step.kind.as_str() == "activate").unwrap();
    fail(&worker, retried.id, activate).await;
    let left_half = async || {
        let seen = health(&world).await;
        let said = seen.messages.iter().find(|message| message.code == "DEPLOYMENT_DISABLED").unwrap();
        assert!(said.message.contains("what is there is as the last one left it"), "{}", said.message);
    };
    left_half().await;
    // One that fails before it changes anything hides nothing of that.
    let retried = updates::retry(deployer, root, retried.id, None).await.unwrap().update;
    fail(&worker, retried.id, 0).await;
    left_half().await;
}

#[tokio::test]
async fn what_was_on_outlives_a_disable_and_an_enable_at_once() {
    let (world, _node, worker) = scene().await;
    let (deployer, root) = (&world.deployer, &world.root);
    succeed(&world, &worker).await;
    let disabling = updates::disable(deployer, root, "d", None).await.unwrap().update.id;
    // Nothing was noted yet: the request inherits nothing.
    let enabling = updates::enable(deployer, root, "d", None).await.unwrap().update.id;
    assert_eq!(spec_of(&world, enabling).await.0.inherited, None);
    let states = json!({ "scenarios": { "DAILY": { "active": true } }, "webapps": {} });
    worker.claim(disabling).await;
    worker.succeed(disabling, 0, 0, Value::Null).await;
    worker.write(disabling, &[NewEvent::step(1, 1, Kind::StepStarted)], false).await;
    let note = Kind::StepNoted { key: "states".to_owned(), value: states.clone() };
    let done = Kind::StepSucceeded { output: json!({}), warnings: Vec::new() };
    let end = Kind::Finished { status: Status::Succeeded, failure: None };
    let events = [NewEvent::step(1, 1, note), NewEvent::step(1, 1, done), NewEvent::run(end)];
    worker.write(disabling, &events, false).await;
    let inherited = async |run| {
        let row = runs::load(deployer.db.pool(), run).await.unwrap().unwrap().row;
        let until = ["verify", "restore"];
        runs::due::unfinished_notes(&deployer.db, &row, None, &["activate", "switch_off"], &until).await.unwrap()
    };
    assert_eq!(inherited(enabling).await.get("states"), Some(&states));
    // It fails before it does anything: an ordinary update inherits as much; the next one after that nothing.
    fail(&worker, enabling, 1).await;
    let update = updates::start(deployer, root, "d", None).await.unwrap().update.id;
    assert_eq!(inherited(update).await.get("states"), Some(&states));
    finish(&world, &worker, update, json!({ "project_key": "CHURN", "bundle": null, "connections": [], "scenarios": [], "webapps": [], "differences": [] })).await;
    let next = updates::start(deployer, root, "d", None).await.unwrap().update.id;
    assert!(inherited(next).await.is_empty());
}

#[tokio::test]
async fn deleting_with_a_choice() {
    let (world, _node, worker) = scene().await;
    let (deployer, root) = (&world.deployer, &world.root);
    let delete = async |on_node| deployments::delete_with(deployer, root, "d", on_node, None).await;
    for on_node in [OnNode::SwitchOff, OnNode::DeleteProject] {
        assert_eq!(code(&delete(on_node).await), "NOT_DEPLOYED", "the project there is another's");
    }
    succeed(&world, &worker).await;
    let queued = updates::start(deployer, root, "d", None).await.unwrap().update.id;
    for on_node in [OnNode::Leave, OnNode::SwitchOff, OnNode::DeleteProject] {
        assert_eq!(code(&delete(on_node).await), "UPDATE_RUNNING");
    }
    updates::cancel(deployer, root, queued).await.unwrap();
    let requested = async |on_node| match delete(on_node).await.unwrap() {
        Deletion::Requested(accepted) => accepted.update,
        Deletion::Gone => panic!("gone at once"),
    };
    let first = requested(OnNode::DeleteProject).await;
    assert_eq!((first.kind, first.steps[1].kind.as_str()), (UpdateType::Delete, "delete_project"));
    assert_eq!(code(&updates::start(deployer, root, "d", None).await), "DEPLOYMENT_DELETED");
    // It fails: the deployment stays, and can be used.
    fail(&worker, first.id, 1).await;
    assert_eq!(removal::sweep(&deployer.db).await.unwrap(), 0);
    assert_eq!(codes(&health(&world).await).0, Health::Error);
    let retried = updates::retry(deployer, root, first.id, None).await.unwrap().update;
    assert_eq!(retried.kind, UpdateType::Delete);
    assert_eq!(code(&updates::start(deployer, root, "d", None).await), "DEPLOYMENT_DELETED");
    updates::cancel(deployer, root, retried.id).await.unwrap();
    let second = requested(OnNode::SwitchOff).await;
    assert_eq!(second.steps[1].kind, "switch_off");
    finish(&world, &worker, second.id, json!({})).await;
    // Who follows it sees the end first.
    assert_eq!(removal::sweep(&deployer.db).await.unwrap(), 0);
    assert_eq!(updates::get(deployer, root, second.id).await.unwrap().unwrap().status, Status::Succeeded);
    world.sql("UPDATE run SET ended_at = ended_at - 60000000").await;
    // An API of the version before asked for another update meanwhile: it stays.
    let keep = "INSERT INTO removal (deployment_id, run_id) SELECT deployment_id, id FROM run WHERE id = ";
    world.sql("DELETE FROM removal").await;
    let meanwhile = updates::start(deployer, root, "d", None).await.unwrap().update.id;
    world.sql(&format!("{keep}{}", second.id.0)).await;
    assert_eq!(removal::sweep(&deployer.db).await.unwrap(), 0);
    updates::cancel(deployer, root, meanwhile).await.unwrap();
    assert_eq!(removal::sweep(&deployer.db).await.unwrap(), 0, "it was taken back");
    world.sql(&format!("{keep}{}", second.id.0)).await;
    assert_eq!(removal::sweep(&deployer.db).await.unwrap(), 1);
    assert!(deployments::get(deployer, root, "d").await.unwrap().is_none());
    assert!(updates::get(deployer, root, second.id).await.unwrap().is_none());
    let by_worker = acts(&world).await.into_iter().filter(|(login, _)| login == "(worker)").collect::<Vec<_>>();
    assert_eq!(by_worker, [("(worker)".to_owned(), "deleteDeployment".to_owned())]);
    // Its place is free again.
    world.deployment("d", "CHURN").await;
    assert_eq!(delete(OnNode::Leave).await.unwrap(), Deletion::Gone);
}

#[tokio::test]
async fn a_deletion_that_is_done_makes_way_for_one_that_can_be_made() {
    let (world, _node, worker) = scene().await;
    let (deployer, root) = (&world.deployer, &world.root);
    succeed(&world, &worker).await;
    let asked = deployments::delete_with(deployer, root, "d", OnNode::DeleteProject, None).await;
    let Deletion::Requested(accepted) = asked.unwrap() else { panic!("gone at once") };
    // Not before it is done.
    let anew = || new_deployment("d", "CHURN");
    assert_eq!(code(&deployments::create(deployer, root, anew()).await), "ID_NOT_AVAILABLE");
    finish(&world, &worker, accepted.update.id, json!({})).await;
    // One that can't be made takes nothing from those who follow it.
    let none = NewDeployment { bundle_id: "nope".to_owned(), ..anew() };
    assert_eq!(code(&deployments::create(deployer, root, none).await), "BUNDLE_UNKNOWN");
    assert!(updates::get(deployer, root, accepted.update.id).await.unwrap().is_some());
    // Another id that takes the same place on the node.
    deployments::create(deployer, root, new_deployment("e", "CHURN")).await.unwrap();
    assert!(deployments::get(deployer, root, "d").await.unwrap().is_none());
}

#[tokio::test]
async fn who_waits_for_a_deletion_hears_how_it_ended() {
    let (world, _node, worker) = scene().await;
    let (deployer, root) = (&world.deployer, &world.root);
    succeed(&world, &worker).await;
    let delete = async |ignoring, within| deployments::delete_wholly(deployer, root, "d", ignoring, within).await;
    let asked = async || {
        let asked = async {
            loop {
                let latest = updates::latest_of(deployer, root, &["d".to_owned()]).await.unwrap().remove("d").unwrap();
                if latest.kind == UpdateType::Delete && latest.status == Status::Queued {
                    return latest.id;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), asked).await.expect("no deletion was asked for")
    };
    let is_there = async || deployments::get(deployer, root, "d").await.unwrap().is_some();
    let hour = Duration::from_secs(3_600);

    // Nobody works on it in time: it goes on.
    assert_eq!(code(&delete(false, Duration::ZERO).await), "PRE_DELETE_UNFINISHED");
    assert_eq!(code(&updates::start(deployer, root, "d", None).await), "DEPLOYMENT_DELETED");
    fail(&worker, asked().await, 1).await;
    assert!(is_there().await);
    // It fails while somebody waits.
    let (told, ()) = tokio::join!(delete(false, hour), async { fail(&worker, asked().await, 1).await });
    assert_eq!(code(&told), "PRE_DELETE_FAILED");
    let Err(Error::Refused(all)) = told else { panic!() };
    assert!(all[0].message.ends_with("The node failed."), "{}", all[0].message);
    assert!(is_there().await);
    // What failed may be ignored.
    let (told, ()) = tokio::join!(delete(true, hour), async { fail(&worker, asked().await, 1).await });
    told.unwrap();
    assert!(!is_there().await);
    world.deployment("d", "CHURN").await;
    succeed(&world, &worker).await;
    let (told, ()) =
        tokio::join!(delete(false, hour), async { finish(&world, &worker, asked().await, json!({})).await });
    told.unwrap();
    assert!(!is_there().await);
}
