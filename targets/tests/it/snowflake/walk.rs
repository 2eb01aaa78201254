//! Updates, and what becomes of them.

use std::time::Duration;

use engine::{
    failure::{StepError, StepOutcome},
    step::Audience,
};
use serde_json::{Value, json};
use targets::{
    spec::{Authorization, EndpointSpec},
    target::ServiceQuery,
};

use super::{
    account::{Function, Service},
    world::{Vault, World, version},
};
use crate::{support::Step, wire::Kind};

fn codes(failure: &engine::failure::Failure) -> &str {
    failure.code.as_str()
}

#[tokio::test]
async fn a_first_update_and_a_second() {
    let mut world = World::new().await;
    let preview = world.target().preview(world.look()).await.unwrap();
    assert!(preview.creates_project && preview.problems.is_empty(), "{preview:?}");
    assert_eq!(world.account.effects(), Vec::<String>::new());
    let receipt = world.update().await;
    assert_eq!(receipt.differences, []);
    let told = receipt.service.clone().unwrap();
    assert!(told.enabled && told.versions[0].version == "v1", "{told:?}");
    assert_eq!(told.facts["function"], "\"ML\".\"SERVING\".\"CHURN\"(FLOAT, VARCHAR)");
    let found = world.found();
    assert_eq!(found["instances"], json!([1, 2]));
    let specification = found["specification"].as_str().unwrap();
    assert!(specification.contains("\"MODE\": \"a\\u0024b\"") && !specification.contains('$'), "{specification}");
    // The same again changes nothing.
    world.new_run();
    let before = world.account.effects();
    assert_eq!(world.update().await, receipt);
    assert_eq!(world.account.effects(), before);
    assert_eq!(world.target().drift(world.look(), &receipt).await.unwrap(), []);
    // Two versions and other arguments: the function of before goes.
    world.new_run();
    world.service().versions = vec![version("v1", 0.25), version("v2", 0.75)];
    world.service().settings.insert("arguments".into(), json!([{"name": "age", "type": "int"}]));
    let receipt = world.update().await;
    let snapshot = world.account.snapshot();
    let functions = snapshot["functions"].as_array().unwrap();
    assert_eq!(functions.len(), 1, "{functions:?}");
    assert_eq!((&functions[0][1], &functions[0][6]), (&json!("NUMBER"), &json!(["ANALYST"])));
    let health = world.target().observe(world.look()).await.unwrap().service.unwrap();
    assert_eq!((health.enabled, health.versions.len(), health.troubles), (true, 2, vec![]));
    let drift = world.target().drift(world.look(), &receipt).await.unwrap();
    assert_eq!(drift, []);
}

#[tokio::test]
async fn off_on_and_gone() {
    let mut world = World::new().await;
    world.settings().insert("publicEndpoint".into(), json!(true));
    let receipt = world.update().await;
    assert_eq!(receipt.service.unwrap().urls, ["https://abc-acme-test.snowflakecomputing.app"]);
    assert_eq!(world.found()["users"], json!(["ANALYST"]));
    world.new_run();
    world.step(Step::SwitchOff).await.unwrap();
    assert_eq!(world.found()["status"], "SUSPENDED");
    assert!(!world.target().observe(world.look()).await.unwrap().service.unwrap().enabled);
    world.new_run();
    world.update().await;
    assert_eq!(world.found()["status"], "RUNNING");
    world.new_run();
    world.step(Step::Remove).await.unwrap();
    assert_eq!(world.account.snapshot(), json!({"services": {}, "functions": []}));
    assert!(!world.target().observe(world.look()).await.unwrap().exists);
    // Nothing is there: nothing to do, and no failure.
    world.new_run();
    assert_eq!(world.step(Step::SwitchOff).await.unwrap().1.len(), 1);
    world.step(Step::Remove).await.unwrap();
}

#[tokio::test]
async fn what_is_somebody_elses_is_left_alone() {
    let mut world = World::new().await;
    world.update().await;
    let name = world.account.snapshot()["services"].as_object().unwrap().keys().next().unwrap().clone();
    let function = world.account.state().functions[0].clone();
    let other =
        |comment: &str| Service { comment: comment.to_owned(), status: "RUNNING".to_owned(), ..Service::default() };
    for (service, function) in [
        (Some(other("mine")), None),
        // The mark of another deployment.
        (Some(other(&function.comment.replace("\"deployment\":\"", "\"deployment\":\"0"))), None),
        (None, Some(Function { comment: "mine".to_owned(), ..function.clone() })),
    ] {
        world.new_run();
        {
            let mut state = world.account.state();
            state.services.clear();
            state.functions.clear();
            state.services.extend(service.map(|service| (name.clone(), service)));
            state.functions.extend(function);
            state.effects.clear();
        }
        let before = world.account.snapshot();
        for step in [Step::Validate, Step::SwitchOff, Step::Remove, Step::Activate] {
            let foreign_service = !world.account.state().services.is_empty();
            if !foreign_service && matches!(step, Step::SwitchOff | Step::Remove) {
                world.step(step).await.unwrap();
            } else {
                assert_eq!(codes(&world.failure(step).await), "PLATFORM_NAME_TAKEN", "{step:?}");
            }
            if step != Step::Activate {
                assert_eq!(world.account.snapshot(), before, "{step:?}");
            }
        }
        assert_eq!(world.account.snapshot()["functions"], before["functions"]);
    }
}

#[tokio::test]
async fn containers_that_do_not_come_up() {
    let mut world = World::new().await;
    world.update().await;
    let before = world.account.snapshot();
    world.next("v2");
    for step in [Step::Validate, Step::Push] {
        world.step(step).await.unwrap();
    }
    {
        let mut state = world.account.state();
        let image = state.images.last().unwrap().1.clone();
        state.failing = Some((image, "CrashLoop: \u{1b}exit 1".to_owned()));
        state.log = "starting\nno module named churn\n".to_owned();
    }
    let failure = world.failure(Step::Activate).await;
    assert_eq!(codes(&failure), "SNOWPARK_SERVICE_FAILED");
    assert!(failure.message.contains("CrashLoop: exit 1"), "{failure:?}");
    assert!(failure.detail.unwrap().contains("no module named churn"));
    let told = world.run.told.lock().unwrap().clone();
    assert!(
        told.contains(&(Audience::InfrastructureAdmins, "container: no module named churn".to_owned())),
        "{told:?}"
    );
    let health = world.target().observe(world.look()).await.unwrap().service.unwrap();
    assert!(health.troubles[0].is_error, "{health:?}");
    let (receipt, _) = world.step(Step::Restore).await.unwrap();
    assert_eq!(receipt["service"]["versions"][0]["version"], "v1");
    assert_eq!(world.account.snapshot(), before);
    // A restore of what never was there leaves what is there.
    let mut world = World::new().await;
    world.account.state().starting = u32::MAX;
    for step in [Step::Validate, Step::Push] {
        world.step(step).await.unwrap();
    }
    world.settings().insert("startMinutes".into(), json!(1));
    let failure = world.failure(Step::Activate).await;
    assert_eq!(codes(&failure), "SNOWPARK_SERVICE_NOT_READY");
    assert!(failure.message.contains("Readiness probe is failing"), "{failure:?}");
    assert_eq!(world.step(Step::Restore).await.unwrap().0, Value::Null);
}

#[tokio::test]
async fn a_restore_gives_grants_back() {
    let mut world = World::new().await;
    world.settings().insert("publicEndpoint".into(), json!(true));
    world.update().await;
    // Of what somebody granted by hand, the spec knows nothing.
    world.account.state().functions[0].users.insert("BY_HAND".to_owned());
    let before = world.account.snapshot();
    for grantees in [json!(["other"]), json!([])] {
        world.next("v2");
        world.service().settings.insert("grantUsageTo".into(), grantees);
        world.update().await;
        assert_ne!(world.account.snapshot()["functions"], before["functions"]);
        world.step(Step::Restore).await.unwrap();
        assert_eq!(world.account.snapshot(), before);
        let effects = world.account.effects();
        world.step(Step::Restore).await.unwrap();
        assert_eq!(world.account.effects(), effects);
    }
}

#[tokio::test]
async fn whom_somebody_let_in_is_seen() {
    let mut world = World::new().await;
    world.settings().insert("publicEndpoint".into(), json!(true));
    let receipt = world.update().await;
    world.account.state().functions[0].users.insert("BY_HAND".to_owned());
    world.account.state().services.values_mut().next().unwrap().users.insert("BY_HAND".to_owned());
    let drift = world.target().drift(world.look(), &receipt).await.unwrap();
    let told: Vec<_> = drift.iter().map(|one| one.what.as_str()).collect();
    assert_eq!(told, ["the roles that may call the function", "the roles that may reach the endpoint"]);
    assert_eq!(drift[1].found, json!(["ANALYST", "BY_HAND"]));
    world.new_run();
    assert_eq!(world.target().preview(world.look()).await.unwrap().changes, drift);
    let receipt = world.update().await;
    assert_eq!(world.target().drift(world.look(), &receipt).await.unwrap(), []);
}

#[tokio::test]
async fn containers_are_followed_through_looks_that_fail() {
    let mut world = World::new().await;
    world.account.state().starting = 3;
    world.update().await;
    for step in [Step::Activate, Step::Restore] {
        if step == Step::Activate {
            world.next("v2");
            world.step(Step::Push).await.unwrap();
        }
        let waits = || world.run.notes.lock().unwrap().get("waiting").cloned();
        let before = waits();
        while waits() == before {
            match world.attempt(step).await {
                Ok(StepOutcome::NotYet { check_in }) => world.run.advance(check_in),
                other => panic!("{other:?}"),
            }
        }
        let effects = world.account.effects();
        for _ in 0..12 {
            world.server.arm("GET /api/v2/databases", 0, Kind::Status(503, None));
            let attempt = world.attempt(step).await;
            assert!(matches!(attempt, Ok(StepOutcome::NotYet { .. })), "{attempt:?}");
        }
        world.server.arm("GET /api/v2/databases", 0, Kind::Status(503, None));
        let attempt = world.attempt(step).await;
        assert!(matches!(attempt, Err(StepError::Retryable { .. })), "{attempt:?}");
        assert_eq!(world.account.effects(), effects, "{step:?}");
        world.step(step).await.unwrap();
    }
}

#[tokio::test]
async fn a_failed_service_is_restarted_by_the_next_update() {
    let mut world = World::new().await;
    world.update().await;
    world.account.state().next_fails = Some("the integration does not let it out".to_owned());
    world.next("v2");
    world.step(Step::Push).await.unwrap();
    assert_eq!(codes(&world.failure(Step::Activate).await), "SNOWPARK_SERVICE_FAILED");
    // What was wrong was mended outside: nothing of the deployment changed.
    world.new_run();
    world.update().await;
    assert!(world.run.told.lock().unwrap().iter().any(|(_, line)| line.contains("restarting it")));
}

#[tokio::test]
async fn a_restore_sends_nothing_of_what_it_undoes() {
    let mut world = World::new().await;
    world.update().await;
    let before = world.account.snapshot();
    world.next("v2");
    world.step(Step::Push).await.unwrap();
    world.account.state().effects.clear();
    // The new specification never arrives, and nobody knows.
    world.server.arm("POST /api/v2/statements", 1, Kind::Reset);
    let lost = world.attempt(Step::Activate).await;
    assert!(matches!(lost, Err(StepError::Retryable { .. })), "{lost:?}");
    world.step(Step::Restore).await.unwrap();
    assert_eq!((world.account.snapshot(), world.account.effects()), (before, vec![]));
}

#[tokio::test]
async fn a_first_update_that_is_put_back_leaves_nothing() {
    let world = World::new().await;
    for step in [Step::Push, Step::Activate] {
        world.step(step).await.unwrap();
    }
    assert_eq!(world.step(Step::Restore).await.unwrap().0, Value::Null);
    assert_eq!(world.account.snapshot(), json!({"services": {}, "functions": []}));
}

#[tokio::test]
async fn what_somebody_changed_of_instances_is_put_right() {
    let mut world = World::new().await;
    let receipt = world.update().await;
    for service in world.account.state().services.values_mut() {
        (service.min, service.max) = (3, 5);
    }
    let found = world.target().drift(world.look(), &receipt).await.unwrap();
    assert_eq!(found.len(), 2, "{found:?}");
    world.new_run();
    assert_eq!(world.update().await.differences, []);
    assert_eq!(world.found()["instances"], json!([1, 2]));
}

#[tokio::test]
async fn a_service_that_rests_is_well() {
    let mut world = World::new().await;
    world.spec.infrastructure.settings.insert("autoSuspendSeconds".into(), json!(60));
    let receipt = world.update().await;
    for service in world.account.state().services.values_mut() {
        service.status = "SUSPENDED".to_owned();
    }
    let target = world.target();
    assert!(target.observe(world.look()).await.unwrap().service.unwrap().enabled);
    assert_eq!(target.drift(world.look(), &receipt).await.unwrap(), []);
    world.new_run();
    assert_eq!(target.preview(world.look()).await.unwrap().changes, []);
}

#[tokio::test]
async fn what_contradicts_itself_is_told_when_it_is_saved() {
    let world = World::new().await;
    for (settings, path) in [
        (json!({"grantUsageTo": ["x;y"]}), "grantUsageTo[0]"),
        (json!({"grantUsageTo": [" "]}), "grantUsageTo[0]"),
        (json!({"snowflakeSecrets": [{"variable": "", "secret": "S"}]}), "snowflakeSecrets[0].variable"),
        (
            json!({"snowflakeSecrets": [{"variable": "SLIPWAY_SPECIFICATION", "secret": "S"}]}),
            "snowflakeSecrets[0].variable",
        ),
        (
            json!({"environment": {"A": "1"}, "snowflakeSecrets": [{"variable": "A", "secret": "S"}]}),
            "snowflakeSecrets[0].variable",
        ),
        (json!({"cpuRequest": "4", "cpuLimit": "500m"}), "cpuLimit"),
        (json!({"memoryRequest": "4Gi", "memoryLimit": "1000Mi"}), "memoryLimit"),
    ] {
        let wrong = world.target().problems(settings.as_object().unwrap());
        assert_eq!(wrong.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>(), [path], "{settings}");
    }
}

#[tokio::test]
async fn half_a_change_is_put_back() {
    let mut world = World::new().await;
    world.update().await;
    let before = world.account.snapshot();
    world.next("v2");
    for step in [Step::Validate, Step::Push] {
        world.step(step).await.unwrap();
    }
    world.account.state().effects.clear();
    // The statements of the step: who may call, the specification, the settings with the mark.
    world.server.arm("POST /api/v2/statements", 2, Kind::Status(422, None));
    world.failure(Step::Activate).await;
    let effects = world.account.effects();
    assert!(effects.len() == 1 && effects[0].starts_with("alter service"), "{effects:?}");
    world.step(Step::Restore).await.unwrap();
    assert_eq!(world.account.snapshot(), before);
}

#[tokio::test]
async fn a_specification_with_dollar_signs_is_put_back() {
    for sign in ["$", "$$"] {
        let mut world = World::new().await;
        world.update().await;
        // As Snowflake may write it back: with the characters themselves.
        for service in world.account.state().services.values_mut() {
            service.specification = service.specification.replace("\\u0024", sign);
        }
        let before = world.account.snapshot();
        world.next("v2");
        for step in [Step::Validate, Step::Push, Step::Activate] {
            world.step(step).await.unwrap();
        }
        world.step(Step::Restore).await.unwrap();
        assert_eq!(world.account.snapshot(), before);
        assert!(world.found()["specification"].as_str().unwrap().contains(&format!("a{sign}b")));
    }
}

#[tokio::test]
async fn a_function_stays_while_its_definition_does() {
    let mut world = World::new().await;
    world.service().settings.remove("grantUsageTo");
    world.update().await;
    world.account.state().functions[0].users.insert("BY_HAND".to_owned());
    world.next("v2");
    world.account.state().effects.clear();
    assert_eq!(world.update().await.differences, []);
    assert_eq!(world.account.state().functions[0].users.len(), 1, "its grants stay");
    assert!(!world.account.effects().iter().any(|effect| effect.starts_with("create function")));
    // Another definition is another function.
    world.new_run();
    world.service().settings.insert("maxBatchRows".into(), json!(7));
    world.update().await;
    assert!(world.account.effects().iter().any(|effect| effect.starts_with("create function")));
}

#[tokio::test]
async fn an_update_finds_half_of_an_earlier_one() {
    let mut world = World::new().await;
    world.update().await;
    let before = world.account.snapshot();
    world.next("v2");
    for step in [Step::Validate, Step::Push] {
        world.step(step).await.unwrap();
    }
    world.server.arm("POST /api/v2/statements", 2, Kind::Status(422, None));
    world.failure(Step::Activate).await;
    assert_ne!(world.account.snapshot(), before);
    // The mark says v1 still; back to it.
    world.next("v1");
    assert_eq!(world.update().await.differences, []);
    assert_eq!(world.account.snapshot(), before);
}

#[tokio::test]
async fn what_is_cleared_is_unset() {
    let mut world = World::new().await;
    world.update().await;
    let found = world.found();
    assert_eq!((&found["warehouse"], &found["integrations"]), (&json!("WH"), &json!(["OUTSIDE"])));
    world.settings().remove("warehouse");
    world.settings().remove("externalAccessIntegrations");
    world.new_run();
    let receipt = world.update().await;
    assert_eq!(receipt.differences, []);
    let found = world.found();
    assert_eq!((&found["warehouse"], &found["integrations"]), (&Value::Null, &json!([])));
    // Nothing to unset is nothing said: an empty list is no value.
    world.next("v2");
    world.account.state().effects.clear();
    world.update().await;
    assert!(!world.account.effects().iter().any(|effect| effect.starts_with("unset")));
    for service in world.account.state().services.values_mut() {
        service.warehouse = Some("OTHER".to_owned());
    }
    let drift = world.target().drift(world.look(), &receipt).await.unwrap();
    assert!(drift.iter().any(|one| one.what == "the query warehouse"), "{drift:?}");

    // And put back, also after the first of the statements alone.
    let mut world = World::new().await;
    world.update().await;
    let before = world.account.snapshot();
    world.settings().remove("warehouse");
    world.next("v2");
    for step in [Step::Validate, Step::Push] {
        world.step(step).await.unwrap();
    }
    world.server.arm("POST /api/v2/statements", 2, Kind::Status(422, None));
    world.failure(Step::Activate).await;
    assert_eq!(world.found()["warehouse"], Value::Null);
    world.step(Step::Restore).await.unwrap();
    assert_eq!(world.account.snapshot(), before);
}

#[tokio::test]
async fn all_problems_at_once() {
    let mut world = World::new().await;
    world.settings().insert("schema".into(), json!("a; drop"));
    world.settings().insert("imageRepository".into(), json!("\"Mixed\""));
    world.settings().remove("computePool");
    world.settings().remove("baseImage");
    let failure = world.failure(Step::Validate).await;
    assert_eq!(codes(&failure), "VALIDATION_FAILED");
    for path in ["schema: ", "imageRepository: ", "computePool: ", "baseImage: "] {
        assert!(failure.message.contains(path), "{path} {}", failure.message);
    }
    assert_eq!(world.server.asked().len(), 0);
    let problems = world.target().problems(&world.spec.infrastructure.settings);
    let paths: Vec<_> = problems.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(paths, ["schema", "imageRepository"]);
    assert_eq!(world.target().problems(&serde_json::Map::new()), []);

    let mut world = World::new().await;
    world.service().settings = json!({
        "arguments": [{"name": "a", "type": "VARCHAR) AS '"}, {"name": "b"}, {"name": "b"}, {"name": ""}],
        "returns": "x", "functionName": "f;", "grantUsageTo": ["a b"], "minInstances": 9,
    })
    .as_object()
    .unwrap()
    .clone();
    world.service().versions[0].endpoints.push(EndpointSpec { id: "other".into(), kind: None });
    world.service().authorization = Some(Authorization::ApiKeys { keys: Vec::new() });
    let failure = world.failure(Step::Validate).await;
    for path in [
        "authorization: ",
        "ENDPOINT_NOT_CHOSEN: ",
        "functionName: ",
        "arguments[0].type: ",
        "arguments[2].name: ",
        "arguments[3].name: ",
        "returns: ",
        "grantUsageTo[0]: ",
        "maxInstances: ",
    ] {
        assert!(failure.message.contains(path), "{path} {}", failure.message);
    }
}

#[tokio::test]
async fn what_a_deployment_sets_wrong_is_told_when_it_is_saved() {
    let world = World::new().await;
    let target = world.target();
    let own = json!({
        "arguments": [{"name": "a", "type": "NOTHING"}], "functionName": "f;", "grantUsageTo": ["a b"], "minInstances": 9,
        "environment": {"SLIPWAY_SPECIFICATION": "x"},
    });
    let told = |own: Value| -> Vec<String> {
        let own = own.as_object().unwrap().clone();
        let problems = target.services().unwrap().problems(&world.spec.infrastructure.settings, &own);
        problems.into_iter().map(|(path, _)| path).collect()
    };
    let paths =
        ["environment.SLIPWAY_SPECIFICATION", "functionName", "arguments[0].type", "grantUsageTo[0]", "maxInstances"];
    assert_eq!(told(own), paths);
    assert_eq!(told(json!({"arguments": [{"name": "a"}]})), [""; 0]);
}

#[tokio::test]
async fn each_privilege_by_its_name() {
    let mut world = World::new().await;
    world.settings().insert("publicEndpoint".into(), json!(true));
    let report = world.target().check(&world.spec.infrastructure, &Vault).await.unwrap();
    assert_eq!((report.identity.as_str(), report.problems.len()), ("DEPLOYER as DEPLOY_ROLE", 0), "{report:?}");
    let all = world.account.state().privileges.clone();
    for gone in &all {
        world.account.state().privileges = all.iter().filter(|one| *one != gone).cloned().collect();
        let report = world.target().check(&world.spec.infrastructure, &Vault).await.unwrap();
        let wanted = if gone.0 == "OWNERSHIP" { 2 } else { 1 };
        assert_eq!(report.problems.len(), wanted, "{gone:?} {report:?}");
        let words = if gone.0 == "OWNERSHIP" { "GRANT READ".to_owned() } else { format!("GRANT {} ON", gone.0) };
        assert!(report.problems[0].contains(&words), "{gone:?} {report:?}");
        assert_eq!(codes(&world.failure(Step::Validate).await), "SNOWFLAKE_PRIVILEGE_MISSING");
    }
    world.account.state().privileges = all;
    world.settings().insert("computePool".into(), json!("nowhere"));
    world.settings().insert("role".into(), json!("other"));
    world.connection().remove("registryPassword");
    let report = world.target().check(&world.spec.infrastructure, &Vault).await.unwrap();
    assert!(report.problems.iter().any(|one| one.contains("SET DEFAULT_ROLE = OTHER")), "{report:?}");
    assert!(report.problems.iter().any(|one| one.contains("is not granted to this user")), "{report:?}");
    assert_eq!(world.account.effects(), Vec::<String>::new());
    // With nothing entered yet, that the credentials work can be told.
    world.settings().clear();
    let report = world.target().check(&world.spec.infrastructure, &Vault).await.unwrap();
    assert!(report.problems.iter().any(|one| one.starts_with("database: ")), "{report:?}");
}

#[tokio::test]
async fn queries() {
    let mut world = World::new().await;
    world.update().await;
    let ask = async |world: &World, body: Value| {
        let endpoint = EndpointSpec { id: "predict".into(), kind: None };
        let query = ServiceQuery { endpoint, body, timeout: Duration::from_secs(5), headers: Vec::new() };
        world.target().services().unwrap().query(world.look(), &query).await
    };
    let answer = ask(&world, json!({"features": {"age": 4.5, "city": "x'; DROP TABLE y; --"}})).await.unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body, json!({"result": {"asked": {"age": "4.5", "city": "x'; DROP TABLE y; --"}}}));
    let answer = ask(&world, json!({"features": {"age": null}})).await.unwrap();
    assert_eq!(answer.body, json!({"result": {"asked": {"age": null, "city": null}}}));
    // Several at once, as an API node takes them.
    let many = json!({"items": [{"features": {"age": 1}}, {"features": {"city": "x"}}]});
    let results = json!([{"asked": {"age": "1", "city": null}}, {"asked": {"age": null, "city": "x"}}]);
    assert_eq!(ask(&world, many).await.unwrap().body, json!({"results": results}));
    assert_eq!(ask(&world, json!({"items": []})).await.unwrap().body, json!({"results": []}));
    let over = json!({"items": vec![json!({"features": {}}); 101]});
    assert_eq!(codes(&ask(&world, over).await.unwrap_err()), "SETTING_INVALID");
    let wrong = json!({"items": [{"features": {"agee": 1}}]});
    assert_eq!(codes(&ask(&world, wrong).await.unwrap_err()), "SETTING_INVALID");
    let answer = ask(&world, json!({"features": {"city": "break"}})).await.unwrap();
    assert_eq!(answer.status, 422);
    assert!(answer.body["message"].as_str().unwrap().contains("remote service error"), "{answer:?}");
    assert_eq!(codes(&ask(&world, json!({"features": {"agee": 1}})).await.unwrap_err()), "SETTING_INVALID");
    assert_eq!(codes(&ask(&world, json!([])).await.unwrap_err()), "SETTING_INVALID");
    // Without arguments the whole body is passed.
    world.new_run();
    world.service().settings.remove("arguments");
    world.update().await;
    let body = json!({"features": {"any": [1]}});
    let answer = ask(&world, body.clone()).await.unwrap();
    assert_eq!(answer.body, json!({"result": {"asked": {"FEATURES": body.to_string()}}}));
}

#[tokio::test]
async fn hostile_names_reach_only_their_place() {
    let mut world = World::new().await;
    let evil = "\"x\"\"; DROP TABLE y; $$ -- '";
    world.service().settings = json!({
        "functionName": format!("{evil}\""), "grantUsageTo": [format!("{evil}\"")],
        "arguments": [{"name": "a\"; DROP", "type": "VARCHAR"}],
    })
    .as_object()
    .unwrap()
    .clone();
    world.service().service_id = "'; DROP SERVICE x; --".into();
    world.settings().insert("environment".into(), json!({"A": "$; '\"\n  image: evil", "B": "$"}));
    world.update().await;
    world.next("v2");
    world.update().await;
    let snapshot = world.account.snapshot();
    assert_eq!(snapshot["functions"][0][0], "x\"; DROP TABLE y; $$ -- '");
    assert_eq!(snapshot["functions"][0][6], json!(["x\"; DROP TABLE y; $$ -- '"]));
    world.new_run();
    world.step(Step::Remove).await.unwrap();
    assert_eq!(world.account.snapshot(), json!({"services": {}, "functions": []}));
}
