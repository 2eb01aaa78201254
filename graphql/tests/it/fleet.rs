//! Nodes that register themselves, as administrators see and change them.

use serde_json::json;

use crate::world::world;

#[tokio::test]
async fn tokens_are_made_listed_and_revoked() {
    let world = world().await;
    let make = "mutation($minutes: Int!, $node: String) { createEnrolmentToken(infrastructureId: \"PROD\", expiresInMinutes: $minutes, nodeName: $node) {
        secret enrolmentToken { id nodeName createdBy expiresAt usedAt } refusals { code field } } }";
    let made = world.admin(make, json!({"minutes": 5})).await["createEnrolmentToken"].clone();
    let (id, secret) = (made["enrolmentToken"]["id"].as_str().unwrap(), made["secret"].as_str().unwrap());
    assert!(id.starts_with("slwe_") && secret.starts_with(id) && secret.len() == 57, "{made}");
    assert_eq!((&made["enrolmentToken"]["createdBy"], &made["refusals"]), (&json!("admin"), &json!([])));
    for (minutes, node, code, field) in [
        (0, None, "EXPIRY_INVALID", "expiresInMinutes"),
        (10_081, None, "EXPIRY_INVALID", "expiresInMinutes"),
        (-1, None, "EXPIRY_INVALID", "expiresInMinutes"),
        (60, Some("a"), "NODE_LIST_INVALID", "nodeName"),
    ] {
        let refused = world.admin(make, json!({"minutes": minutes, "node": node})).await;
        let expected = json!({"secret": null, "enrolmentToken": null, "refusals": [{"code": code, "field": field}]});
        assert_eq!(refused["createEnrolmentToken"], expected);
    }
    let list = "{ infrastructure(id: \"PROD\") { managed version enrolmentTokens { id usedAt } } }";
    let expected = json!({"managed": false, "version": 1, "enrolmentTokens": [{"id": id, "usedAt": null}]});
    assert_eq!(world.admin(list, json!({})).await["infrastructure"], expected);
    let revoke = "mutation($id: ID!) { revokeEnrolmentToken(infrastructureId: \"PROD\", id: $id) { revokedId refusals { code field } } }";
    let gone = world.admin(revoke, json!({"id": id})).await;
    assert_eq!(gone["revokeEnrolmentToken"], json!({"revokedId": id, "refusals": []}));
    let expected = json!({"revokedId": null, "refusals": [{"code": "NOT_FOUND", "field": "id"}]});
    assert_eq!(world.admin(revoke, json!({"id": id})).await["revokeEnrolmentToken"], expected);
    assert_eq!(world.admin(list, json!({})).await["infrastructure"]["enrolmentTokens"], json!([]));
}

#[tokio::test]
async fn a_managed_node_is_read_only_until_it_is_released() {
    let world = world().await;
    world.enroll("PROD").await;
    let seen = "{ infrastructure(id: \"PROD\") { managed version nodeUrl hasAdminKey enrolmentTokens { usedAt } } }";
    let managed = world.admin(seen, json!({})).await["infrastructure"].clone();
    assert_eq!((&managed["managed"], &managed["version"]), (&json!(true), &json!(2)));
    assert!(managed["enrolmentTokens"][0]["usedAt"].is_string(), "{managed}");
    let change = "mutation($version: Long!) { updateInfrastructure(input: {id: \"PROD\", expectedVersion: $version, adminKey: \"x\",
        settings: {nodeUrl: \"http://127.0.0.1:3\"}}) { refusals { code field } } }";
    let refused = world.admin(change, json!({"version": 2})).await;
    let expected = json!([{"code": "NODE_MANAGED", "field": "nodeUrl"}, {"code": "NODE_MANAGED", "field": "adminKey"}]);
    assert_eq!(refused["updateInfrastructure"]["refusals"], expected);
    let release = "mutation($version: Long!, $node: String) { releaseNode(infrastructureId: \"PROD\", expectedVersion: $version, nodeName: $node) {
        infrastructure { managed nodeUrl hasAdminKey } refusals { code field } } }";
    for (variables, code) in
        [(json!({"version": 1}), "VERSION_CONFLICT"), (json!({"version": 2, "node": "a"}), "NOT_FOUND")]
    {
        assert_eq!(world.admin(release, variables).await["releaseNode"]["refusals"][0]["code"], code);
    }
    let released = world.admin(release, json!({"version": 2})).await;
    let expected = json!({"managed": false, "nodeUrl": "http://127.0.0.1:2", "hasAdminKey": true});
    assert_eq!(released["releaseNode"], json!({"infrastructure": expected, "refusals": []}));
    let again = world.admin(release, json!({"version": 3})).await;
    assert_eq!(again["releaseNode"]["refusals"], json!([{"code": "NODE_NOT_MANAGED", "field": "nodeName"}]));
    let changed = world.admin(change, json!({"version": 3})).await;
    assert_eq!(changed["updateInfrastructure"]["refusals"], json!([]));
}
