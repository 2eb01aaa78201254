//! Keys, users acted for, rights.

use crate::client::{Client, builder, http, start};
use reqwest::{Method, StatusCode};
use sandbox::{BundleSpec, KeyKind, sample_bundle};
use serde_json::json;

#[tokio::test]
async fn keys_and_the_user_acted_for() {
    let node = start(builder().user("gone", &[], false).disabled("gone")).await;
    let admin = Client::new(&node);
    let user = admin.with_key("deployer-secret");
    assert_eq!(admin.get("/auth/info?withSecrets=False").await["authIdentifier"], "api:admin-1");
    assert_eq!(user.get("/auth/info").await["authIdentifier"], "deployer");
    assert_eq!(admin.acting("svc").get("/auth/info").await["authIdentifier"], "svc");
    assert_eq!(admin.get("/instance-info").await["nodeType"], "AUTOMATION");

    for (client, path, wanted) in [
        (admin.with_key("wrong"), "/projects/", StatusCode::UNAUTHORIZED),
        (admin.acting("nobody"), "/projects/", StatusCode::BAD_REQUEST),
        (admin.acting("gone"), "/projects/", StatusCode::FORBIDDEN),
        (user.acting("svc"), "/projects/", StatusCode::FORBIDDEN),
        (user.clone(), "/admin/connections/", StatusCode::FORBIDDEN),
        (user.clone(), "/admin/users/", StatusCode::FORBIDDEN),
        (admin.acting("svc"), "/admin/connections/", StatusCode::FORBIDDEN),
        (admin.clone(), "/projects/NONE", StatusCode::NOT_FOUND),
        (admin.clone(), "/no/such/call", StatusCode::NOT_FOUND),
    ] {
        let (status, error) = client.send(Method::GET, path, None).await;
        assert_eq!(status, wanted, "{path}");
        for part in ["errorType", "message", "detailedMessage"] {
            assert!(error[part].is_string(), "{path}: {error}");
        }
    }
    let bearer = http().get(format!("{}/public/api/users", node.url())).bearer_auth("admin-secret");
    assert_eq!(bearer.send().await.unwrap().status(), StatusCode::OK);
    assert_eq!(admin.at(&format!("{}//dip/publicapi", node.url())).get("/projects//").await, json!([]));
    let calls = node.calls();
    assert_eq!(calls.iter().filter(|call| call.key == KeyKind::Unknown).count(), 1);
    assert!(!serde_json::to_string(&calls).unwrap().contains("secret"));
}

#[tokio::test]
async fn lists_of_the_instance() {
    let node = start(builder()).await;
    let admin = Client::new(&node);
    let user = admin.acting("deployer");
    assert_eq!(admin.get("/admin/connections/").await["sql-prod"]["type"], "PostgreSQL");
    assert_eq!(user.get("/connections/get-names?type=all").await, json!(["files-prod", "lake", "sql-prod"]));
    assert_eq!(user.get("/connections/get-names?type=EC2").await, json!(["lake"]));
    assert_eq!(user.get("/users/deployer").await["groups"], json!(["deployers"]));
    assert_eq!(user.get("/groups").await[0]["name"], "administrators");
    assert_eq!(admin.get("/admin/groups/").await[0]["admin"], true);
    assert_eq!(admin.get("/admin/users/?includeSettings=False").await[0]["login"], "analyst");
}

#[tokio::test]
async fn a_project_is_its_owners() {
    let node = start(builder()).await;
    let admin = Client::new(&node);
    let (owner, other) = (admin.acting("deployer"), admin.acting("analyst"));
    let query = "/projectsFromBundle/?permissionsPropagationPolicy=READ_ONLY";
    assert_eq!(owner.upload(query, sample_bundle(&BundleSpec::default())).await.0, StatusCode::OK);
    assert_eq!(admin.acting("svc").get("/projects/").await, json!([]), "not visible");
    assert_eq!(other.get("/projects/").await[0]["projectKey"], "CHURN");
    let settings = other.get("/projects/CHURN/settings").await;
    let refused = other.send(Method::PUT, "/projects/CHURN/settings", Some(&settings)).await;
    assert_eq!(refused.0, StatusCode::FORBIDDEN);
    let import = "/projects/CHURN/bundles/imported/actions/importFromStream";
    let refused = other.upload(import, sample_bundle(&BundleSpec::new("CHURN", "v2"))).await;
    assert_eq!(refused.0, StatusCode::FORBIDDEN);
    let activate = "/projects/CHURN/bundles/imported/v1/actions/activate";
    assert_eq!(other.send(Method::POST, activate, Some(&json!({}))).await.0, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn only_administrators_set_run_as_and_only_to_known_users() {
    let node = start(builder().connection("sql-dev", "PostgreSQL").connection("files-dev", "Filesystem")).await;
    let admin = Client::new(&node);
    let owner = admin.acting("deployer");
    owner.upload("/projectsFromBundle/", sample_bundle(&BundleSpec::default())).await;
    owner.post("/projects/CHURN/bundles/imported/v1/actions/activate", Some(&json!({}))).await;
    for path in ["/projects/CHURN/scenarios/DAILY", "/projects/CHURN/webapps/app"] {
        let before = owner.get(path).await;
        owner.put(path, &before).await;
        let mut wanted = before.clone();
        wanted["runAsUser"] = json!("svc");
        assert_eq!(owner.send(Method::PUT, path, Some(&wanted)).await.0, StatusCode::FORBIDDEN, "{path}");
        admin.put(path, &wanted).await;
        assert_eq!(owner.get(path).await["runAsUser"], "svc");
        wanted["runAsUser"] = json!("nobody");
        assert_eq!(admin.send(Method::PUT, path, Some(&wanted)).await.0, StatusCode::BAD_REQUEST, "{path}");
    }
}
