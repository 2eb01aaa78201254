//! What a look at a deployed project finds, what has drifted, and what turns it off.

use std::time::Duration;

use engine::secrets::Secret;
use sandbox::{Fault, FaultKind};
use serde_json::{Value, json};
use targets::{
    on_node::{OnNode, Outcome},
    target::{Difference, Receipt},
};

use crate::support::{KEY, Step, World, node, world};

impl World {
    async fn observed(&self) -> OnNode {
        self.target().observe(self.look()).await.unwrap()
    }

    async fn drifted(&self, receipt: &Receipt) -> Vec<String> {
        let found = self.target().drift(self.look(), receipt).await.unwrap();
        let told = |one: Difference| format!("{}: {} → {}", one.what, one.wanted, one.found);
        found.into_iter().map(told).collect()
    }

    async fn change(&self, path: &str, change: impl FnOnce(&mut Value)) {
        let mut document = self.by_hand("GET", path, Value::Null).await;
        change(&mut document);
        self.by_hand("PUT", path, document).await;
    }

    async fn run(&self, scenario: &str, outcome: &str) {
        self.node.set_outcome("CHURN", scenario, outcome);
        self.by_hand("POST", &format!("/projects/CHURN/scenarios/{scenario}/run"), json!({})).await;
    }
}

#[tokio::test]
async fn a_look_tells_what_is_active_and_how_scenarios_ended() {
    let world = world().await;
    assert_eq!(world.observed().await, OnNode::default());
    world.update().await;
    world.run("DAILY", "SUCCESS").await;
    world.run("DAILY", "FAILED").await;
    world.run("WEEKLY", "RUNNING").await;
    world.node.clear_calls();
    let there = world.observed().await;
    assert!(there.exists);
    assert_eq!((there.active_bundle.as_deref(), there.more_scenarios), (Some("v1"), 0));
    let told: Vec<_> = there
        .scenarios
        .iter()
        .map(|one| (one.name.as_str(), one.active, one.running, one.last.map(|last| last.outcome)))
        .collect();
    assert_eq!(
        told,
        [
            ("Daily build", true, false, Some(Outcome::Failed)),
            ("Checks", false, false, None),
            ("Weekly report", false, true, None)
        ]
    );
    assert!(there.webapps.iter().all(|app| app.running) && there.webapps.len() == 1);
    assert!(world.node.calls().iter().all(|call| call.method == "GET"));
}

#[tokio::test]
async fn each_kind_of_drift_is_named() {
    let world = World::on(node().user("somebody", &[], false)).await;
    let receipt = world.update().await;
    assert_eq!(world.drifted(&receipt).await, [] as [&str; 0]);
    // The node's own scenarios are nobody's business, but for who runs them.
    let own = json!({"id": "OWN", "name": "Own", "type": "step_based", "active": true});
    world.by_hand("POST", "/projects/CHURN/scenarios/", own).await;
    world.change("/projects/CHURN/scenarios/OWN", |own| own["runAsUser"] = json!("runner")).await;
    assert_eq!(world.drifted(&receipt).await, [] as [&str; 0]);

    world.change("/projects/CHURN/scenarios/WEEKLY", |one| one["runAsUser"] = json!("somebody")).await;
    world.change("/projects/CHURN/webapps/app", |one| one["runAsUser"] = json!("somebody")).await;
    world.by_hand("PUT", "/projects/CHURN/scenarios/DAILY/light", json!({"active": false})).await;
    world.by_hand("PUT", "/projects/CHURN/scenarios/WEEKLY/light", json!({"active": true})).await;
    world.by_hand("DELETE", "/projects/CHURN/scenarios/CHECKS", Value::Null).await;
    let remapping = "/projects/CHURN/settings";
    world
        .change(remapping, |settings| {
            settings["bundleContainerSettings"]["remapping"]["connections"][0]["target"] = json!("elsewhere");
        })
        .await;
    world.change("/projects/CHURN/variables/", |all| all["local"] = json!({"env": "s3cret", "new": 1})).await;
    world.node.clear_calls();
    let drifted = world.drifted(&receipt).await;
    assert!(!drifted.concat().contains("s3cret"));
    for told in [
        "the run-as user of scenario WEEKLY: \"runner\" → \"somebody\"",
        "the run-as user of web app app: \"runner\" → \"somebody\"",
        "scenario DAILY: \"on\" → \"off\"",
        "scenario WEEKLY: \"off\" → \"on\"",
        "scenario CHECKS: \"off\" → \"not there\"",
        "the remapping of connection sql-dev: \"sql-prod\" → \"elsewhere\"",
        "the local variable env: \"as the deployment says\" → \"another value\"",
        "the local variable new: \"absent\" → \"present\"",
    ] {
        assert!(drifted.iter().any(|one| one == told), "{told}: {drifted:#?}");
    }
    assert_eq!(drifted.len(), 8, "{drifted:#?}");
    assert!(world.node.calls().iter().all(|call| call.method == "GET"));
}

#[tokio::test]
async fn what_the_receipt_told_already_is_no_drift() {
    let mut world = world().await;
    world.spec.infrastructure.run_as_scenarios = None;
    world.spec.scenarios.insert("ABSENT".into(), true);
    let receipt = world.update().await;
    assert_eq!(receipt.differences.len(), 1, "{receipt:?}");
    assert_eq!(world.drifted(&receipt).await, [] as [&str; 0]);
    // Without a policy the run-as user is as it was after the update.
    world.change("/projects/CHURN/scenarios/DAILY", |one| one["runAsUser"] = json!("analyst")).await;
    assert_eq!(world.drifted(&receipt).await, ["the run-as user of scenario DAILY: \"designer\" → \"analyst\""]);
}

#[tokio::test]
async fn one_switch_keeps_all_scenarios_off() {
    let mut world = world().await;
    world.update().await;
    world.new_run();
    world.spec.disable_automatic_triggers = true;
    let receipt = world.update().await;
    assert_eq!(receipt.differences, []);
    assert!(receipt.scenarios.iter().all(|scenario| !scenario.active), "{receipt:?}");
}

#[tokio::test]
async fn switching_off_and_on_again() {
    let mut world = world().await;
    world.spec.scenarios.clear();
    world.update().await;
    world.by_hand("PUT", "/projects/CHURN/scenarios/WEEKLY/light", json!({"active": true})).await;
    let before = world.project();
    world.new_run();
    // Its first answer is lost: the second attempt goes on, and the note of what was on stays.
    world.node.arm(Fault::on("PUT", "/projects/*/scenarios/*/light", FaultKind::LostAnswer)).unwrap();
    world.attempt(Step::SwitchOff).await.unwrap_err();
    let (done, warnings) = world.step(Step::SwitchOff).await.unwrap();
    assert_eq!((&done["webappsStopped"], warnings.len()), (&json!(["app"]), 0), "{done}");
    let off = world.project();
    assert!(off["scenarios"].as_object().unwrap().values().all(|one| one["active"] == false));
    assert_eq!(off["webapps"]["app"]["backend"]["alive"], false);
    assert_eq!(off["activeBundle"], before["activeBundle"]);

    // The update that enables it inherits the note.
    let states = world.run.notes.lock().unwrap()["states"].clone();
    world.new_run();
    world.run.notes.lock().unwrap().insert("states".into(), states);
    let receipt = world.update().await;
    assert_eq!(receipt.differences, []);
    let on: Vec<_> = receipt.scenarios.iter().filter(|one| one.active).map(|one| one.id.as_str()).collect();
    assert_eq!((on, receipt.webapps[0].active), (vec!["WEEKLY"], true));
}

#[tokio::test]
async fn deleting_the_project() {
    let mut world = world().await;
    let (_, warnings) = world.step(Step::SwitchOff).await.unwrap();
    assert!(warnings[0].contains("not on the node"));
    world.update().await;
    world.new_run();
    world.node.arm(Fault::on("DELETE", "/projects/*", FaultKind::LostAnswer)).unwrap();
    world.attempt(Step::Remove).await.unwrap_err();
    let (done, warnings) = world.step(Step::Remove).await.unwrap();
    assert_eq!((done, warnings.len()), (json!({"projectDeleted": "CHURN"}), 0));
    assert_eq!((world.project(), world.effects("DELETE", "/projects/CHURN").len()), (Value::Null, 1));
}

#[tokio::test]
async fn a_folder_that_is_missing_is_found_before_anything_changes() {
    let mut world = world().await;
    world.spec.project_folder = Some("folder-404".to_owned());
    let failure = world.failure(Step::Validate).await;
    assert_eq!(failure.code.as_str(), "PROJECT_FOLDER_MISSING");
    assert!(failure.message.contains("folder-404") && failure.message.ends_with("Nothing was changed on the node."));
    let preview = world.target().preview(world.look()).await.unwrap();
    assert_eq!(preview.problems.iter().map(|one| one.code.as_str()).collect::<Vec<_>>(), ["PROJECT_FOLDER_MISSING"]);
    // The root has an id, too.
    world.spec.project_folder = Some("ROOT".to_owned());
    world.step(Step::Validate).await.unwrap();
}

#[tokio::test]
async fn a_project_lies_in_its_folder() {
    let mut world = world().await;
    let make = async |name: &str| {
        let made = world.by_hand("POST", &format!("/project-folders/ROOT/children?name={name}"), json!({})).await;
        made["id"].as_str().unwrap().to_owned()
    };
    let (one, two) = (make("one").await, make("two").await);
    world.spec.project_folder = Some(one.clone());
    world.update().await;
    let lies = async |world: &World| {
        world.by_hand("GET", "/project-folders/locate-project/CHURN", Value::Null).await["id"].clone()
    };
    assert_eq!(lies(&world).await, json!(one));
    world.new_run();
    world.spec.project_folder = Some(two.clone());
    world.update().await;
    assert_eq!(lies(&world).await, json!(two));
    // Without a folder it stays where it is.
    world.new_run();
    world.spec.project_folder = None;
    world.update().await;
    assert_eq!(lies(&world).await, json!(two));
}

#[tokio::test]
async fn test_scenarios_are_run_and_counted() {
    let world = world().await;
    world.update().await;
    let key = Secret::from(KEY.to_owned());
    let node = &world.spec.infrastructure.node;
    let run = async |within| {
        world.target().projects().unwrap().run_test_scenarios(node, &key, "deployer", "CHURN", within).await.unwrap()
    };
    world.node.set_outcome("CHURN", "CHECKS", "FAILED");
    let ended = run(Duration::from_secs(60)).await;
    assert_eq!((ended.status.ran, ended.unfinished.len()), (1, 0));
    assert_eq!(ended.status.per_outcome, [("FAILED".to_owned(), 1)].into());
    world.node.set_outcome("CHURN", "CHECKS", "RUNNING");
    let ended = run(Duration::from_millis(500)).await;
    assert_eq!((ended.status.ran, ended.unfinished), (0, vec!["Checks".to_owned()]));
    world.node.end_runs("CHURN", "CHECKS", "SUCCESS");
    let status =
        async |bundle| world.target().projects().unwrap().testing_status(node, &key, "CHURN", bundle).await.unwrap();
    assert_eq!(status(Some("v1")).await.per_outcome, [("SUCCESS".to_owned(), 1)].into());
    assert_eq!(status(Some("v0")).await.ran, 0);
    assert_eq!(status(None).await.ran, 1);
}
