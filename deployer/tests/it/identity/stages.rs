//! The lists of stages.

use deployer::{
    audit, deployments, infrastructures,
    paging::Page,
    rights::Level,
    stages::{self, StageKind, StagePatch},
};

use serde_json::json;

use crate::identity::support::{House, house, refused, viewer};

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
async fn a_renamed_stage_changes_its_infrastructures() {
    let house = house().await;
    house.infrastructure("PROD", Level::View).await;
    let seen = infrastructures::get(&house.deployer, &house.admin, "PROD").await.unwrap().unwrap();
    let rename = StagePatch { id: Some("QA".to_owned()), ..StagePatch::default() };
    stages::update(&house.deployer, &house.admin, LIST, "Test", rename).await.unwrap();
    stages::create(&house.deployer, &house.admin, LIST, "Test", "another one").await.unwrap();
    // Whoever saw it before must not put it into another stage of the old name.
    let stale = infrastructures::InfrastructurePatch { stage: Some(seen.stage), ..Default::default() };
    let answer = infrastructures::update(&house.deployer, &house.admin, "PROD", seen.version, stale).await;
    assert_eq!(refused(answer), "VERSION_CONFLICT");
    let of_it = audit::list::Filter { infrastructure_id: Some("PROD".to_owned()), ..Default::default() };
    let page = Page::new(Some(10), None).unwrap();
    let records = audit::list::list(&house.deployer, &house.admin, &of_it, &page).await.unwrap().items;
    let record = records.iter().map(|(_, event)| event).find(|event| event.action == "updateStage").unwrap();
    assert_eq!((&record.before, &record.after), (&json!({"stage": "Test"}), &json!({"stage": "QA"})));
    assert_eq!(record.object_id, "PROD");
    let report = audit::verify::verify(&house.deployer.db, Some(&house.deployer.keyring), None).await.unwrap();
    assert_eq!(report.findings, []);
}

#[tokio::test]
async fn an_infrastructure_whose_stage_vanished_is_shown_under_no_stage() {
    let house = house().await;
    house.infrastructure("lost", Level::Deploy).await;
    house.infrastructure("kept", Level::None).await;
    let moved = infrastructures::InfrastructurePatch { stage: Some("Production".to_owned()), ..Default::default() };
    infrastructures::update(&house.deployer, &house.admin, "kept", 1, moved).await.unwrap();
    // The other list's stage of this name is another one.
    house.sql("DELETE FROM stage WHERE id = 'Test' AND kind = 'PROJECT'").await;
    let columns = "id, project_key, infrastructure_id, bundle_id, deployed_project_key, settings, version, last_run_no, created_at, created_by, \
                   updated_at, updated_by";
    let values = "'d', 'P', 'lost', 'v1', 'P', '{}', 1, 0, 0, 'x', 0, 'x'";
    house.sql(&format!("INSERT INTO deployment ({columns}) VALUES ({values})")).await;
    let page = Page::new(None, None).unwrap();
    let list = async |viewer, filter: infrastructures::Filter| {
        let found = infrastructures::list(&house.deployer, viewer, &filter, &page).await.unwrap();
        let count = infrastructures::count(&house.deployer, viewer, &filter).await.unwrap();
        let found: Vec<_> = found.items.into_iter().map(|(_, one)| (one.id, one.stage, one.stage_exists)).collect();
        assert_eq!(count, found.len() as u64);
        found
    };
    let one = |id: &str, stage: &str, exists| (id.to_owned(), stage.to_owned(), exists);
    let all = list(&house.admin, infrastructures::Filter::default()).await;
    assert_eq!(all, [one("kept", "Production", true), one("lost", "Test", false)]);
    let none = || infrastructures::Filter { without_stage: true, ..Default::default() };
    assert_eq!(list(&house.admin, none()).await, [one("lost", "Test", false)]);
    let (dev, other) = (viewer("bob", &["dev"]), viewer("eve", &["other"]));
    assert_eq!(list(&dev, none()).await, [one("lost", "Test", false)]);
    assert_eq!(list(&other, none()).await, []);
    let by_name = infrastructures::Filter { stage: Some("Test".to_owned()), ..Default::default() };
    assert_eq!(list(&house.admin, by_name).await.len(), 1);
    let without = deployments::Filter { without_stage: true, ..Default::default() };
    let found = deployments::list(&house.deployer, &house.admin, &without, &page).await.unwrap();
    assert_eq!(found.items.len(), 1);
    // Its settings can be changed as before, and it can be put into a stage that is there.
    let patch = infrastructures::InfrastructurePatch { stage: Some("Test".to_owned()), ..Default::default() };
    let seen = infrastructures::update(&house.deployer, &house.admin, "lost", 1, patch).await.unwrap();
    assert!(!seen.stage_exists);
    let moved = infrastructures::InfrastructurePatch { stage: Some("Development".to_owned()), ..Default::default() };
    let seen = infrastructures::update(&house.deployer, &house.admin, "lost", 2, moved).await.unwrap();
    assert!(seen.stage_exists);
    assert_eq!(list(&house.admin, none()).await, []);
    // A stage of that name takes it in again.
    stages::create(&house.deployer, &house.admin, LIST, "Test", "").await.unwrap();
}

#[tokio::test]
async fn a_refusal_says_how_many_and_the_lists_keep_apart() {
    let house = house().await;
    for id in ["a", "b"] {
        house.infrastructure(id, Level::None).await;
        let refused = stages::delete(&house.deployer, &house.admin, LIST, "Test").await;
        let words = if id == "a" { "1 infrastructure is" } else { "2 infrastructures are" };
        assert!(format!("{refused:?}").contains(words), "{refused:?}");
    }
    // Who sees none of them learns nothing by trying.
    let eve = viewer("eve", &["other"]);
    let used = stages::delete(&house.deployer, &eve, LIST, "Test").await;
    let unused = stages::delete(&house.deployer, &eve, LIST, "Production").await;
    let absent = stages::delete(&house.deployer, &eve, LIST, "Moon").await;
    assert_eq!(format!("{used:?}"), format!("{unused:?}"));
    assert_eq!(format!("{used:?}"), format!("{absent:?}"));
    // Order and description are edited freely, also of one in use, and the other list does not move.
    let described = StagePatch { id: None, description: Some("before production".to_owned()) };
    let list = stages::update(&house.deployer, &house.admin, LIST, "Test", described).await.unwrap();
    assert_eq!(list[1].description, "before production");
    let order = ["Production", "Test", "Development"].map(str::to_owned);
    stages::reorder(&house.deployer, &house.admin, LIST, &order).await.unwrap();
    let rename = StagePatch { id: Some("QA".to_owned()), description: None };
    let list = stages::update(&house.deployer, &house.admin, LIST, "Test", rename).await.unwrap();
    assert_eq!(list.iter().map(|stage| stage.id.as_str()).collect::<Vec<_>>(), ["Production", "QA", "Development"]);
    assert_eq!(list[1].description, "before production");
    assert_eq!(ids(&house, StageKind::Api).await, ["Development", "Test", "Production"].map(str::to_owned));
    let seen = infrastructures::get(&house.deployer, &house.admin, "b").await.unwrap().unwrap();
    assert_eq!((seen.stage.as_str(), seen.stage_exists), ("QA", true));
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
