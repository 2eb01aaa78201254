//! Stages, users and groups, as an administrator arranges them; several changes in one document are made in its order.

use serde_json::json;

use crate::world::empty;

#[tokio::test]
async fn stages_are_made_renamed_ordered_and_deleted() {
    let world = empty().await;
    let answer = world
        .admin(
            "mutation {
               createStage(id: \"Staging\", description: \"before\") { stages { id } refusals { code } }
               taken: createStage(id: \"Test\") { refusals { code field } }
               updateStage(id: \"Staging\", newId: \"Rehearsal\") { stages { id description } refusals { code } }
               reorderStages(ids: [\"Rehearsal\", \"Development\", \"Test\", \"Production\"]) { stages { id } refusals { code } }
               deleteStage(id: \"Rehearsal\") { stages { id } refusals { code } } }",
            json!({}),
        )
        .await;
    assert_eq!(answer["createStage"]["stages"].as_array().map(Vec::len), Some(4));
    assert_eq!(answer["taken"], json!({"refusals": [{"code": "ID_NOT_AVAILABLE", "field": "id"}]}));
    assert_eq!(answer["updateStage"]["stages"][3], json!({"id": "Rehearsal", "description": "before"}));
    assert_eq!(answer["reorderStages"]["stages"][0], json!({"id": "Rehearsal"}));
    assert_eq!(
        answer["deleteStage"],
        json!({"stages": [{"id": "Development"}, {"id": "Test"}, {"id": "Production"}], "refusals": []})
    );
}

#[tokio::test]
async fn users_and_groups_are_made_described_and_deleted() {
    let world = empty().await;
    let answer = world
        .admin(
            "mutation {
               createGroup(name: \"ops\") { group { name } refusals { code } }
               describeGroup(name: \"ops\", description: \"on call\") { group { description } refusals { code } }
               createUser(input: {login: \"bob\", groups: [\"ops\"]}) { user { login groups } refusals { code } }
               deleteUser(login: \"bob\") { refusals { code } }
               gone: deleteUser(login: \"bob\") { refusals { code field } }
               deleteGroup(name: \"ops\") { refusals { code } } }",
            json!({}),
        )
        .await;
    assert_eq!(answer["createGroup"], json!({"group": {"name": "ops"}, "refusals": []}));
    assert_eq!(answer["describeGroup"], json!({"group": {"description": "on call"}, "refusals": []}));
    assert_eq!(answer["createUser"], json!({"user": {"login": "bob", "groups": ["ops"]}, "refusals": []}));
    assert_eq!(answer["deleteUser"], json!({"refusals": []}));
    assert_eq!(answer["gone"], json!({"refusals": [{"code": "NOT_FOUND", "field": "login"}]}));
    assert_eq!(answer["deleteGroup"], json!({"refusals": []}));
    let bob = world.somebody("bob", &[]).await;
    let refused = world.ask(&bob, "mutation { createGroup(name: \"mine\") { refusals { code } } }", json!({})).await;
    assert_eq!(refused["createGroup"], json!({"refusals": [{"code": "FORBIDDEN"}]}));
}
