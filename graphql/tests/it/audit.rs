//! Every mutation of the schema leaves a record, done and refused. A mutation that is new fails here until it has its line.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::world::{World, empty, world};

/// What a global administrator does, in an order in which each can be done; `$…` are the variables of [`variables`].
const DONE: &[(&str, &str)] = &[
    ("createGroup", "(name: \"g\")"),
    ("describeGroup", "(name: \"g\", description: \"d\")"),
    ("createUser", "(input: {login: \"u\", groups: [\"g\"]})"),
    ("updateUser", "(input: {login: \"u\", displayName: \"U\"})"),
    ("createApiKey", "(label: \"ci\", login: \"u\")"),
    ("revokeApiKey", "(id: $key)"),
    ("deleteUser", "(login: \"u\")"),
    ("deleteGroup", "(name: \"g\")"),
    ("createStage", "(id: \"S\")"),
    ("updateStage", "(id: \"S\", description: \"d\")"),
    ("reorderStages", "(ids: [\"S\", \"Development\", \"Test\", \"Production\"])"),
    ("deleteStage", "(id: \"S\")"),
    ("createInfrastructure", "(input: {id: \"I\", stage: \"Test\", settings: {nodeUrl: \"http://127.0.0.1:1\"}})"),
    ("updateInfrastructure", "(input: {id: \"I\", expectedVersion: 1, stage: \"Development\"})"),
    ("setInfrastructurePermissions", "(id: \"I\", expectedVersion: 2, permissions: [{group: \"see\", level: VIEW}])"),
    (
        "setHooks",
        "(infrastructureId: \"I\", phase: PRE, hooks: [{name: \"h\", code: \"x = 'hush'\"}], expectedVersion: 3)",
    ),
    ("createEnrolmentToken", "(infrastructureId: \"I\")"),
    ("revokeEnrolmentToken", "(infrastructureId: \"I\", id: $enrolment)"),
    ("releaseNode", "(infrastructureId: \"I\", expectedVersion: 5)"),
    ("deleteInfrastructure", "(id: \"I\")"),
    ("checkInfrastructure", "(id: \"PROD\")"),
    ("createPublishedProject", "(key: \"P\")"),
    ("updatePublishedProject", "(input: {key: \"P\", expectedVersion: 1, name: \"N\"})"),
    ("deletePublishedProject", "(key: \"P\")"),
    (
        "createDeployment",
        "(input: {id: \"d\", projectKey: \"CHURN\", infrastructureId: \"PROD\", bundleId: \"v1\", deployedProjectKey: \"D\"})",
    ),
    ("updateDeploymentSettings", "(input: {id: \"d\", expectedVersion: 1, settings: {projectFolder: \"f\"}})"),
    ("deleteDeployment", "(id: \"d\")"),
    ("deleteBundle", "(projectKey: \"CHURN\", id: \"v2\")"),
    ("abandonUpdate", "(id: $stuck)"),
    ("startUpdate", "(deploymentId: \"churn\")"),
    ("cancelUpdate", "(id: $newest)"),
    ("retryUpdate", "(id: $newest)"),
    ("checkDrift", "(deploymentId: \"churn\")"),
    ("runTestScenarios", "(deploymentId: \"churn\")"),
    ("restoreDeployment", "(deploymentId: \"churn\")"),
    ("disableDeployment", "(deploymentId: \"churn\")"),
    ("enableDeployment", "(deploymentId: \"churn\")"),
    ("createConnection", "(input: {id: \"c\", type: \"AWS\", settings: {}})"),
    ("updateConnection", "(input: {id: \"c\", expectedVersion: 1, permissions: [{group: \"see\", level: VIEW}]})"),
    ("checkConnection", "(id: \"c\")"),
    ("deleteConnection", "(id: \"c\")"),
    ("setGroupRights", "(name: \"see\", mayPublishServices: true)"),
    ("createPublishedService", "(id: \"s\")"),
    ("updatePublishedService", "(input: {id: \"s\", expectedVersion: 1, name: \"N\"})"),
    (
        "createServiceDeployment",
        "(input: {id: \"sd\", serviceId: \"fraud\", infrastructureId: \"NODES\", version: \"v1\"})",
    ),
    ("deleteServiceVersion", "(serviceId: \"fraud\", version: \"v2\")"),
    ("deletePublishedService", "(id: \"s\")"),
    ("setHookLimit", "(limit: 5)"),
    ("drainWorker", "(id: $worker)"),
];

/// What needs an update that succeeded on a node: here it is refused, and recorded so.
const NEEDS_SUCCESS: [&str; 3] = ["checkDrift", "runTestScenarios", "restoreDeployment"];

/// What a stranger is refused, where that needs other arguments.
const REFUSED: &[(&str, &str)] = &[
    ("createApiKey", "(label: \"ci\", login: \"admin\")"),
    ("createPublishedProject", "(key: \"CHURN\")"),
    ("checkConnection", "(id: \"nothing\")"),
    ("cancelUpdate", "(id: \"nonsense\")"),
    ("retryUpdate", "(id: \"nonsense\")"),
    ("abandonUpdate", "(id: \"nonsense\")"),
    ("drainWorker", "(id: \"nonsense\")"),
];

const RECORDS: &str = "query($login: String!, $key: ID) { auditEvents(filter: {login: $login, keyId: $key}, first: 100) { nodes {
    login keyId via requestId action objectKind objectId infrastructureId projectKey outcome codes before after updateIds times seq } } }";

async fn mutations(world: &World) -> BTreeSet<String> {
    let answer = world.admin("{ __schema { mutationType { fields { name } } } }", json!({})).await;
    let fields = answer["__schema"]["mutationType"]["fields"].as_array().unwrap().clone();
    fields.iter().map(|field| field["name"].as_str().unwrap().to_owned()).collect()
}

fn document(name: &str, arguments: &str) -> String {
    let known = ["key", "stuck", "newest", "worker", "enrolment"];
    let named: Vec<_> = known.into_iter().filter(|name| arguments.contains(&format!("${name}"))).collect();
    let declared: Vec<_> = named.iter().map(|name| format!("${name}: ID!")).collect();
    let head = if declared.is_empty() { String::new() } else { format!("({})", declared.join(", ")) };
    format!("mutation{head} {{ {name}{arguments} {{ refusals {{ code field }} }} }}")
}

async fn records(world: &World, login: &str) -> Vec<Value> {
    let answer = world.admin(RECORDS, json!({"login": login})).await;
    answer["auditEvents"]["nodes"].as_array().unwrap().clone()
}

async fn newest_update(world: &World) -> Value {
    world.admin("{ updates(first: 1) { nodes { id } } }", json!({})).await["updates"]["nodes"][0]["id"].clone()
}

#[tokio::test]
async fn an_update_that_sets_a_bundle_tells_both() {
    let world = world().await;
    world.upload("CHURN", "v2").await;
    let document = "mutation { startUpdate(deploymentId: \"churn\", bundleId: \"v2\", idempotencyKey: \"k\") { repeated update { id bundleId } refusals { code field } } }";
    for repeated in [false, true] {
        let answer = world.admin(document, json!({})).await["startUpdate"].clone();
        assert_eq!((&answer["repeated"], &answer["update"]["bundleId"]), (&json!(repeated), &json!("v2")), "{answer}");
        let record = records(&world, "admin").await.remove(0);
        assert_eq!(
            (&record["action"], &record["updateIds"]),
            (&json!("startUpdate"), &json!([answer["update"]["id"]]))
        );
        assert_eq!(record["before"] != record["after"], !repeated, "{record}");
    }
}

#[tokio::test]
async fn every_mutation_leaves_a_record_when_it_is_done() {
    let world = world().await;
    world.upload("CHURN", "v2").await;
    world.service("fraud", &["v1", "v2"]).await;
    let worker = world.worker().await;
    let stuck = world.start().await;
    worker.claim(&stuck).await;
    worker.stick(&stuck).await;
    let listed: BTreeSet<_> = DONE.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(mutations(&world).await, listed, "each mutation of the schema has its line in DONE");
    for (name, arguments) in DONE {
        if *name == "releaseNode" {
            world.enroll("I").await;
        }
        let before = records(&world, "admin").await.len();
        let tokens = world.admin("{ infrastructure(id: \"I\") { enrolmentTokens { id } } }", json!({})).await;
        let keys = world.admin("{ apiKeys(login: \"u\") { nodes { id } } }", json!({})).await;
        let variables = json!({"key": keys["apiKeys"]["nodes"][0]["id"], "stuck": stuck,
            "newest": newest_update(&world).await, "worker": worker.id(),
            "enrolment": tokens["infrastructure"]["enrolmentTokens"][0]["id"]});
        let given: serde_json::Map<_, _> = variables
            .as_object()
            .unwrap()
            .iter()
            .filter(|(variable, _)| arguments.contains(&format!("${variable}")))
            .map(|(variable, value)| (variable.clone(), value.clone()))
            .collect();
        let answer = world.admin(&document(name, arguments), Value::Object(given)).await;
        let can = !NEEDS_SUCCESS.contains(name);
        assert_eq!(answer[*name]["refusals"] == json!([]), can, "{name}: {answer}");
        let after = records(&world, "admin").await;
        assert_eq!(after.len(), before + 1, "{name}: one record");
        let record = &after[0];
        assert_eq!(
            (&record["action"], &record["outcome"]),
            (&json!(name), &json!(if can { "DONE" } else { "REFUSED" })),
            "{record}"
        );
        assert!(record["keyId"].as_str().unwrap().starts_with("slw_"), "{record}");
        if name.ends_with("Update") {
            assert!(!record["updateIds"].as_array().unwrap().is_empty(), "{record}");
            assert_eq!((&record["infrastructureId"], &record["projectKey"]), (&json!("PROD"), &json!("CHURN")));
        }
        let changes = can && !["checkInfrastructure", "checkConnection", "startUpdate", "retryUpdate"].contains(name);
        assert_eq!(record["before"] != record["after"], changes, "{name}: what changed is told: {record}");
        let text = record.to_string();
        assert!(!text.contains("hush") && !text.contains("node-secret"), "no code and no secret: {text}");
    }
}

#[tokio::test]
async fn every_mutation_leaves_a_record_when_it_is_refused() {
    let world = world().await;
    let update = world.start().await;
    let stranger = world.somebody("stranger", &["other"]).await;
    for (name, arguments) in DONE {
        let arguments = REFUSED.iter().find(|(other, _)| other == name).map_or(*arguments, |(_, other)| other);
        let variables = json!({"key": "slw_aaaaaaaa", "stuck": update, "newest": update, "worker": "1",
            "enrolment": "slwe_aaaaaaaa"});
        let given: serde_json::Map<_, _> = variables
            .as_object()
            .unwrap()
            .iter()
            .filter(|(variable, _)| arguments.contains(&format!("${variable}")))
            .map(|(variable, value)| (variable.clone(), value.clone()))
            .collect();
        let answer = world.ask(&stranger, &document(name, arguments), Value::Object(given)).await;
        let code = answer[*name]["refusals"][0]["code"].clone();
        assert!(code.is_string(), "{name}: {answer}");
        let record = records(&world, "stranger").await.swap_remove(0);
        assert_eq!((&record["action"], &record["outcome"]), (&json!(name), &json!("REFUSED")), "{record}");
        assert_eq!(record["codes"][0], code, "{record}");
        assert_eq!((&record["before"], &record["after"]), (&json!({}), &json!({})), "{record}");
    }
}

#[tokio::test]
async fn the_audit_is_filtered_and_paged() {
    let world = empty().await;
    for name in ["a", "b", "c"] {
        world
            .admin("mutation($name: String!) { createGroup(name: $name) { refusals { code } } }", json!({"name": name}))
            .await;
    }
    world.admin("mutation { deleteGroup(name: \"b\") { refusals { code } } }", json!({})).await;
    let ask = async |filter: &str, page: &str| {
        let query = format!(
            "{{ auditEvents(filter: {{{filter}}}{page}) {{ nodes {{ action objectId seq }} pageInfo {{ hasNextPage endCursor }} }} }}"
        );
        world.admin(&query, json!({})).await["auditEvents"].clone()
    };
    let ids = |answer: &Value| -> Vec<String> {
        let nodes = answer["nodes"].as_array().unwrap();
        nodes.iter().map(|node| node["objectId"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&ask("action: \"createGroup\"", "").await), ["c", "b", "a"]);
    assert_eq!(ids(&ask("objectKind: GROUP, objectId: \"b\"", "").await), ["b", "b"]);
    assert_eq!(ids(&ask("objectKind: USER", "").await), ["admin"]);
    assert!(ids(&ask("outcome: REFUSED", "").await).is_empty());
    assert!(ids(&ask("until: \"2020-01-01T00:00:00Z\"", "").await).is_empty());
    assert_eq!(ids(&ask("since: \"2020-01-01T00:00:00Z\", login: \"admin\"", "").await).len(), 4);
    let first = ask("", ", first: 2").await;
    assert_eq!((ids(&first), &first["pageInfo"]["hasNextPage"]), (vec!["b".to_owned(), "c".to_owned()], &json!(true)));
    let cursor = format!(", first: 2, after: {}", first["pageInfo"]["endCursor"]);
    assert_eq!(ids(&ask("", &cursor).await), ["b", "a"]);
    let nobody = world.somebody("nobody", &[]).await;
    let answer = world.ask(&nobody, "{ auditEvents { nodes { id } pageInfo { endCursor } } }", json!({})).await;
    assert_eq!(answer["auditEvents"], json!({"nodes": [], "pageInfo": {"endCursor": null}}));
}
