//! Looks outside a run: check, preview, health, drift, queries. They change nothing.

use sandbox::ServiceSpec as Sample;
use serde_json::{Value, json};
use targets::{
    on_node::OnNode,
    secret_ref::SecretRef,
    service::{Authorization, OAuth2},
    target::ServiceQuery,
};

use super::world::{SERVICE, World, world};
use crate::support::{KEY, OneKey, Step};

async fn observed(world: &World) -> OnNode {
    world.target().observe(world.look()).await.unwrap()
}

#[tokio::test]
async fn health_tells_what_answers() {
    let mut world = world().await;
    assert!(!observed(&world).await.exists);
    world.take(&[("v1", 0.5), ("v2", 0.5)]).await;
    world.update().await;
    let on = observed(&world).await;
    let service = on.service.unwrap();
    assert!(on.exists && service.enabled && service.troubles.is_empty());
    assert_eq!(service.versions.len(), 2);
    assert_eq!(service.urls, [world.node.url()]);
    world.node.set_alive(false);
    let troubles = observed(&world).await.service.unwrap().troubles;
    assert!(troubles.len() == 1 && troubles[0].is_error && troubles[0].code.as_str() == "API_NODE_NOT_ALIVE");
}

#[tokio::test]
async fn drift_tells_what_somebody_changed() {
    let world = world().await;
    let (receipt, _) = world.update().await;
    let drift = async |world: &World| world.target().drift(world.look(), &receipt).await.unwrap();
    assert_eq!(drift(&world).await, []);
    world.step(Step::SwitchOff).await.unwrap();
    let found = drift(&world).await;
    assert!(found.len() == 1 && found[0].found == "disabled", "{found:?}");
    let by_hand = world.there().join("hand.zip");
    world.step(Step::Remove).await.unwrap();
    let found = drift(&world).await;
    assert!(found.len() == 1 && found[0].found == "not there", "{found:?}");
    std::fs::write(&by_hand, sandbox::sample_service(&Sample::new(SERVICE, "v9"))).unwrap();
    world.node.serve(&[(&by_hand, 1.0).into()]).unwrap();
    let found = drift(&world).await;
    assert!(
        found.len() == 1 && found[0].found == json!({"v9": 1.0}) && found[0].wanted == json!({"v1": 1.0}),
        "{found:?}"
    );
}

#[tokio::test]
async fn a_preview_tells_what_would_change() {
    let mut world = world().await;
    let preview = world.target().preview(world.look()).await.unwrap();
    assert!(preview.creates_project && preview.problems.is_empty(), "{preview:?}");
    assert_eq!(preview.changes.len(), 2);
    world.update().await;
    let preview = world.target().preview(world.look()).await.unwrap();
    assert_eq!((preview.changes, preview.active_bundle.as_deref()), (Vec::new(), Some("v1")));
    world.settings().insert("delivery".into(), Value::Null);
    let preview = world.target().preview(world.look()).await.unwrap();
    assert_eq!(preview.problems[0].code, "SETTING_MISSING");
    assert_eq!(world.effects("POST", ""), 4, "what the update did, and nothing else");
}

#[tokio::test]
async fn a_check_proves_the_key() {
    let mut world = world().await;
    let place = world.spec.infrastructure.clone();
    let report = world.target().check(&place, &OneKey(KEY)).await.unwrap();
    assert!(report.is_admin && report.problems.is_empty() && report.version.is_some(), "{report:?}");
    let failure = world.target().check(&place, &OneKey("wrong")).await.unwrap_err();
    assert_eq!(failure.code.as_str(), "NODE_KEY_REJECTED");
    world.settings().remove("delivery");
    world.settings().insert("quorum".into(), 5.into());
    let place = world.spec.infrastructure.clone();
    let report = world.target().check(&place, &OneKey(KEY)).await.unwrap();
    assert_eq!(report.problems.len(), 2, "{report:?}");
    assert_eq!(targets::TargetType::Static.quorum(&place.settings), Some(5));
}

#[tokio::test]
async fn the_deployer_asks_with_the_keys_that_it_has() {
    let mut world = world().await;
    let locked = Sample::new(SERVICE, "v1").keys(&["other", "s3cret-of-own"]);
    let mut version = world.stored(&locked, 1.0).await;
    version.api_keys = vec![SecretRef { id: "own".into() }];
    world.service().versions = vec![version];
    world.update().await;
    world.service().versions[0].api_keys.insert(0, SecretRef { id: "nobodys".into() });
    let ask = async |world: &World| {
        let endpoint = world.spec.service.as_ref().unwrap().versions[0].endpoints[0].clone();
        let timeout = std::time::Duration::from_secs(10);
        let query = ServiceQuery { headers: Vec::new(), endpoint, body: json!({"features": {"a": 1}}), timeout };
        world.target().services().unwrap().query(world.look(), &query).await
    };
    // The first is the manifest's, as far as the spec says; the node does not take it, and that is answered.
    assert_eq!(ask(&world).await.unwrap().status, 401);
    world.service().versions[0].api_keys.remove(0);
    assert_eq!(ask(&world).await.unwrap().status, 200);
    world.service().versions[0].api_keys.clear();
    assert_eq!(ask(&world).await.unwrap_err().code.as_str(), "QUERY_CREDENTIALS_MISSING");
    let tokens = OAuth2 { issuer: Some("me".into()), jwks: Some(json!({"keys": []})), ..OAuth2::default() };
    world.service().authorization = Some(Authorization::Oauth2(tokens));
    assert_eq!(ask(&world).await.unwrap_err().code.as_str(), "QUERY_CREDENTIALS_MISSING");
}

#[tokio::test]
async fn one_node_under_two_urls_is_told() {
    let mut world = world().await;
    let (key, first) = (json!({"$secret": "key-1"}), world.node.url());
    let second = first.replace("127.0.0.1", "localhost");
    let nodes = json!([{"url": first, "adminAPIKey": key}, {"url": second, "adminAPIKey": key}]);
    world.settings().insert("apiNodes".into(), nodes);
    world.update().await;
    let mut place = world.spec.infrastructure.clone();
    let report = world.target().check(&place, &OneKey(KEY)).await.unwrap();
    assert_eq!(report.problems, [""; 0], "the first is named by the second");
    place.node = targets::TargetType::Static.nodes(&place.settings)[1].node.clone();
    let report = world.target().check(&place, &OneKey(KEY)).await.unwrap();
    assert!(report.problems.len() == 1 && report.problems[0].contains("two URLs"), "{report:?}");
    // An update says the same, and not that somebody else brought what is there.
    world.new_run();
    world.spec.infrastructure.node = place.node;
    let (failure, _) = world.failure(Step::Push).await;
    assert_eq!(failure.code.as_str(), "SERVICE_NAME_TAKEN");
    assert!(failure.message.contains(&first) && !failure.message.contains("no record"), "{}", failure.message);
}
