//! What a node says inside a success, and what a probe takes for an answer.

use sandbox::{Fault, FaultKind, ServiceSpec as Sample};
use serde_json::{Value, json};
use targets::service::Auditing;

use super::world::{SERVICE, STEPS, World, world};
use crate::support::Step;

const QUERIES: &str = "/public/api/v1/**";

fn status(status: u16) -> FaultKind {
    FaultKind::Status { status, error_type: None, message: None, retry_after: None }
}

#[tokio::test]
async fn an_error_inside_a_success_is_an_error() {
    let calls = [
        ("/admin/api/services", Step::Push),
        ("/admin/api/services/*/generations/actions/importFromArchive", Step::Push),
        ("/admin/api/services/*/generations/*/preload", Step::Push),
        ("/admin/api/services/*/actions/switchTo/*", Step::Activate),
    ];
    for (path, at) in calls {
        let world = world().await;
        for step in STEPS.into_iter().take_while(|step| *step != at) {
            world.step(step).await.unwrap();
        }
        let report = FaultKind::ReportError { code: "ERR_FULL".to_owned(), message: "no room is left".to_owned() };
        world.node.arm(Fault::on("POST", path, report)).unwrap();
        let (failure, again) = world.failure(at).await;
        assert_eq!((failure.code.as_str(), again), ("NODE_REPORT_ERROR", false), "{path}");
        for word in ["ERR_FULL", "no room is left"] {
            assert!(failure.message.contains(word), "{path}: {}", failure.message);
        }
        // The next update does what was not done.
        world.update().await;
        assert_eq!(world.on_node()[SERVICE]["generations"][0]["preloaded"], true, "{path}");
    }
}

#[tokio::test]
async fn a_path_that_the_node_refuses_is_named() {
    let mut world = world().await;
    let outside = world.path("elsewhere");
    let delivery = json!({"mode": "SHARED_FOLDER", "folder": "shared", "nodePath": outside});
    world.settings().insert("delivery".into(), delivery);
    world.step(Step::Validate).await.unwrap();
    let (failure, _) = world.failure(Step::Push).await;
    for part in [outside.to_str().unwrap(), "nodePath"] {
        assert!(failure.message.contains(part), "{}", failure.message);
    }
}

#[tokio::test]
async fn a_page_is_no_answer() {
    for code in [200, 400] {
        let world = world().await;
        world.until(Step::Enforce).await.unwrap();
        world.node.arm(Fault::on("POST", QUERIES, FaultKind::Html { status: code })).unwrap();
        let (failure, again) = world.failure(Step::Verify).await;
        assert_eq!((failure.code.as_str(), again), ("SERVICE_NOT_ANSWERING", true));
        assert!(failure.message.contains("without JSON"), "{}", failure.message);
        world.step(Step::Verify).await.unwrap();
    }
}

/// A world whose version brings test queries along, or none, after all steps but the last.
async fn to_verify(queries: Option<Value>) -> World {
    let mut world = world().await;
    let mut endpoint = json!({"id": "score", "type": "STD_PREDICTION"});
    if let Some(queries) = queries {
        endpoint["testQueries"] = queries;
    }
    let sample = Sample::new(SERVICE, "v1").with("endpoints", json!([endpoint]));
    world.service().versions = vec![world.stored(&sample, 1.0).await];
    world.until(Step::Enforce).await.unwrap();
    world.node.clear_calls();
    world
}

#[tokio::test]
async fn an_endpoint_that_fails_without_features_is_asked_its_own_test_query() {
    let queries = json!([{"q": {"features": {"amount": 2}}}]);
    let world = to_verify(Some(queries.clone())).await;
    world.node.arm(Fault::on("POST", QUERIES, status(500))).unwrap();
    let (_, warnings) = world.step(Step::Verify).await.unwrap();
    assert_eq!(warnings, [""; 0]);
    assert_eq!(world.node.calls().iter().filter(|call| call.path.starts_with("/public/")).count(), 2);
    assert_eq!(world.scratch(), [""; 0]);

    let world = to_verify(Some(queries)).await;
    world.node.arm(Fault::on("POST", QUERIES, status(500)).times(2)).unwrap();
    let (failure, again) = world.failure(Step::Verify).await;
    assert_eq!((failure.code.as_str(), again), ("SERVICE_NOT_ANSWERING", true));
}

#[tokio::test]
async fn an_endpoint_that_fails_and_brings_no_test_query_is_told_of() {
    let world = to_verify(None).await;
    world.node.arm(Fault::on("POST", QUERIES, status(500))).unwrap();
    let (_, warnings) = world.step(Step::Verify).await.unwrap();
    assert!(warnings.len() == 1 && warnings[0].contains("endpoint score"), "{warnings:?}");
}

#[tokio::test]
async fn logging_nowhere_takes_out_what_a_version_says_itself() {
    let mut world = world().await;
    let own = json!({"routingKey": "mine", "targets": [{"type": "LOG_FILES"}]});
    let sample = Sample::new(SERVICE, "v1").with("auditing", own.clone());
    world.service().versions = vec![world.stored(&sample, 1.0).await];
    world.update().await;
    assert_eq!(world.on_node()[SERVICE]["generations"][0]["auditing"], own);
    world.new_run();
    world.service().auditing = Some(Auditing::None);
    world.update().await;
    let live = world.mapping().into_keys().next().unwrap();
    let on_node = world.on_node();
    let generations = on_node[SERVICE]["generations"].as_array().unwrap();
    let found = generations.iter().find(|one| one["generation"] == json!(live)).unwrap();
    assert_eq!(found["auditing"], Value::Null, "{found}");
}
