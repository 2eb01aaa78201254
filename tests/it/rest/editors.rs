//! Documents that several people edit: nobody's change is lost unnoticed, and what was saved is what is read.

use reqwest::{Method, StatusCode};
use sandbox::{BundleSpec, sample_bundle};
use serde_json::{Value, json};
use tests::{Fleet, Size};

use super::raw::Raw;

const BASE: &str = "/dip/publicapi/project-deployer";

/// An infrastructure `I`, a published project `CHURN`, and a deployment `D` of both.
async fn three(fleet: &Fleet) {
    let raw = Raw(&fleet.client);
    fleet.client.upload(sample_bundle(&BundleSpec::new("CHURN", "v1"))).await;
    let deployment = json!({"deploymentId": "D", "publishedProjectKey": "CHURN", "infraId": "I", "bundleId": "v1"});
    for (path, body) in [("/infras", json!({"id": "I", "stage": "Test"})), ("/deployments", deployment)] {
        let made = raw.ask(Method::POST, &format!("{BASE}{path}"), Some(body)).await;
        assert_eq!(made.0, StatusCode::OK, "{}", made.1);
    }
}

async fn read(raw: &Raw<'_>, path: &str) -> Value {
    let (status, text) = raw.ask(Method::GET, path, None).await;
    assert_eq!(status, StatusCode::OK, "{path}: {text}");
    serde_json::from_str(&text).unwrap()
}

async fn save(raw: &Raw<'_>, path: &str, document: &Value) {
    let (status, text) = raw.ask(Method::PUT, path, Some(document.clone())).await;
    assert_eq!(status, StatusCode::OK, "{path}: {text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_overwrites_anothers_change_unnoticed() {
    let fleet = Fleet::of(Size::Embedded).start().await;
    three(&fleet).await;
    let bob = fleet.user("bob", &["administrators"]);
    let (ann, bob) = (Raw(&fleet.client), Raw(&bob));
    for path in ["/infras/I/settings", "/projects/CHURN/settings", "/deployments/D/settings"] {
        let path = format!("{BASE}{path}");
        let old = read(&ann, &path).await;
        let mut theirs = read(&bob, &path).await;
        theirs["bob"] = json!(1);
        save(&bob, &path, &theirs).await;
        let mut anew = read(&ann, &path).await;
        anew["ann"] = json!(1);
        save(&ann, &path, &anew).await;
        // The same copy again: it has bob's change.
        anew["ann"] = json!(2);
        save(&ann, &path, &anew).await;
        let (status, code, _) = ann.refused(Method::PUT, &path, Some(old)).await;
        assert_eq!((status, code.as_str()), (409, "VERSION_CONFLICT"), "{path}");
        let now = read(&ann, &path).await;
        assert_eq!((&now["bob"], &now["ann"]), (&json!(1), &json!(2)), "{path}");
        let (status, code, _) = bob.refused(Method::PUT, &path, Some(theirs)).await;
        assert_eq!((status, code.as_str()), (409, "VERSION_CONFLICT"), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_saved_is_what_is_read() {
    let fleet = Fleet::of(Size::Embedded).start().await;
    three(&fleet).await;
    let raw = Raw(&fleet.client);
    for group in ["a", "b", "c"] {
        raw.ask(Method::POST, "/dip/publicapi/admin/groups", Some(json!({"name": group}))).await;
    }
    let (infra, project, deployment) = (
        format!("{BASE}/infras/I/settings"),
        format!("{BASE}/projects/CHURN/settings"),
        format!("{BASE}/deployments/D/settings"),
    );
    let mut document = read(&raw, &infra).await;
    let level = |group: &str, deploy| json!({"group": group, "read": true, "deploy": deploy, "admin": false});
    document["permissions"] = json!([level("c", false), level("a", true), level("b", false)]);
    document["adminApiKey"] = json!("node-key");
    for url in ["HTTPS://Node.example.org:443/dss/", "https://node.example.org/dss"] {
        document["automationNodeUrl"] = json!(url);
        save(&raw, &infra, &document).await;
        // One node, however it is written: the key stays.
        document["adminApiKey"] = json!("**********");
        let now = read(&raw, &infra).await;
        for field in ["automationNodeUrl", "permissions", "adminApiKey"] {
            assert_eq!(now[field], document[field], "{field}");
        }
    }

    let mut document = read(&raw, &project).await;
    let rights = |group: &str| json!({"group": group, "read": true, "write": false, "deploy": false, "admin": false});
    document["permissions"] = json!([rights("b"), rights("c"), rights("a")]);
    save(&raw, &project, &document).await;
    assert_eq!(read(&raw, &project).await["permissions"], document["permissions"]);

    let mut document = read(&raw, &deployment).await;
    document["bundleContainerSettings"]["codeEnvsBehavior"]["extra"] = json!({"kept": [1]});
    document["bundleContainerSettings"]["codeEnvsBehavior"]["importTimeMode"] = json!("FAIL_IF_MISS");
    save(&raw, &deployment, &document).await;
    let now = read(&raw, &deployment).await;
    assert_eq!(now["bundleContainerSettings"], document["bundleContainerSettings"]);

    // What could not be kept is refused, and nothing is saved.
    let remapping = json!([{"source": "a", "target": "b"}, {"source": "c", "target": "d", "note": "x"}]);
    let one = "bundleContainerSettings.remapping.connections[1].note";
    let with_note = |mut one: Value| {
        one["note"] = json!("x");
        json!([one])
    };
    for (path, place, value, field) in [
        (&infra, "/bundleContainerSettings/remapping/connections", remapping.clone(), one),
        (&deployment, "/bundleContainerSettings/remapping/connections", remapping, one),
        (&infra, "/permissions", with_note(level("a", true)), "permissions[0].note"),
        (&project, "/permissions", with_note(rights("a")), "permissions[0].note"),
        (&deployment, "/localVariables", json!({"n": 5}), ""),
    ] {
        let before = read(&raw, path).await;
        let mut document = before.clone();
        *document.pointer_mut(place).unwrap() = value;
        if field.is_empty() {
            // No number of ours: it would come back as another one.
            let text = document.to_string().replace("\"n\":5", "\"n\":12345678901234567890123");
            let request = tests::client::http().put(format!("{}{path}", fleet.client.url()));
            let answer = request.basic_auth(fleet.client.key(), Some("")).body(text).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
        } else {
            let (status, code, message) = raw.refused(Method::PUT, path, Some(document)).await;
            assert_eq!((status, code.as_str()), (400, "FIELD_INVALID"), "{path}: {message}");
            assert!(message.starts_with(field), "{message}");
        }
        assert_eq!(read(&raw, path).await, before, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn users_change_what_people_read_of_them() {
    let fleet = Fleet::of(Size::Embedded).start().await;
    let ann = fleet.user("ann", &[]);
    let (raw, path) = (Raw(&ann), "/dip/publicapi/current-user");
    let mut own = read(&raw, path).await;
    save(&raw, path, &own).await;
    own["displayName"] = json!("Ann of Green Gables");
    own["email"] = json!("ann@example.org");
    save(&raw, path, &own).await;
    assert_eq!(read(&raw, path).await, own);
    for (field, value) in [
        ("login", json!("bob")),
        ("enabled", json!(false)),
        ("groups", json!(["administrators"])),
        ("userProfile", json!("READER")),
    ] {
        let mut other = own.clone();
        other[field] = value;
        let (status, code, message) = raw.refused(Method::PUT, path, Some(other)).await;
        assert_eq!((status, code.as_str()), (400, "FIELD_FIXED"), "{message}");
        assert!(message.starts_with(field), "{message}");
    }
    assert_eq!(read(&raw, path).await, own);
}
