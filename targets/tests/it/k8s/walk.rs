//! The steps against the stand-in, without faults: versions of the API, ways to reach a cluster, rights, queries.

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use engine::failure::{StepError, StepOutcome};
use serde_json::{Value, json};
use targets::{codes, spec::EndpointSpec, target::ServiceQuery};

use super::{
    standin::{NAMESPACE, NEW, OLD, StandIn, TOKEN},
    world::{HIDDEN, World, object},
};
use crate::{support::Step, tls::Gate, wire::Kind};

async fn on(offered: &'static [&'static str]) -> (StandIn, World) {
    let standin = StandIn::start(offered).await;
    let world = World::new(&standin.url, None, TOKEN, NAMESPACE, standin.host());
    (standin, world)
}

fn applied<'a>(all: &'a [Value], kind: &str) -> Vec<&'a Value> {
    all.iter().filter(|one| one["kind"] == kind).collect()
}

#[tokio::test]
async fn each_server_gets_the_versions_that_it_offers() {
    for (offered, policy, scaling) in
        [(NEW, "policy/v1", "autoscaling/v2"), (OLD, "policy/v1beta1", "autoscaling/v2beta2")]
    {
        let (standin, mut world) = on(offered).await;
        world.set_everything();
        assert_eq!(world.update().await.1, Vec::<String>::new());
        let all = standin.applied();
        assert_eq!(applied(&all, "PodDisruptionBudget")[0]["apiVersion"], policy);
        assert_eq!(applied(&all, "HorizontalPodAutoscaler")[0]["apiVersion"], scaling);
    }
}

#[tokio::test]
async fn a_change_of_one_thing_changes_one_thing() {
    let (standin, mut world) = on(NEW).await;
    world.set_everything();
    world.update().await;
    let before = standin.effects();
    world.new_run();
    world.take("v1", "registry.example.com/churn@sha256:1");
    world.update().await;
    assert_eq!(standin.effects(), before);

    world.new_run();
    world.take("v1", "registry.example.com/churn@sha256:1");
    world.set("/workload/labels", json!({"team": "data"}));
    world.vault.0.insert("variable-2".into(), HIDDEN[0].into());
    world.set("/workload/secretEnv", json!([{"name": "DB_PASSWORD", "value": {"$secret": "variable-2"}}]));
    let preview = world.target().preview(world.look()).await.unwrap();
    let told: Vec<_> = preview.changes.iter().map(|one| one.what.split(' ').next().unwrap()).collect();
    assert!(
        told.contains(&"Secret") && told.contains(&"Deployment") && !told.contains(&"Service"),
        "{:?}",
        preview.changes
    );
    world.update().await;
    let after = standin.effects();
    let changed: Vec<_> = after
        .iter()
        .filter(|(name, value)| before.get(*name) != Some(value))
        .map(|(name, _)| name.split('/').next().unwrap())
        .collect();
    assert_eq!(changed, ["deployments", "pods", "pods", "secrets"]);
    assert_eq!(after.len(), before.len(), "an earlier version's Secret stays");
}

#[tokio::test]
async fn a_kubeconfig_is_a_way_in() {
    let (standin, mut world) = on(NEW).await;
    let config = |user: &str| {
        format!(
            "current-context: c\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\nclusters: [{{name: c, cluster: {{server: '{}'}}}}]\nusers: [{{name: u, user: {{{user}}}}}]\n",
            standin.url
        )
    };
    world.set("/cluster", json!({"access": "KUBECONFIG", "kubeconfig": {"$secret": "config"}}));
    world.vault.0.insert("config".into(), config(&format!("token: {TOKEN}")));
    world.update().await;
    world.vault.0.insert("config".into(), config("exec: {command: sh, args: [-c, 'touch /tmp/x']}"));
    let failure = world.step(Step::Validate).await.unwrap_err();
    assert_eq!(failure.code, codes::K8S_ACCESS_INVALID);
    assert!(failure.message.contains("uses exec, which is refused"), "{failure}");
    // The worker's own service account is its operator's to lend.
    world.set("/cluster", json!({"access": "IN_CLUSTER"}));
    assert_eq!(world.step(Step::Validate).await.unwrap_err().code, codes::AMBIENT_CREDENTIALS_OFF);
    world.set("/cluster/apiServer", json!(standin.url));
    assert_eq!(world.step(Step::Validate).await.unwrap_err().code, codes::SETTING_INVALID);
}

#[tokio::test]
async fn a_kubeconfigs_certificate_is_shown_to_the_server_that_it_trusts() {
    let (standin, mut world) = on(NEW).await;
    let gate = Gate::before(&standin.url).await;
    let stranger = Gate::before(&standin.url).await;
    let config = |authority: &str, [certificate, key]: &[String; 2]| {
        let [authority, certificate, key] = [authority, certificate, key].map(|pem| BASE64_STANDARD.encode(pem));
        format!(
            "current-context: c\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\nclusters: [{{name: c, cluster: {{server: '{}', certificate-authority-data: {authority}}}}}]\nusers: [{{name: u, user: {{token: {TOKEN}, client-certificate-data: {certificate}, client-key-data: {key}}}}}]\n",
            gate.url
        )
    };
    world.set("/cluster", json!({"access": "KUBECONFIG", "kubeconfig": {"$secret": "config"}}));
    for (authority, client) in [(&stranger.authority, &gate.client), (&gate.authority, &stranger.client)] {
        world.vault.0.insert("config".into(), config(authority, client));
        let failure = world.step(Step::Validate).await.unwrap_err();
        assert_eq!(failure.code, codes::NODE_TLS_FAILED, "{failure:?}");
    }
    assert!(standin.calls().iter().all(|call| call.contains(" /v2/")), "{:?}", standin.calls());
    world.vault.0.insert("config".into(), config(&gate.authority, &gate.client));
    world.update().await;
    assert!(!standin.effects().is_empty());
}

#[tokio::test]
async fn all_problems_at_once() {
    let (standin, mut world) = on(NEW).await;
    for right in ["delete services", "create secrets"] {
        standin.deny(right);
    }
    world.set("/baseImageTag", json!(""));
    world.set("/prePushMode", json!("ECR"));
    let failure = world.step(Step::Validate).await.unwrap_err();
    assert_eq!(failure.code, codes::VALIDATION_FAILED);
    for said in ["baseImageTag", "prePushMode", "may not delete services", "may not create secrets"] {
        assert!(failure.message.contains(said), "{said}: {failure}");
    }
    assert!(standin.calls().iter().all(|call| !call.starts_with("PATCH") && !call.starts_with("DELETE")));
    let report = world.target().check(&world.spec.infrastructure, &world.vault).await.unwrap();
    assert_eq!(report.problems.len(), 4, "{:?}", report.problems);
    // Nothing is set yet: everything that is missing is named, and nobody is called.
    world.spec.infrastructure.settings.clear();
    let report = world.target().check(&world.spec.infrastructure, &world.vault).await.unwrap();
    assert_eq!(report.problems.len(), 4, "{:?}", report.problems);
}

#[tokio::test]
async fn what_is_not_ours_is_left_alone() {
    let (standin, mut world) = on(NEW).await;
    world.update().await;
    let name = standin.effects().keys().find_map(|name| name.strip_prefix("services/").map(str::to_owned)).unwrap();
    world.new_run();
    world.step(Step::Remove).await.unwrap();
    assert!(standin.effects().is_empty());
    standin.put_foreign("services", &name, json!({"kind": "Service", "metadata": {}, "spec": {"x": 1}}));
    world.new_run();
    world.take("v1", "registry.example.com/churn@sha256:1");
    assert_eq!(world.step(Step::Validate).await.unwrap_err().code, codes::PLATFORM_NAME_TAKEN);
    assert_eq!(world.step(Step::Activate).await.unwrap_err().code, codes::PLATFORM_NAME_TAKEN);
    assert_eq!(standin.effects()[&format!("services/{name}")]["spec"], json!({"x": 1}));
    assert_eq!(standin.effects().len(), 1);
}

#[tokio::test]
async fn a_rollout_that_fails_names_its_pod_and_is_put_back() {
    let (standin, mut world) = on(NEW).await;
    world.set_everything();
    world.update().await;
    let before = standin.effects()[&format!("ingresses/{}", ingress(&standin))]["spec"].clone();
    world.new_run();
    world.take("v2", "registry.example.com/unpullable@sha256:2");
    world.set("/defaultServiceExposition", json!({"type": "CLUSTER_IP"}));
    world.set("/workload/autoscaling", json!({"enabled": false}));
    let failure = world.step(Step::Activate).await.unwrap_err();
    assert_eq!(failure.code, codes::K8S_ROLLOUT_FAILED);
    assert!(failure.message.contains("ImagePullBackOff"), "{failure}");
    let (receipt, warnings) = world.step(Step::Restore).await.unwrap();
    assert_eq!((warnings, &receipt["bundle"]), (Vec::<String>::new(), &json!("v1")));
    let after = standin.effects();
    assert_eq!(after[&format!("ingresses/{}", ingress(&standin))]["spec"], before);
    assert!(after.keys().any(|name| name.starts_with("horizontalpodautoscalers/")));
}

fn ingress(standin: &StandIn) -> String {
    standin.effects().keys().find_map(|name| name.strip_prefix("ingresses/").map(str::to_owned)).unwrap()
}

#[tokio::test]
async fn a_rollout_is_followed_through_looks_that_fail() {
    let (standin, mut world) = on(NEW).await;
    world.update().await;
    for step in [Step::Activate, Step::Restore] {
        if step == Step::Activate {
            world.new_run();
            world.take("v2", "registry.example.com/churn@sha256:2");
        }
        let first = world.attempt(step).await;
        assert!(matches!(first, Ok(StepOutcome::NotYet { .. })), "{first:?}");
        let before = standin.changes().len();
        // Before the Deployment is looked at, and then.
        for place in ["GET /api", "GET /apis/apps/v1/namespaces"] {
            for _ in 0..12 {
                standin.server.arm(place, 0, Kind::Status(503, None));
                let attempt = world.attempt(step).await;
                assert!(matches!(attempt, Ok(StepOutcome::NotYet { .. })), "{attempt:?}");
            }
            standin.server.arm(place, 0, Kind::Status(503, None));
            let attempt = world.attempt(step).await;
            assert!(matches!(attempt, Err(StepError::Retryable { .. })), "{attempt:?}");
        }
        assert_eq!(standin.changes().len(), before, "{step:?}");
        world.step(step).await.unwrap();
    }
}

#[tokio::test]
async fn a_first_rollout_that_fails_has_nothing_to_go_back_to() {
    let (_standin, mut world) = on(NEW).await;
    world.take("v1", "registry.example.com/unpullable@sha256:1");
    world.step(Step::Activate).await.unwrap_err();
    let (receipt, warnings) = world.step(Step::Restore).await.unwrap();
    assert!(receipt.is_null() && warnings[0].contains("Nothing was live before"), "{warnings:?}");
}

#[tokio::test]
async fn queries_go_through_the_api_server() {
    let (_standin, mut world) = on(NEW).await;
    world.update().await;
    let query = ServiceQuery {
        endpoint: EndpointSpec { id: "predict".into(), kind: Some("PY_FUNCTION".into()) },
        body: json!({"a": 1}),
        headers: Vec::new(),
        timeout: Duration::from_secs(5),
    };
    let target = world.target();
    let answer = target.services().unwrap().query(world.look(), &query).await.unwrap();
    assert_eq!((answer.status, &answer.body["path"]), (200, &json!("public/api/v1/Churn_Score/predict/run")));
    assert!(answer.body["through"].as_str().unwrap().starts_with("http:slipway-churn-prod-"));
    world.service().versions[0].auth_method = Some("OAUTH2".into());
    let failure = target.services().unwrap().query(world.look(), &query).await.unwrap_err();
    assert_eq!(failure.code, codes::QUERY_CREDENTIALS_MISSING);
}

#[tokio::test]
async fn what_a_deployment_sets_is_laid_over_the_infrastructures() {
    let (standin, mut world) = on(NEW).await;
    world.set_everything();
    let account = json!({"kind": "ServiceAccount", "metadata": {"name": "models"}});
    standin.put_foreign("serviceaccounts", "models", account);
    world.set("/workload/serviceAccountName", json!("models"));
    world.set("/workload/env", json!({"LEVEL": "info", "KEPT": "yes"}));
    world.service().settings = object(json!({
        "properties": {"tier": "gold"},
        "serviceExposition": {"type": "LOAD_BALANCER", "params": {"port": 80, "annotations": {"tier": "${deployment:tier}"}}},
        "workload": {
            "env": {"LEVEL": "debug"}, "labels": {"tier": "own"}, "resources": {"cpuLimit": "2"},
            "autoscaling": {"maxReplicas": 7},
            "secretEnv": [{"name": "OWN_PASSWORD", "value": {"$secret": "password"}}],
        },
    }));
    // The stand-in gives out no addresses.
    let warnings = world.update().await.1;
    assert!(warnings.len() == 1 && warnings[0].contains("load balancer"), "{warnings:?}");
    let all = standin.applied();
    let pods = &applied(&all, "Deployment")[0]["spec"]["template"]["spec"];
    assert_eq!((&pods["serviceAccountName"], &pods["automountServiceAccountToken"]), (&json!("models"), &json!(true)));
    let container = &pods["containers"][0];
    // What it names wins, and what it does not name stays.
    let resources = &container["resources"];
    assert_eq!((&resources["limits"]["cpu"], &resources["limits"]["memory"]), (&json!("2"), &json!("1024Mi")));
    assert_eq!(applied(&all, "ConfigMap")[0]["data"], json!({"LEVEL": "debug", "KEPT": "yes"}));
    let secret = applied(&all, "Secret").into_iter().find(|one| one["type"] == "Opaque").unwrap();
    for variable in ["OWN_PASSWORD", "DB_PASSWORD", "SLIPWAY_SERVICE_KEYS"] {
        assert!(secret["data"][variable].is_string(), "{variable}");
    }
    let scaling = &applied(&all, "HorizontalPodAutoscaler")[0]["spec"];
    assert_eq!((&scaling["minReplicas"], &scaling["maxReplicas"]), (&json!(2), &json!(7)));
    let labels = &applied(&all, "Deployment")[0]["spec"]["template"]["metadata"]["labels"];
    assert_eq!((&labels["team"], &labels["tier"]), (&json!("data"), &json!("own")));
    let service = applied(&all, "Service")[0];
    assert_eq!(
        (&service["spec"]["type"], &service["metadata"]["annotations"]["tier"]),
        (&json!("LoadBalancer"), &json!("gold"))
    );
    assert!(applied(&all, "Ingress").is_empty());
    // Without an account of its own a Pod gets no token of the namespace's.
    world.new_run();
    world.take("v1", "registry.example.com/churn@sha256:1");
    world.set("/workload/serviceAccountName", json!(""));
    world.update().await;
    let all = standin.applied();
    let pods = &applied(&all, "Deployment").pop().unwrap()["spec"]["template"]["spec"];
    assert_eq!(pods["automountServiceAccountToken"], false);
}

#[tokio::test]
async fn secrets_are_in_secrets_alone() {
    let (standin, mut world) = on(NEW).await;
    world.set_everything();
    world.update().await;
    for manifest in standin.applied() {
        let text = manifest.to_string();
        let encoded = HIDDEN.map(|secret| BASE64_STANDARD.encode(secret));
        let holds =
            HIDDEN.iter().any(|secret| text.contains(secret)) || encoded.iter().any(|secret| text.contains(secret));
        assert!(!holds || manifest["kind"] == "Secret", "{text}");
    }
    let all = standin.applied();
    let variables = applied(&all, "Secret").into_iter().find(|one| one["type"] == "Opaque").unwrap();
    assert_eq!(variables["data"]["DB_PASSWORD"], BASE64_STANDARD.encode(HIDDEN[0]));
    assert_eq!(variables["data"]["SLIPWAY_SERVICE_KEYS"], BASE64_STANDARD.encode(HIDDEN[1]));
    assert!(standin.calls().iter().any(|call| call.starts_with("GET") && call.contains("/secrets")));
}
