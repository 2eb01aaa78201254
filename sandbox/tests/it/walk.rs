//! The walk of a deployment, and what the node keeps and rewrites.

use crate::client::{Client, builder, start};
use reqwest::{Method, StatusCode};
use sandbox::{BundleSpec, sample_bundle};
use serde_json::{Value, json};

const OFF: &str = "scenariosActiveOnActivation";

/// Remaps both connections of the sample, keeping everything else that is in the settings.
async fn remap(client: &Client, key: &str) -> Value {
    let path = format!("/projects/{key}/settings");
    let mut settings = client.get(&path).await;
    assert!(settings.get("bundleContainerSettings").is_none(), "made by the client when absent");
    settings["bundleContainerSettings"] = json!({"remapping": {"connections": [
        {"source": "sql-dev", "target": "sql-prod"}, {"source": "files-dev", "target": "files-prod"},
    ]}});
    client.put(&path, &settings).await;
    settings
}

#[tokio::test]
async fn a_deployment_from_nothing_to_running() {
    let node = start(builder()).await;
    let admin = Client::new(&node);
    let user = admin.acting("deployer");

    let query = "/projectsFromBundle/?permissionsPropagationPolicy=READ_ONLY&failOnMissingUsersOrGroups=False";
    let (status, made) = user.upload(query, sample_bundle(&BundleSpec::default())).await;
    assert_eq!((status, &made["projectKey"]), (StatusCode::OK, &json!("CHURN")), "{made}");
    assert_eq!(admin.get("/projects/CHURN").await["ownerLogin"], "deployer");
    assert!(admin.get("/projects/").await[0].get("activeBundleState").is_none());
    assert_eq!(admin.get("/projects/CHURN/bundles/imported").await["bundles"][0]["bundleId"], "v1");

    let settings = remap(&user, "CHURN").await;
    user.put("/projects/CHURN/variables/", &json!({"standard": {}, "local": {"region": "eu"}})).await;
    let report = user.post("/projects/CHURN/bundles/imported/v1/actions/preload", None).await;
    assert_eq!((&report["error"], &report["maxSeverity"]), (&json!(false), &json!("INFO")));
    let off = json!({OFF: {"DAILY": false, "WEEKLY": false, "CHECKS": false}});
    let report = user.post("/projects/CHURN/bundles/imported/v1/actions/activate", Some(&off)).await;
    assert_eq!((&report["error"], &report["anyMessage"]), (&json!(false), &json!(false)), "{report}");

    // What the bundle says is there, off, last edited by who activated.
    let daily = admin.get("/projects/CHURN/scenarios/DAILY").await;
    assert_eq!((&daily["runAsUser"], &daily["active"]), (&json!("designer"), &json!(false)));
    assert_eq!(daily["versionTag"]["lastModifiedBy"]["login"], "deployer");
    assert!(admin.get("/projects/CHURN/scenarios/WEEKLY").await.get("runAsUser").is_none());

    // Run-as by the administrator, then the switch by the user.
    for id in ["DAILY", "WEEKLY", "CHECKS"] {
        let path = format!("/projects/CHURN/scenarios/{id}");
        let mut scenario = admin.get(&path).await;
        scenario["runAsUser"] = json!("svc");
        admin.put(&path, &scenario).await;
    }
    let mut app = admin.get("/projects/CHURN/webapps/app").await;
    app["runAsUser"] = json!("svc");
    admin.put("/projects/CHURN/webapps/app", &app).await;
    assert_eq!(node.snapshot()["projects"]["CHURN"]["webapps"]["app"]["backend"]["runAs"], "designer", "not restarted");
    let (_, job) = admin.send(Method::PUT, "/projects/CHURN/webapps/app/backend/actions/restart", None).await;
    assert_eq!(job["hasResult"], false);
    let job = job["jobId"].as_str().unwrap();
    assert_eq!(admin.get(&format!("/futures/{job}?peek=False")).await["hasResult"], true);
    assert_eq!(admin.get("/projects/CHURN/webapps/app/backend/state").await["futureInfo"]["alive"], true);
    user.put("/projects/CHURN/scenarios/DAILY/light", &json!({"active": true, "runAsUser": "ignored"})).await;

    let end = node.snapshot()["projects"]["CHURN"].clone();
    assert_eq!(end["activeBundle"], "v1");
    assert_eq!(end["settings"], settings);
    assert_eq!(end["variables"], json!({"standard": {"threshold": 0.8, "bundle": "v1"}, "local": {"region": "eu"}}));
    assert_eq!(
        end["permissions"],
        json!([{"group": "data-team", "readProjectContent": true}, {"user": "analyst", "readProjectContent": true}])
    );
    assert_eq!(end["bundles"][0]["preloaded"], true);
    let daily = &end["scenarios"]["DAILY"];
    assert_eq!((&daily["active"], &daily["runAs"], &daily["armedAs"]), (&json!(true), &json!("svc"), &json!(["svc"])));
    let weekly = &end["scenarios"]["WEEKLY"];
    assert_eq!((&weekly["active"], &weekly["runAs"], &weekly["armedAs"]), (&json!(false), &json!("svc"), &json!([])));
    assert_eq!(end["webapps"]["app"]["backend"], json!({"alive": true, "runAs": "svc"}));
    assert_eq!(admin.get("/projects/").await[0]["activeBundleState"]["bundleId"], "v1");

    // A run, as a hook makes one.
    let fired = user.post("/projects/CHURN/scenarios/DAILY/run", Some(&json!({}))).await;
    let (trigger, run) = (fired["trigger"]["id"].as_str().unwrap(), fired["runId"].as_str().unwrap());
    let path = format!("/projects/CHURN/scenarios/DAILY/get-run-for-trigger?triggerId={trigger}&triggerRunId={run}");
    assert!(user.get(&path).await.get("scenarioRun").is_none(), "not started yet");
    let run = user.get(&path).await["scenarioRun"].clone();
    assert_eq!((&run["result"]["outcome"], &run["runAsUser"]), (&json!("SUCCESS"), &json!("svc")));
}

#[tokio::test]
async fn a_second_bundle_overwrites_definitions_and_keeps_what_is_local() {
    let node = start(builder().connection("sql-dev", "PostgreSQL").connection("files-dev", "Filesystem")).await;
    let admin = Client::new(&node);
    let query = "/projectsFromBundle/?permissionsPropagationPolicy=ALL";
    let (status, _) = admin.upload(query, sample_bundle(&BundleSpec::default())).await;
    assert_eq!(status, StatusCode::OK);
    admin.post("/projects/CHURN/bundles/imported/v1/actions/activate", Some(&json!({}))).await;
    let first = node.snapshot()["projects"]["CHURN"].clone();
    assert_eq!(first["scenarios"]["DAILY"]["active"], true, "a new scenario is as the bundle says");
    assert_eq!(first["scenarios"]["DAILY"]["armedAs"], json!(["designer"]));

    admin.put("/projects/CHURN/scenarios/DAILY/light", &json!({"active": false})).await;
    admin.put("/projects/CHURN/scenarios/WEEKLY/light", &json!({"active": true})).await;
    let mut daily = admin.get("/projects/CHURN/scenarios/DAILY").await;
    daily["runAsUser"] = json!("svc");
    admin.put("/projects/CHURN/scenarios/DAILY", &daily).await;
    let own = json!({"name": "LOCAL", "type": "step_based", "params": {}});
    assert_eq!(admin.post("/projects/CHURN/scenarios/", Some(&own)).await["id"], "LOCAL");
    admin.put("/projects/CHURN/variables/", &json!({"standard": {"x": 1}, "local": {"y": 2}})).await;

    let mut spec = BundleSpec::new("CHURN", "v2");
    spec.scenarios.retain(|scenario| scenario.id != "CHECKS");
    let path = "/projects/CHURN/bundles/imported/actions/importFromStream";
    assert_eq!(admin.upload(path, sample_bundle(&spec)).await, (StatusCode::OK, json!("")), "an empty answer");
    let (status, again) = admin.upload(path, sample_bundle(&spec)).await;
    assert_eq!((status, &again["errorType"]), (StatusCode::BAD_REQUEST, &json!("IllegalArgumentException")));
    admin.post("/projects/CHURN/bundles/imported/v2/actions/activate", Some(&json!({OFF: {"WEEKLY": false}}))).await;

    let end = node.snapshot()["projects"]["CHURN"].clone();
    let switches = |id: &str| end["scenarios"][id]["active"].clone();
    assert_eq!(switches("DAILY"), false, "kept");
    assert_eq!(switches("WEEKLY"), false, "as asked");
    assert_eq!(end["scenarios"]["DAILY"]["runAs"], "designer", "overwritten");
    assert!(end["scenarios"].get("CHECKS").is_none());
    assert_eq!(end["scenarios"]["LOCAL"]["local"], true);
    assert_eq!(end["variables"], json!({"standard": {"threshold": 0.8, "bundle": "v2"}, "local": {"y": 2}}));
    let (status, _) = admin.send(Method::DELETE, "/projects/CHURN/bundles/imported/v2", None).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "the active one");
    let (status, _) = admin.send(Method::DELETE, "/projects/CHURN/bundles/imported/v1", None).await;
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test]
async fn an_activation_fails_inside_a_200_and_changes_nothing() {
    let node = start(builder().restricted_connection("vault", "PostgreSQL", &["finance"])).await;
    let admin = Client::new(&node);
    admin.acting("deployer").upload("/projectsFromBundle/", sample_bundle(&BundleSpec::default())).await;
    let before = node.snapshot();
    let activate = "/projects/CHURN/bundles/imported/v1/actions/activate";
    let report = admin.post(activate, Some(&json!({}))).await;
    assert_eq!(
        (&report["error"], &report["fatal"], &report["maxSeverity"]),
        (&json!(true), &json!(true), &json!("ERROR"))
    );
    assert_eq!(report["messages"][0]["code"], "ERR_BUNDLE_ACTIVATE_MISSING_CONNECTION");
    assert_eq!(report["messages"].as_array().unwrap().len(), 2);

    for (target, code) in [
        ("lake", "ERR_BUNDLE_ACTIVATE_BAD_CONNECTION_TYPE"),
        ("vault", "ERR_BUNDLE_ACTIVATE_BAD_CONNECTION_PERMISSIONS"),
    ] {
        let mut settings = admin.get("/projects/CHURN/settings").await;
        settings["bundleContainerSettings"] = json!({"remapping": {"connections": [
            {"source": "sql-dev", "target": target}, {"source": "files-dev", "target": "files-prod"},
        ]}});
        admin.put("/projects/CHURN/settings", &settings).await;
        let report = admin.acting("deployer").post(activate, Some(&json!({}))).await;
        assert_eq!((&report["error"], &report["fatal"]), (&json!(true), &json!(false)));
        assert_eq!(report["messages"][0]["code"], code);
    }
    let after = node.snapshot();
    for same in ["activeBundle", "scenarios", "webapps", "variables"] {
        assert_eq!(after["projects"]["CHURN"][same], before["projects"]["CHURN"][same], "{same}");
    }
    let (status, _) = admin.send(Method::POST, activate, None).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "a body is needed");
    let (status, _) = admin.send(Method::POST, activate, Some(&json!({OFF: {"DAILY": "no"}}))).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "booleans only");
}

#[tokio::test]
async fn another_key_goes_by_an_empty_project() {
    let node = start(builder()).await;
    let client = Client::new(&node).acting("deployer");
    let folder = client.post("/project-folders/ROOT/children?name=finance", None).await;
    let folder = folder["id"].as_str().unwrap();
    let body = json!({"projectKey": "CHURN_EU", "name": "Churn EU", "owner": "deployer", "settings": null,
        "description": null, "permissions": [], "tags": []});
    client.post(&format!("/projects/?projectFolderId={folder}"), Some(&body)).await;
    let (status, _) = client.send(Method::POST, "/projects/", Some(&body)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "the key is taken");
    let import = "/projects/CHURN_EU/bundles/imported/actions/importFromStream";
    assert_eq!(client.upload(import, sample_bundle(&BundleSpec::default())).await.0, StatusCode::OK);
    assert_eq!(node.snapshot()["projects"]["CHURN_EU"]["folder"], "/finance");
    assert_eq!(client.get("/project-folders/locate-project/CHURN_EU").await["name"], "finance");
    client.post(&format!("/project-folders/{folder}/projects/CHURN_EU/move?destination=ROOT"), None).await;
    assert_eq!(client.get("/project-folders/").await["projectKeys"], json!(["CHURN_EU"]));
    let (status, deleted) = client.send(Method::DELETE, "/projects/CHURN_EU?clearManagedDatasets=False", None).await;
    assert_eq!((status, &deleted["hasResult"]), (StatusCode::OK, &json!(true)));
    assert_eq!(client.get("/projects/").await, json!([]));
}

#[tokio::test]
async fn permissions_name_only_who_is_there() {
    let node = start(builder()).await;
    let admin = Client::new(&node);
    let bundle = || {
        sample_bundle(&BundleSpec {
            permissions: vec![
                json!({"group": "data-team", "writeProjectContent": true}),
                json!({"user": "nobody", "admin": true}),
            ],
            ..BundleSpec::default()
        })
    };
    let (status, refused) = admin.upload("/projectsFromBundle/?permissionsPropagationPolicy=ALL", bundle()).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{refused}");
    assert_eq!(admin.get("/projects/").await, json!([]));
    let query = "/projectsFromBundle/?permissionsPropagationPolicy=ALL&failOnMissingUsersOrGroups=False";
    assert_eq!(admin.acting("deployer").upload(query, bundle()).await.0, StatusCode::OK);
    let mut access = admin.get("/projects/CHURN/permissions").await;
    assert_eq!(access["permissions"], json!([{"group": "data-team", "writeProjectContent": true}]));
    access["owner"] = json!("svc");
    access["unknown"] = json!([1]);
    admin.put("/projects/CHURN/permissions", &access).await;
    assert_eq!(admin.get("/projects/CHURN/permissions").await, access);
    access["permissions"] = json!([{"group": "ghosts", "admin": true}]);
    assert_eq!(admin.send(Method::PUT, "/projects/CHURN/permissions", Some(&access)).await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_stopped_node_comes_back_with_what_it_knew() {
    let node = start(builder()).await;
    let addr = node.addr();
    let client = Client::new(&node);
    client.upload("/projectsFromBundle/", sample_bundle(&BundleSpec::default())).await;
    let before = node.snapshot();
    let node = node.stop().await;
    assert!(client.request(Method::GET, "/projects/").send().await.is_err(), "down");
    let node = node.start(addr).await.unwrap();
    assert_eq!(node.snapshot(), before);
    assert_eq!(client.get("/projects/").await[0]["projectKey"], "CHURN");
}

#[tokio::test]
async fn the_web_app_field_has_the_name_that_was_chosen() {
    let node = start(builder().webapp_run_as_field("runAs").connection("sql-dev", "PostgreSQL")).await;
    let admin = Client::new(&node);
    let mut spec = BundleSpec::default();
    spec.connections.truncate(1);
    admin.upload("/projectsFromBundle/", sample_bundle(&spec)).await;
    admin.post("/projects/CHURN/bundles/imported/v1/actions/activate", Some(&json!({}))).await;
    let app = admin.get("/projects/CHURN/webapps/app").await;
    assert_eq!((&app["runAs"], app.get("runAsUser")), (&json!("designer"), None));
    assert_eq!(admin.get("/projects/CHURN/webapps/").await[0]["id"], "app");
}
