//! An update of several nodes, as a job shows it.

use sandbox::{BundleSpec, Fault, FaultKind};
use serde_json::json;
use tests::{Fleet, Size, practice};

use super::Job;

#[tokio::test(flavor = "multi_thread")]
async fn what_became_of_each_node_is_told() {
    let fleet = Fleet::of(Size::Embedded).start().await;
    let nodes = [practice::node().await, practice::node().await];
    for node in &nodes {
        node.set_user("admin", &["administrators"], true);
    }
    let once = |kind| json!({"kind": kind, "retry": {"maxAttempts": 1, "initialMs": 0, "capMs": 0}});
    let list: Vec<_> = ["auto-1", "auto-2"]
        .iter()
        .zip(&nodes)
        .map(|(name, node)| json!({"name": name, "url": node.url(), "adminKey": practice::NODE_KEY}))
        .collect();
    let policies = ["activate", "enforce_run_as", "verify"].map(once);
    let settings = json!({
        "multiNode": true, "settleMs": 0, "stepPolicies": policies,
        "connectionRemapping": [
            {"source": "sql-dev", "target": "sql-prod"}, {"source": "files-dev", "target": "files-prod"},
        ],
    });
    let input = json!({"id": "production", "stage": "Test", "settings": settings, "nodes": list});
    let create = "mutation($input: CreateInfrastructureInput!) { createInfrastructure(input: $input) { infrastructure { id } refusals { code field message } } }";
    fleet.client.ask(create, json!({ "input": input })).await;
    let job = Job::of(&fleet.client).of_run("7501", "1");
    let file = job.bundle(&BundleSpec::new("CHURN", "v1"));
    let deploy = ["deploy", "--bundle", &file, "--deployment", "churn", "--infrastructure", "production", "--wait"];
    let done = job.run(&deploy);
    done.is(
        0,
        &[
            "On the nodes now, in project CHURN:",
            "  auto-1      DONE",
            "  auto-2      DONE",
            "bundle v1",
            "They are as",
        ],
    );
    let told = job.run(&[&deploy[..], &["--json"]].concat()).is(0, &[]).result();
    let each = told["update"]["nodes"].as_array().unwrap();
    assert_eq!(each.len(), 2, "{told:#}");
    assert_eq!((&each[1]["name"], &each[1]["status"]), (&json!("auto-2"), &json!("DONE")));
    assert_eq!(each[1]["receipt"]["bundle"], "v1");
    // The first one fails: the second is as it was.
    let refuse = FaultKind::Status { status: 400, error_type: None, message: None, retry_after: None };
    nodes[0].arm(Fault::on("POST", "/projects/*/bundles/imported/*/actions/activate", refuse)).unwrap();
    let file = job.bundle(&BundleSpec::new("CHURN", "v2"));
    let deploy = ["deploy", "--bundle", &file, "--deployment", "churn", "--wait"];
    let failed = job.run(&deploy);
    failed.is(
        1,
        &["ended as FAILED", "  auto-1      FAILED", "activate/auto-1: NODE_REFUSED", "  auto-2      UNTOUCHED"],
    );
    let status = job.run(&["deployment", "status", "churn"]);
    status.is(0, &["FAILED, bundle v2", "  auto-1      FAILED", "  auto-2      UNTOUCHED"]);
    let told = job.run(&["deployment", "status", "churn", "--json"]).result();
    let each = &told["latestUpdate"]["nodes"];
    assert_eq!((&each[0]["status"], &each[1]["status"]), (&json!("FAILED"), &json!("UNTOUCHED")), "{told:#}");
}
