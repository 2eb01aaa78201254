//! Policies, governance sources and remappings, as a client writes and reads them.

use sandbox::Governance;
use serde_json::{Value, json};

use crate::world::{World, world};

const SETTINGS: &str =
    "settings { governCheckPolicy governanceUrl projectStandardsPolicy codeEnvRemapping { source target }
  containerExecRemapping { source target } }";

async fn change(world: &World, input: Value) -> Value {
    let seen = world.admin("{ infrastructure(id: \"PROD\") { version } }", json!({})).await;
    let mut all = json!({"id": "PROD", "expectedVersion": seen["infrastructure"]["version"]});
    all.as_object_mut().unwrap().extend(input.as_object().unwrap().clone());
    let query = format!(
        "mutation($input: UpdateInfrastructureInput!) {{ updateInfrastructure(input: $input) {{
           infrastructure {{ hasGovernanceKey stageExists {SETTINGS} }} refusals {{ code field }} }} }}"
    );
    world.admin(&query, json!({"input": all})).await["updateInfrastructure"].clone()
}

#[tokio::test]
async fn what_is_named_twice_is_refused() {
    let world = world().await;
    let refused = world
        .admin(
            r#"mutation {
                 updateDeploymentSettings(input: {id: "churn", expectedVersion: 1,
                   settings: {scenarios: [{id: "DAILY", on: true}, {id: "DAILY", on: false}]}}) { refusals { code field } }
                 updateInfrastructure(input: {id: "PROD", expectedVersion: 1,
                   settings: {stepPolicies: [{kind: "verify", deadlineMs: 60000}, {kind: "verify", deadlineMs: 70000}]}}) { refusals { code field } }
               }"#,
            json!({}),
        )
        .await;
    let one = |field: &str| json!([{"code": "TEXT_INVALID", "field": field}]);
    assert_eq!(refused["updateDeploymentSettings"]["refusals"], one("scenarios[1].id"), "{refused}");
    assert_eq!(refused["updateInfrastructure"]["refusals"], one("stepPolicies[1].kind"), "{refused}");
}

#[tokio::test]
async fn what_is_set_is_read_back_and_the_key_is_not() {
    let world = world().await;
    let settings = json!({
        "governCheckPolicy": "WARN", "governanceUrl": "https://govern.example.com/check/", "projectStandardsPolicy": "PREVENT",
        "codeEnvRemapping": [{"source": "py", "target": "py311"}], "containerExecRemapping": [{"source": "small", "target": "pool"}],
    });
    let answer = change(&world, json!({"settings": settings, "governanceKey": "govern-key-1"})).await;
    let seen = &answer["infrastructure"];
    assert_eq!(
        (&answer["refusals"], &seen["hasGovernanceKey"], &seen["stageExists"]),
        (&json!([]), &json!(true), &json!(true))
    );
    let mut wanted = settings.clone();
    wanted["governanceUrl"] = json!("https://govern.example.com/check");
    assert_eq!(seen["settings"], wanted);
    assert!(!answer.to_string().contains("govern-key-1"));
    // Null takes the source, and with it the key; what is not named stays.
    let answer = change(&world, json!({"settings": {"governanceUrl": null}})).await;
    assert_eq!(answer["infrastructure"]["hasGovernanceKey"], false);
    wanted["governanceUrl"] = Value::Null;
    assert_eq!(answer["infrastructure"]["settings"], wanted);

    let wrong = json!({
        "governanceUrl": "ftp://x", "codeEnvRemapping": [{"source": "py", "target": "a"}, {"source": "py", "target": "b"}],
        "containerExecRemapping": [{"source": " ", "target": "pool"}],
    });
    let answer = change(&world, json!({"settings": wrong, "governanceKey": "ü"})).await;
    let told = json!([
        {"code": "NODE_URL_INVALID", "field": "governanceUrl"}, {"code": "REMAPPING_INVALID", "field": "codeEnvRemapping[1].source"},
        {"code": "TEXT_INVALID", "field": "containerExecRemapping[0].source"}, {"code": "ADMIN_KEY_INVALID", "field": "governanceKey"},
    ]);
    assert_eq!((&answer["refusals"], &answer["infrastructure"]), (&told, &Value::Null));
}

#[tokio::test]
async fn a_deployments_own_and_what_is_otherwise_there() {
    let world = world().await;
    let settings =
        "settings { connectionRemapping { target } codeEnvRemapping { source target } containerExecRemapping { source }
      mergeInfrastructureRemapping codeEnvsBehavior { importTimeMode envImportSpecificationMode } }";
    let query = format!(
        "mutation($input: UpdateDeploymentSettingsInput!) {{ updateDeploymentSettings(input: $input) {{
           deployment {{ {settings} }} refusals {{ code field }} }} }}"
    );
    let save = async |version: i64, settings: Value| {
        let input = json!({"id": "churn", "expectedVersion": version, "settings": settings});
        world.admin(&query, json!({"input": input})).await["updateDeploymentSettings"].clone()
    };
    let behavior = json!({"importTimeMode": "DO_NOTHING", "envImportSpecificationMode": "ACTUAL"});
    let own = json!([{"source": "py", "target": "ours"}]);
    let answer =
        save(1, json!({"codeEnvRemapping": own, "mergeInfrastructureRemapping": true, "codeEnvsBehavior": behavior}))
            .await;
    let seen = &answer["deployment"]["settings"];
    assert_eq!((&seen["codeEnvRemapping"], &seen["codeEnvsBehavior"]), (&own, &behavior));
    assert_eq!(
        (&seen["mergeInfrastructureRemapping"], &seen["connectionRemapping"][0]["target"]),
        (&json!(true), &json!("prod"))
    );
    let answer = save(2, json!({"codeEnvsBehavior": null})).await;
    assert_eq!(answer["deployment"]["settings"]["codeEnvsBehavior"], Value::Null);
    assert_eq!(answer["deployment"]["settings"]["codeEnvRemapping"], own);
    let twice = json!([{"source": "a", "target": "x"}, {"source": "a", "target": "y"}]);
    let answer = save(3, json!({"containerExecRemapping": twice})).await;
    assert_eq!(answer["refusals"], json!([{"code": "REMAPPING_INVALID", "field": "containerExecRemapping[1].source"}]));

    let list = "{ remappedDeployments(infrastructureId: \"PROD\", first: 1) { pageInfo { hasNextPage } nodes { deployment { id }
      differences { kind source deployment infrastructure } } } }";
    let wanted = json!({"pageInfo": {"hasNextPage": false}, "nodes": [{
        "deployment": {"id": "churn"},
        "differences": [{"kind": "CODE_ENV", "source": "py", "deployment": "ours", "infrastructure": null}],
    }]});
    let deploys = world.somebody("dan", &["deploy"]).await;
    assert_eq!(world.ask(&deploys, list, json!({})).await["remappedDeployments"], wanted);
    let sees = world.somebody("sue", &["see"]).await;
    assert_eq!(world.ask(&sees, list, json!({})).await["remappedDeployments"]["nodes"], json!([]));
}

#[tokio::test]
async fn the_status_of_a_bundle() {
    let world = world().await;
    let ask = "query($id: ID!, $bundle: ID) { governanceStatus(deploymentId: $id, bundleId: $bundle) {
      asked messages { severity code title message } refusals { code field } } }";
    let sees = world.somebody("sue", &["see"]).await;
    let status = async |viewer, id: &str, bundle: Value| {
        world.ask(viewer, ask, json!({"id": id, "bundle": bundle})).await["governanceStatus"].clone()
    };
    let nothing = json!({"asked": false, "messages": [], "refusals": []});
    assert_eq!(status(&sees, "churn", json!(null)).await, nothing);
    let source = Governance::open().await.unwrap();
    source.say("v1", "WARNING", "Being looked at.");
    change(&world, json!({"settings": {"governanceUrl": source.url()}})).await;
    let told = json!({"severity": "WARNING", "code": "ERR_SIGN_OFF", "title": "", "message": "Being looked at."});
    assert_eq!(status(&sees, "churn", json!("v1")).await, json!({"asked": true, "messages": [told], "refusals": []}));
    assert_eq!(
        status(&sees, "churn", json!("v9")).await["refusals"],
        json!([{"code": "BUNDLE_UNKNOWN", "field": "bundleId"}])
    );
    let other = world.somebody("oto", &["other"]).await;
    let hidden = status(&other, "churn", json!(null)).await;
    assert_eq!(hidden, status(&other, "absent", json!(null)).await);
    assert_eq!(hidden["refusals"], json!([{"code": "NOT_FOUND", "field": "deploymentId"}]));

    change(&world, json!({"settings": {"governCheckPolicy": "WARN"}})).await;
    let create = "mutation($input: CreateDeploymentInput!) { createDeployment(input: $input) { deployment { id } refusals { code field message } } }";
    let mut input = json!({"id": "two", "projectKey": "CHURN", "infrastructureId": "PROD", "bundleId": "v1", "deployedProjectKey": "TWO"});
    let refused = world.admin(create, json!({"input": input})).await["createDeployment"].clone();
    assert_eq!((&refused["deployment"], &refused["refusals"][0]["code"]), (&Value::Null, &json!("GOVERNANCE_WARNING")));
    assert!(refused["refusals"][0]["message"].as_str().unwrap().contains("Being looked at."));
    input["ignoreWarnings"] = json!(true);
    let made = world.admin(create, json!({"input": input})).await["createDeployment"].clone();
    assert_eq!(made["deployment"]["id"], "two");
}

#[tokio::test]
async fn no_stage() {
    let world = world().await;
    let lists = "{ infrastructures(filter: {withoutStage: true}) { nodes { id stage stageExists } }
      deployments(filter: {withoutStage: true}) { nodes { id } } }";
    let none = json!({"infrastructures": {"nodes": []}, "deployments": {"nodes": []}});
    assert_eq!(world.admin(lists, json!({})).await, none);
    use sea_orm::ConnectionTrait as _;
    world.deployer.db.pool().execute_unprepared("DELETE FROM stage WHERE id = 'Production'").await.unwrap();
    let found = world.admin(lists, json!({})).await;
    let lost = json!({"id": "PROD", "stage": "Production", "stageExists": false});
    assert_eq!(found, json!({"infrastructures": {"nodes": [lost]}, "deployments": {"nodes": [{"id": "churn"}]}}));
}

#[tokio::test]
async fn variables_that_are_no_object_are_refused_by_their_name() {
    let world = world().await;
    let document = "mutation($variables: JSON) { updateDeploymentSettings(input: {id: \"churn\", expectedVersion: 1, settings: {localVariables: $variables}}) {
        deployment { settings { localVariables } } refusals { code } } }";
    for wrong in [json!([1]), json!("text"), json!(1)] {
        let response = world.raw(&world.admin, document, json!({"variables": wrong})).await;
        assert!(response.errors[0].message.contains("localVariables is a JSON object"), "{response:?}");
    }
    let right = json!({"region": "eu", "list": [1]});
    let answer = world.admin(document, json!({"variables": right})).await;
    assert_eq!(answer["updateDeploymentSettings"]["deployment"]["settings"]["localVariables"], right);
}
