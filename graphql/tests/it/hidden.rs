//! No right means not there: byte for byte as an id that never existed.

use serde_json::json;

use crate::world::world;

#[tokio::test]
async fn what_is_hidden_answers_like_what_is_absent() {
    let world = world().await;
    let update = world.start().await;
    let stranger = world.somebody("stranger", &["other"]).await;
    let query = "query($infra: ID!, $project: String!, $bundle: ID!, $deployment: ID!, $update: ID!) {
        infrastructure(id: $infra) { id } publishedProject(key: $project) { key } bundle(projectKey: $project, id: $bundle) { id }
        deployment(id: $deployment) { id disabled health { health messages { code } } drift { checkedAt } testingStatus { failure { code } } }
        update(id: $update) { id type } previewUpdate(deploymentId: $deployment) { preview { actingUser } refusals { code field message } }
        infrastructures { nodes { id } pageInfo { endCursor } } publishedProjects { nodes { key } } deployments { nodes { id } } updates { nodes { id } }
        ofInfra: deployments(filter: {infrastructure: \"PROD\"}) { nodes { id } } hookPool { holders { updateId } waiters { updateId } } }";
    let mutation = "mutation($infra: ID!, $project: String!, $bundle: ID!, $deployment: ID!, $update: ID!) {
        updateInfrastructure(input: {id: $infra, expectedVersion: 1, stage: \"Test\"}) { infrastructure { id } refusals { code field message } }
        setInfrastructurePermissions(id: $infra, expectedVersion: 1, permissions: []) { refusals { code field message } }
        deleteInfrastructure(id: $infra) { deletedId refusals { code field message } }
        checkInfrastructure(id: $infra) { report { identity } refusals { code field message } }
        setHooks(infrastructureId: $infra, phase: PRE, hooks: [], expectedVersion: 1) { hooks { id } refusals { code field message } }
        createEnrolmentToken(infrastructureId: $infra) { secret refusals { code field message } }
        revokeEnrolmentToken(infrastructureId: $infra, id: \"slwe_aaaaaaaa\") { refusals { code field message } }
        releaseNode(infrastructureId: $infra, expectedVersion: 1) { refusals { code field message } }
        updatePublishedProject(input: {key: $project, expectedVersion: 1, name: \"x\"}) { refusals { code field message } }
        deletePublishedProject(key: $project) { refusals { code field message } }
        deleteBundle(projectKey: $project, id: $bundle) { refusals { code field message } }
        createDeployment(input: {id: \"mine\", projectKey: $project, infrastructureId: $infra, bundleId: $bundle}) { refusals { code field message } }
        updateDeploymentSettings(input: {id: $deployment, expectedVersion: 1}) { refusals { code field message } }
        deleteDeployment(id: $deployment) { refusals { code field message } }
        switchedOff: deleteDeployment(id: $deployment, onNode: SWITCH_OFF) { deletedId update { id } refusals { code field message } }
        startUpdate(deploymentId: $deployment) { refusals { code field message } }
        restoreDeployment(deploymentId: $deployment) { refusals { code field message } }
        restored: restoreDeployment(deploymentId: $deployment, updateId: $update) { refusals { code field message } }
        disableDeployment(deploymentId: $deployment) { refusals { code field message } }
        enableDeployment(deploymentId: $deployment) { refusals { code field message } }
        checkDrift(deploymentId: $deployment) { drift { checkedAt } refusals { code field message } }
        runTestScenarios(deploymentId: $deployment) { testing { failure { code } } refusals { code field message } }
        cancelUpdate(id: $update) { refusals { code field message } } retryUpdate(id: $update) { refusals { code field message } }
        abandonUpdate(id: $update) { refusals { code field message } } }";
    let there = json!({"infra": "PROD", "project": "CHURN", "bundle": "v1", "deployment": "churn", "update": update});
    let absent = json!({"infra": "NONE", "project": "NONE", "bundle": "NONE", "deployment": "NONE", "update": "1"});
    for document in [query, mutation] {
        let hidden = world.ask(&stranger, document, there.clone()).await;
        assert_eq!(hidden, world.ask(&stranger, document, absent.clone()).await);
        assert!(!hidden.to_string().contains("churn"), "{hidden}");
    }
    let seen = world.admin(query, there).await;
    assert_eq!(seen["deployments"]["nodes"], json!([{"id": "churn"}]), "and it is there");
    for id in ["x", "-1", "99999999999999999999", "1 ", "01"] {
        assert_eq!(
            world.ask(&stranger, "query($id: ID!) { update(id: $id) { id } }", json!({"id": id})).await,
            json!({"update": null}),
            "{id}"
        );
    }
}

#[tokio::test]
async fn a_viewer_sees_less_than_an_administrator() {
    let world = world().await;
    let viewer = world.somebody("viewer", &["see"]).await;
    let answer = world
        .ask(&viewer, "{ infrastructure(id: \"PROD\") { id level settings { deployAsUser } hasAdminKey permissions { group } hooks { code } enrolmentTokens { id } hookCounts { pre } deployments { nodes { id rights { change } } } } }", json!({}))
        .await;
    let expected = json!({"id": "PROD", "level": "VIEW", "settings": null, "hasAdminKey": null, "permissions": null, "hooks": null, "enrolmentTokens": null,
        "hookCounts": {"pre": 0}, "deployments": {"nodes": [{"id": "churn", "rights": {"change": false}}]}});
    assert_eq!(answer["infrastructure"], expected);
    let refused = world
        .ask(
            &viewer,
            "mutation { startUpdate(deploymentId: \"churn\") { update { id } refusals { code } } }",
            json!({}),
        )
        .await;
    assert_eq!(refused["startUpdate"], json!({"update": null, "refusals": [{"code": "FORBIDDEN"}]}));
    // How it is may be asked by whoever sees it; what is done with it not.
    let asked = "{ deployment(id: \"churn\") { disabled drift { checkedAt } settings { tags disableAutomaticTriggers }
        health { health messages { code severity } monitoring { hasScenarios } } } }";
    let expected = json!({"disabled": false, "drift": null, "settings": {"tags": [], "disableAutomaticTriggers": false}, "health": {
        "health": "UNKNOWN", "messages": [{"code": "NEVER_DEPLOYED", "severity": "INFO"}], "monitoring": {"hasScenarios": false}}});
    assert_eq!(world.ask(&viewer, asked, json!({})).await["deployment"], expected);
    for (call, code) in [
        ("restoreDeployment(deploymentId: \"churn\")", "FORBIDDEN"),
        ("disableDeployment(deploymentId: \"churn\")", "FORBIDDEN"),
        ("enableDeployment(deploymentId: \"churn\")", "FORBIDDEN"),
        ("runTestScenarios(deploymentId: \"churn\")", "FORBIDDEN"),
        ("deleteDeployment(id: \"churn\", onNode: DELETE_PROJECT)", "FORBIDDEN"),
        ("checkDrift(deploymentId: \"churn\")", "NOT_DEPLOYED"),
        ("createEnrolmentToken(infrastructureId: \"PROD\")", "FORBIDDEN"),
        ("revokeEnrolmentToken(infrastructureId: \"PROD\", id: \"slwe_aaaaaaaa\")", "FORBIDDEN"),
        ("releaseNode(infrastructureId: \"PROD\", expectedVersion: 1)", "FORBIDDEN"),
    ] {
        let document = format!("mutation {{ call: {call} {{ refusals {{ code }} }} }}");
        let refused = world.ask(&viewer, &document, json!({})).await;
        assert_eq!(refused["call"]["refusals"], json!([{"code": code}]), "{call}");
    }
}
