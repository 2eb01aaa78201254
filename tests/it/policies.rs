//! What an infrastructure demands of bundles, as a client meets it: a governance source over real HTTP, the report in the bundle, and remappings of
//! code envs and containers down to the node.

use std::collections::BTreeSet;

use sandbox::{BundleSpec, Governance, RunningNode, ServiceSpec, sample_service};
use serde_json::{Value, json};
use tests::{
    Client, Fleet, Size, practice,
    requests::{REFUSALS, step},
};

const GOVERN_KEY: &str = "govern-key-77aa";

#[tokio::test(flavor = "multi_thread")]
async fn embedded() {
    walk(Size::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fleet() {
    walk(Size::Fleet).await;
}

async fn walk(size: Size) {
    let fleet = Fleet::of(size).start().await;
    let node = practice::listen(practice::builder().code_env("py39")).await;
    let source = Governance::open().await.expect("a governance source");
    let walk = Walk { api: fleet.client.clone(), node, source };
    walk.set_up().await;
    walk.remappings_reach_the_node().await;
    walk.a_warning_is_to_be_ignored_knowingly().await;
    walk.prevention_changes_nothing().await;
    walk.the_report_in_the_bundle().await;
    walk.hidden_from(&fleet.user("outsider", &[])).await;
}

/// Of a service with several versions each is asked about, whichever of them the deployment names, before anything is sent to a node.
#[tokio::test(flavor = "multi_thread")]
async fn each_version_of_a_service_is_asked_about() {
    let fleet = Fleet::of(Size::Embedded).start().await;
    let api = &fleet.client;
    let source = Governance::open().await.expect("a governance source");
    api.ask(&format!("mutation {{ createPublishedService(id: \"fraud\") {{ {REFUSALS} }} }}"), json!({})).await;
    for version in ["v1", "v2"] {
        api.upload_version(sample_service(&ServiceSpec::new("fraud", version))).await;
    }
    let place = json!({
        "id": "nodes", "kind": "STATIC", "stage": "Test",
        "settings": {"governCheckPolicy": "WARN", "governanceUrl": source.url(), "platform": {
            "apiNodes": [{"url": "http://127.0.0.1:9", "adminAPIKey": "node-secret"}],
            "delivery": {"mode": "SHARED_FOLDER", "folder": "models", "nodePath": "/models"},
        }},
    });
    let create = format!(
        "mutation($input: CreateInfrastructureInput!) {{ createInfrastructure(input: $input) {{ {REFUSALS} }} }}"
    );
    api.ask(&create, json!({"input": place})).await;
    source.say("v2", "ERROR", "Nobody has signed version 2.");
    let both = json!([{"version": "v1", "probability": 0.9}, {"version": "v2", "probability": 0.1}]);
    let deploy = format!(
        "mutation($input: CreateServiceDeploymentInput!) {{ createServiceDeployment(input: $input) {{ {REFUSALS} }} }}"
    );
    let mut input = json!({
        "id": "fraud-test", "serviceId": "fraud", "infrastructureId": "nodes", "version": "v1",
        "settings": {"service": {"versions": both}},
    });
    let refused = api.refused(&deploy, json!({"input": input})).await;
    assert_eq!(refused, [("GOVERNANCE_WARNING".to_owned(), "versions".to_owned())]);
    input["version"] = json!("v3");
    input["ignoreWarnings"] = json!(true);
    let refused = api.refused(&deploy, json!({"input": input})).await;
    assert_eq!(refused, [("BUNDLE_UNKNOWN".to_owned(), "version".to_owned())]);
    input["version"] = json!("v1");
    api.ask(&deploy, json!({"input": input})).await;

    api.change_infrastructure("nodes", json!({"governCheckPolicy": "PREVENT"})).await;
    source.take();
    let update = api.run("fraud-test", "FAILED").await;
    assert_eq!(update["failure"]["code"], "GOVERNANCE_PREVENTED");
    let message = update["failure"]["message"].as_str().unwrap_or_default();
    assert!(message.starts_with("v2: ") && message.contains("deploys no such version"), "{message}");
    // All at once, in whatever order they arrive.
    let asked: BTreeSet<_> = source.take().iter().map(|question| question.body["bundleId"].to_string()).collect();
    assert_eq!(asked, BTreeSet::from(["\"v1\"".to_owned(), "\"v2\"".to_owned()]));

    // Nobody hides a version behind the one that the deployment names.
    let only = json!({"settings": {"service": {"versions": [{"version": "v2", "probability": 1.0}]}}});
    api.change_deployment("fraud-test", only.clone()).await;
    let named = api.ask("{ deployment(id: \"fraud-test\") { bundleId version } }", json!({})).await;
    assert_eq!(named["bundleId"], "v2");
    let mut input = only;
    input["id"] = json!("fraud-test");
    input["expectedVersion"] = named["version"].clone();
    input["bundleId"] = json!("v1");
    let change = format!(
        "mutation($input: UpdateDeploymentSettingsInput!) {{ updateDeploymentSettings(input: $input) {{ {REFUSALS} }} }}"
    );
    let refused = api.refused(&change, json!({"input": input})).await;
    assert_eq!(refused, [("VERSION_SHARES_INVALID".to_owned(), "versions".to_owned())]);
}

struct Walk {
    api: Client,
    node: RunningNode,
    source: Governance,
}

impl Walk {
    async fn set_up(&self) {
        let settings = json!({
            "governCheckPolicy": "WARN", "governanceUrl": self.source.url(),
            "codeEnvRemapping": [{"source": "py_sample", "target": "py39"}],
            "containerExecRemapping": [{"source": "small", "target": "gpu-pool"}],
        });
        self.api.infrastructure("production", &self.node, settings).await;
        let input = json!({"id": "production", "expectedVersion": 1, "governanceKey": GOVERN_KEY});
        let document = format!(
            "mutation($input: UpdateInfrastructureInput!) {{ updateInfrastructure(input: $input) {{
               infrastructure {{ hasGovernanceKey settings {{ governanceUrl governCheckPolicy projectStandardsPolicy }} }} {REFUSALS} }} }}"
        );
        let seen = self.api.ask(&document, json!({"input": input})).await["infrastructure"].take();
        assert_eq!(seen["hasGovernanceKey"], true);
        assert_eq!(seen["settings"]["projectStandardsPolicy"], "IGNORE");
        assert!(!seen.to_string().contains(GOVERN_KEY));
        for bundle in ["v1", "v2", "v3"] {
            self.api.bundle(&BundleSpec::new("CHURN", bundle)).await;
        }
    }

    async fn remappings_reach_the_node(&self) {
        self.api.deployment("churn", "production", ("CHURN", "v1"), "CHURN", json!({})).await;
        let asked = self.source.take();
        assert_eq!(asked.len(), 1);
        assert_eq!(asked[0].authorization.as_deref(), Some(&*format!("Bearer {GOVERN_KEY}")));
        assert_eq!(asked[0].body["bundleId"], "v1");
        let behavior = json!({"importTimeMode": "FAIL_IF_MISS", "envImportSpecificationMode": "ACTUAL"});
        self.api.change_deployment("churn", json!({"settings": {"codeEnvsBehavior": behavior}})).await;
        let preview = self
            .api
            .ask(
                &format!(
                    "{{ previewUpdate(deploymentId: \"churn\") {{ preview {{ found {{ codeEnvs {{ source target found }}
                       remapping {{ what found wanted }} problems {{ code }} }} }} {REFUSALS} }} }}"
                ),
                json!({}),
            )
            .await["preview"]["found"]
            .take();
        assert_eq!(preview["codeEnvs"], json!([{"source": "py_sample", "target": "py39", "found": true}]));
        assert_eq!((preview["remapping"].as_array().map(Vec::len), &preview["problems"]), (Some(6), &json!([])));

        let update = self.api.run("churn", "SUCCEEDED").await;
        let receipt = self
            .api
            .ask(
                &format!(
                    "{{ update(id: {}) {{ receipt {{ codeEnvs {{ source target }} containerExecs {{ source target }} differences {{ what }} }} }} }}",
                    update["id"]
                ),
                json!({}),
            )
            .await["receipt"]
            .take();
        let wanted = json!({
            "codeEnvs": [{"source": "py_sample", "target": "py39"}],
            "containerExecs": [{"source": "small", "target": "gpu-pool"}], "differences": [],
        });
        assert_eq!(receipt, wanted);
        let there = self.node.snapshot()["projects"]["CHURN"]["settings"]["bundleContainerSettings"].clone();
        assert_eq!(there["remapping"]["codeEnvs"], wanted["codeEnvs"]);
        assert_eq!(there["remapping"]["containerExecs"], wanted["containerExecs"]);
        assert_eq!(there["codeEnvsBehavior"], behavior);

        // The infrastructure goes on; the deployment stays, and says so.
        let none = json!({"codeEnvRemapping": [], "connectionRemapping": []});
        self.api.change_infrastructure("production", none).await;
        let list = "{ remappedDeployments { nodes { deployment { id } differences { kind source deployment infrastructure } } } }";
        let found = self.api.ask(list, json!({})).await["nodes"].take();
        assert_eq!((found.as_array().map(Vec::len), &found[0]["deployment"]["id"]), (Some(1), &json!("churn")));
        let code_env = json!({"kind": "CODE_ENV", "source": "py_sample", "deployment": "py39", "infrastructure": null});
        assert_eq!(found[0]["differences"].as_array().and_then(|all| all.last()), Some(&code_env));
    }

    async fn a_warning_is_to_be_ignored_knowingly(&self) {
        self.source.say("v2", "WARNING", "Version 2 is being looked at.");
        let version = self.api.ask("{ deployment(id: \"churn\") { version } }", json!({})).await["version"].take();
        let change = format!(
            "mutation($input: UpdateDeploymentSettingsInput!) {{ updateDeploymentSettings(input: $input) {{ deployment {{ bundleId }} {REFUSALS} }} }}"
        );
        let mut input = json!({"id": "churn", "expectedVersion": version, "bundleId": "v2"});
        let refused = self.api.refused(&change, json!({"input": input})).await;
        assert_eq!(refused, [("GOVERNANCE_WARNING".to_owned(), "bundleId".to_owned())]);
        input["ignoreWarnings"] = json!(true);
        let changed = self.api.ask(&change, json!({"input": input})).await;
        assert_eq!(changed["deployment"]["bundleId"], "v2");
        let update = self.api.run("churn", "WARNING").await;
        let policy = step(&update, "check_policy");
        assert_eq!(
            (&policy["status"], &policy["warnings"]),
            (&json!("WARNING"), &json!(["Version 2 is being looked at."]))
        );
        assert_eq!(self.node.snapshot()["projects"]["CHURN"]["activeBundle"], "v2");
    }

    async fn prevention_changes_nothing(&self) {
        self.source.say("v3", "ERROR", "Nobody has signed version 3.");
        self.api.change_infrastructure("production", json!({"governCheckPolicy": "PREVENT"})).await;
        self.api.change_deployment("churn", json!({"bundleId": "v3"})).await;
        let status = format!(
            "{{ governanceStatus(deploymentId: \"churn\") {{ asked messages {{ severity code message }} {REFUSALS} }} }}"
        );
        let told = self.api.ask(&status, json!({})).await;
        let message = json!({"severity": "ERROR", "code": "ERR_SIGN_OFF", "message": "Nobody has signed version 3."});
        assert_eq!((&told["asked"], &told["messages"]), (&json!(true), &json!([message])));
        let before = self.node.snapshot();
        let update = self.api.run("churn", "FAILED").await;
        assert_eq!(update["failure"]["code"], "GOVERNANCE_PREVENTED");
        assert!(update["failure"]["message"].as_str().is_some_and(|text| text.contains("signed version 3")));
        assert_eq!(self.node.snapshot(), before);
        // Once it is signed, a retry goes through.
        self.source.say("v3", "OK", "Signed.");
        let id = update["id"].as_str().unwrap_or_default();
        let again = self.api.retry(id).await;
        assert_eq!(self.api.over(&again).await["status"], "SUCCEEDED");
        assert!(!self.api.journal(id).await.iter().any(|event| event.to_string().contains(GOVERN_KEY)));
    }

    /// The sample bundles have none.
    async fn the_report_in_the_bundle(&self) {
        self.api.change_infrastructure("production", json!({"projectStandardsPolicy": "PREVENT"})).await;
        let report = "{ bundle(projectKey: \"CHURN\", id: \"v3\") { projectStandardsReport } }";
        assert_eq!(self.api.ask(report, json!({})).await["projectStandardsReport"], Value::Null);
        let update = self.api.run("churn", "FAILED").await;
        assert_eq!(update["failure"]["code"], "PROJECT_STANDARDS_PREVENTED");
        self.api.change_infrastructure("production", json!({"projectStandardsPolicy": "IGNORE"})).await;
        self.api.run("churn", "SUCCEEDED").await;
    }

    async fn hidden_from(&self, outsider: &Client) {
        let status = |id: &str| {
            format!("{{ governanceStatus(deploymentId: \"{id}\") {{ asked messages {{ code }} {REFUSALS} }} }}")
        };
        self.source.take();
        let there = outsider.graphql(&status("churn"), json!({})).await;
        assert_eq!(there, outsider.graphql(&status("absent"), json!({})).await);
        assert!(self.source.take().is_empty());
        let list = outsider.ask("{ remappedDeployments { nodes { deployment { id } } } }", json!({})).await;
        assert_eq!(list["nodes"], json!([]));
    }
}
