//! Runs of scenarios, with the outcomes that a test sets.

use crate::client::{Client, builder, start};
use sandbox::{BundleSpec, sample_bundle};
use serde_json::json;

#[tokio::test]
async fn a_run_goes_on_until_it_is_ended_and_tests_are_counted_by_bundle() {
    let node = start(builder().connection("sql-dev", "PostgreSQL").connection("files-dev", "Filesystem")).await;
    let admin = Client::new(&node);
    admin.upload("/projectsFromBundle/", sample_bundle(&BundleSpec::default())).await;
    admin.post("/projects/CHURN/bundles/imported/v1/actions/activate", Some(&json!({}))).await;
    let status =
        async |bundle: &str| admin.get(&format!("/projects/CHURN/scenarios/testing-status?bundleId={bundle}")).await;
    let last = async |finished: &str| {
        admin.get(&format!("/projects/CHURN/scenarios/CHECKS/get-last-runs?limit=5&onlyFinishedRuns={finished}")).await
    };
    node.set_outcome("CHURN", "CHECKS", "FAILED");
    admin.post("/projects/CHURN/scenarios/CHECKS/run", Some(&json!({}))).await;
    let failed = json!({"nbTotalRanScenarios": 1, "nbScenariosPerOutcome": {"FAILED": 1}});
    assert_eq!(status("").await, failed);

    node.set_outcome("CHURN", "CHECKS", "RUNNING");
    admin.post("/projects/CHURN/scenarios/CHECKS/run", Some(&json!({}))).await;
    let runs = last("False").await;
    assert!(runs[0].get("result").is_none() && runs[1]["result"]["outcome"] == "FAILED", "{runs}");
    assert_eq!(last("True").await.as_array().unwrap().len(), 1);
    let listed = admin.get("/projects/CHURN/scenarios/").await;
    let checks = listed.as_array().unwrap().iter().find(|one| one["id"] == "CHECKS").unwrap();
    assert_eq!((&checks["running"], status("v1").await), (&json!(true), failed));

    node.end_runs("CHURN", "CHECKS", "SUCCESS");
    assert_eq!(status("v1").await, json!({"nbTotalRanScenarios": 1, "nbScenariosPerOutcome": {"SUCCESS": 1}}));
    assert_eq!(status("other").await["nbTotalRanScenarios"], 0);
}
