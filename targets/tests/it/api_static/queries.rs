//! Queries through the deployer where there are several nodes: the one that can answer does.

use std::time::Duration;

use sandbox::{ApiNode, Fault, FaultKind, RunningApiNode, ServiceSpec as Sample, When};
use serde_json::json;
use targets::{
    TargetType,
    service::EndpointSpec,
    target::{ServiceAnswer, ServiceQuery, Target},
};

use super::world::{SERVICE, World, world};
use crate::support::KEY;

/// A world whose node has the service, behind another one that is named first.
async fn behind(first: &str) -> World {
    let mut world = world().await;
    let sample = Sample::new(SERVICE, "v1").endpoint("f", "PY_FUNCTION");
    world.service().versions = vec![world.stored(&sample, 1.0).await];
    world.update().await;
    let (key, own) = (json!({"$secret": "key-1"}), world.node.url());
    let nodes = json!([{"url": first, "adminAPIKey": key}, {"url": own, "adminAPIKey": key}]);
    world.settings().insert("apiNodes".into(), nodes);
    let named = TargetType::Static.nodes(&world.spec.infrastructure.settings);
    world.spec.infrastructure.node = named[0].node.clone();
    world.spec.infrastructure.nodes = named;
    world
}

async fn other() -> RunningApiNode {
    ApiNode::builder().node_id("other").admin_key(KEY).start("127.0.0.1:0".parse().unwrap()).await.unwrap()
}

async fn ask(world: &World, target: &dyn Target, endpoint: &str, kind: &str) -> ServiceAnswer {
    let endpoint = EndpointSpec { id: endpoint.to_owned(), kind: Some(kind.to_owned()) };
    let timeout = Duration::from_secs(4);
    let query = ServiceQuery { endpoint, body: json!({"features": {"a": 1}}), headers: Vec::new(), timeout };
    target.services().unwrap().query(world.look(), &query).await.unwrap()
}

fn queries(node: &RunningApiNode) -> usize {
    node.calls().iter().filter(|call| call.path.starts_with("/public/")).count()
}

#[tokio::test]
async fn a_query_goes_to_a_node_that_can_be_reached() {
    let down = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let world = behind(&format!("http://{down}")).await;
    assert_eq!(ask(&world, &*world.target(), "score", "STD_PREDICTION").await.status, 200);
}

#[tokio::test]
async fn a_node_that_hangs_is_asked_once() {
    let hung = other().await;
    let hold = FaultKind::Hold { when: When::Before };
    hung.arm(Fault { method: None, path: "**".to_owned(), nth: 1, count: None, kind: hold }).unwrap();
    let world = behind(&hung.url()).await;
    let target = world.target();
    for _ in 0..5 {
        assert_eq!(ask(&world, &*target, "score", "STD_PREDICTION").await.status, 200);
    }
    assert_eq!(queries(&hung), 1);
}

#[tokio::test]
async fn what_would_run_is_not_given_to_a_node_that_hangs() {
    let hung = other().await;
    let hold = FaultKind::Hold { when: When::Before };
    hung.arm(Fault { method: None, path: "**".to_owned(), nth: 1, count: None, kind: hold }).unwrap();
    let world = behind(&hung.url()).await;
    let target = world.target();
    for _ in 0..2 {
        assert_eq!(ask(&world, &*target, "f", "PY_FUNCTION").await.status, 200);
    }
    assert_eq!((queries(&hung), hung.calls().len()), (0, 1), "it was asked whether it lives, and no more");
}

#[tokio::test]
async fn a_node_that_cannot_serve_it_is_not_the_answer() {
    // It lost the service.
    let node = other().await;
    let world = behind(&node.url()).await;
    assert_eq!(ask(&world, &*world.target(), "score", "STD_PREDICTION").await.status, 200);
    assert_eq!(queries(&node), 1);
    // It is out of order.
    let node = other().await;
    let out = FaultKind::Status { status: 503, error_type: None, message: None, retry_after: None };
    node.arm(Fault::on("POST", "/public/**", out).for_ever()).unwrap();
    let world = behind(&node.url()).await;
    assert_eq!(ask(&world, &*world.target(), "score", "STD_PREDICTION").await.status, 200);
    assert_eq!(queries(&node), 1);
    // Where nobody can serve it, that is the answer.
    let world = behind(&node.url()).await;
    assert_eq!(ask(&world, &*world.target(), "nowhere", "STD_PREDICTION").await.status, 503);
}
