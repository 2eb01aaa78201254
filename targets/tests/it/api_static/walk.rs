//! An update from end to end, and what follows it.

use sandbox::ServiceSpec as Sample;
use serde_json::{Value, json};
use targets::{
    secret_ref::SecretRef,
    service::{Auditing, Authorization},
    target::{ServiceQuery, VersionShare},
};

use super::world::{SERVICE, World, world};
use crate::support::Step;

fn key(id: &str) -> SecretRef {
    SecretRef { id: id.to_owned() }
}

#[tokio::test]
async fn an_update_from_nothing_and_the_next_one() {
    let mut world = world().await;
    let (receipt, warnings) = world.update().await;
    assert_eq!((warnings, receipt.differences), (Vec::new(), Vec::new()));
    let service = receipt.service.unwrap();
    assert_eq!((service.service_id.as_str(), service.enabled), (SERVICE, true));
    assert_eq!(service.versions, [VersionShare { version: "v1".into(), probability: 1.0 }]);
    assert_eq!(service.urls, [world.node.url()]);
    let on_node = world.on_node();
    let generation = &on_node[SERVICE]["generations"][0];
    // The very bytes that were uploaded, preloaded.
    assert_eq!(generation["sha256"], json!(world.service().versions[0].sha256));
    assert_eq!((&generation["generation"], &generation["preloaded"]), (&json!("v1"), &json!(true)));
    let first = World::files(&world.there());
    assert!(first.len() == 1 && first[0].starts_with("slipway-") && first[0].ends_with(".zip"), "{first:?}");

    world.new_run();
    world.take(&[("v2", 1.0)]).await;
    world.update().await;
    assert_eq!(world.mapping(), [("v2".to_owned(), 1.0)].into());
    // The package of the version before is no longer needed.
    let second = World::files(&world.there());
    assert!(second.len() == 1 && second != first, "{second:?}");
    assert_eq!(world.scratch(), [""; 0]);

    // Nothing to do: nothing is done.
    world.new_run();
    world.node.clear_calls();
    world.update().await;
    assert_eq!((world.effects("POST", "importFromArchive"), world.effects("POST", "v2")), (0, 0));
}

#[tokio::test]
async fn several_versions_answer_by_their_shares() {
    let mut world = world().await;
    world.take(&[("v1", 0.25), ("v2", 0.75)]).await;
    let (receipt, _) = world.update().await;
    assert_eq!(world.mapping(), [("v1".to_owned(), 0.25), ("v2".to_owned(), 0.75)].into());
    assert_eq!(receipt.bundle.as_deref(), Some("v2"), "the version that answers most");
    let mut counts = std::collections::BTreeMap::new();
    for _ in 0..200 {
        let answer = query(&world).await;
        *counts.entry(answer["apiContext"]["serviceGeneration"].as_str().unwrap().to_owned()).or_insert(0) += 1;
    }
    assert!((40..=60).contains(&counts["v1"]) && counts.values().sum::<i32>() == 200, "{counts:?}");
}

async fn query(world: &World) -> Value {
    let target = world.target();
    let endpoint = world.spec.service.as_ref().unwrap().versions[0].endpoints[0].clone();
    let query = ServiceQuery {
        headers: Vec::new(),
        endpoint,
        body: json!({"features": {"amount": 3}}),
        timeout: std::time::Duration::from_secs(10),
    };
    let answer = target.services().unwrap().query(world.look(), &query).await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

#[tokio::test]
async fn authorization_and_auditing_go_with_the_package() {
    let mut world = world().await;
    world.service().authorization = Some(Authorization::ApiKeys { keys: vec![key("caller"), key("other")] });
    let auditing = Auditing::LogFiles { routing_key: "fraud-prod".into() };
    world.service().auditing = Some(auditing);
    let (receipt, warnings) = world.update().await;
    assert_eq!((warnings, receipt.differences), (Vec::new(), Vec::new()));
    assert_eq!(receipt.service.unwrap().versions[0].version, "v1", "told in the words of the spec");
    let generation = world.on_node()[SERVICE]["generations"][0].clone();
    let name = generation["generation"].as_str().unwrap().to_owned();
    assert!(name.starts_with("v1~") && name.len() == 11, "{name}");
    assert_eq!((&generation["authMethod"], &generation["apiKeys"]), (&json!("API_KEYS"), &json!(2)));
    assert_eq!(generation["auditing"], json!({"routingKey": "fraud-prod", "targets": [{"type": "LOG_FILES"}]}));
    assert_eq!(world.scratch(), [""; 0]);
    // The deployer has the key.
    query(&world).await;

    // Other settings, the same version: another generation, and the old package goes.
    world.new_run();
    world.service().authorization = Some(Authorization::Public);
    world.update().await;
    let now: Vec<_> = world.mapping().into_keys().collect();
    assert!(now.len() == 1 && now[0].starts_with("v1~") && now[0] != name, "{now:?}");
    assert_eq!(World::files(&world.there()).len(), 1);
    // And without any: the version's own.
    world.new_run();
    world.service().authorization = None;
    world.service().auditing = None;
    world.update().await;
    assert_eq!(world.mapping(), [("v1".to_owned(), 1.0)].into());
}

#[tokio::test]
async fn another_id_on_the_node() {
    let mut world = world().await;
    world.service().service_id = "fraud-eu".into();
    let (receipt, _) = world.update().await;
    assert_eq!(receipt.service.unwrap().service_id, "fraud-eu");
    assert!(world.on_node()["fraud-eu"]["enabled"].as_bool().unwrap() && world.on_node().get(SERVICE).is_none());
    query(&world).await;
}

#[tokio::test]
async fn a_service_that_is_open_and_should_not_be_is_told() {
    let mut world = world().await;
    // The spec says that keys are wanted; the archive lets everybody in.
    world.service().versions[0].auth_method = Some("API_KEYS".into());
    world.until(Step::Activate).await.unwrap();
    let (failure, retryable) = world.failure(Step::Enforce).await;
    assert_eq!((failure.code.as_str(), retryable), ("SERVICE_AUTH_DIFFERS", false));
    // And the other way round.
    let locked = world.stored(&Sample::new(SERVICE, "v2").keys(&["k"]), 1.0).await;
    world.new_run();
    world.service().versions = vec![locked];
    world.update().await;
    world.service().versions[0].auth_method = Some("PUBLIC".into());
    let (failure, _) = world.failure(Step::Enforce).await;
    assert_eq!(failure.code.as_str(), "SERVICE_AUTH_DIFFERS");
}

#[tokio::test]
async fn switching_off_and_removing_take_what_is_ours_and_nothing_else() {
    let mut world = world().await;
    world.update().await;
    std::fs::write(world.there().join("slipway-other.zip"), "theirs").unwrap();
    world.new_run();
    for _ in 0..2 {
        world.step(Step::SwitchOff).await.unwrap();
    }
    assert_eq!(world.on_node()[SERVICE]["enabled"], false);
    assert_eq!(world.effects("POST", "disable"), 1);
    // Enabling is an update.
    world.new_run();
    world.update().await;
    assert_eq!(world.on_node()[SERVICE]["enabled"], true);
    world.new_run();
    world.step(Step::Remove).await.unwrap();
    assert_eq!(world.on_node(), json!({}));
    assert_eq!(World::files(&world.there()), ["slipway-other.zip"]);
    world.step(Step::Remove).await.unwrap();
    // And again from nothing.
    world.new_run();
    world.update().await;
    assert_eq!(world.mapping(), [("v1".to_owned(), 1.0)].into());
}

#[tokio::test]
async fn what_is_somebody_elses_is_left_alone() {
    let mut world = world().await;
    let archive = world.there().join("theirs.zip");
    std::fs::write(&archive, sandbox::sample_service(&Sample::new(SERVICE, "v1"))).unwrap();
    world.node.serve(&[(&archive, 1.0).into()]).unwrap();
    let before = world.on_node();
    let preview = world.target().preview(world.look()).await.unwrap();
    assert_eq!(preview.problems.iter().map(|one| one.code.as_str()).collect::<Vec<_>>(), ["SERVICE_NAME_TAKEN"]);
    for step in [Step::Validate, Step::Push, Step::Remove] {
        let (failure, retryable) = world.failure(step).await;
        assert_eq!((failure.code.as_str(), retryable), ("SERVICE_NAME_TAKEN", false));
    }
    assert_eq!(world.on_node(), before);
    world.settings().insert("trustForeignGenerations".into(), true.into());
    world.update().await;
    assert_eq!(world.effects("POST", "importFromArchive"), 0);
}

#[tokio::test]
async fn unused_generations_are_cleaned_up_where_that_is_wanted() {
    let mut world = world().await;
    world.settings().insert("cleanUnusedGenerations".into(), true.into());
    for version in ["v1", "v2", "v3"] {
        world.new_run();
        world.take(&[(version, 1.0)]).await;
        world.update().await;
        // A step that is attempted again does not drop what it brought.
        world.step(Step::Push).await.unwrap();
    }
    let on_node = world.on_node();
    let names: Vec<_> =
        on_node[SERVICE]["generations"].as_array().unwrap().iter().map(|one| &one["generation"]).collect();
    assert_eq!(names, ["v2", "v3"], "what was live before stays until the next update, to be put back");
}

#[tokio::test]
async fn nothing_is_cleaned_up_while_another_update_may_need_it() {
    let mut world = world().await;
    world.service().service_id = "other".into();
    for version in ["v1", "v2"] {
        world.new_run();
        world.take(&[(version, 1.0)]).await;
        world.update().await;
    }
    // It was brought a moment ago, and what answered before would be put back.
    let at = world.run.now.load(std::sync::atomic::Ordering::SeqCst);
    for record in world.ledger.0.lock().unwrap().values_mut() {
        record.at = at;
    }
    world.new_run();
    world.service().service_id = SERVICE.into();
    world.settings().insert("cleanUnusedGenerations".into(), true.into());
    let left = |world: &World| world.on_node()["other"]["generations"].as_array().unwrap().len();
    world.update().await;
    assert_eq!((left(&world), world.effects("DELETE", "services-clean-unused")), (2, 0));
    world.new_run();
    world.run.advance(std::time::Duration::from_secs(6 * 3_600));
    world.update().await;
    assert_eq!((left(&world), world.effects("DELETE", "services-clean-unused")), (1, 1));
}

#[tokio::test]
async fn validation_names_all_that_is_wrong_at_once() {
    let mut world = world().await;
    world.service().endpoint = Some("nowhere".into());
    world.service().authorization = Some(Authorization::ApiKeys { keys: Vec::new() });
    world
        .settings()
        .insert("delivery".into(), json!({"mode": "SHARED_FOLDER", "folder": "elsewhere", "nodePath": "/x"}));
    world.node.set_alive(false);
    let (failure, retryable) = world.failure(Step::Validate).await;
    assert_eq!((failure.code.as_str(), retryable), ("VALIDATION_FAILED", false));
    for part in ["\"nowhere\"", "API keys", "\"elsewhere\"", "not alive"] {
        assert!(failure.message.contains(part), "{part}: {}", failure.message);
    }
    assert_eq!(world.on_node(), json!({}));
    for (settings, path) in [
        (json!({}), "apiNodes"),
        (json!({"apiNodes": [{"url": world.node.url()}]}), "apiNodes[0].adminAPIKey"),
        (json!({"apiNodes": [{"url": world.node.url(), "adminAPIKey": {"$secret": "key-1"}}]}), "delivery.mode"),
        (
            json!({"apiNodes": [{"url": world.node.url(), "adminAPIKey": {"$secret": "key-1"}, "delivery": {"mode": "AGENT"}}]}),
            "apiNodes[0].delivery.url",
        ),
    ] {
        let settings = settings.as_object().unwrap().clone();
        let named = targets::TargetType::Static.nodes(&settings).into_iter().next();
        world.spec.infrastructure.node = named.map(|one| one.node).unwrap_or_default();
        world.spec.infrastructure.settings = settings;
        let (failure, _) = world.failure(Step::Validate).await;
        assert!(failure.message.contains(&format!(" {path} ")), "{path}: {failure:?}");
    }
}
