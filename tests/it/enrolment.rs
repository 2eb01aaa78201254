//! Nodes that register themselves, end to end: real processes, as a fleet's start-up scripts and an administrator run them.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};
use tests::{Fleet, Size, client::http, practice};

use crate::ci::Job;

const SECOND_KEY: &str = "practice-admin-key-second";

fn mode(file: &str) -> u32 {
    std::fs::metadata(file).unwrap().permissions().mode() & 0o777
}

/// What people see of the infrastructure.
async fn seen(fleet: &Fleet) -> Value {
    let document = "{ infrastructure(id: \"production\") { managed nodeUrl hasAdminKey version settings { trustAllCertificates } } }";
    fleet.client.ask(document, json!({})).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_registers_itself_rotates_and_leaves() {
    let fleet = Fleet::of(Size::Embedded).start().await;
    let node = practice::listen(practice::builder().admin_key(SECOND_KEY)).await;
    node.set_user("admin", &["administrators"], true);
    // An infrastructure that somebody made without a node behind it, and what is to be deployed there.
    fleet.client.infrastructure_at("production", "http://127.0.0.1:9", "not-a-key", json!({})).await;
    fleet.client.bundle(&sandbox::BundleSpec::new("CHURN", "v1")).await;
    fleet.client.deployment("churn", "production", ("CHURN", "v1"), "CHURN", json!({})).await;

    // An administrator's machine makes the token, and prints it alone.
    let admin = Job::of(&fleet.client);
    let made = admin.run(&["node", "token", "--infrastructure", "production", "--expires", "5m"]);
    let token = made.is(0, &[]).out.trim().to_owned();
    assert!(token.starts_with("slwe_") && !token.contains('\n'), "{made:#?}");
    admin.run(&["node", "token", "--infrastructure", "nowhere"]).is(2, &["NOT_FOUND"]);
    admin.run(&["node", "token", "--infrastructure", "production", "--node", "a"]).is(2, &["NODE_LIST_INVALID"]);

    // The node's machine knows the address, and no key of a user.
    let url = fleet.client.url().to_owned();
    let machine = Job::new().with("SLIPWAY_URL", &url).with("SLIPWAY_NODE_ADMIN_KEY", practice::NODE_KEY);
    let (credential, node_url) = (machine.scratch.at("credential"), node.url());
    let logging = machine.scratch.at("logging.json");
    std::fs::write(&logging, r#"{"target": "logs.example.org"}"#).unwrap();
    let enroll = [
        "node",
        "enroll",
        "--node-id",
        "auto-1",
        "--node-url",
        &node_url,
        "--logging",
        &logging,
        "--credential-file",
        &credential,
    ];
    machine.run(&enroll).is(2, &["NOT_LOGGED_IN", "SLIPWAY_ENROLMENT_TOKEN"]);
    assert!(!std::path::Path::new(&credential).exists());
    let machine = machine.with("SLIPWAY_ENROLMENT_TOKEN", &token);
    let done = machine.run(&enroll);
    done.is(0, &["auto-1", "production", &credential]);
    let first = std::fs::read_to_string(&credential).unwrap();
    assert!(first.starts_with("slwn_") && first.ends_with('\n') && mode(&credential) == 0o600, "{first}");
    for said in [&done.out, &done.err] {
        assert!(!said.contains(first.trim()) && !said.contains(&token) && !said.contains(practice::NODE_KEY));
    }
    machine.run(&enroll).is(2, &["ENROLMENT_TOKEN_INVALID"]);
    assert_eq!(std::fs::read_to_string(&credential).unwrap(), first, "a refusal leaves the file");
    let managed = seen(&fleet).await;
    assert_eq!((&managed["managed"], &managed["nodeUrl"]), (&json!(true), &json!(node_url)));

    // What it said leads to it.
    fleet.client.run("churn", "SUCCEEDED").await;
    let by_hand =
        "mutation($version: Long!) { updateInfrastructure(input: {id: \"production\", expectedVersion: $version,
        settings: {nodeUrl: \"http://127.0.0.1:9\"}}) { refusals { code field } } }";
    let refused = fleet.client.refused(by_hand, json!({"version": managed["version"]})).await;
    assert_eq!(refused, [("NODE_MANAGED".to_owned(), "nodeUrl".to_owned())]);

    // Its key is replaced: the old one is revoked, and the credential with it.
    let machine = machine.with("SLIPWAY_NODE_ADMIN_KEY", SECOND_KEY);
    let rotate = ["node", "rotate", "--node-id", "auto-1", "--node-url", &node_url, "--credential-file", &credential];
    machine.run(&rotate).is(0, &["auto-1"]);
    node.revoke_key(practice::NODE_KEY);
    let second = std::fs::read_to_string(&credential).unwrap();
    assert!(second.starts_with("slwn_") && second != first && mode(&credential) == 0o600);
    fleet.client.run("churn", "SUCCEEDED").await;
    std::fs::write(&credential, &first).unwrap();
    machine.run(&rotate).is(2, &["ENROLMENT_TOKEN_INVALID"]);
    std::fs::write(&credential, &second).unwrap();

    // It leaves, and its files with it.
    let left = machine.run(&["node", "remove", "--credential-file", &credential, "--json"]);
    assert_eq!(left.is(0, &[]).result(), json!({"infrastructureId": "production", "nodeName": null}));
    assert!(!std::path::Path::new(&credential).exists());
    let gone = seen(&fleet).await;
    assert_eq!(
        (&gone["managed"], &gone["nodeUrl"], &gone["hasAdminKey"]),
        (&json!(false), &Value::Null, &json!(false))
    );

    plain_call(&fleet, &admin, &node_url).await;
}

/// The same without our program, and what an administrator does about it.
async fn plain_call(fleet: &Fleet, admin: &Job, node_url: &str) {
    let made = admin.run(&["node", "token", "--infrastructure", "production", "--json"]).result();
    let (agent, at) = (http(), format!("{}/fleet/nodes", fleet.client.url()));
    let body = json!({"nodeId": "auto-2", "url": node_url, "adminKey": SECOND_KEY});
    let post = async |token: &str, body: String| {
        let answer = agent.post(&at).bearer_auth(token).body(body).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    let token = made["token"].as_str().unwrap();
    let mut unknown = body.clone();
    unknown["apiKey"] = json!("x");
    let (status, told) = post(token, unknown.to_string()).await;
    assert_eq!((status, &told["errors"][0]["code"]), (400, &json!("FIELD_INVALID")), "{told}");
    assert_eq!(told["errors"][0]["field"], "apiKey");
    let (status, told) = post("slwe_aaaaaaaa_nothing", body.to_string()).await;
    assert_eq!((status, &told["errorType"]), (401, &json!("ENROLMENT_TOKEN_INVALID")), "{told}");
    let (status, told) = post(token, body.to_string()).await;
    assert_eq!((status, &told["infrastructureId"], &told["nodeId"]), (200, &json!("production"), &json!("auto-2")));
    fleet.client.run("churn", "SUCCEEDED").await;

    let version = seen(fleet).await["version"].clone();
    let release = format!("releaseNode(infrastructureId: \"production\", expectedVersion: {version})");
    let released = fleet.client.tell(&release, "infrastructure { managed hasAdminKey }").await;
    assert_eq!(released["infrastructure"], json!({"managed": false, "hasAdminKey": true}));
    let credential = told["credential"].as_str().unwrap();
    let dead = agent.delete(&at).bearer_auth(credential).send().await.unwrap();
    assert_eq!(dead.status().as_u16(), 401);
    fleet.client.run("churn", "SUCCEEDED").await;
    // By hand again.
    fleet.client.change_infrastructure("production", json!({"nodeUrl": "http://127.0.0.1:9"})).await;
}
