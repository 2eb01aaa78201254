//! What a deployment becomes, and how it fails.

use std::time::Duration;

use engine::failure::{StepError, StepOutcome};
use sandbox::{Fault, FaultKind};
use serde_json::{Value, json};
use targets::{
    spec::{Authorization, EndpointSpec},
    target::{Calling, Framing, ServiceQuery, VersionShare},
    tools::HostSettings,
};

use super::world::{World, object};
use crate::{
    cloud::ODD_VERSIONS,
    support::{KEY, OneKey, Step},
};

fn shares(shares: &[(&str, f64)]) -> Vec<VersionShare> {
    shares
        .iter()
        .map(|(version, probability)| VersionShare { version: (*version).into(), probability: *probability })
        .collect()
}

#[tokio::test]
async fn a_service_becomes_an_endpoint() {
    let mut world = World::new().await;
    let preview = world.target().preview(world.look()).await.unwrap();
    assert_eq!((preview.creates_project, preview.problems), (true, vec![]));
    let receipt = world.update().await;
    assert_eq!(receipt.differences, []);
    let service = receipt.service.clone().unwrap();
    assert_eq!((service.enabled, service.versions), (true, shares(&[("v1", 1.0)])));
    let changes = ["PutImage", "CreateModel", "CreateEndpointConfig", "CreateEndpoint"];
    assert_eq!(world.changes(0), changes);
    let effects = world.cloud.effects();
    let model = effects["models"].as_object().unwrap().values().next().unwrap();
    assert_eq!(model["PrimaryContainer"]["Environment"], json!({"MODE": "prod", "SLIPWAY_VERSION": "v1"}));
    assert!(service.urls[0].ends_with(&format!("/endpoints/{}/invocations", world.endpoint().0)));
    assert_eq!(world.target().drift(world.look(), &receipt).await.unwrap(), []);

    // The same again changes nothing.
    world.new_run();
    world.update().await;
    assert_eq!(world.changes(0).len(), changes.len());
    let preview = world.target().preview(world.look()).await.unwrap();
    assert_eq!(
        (preview.creates_project, preview.changes, preview.active_bundle.as_deref()),
        (false, vec![], Some("v1"))
    );

    // Another version moves the endpoint, as the settings say.
    world.take(&[("v2", 1.0)]).await;
    let preview = world.target().preview(world.look()).await.unwrap();
    assert_eq!(preview.changes.len(), 2, "{:?}", preview.changes);
    assert_eq!(world.update().await.differences, []);
    assert_eq!(world.changes(4), ["PutImage", "CreateModel", "CreateEndpointConfig", "UpdateEndpoint"]);
    let sent = world.cloud.captured().into_iter().rfind(|call| call["operation"] == "UpdateEndpoint").unwrap();
    let sent: Value = serde_json::from_str(sent["body"].as_str().unwrap()).unwrap();
    assert_eq!(sent["DeploymentConfig"]["AutoRollbackConfiguration"]["Alarms"][0]["AlarmName"], "churn-errors");
    let routing = &sent["DeploymentConfig"]["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"];
    assert_eq!((&routing["Type"], &routing["CanarySize"]["Value"]), (&json!("CANARY"), &json!(10)));
    let seen = world.target().observe(world.look()).await.unwrap().service.unwrap();
    assert_eq!((seen.enabled, seen.versions, seen.troubles), (true, shares(&[("v2", 1.0)]), vec![]));
}

#[tokio::test]
async fn versions_are_variants_with_weights() {
    let mut world = World::new().await;
    world.take(&[("v1", 0.25), ("v2", 0.75)]).await;
    let receipt = world.update().await;
    assert_eq!(receipt.differences, []);
    assert_eq!(receipt.service.as_ref().unwrap().versions.len(), 2);
    let (name, endpoint) = world.endpoint();
    let weights = endpoint["weights"].as_object().unwrap().clone();
    assert_eq!(weights.values().filter_map(Value::as_f64).sum::<f64>(), 1.0);

    // Weights that somebody changes are drift, not another truth.
    let half = weights.iter().find(|(_, weight)| **weight == json!(0.75)).unwrap().0;
    world.cloud.set_weight(&name, half, 0.25);
    let drift = world.target().drift(world.look(), &receipt).await.unwrap();
    assert_eq!(drift.len(), 1);
    assert_eq!(drift[0].found, json!({"v1": 0.5, "v2": 0.5}));
}

#[tokio::test]
async fn queries_go_through_the_runtime() {
    let world = World::new().await;
    world.update().await;
    let target = world.target();
    let endpoint = |id: &str| EndpointSpec { id: id.into(), kind: None };
    let mut query = ServiceQuery {
        endpoint: endpoint("score"),
        body: json!({"features": {"a": 1}}),
        headers: Vec::new(),
        timeout: Duration::from_secs(5),
    };
    let answer = target.services().unwrap().query(world.look(), &query).await.unwrap();
    assert_eq!((answer.status, &answer.body["received"]), (200, &query.body));
    // As its callers are told to.
    let url = target.observe(world.look()).await.unwrap().service.unwrap().urls.remove(0);
    let path = url.strip_prefix(&world.cloud.url()).unwrap().to_owned();
    let calling = target.services().unwrap().calling(&world.spec).unwrap();
    assert_eq!(calling, Calling::Platform { path, framing: Framing::Plain });
    world.cloud.set_model_error(400, r#"{"message": "no such feature"}"#);
    let answer = target.services().unwrap().query(world.look(), &query).await.unwrap();
    assert_eq!((answer.status, answer.body), (400, json!({"message": "no such feature"})));
    query.endpoint = endpoint("other");
    let failure = target.services().unwrap().query(world.look(), &query).await.unwrap_err();
    assert_eq!(failure.code.as_str(), "ENDPOINT_MISSING");
}

#[tokio::test]
async fn an_endpoint_that_fails_is_told_and_made_anew() {
    let mut world = World::new().await;
    world.cloud.fail_next_change("The primary container did not pass the ping health check.");
    world.until(Step::Push).await;
    let failure = world.failure(Step::Activate).await;
    assert_eq!((failure.code.as_str(), failure.outcome_unknown), ("SAGEMAKER_ENDPOINT_FAILED", false));
    assert!(failure.message.contains("ping health check"), "{failure}");
    let seen = world.target().observe(world.look()).await.unwrap().service.unwrap();
    assert!(seen.troubles[0].is_error && !seen.enabled);
    // Nothing served before: what there is goes.
    let (output, warnings) = world.step(Step::Restore).await.unwrap();
    assert_eq!((output, warnings.len()), (Value::Null, 0));
    world.new_run();
    assert_eq!(world.update().await.differences, []);
    assert_eq!(world.changes(4), ["DeleteEndpoint", "CreateEndpoint"]);
}

#[tokio::test]
async fn an_update_that_is_rolled_back_is_told() {
    let mut world = World::new().await;
    world.update().await;
    world.take(&[("v2", 1.0)]).await;
    world.cloud.fail_next_change("Alarm churn-errors went off.");
    world.until(Step::Push).await;
    let failure = world.failure(Step::Activate).await;
    assert_eq!((failure.code.as_str(), failure.outcome_unknown), ("SAGEMAKER_ROLLED_BACK", false));
    assert!(failure.message.contains("Alarm churn-errors went off."), "{failure}");
    let before = world.cloud.changes().len();
    let (receipt, warnings) = world.step(Step::Restore).await.unwrap();
    assert_eq!((receipt["service"]["versions"][0]["version"].as_str(), warnings.len()), (Some("v1"), 0));
    assert_eq!(world.cloud.changes().len(), before);

    world.new_run();
    world.cloud.fail_next_rollback("Insufficient capacity.");
    world.until(Step::Push).await;
    let failure = world.failure(Step::Activate).await;
    assert_eq!(failure.code.as_str(), "SAGEMAKER_ROLLBACK_FAILED");
    world.new_run();
    assert_eq!(world.failure(Step::Validate).await.code.as_str(), "SAGEMAKER_ROLLBACK_FAILED");
}

#[tokio::test]
async fn an_endpoint_is_followed_through_looks_that_fail() {
    let mut world = World::new().await;
    world.update().await;
    for step in [Step::Activate, Step::Restore] {
        if step == Step::Activate {
            world.take(&[("v2", 1.0)]).await;
            world.until(Step::Push).await;
        }
        assert!(matches!(world.attempt(step).await, Ok(StepOutcome::NotYet { .. })));
        let before = world.cloud.changes().len();
        let away = FaultKind::Status { status: 503, error_type: None, message: None, retry_after: None };
        let fault = world.cloud.arm(Fault::on("POST", "/sagemaker/DescribeEndpoint", away).for_ever()).unwrap();
        for _ in 0..2 {
            for _ in 0..12 {
                let attempt = world.attempt(step).await;
                assert!(matches!(attempt, Ok(StepOutcome::NotYet { .. })), "{attempt:?}");
            }
            // Nobody knows what it came to.
            match world.attempt(step).await {
                Err(StepError::Retryable { failure, .. }) => assert!(failure.outcome_unknown, "{failure}"),
                other => panic!("{other:?}"),
            }
        }
        fault.disarm();
        world.step(step).await.unwrap();
        assert_eq!(world.cloud.changes().len(), before, "{step:?}");
    }
}

#[tokio::test]
async fn an_update_under_another_name_is_put_back() {
    let mut world = World::new().await;
    world.update().await;
    let (before, _) = world.endpoint();
    world.service().settings = object(json!({"endpointName": "renamed"}));
    world.new_run();
    world.until(Step::Activate).await;
    assert_eq!(world.cloud.effects()["endpoints"].as_object().unwrap().len(), 2);
    let (output, warnings) = world.step(Step::Restore).await.unwrap();
    assert_eq!((output, warnings), (Value::Null, vec![]));
    assert_eq!(world.endpoint().0, before, "what this run made goes, what served stays");
    // Once the earlier one is gone, what there is stays, and that is told.
    world.new_run();
    world.until(Step::Enforce).await;
    let (output, warnings) = world.step(Step::Restore).await.unwrap();
    assert!(output.is_null() && warnings[0].contains(&before) && warnings[0].contains("renamed"), "{warnings:?}");
    assert_eq!(world.endpoint().0, "renamed");
}

#[tokio::test]
async fn tags_reach_the_endpoint_and_images_go_from_where_they_were() {
    let mut world = World::new().await;
    world.update().await;
    world.cloud.add_repository("team/other");
    world.set("repository", json!("team/other"));
    world.set("tags", json!({"cost": "x"}));
    world.new_run();
    let preview = world.target().preview(world.look()).await.unwrap();
    assert_eq!(preview.changes.len(), 1, "{preview:?}");
    world.update().await;
    let told = world.cloud.effects()["tags"].to_string();
    assert!(told.contains(r#""Key":"cost""#), "{told}");
    let endpoint = world.cloud.effects()["tags"]
        .as_object()
        .unwrap()
        .iter()
        .find(|(arn, _)| arn.contains(":endpoint/"))
        .unwrap()
        .1
        .to_string();
    assert!(endpoint.contains("cost"), "{endpoint}");
    let before = world.cloud.changes().len();
    world.new_run();
    world.update().await;
    assert_eq!(world.cloud.changes().len(), before);
    world.new_run();
    world.step(Step::Remove).await.unwrap();
    assert!(
        !world.cloud.effects()["repositories"].to_string().contains("slipway-"),
        "{}",
        world.cloud.effects()["repositories"]
    );
}

#[tokio::test]
async fn a_model_that_somebody_replaced_is_refused() {
    let mut world = World::new().await;
    let receipt = world.update().await;
    let models = world.cloud.effects()["models"].clone();
    let (name, ours) = models.as_object().unwrap().iter().next().unwrap();
    let mut images = ours.clone();
    images["PrimaryContainer"]["Image"] = json!("111122223333.dkr.ecr.eu-west-1.amazonaws.com/theirs@sha256:0");
    let mut variables = ours.clone();
    variables["PrimaryContainer"]["Environment"] = json!({});
    let (mut role, mut more) = (ours.clone(), ours.clone());
    role["ExecutionRoleArn"] = json!("arn:aws:iam::123456789012:role/admin");
    more["PrimaryContainer"]["Environment"]["EXTRA"] = json!("1");
    for theirs in [images, variables, role, more] {
        world.cloud.replace_model(name, theirs);
        assert!(!world.target().drift(world.look(), &receipt).await.unwrap().is_empty());
        world.new_run();
        world.step(Step::Validate).await.unwrap();
        let before = world.cloud.changes().len();
        let failure = world.failure(Step::Push).await;
        assert_eq!(failure.code.as_str(), "PLATFORM_NAME_TAKEN");
        assert!(failure.message.contains(name) && failure.message.contains("disable and enable"), "{failure}");
        assert_eq!(world.cloud.changes().len(), before);
        // As the message says.
        world.cloud.replace_model(name, Value::Null);
        world.step(Step::SwitchOff).await.unwrap();
        world.new_run();
        assert_eq!(world.update().await.differences, []);
        assert_eq!(world.cloud.effects()["models"], models);
    }
}

#[tokio::test]
async fn what_was_live_is_put_back() {
    let mut world = World::new().await;
    world.update().await;
    let (_, live) = world.endpoint();
    world.take(&[("v2", 1.0)]).await;
    world.until(Step::Activate).await;
    assert_ne!(world.endpoint().1, live);
    let before = world.cloud.changes().len();
    let (receipt, _) = world.step(Step::Restore).await.unwrap();
    assert_eq!(world.endpoint().1, live);
    assert_eq!((&receipt["differences"], world.changes(before)), (&json!([]), vec!["UpdateEndpoint".to_owned()]));
}

#[tokio::test]
async fn what_is_ours_goes_and_nothing_else() {
    let mut world = World::new().await;
    world.cloud.add_foreign_endpoint("churn-of-somebody");
    let untouched = world.cloud.effects();
    world.update().await;
    world.take(&[("v2", 0.5), ("v3", 0.5)]).await;
    world.update().await;
    // Under another name, the endpoint of the first name goes.
    world.service().settings = object(json!({"endpointName": "churn-live"}));
    world.new_run();
    world.update().await;
    let endpoints = world.cloud.effects()["endpoints"].clone();
    assert_eq!(endpoints.as_object().unwrap().keys().collect::<Vec<_>>(), ["churn-live", "churn-of-somebody"]);

    world.new_run();
    world.step(Step::SwitchOff).await.unwrap();
    let effects = world.cloud.effects();
    assert_eq!(effects["endpoints"].as_object().unwrap().len(), 1);
    assert_eq!(effects["models"].as_object().unwrap().len(), 3);
    world.step(Step::SwitchOff).await.unwrap();
    world.new_run();
    assert_eq!(world.update().await.differences, []);

    world.new_run();
    world.step(Step::Remove).await.unwrap();
    assert_eq!(world.cloud.effects(), untouched);
    let before = world.cloud.changes().len();
    world.step(Step::Remove).await.unwrap();
    assert_eq!(world.cloud.changes().len(), before);
}

#[tokio::test]
async fn names_of_others_are_left_alone() {
    let mut world = World::new().await;
    world.service().settings = object(json!({"endpointName": "taken"}));
    world.until(Step::Push).await;
    world.cloud.add_foreign_endpoint("taken");
    let before = world.cloud.effects();
    for step in [Step::Validate, Step::Activate] {
        assert_eq!(world.failure(step).await.code.as_str(), "SAGEMAKER_NAME_TAKEN", "{step:?}");
    }
    world.step(Step::SwitchOff).await.unwrap();
    assert_eq!(world.cloud.effects(), before);
    // What is ours goes all the same.
    world.step(Step::Remove).await.unwrap();
    assert_eq!(world.cloud.effects()["endpoints"], before["endpoints"]);
    assert_eq!(world.cloud.effects()["models"], json!({}));
}

#[tokio::test]
async fn all_problems_are_told_at_once() {
    let mut world = World::new().await;
    world.spec.infrastructure.settings = object(json!({"vpc": {"subnets": ["s"]}, "repository": "nowhere"}));
    world.service().endpoint = Some("other".into());
    world.service().authorization = Some(Authorization::ApiKeys { keys: Vec::new() });
    let failure = world.failure(Step::Validate).await;
    assert_eq!(failure.code.as_str(), "VALIDATION_FAILED");
    for part in ["executionRoleArn", "baseImage", "vpc.securityGroupIds", "nowhere", "endpoint other", "IAM decides"] {
        assert!(failure.message.contains(part), "{part}: {failure}");
    }
    assert_eq!(world.changes(0), [""; 0]);

    // One kind of problem has its own code.
    let mut world = World::new().await;
    world.service().endpoint = None;
    assert_eq!(world.failure(Step::Validate).await.code.as_str(), "ENDPOINT_NOT_CHOSEN");
}

#[tokio::test]
async fn credentials_of_another_account_are_refused() {
    let mut world = World::new().await;
    world.update().await;
    world.set("executionRoleArn", json!("arn:aws:iam::999999999999:role/service"));
    let before = world.cloud.changes().len();
    world.new_run();
    let failure = world.failure(Step::Validate).await;
    assert!(failure.message.contains("999999999999") && failure.message.contains("123456789012"), "{failure}");
    assert_eq!(world.cloud.changes().len(), before);
    let report = world.target().check(&world.spec.infrastructure, &OneKey(KEY)).await.unwrap();
    assert!(report.problems.iter().any(|one| one.contains("999999999999")), "{report:?}");
}

#[tokio::test]
async fn a_repository_is_made_if_it_may_be() {
    let mut world = World::new().await;
    world.set("repository", json!("new/one"));
    assert_eq!(world.failure(Step::Validate).await.code.as_str(), "SAGEMAKER_REPOSITORY_MISSING");
    world.set("createRepository", json!(true));
    assert_eq!(world.update().await.differences, []);
    assert_eq!(world.changes(0)[0], "CreateRepository");
}

#[tokio::test]
async fn sessions_are_kept_and_renewed() {
    let mut world = World::new().await;
    let settings = &mut world.connection().settings;
    settings.insert("roleArn".into(), json!("arn:aws:iam::123456789012:role/deployer"));
    settings.insert("externalId".into(), json!("ours"));
    world.update().await;
    let assumed = |world: &World| world.changes(0).iter().filter(|change| *change == "AssumeRole").count();
    assert_eq!(assumed(&world), 1);
    world.cloud.expire_sessions();
    world.new_run();
    world.update().await;
    assert_eq!(assumed(&world), 2);
}

#[tokio::test]
async fn a_wrong_clock_is_corrected_once() {
    let world = World::new().await;
    world.cloud.set_clock(3_600);
    assert_eq!(world.update().await.differences, []);
    let refused = world.cloud.calls().iter().filter(|call| call.status == Some(403)).count();
    assert_eq!(refused, 1);
    // A clock that is a day off is nobody's to follow.
    world.cloud.set_clock(100_000);
    assert_eq!(world.failure(Step::Validate).await.code.as_str(), "NODE_KEY_REJECTED");
}

#[tokio::test]
async fn a_check_names_what_is_missing() {
    let mut world = World::new().await;
    let secrets = OneKey(KEY);
    let check = async |world: &World| world.target().check(&world.spec.infrastructure, &secrets).await.unwrap();
    let report = check(&world).await;
    assert_eq!((report.problems, report.is_admin), (vec![], false), "who has these rights is no administrator");
    assert_eq!(report.node_id.as_deref(), Some("123456789012"));
    world.cloud.deny(&["DescribeModel", "ListTags", "ListImages", "GetAuthorizationToken"]);
    let problems = check(&world).await.problems.join(" ");
    for right in ["sagemaker:DescribeModel", "sagemaker:ListTags", "ecr:ListImages", "ecr:GetAuthorizationToken"] {
        assert!(problems.contains(right), "{problems}");
    }
    let connection = world.targets().connection("AWS").unwrap();
    let spec = world.spec.infrastructure.connection.clone().unwrap();
    let report = connection.check(&spec, &secrets).await.unwrap();
    assert_eq!(report.problems, ["The right ecr:GetAuthorizationToken is missing."]);
    assert_eq!(world.changes(0), [""; 0]);

    let wrong = OneKey("another-key");
    let failure = world.target().check(&world.spec.infrastructure, &wrong).await.unwrap_err();
    assert_eq!(failure.code.as_str(), "NODE_KEY_REJECTED", "nothing kept answers a test");
    world.spec.infrastructure.settings = object(json!({}));
    world.connection().settings = object(json!({}));
    let report = check(&world).await;
    assert!(report.problems.len() >= 5 && !report.is_admin, "{:?}", report.problems);
}

#[tokio::test]
async fn a_machine_lends_nothing_by_itself() {
    let mut world = World::new().await;
    world.connection().settings.insert("authentication".into(), json!("WORKLOAD_IDENTITY"));
    assert_eq!(world.failure(Step::Validate).await.code.as_str(), "AWS_IDENTITY_NOT_LENT");
}

#[tokio::test]
async fn a_machines_identity_goes_where_the_operator_says_alone() {
    let lends = HostSettings { ambient_cloud_credentials: true, ..HostSettings::default() };
    for identity in ["PROFILE", "WORKLOAD_IDENTITY"] {
        for name in ["endpointUrl", "stsEndpointUrl", "sagemakerEndpointUrl", "runtimeEndpointUrl", "ecrEndpointUrl"] {
            let mut world = World::new().await;
            let url = world.cloud.url();
            world.connection().settings = object(
                json!({"region": "eu-west-1", "authentication": identity, "profile": "no-such-profile", name: url}),
            );
            world.on_host(lends.clone());
            assert_eq!(world.failure(Step::Validate).await.code.as_str(), "AMBIENT_CREDENTIALS_OFF", "{name}");
            let connection = world.spec.infrastructure.connection.clone().unwrap();
            let checker = world.targets().connection("AWS").unwrap();
            let failure = checker.check(&connection, &OneKey(KEY)).await.unwrap_err();
            assert_eq!(failure.code.as_str(), "AMBIENT_CREDENTIALS_OFF", "{name}");
            assert_eq!(world.cloud.calls().len(), 0, "{name}");
        }
    }
    let mut world = World::new().await;
    let url = world.cloud.url();
    world.connection().settings = object(
        json!({"region": "eu-west-1", "authentication": "PROFILE", "profile": "no-such-profile", "endpointUrl": url}),
    );
    world.on_host(HostSettings { ambient_endpoints: vec![url], ..lends });
    assert_eq!(world.failure(Step::Validate).await.code.as_str(), "AWS_CREDENTIALS_INVALID", "it may go there");
}

#[tokio::test]
async fn a_test_signs_in_afresh() {
    let mut world = World::new().await;
    world.connection().settings.insert("roleArn".into(), json!("arn:aws:iam::123456789012:role/deployer"));
    let connection = world.spec.infrastructure.connection.clone().unwrap();
    let checker = world.targets().connection("AWS").unwrap();
    let assumed = |world: &World| world.changes(0).iter().filter(|change| *change == "AssumeRole").count();
    for times in 1..=2 {
        checker.check(&connection, &OneKey(KEY)).await.unwrap();
        world.target().check(&world.spec.infrastructure, &OneKey(KEY)).await.unwrap();
        assert_eq!(assumed(&world), 2 * times);
    }
}

#[tokio::test]
async fn a_base_image_that_is_not_there_is_found_before_an_update() {
    let mut world = World::new().await;
    let base = world.spec.infrastructure.settings["baseImage"].as_str().unwrap().replace("base/node", "base/nothing");
    world.set("baseImage", json!(base));
    assert_eq!(world.failure(Step::Validate).await.code.as_str(), "IMAGE_BASE_NOT_FOUND");
    let preview = world.target().preview(world.look()).await.unwrap();
    assert_eq!(preview.problems[0].code, "IMAGE_BASE_NOT_FOUND");
    let report = world.target().check(&world.spec.infrastructure, &OneKey(KEY)).await.unwrap();
    assert!(report.problems[0].contains("IMAGE_BASE_NOT_FOUND"), "{report:?}");
    assert_eq!(world.changes(0), [""; 0]);
}

#[tokio::test]
async fn a_base_image_that_was_mended_under_its_tag_is_taken() {
    let mut world = World::new().await;
    world.update().await;
    world.cloud.mend_base_image("base/node", "1");
    world.new_run();
    let before = world.changes(0).len();
    assert_eq!(world.update().await.differences, []);
    assert_eq!(world.changes(before), ["PutImage", "CreateModel", "CreateEndpointConfig", "UpdateEndpoint"]);
    world.new_run();
    let before = world.changes(0).len();
    world.update().await;
    assert_eq!(world.changes(before), [""; 0]);
}

#[tokio::test]
async fn previews_name_what_moves_the_endpoint() {
    let mut world = World::new().await;
    world.update().await;
    let before = world.spec.infrastructure.settings.clone();
    for (setting, value, what) in [
        ("environment", json!({"MODE": "test"}), "environment variables of version v1"),
        ("executionRoleArn", json!("arn:aws:iam::123456789012:role/other"), "the execution role of version v1"),
        ("vpc", json!({"subnets": ["subnet-2"], "securityGroupIds": ["sg-1"]}), "the VPC of version v1"),
        ("kmsKeyId", json!("alias/other"), "the key of the machines' disks"),
        ("containerStartupTimeoutSeconds", json!(900), "the seconds to start of version v1"),
        ("tags", json!({"team": "other"}), "the tags"),
        ("variant", json!("Other"), "the settings of models and endpoint"),
        ("dataCapture", json!({"enabled": true, "destinationS3Uri": "s3://other"}), "what data capture keeps"),
    ] {
        world.set(setting, value);
        let changes = world.target().preview(world.look()).await.unwrap().changes;
        let told: Vec<_> = changes.iter().map(|change| change.what.as_str()).collect();
        assert_eq!(told, [what]);
        assert!(!format!("{changes:?}").contains("\"test\""), "{changes:?}");
        world.spec.infrastructure.settings.clone_from(&before);
    }
    assert_eq!(world.target().preview(world.look()).await.unwrap().changes, []);
}

#[tokio::test]
async fn what_a_deployment_sets_wrong_is_told_when_it_is_saved() {
    let world = World::new().await;
    let own = object(json!({"environment": {"SLIPWAY_X": ""}, "tags": {"aws:x": ""}}));
    let told = world.target().services().unwrap().problems(&world.spec.infrastructure.settings, &own);
    let paths: Vec<_> = told.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(paths, ["environment.SLIPWAY_X", "tags.aws:x"]);
}

#[tokio::test]
async fn versions_may_have_any_id() {
    let mut world = World::new().await;
    for id in ODD_VERSIONS {
        world.take(&[(id, 1.0)]).await;
        assert_eq!(world.update().await.differences, []);
        let seen = world.target().observe(world.look()).await.unwrap().service.unwrap();
        assert_eq!(seen.versions, shares(&[(id, 1.0)]));
    }
    world.take(&[(ODD_VERSIONS[0], 0.5), (ODD_VERSIONS[1], 0.5)]).await;
    assert_eq!(world.update().await.differences, []);
}
