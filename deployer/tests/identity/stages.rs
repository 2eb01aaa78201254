//! The lists of stages.

use deployer::{
    infrastructures,
    rights::Level,
    stages::{self, StageKind, StagePatch},
};

use crate::support::{House, house, refused, viewer};

const LIST: StageKind = StageKind::Project;

async fn ids(house: &House, kind: StageKind) -> Vec<String> {
    stages::list(&house.deployer, &viewer("bob", &[]), kind).await.unwrap().into_iter().map(|stage| stage.id).collect()
}

#[tokio::test]
async fn two_lists_freely_edited() {
    let house = house().await;
    let preset = ["Development", "Test", "Production"];
    assert_eq!(
        (ids(&house, LIST).await, ids(&house, StageKind::Api).await),
        (preset.map(str::to_owned).to_vec(), preset.map(str::to_owned).to_vec())
    );
    stages::create(&house.deployer, &house.admin, LIST, "Staging", "like production").await.unwrap();
    assert_eq!(refused(stages::create(&house.deployer, &house.admin, LIST, "Staging", "").await), "ID_NOT_AVAILABLE");
    assert_eq!(refused(stages::create(&house.deployer, &house.admin, LIST, "a/b", "").await), "ID_INVALID");
    let order = ["Development", "Test", "Staging", "Production"].map(str::to_owned);
    stages::reorder(&house.deployer, &house.admin, LIST, &order).await.unwrap();
    assert_eq!(ids(&house, LIST).await, order);
    for wrong in [&order[..3], &[order.clone(), order.clone()].concat()] {
        assert_eq!(refused(stages::reorder(&house.deployer, &house.admin, LIST, wrong).await), "STAGE_UNKNOWN");
    }
    assert_eq!(ids(&house, StageKind::Api).await, preset);
    let deleted = stages::delete(&house.deployer, &house.admin, LIST, "Development").await.unwrap();
    assert_eq!(deleted.len(), 3);
    assert_eq!(ids(&house, LIST).await, order[1..]);
}

#[tokio::test]
async fn a_stage_in_use_is_renamed_with_its_infrastructures_and_not_deleted() {
    let house = house().await;
    house.infrastructure("prod", Level::None).await;
    assert_eq!(refused(stages::delete(&house.deployer, &house.admin, LIST, "Test").await), "IN_USE");
    // The other list's stage of the same name is another one.
    stages::delete(&house.deployer, &house.admin, StageKind::Api, "Test").await.unwrap();
    let rename = |id: &str| StagePatch { id: Some(id.to_owned()), description: None };
    let update = async |id, patch| stages::update(&house.deployer, &house.admin, LIST, id, patch).await;
    assert_eq!(refused(update("Test", rename("Production")).await), "ID_NOT_AVAILABLE");
    assert_eq!(refused(update("Test", rename(" ")).await), "ID_INVALID");
    assert_eq!(refused(update("Moon", rename("Sun")).await), "NOT_FOUND");
    let list =
        update("Test", StagePatch { id: Some("QA".to_owned()), description: Some("d".to_owned()) }).await.unwrap();
    assert_eq!((list[1].id.as_str(), list[1].description.as_str()), ("QA", "d"));
    let seen = infrastructures::get(&house.deployer, &house.admin, "prod").await.unwrap().unwrap();
    assert_eq!(seen.stage, "QA");
    infrastructures::delete(&house.deployer, &house.admin, "prod").await.unwrap();
    stages::delete(&house.deployer, &house.admin, LIST, "QA").await.unwrap();
}

#[tokio::test]
async fn global_administrators_alone() {
    let house = house().await;
    let ops = viewer("ann", &["ops"]);
    let (deployer, ops) = (&house.deployer, &ops);
    assert_eq!(refused(stages::create(deployer, ops, LIST, "x", "").await), "FORBIDDEN");
    assert_eq!(refused(stages::update(deployer, ops, LIST, "Test", StagePatch::default()).await), "FORBIDDEN");
    assert_eq!(refused(stages::reorder(deployer, ops, LIST, &[]).await), "FORBIDDEN");
    assert_eq!(refused(stages::delete(deployer, ops, LIST, "Test").await), "FORBIDDEN");
}
