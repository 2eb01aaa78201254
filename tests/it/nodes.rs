//! Several nodes behind one deployment: validated on all, pushed to all, activated one after the other; and what becomes of the others when one fails.

use std::collections::BTreeMap;

use sandbox::{BundleSpec, Fault, FaultKind, RunningNode};
use serde_json::{Value, json};
use tests::{
    Fleet, Size, practice,
    requests::{quoted, step},
};

use crate::walk::node::call;

const NAMES: [&str; 3] = ["auto-1", "auto-2", "auto-3"];
const ACTIVATE: &str = "/projects/*/bundles/imported/*/actions/activate";
const UPDATED: &str = "status warnings failure { code message } nodes { name status step failure { code message } receipt { bundle differences { what } } }";

struct Scene {
    fleet: Fleet,
    nodes: Vec<RunningNode>,
}

impl Scene {
    /// Infrastructure `production` of three nodes and deployment `churn`, of which v1 is live and v2 is set.
    async fn of(size: Size, settings: Value) -> Self {
        let fleet = Fleet::of(size).start().await;
        let mut nodes = Vec::new();
        for _ in NAMES {
            let node = practice::node().await;
            node.set_user("analyst", &[], false);
            nodes.push(node);
        }
        let api = &fleet.client;
        let mut all = json!({
            "multiNode": true,
            "connectionRemapping": [
                {"source": "sql-dev", "target": "sql-prod"}, {"source": "files-dev", "target": "files-prod"},
            ],
            "deployAsUser": "deployer", "runAsScenarios": "runner", "runAsWebapps": "runner", "settleMs": 0,
        });
        let kinds = ["validate_remap", "push_bundle", "activate", "enforce_run_as", "verify"];
        let once = |kind| json!({"kind": kind, "retry": {"maxAttempts": 1, "initialMs": 0, "capMs": 0}});
        all["stepPolicies"] = kinds.into_iter().map(once).collect();
        all.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        let each = NAMES.iter().zip(&nodes);
        let list: Vec<_> =
            each.map(|(name, node)| json!({"name": name, "url": node.url(), "adminKey": practice::NODE_KEY})).collect();
        let input = json!({"id": "production", "stage": "Test", "settings": all, "nodes": list});
        let create = "mutation($input: CreateInfrastructureInput!) { createInfrastructure(input: $input) {
            infrastructure { multiNode nodeUrl nodes { name url hasAdminKey managed } } refusals { code field message } } }";
        let made = api.ask(create, json!({"input": input})).await["infrastructure"].take();
        assert_eq!((&made["multiNode"], &made["nodeUrl"]), (&json!(true), &Value::Null));
        assert_eq!(
            made["nodes"][2],
            json!({"name": "auto-3", "url": nodes[2].url(), "hasAdminKey": true, "managed": false})
        );
        api.bundle(&BundleSpec::new("CHURN", "v1")).await;
        api.bundle(&BundleSpec::new("CHURN", "v2")).await;
        let switches = json!({"scenarios": [{"id": "DAILY", "on": true}]});
        api.deployment("churn", "production", ("CHURN", "v1"), "CHURN", switches).await;
        let scene = Self { fleet, nodes };
        scene.fleet.client.run("churn", "SUCCEEDED").await;
        scene.fleet.client.change_deployment("churn", json!({"bundleId": "v2"})).await;
        scene
    }

    fn active(&self) -> Vec<String> {
        let bundle = |node: &RunningNode| {
            node.snapshot()["projects"]["CHURN"]["activeBundle"].as_str().unwrap_or("none").to_owned()
        };
        self.nodes.iter().map(bundle).collect()
    }

    /// Runs an update to its end, and answers it with what became of each node.
    async fn update(&self) -> Value {
        self.told(&self.fleet.client.start("churn").await).await
    }

    async fn told(&self, update: &str) -> Value {
        self.fleet.client.over(update).await;
        let mut told =
            self.fleet.client.ask(&format!("{{ update(id: {}) {{ {UPDATED} }} }}", quoted(update)), json!({})).await;
        told["id"] = update.into();
        told
    }

    fn fail(&self, node: usize, method: &str, path: &str) {
        let refuse = FaultKind::Status { status: 400, error_type: None, message: None, retry_after: None };
        self.nodes[node].arm(Fault::on(method, path, refuse)).unwrap();
    }

    async fn health(&self) -> (String, Vec<String>) {
        let ask = "{ deployment(id: \"churn\") { health { health messages { code message } } } }";
        let found = self.fleet.client.ask(ask, json!({})).await["health"].take();
        let told = |one: &Value| format!("{} {}", one["code"].as_str().unwrap(), one["message"].as_str().unwrap());
        (found["health"].as_str().unwrap().to_owned(), found["messages"].as_array().unwrap().iter().map(told).collect())
    }
}

fn statuses(update: &Value) -> Vec<&str> {
    update["nodes"].as_array().unwrap().iter().map(|node| node["status"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn all_are_validated_then_all_have_the_bundle_then_one_after_the_other_activates_it() {
    for size in [Size::Embedded, Size::Fleet] {
        let scene = Scene::of(size, json!({})).await;
        let preview = "{ previewUpdate(deploymentId: \"churn\") { preview { found { activeBundle } nodes { name found { activeBundle } failure { code } } } refusals { code } } }";
        let preview = scene.fleet.client.ask(preview, json!({})).await["preview"].take();
        let previewed: Vec<_> =
            preview["nodes"].as_array().unwrap().iter().map(|node| &node["found"]["activeBundle"]).collect();
        assert_eq!(previewed, [&json!("v1"); 3], "{preview:#}");
        let code = "def execute(automation_nodes, **kwargs):\n    print('nodes', *sorted(automation_nodes))\n    return HookResult.success('')\n";
        scene.fleet.client.set_hooks("production", "POST", json!([{"name": "count", "code": code}])).await;
        let update = scene.fleet.client.run("churn", "SUCCEEDED").await;
        let printed = scene.fleet.client.lines(update["id"].as_str().unwrap()).await;
        assert!(printed.iter().any(|line| line["line"] == "nodes auto-1 auto-2 auto-3"), "{printed:#?}");
        let names: Vec<_> =
            update["steps"].as_array().unwrap().iter().map(|step| step["name"].as_str().unwrap()).collect();
        let mut wanted = vec!["check_policy".to_owned()];
        for kinds in [&["validate_remap"][..], &["push_bundle"], &["activate", "enforce_run_as", "verify"]] {
            wanted.extend(NAMES.iter().flat_map(|name| kinds.iter().map(move |kind| format!("{kind}/{name}"))));
        }
        wanted.push("post_hooks/1".to_owned());
        assert_eq!(names, wanted);
        assert_eq!(scene.active(), ["v2"; 3]);
        let told = scene.told(update["id"].as_str().unwrap()).await;
        assert_eq!(statuses(&told), ["DONE"; 3]);
        for node in told["nodes"].as_array().unwrap() {
            assert_eq!(node["receipt"], json!({"bundle": "v2", "differences": []}));
        }
        assert_eq!(scene.health().await, ("HEALTHY".to_owned(), Vec::new()));
        let check = "mutation { checkInfrastructure(id: \"production\") { report { identity } nodes { name report { isAdmin problems } failure { code } } refusals { code } } }";
        let checked = scene.fleet.client.ask(check, json!({})).await;
        assert_eq!(checked["nodes"].as_array().unwrap().len(), 3);
        assert_eq!(checked["nodes"][1]["report"], json!({"isAdmin": true, "problems": []}), "{checked:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_one_node_changes_none() {
    let scene = Scene::of(Size::Embedded, json!({})).await;
    scene.nodes[2].remove_connection("sql-prod");
    let update = scene.update().await;
    assert_eq!(
        (&update["status"], &update["failure"]["code"]),
        (&json!("FAILED"), &json!("CONNECTION_MISSING")),
        "{update:#}"
    );
    assert!(update["failure"]["message"].as_str().unwrap().starts_with("Node auto-3: "), "{update:#}");
    assert_eq!(statuses(&update), ["UNTOUCHED", "UNTOUCHED", "FAILED"]);
    assert_eq!(scene.active(), ["v1"; 3]);
    let imported = |node: &RunningNode| node.snapshot()["projects"]["CHURN"]["bundles"].as_array().unwrap().len();
    assert_eq!(
        scene.nodes.iter().map(imported).collect::<Vec<_>>(),
        [1, 1, 1],
        "the bundle came to a node before all were validated"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn leave_stops_at_the_node_that_fails_and_a_retry_goes_on_there() {
    let scene = Scene::of(Size::Embedded, json!({"onFailure": "LEAVE"})).await;
    scene.fail(1, "POST", ACTIVATE);
    let update = scene.update().await;
    assert_eq!(
        (&update["status"], &update["failure"]["code"]),
        (&json!("FAILED"), &json!("NODE_REFUSED")),
        "{update:#}"
    );
    assert_eq!(statuses(&update), ["DONE", "FAILED", "UNTOUCHED"]);
    assert_eq!(update["nodes"][1]["step"], "activate/auto-2");
    assert!(update["nodes"][1]["failure"]["message"].as_str().unwrap().starts_with("Node auto-2: "));
    assert_eq!(scene.active(), ["v2", "v1", "v1"]);
    let again = scene.told(&scene.fleet.client.retry(update["id"].as_str().unwrap()).await).await;
    assert_eq!((again["status"].as_str(), statuses(&again)), (Some("SUCCEEDED"), vec!["DONE"; 3]), "{again:#}");
    assert_eq!(scene.active(), ["v2"; 3]);
    // The switches are as they were before the first of the two.
    for node in &scene.nodes {
        assert_eq!(node.snapshot()["projects"]["CHURN"]["scenarios"]["DAILY"]["active"], true);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn go_on_leaves_a_node_out_and_says_so_until_it_has_caught_up() {
    let scene = Scene::of(Size::Embedded, json!({"onFailure": "GO_ON"})).await;
    scene.fail(1, "POST", ACTIVATE);
    let update = scene.update().await;
    assert_eq!((&update["status"], &update["failure"]), (&json!("WARNING"), &Value::Null), "{update:#}");
    assert_eq!(statuses(&update), ["DONE", "FAILED", "DONE"]);
    assert!(update["warnings"][0].as_str().unwrap().starts_with("Node auto-2: "), "{update:#}");
    assert_eq!(scene.active(), ["v2", "v1", "v2"]);
    let whole = scene.fleet.client.update(update["id"].as_str().unwrap()).await;
    assert_eq!(step(&whole, "activate/auto-2")["status"], "FAILED");
    assert_eq!(step(&whole, "verify/auto-2")["status"], "SKIPPED");
    let (health, messages) = scene.health().await;
    assert_eq!(health, "OUT_OF_SYNC", "{messages:?}");
    assert!(messages.iter().any(|message| message.starts_with("NODE_LEFT_OUT Node auto-2: ")), "{messages:?}");
    let update = scene.update().await;
    assert_eq!((update["status"].as_str(), statuses(&update)), (Some("SUCCEEDED"), vec!["DONE"; 3]), "{update:#}");
    assert_eq!((scene.active(), scene.health().await.0.as_str()), (vec!["v2".to_owned(); 3], "HEALTHY"));

    // With no node left, it fails.
    scene.fleet.client.change_deployment("churn", json!({"bundleId": "v1"})).await;
    for node in 0..3 {
        scene.fail(node, "POST", ACTIVATE);
    }
    let update = scene.update().await;
    assert_eq!((update["status"].as_str(), statuses(&update)), (Some("FAILED"), vec!["FAILED"; 3]), "{update:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn restore_puts_back_what_was_active_on_each_node_that_was_changed() {
    let scene = Scene::of(Size::Embedded, json!({"onFailure": "RESTORE"})).await;
    let before: Vec<Value> = scene.nodes.iter().map(|node| node.snapshot()).collect();
    scene.fail(1, "PUT", "/projects/*/scenarios/DAILY");
    let update = scene.update().await;
    assert_eq!(
        (&update["status"], &update["failure"]["code"]),
        (&json!("FAILED"), &json!("NODE_REFUSED")),
        "{update:#}"
    );
    assert_eq!(statuses(&update), ["RESTORED", "RESTORED", "UNTOUCHED"]);
    assert_eq!(scene.active(), ["v1"; 3]);
    for (node, before) in scene.nodes.iter().zip(before) {
        let now = node.snapshot();
        assert_eq!(now["projects"]["CHURN"]["scenarios"], before["projects"]["CHURN"]["scenarios"]);
        assert_eq!(now["projects"]["CHURN"]["settings"], before["projects"]["CHURN"]["settings"]);
    }
    assert_eq!(update["nodes"][0]["receipt"]["bundle"], "v1");
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_is_found_on_the_node_where_somebody_made_it_and_disabling_reaches_all() {
    let scene = Scene::of(Size::Embedded, json!({})).await;
    let api = &scene.fleet.client;
    api.run("churn", "SUCCEEDED").await;
    let by_hand = format!("{}/public/api/projects/CHURN/scenarios/DAILY/light", scene.nodes[1].url());
    call("PUT", &by_hand, None, json!({"active": false})).await;
    let drift = "mutation { checkDrift(deploymentId: \"churn\") { drift { differences { what found wanted } failure { code } } refusals { code message } } }";
    let found = api.ask(drift, json!({})).await["drift"].take();
    assert_eq!(
        found["differences"],
        json!([{"what": "scenario DAILY on node auto-2", "found": "off", "wanted": "on"}])
    );
    assert_eq!(scene.health().await.0, "OUT_OF_SYNC");

    let on = || -> Vec<bool> {
        let active = |node: &RunningNode| node.snapshot()["projects"]["CHURN"]["scenarios"]["DAILY"]["active"] == true;
        scene.nodes.iter().map(active).collect()
    };
    for (mutation, wanted) in [("disableDeployment", [false; 3]), ("enableDeployment", [true; 3])] {
        let asked = api.tell(&format!("{mutation}(deploymentId: \"churn\")"), "update { id }").await;
        let ended = api.over(asked["update"]["id"].as_str().unwrap()).await;
        assert_eq!(ended["status"], "SUCCEEDED", "{ended:#}");
        assert_eq!(on(), wanted, "{mutation}");
    }
    let asked = api.tell("deleteDeployment(id: \"churn\", onNode: DELETE_PROJECT)", "update { id }").await;
    let ended = api.over(asked["update"]["id"].as_str().unwrap()).await;
    assert_eq!(ended["status"], "SUCCEEDED", "{ended:#}");
    assert!(scene.nodes.iter().all(|node| node.snapshot()["projects"] == json!({})));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_node_keeps_its_own_key_and_a_new_node_is_out_of_sync() {
    let scene = Scene::of(Size::Embedded, json!({})).await;
    let api = &scene.fleet.client;
    api.run("churn", "SUCCEEDED").await;
    let more = practice::node().await;
    more.set_user("analyst", &[], false);
    let node = |name: &str, url: String| json!({"name": name, "url": url});
    let change = async |nodes: Value| -> (BTreeMap<String, bool>, Vec<(String, String)>) {
        let seen = api.ask("{ infrastructure(id: \"production\") { version } }", json!({})).await;
        let input = json!({"id": "production", "expectedVersion": seen["version"], "nodes": nodes});
        let document = "mutation($input: UpdateInfrastructureInput!) { updateInfrastructure(input: $input) {
            infrastructure { nodes { name hasAdminKey } } refusals { code field message } } }";
        let answer = api.graphql(document, json!({"input": input})).await["updateInfrastructure"].take();
        let keys = answer["infrastructure"]["nodes"].as_array().into_iter().flatten();
        let keys = keys.map(|node| (node["name"].as_str().unwrap().to_owned(), node["hasAdminKey"] == true)).collect();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let refused =
            answer["refusals"].as_array().unwrap().iter().map(|one| (text(&one["code"]), text(&one["field"])));
        (keys, refused.collect())
    };
    let urls: Vec<String> = scene.nodes.iter().map(RunningNode::url).collect();
    // Another order, without a word of keys; one moves to another address, and loses its key by that.
    let list = json!([node("auto-3", urls[2].clone()), node("auto-1", more.url()), node("auto-2", urls[1].clone())]);
    let (keys, refused) = change(list).await;
    assert_eq!(refused, []);
    assert_eq!(
        keys,
        [("auto-1", false), ("auto-2", true), ("auto-3", true)].map(|(name, has)| (name.to_owned(), has)).into()
    );
    let document = "mutation { startUpdate(deploymentId: \"churn\") { refusals { code field message } } }";
    assert_eq!(api.refused(document, json!({})).await[0].0, "ADMIN_KEY_MISSING");
    // Back, and one more.
    let mut list = vec![
        json!({"name": "auto-1", "url": urls[0], "adminKey": practice::NODE_KEY}),
        node("auto-2", urls[1].clone()),
        node("auto-3", urls[2].clone()),
    ];
    list.push(json!({"name": "auto-4", "url": more.url(), "adminKey": practice::NODE_KEY}));
    assert_eq!(change(json!(list)).await.1, []);
    let (health, messages) = scene.health().await;
    assert_eq!(health, "OUT_OF_SYNC");
    assert!(messages.iter().any(|message| message.contains("auto-4")), "{messages:?}");
    api.run("churn", "SUCCEEDED").await;
    assert_eq!(more.snapshot()["projects"]["CHURN"]["activeBundle"], "v2");
    assert_eq!(scene.health().await.0, "HEALTHY");

    // What can't be a list of nodes.
    for (list, code, field) in [
        (json!([node("a/b", urls[0].clone())]), "ID_INVALID", "nodes[0].name"),
        (json!([node("a", urls[0].clone()), node("a", urls[1].clone())]), "NODE_LIST_INVALID", "nodes[1].name"),
        (json!([node("a", urls[0].clone()), node("b", urls[0].clone())]), "NODE_LIST_INVALID", "nodes[1].url"),
        (json!([node("a", String::new())]), "NODE_URL_INVALID", "nodes[0].url"),
        (json!([node("a", "http://169.254.169.254".to_owned())]), "NODE_ADDRESS_FORBIDDEN", "nodes[0].url"),
        (json!([{"name": "a", "url": urls[0], "adminKey": "a b"}]), "ADMIN_KEY_INVALID", "nodes[0].adminKey"),
        (
            json!([{"name": "a", "url": urls[0], "logging": {"apiKey": "x"}}]),
            "FIELD_INVALID",
            "nodes[0].logging.apiKey",
        ),
    ] {
        assert_eq!(change(list).await.1, [(code.to_owned(), field.to_owned())]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_fails_keeps_the_others_neither_from_being_switched_off_nor_from_being_compared() {
    let scene = Scene::of(Size::Embedded, json!({"onFailure": "GO_ON"})).await;
    let api = &scene.fleet.client;
    api.run("churn", "SUCCEEDED").await;
    // Somebody changed the last node, and the second one does not answer.
    let by_hand = format!("{}/public/api/projects/CHURN/scenarios/DAILY/light", scene.nodes[2].url());
    call("PUT", &by_hand, None, json!({"active": false})).await;
    let error = FaultKind::Status { status: 403, error_type: None, message: None, retry_after: None };
    let fault = Fault { count: None, ..Fault::on("GET", "/projects/CHURN/**", error) };
    let armed = scene.nodes[1].arm(fault).unwrap();
    let drift =
        "mutation { checkDrift(deploymentId: \"churn\") { drift { differences { what } } refusals { code message } } }";
    let found = api.ask(drift, json!({})).await["drift"].take();
    assert_eq!(found["differences"], json!([{"what": "scenario DAILY on node auto-3"}]));
    call("PUT", &by_hand, None, json!({"active": true})).await;

    let asked = api.tell("disableDeployment(deploymentId: \"churn\")", "update { id }").await;
    let told = scene.told(asked["update"]["id"].as_str().unwrap()).await;
    assert_eq!(
        (told["status"].as_str(), statuses(&told)),
        (Some("WARNING"), vec!["DONE", "FAILED", "DONE"]),
        "{told:#}"
    );
    let on = |node: &RunningNode| node.snapshot()["projects"]["CHURN"]["scenarios"]["DAILY"]["active"] == true;
    assert_eq!(scene.nodes.iter().map(on).collect::<Vec<_>>(), [false, true, false]);
    let (health, messages) = scene.health().await;
    assert_eq!(health, "WARNING", "{messages:?}");
    assert!(messages.iter().any(|message| message.contains("Node auto-2: ")), "{messages:?}");

    // What was on before is noted by node: the list of nodes stays what it is until it is on again.
    let seen = api.ask("{ infrastructure(id: \"production\") { version } }", json!({})).await;
    let input = json!({
        "id": "production", "expectedVersion": seen["version"], "nodes": [],
        "settings": {"multiNode": false, "nodeUrl": scene.nodes[0].url()}, "adminKey": practice::NODE_KEY,
    });
    let document = "mutation($input: UpdateInfrastructureInput!) { updateInfrastructure(input: $input) { refusals { code field message } } }";
    let refused = api.refused(document, json!({"input": input.clone()})).await;
    assert_eq!(refused, [("IN_USE".to_owned(), "multiNode".to_owned())]);
    armed.disarm();
    let asked = api.tell("enableDeployment(deploymentId: \"churn\")", "update { id }").await;
    let told = scene.told(asked["update"]["id"].as_str().unwrap()).await;
    assert_eq!((told["status"].as_str(), statuses(&told)), (Some("SUCCEEDED"), vec!["DONE"; 3]), "{told:#}");
    assert_eq!(scene.nodes.iter().map(on).collect::<Vec<_>>(), [true; 3]);

    // One node of several, with an empty list; and never with one that is still there.
    let mut half = input.clone();
    half.as_object_mut().unwrap().remove("nodes");
    assert_eq!(
        api.refused(document, json!({"input": half})).await,
        [("NODE_LIST_INVALID".to_owned(), "nodes".to_owned())]
    );
    assert_eq!(api.refused(document, json!({"input": input})).await, []);
    let update = api.run("churn", "SUCCEEDED").await;
    assert_eq!(step(&update, "activate")["status"], "SUCCEEDED");
}
