//! Two API nodes behind one infrastructure, each a lane: one that is down keeps the other from nothing, and the next update repairs it.

use sandbox::ApiNode;
use serde_json::json;
use targets::{TargetType, spec::DeploySpec};

use super::world::{SERVICE, World, world};
use crate::support::{KEY, Step};

/// Does all steps on one node, as its lane does them.
async fn update_on(world: &mut World, whole: &DeploySpec, name: &str) -> Result<(), String> {
    world.new_run();
    let DeploySpec { service, .. } = world.spec.clone();
    world.spec = DeploySpec { service, ..whole.on(Some(name)).unwrap() };
    match world.attempt(Step::Validate).await {
        Err(engine::failure::StepError::Retryable { failure, .. }) => return Err(failure.code.as_str().to_owned()),
        other => other.map(drop).unwrap(),
    }
    world.update().await;
    Ok(())
}

#[tokio::test]
async fn one_node_down_is_left_out_and_repaired() {
    let mut world = world().await;
    let second = ApiNode::builder().node_id("second").admin_key(KEY).packages(world.there()).build().unwrap();
    let running = second.start("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let (addr, key) = (running.addr(), json!({"$secret": "key-1"}));
    let nodes = json!([
        {"name": "one", "url": world.node.url(), "adminAPIKey": key},
        {"name": "two", "url": running.url(), "adminAPIKey": key, "externalUrl": "https://callers.example.com/two"},
    ]);
    world.settings().insert("apiNodes".into(), nodes);
    world.settings().insert("quorum".into(), 1.into());
    let mut whole = world.spec.clone();
    whole.infrastructure.nodes = TargetType::Static.nodes(&whole.infrastructure.settings);
    let lanes: Vec<_> = whole.infrastructure.places().iter().map(|place| place.name.unwrap().to_owned()).collect();
    assert_eq!(lanes, ["one", "two"]);
    for lane in &lanes {
        update_on(&mut world, &whole, lane).await.unwrap();
    }
    assert_eq!(second.snapshot()["services"], world.on_node(), "the same everywhere");
    let seen = world.target().observe(world.look()).await.unwrap().service.unwrap();
    assert_eq!(seen.urls, ["https://callers.example.com/two"]);

    // Two is down: its lane fails, one's does not.
    running.stop().await;
    world.take(&[("v2", 1.0)]).await;
    update_on(&mut world, &whole, "one").await.unwrap();
    assert_eq!(update_on(&mut world, &whole, "two").await, Err("NODE_UNREACHABLE".to_owned()));
    assert_eq!(world.mapping(), [("v2".to_owned(), 1.0)].into());
    assert_eq!(second.snapshot()["services"][SERVICE]["mapping"][0]["generation"], "v1");

    // It is back: the next update makes it the same.
    let running = second.start(addr).await.unwrap();
    for lane in &lanes {
        update_on(&mut world, &whole, lane).await.unwrap();
    }
    let switched = |node: &serde_json::Value| node[SERVICE]["mapping"].clone();
    assert_eq!(switched(&second.snapshot()["services"]), switched(&world.on_node()));
    running.stop().await;
}
