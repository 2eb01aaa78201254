//! How updates end other than well: cancelled, failed and retried, with warnings, put back, stuck.

use std::{fs, path::Path};

use sandbox::{BundleSpec, Fault, FaultKind, RunningNode, When};
use serde_json::{Value, json};
use tests::{
    Client, Fleet, PATIENCE, Size, in_time, practice,
    requests::{quoted, step},
    until, until_true,
};

use super::node::{call, calls_of};

const ACTIVATE: &str = "/projects/*/bundles/imported/*/actions/activate";

/// An embedded Slipway, a node with everybody whom the sample bundle names, an infrastructure `production` and a deployment `churn`.
async fn scene(settings: Value) -> (Fleet, RunningNode) {
    let fleet = Fleet::of(Size::Embedded).start().await;
    let node = practice::node().await;
    node.set_user("analyst", &[], false);
    fleet.client.infrastructure("production", &node, settings).await;
    fleet.client.bundle(&BundleSpec::new("CHURN", "v1")).await;
    let switches = json!({"scenarios": [{"id": "DAILY", "on": true}]});
    fleet.client.deployment("churn", "production", ("CHURN", "v1"), "CHURN", switches).await;
    (fleet, node)
}

/// A step that is tried only once.
fn once(kind: &str) -> Value {
    json!({"stepPolicies": [{"kind": kind, "retry": {"maxAttempts": 1, "initialMs": 0, "capMs": 0}}]})
}

async fn refused_as(api: &Client, call: &str, code: &str) {
    let refused =
        api.refused(&format!("mutation {{ {call} {{ refusals {{ code field message }} }} }}"), json!({})).await;
    assert_eq!(refused.iter().map(|(code, _)| code.as_str()).collect::<Vec<_>>(), [code]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_ends_a_running_hook_and_all_its_processes() {
    let (fleet, node) = scene(json!({})).await;
    let pids = fleet.scratch().at("pids");
    let code = format!(
        "import os, subprocess, time\n\
         def execute(**kwargs):\n\
         \x20   child = subprocess.Popen(['sleep', '600'], start_new_session=True)\n\
         \x20   with open({pids} + '.new', 'w') as out:\n\
         \x20       out.write(f'{{os.getpid()}} {{child.pid}}')\n\
         \x20   os.rename({pids} + '.new', {pids})\n\
         \x20   time.sleep(600)\n",
        pids = quoted(&pids),
    );
    fleet.client.set_hooks("production", "PRE", json!([{"name": "endless", "code": code}])).await;
    let update = fleet.client.start("churn").await;
    let running = until("a hook that runs", PATIENCE, || async { fs::read_to_string(&pids).ok() }).await;
    let running: Vec<String> = running.split(' ').map(|pid| format!("/proc/{pid}")).collect();
    assert!(running.len() == 2 && running.iter().all(|process| Path::new(process).exists()), "{running:?}");
    fleet.client.end("cancelUpdate", &update).await;
    let ended = fleet.client.over(&update).await;
    // The edge comes after the processes' end: nothing to wait for.
    assert!(running.iter().all(|process| !Path::new(process).exists()), "{running:?}");
    assert_eq!((&ended["status"], &ended["failure"]["code"]), (&json!("CANCELLED"), &json!("CANCELLED")), "{ended:#}");
    assert_eq!(ended["cancelRequestedBy"], "admin");
    assert_eq!(step(&ended, "push_bundle")["status"], "SKIPPED");
    assert_eq!(node.snapshot()["projects"], json!({}));
    refused_as(&fleet.client, &format!("cancelUpdate(id: {})", quoted(&update)), "UPDATE_ENDED").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_interrupts_a_running_upload() {
    let (fleet, node) = scene(json!({})).await;
    let hold = Fault::on("POST", "/projectsFromBundle", FaultKind::Hold { when: When::Before });
    let held = node.arm(hold).unwrap();
    let update = fleet.client.start("churn").await;
    in_time("a call that is held", held.reached()).await;
    fleet.client.end("cancelUpdate", &update).await;
    let ended = fleet.client.over(&update).await;
    assert_eq!(ended["status"], "CANCELLED", "{ended:#}");
    assert_eq!(held.hits(), 1);
    held.release();
    // What the node does with the rest of a call that was given up is its own business; the next update looks, and succeeds.
    fleet.client.change_infrastructure("production", json!({"settleMs": 0})).await;
    fleet.client.run("churn", "SUCCEEDED").await;
    assert_eq!(node.snapshot()["projects"]["CHURN"]["activeBundle"], "v1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_takes_over_what_hooks_did_before() {
    let (fleet, node) = scene(json!({})).await;
    let said = fleet.scratch().at("said");
    let code = format!(
        "def execute(**kwargs):\n    open({}, 'a').write('once\\n')\n    return HookResult.success('')\n",
        quoted(&said)
    );
    fleet.client.set_hooks("production", "PRE", json!([{"name": "first", "code": code}])).await;
    let error = FaultKind::ReportError { code: "ERR_BUNDLE_ACTIVATE".to_owned(), message: "no".to_owned() };
    node.arm(Fault::on("POST", ACTIVATE, error)).unwrap();
    let failed = fleet.client.run("churn", "FAILED").await;
    assert_eq!(failed["failure"]["code"], "NODE_REPORT_ERROR");
    let first = failed["id"].as_str().unwrap();
    let again = fleet.client.over(&fleet.client.retry(first).await).await;
    assert_eq!((&again["status"], &again["retryOf"]), (&json!("SUCCEEDED"), &failed["id"]), "{again:#}");
    assert_eq!(step(&again, "pre_hooks/1")["status"], "INHERITED");
    assert_eq!(fs::read_to_string(&said).unwrap(), "once\n");
    // The bundle was there already.
    assert_eq!(calls_of(&node, "/projectsFromBundle"), 1);
    assert_eq!(calls_of(&node, "/actions/activate"), 2);
    refused_as(&fleet.client, &format!("retryUpdate(id: {})", quoted(first)), "RETRY_SUPERSEDED").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_warned_of_makes_the_update_a_warning() {
    let (fleet, node) = scene(json!({"permissionsPropagation": "FULL"})).await;
    node.remove_user("analyst");
    let code = "def execute(**kwargs):\n    return HookResult.warning('a freeze is near')\n";
    fleet.client.set_hooks("production", "PRE", json!([{"name": "freeze", "code": code}])).await;
    let code = "def execute(deployment_report, **kwargs):\n    print(deployment_report['status'], len(deployment_report['messages']))\n    return HookResult.error('nobody could be told')\n";
    fleet.client.set_hooks("production", "POST", json!([{"name": "tell", "code": code}])).await;
    let ended = fleet.client.run("churn", "WARNING").await;
    let warnings: Vec<&str> = ended["warnings"].as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect();
    for part in ["a freeze is near", "user analyst", "nobody could be told"] {
        assert!(warnings.iter().any(|warning| warning.contains(part)), "{part}: {warnings:?}");
    }
    assert_eq!(ended["failure"], Value::Null);
    let printed = fleet.client.lines(ended["id"].as_str().unwrap()).await;
    assert!(printed.iter().any(|line| line["line"] == "WARNING 2"), "{printed:#?}");
    let permissions = &node.snapshot()["projects"]["CHURN"]["permissions"];
    let full =
        json!([{"group": "data-team", "readProjectContent": true, "runScenarios": true, "writeProjectContent": true}]);
    assert_eq!(*permissions, full);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_after_the_activation_puts_back_what_was_there() {
    let mut settings = once("enforce_run_as");
    settings["onFailure"] = json!("RESTORE");
    let (fleet, node) = scene(settings).await;
    fleet.client.run("churn", "SUCCEEDED").await;
    // By hand, after the first update.
    let weekly = format!("{}/public/api/projects/CHURN/scenarios/WEEKLY/light", node.url());
    call("PUT", &weekly, None, json!({"active": true})).await;
    let mut before = node.snapshot();
    let mut v2 = BundleSpec::new("CHURN", "v2");
    v2.variables = json!({"threshold": 0.9});
    fleet.client.bundle(&v2).await;
    let change = json!({"bundleId": "v2", "settings": {
        "connectionRemapping": [{"source": "sql-dev", "target": "sql-two"}, {"source": "files-dev", "target": "files-prod"}],
        "localVariables": {"region": "us"},
    }});
    node.set_connection("sql-two", "PostgreSQL");
    before["connections"]["sql-two"] = json!("PostgreSQL");
    fleet.client.change_deployment("churn", change).await;
    let refuse = FaultKind::Status { status: 400, error_type: None, message: None, retry_after: None };
    let fault = node.arm(Fault::on("PUT", "/projects/*/scenarios/DAILY", refuse.clone())).unwrap();
    let failed = fleet.client.run("churn", "FAILED").await;
    assert_eq!((&failed["failure"]["code"], fault.hits()), (&json!("NODE_REFUSED"), 1));
    assert_eq!(step(&failed, "restore")["status"], "SUCCEEDED");
    let mut after = node.snapshot();
    let bundles = after["projects"]["CHURN"]["bundles"].as_array_mut().unwrap();
    assert_eq!(bundles.pop().map(|bundle| bundle["bundleId"].clone()), Some(json!("v2")));
    assert_eq!(after, before);

    // A restore that fails needs a human, and holds the deployment until one decided.
    node.arm(Fault::on("PUT", "/projects/*/scenarios/DAILY", refuse.clone())).unwrap();
    node.arm(Fault::on("POST", "/projects/*/bundles/imported/v1/actions/activate", refuse)).unwrap();
    let stuck = fleet.client.run("churn", "STUCK").await;
    assert_eq!(stuck["failure"]["code"], "RESTORE_FAILED", "{stuck:#}");
    refused_as(&fleet.client, "startUpdate(deploymentId: \"churn\")", "DEPLOYMENT_STUCK").await;
    let id = stuck["id"].as_str().unwrap();
    let fixed = fleet.client.over(&fleet.client.retry(id).await).await;
    assert_eq!(fixed["status"], "SUCCEEDED", "{fixed:#}");
    let project = node.snapshot()["projects"]["CHURN"].take();
    assert_eq!((&project["activeBundle"], &project["variables"]["local"]), (&json!("v2"), &json!({"region": "us"})));
    // The switches are as they were before the first of the failures.
    let on = |scenario: &str| project["scenarios"][scenario]["active"].clone();
    assert_eq!((on("DAILY"), on("WEEKLY"), on("CHECKS")), (json!(true), json!(true), json!(false)));
    assert_eq!(fleet.client.update(id).await["status"], "FAILED", "a retry ends the stuck one");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_activation_that_nobody_can_tell_the_end_of_is_stuck() {
    let mut settings = once("activate");
    settings["callTimeoutMs"] = json!(1_000);
    settings["settleMs"] = json!(1_000);
    let (fleet, node) = scene(settings).await;
    let api = &fleet.client;
    let held = node.arm(Fault::on("POST", ACTIVATE, FaultKind::Hold { when: When::Before })).unwrap();
    let update = api.start("churn").await;
    in_time("a call that is held", held.reached()).await;
    let stuck = api.over(&update).await;
    assert_eq!((&stuck["status"], &stuck["failure"]["code"]), (&json!("STUCK"), &json!("NODE_TIMED_OUT")), "{stuck:#}");
    assert_eq!(stuck["endedAt"], Value::Null);
    refused_as(api, "startUpdate(deploymentId: \"churn\")", "DEPLOYMENT_STUCK").await;
    // Given up, the deployment is free; the node did nothing, and is asked once more.
    api.end("abandonUpdate", &update).await;
    let given_up = api.over(&update).await;
    assert_eq!(
        (&given_up["status"], &given_up["failure"]["code"]),
        (&json!("FAILED"), &json!("ABANDONED")),
        "{given_up:#}"
    );
    refused_as(api, &format!("abandonUpdate(id: {})", quoted(&update)), "UPDATE_NOT_STUCK").await;
    assert_eq!(node.snapshot()["projects"]["CHURN"]["activeBundle"], Value::Null);
    let second = api.run("churn", "SUCCEEDED").await;
    assert_eq!(second["number"], 2);
    assert_eq!(calls_of(&node, "/actions/activate"), 2);
    // The first call comes to its end after all: it does what the second did.
    held.release();
    in_time("the end of all calls", node.until_calls(|calls| calls.iter().all(|call| call.end.is_some()))).await;
    assert_eq!(node.snapshot()["projects"]["CHURN"]["activeBundle"], "v1");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_lost_is_no_reason_to_call_again() {
    let (fleet, node) = scene(json!({"stepPolicies": [
        {"kind": "activate", "retry": {"maxAttempts": 3, "initialMs": 100, "capMs": 200}},
        {"kind": "push_bundle", "retry": {"maxAttempts": 3, "initialMs": 100, "capMs": 200}},
    ]}))
    .await;
    node.arm(Fault::on("POST", "/projectsFromBundle", FaultKind::LostAnswer)).unwrap();
    node.arm(Fault::on("POST", ACTIVATE, FaultKind::CutAnswer)).unwrap();
    let ended = fleet.client.run("churn", "SUCCEEDED").await;
    assert_eq!((calls_of(&node, "/projectsFromBundle"), calls_of(&node, "/actions/activate")), (1, 1));
    assert_eq!(ended["receipt"]["differences"], json!([]));
    until_true("a live bundle", PATIENCE, || async { node.snapshot()["projects"]["CHURN"]["activeBundle"] == "v1" })
        .await;
}
