//! `slipway deploy`: its verdicts, and that it may be given again.

use sandbox::BundleSpec;
use serde_json::{Value, json};
use tests::{
    Size,
    cut::{Cut, Proxy},
    models::Models,
};

use super::{Job, place, updates};

fn port(url: &str) -> u16 {
    url.rsplit(':').next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_becomes_what_is_live_and_again_is_the_same_update() {
    let (fleet, _node) = place().await;
    let job = Job::of(&fleet.client).of_run("7001", "1");
    let file = job.bundle(&BundleSpec::new("CHURN", "v2"));
    let deploy = ["deploy", "--bundle", &file, "--deployment", "churn", "--wait"];
    let done = job.run(&deploy);
    done.is(0, &["Uploaded bundle v2", "Update 1 of churn", "push_bundle", "SUCCEEDED", "On the node now"]);
    assert!(!done.out.contains('\u{1b}') && !done.err.contains('\u{1b}'), "plain lines in a job: {done:#?}");
    assert!(!done.out.contains(fleet.client.key()), "{done:#?}");
    // Again in the same attempt: the same update. In the next one: another.
    job.run(&deploy).is(0, &["Update 1 of churn", "asked for before", "SUCCEEDED"]);
    assert_eq!(updates(&fleet.client, "churn").await, 1);
    let json = [&deploy[..], &["--json", "--logs"]].concat();
    let again = job.run(&json);
    let kinds: Vec<Value> = again.json().iter().map(|line| line["type"].clone()).collect();
    assert_eq!((&kinds[0], &kinds[1], kinds.last().unwrap()), (&json!("bundle"), &json!("update"), &json!("result")));
    assert!(kinds.contains(&json!("event")) && kinds.contains(&json!("log")), "{kinds:?}");
    let result = again.result();
    assert_eq!(
        (&result["status"], &result["exitCode"], &result["failure"]),
        (&json!("SUCCEEDED"), &json!(0), &Value::Null)
    );
    assert_eq!(result["update"]["receipt"]["bundle"], "v2");
    let next = job.of_run("7001", "2");
    next.run(&deploy).is(0, &["Update 2 of churn"]);
    // Another bundle of the same attempt is another update; one that is there is named by its id.
    next.run(&["deploy", "--bundle", "v1", "--deployment", "churn", "--wait"])
        .is(0, &["Update 3 of churn", "SUCCEEDED"]);
    // A key of one's own goes before the CI's.
    let named = ["deploy", "--bundle", "v1", "--deployment", "churn", "--idempotency-key", "mine"];
    next.run(&named).is(0, &["Update 4 of churn"]);
    next.of_run("7002", "1").run(&named).is(0, &["Update 4 of churn", "asked for before"]);
    assert_eq!(updates(&fleet.client, "churn").await, 4);
    // Without a CI, each is a request of its own.
    let by_hand = Job::of(&fleet.client);
    for number in [5, 6] {
        let update = format!("Update {number} of churn");
        by_hand.run(&["deploy", "--bundle", "v1", "--deployment", "churn", "--wait"]).is(0, &[&update]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_deployment_is_made_where_that_is_wanted() {
    let (fleet, _node) = place().await;
    let job = Job::of(&fleet.client).of_run("7003", "1");
    let file = job.bundle(&BundleSpec::new("SALES", "v1"));
    let deploy = ["deploy", "--bundle", &file, "--deployment", "sales"];
    job.run(&deploy).is(2, &["NOT_FOUND"]);
    let made = [&deploy[..], &["--infrastructure", "production", "--wait"]].concat();
    job.run(&made).is(0, &["Uploaded bundle v1 of project SALES", "Made deployment sales", "SUCCEEDED"]);
    job.run(&made).is(0, &["Update 1 of sales", "asked for before"]);
    // It is there by now, and is what it is.
    let refused = |more: &[&str], parts: &[&str]| {
        job.run(&[&deploy[..], more].concat()).is(2, parts);
    };
    refused(&["--infrastructure", "elsewhere"], &["DEPLOYMENT_DIFFERS", "production"]);
    refused(&["--project", "CHURN"], &["DEPLOYMENT_DIFFERS", "SALES"]);
    job.run(&["deploy", "--bundle", "v1", "--deployment", "new", "--infrastructure", "production"])
        .is(2, &["--project"]);
    job.run(&["deploy", "--bundle", "v9", "--deployment", "sales"]).is(2, &["BUNDLE_UNKNOWN"]);
    job.run(&["deploy", "--bundle", "./v1", "--deployment", "sales"]).is(2, &["IO_FAILED"]);
    job.run(&["deploy", "--bundle", "v1"]).is(2, &["--deployment"]);
    assert_eq!(updates(&fleet.client, "sales").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_of_a_service_goes_the_same_way() {
    let models = Models::start().await;
    let fleet = models.fleet(Size::Embedded).start().await;
    models.infrastructure(&fleet.client, &[], json!({})).await;
    let job = Job::of(&fleet.client).of_run("7010", "1");
    let file = |version: &str| {
        let path = job.scratch.at(&format!("fraud-{version}.zip"));
        std::fs::write(&path, Models::version("fraud", version, &json!({"features": {"a": 2}}))).unwrap();
        path
    };
    let (v1, v2) = (file("v1"), file("v2"));
    job.run(&["service-version", "list", "--service", "fraud"]).is(2, &["NOT_FOUND"]);
    let create = "mutation { createPublishedService(id: \"fraud\") { refusals { code message } } }";
    fleet.client.ask(create, json!({})).await;
    let deploy = ["deploy", "--service-version", &v1, "--deployment", "fraud-test"];
    job.run(&deploy).is(2, &["NOT_FOUND"]);
    let made = [&deploy[..], &["--infrastructure", "nodes", "--wait"]].concat();
    let called = format!("called at   {}", models.node.url());
    let seen = [
        "Uploaded version v1 of service fraud",
        "Made deployment fraud-test",
        ", version v1.",
        "SUCCEEDED",
        "as service fraud",
        "100 %",
        &called,
    ];
    job.run(&made).is(0, &seen);
    job.run(&made).is(0, &["Update 1 of fraud-test", "asked for before"]);

    job.run(&["service-version", "upload", &v2]).is(0, &["Uploaded version v2 of service fraud"]);
    let again = job.run(&["service-version", "upload", &v2, "--service", "fraud", "--json"]);
    let told = again.is(0, &[]).result();
    assert_eq!(
        (&told["type"], &told["serviceId"], &told["version"], &told["alreadyThere"]),
        (&json!("version"), &json!("fraud"), &json!("v2"), &json!(true))
    );
    job.run(&["service-version", "list", "--service", "fraud"]).is(0, &["VERSION", "v1", "v2", "admin"]);
    job.run(&["deploy", "--service-version", "v2", "--deployment", "fraud-test", "--wait"])
        .is(0, &["Update 2 of fraud-test", "version v2"]);
    job.run(&["deployment", "status", "fraud-test"])
        .is(0, &["Service         fraud, on the platform fraud", "Version         v2"]);
    let mine = [
        "deployment",
        "create",
        "mine",
        "--infrastructure",
        "nodes",
        "--service",
        "fraud",
        "--service-version",
        "v1",
        "--deployed-service",
        "other",
    ];
    job.run(&mine).is(0, &["on the platform other", "Version         v1"]);
    job.run(&["deployment", "update", "mine", "--service-version", "v2"]).is(0, &["Version         v2"]);

    // Another content under an id that is taken; the other half's words; both at once, or half of one.
    std::fs::write(&v2, Models::version("fraud", "v2", &json!({"features": {"b": 1}}))).unwrap();
    job.run(&["service-version", "upload", &v2]).is(2, &["BUNDLE_EXISTS", "version v2"]);
    job.run(&["deploy", "--bundle", "v1", "--deployment", "fraud-test"])
        .is(2, &["DEPLOYMENT_DIFFERS", "--service-version"]);
    job.run(&["deploy", "--bundle", "v1", "--service-version", "v1", "--deployment", "x"])
        .is(2, &["--service-version"]);
    job.run(&["deployment", "create", "x", "--infrastructure", "nodes", "--service", "fraud"])
        .is(2, &["--service-version"]);
    job.run(&["deploy", "--bundle", "v1", "--service", "fraud", "--deployment", "x"]).is(2, &["--service"]);
    job.run(&["deployment", "create", "x", "--infrastructure", "nodes"]).is(2, &["--project"]);
    job.run(&["service-version", "upload", "/nothing.zip"]).is(2, &["IO_FAILED"]);
    assert_eq!(updates(&fleet.client, "fraud-test").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_says_where_why_and_what_to_do() {
    let (fleet, node) = place().await;
    let code = "def execute(**kwargs):\n    for i in range(30):\n        print('line', i)\n    print('\\x1b[31mred ##vso[task.complete]')\n    raise RuntimeError('there is a freeze')\n";
    fleet.client.set_hooks("production", "PRE", json!([{"name": "freeze", "code": code}])).await;
    let job = Job::of(&fleet.client).of_run("7004", "1");
    let deploy = ["deploy", "--bundle", "v1", "--deployment", "churn", "--wait"];
    let failed = job.run(&deploy);
    failed.is(
        1,
        &[
            "ended as FAILED",
            "step        pre_hooks/1 (freeze), attempt 1",
            "HOOK_RAISED",
            "there is a freeze",
            "what to do  Mend the hook",
            "docs/errors/HOOK_RAISED.md",
            "| line 29",
        ],
    );
    assert!(!failed.out.contains("| line 2\n"), "only the tail: {}", failed.out);
    assert!(!failed.out.contains('\u{1b}') && !failed.out.contains("##vso["), "{}", failed.out);
    let told = job.run(&[&deploy[..], &["--json"]].concat());
    let result = told.is(1, &[]).result();
    assert_eq!((&result["status"], &result["exitCode"]), (&json!("FAILED"), &json!(1)));
    let failure = &result["failure"];
    assert_eq!((&failure["step"], &failure["code"]), (&json!("pre_hooks/1"), &json!("HOOK_RAISED")));
    assert!(failure["whatToDo"].as_str().unwrap().starts_with("Mend the hook"), "{failure:#}");
    assert_eq!(failure["log"].as_array().map(Vec::len), Some(20), "{failure:#}");
    // Who may deploy, and no more, learns which step, and not what the hook is called.
    let document = "mutation { createGroup(name: \"deployers\") { refusals { code } } }";
    fleet.client.ask(document, json!({})).await;
    let ann = fleet.user("ann", &["deployers"]);
    grant(&fleet.client).await;
    node.set_user("ann", &[], false);
    let failed = Job::of(&ann).run(&deploy);
    failed.is(1, &["step        pre_hooks/1, attempt 1", "HOOK_RAISED", "| line 29"]);
    assert!(!failed.out.contains("freeze)"), "{}", failed.out);
    // A failure after the deployment is a warning: it is live.
    fleet.client.set_hooks("production", "PRE", json!([])).await;
    fleet.client.set_hooks("production", "POST", json!([{"name": "tell", "code": code}])).await;
    Job::of(&fleet.client).run(&deploy).is(0, &["WARNING", "post_hooks/1", "On the node now"]);
}

async fn grant(client: &tests::Client) {
    let seen = client.ask("{ infrastructure(id: \"production\") { version } }", json!({})).await;
    let call = format!(
        "setInfrastructurePermissions(id: \"production\", expectedVersion: {}, permissions: [{{group: \"deployers\", level: DEPLOY}}])",
        seen["version"]
    );
    client.tell(&call, "infrastructure { id }").await;
    let seen = client.ask("{ publishedProject(key: \"CHURN\") { version } }", json!({})).await;
    let input = json!({
        "key": "CHURN", "expectedVersion": seen["version"],
        "permissions": [{"group": "deployers", "read": true, "write": false, "deploy": true, "admin": false}],
    });
    let document = "mutation($input: UpdatePublishedProjectInput!) { updatePublishedProject(input: $input) { refusals { code message } } }";
    client.ask(document, json!({ "input": input })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_lost_is_asked_for_again() {
    let (fleet, _node) = place().await;
    let proxy = Proxy::new(port(fleet.client.url())).await;
    let url = format!("http://127.0.0.1:{}", proxy.port());
    for (word, cut, updates_then) in
        [("startUpdate", Cut::After, 1), ("startUpdate", Cut::Before, 2), ("updateEvents", Cut::After, 3)]
    {
        let job = Job::of(&fleet.client).with("SLIPWAY_URL", &url);
        proxy.arm(word, cut);
        job.run(&["deploy", "--bundle", "v1", "--deployment", "churn", "--wait"]).is(0, &["SUCCEEDED"]);
        assert!(!proxy.is_armed(), "{word}");
        assert_eq!(updates(&fleet.client, "churn").await, updates_then, "{word} {cut:?}");
    }
    // The first contact is not tried again and again: it says that there is nobody.
    let job = Job::of(&fleet.client).with("SLIPWAY_URL", "http://127.0.0.1:9");
    job.run(&["deploy", "--bundle", "v1", "--deployment", "churn"]).is(1, &["SERVER_UNREACHABLE"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_checked_and_a_ca_file_helps() {
    let (fleet, _node) = place().await;
    let certificates = tests::kin::Certificates::new();
    let url = super::tls::before(port(fleet.client.url()), &certificates).await;
    let job = Job::of(&fleet.client).with("SLIPWAY_URL", &url);
    let list = ["deployment", "list"];
    tokio::task::block_in_place(|| {
        job.run(&list).is(1, &["SERVER_UNREACHABLE", "ertificate"]);
        job.run(&["deployment", "list", "--ca-file", "nowhere.pem"]).is(2, &["CONFIG_UNREADABLE"]);
        std::fs::write(job.scratch.at("empty.pem"), "").unwrap();
        job.run(&["deployment", "list", "--ca-file", "empty.pem"]).is(2, &["no certificate"]);
        job.run(&["deployment", "list", "--ca-file", &certificates.at("ca.pem")]).is(0, &["churn"]);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_live_before_is_put_back() {
    let (fleet, _node) = place().await;
    let job = Job::of(&fleet.client).of_run("7005", "1");
    let restore = ["restore", "churn", "--wait"];
    let refused = job.run(&[&restore[..], &["--json"]].concat());
    assert_eq!(refused.is(2, &[]).result()["type"], "error", "nothing was live: {refused:#?}");
    job.run(&["deploy", "--bundle", "v1", "--deployment", "churn", "--wait"]).is(0, &["SUCCEEDED"]);
    let file = job.bundle(&BundleSpec::new("CHURN", "v2"));
    job.run(&["deploy", "--bundle", &file, "--deployment", "churn", "--wait"]).is(0, &["bundle      v2"]);
    let restored = job.run(&restore);
    restored.is(0, &["Update 3 of churn", "SUCCEEDED", "bundle      v1"]);
    // The same attempt asks for the same once; another one would go back and forth.
    job.run(&restore).is(0, &["Update 3 of churn", "asked for before"]);
    job.run(&["deployment", "status", "churn"]).is(0, &["Bundle          v1", "HEALTHY"]);
    let outsider = Job::of(&fleet.user("outsider", &[]));
    let of = |id| outsider.run(&["restore", id]);
    assert_eq!(of("churn").is(2, &["NOT_FOUND"]).err, of("never").err);
}
