//! Asking for updates: idempotency, order, retries, what each viewer sees.

use deployer::{
    deployments,
    freeze::HookParams,
    hooks::{self, HookInput, Phase},
    infrastructures::{self, InfrastructurePatch, SettingsPatch},
    paging::Page,
    updates::{self, Filter, StepStatus},
};
use engine::{
    failure::{Code, Failure},
    ids::RunId,
    journal::{Kind, NewEvent, Status, Then},
    runs,
    secrets::Secret,
};
use serde_json::{Value, json};
use targets::spec::DeploySpec;

use crate::deployments::support::{Worker, World, code, problems, world};

/// Fails the first step for good, and ends the run; `stuck` leaves it to a human instead.
async fn fail(worker: &Worker, run: RunId, step: usize, stuck: bool) {
    let failure = Failure::new(Code::new("NODE_ERROR"), "The node failed.").detail("500 from /x");
    let failed = Kind::StepFailed { failure: failure.clone(), then: Then::Stop };
    let end =
        if stuck { Kind::Stuck { failure } } else { Kind::Finished { status: Status::Failed, failure: Some(failure) } };
    worker.write(run, &[NewEvent::step(step, 1, failed), NewEvent::run(end)], false).await;
}

async fn spec_of(world: &World, run: RunId) -> (engine::spec::RunSpec, DeploySpec) {
    let state = runs::load(world.deployer.db.pool(), run).await.unwrap().unwrap().state;
    let body = serde_json::from_value(state.spec.body.clone()).unwrap();
    ((*state.spec).clone(), body)
}

#[tokio::test]
async fn the_same_key_is_the_same_update() {
    let world = world().await;
    let (deployer, root) = (&world.deployer, &world.root);
    world.deployment("d", "CHURN").await;
    world.deployment("e", "E").await;
    let first = updates::start(deployer, root, "d", Some("k")).await.unwrap();
    let again = updates::start(deployer, root, "d", Some("k")).await.unwrap();
    assert_eq!((first.repeated, again.repeated), (false, true));
    assert_eq!(first.update.id, again.update.id);
    // Another deployment, another user, another key: another update.
    assert!(!updates::start(deployer, root, "e", Some("k")).await.unwrap().repeated);
    let other = world.somebody("deploy", "deploy").await;
    assert!(!updates::start(deployer, &other, "d", Some("k")).await.unwrap().repeated);
    let second = updates::start(deployer, root, "d", Some("l")).await.unwrap().update;
    assert_eq!(second.number, 3);
    updates::cancel(deployer, root, second.id).await.unwrap();
    let mismatch = updates::retry(deployer, root, second.id, Some("k")).await;
    assert_eq!(problems(mismatch), [("IDEMPOTENCY_MISMATCH", "idempotencyKey".to_owned())]);
    let retried = updates::retry(deployer, root, second.id, Some("r")).await.unwrap();
    let repeated = updates::retry(deployer, root, second.id, Some("r")).await.unwrap();
    assert_eq!((repeated.repeated, repeated.update.id), (true, retried.update.id));
    for key in ["", " ", &"x".repeat(201), "a\nb"] {
        assert_eq!(code(&updates::start(deployer, root, "d", Some(key)).await), "IDEMPOTENCY_KEY_INVALID");
    }
    // After seven days a key is new again.
    let week = updates::idempotency::KEPT + 1;
    world.sql(&format!("UPDATE idempotency_key SET created_at = created_at - {week} WHERE key = 'k'")).await;
    assert!(!updates::start(deployer, root, "d", Some("k")).await.unwrap().repeated);
    assert_eq!(updates::idempotency::forget_old(deployer).await.unwrap(), 2);
    assert_eq!(updates::idempotency::forget_old(deployer).await.unwrap(), 0);
}

#[tokio::test]
async fn an_update_may_name_its_bundle_and_a_repeated_one_changes_nothing() {
    let world = world().await;
    let (deployer, root) = (&world.deployer, &world.root);
    for bundle in ["v2", "v3"] {
        world.upload(root, Some("CHURN"), &crate::deployments::support::bundle("CHURN", bundle)).await.unwrap();
    }
    world.deployment("d", "CHURN").await;
    let set = async || {
        let found = deployments::get(deployer, root, "d").await.unwrap().unwrap();
        (found.bundle_id, found.version)
    };
    let deploy = async |bundle: &'static str, key| updates::deploy(deployer, root, "d", bundle, key).await;
    let first = deploy("v2", Some("k")).await.unwrap();
    assert_eq!((first.repeated, set().await), (false, ("v2".to_owned(), 2)));
    assert_eq!(spec_of(&world, first.update.id).await.1.package.bundle_id, "v2");
    // What is set already is no change.
    assert!(!deploy("v2", None).await.unwrap().repeated);
    assert_eq!(set().await.1, 2);
    deploy("v3", None).await.unwrap();
    let again = deploy("v2", Some("k")).await.unwrap();
    assert_eq!((again.repeated, again.update.id), (true, first.update.id));
    assert_eq!(set().await, ("v3".to_owned(), 3), "a repeated request sets nothing");
    // The bundle belongs to the request.
    for other in [deploy("v3", Some("k")).await, updates::start(deployer, root, "d", Some("k")).await] {
        assert_eq!(problems(other), [("IDEMPOTENCY_MISMATCH", "idempotencyKey".to_owned())]);
    }
    assert_eq!(problems(deploy("v9", None).await), [("BUNDLE_UNKNOWN", "bundleId".to_owned())]);
    assert_eq!(problems(deploy(" ", None).await), [("ID_INVALID", "bundleId".to_owned())]);
    assert_eq!(code(&updates::deploy(deployer, root, "e", "v1", None).await), "NOT_FOUND");
    let reader = world.somebody("view", "read").await;
    assert_eq!(code(&updates::deploy(deployer, &reader, "d", "v1", None).await), "FORBIDDEN");
    // Nothing half-done: what is refused set nothing.
    updates::cancel(deployer, root, first.update.id).await.unwrap();
    let disabled = updates::disable(deployer, root, "d", None).await.unwrap();
    let before = set().await;
    assert_eq!(code(&deploy("v1", None).await), "DEPLOYMENT_DISABLED");
    assert_eq!(set().await, before);
    assert_eq!(disabled.update.number, 4);
}

#[tokio::test]
async fn two_who_deploy_at_once_each_have_their_own_bundle_deployed() {
    let world = world().await;
    let (deployer, root) = (&world.deployer, &world.root);
    world.upload(root, Some("CHURN"), &crate::deployments::support::bundle("CHURN", "v2")).await.unwrap();
    world.deployment("d", "CHURN").await;
    let deploy = |bundle| updates::deploy(deployer, root, "d", bundle, None);
    let (a, b, c) = tokio::join!(deploy("v1"), deploy("v2"), deploy("v1"));
    for (answer, bundle) in [(a, "v1"), (b, "v2"), (c, "v1")] {
        let (_, body) = spec_of(&world, answer.unwrap().update.id).await;
        assert_eq!(body.package.bundle_id, bundle);
    }
}

#[tokio::test]
async fn equal_requests_at_once_make_one_update() {
    let world = world().await;
    world.deployment("d", "CHURN").await;
    let start = || updates::start(&world.deployer, &world.root, "d", Some("k"));
    let (a, b, c) = tokio::join!(start(), start(), start());
    let all = [a.unwrap(), b.unwrap(), c.unwrap()];
    assert!(all.iter().all(|accepted| accepted.update.id == all[0].update.id));
    assert_eq!(all.iter().filter(|accepted| !accepted.repeated).count(), 1);
}

#[tokio::test]
async fn numbers_and_times_are_in_order_of_request() {
    let world = world().await;
    let (deployer, root) = (&world.deployer, &world.root);
    world.deployment("d", "CHURN").await;
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(updates::start(deployer, root, "d", None).await.unwrap().update);
    }
    assert_eq!(made.iter().map(|update| update.number).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert!(made.windows(2).all(|pair| pair[0].requested_at / 1_000 < pair[1].requested_at / 1_000));
    let listing = updates::list(deployer, root, &Filter::default(), &Page::new(Some(3), None).unwrap()).await.unwrap();
    assert_eq!(listing.items.iter().map(|(_, update)| update.number).collect::<Vec<_>>(), [5, 4, 3]);
    let next = Page::new(Some(3), Some(&listing.items[2].0)).unwrap();
    let listing = updates::list(deployer, root, &Filter::default(), &next).await.unwrap();
    assert_eq!(listing.items.iter().map(|(_, update)| update.number).collect::<Vec<_>>(), [2, 1]);
    let text = |text: &str| Some(text.to_owned());
    for (filter, count) in [
        (Filter { status: Some(vec![Status::Queued]), ..Filter::default() }, 5),
        (Filter { status: Some(vec![Status::Running]), ..Filter::default() }, 0),
        (
            Filter { deployment: text("d"), infrastructure: text("PROD"), project: text("CHURN"), ..Filter::default() },
            5,
        ),
        (Filter { deployment: text("e"), ..Filter::default() }, 0),
        (Filter { requester: text("root"), stage: text("Test"), ..Filter::default() }, 5),
        (Filter { requester: text("nobody"), ..Filter::default() }, 0),
        (Filter { stage: text("Production"), ..Filter::default() }, 0),
    ] {
        let page = Page::new(None, None).unwrap();
        assert_eq!(updates::list(deployer, root, &filter, &page).await.unwrap().items.len(), count, "{filter:?}");
    }
    let latest = updates::latest_of(deployer, root, &["d".to_owned(), "e".to_owned()]).await.unwrap();
    assert_eq!(latest.into_iter().map(|(id, update)| (id, update.number)).collect::<Vec<_>>(), [("d".to_owned(), 5)]);
}

#[tokio::test]
async fn the_spec_is_frozen_and_holds_no_secret() {
    let world = world().await;
    world.deployment("d", "CHURN").await;
    let alice = world.somebody("deploy", "deploy").await;
    let run = updates::start(&world.deployer, &alice, "d", None).await.unwrap().update.id;
    let (spec, body) = spec_of(&world, run).await;
    assert_eq!((spec.requester.as_str(), body.acting_user.as_str()), ("deploy-deploy", "deploy-deploy"));
    assert!(!serde_json::to_string(&spec).unwrap().contains("node-key"));
    assert_eq!(body.connection_remapping.len(), 1);
    let names: Vec<_> = spec.plan.steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(names, ["check_policy", "validate_remap", "push_bundle", "activate", "enforce_run_as", "verify"]);
}

#[tokio::test]
async fn an_infrastructure_without_key_is_told_of() {
    let world = world().await;
    let (deployer, root) = (&world.deployer, &world.root);
    world.deployment("d", "CHURN").await;
    set_key(&world, None).await;
    assert_eq!(code(&updates::start(deployer, root, "d", None).await), "ADMIN_KEY_MISSING");
    assert_eq!(code(&deployer::preview::preview_update(deployer, root, "d").await), "ADMIN_KEY_MISSING");
}

async fn set_key(world: &World, key: Option<&str>) {
    let version = infrastructures::get(&world.deployer, &world.root, "PROD").await.unwrap().unwrap().version;
    let patch =
        InfrastructurePatch { admin_key: Some(key.map(|key| Secret::from(key.to_owned()))), ..Default::default() };
    infrastructures::update(&world.deployer, &world.root, "PROD", version, patch).await.unwrap();
}

#[tokio::test]
async fn a_retry_takes_over_what_was_recorded() {
    let world = world().await;
    let (deployer, root) = (&world.deployer, &world.root);
    world.deployment("d", "CHURN").await;
    let worker = world.worker().await;
    let alice = world.somebody("deploy", "deploy").await;
    let first = updates::start(deployer, &alice, "d", None).await.unwrap().update.id;
    assert_eq!(code(&updates::retry(deployer, root, first, None).await), "RETRY_NOT_POSSIBLE");
    worker.claim(first).await;
    let note = Kind::StepNoted { key: "fact".to_owned(), value: json!(7) };
    worker.write(first, &[NewEvent::step(0, 1, note)], false).await;
    fail(&worker, first, 0, false).await;
    let old = spec_of(&world, first).await.1;
    set_key(&world, Some("another-key")).await;

    let second = updates::retry(deployer, root, first, None).await.unwrap().update;
    assert_eq!((second.retry_of, second.number, second.requester.as_str()), (Some(first), 2, "root"));
    let (spec, body) = spec_of(&world, second.id).await;
    let inherited = spec.inherited.unwrap();
    assert_eq!((inherited.from, inherited.notes.get("fact"), inherited.steps.len()), (first, Some(&json!(7)), 0));
    // Nobody acts as somebody else who did not ask; and a key that was mended counts.
    assert_eq!((body.acting_user.as_str(), body.package == old.package), ("root", true));
    assert_ne!(body.infrastructure.node.key, old.infrastructure.node.key);
    assert_eq!(code(&updates::retry(deployer, root, first, None).await), "RETRY_SUPERSEDED");
    updates::cancel(deployer, root, second.id).await.unwrap();

    let third = updates::retry(deployer, root, second.id, None).await.unwrap().update.id;
    worker.claim(third).await;
    worker.succeed(third, 0, 5, Value::Null).await;
    worker.write(third, &[NewEvent::run(Kind::Finished { status: Status::Succeeded, failure: None })], false).await;
    assert_eq!(code(&updates::retry(deployer, root, third, None).await), "RETRY_NOT_POSSIBLE");
}

#[tokio::test]
async fn a_retry_works_with_the_identities_and_hooks_of_now() {
    let world = world().await;
    let (deployer, root) = (&world.deployer, &world.root);
    world.deployment("d", "CHURN").await;
    let version = async || infrastructures::get(deployer, root, "PROD").await.unwrap().unwrap().version;
    let hook = |name: &str, code: &str| HookInput {
        name: name.to_owned(),
        code: code.to_owned(),
        code_env: None,
        os_user: None,
        deadline_ms: None,
        enabled: None,
        on_interrupt: None,
    };
    let put =
        async |phase, hooks| hooks::set_hooks(deployer, root, "PROD", phase, hooks, version().await).await.unwrap();
    let set = async |settings| {
        let patch = InfrastructurePatch { settings, ..Default::default() };
        infrastructures::update(deployer, root, "PROD", version().await, patch).await.unwrap();
    };
    let text = |text: &str| Some(Some(text.to_owned()));
    set(SettingsPatch { hooks_user: text("root"), deploy_as_user: text("svc_old"), ..Default::default() }).await;
    put(Phase::Pre, vec![hook("gone", "1"), hook("changed", "2"), hook("same", "3")]).await;
    put(Phase::Post, vec![hook("tell", "4")]).await;
    let worker = world.worker().await;
    let first = updates::start(deployer, root, "d", None).await.unwrap().update.id;
    worker.claim(first).await;
    worker.succeed(first, 0, 3, json!({ "said": "yes" })).await;
    worker.write(first, &[NewEvent::step(4, 1, Kind::StepStarted)], false).await;
    fail(&worker, first, 4, false).await;

    put(Phase::Pre, vec![hook("same", "3"), hook("changed", "2b"), hook("new", "5")]).await;
    put(Phase::Post, Vec::new()).await;
    let run_as_scenarios = text("analyst");
    set(SettingsPatch {
        hooks_user: Some(None),
        deploy_as_user: text("svc_new"),
        run_as_scenarios,
        ..Default::default()
    })
    .await;
    let second = updates::retry(deployer, root, first, None).await.unwrap().update.id;
    let (spec, body) = spec_of(&world, second).await;
    assert_eq!(
        (body.acting_user.as_str(), body.infrastructure.run_as_scenarios.as_deref()),
        ("svc_new", Some("analyst"))
    );
    let hooks: Vec<HookParams> =
        spec.plan.steps.iter().filter_map(|step| serde_json::from_value(step.params.clone()).ok()).collect();
    let named: Vec<_> = hooks.iter().map(|hook| (hook.name.as_str(), hook.index, hook.hooks_user.as_deref())).collect();
    assert_eq!(named, [("same", 1, None), ("changed", 2, None), ("new", 3, None)]);
    let names: Vec<_> = spec.plan.steps.iter().map(|step| step.name.as_str()).collect();
    let expected =
        ["check_policy", "pre_hooks/1", "pre_hooks/2", "pre_hooks/3", "validate_remap", "push_bundle", "activate"];
    assert_eq!(names[..7], expected);
    assert_eq!(names[7..], ["enforce_run_as", "verify"]);
    // What the one that stayed as it was had answered, under its name of now.
    let inherited = spec.inherited.unwrap().steps;
    assert_eq!(inherited.into_iter().collect::<Vec<_>>(), [("pre_hooks/1".to_owned(), json!({ "said": "yes" }))]);
}

async fn set_node(world: &World, url: Option<&str>, trust: Option<bool>) {
    let version = infrastructures::get(&world.deployer, &world.root, "PROD").await.unwrap().unwrap().version;
    let settings = infrastructures::SettingsPatch {
        node_url: url.map(str::to_owned),
        trust_all_certificates: trust,
        ..Default::default()
    };
    let key = Some(Some(Secret::from("for-the-new-node".to_owned())));
    let patch = InfrastructurePatch { settings, admin_key: key, ..Default::default() };
    infrastructures::update(&world.deployer, &world.root, "PROD", version, patch).await.unwrap();
}

#[tokio::test]
async fn a_retry_sends_no_key_to_another_node_nor_over_another_way() {
    let world = world().await;
    let (deployer, root) = (&world.deployer, &world.root);
    world.deployment("d", "CHURN").await;
    let first = updates::start(deployer, root, "d", None).await.unwrap().update.id;
    updates::cancel(deployer, root, first).await.unwrap();
    for (url, trust) in [(Some("http://127.0.0.1:2"), None), (None, Some(true))] {
        set_node(&world, url, trust).await;
        assert_eq!(code(&updates::retry(deployer, root, first, None).await), "RETRY_NOT_POSSIBLE");
        set_node(&world, Some("http://127.0.0.1:1"), Some(false)).await;
    }
    // The same node with other settings: the retry works with them.
    set_node(&world, Some("http://127.0.0.1:1/dss"), None).await;
    let second = updates::retry(deployer, root, first, None).await.unwrap().update.id;
    assert!(spec_of(&world, second).await.1.infrastructure.node.url.ends_with("/dss"));
}

#[tokio::test]
async fn a_key_goes_once_no_update_needs_it() {
    use sea_orm::EntityTrait as _;
    let world = world().await;
    let (deployer, root) = (&world.deployer, &world.root);
    let keys = async || {
        let rows = entities::secret::Entity::find().all(deployer.db.pool()).await.unwrap();
        rows.into_iter().map(|row| row.id).collect::<Vec<_>>()
    };
    world.deployment("d", "CHURN").await;
    let first = keys().await;
    set_key(&world, Some("second")).await;
    assert!(keys().await.iter().all(|key| !first.contains(key)));
    let run = updates::start(deployer, root, "d", None).await.unwrap().update.id;
    let used = spec_of(&world, run).await.1.infrastructure.node.key;
    set_key(&world, None).await;
    updates::idempotency::forget_old(deployer).await.unwrap();
    assert_eq!(keys().await, [used]);
    updates::cancel(deployer, root, run).await.unwrap();
    updates::idempotency::forget_old(deployer).await.unwrap();
    assert_eq!(keys().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_stuck_update_holds_its_deployment() {
    let world = world().await;
    let (deployer, root) = (&world.deployer, &world.root);
    world.deployment("d", "CHURN").await;
    let worker = world.worker().await;
    let stuck = async |run| {
        worker.claim(run).await;
        fail(&worker, run, 0, true).await;
    };
    let first = updates::start(deployer, root, "d", None).await.unwrap().update.id;
    assert_eq!(code(&updates::abandon(deployer, root, first).await), "UPDATE_NOT_STUCK");
    stuck(first).await;
    assert_eq!(updates::get(deployer, root, first).await.unwrap().unwrap().status, Status::Stuck);
    assert_eq!(code(&updates::start(deployer, root, "d", None).await), "DEPLOYMENT_STUCK");
    assert_eq!(code(&deployer::deployments::delete(deployer, root, "d").await), "UPDATE_RUNNING");
    let second = updates::retry(deployer, root, first, None).await.unwrap().update.id;
    assert_eq!(updates::get(deployer, root, first).await.unwrap().unwrap().status, Status::Failed);
    stuck(second).await;
    assert_eq!(updates::abandon(deployer, root, second).await.unwrap().status, Status::Failed);
    updates::start(deployer, root, "d", None).await.unwrap();
}

#[tokio::test]
async fn what_an_update_did_is_shown_by_rights() {
    let world = world().await;
    let (deployer, root) = (&world.deployer, &world.root);
    world.deployment("d", "CHURN").await;
    let worker = world.worker().await;
    let run = updates::start(deployer, root, "d", None).await.unwrap().update.id;
    worker.claim(run).await;
    let half = updates::get(deployer, root, run).await.unwrap().unwrap();
    assert_eq!(
        (half.status, half.steps[0].status, half.steps[1].status),
        (Status::Running, StepStatus::Running, StepStatus::Pending)
    );
    worker.succeed(run, 0, 0, Value::Null).await;
    worker.write(run, &[NewEvent::step(1, 1, Kind::StepStarted)], false).await;
    let secret_note = Kind::StepNoted { key: "k".to_owned(), value: json!("inner-fact") };
    worker.write(run, &[NewEvent::step(1, 1, secret_note)], false).await;
    fail(&worker, run, 1, false).await;
    world.sql(&format!("INSERT INTO run_log (run_id, seq, at, stream, admins_only, line) VALUES ({run}, 1, 1, 'STDOUT', false, 'hello')")).await;
    world.sql(&format!("INSERT INTO run_log (run_id, seq, at, stream, admins_only, line) VALUES ({run}, 2, 1, 'TRACEBACK', true, 'x = 1')")).await;

    for (level, admin) in [("view", false), ("admin", true)] {
        let viewer = world.somebody(level, "read").await;
        let shown = updates::get(deployer, &viewer, run).await.unwrap().unwrap();
        let failure = shown.failure.unwrap();
        assert_eq!((failure.code.as_str(), failure.detail.is_some()), ("NODE_ERROR", admin));
        assert_eq!((shown.status, shown.ended_at.is_some()), (Status::Failed, true));
        let statuses: Vec<_> = shown.steps.iter().map(|step| step.status).take(3).collect();
        assert_eq!(statuses, [StepStatus::Succeeded, StepStatus::Failed, StepStatus::Skipped]);
        assert_eq!(shown.steps[1].attempts[0].failure.as_ref().unwrap().detail.is_some(), admin);
        let lines = updates::log(deployer, &viewer, run, 0, 10).await.unwrap().unwrap();
        assert_eq!(lines.len(), if admin { 2 } else { 1 });
        let events = updates::events(deployer, &viewer, run, 0, 100).await.unwrap().unwrap();
        assert!(events.iter().zip(1..).all(|(event, seq)| event.seq == seq));
        assert_eq!(events.last().unwrap().status, Some(Status::Failed));
        let text = format!("{events:?}");
        assert!(!text.contains("inner-fact") && !text.contains("sql-prod"));
        assert_eq!(text.contains("500 from"), admin);
        let some = updates::events(deployer, &viewer, run, 3, 2).await.unwrap().unwrap();
        assert_eq!(some.iter().map(|event| event.seq).collect::<Vec<_>>(), [4, 5]);
        assert!(some.iter().any(|event| event.step_name.as_deref() == Some("validate_remap")));
    }
}

#[tokio::test]
async fn a_receipt_is_what_verify_found() {
    let world = world().await;
    let (deployer, root) = (&world.deployer, &world.root);
    world.deployment("d", "CHURN").await;
    let worker = world.worker().await;
    let run = updates::start(deployer, root, "d", None).await.unwrap().update.id;
    worker.claim(run).await;
    worker.succeed(run, 0, 4, Value::Null).await;
    assert_eq!(updates::get(deployer, root, run).await.unwrap().unwrap().receipt, None);
    worker.write(run, &[NewEvent::step(5, 1, Kind::StepStarted)], false).await;
    let receipt = json!({ "project_key": "CHURN", "bundle": "v1", "connections": [], "scenarios": [], "webapps": [], "differences": [] });
    let warned = Kind::StepSucceeded { output: receipt, warnings: vec!["something".to_owned()] };
    let end = Kind::Finished { status: Status::Warning, failure: None };
    worker.write(run, &[NewEvent::step(5, 1, warned), NewEvent::run(end)], false).await;
    let shown = updates::get(deployer, root, run).await.unwrap().unwrap();
    assert_eq!(shown.receipt.unwrap().bundle.as_deref(), Some("v1"));
    assert_eq!(
        (shown.status, shown.steps[5].status, shown.warnings),
        (Status::Warning, StepStatus::Warning, vec!["something".to_owned()])
    );
}
