//! Who may do what with published services, their versions and deployments, and with connections.

use deployer::{services, viewer::Viewer};
use futures_util::stream;
use serde_json::{Value, json};

use crate::world::{World, world};

/// Code and field of each refusal of a mutation.
async fn refused(world: &World, viewer: &Viewer, document: &str, variables: Value) -> Vec<(String, String)> {
    // A test's own future would hold one for each call, and its stack has no room for so many.
    let answer = Box::pin(world.ask(viewer, document, variables)).await;
    let answer = answer.as_object().unwrap().values().next().unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let refusals = answer["refusals"].as_array().unwrap_or_else(|| panic!("{answer}"));
    refusals.iter().map(|one| (text(&one["code"]), text(&one["field"]))).collect()
}

fn one(code: &str, field: &str) -> Vec<(String, String)> {
    vec![(code.to_owned(), field.to_owned())]
}

const NONE: Vec<(String, String)> = Vec::new();

async fn upload(world: &World, viewer: &Viewer, service: &str, version: &str) -> Option<String> {
    let bytes = sandbox::sample_service(&sandbox::ServiceSpec::new(service, version));
    let pieces = stream::iter([Ok::<_, std::io::Error>(bytes.into())]);
    let (deployer, name) = (&world.deployer, "version.zip");
    let uploaded = Box::pin(services::versions::upload(deployer, viewer, Some(service), name, pieces, 1 << 20)).await;
    match uploaded {
        Ok(_) => None,
        Err(deployer::error::Error::Refused(all)) => Some(all[0].code.to_string()),
        Err(fault) => panic!("{fault:?}"),
    }
}

#[tokio::test]
async fn who_may_publish_owns_what_they_published_and_gives_rights_to_it() {
    let world = Box::pin(world()).await;
    let publisher = world.somebody("publisher", &["other"]).await;
    let create = "mutation { createPublishedService(id: \"fraud\") { service { id owner } refusals { code field } } }";
    assert_eq!(refused(&world, &publisher, create, json!({})).await, one("FORBIDDEN", ""));
    let grant = "mutation { setGroupRights(name: \"other\", mayPublishServices: true) { refusals { code field } } }";
    assert_eq!(refused(&world, &publisher, grant, json!({})).await, one("FORBIDDEN", ""), "not for themselves");
    assert_eq!(refused(&world, &world.admin, grant, json!({})).await, NONE);
    let made = world.ask(&publisher, create, json!({})).await;
    assert_eq!(made["createPublishedService"]["service"], json!({"id": "fraud", "owner": "publisher"}));
    assert_eq!(upload(&world, &publisher, "fraud", "v1").await, None);

    // Each right is for its own: to write is to bring versions, to deploy is to deploy them.
    let reader = Box::pin(world.somebody("reader", &["see"])).await;
    let writer = Box::pin(world.somebody("writer", &["deploy"])).await;
    let permissions = json!([{"group": "see", "read": true}, {"group": "deploy", "write": true}]);
    let give = "mutation($permissions: [ProjectPermissionInput!], $version: Long!) { updatePublishedService(input: {id: \"fraud\", expectedVersion: $version, permissions: $permissions}) { refusals { code field } } }";
    let version = async || {
        let seen = world.admin("{ publishedService(id: \"fraud\") { version } }", json!({})).await;
        seen["publishedService"]["version"].clone()
    };
    let given = json!({"permissions": permissions, "version": version().await});
    for viewer in [&reader, &writer] {
        assert_eq!(refused(&world, viewer, give, given.clone()).await, one("NOT_FOUND", "id"), "not there yet");
    }
    assert_eq!(refused(&world, &publisher, give, given.clone()).await, NONE);
    assert_eq!(refused(&world, &writer, give, given).await, one("FORBIDDEN", ""), "to write is not to administer");
    assert_eq!(upload(&world, &reader, "fraud", "v2").await.as_deref(), Some("FORBIDDEN"));
    assert_eq!(upload(&world, &writer, "fraud", "v2").await, None);
    let delete = "mutation { deleteServiceVersion(serviceId: \"fraud\", version: \"v2\") { refusals { code field } } }";
    assert_eq!(refused(&world, &reader, delete, json!({})).await, one("FORBIDDEN", ""));

    // To deploy takes the right on both: the writer's group may deploy on the infrastructure.
    let place = "mutation { createInfrastructure(input: {id: \"NODES\", kind: STATIC, stage: \"Test\", settings: {}, permissions: [{group: \"deploy\", level: DEPLOY}, {group: \"see\", level: VIEW}]}) { refusals { code field } } }";
    assert_eq!(refused(&world, &world.admin, place, json!({})).await, NONE);
    let deploy = "mutation { createServiceDeployment(input: {id: \"fraud-test\", serviceId: \"fraud\", infrastructureId: \"NODES\", version: \"v1\"}) { refusals { code field } } }";
    for viewer in [&reader, &writer] {
        let all = refused(&world, viewer, deploy, json!({})).await;
        assert!(!all.is_empty() && all.iter().all(|(code, _)| code == "FORBIDDEN"), "{all:?}");
    }
    let permissions = json!([{"group": "see", "read": true}, {"group": "deploy", "write": true, "deploy": true}]);
    let given = json!({"permissions": permissions, "version": version().await});
    assert_eq!(refused(&world, &publisher, give, given).await, NONE);
    assert_eq!(refused(&world, &writer, deploy, json!({})).await, NONE);
    // Whoever sees both sees the deployment, and may not ask the service.
    let query = "mutation { startUpdate(deploymentId: \"fraud-test\") { refusals { code field } } }";
    assert_eq!(refused(&world, &reader, query, json!({})).await, one("FORBIDDEN", ""));
    let query = "{ queryService(deploymentId: \"fraud-test\", queries: [{}]) { refusals { code field } } }";
    assert_eq!(refused(&world, &reader, query, json!({})).await, one("FORBIDDEN", ""));
    assert_eq!(refused(&world, &writer, query, json!({})).await, one("NOT_DEPLOYED", "deploymentId"));

    // The owner may hand it over, and has no right any more.
    let hand_over = "mutation($version: Long!) { updatePublishedService(input: {id: \"fraud\", expectedVersion: $version, owner: \"writer\"}) { refusals { code field } } }";
    assert_eq!(refused(&world, &publisher, hand_over, json!({"version": version().await})).await, NONE);
    assert_eq!(upload(&world, &publisher, "fraud", "v3").await.as_deref(), Some("NOT_FOUND"));
    assert_eq!(refused(&world, &writer, delete, json!({})).await, NONE);
}

#[tokio::test]
async fn connections_have_levels_of_their_own() {
    let world = Box::pin(world()).await;
    let make = r#"mutation { createConnection(input: {id: "aws", type: "AWS", settings: {region: "eu-west-1", secretAccessKey: "of-aws"},
        permissions: [{group: "see", level: VIEW}, {group: "deploy", level: DEPLOY}, {group: "other", level: ADMIN}]}) { refusals { code field } } }"#;
    assert_eq!(refused(&world, &world.admin, make, json!({})).await, NONE);
    let place = r#"mutation { createInfrastructure(input: {id: "CLOUD", kind: SAGEMAKER, stage: "Test", settings: {},
        permissions: [{group: "see", level: ADMIN}, {group: "deploy", level: ADMIN}]}) { refusals { code field } } }"#;
    assert_eq!(refused(&world, &world.admin, place, json!({})).await, NONE);
    let (seer, user) = (world.somebody("seer", &["see"]).await, world.somebody("user", &["deploy"]).await);
    let (keeper, stranger) = (world.somebody("keeper", &["other"]).await, world.somebody("stranger", &[]).await);

    // Settings and rights are for administrators alone; secrets for nobody.
    let look = "{ connection(id: \"aws\") { level settings permissions { group level } } }";
    for (viewer, level) in [(&seer, "VIEW"), (&user, "DEPLOY")] {
        let seen = world.ask(viewer, look, json!({})).await;
        assert_eq!(seen["connection"], json!({"level": level, "settings": null, "permissions": null}));
    }
    assert_eq!(world.ask(&stranger, look, json!({})).await["connection"], json!(null));
    let seen = world.ask(&keeper, look, json!({})).await;
    assert_eq!(seen["connection"]["settings"], json!({"region": "eu-west-1", "secretAccessKey": "**********"}));
    assert_eq!(seen["connection"]["permissions"].as_array().unwrap().len(), 3);

    // To test it, and to choose it, is to use it.
    let check = "mutation { checkConnection(id: \"aws\") { refusals { code field } } }";
    let choose = "mutation($version: Long!, $connection: String) { updateInfrastructure(input: {id: \"CLOUD\", expectedVersion: $version, settings: {connection: $connection}}) { refusals { code field } } }";
    let chosen = async |viewer: &Viewer, connection: &str| {
        let seen = world.admin("{ infrastructure(id: \"CLOUD\") { version } }", json!({})).await;
        let variables = json!({"version": seen["infrastructure"]["version"], "connection": connection});
        refused(&world, viewer, choose, variables).await
    };
    assert_eq!(refused(&world, &seer, check, json!({})).await, one("FORBIDDEN", ""));
    assert_eq!(refused(&world, &user, check, json!({})).await, NONE);
    assert_eq!(refused(&world, &stranger, check, json!({})).await, one("NOT_FOUND", "id"));
    assert_eq!(chosen(&seer, "aws").await, one("FORBIDDEN", ""));
    assert_eq!(chosen(&seer, "none").await, one("NOT_FOUND", "connection"));
    assert_eq!(chosen(&user, "aws").await, NONE);
    let other = "mutation { createConnection(input: {id: \"azure\", type: \"AZURE\", settings: {}}) { refusals { code field } } }";
    assert_eq!(refused(&world, &world.admin, other, json!({})).await, NONE);
    assert_eq!(chosen(&world.admin, "azure").await, one("CONNECTION_NOT_FITTING", "connection"));

    // What uses it keeps it, and says nothing of what that is to whoever does not see it.
    let delete = "mutation { deleteConnection(id: \"aws\") { refusals { code field message } } }";
    assert_eq!(refused(&world, &user, delete, json!({})).await, one("FORBIDDEN", ""));
    assert_eq!(refused(&world, &keeper, delete, json!({})).await, one("IN_USE", "id"));
    assert!(!world.ask(&keeper, delete, json!({})).await.to_string().contains("CLOUD"));

    // The right goes, and what was chosen stays: other settings can be saved, and the same connection with them.
    let take = "mutation($version: Long!) { updateConnection(input: {id: \"aws\", expectedVersion: $version, permissions: [{group: \"other\", level: ADMIN}]}) { refusals { code field } } }";
    let seen = world.ask(&keeper, "{ connection(id: \"aws\") { version } }", json!({})).await;
    let version = json!({"version": seen["connection"]["version"]});
    assert_eq!(refused(&world, &keeper, take, version).await, NONE);
    assert_eq!(chosen(&user, "aws").await, NONE);
    let seen = world.ask(&user, "{ infrastructure(id: \"CLOUD\") { settings { connection } } }", json!({})).await;
    assert_eq!(seen["infrastructure"]["settings"]["connection"], "aws");
    assert_eq!(chosen(&user, "").await, NONE);
    assert_eq!(chosen(&user, "aws").await, one("NOT_FOUND", "connection"), "once it is let go, it can't be had back");
    assert_eq!(refused(&world, &keeper, delete, json!({})).await, NONE);
}
