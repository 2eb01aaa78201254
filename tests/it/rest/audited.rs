//! Each refused call that would have changed something leaves one record, whatever it was refused for.

use reqwest::Method;
use serde_json::{Value, json};
use tests::{Client, Fleet, Size, client::http};

use super::raw::Raw;

/// The newest records' number, and each newer one than `after`: who, what, on what.
async fn since(admin: &Client, after: i64) -> (i64, Vec<(String, String, String)>) {
    let query = "{ auditEvents(first: 20) { nodes { seq login action objectId outcome } } }";
    let answer = admin.graphql(query, json!({})).await;
    let nodes = answer["auditEvents"]["nodes"].as_array().unwrap().clone();
    let seq = |node: &Value| node["seq"].as_i64().unwrap();
    let newest = nodes.first().map_or(0, seq);
    let text = |node: &Value, name: &str| node[name].as_str().unwrap().to_owned();
    let newer = nodes.iter().filter(|node| seq(node) > after).map(|node| {
        assert_eq!(node["outcome"], "REFUSED", "{node}");
        (text(node, "login"), text(node, "action"), text(node, "objectId"))
    });
    (newest, newer.collect())
}

/// Every row that changes something: for somebody without any right, and as an administrator who writes it wrong.
fn rows() -> Vec<(Method, &'static str, Value, &'static str, &'static str)> {
    use Method as M;
    let wrong = || json!({"permissions": 5, "displayName": 5, "bundleId": 5, "description": 5, "label": 5});
    vec![
        (M::POST, "project-deployer/infras", json!({"id": "i", "stage": 5}), "createInfrastructure", "i"),
        (M::POST, "project-deployer/projects/infras", json!({"id": "j"}), "createInfrastructure", "j"),
        (M::DELETE, "project-deployer/infras/i", json!(null), "deleteInfrastructure", "i"),
        (M::PUT, "project-deployer/infras/there/settings", wrong(), "updateInfrastructure", "there"),
        (M::PUT, "project-deployer/infras/absent/settings", wrong(), "updateInfrastructure", "absent"),
        (
            M::POST,
            "project-deployer/infras/there/generate-personal-api-key",
            json!(null),
            "generatePersonalKeys",
            "there",
        ),
        (M::POST, "project-deployer/projects", json!({"publishedProjectKey": 5}), "createPublishedProject", ""),
        (M::DELETE, "project-deployer/projects/absent", json!(null), "deletePublishedProject", "absent"),
        (M::PUT, "project-deployer/projects/THERE/settings", wrong(), "updatePublishedProject", "THERE"),
        (M::PUT, "project-deployer/projects/ABSENT/settings", wrong(), "updatePublishedProject", "ABSENT"),
        (M::POST, "project-deployer/projects/bundles?projectKey=P", json!({}), "uploadBundle", "P/"),
        (M::DELETE, "project-deployer/projects/P/bundles/b", json!(null), "deleteBundle", "P/b"),
        (M::POST, "project-deployer/deployments", json!({"deploymentId": "d"}), "createDeployment", "d"),
        (M::DELETE, "project-deployer/deployments/d", json!(null), "deleteDeployment", "d"),
        (M::PUT, "project-deployer/deployments/d/settings", wrong(), "updateDeploymentSettings", "d"),
        (M::POST, "project-deployer/deployments/d/run-test-scenarios", json!(null), "runTestScenarios", "d"),
        (M::POST, "project-deployer/deployments/d/actions/update", json!(null), "startUpdate", "d"),
        (M::DELETE, "futures/7", json!(null), "cancelUpdate", "7"),
        (M::DELETE, "futures/x", json!(null), "cancelUpdate", "x"),
        (M::POST, "admin/users", json!({"login": "u", "displayName": 5}), "createUser", "u"),
        (M::PUT, "admin/users/u", wrong(), "updateUser", "u"),
        (M::DELETE, "admin/users/u", json!(null), "deleteUser", "u"),
        (M::POST, "admin/groups", json!({"name": "g", "description": 5}), "createGroup", "g"),
        (M::PUT, "admin/groups/g", wrong(), "describeGroup", "g"),
        (M::DELETE, "admin/groups/g", json!(null), "deleteGroup", "g"),
        (M::POST, "admin/audit/custom/a%20b%2F", json!({}), "custom", "a b/"),
        (M::POST, "admin/personal-api-keys", json!({"user": 5}), "createApiKey", ""),
        (M::PUT, "personal-api-keys/slw_absent00", wrong(), "describeApiKey", "slw_absent00"),
        (M::DELETE, "personal-api-keys/slw_absent01", json!(null), "revokeApiKey", "slw_absent01"),
        (M::PUT, "current-user", json!({"enabled": false}), "updateUser", "LOGIN"),
        (M::POST, "personal-api-keys", json!({"label": 5}), "createApiKey", "LOGIN"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn each_refused_call_has_one_record() {
    let fleet = Fleet::of(Size::Embedded).start().await;
    let admin = &fleet.client;
    let made = Raw(admin);
    for (path, body) in
        [("infras", json!({"id": "there", "stage": "Test"})), ("projects", json!({"publishedProjectKey": "THERE"}))]
    {
        made.ask(Method::POST, &format!("/dip/publicapi/project-deployer/{path}"), Some(body)).await;
    }
    let (outsider, chief) = (fleet.user("outsider", &[]), fleet.user("chief", &["administrators"]));
    for (login, client) in [("outsider", &outsider), ("chief", &chief)] {
        let mut newest = newest_of(admin).await;
        for (method, path, body, action, object) in rows() {
            let body = Some(body).filter(|body| !body.is_null());
            let told = Raw(client).refused(method.clone(), &format!("/dip/publicapi/{path}"), body).await;
            let (now, records) = since(admin, newest).await;
            let object = if object == "LOGIN" { login } else { object };
            let wanted = vec![(login.to_owned(), action.to_owned(), object.to_owned())];
            assert_eq!(records, wanted, "{login}: {method} {path}: {told:?}");
            newest = now;
        }
    }

    // In bulk, each for itself; and whoever acts for others must be let.
    let bulk = "/dip/publicapi/admin/users/actions/bulk";
    let users = json!([{"login": "u1", "displayName": 5}, {"login": "u2", "groups": 5}]);
    for (method, body, action) in [
        (Method::POST, users.clone(), "createUser"),
        (Method::PUT, users, "updateUser"),
        (Method::DELETE, json!(["u1", "u2"]), "deleteUser"),
    ] {
        for (login, client) in [("outsider", &outsider), ("chief", &chief)] {
            let newest = newest_of(admin).await;
            Raw(client).ask(method.clone(), bulk, Some(body.clone())).await;
            let (_, mut records) = since(admin, newest).await;
            records.sort();
            let wanted = ["u1", "u2"].map(|user| (login.to_owned(), action.to_owned(), user.to_owned()));
            assert_eq!(records, wanted, "{login}: {method}");
        }
    }
    let newest = newest_of(admin).await;
    let as_chief = http().get(format!("{}/dip/publicapi/users", admin.url())).header("x-dku-proxyuser", "chief");
    let answer = as_chief.basic_auth(outsider.key(), Some("")).send().await.unwrap();
    assert_eq!(answer.status(), 403);
    let (_, records) = since(admin, newest).await;
    assert_eq!(records, [("outsider".to_owned(), "actAs".to_owned(), "chief".to_owned())]);
}

async fn newest_of(admin: &Client) -> i64 {
    since(admin, i64::MAX).await.0
}
