//! What people do, from the first infrastructure to the end of an update.

use serde_json::{Value, json};

use crate::world::{empty, world};

#[tokio::test]
async fn who_asks() {
    let world = empty().await;
    let answer = world.admin("{ viewer { login groups isAdmin keyId } stages { id } hookPool { name limit slotsHeld liveHolders holders { updateId } } }", json!({})).await;
    assert_eq!(answer["viewer"]["login"], "admin");
    assert_eq!(answer["viewer"]["isAdmin"], true);
    assert_eq!(answer["viewer"]["keyId"].as_str().map(str::len), Some(12));
    assert_eq!(answer["stages"], json!([{"id": "Development"}, {"id": "Test"}, {"id": "Production"}]));
    assert_eq!(
        answer["hookPool"],
        json!({"name": "hooks", "limit": 3, "slotsHeld": 0, "liveHolders": 0, "holders": []})
    );
}

#[tokio::test]
async fn an_infrastructure_and_its_hooks() {
    let world = world().await;
    let query = "{ infrastructure(id: \"PROD\") { id stage nodeUrl level version hasAdminKey hookCounts { pre post } hooks { name phase code deadlineMs onInterrupt }
        permissions { group level } settings { connectionRemapping { source target } deployAsUser preHookWaitMs stepPolicies { kind retry { maxAttempts } deadlineMs } } } }";
    let before = world.admin(query, json!({})).await["infrastructure"].clone();
    assert_eq!(before["hasAdminKey"], true);
    assert_eq!(
        before["permissions"],
        json!([{"group": "see", "level": "VIEW"}, {"group": "deploy", "level": "DEPLOY"}]),
        "in the order in which they were given"
    );
    let answer = world
        .admin(
            "mutation($version: Long!) {
               setHooks(infrastructureId: \"PROD\", phase: PRE, expectedVersion: $version, hooks: [{name: \"freeze\", code: \"def execute(**k):\\n    return HookResult.success('')\"}]) {
                 hooks { name position } refusals { code field } }
               again: setHooks(infrastructureId: \"PROD\", phase: PRE, expectedVersion: $version, hooks: []) { hooks { name } refusals { code field } } }",
            json!({"version": before["version"]}),
        )
        .await;
    assert_eq!(answer["setHooks"], json!({"hooks": [{"name": "freeze", "position": 1}], "refusals": []}));
    assert_eq!(
        answer["again"],
        json!({"hooks": null, "refusals": [{"code": "VERSION_CONFLICT", "field": "expectedVersion"}]})
    );
    let input = json!({"id": "PROD", "expectedVersion": before["version"].as_i64().unwrap() + 1, "stage": "Test", "settings": {
        "deployAsUser": "deployer", "preHookWaitMs": 5_000,
        "stepPolicies": [{"kind": "push_bundle", "retry": {"maxAttempts": 2, "initialMs": 100, "capMs": 200}, "deadlineMs": 60_000}]}});
    let mutation = "mutation($input: UpdateInfrastructureInput!) { updateInfrastructure(input: $input) { infrastructure { stage } refusals { code field message } } }";
    let answer = world.admin(mutation, json!({"input": input})).await;
    assert_eq!(answer["updateInfrastructure"], json!({"infrastructure": {"stage": "Test"}, "refusals": []}));
    let after = world.admin(query, json!({})).await["infrastructure"].clone();
    assert_eq!(after["hookCounts"], json!({"pre": 1, "post": 0}));
    assert_eq!(after["hooks"][0]["onInterrupt"], "RERUN");
    assert_eq!(after["settings"]["deployAsUser"], "deployer");
    assert_eq!(after["settings"]["connectionRemapping"], json!([{"source": "dev", "target": "prod"}]), "left alone");
    assert_eq!(
        after["settings"]["stepPolicies"],
        json!([{"kind": "push_bundle", "retry": {"maxAttempts": 2}, "deadlineMs": 60_000}])
    );
    let answer = world
        .admin(
            "mutation { checkInfrastructure(id: \"PROD\") { report { version } failure { code } refusals { code } } }",
            json!({}),
        )
        .await;
    assert_eq!(
        answer["checkInfrastructure"],
        json!({"report": null, "failure": {"code": "NODE_UNREACHABLE"}, "refusals": []})
    );
    // Null empties what may be empty.
    let version = after["version"].as_i64().unwrap();
    let input = json!({"id": "PROD", "expectedVersion": version, "adminKey": null, "settings": {"deployAsUser": null}});
    assert_eq!(world.admin(mutation, json!({"input": input})).await["updateInfrastructure"]["refusals"], json!([]));
    let after = world.admin(query, json!({})).await["infrastructure"].clone();
    assert_eq!((&after["hasAdminKey"], &after["settings"]["deployAsUser"]), (&json!(false), &Value::Null));
}

#[tokio::test]
async fn a_deployment_and_its_updates() {
    let world = world().await;
    let answer = world
        .admin(
            r#"mutation { a: updateDeploymentSettings(input: {id: "churn", expectedVersion: 1, settings: {
                 scenarios: [{id: "DAILY", on: true}], localVariables: {region: "eu"}, onFailure: RESTORE}}) { deployment { version } refusals { code } }
               b: updateDeploymentSettings(input: {id: "churn", expectedVersion: 1, bundleId: "v2"}) { deployment { version } refusals { code field } } }"#,
            json!({}),
        )
        .await;
    assert_eq!(answer["a"], json!({"deployment": {"version": 2}, "refusals": []}));
    assert_eq!(answer["b"]["refusals"][0]["code"], "VERSION_CONFLICT");
    let answer = world
        .admin(
            r#"mutation { a: startUpdate(deploymentId: "churn", idempotencyKey: "k") { update { id status number } repeated refusals { code } }
               b: startUpdate(deploymentId: "churn", idempotencyKey: "k") { update { id } repeated }
               c: startUpdate(deploymentId: "nothing") { update { id } repeated refusals { code field } } }"#,
            json!({}),
        )
        .await;
    assert_eq!((&answer["a"]["repeated"], &answer["b"]["repeated"]), (&json!(false), &json!(true)));
    assert_eq!(answer["a"]["update"]["id"], answer["b"]["update"]["id"]);
    assert_eq!(
        answer["c"],
        json!({"update": null, "repeated": false, "refusals": [{"code": "NOT_FOUND", "field": "deploymentId"}]})
    );
    let id = answer["a"]["update"]["id"].clone();
    let answer = world
        .admin(
            "query($id: ID!) { update(id: $id) { status requester steps { name status attempts { number } maxAttempts } waitingOn { kind } receipt { bundle }
               deployment { id latestUpdate { id } settings { scenarios { id on } localVariables onFailure connectionRemapping { source target } }
                 infrastructure { id } project { key rights { admin } } bundle { id sha256 size } updates(first: 1) { nodes { number } } }
               events(first: 1) { nodes { seq kind by at } pageInfo { hasNextPage endCursor } } log { nodes { line } } rights { change } } }",
            json!({"id": id}),
        )
        .await;
    let update = &answer["update"];
    assert_eq!(update["status"], "QUEUED");
    assert_eq!(update["steps"].as_array().map(Vec::len), Some(7), "six, and the restore: {update}");
    assert_eq!(update["deployment"]["latestUpdate"]["id"], id);
    assert_eq!(update["deployment"]["settings"]["localVariables"], json!({"region": "eu"}));
    assert_eq!(
        update["deployment"]["settings"]["connectionRemapping"],
        json!([{"source": "dev", "target": "prod"}]),
        "the copy"
    );
    assert_eq!(update["events"]["nodes"][0]["kind"], "Requested");
    assert!(update["events"]["nodes"][0]["at"].as_str().is_some_and(|at| at.ends_with('Z')));
    let answer = world
        .admin(
            "mutation($id: ID!) { cancelUpdate(id: $id) { update { status } refusals { code } }
               again: cancelUpdate(id: $id) { update { status } refusals { code } } abandonUpdate(id: $id) { refusals { code } }
               retryUpdate(id: $id) { update { retryOf } refusals { code } } }",
            json!({"id": id}),
        )
        .await;
    assert_eq!(answer["cancelUpdate"], json!({"update": {"status": "CANCELLED"}, "refusals": []}));
    assert_eq!(answer["again"]["refusals"], json!([{"code": "UPDATE_ENDED"}]));
    assert_eq!(answer["abandonUpdate"]["refusals"], json!([{"code": "UPDATE_NOT_STUCK"}]));
    assert_eq!(answer["retryUpdate"], json!({"update": {"retryOf": id}, "refusals": []}));
}

#[tokio::test]
async fn lists_have_pages_and_filters() {
    let world = world().await;
    for n in 0..5 {
        let made = world
            .admin(
                "mutation($id: ID!, $key: String!) { createDeployment(input: {id: $id, projectKey: \"CHURN\", infrastructureId: \"PROD\", bundleId: \"v1\", deployedProjectKey: $key}) { refusals { code } } }",
                json!({"id": format!("d{n}"), "key": format!("K{n}")}),
            )
            .await;
        assert_eq!(made["createDeployment"]["refusals"], json!([]));
    }
    let list = "query($after: String, $filter: DeploymentFilter) { deployments(first: 4, after: $after, filter: $filter) {
        nodes { id infrastructure { id } latestUpdate { id } } edges { cursor } pageInfo { hasNextPage hasPreviousPage endCursor } } }";
    let first = world.admin(list, json!({})).await["deployments"].clone();
    assert_eq!(first["nodes"].as_array().map(Vec::len), Some(4));
    assert_eq!(first["pageInfo"]["hasNextPage"], true);
    let second = world.admin(list, json!({"after": first["pageInfo"]["endCursor"]})).await["deployments"].clone();
    assert_eq!(second["nodes"].as_array().map(Vec::len), Some(2));
    assert_eq!(
        (&second["pageInfo"]["hasNextPage"], &second["pageInfo"]["hasPreviousPage"]),
        (&json!(false), &json!(true))
    );
    let none = world.admin(list, json!({"filter": {"status": ["FAILED"]}})).await;
    assert_eq!(none["deployments"]["nodes"], json!([]));
    world.start().await;
    let some = world.admin(list, json!({"filter": {"stage": "Production", "status": ["QUEUED"], "project": "CHURN", "infrastructure": "PROD"}})).await;
    assert_eq!(some["deployments"]["nodes"][0]["id"], "churn");
    let updates = world.admin("{ updates(filter: {requester: \"admin\", status: [QUEUED]}) { nodes { deploymentId } } none: updates(filter: {requester: \"bob\"}) { nodes { id } } }", json!({})).await;
    assert_eq!(updates, json!({"updates": {"nodes": [{"deploymentId": "churn"}]}, "none": {"nodes": []}}));
    for (query, field) in [
        ("{ deployments(first: 0) { nodes { id } } }", "first"),
        ("{ deployments(after: \"?\") { nodes { id } } }", "after"),
    ] {
        let response = world.raw(&world.admin, query, json!({})).await;
        let extensions = response.errors[0].extensions.clone().unwrap();
        assert_eq!(
            (extensions.get("code"), extensions.get("field")),
            (Some(&"PAGE_INVALID".into()), Some(&field.into()))
        );
    }
}

#[tokio::test]
async fn keys_are_shown_once() {
    let world = empty().await;
    let made = world
        .admin(
            "mutation { createUser(input: {login: \"ci\"}) { user { login } refusals { code } }
               createApiKey(label: \"ci\", login: \"ci\", expiresAt: \"2099-01-01T00:00:00Z\") { key { id login expiresAt } secret refusals { code } }
               old: createApiKey(label: \"old\", expiresAt: \"1999-01-01T00:00:00Z\") { key { id } secret refusals { code field } } }",
            json!({}),
        )
        .await;
    assert_eq!(made["createApiKey"]["key"]["expiresAt"], "2099-01-01T00:00:00Z");
    let secret = made["createApiKey"]["secret"].as_str().unwrap();
    let id = made["createApiKey"]["key"]["id"].as_str().unwrap();
    assert!(secret.starts_with(id) && secret.len() > 40);
    assert_eq!(made["old"]["secret"], Value::Null);
    assert_eq!(made["old"]["refusals"][0]["code"], "EXPIRY_INVALID");
    let listed = world.admin("{ apiKeys(login: \"ci\") { nodes { id label revokedAt } } users { nodes { login } } groups { nodes { name } } }", json!({})).await;
    assert!(!listed.to_string().contains(secret));
    let revoked = world
        .admin(
            "mutation($id: ID!) { revokeApiKey(id: $id) { key { revokedAt } refusals { code } } }",
            json!({"id": id}),
        )
        .await;
    assert!(revoked["revokeApiKey"]["key"]["revokedAt"].is_string());
}

#[tokio::test]
async fn a_fault_has_a_number_and_no_words() {
    use sea_orm::ConnectionTrait as _;
    let world = world().await;
    world.deployer.db.pool().execute_unprepared("ALTER TABLE published_project RENAME TO gone").await.unwrap();
    for query in [
        "{ publishedProjects { nodes { key } } }",
        "{ publishedProject(key: \"CHURN\") { key } }",
        "mutation { createPublishedProject(key: \"X\") { refusals { code } } }",
    ] {
        let viewer = world.somebody(&format!("u{}", query.len()), &[]).await;
        let who = if query.starts_with('m') { &world.admin } else { &viewer };
        let response = world.raw(who, query, json!({})).await;
        let error = serde_json::to_value(&response.errors[0]).unwrap();
        assert_eq!(error["extensions"], json!({"code": "INTERNAL", "requestId": "request-1"}), "{query}");
        let text = error["message"].to_string();
        assert!(!text.contains("table") && !text.contains("sql") && !text.contains("published"), "{text}");
    }
}
