//! What becomes of a deployment after its update: health in each state, drift after somebody changed the node, restoring, disabling, deleting.

use std::collections::BTreeSet;

use sandbox::{BundleSpec, RunningNode};
use serde_json::{Value, json};
use tests::{
    Fleet, PATIENCE, Size, practice,
    requests::{quoted, step},
    until, until_true,
};

use crate::walk::node::call;

struct Scene {
    fleet: Fleet,
    node: RunningNode,
}

impl Scene {
    /// Infrastructure `production` and deployment `churn` of CHURN v1, with DAILY switched on. Bundle v2 is there, too.
    async fn of(size: Size) -> Self {
        Self::with(Fleet::of(size).start().await).await
    }

    async fn with(fleet: Fleet) -> Self {
        let node = practice::node().await;
        node.set_user("analyst", &[], false);
        let api = &fleet.client;
        api.infrastructure("production", &node, json!({})).await;
        api.bundle(&BundleSpec::new("CHURN", "v1")).await;
        api.bundle(&BundleSpec::new("CHURN", "v2")).await;
        let settings = json!({"scenarios": [{"id": "DAILY", "on": true}], "localVariables": {"region": "eu"}, "tags": ["nightly"]});
        api.deployment("churn", "production", ("CHURN", "v1"), "CHURN", settings).await;
        Self { fleet, node }
    }

    /// Health and the codes of its messages.
    async fn health(&self) -> (String, BTreeSet<String>) {
        let fields = "health messages { severity code title message details }
            monitoring { hasScenarios hasActiveScenarios failed warning successful aborted running }";
        let ask = format!("{{ deployment(id: \"churn\") {{ health {{ {fields} }} }} }}");
        let found = self.fleet.client.ask(&ask, json!({})).await["health"].take();
        let codes = found["messages"].as_array().unwrap().iter().map(|one| one["code"].as_str().unwrap().to_owned());
        (found["health"].as_str().unwrap().to_owned(), codes.collect())
    }

    async fn is(&self, health: &str, codes: &[&str]) {
        let found = self.health().await;
        let wanted = (health.to_owned(), codes.iter().map(|code| (*code).to_owned()).collect());
        assert_eq!(found, wanted);
    }

    async fn by_hand(&self, method: &str, path: &str, body: Value) -> Value {
        call(method, &format!("{}/public/api{path}", self.node.url()), None, body).await
    }

    /// Asks for an update other than an ordinary one, and waits for its success.
    async fn ask_for(&self, call: &str) -> Value {
        let asked = self.fleet.client.tell(call, "update { id type }").await;
        let ended = self.fleet.client.over(asked["update"]["id"].as_str().unwrap()).await;
        assert_eq!(ended["status"], "SUCCEEDED", "{call}: {ended:#}");
        ended
    }

    fn on(&self) -> BTreeSet<String> {
        let snapshot = self.node.snapshot();
        let scenarios = snapshot["projects"]["CHURN"]["scenarios"].as_object().unwrap().clone();
        scenarios.into_iter().filter(|(_, one)| one["active"] == true).map(|(id, _)| id).collect()
    }

    async fn refused_as(&self, call: &str, code: &str) {
        let document = format!("mutation {{ {call} {{ refusals {{ code field message }} }} }}");
        let refused = self.fleet.client.refused(&document, json!({})).await;
        assert_eq!(refused.iter().map(|(code, _)| code.as_str()).collect::<Vec<_>>(), [code], "{call}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_drift_and_back() {
    let scene = Scene::of(Size::Embedded).await;
    let api = &scene.fleet.client;
    scene.is("UNKNOWN", &["NEVER_DEPLOYED"]).await;
    scene.refused_as("checkDrift(deploymentId: \"churn\")", "NOT_DEPLOYED").await;
    api.run("churn", "SUCCEEDED").await;
    // At once, as scripts of CI systems want it.
    scene.is("HEALTHY", &[]).await;

    api.change_deployment("churn", json!({"settings": {"scenarios": [{"id": "DAILY", "on": false}]}})).await;
    scene.is("OUT_OF_SYNC", &["SETTINGS_CHANGED"]).await;
    api.run("churn", "SUCCEEDED").await;
    scene.is("HEALTHY", &[]).await;

    // Somebody is at the node.
    let mut weekly = scene.by_hand("GET", "/projects/CHURN/scenarios/WEEKLY", Value::Null).await;
    weekly["runAsUser"] = json!("admin");
    scene.by_hand("PUT", "/projects/CHURN/scenarios/WEEKLY", weekly).await;
    let before = scene.node.snapshot();
    let check = "checkDrift(deploymentId: \"churn\")";
    let drift =
        api.tell(check, "drift { checkedAt updateId differences { what found wanted } failure { code } }").await;
    let difference = json!({"what": "the run-as user of scenario WEEKLY", "found": "admin", "wanted": "runner"});
    assert_eq!(drift["drift"]["differences"], json!([difference]));
    assert_eq!(scene.node.snapshot(), before);
    scene.is("OUT_OF_SYNC", &["DRIFT"]).await;
    let kept = api.ask("{ deployment(id: \"churn\") { drift { differences { what } } } }", json!({})).await;
    assert_eq!(kept["drift"]["differences"][0]["what"], "the run-as user of scenario WEEKLY");
    // An update puts it in order.
    api.run("churn", "SUCCEEDED").await;
    scene.is("HEALTHY", &[]).await;
    let kept = api.ask("{ deployment(id: \"churn\") { drift { checkedAt } } }", json!({})).await;
    assert_eq!(kept["drift"], Value::Null);

    // A failure, and the way back.
    scene.node.remove_connection("sql-prod");
    api.run("churn", "FAILED").await;
    scene.is("ERROR", &["CONNECTION_MISSING"]).await;
    scene.node.set_connection("sql-prod", "PostgreSQL");
    api.run("churn", "SUCCEEDED").await;

    let ran = api.tell("runTestScenarios(deploymentId: \"churn\")", "testing { status { nbTotalRanScenarios nbScenariosPerOutcome { outcome count } unfinished } failure { code } }").await;
    let status = json!({"nbTotalRanScenarios": 1, "nbScenariosPerOutcome": [{"outcome": "SUCCESS", "count": 1}], "unfinished": []});
    assert_eq!((&ran["testing"]["status"], &ran["testing"]["failure"]), (&status, &Value::Null));
    let told =
        api.ask("{ deployment(id: \"churn\") { testingStatus { status { nbTotalRanScenarios } } } }", json!({})).await;
    assert_eq!(told["testingStatus"]["status"]["nbTotalRanScenarios"], 1);

    let Scene { fleet, node } = scene;
    let node = node.stop().await;
    let scene_is_down = || async {
        let ask = "{ deployment(id: \"churn\") { health { health messages { code } } } }";
        let found = fleet.client.ask(ask, json!({})).await["health"].take();
        found["health"] == "ERROR" && found["messages"][0]["code"] == "NODE_UNREACHABLE"
    };
    until_true("bad health of a node that is down", PATIENCE, scene_is_down).await;
    drop(node);
}

#[tokio::test(flavor = "multi_thread")]
async fn restored_disabled_and_enabled() {
    let scene = Scene::of(Size::Embedded).await;
    let api = &scene.fleet.client;
    api.run("churn", "SUCCEEDED").await;
    scene.by_hand("PUT", "/projects/CHURN/scenarios/WEEKLY/light", json!({"active": true})).await;
    api.change_deployment("churn", json!({"bundleId": "v2", "settings": {"localVariables": {"region": "us"}}})).await;
    api.run("churn", "SUCCEEDED").await;
    let restored = scene.ask_for("restoreDeployment(deploymentId: \"churn\", idempotencyKey: \"r\")").await;
    assert_eq!((&restored["bundleId"], &restored["receipt"]["bundle"]), (&json!("v1"), &json!("v1")));
    let project = scene.node.snapshot()["projects"]["CHURN"].clone();
    assert_eq!((&project["activeBundle"], &project["variables"]["local"]), (&json!("v1"), &json!({"region": "eu"})));
    scene.is("HEALTHY", &[]).await;
    let set = api
        .ask(
            "{ deployment(id: \"churn\") { bundleId settings { localVariables tags } latestUpdate { type } } }",
            json!({}),
        )
        .await;
    assert_eq!(set["bundleId"], "v1");
    assert_eq!(set["settings"], json!({"localVariables": {"region": "eu"}, "tags": ["nightly"]}));
    assert_eq!(set["latestUpdate"]["type"], "RESTORE");

    let on = scene.on();
    assert_eq!(on, ["DAILY", "WEEKLY"].map(str::to_owned).into());
    let disabled = scene.ask_for("disableDeployment(deploymentId: \"churn\")").await;
    assert_eq!(step(&disabled, "switch_off")["status"], "SUCCEEDED");
    let lines = api.lines(disabled["id"].as_str().unwrap()).await;
    assert!(lines.iter().any(|line| line["line"] == "Scenario DAILY is now off."), "{lines:#?}");
    assert_eq!(scene.on(), BTreeSet::new());
    scene.is("UNKNOWN", &["DEPLOYMENT_DISABLED"]).await;
    scene.refused_as("startUpdate(deploymentId: \"churn\")", "DEPLOYMENT_DISABLED").await;
    scene.ask_for("enableDeployment(deploymentId: \"churn\")").await;
    assert_eq!(scene.on(), on);
    scene.is("HEALTHY", &[]).await;

    api.change_deployment("churn", json!({"settings": {"disableAutomaticTriggers": true}})).await;
    scene.is("OUT_OF_SYNC", &["SETTINGS_CHANGED"]).await;
    api.run("churn", "SUCCEEDED").await;
    assert_eq!(scene.on(), BTreeSet::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_with_each_choice() {
    let scene = Scene::of(Size::Embedded).await;
    let api = &scene.fleet.client;
    let gone = || async {
        api.ask("{ deployments { nodes { id } } }", json!({})).await["nodes"].as_array().unwrap().is_empty()
    };
    let again = async || {
        api.deployment(
            "churn",
            "production",
            ("CHURN", "v1"),
            "CHURN",
            json!({"scenarios": [{"id": "DAILY", "on": true}]}),
        )
        .await;
        api.run("churn", "SUCCEEDED").await;
    };
    api.run("churn", "SUCCEEDED").await;
    let update = scene.ask_for("deleteDeployment(id: \"churn\", onNode: SWITCH_OFF)").await;
    assert_eq!(step(&update, "switch_off")["status"], "SUCCEEDED");
    assert_eq!(scene.on(), BTreeSet::new());
    until_true("the end of the deployment", PATIENCE, gone).await;

    again().await;
    scene.ask_for("deleteDeployment(id: \"churn\", onNode: DELETE_PROJECT)").await;
    assert_eq!(scene.node.snapshot()["projects"], json!({}));
    // Its id is free at once, whoever still follows that update.
    again().await;
    let told = api.tell("deleteDeployment(id: \"churn\")", "deletedId update { id }").await;
    assert_eq!((&told["deletedId"], &told["update"]), (&json!("churn"), &Value::Null));
    assert!(gone().await);
    assert_eq!(scene.on(), ["DAILY".to_owned()].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_is_found_without_being_asked_for() {
    let scene = Scene::with(Fleet::of(Size::Fleet).set("SLIPWAY_DRIFT_EVERY_MINUTES", 1).start().await).await;
    let api = &scene.fleet.client;
    api.run("churn", "SUCCEEDED").await;
    scene.by_hand("PUT", "/projects/CHURN/scenarios/DAILY/light", json!({"active": false})).await;
    let found = until("drift", PATIENCE * 3, || async {
        let ask =
            format!("{{ deployment(id: {}) {{ drift {{ differences {{ what found wanted }} }} }} }}", quoted("churn"));
        let found = api.ask(&ask, json!({})).await["drift"].take();
        found["differences"].get(0).is_some().then_some(found)
    });
    let difference = json!({"what": "scenario DAILY", "found": "off", "wanted": "on"});
    assert_eq!(found.await["differences"], json!([difference]));
}
