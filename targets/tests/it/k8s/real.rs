//! The walk on a real control plane, with the rights of the docs' Role and no more.

use std::time::Duration;

use serde_json::json;
use targets::codes;

use super::{
    hand::Hand,
    plane::{Plane, SLIPWAY, programs},
    standin::{NEW, StandIn},
    world::World,
};
use crate::support::Step;

struct Real {
    plane: Plane,
    hand: Hand,
    registry: StandIn,
}

impl Real {
    async fn start() -> Option<Self> {
        let plane = Plane::start(&programs()?).await;
        Some(Self { hand: plane.hand(), plane, registry: StandIn::start(NEW).await })
    }

    async fn world(&self, namespace: &str) -> World {
        self.hand.namespace(namespace, "slipway-tests").await;
        World::new(&self.plane.url, Some(&self.plane.authority), SLIPWAY, namespace, self.registry.host())
    }

    async fn kubelet(&self, namespace: &str) {
        self.hand.kubelet(namespace).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    /// Names of a kind's objects that are ours.
    async fn ours(&self, path: &str) -> Vec<String> {
        let listed = self.hand.must("GET", path, None).await;
        let named =
            listed["items"].as_array().unwrap().iter().map(|one| one["metadata"]["name"].as_str().unwrap().to_owned());
        named.filter(|name| name.starts_with("slipway-")).collect()
    }
}

#[tokio::test]
#[ignore = "needs a control plane: scripts/control-plane FOLDER, then CONTROL_PLANE=FOLDER scripts/test -p targets --test it -- --ignored"]
async fn a_service_lives_on_a_real_control_plane() {
    let real = Real::start().await.expect("CONTROL_PLANE names the folder of scripts/control-plane");
    everything(&real).await;
    failed_rollout(&real).await;
    expositions(&real).await;
    others(&real).await;
    strays(&real).await;
    lost_rights(&real).await;
    looks(&real).await;
}

/// All kinds at once; again; another version; off; gone.
async fn everything(real: &Real) {
    let mut world = real.world("everything").await;
    world.set_everything();
    let (receipt, warnings) = world.update_while(async || real.kubelet("everything").await).await.unwrap();
    assert_eq!(warnings, Vec::<String>::new(), "{receipt:?}");
    let service = receipt.service.unwrap();
    assert_eq!(service.urls, ["https://churn-score.example.com/api"]);
    assert_eq!(service.facts["replicas"], 2);

    let deployments = "/apis/apps/v1/namespaces/everything/deployments";
    let before = real.hand.must("GET", deployments, None).await["items"][0].clone();
    world.new_run();
    world.take("v1", "registry.example.com/churn@sha256:1");
    assert_eq!(world.update_while(async || real.kubelet("everything").await).await.unwrap().1, Vec::<String>::new());
    let after = real.hand.must("GET", deployments, None).await["items"][0].clone();
    assert_eq!(
        before["metadata"]["generation"], after["metadata"]["generation"],
        "an update without a change changed something"
    );

    // The autoscaler has scaled meanwhile: an update leaves the Pods alone, and nobody's field is in the way.
    let scale = json!({"spec": {"replicas": 3}});
    let name = before["metadata"]["name"].as_str().unwrap().to_owned();
    real.hand
        .must("PATCH", &format!("{deployments}/{name}/scale?fieldManager=kube-controller-manager"), Some(&scale))
        .await;
    world.new_run();
    world.take("v2", "registry.example.com/churn@sha256:2");
    world.set("/workload/env", json!({"LEVEL": "debug"}));
    world.set("/workload/disruptionBudget", json!({"enabled": false}));
    let (receipt, warnings) = world.update_while(async || real.kubelet("everything").await).await.unwrap();
    assert_eq!((warnings, receipt.service.unwrap().facts["replicas"].clone()), (Vec::<String>::new(), json!(3)));
    assert_eq!(
        real.ours("/api/v1/namespaces/everything/configmaps").await.len(),
        1,
        "an earlier version's variables stay"
    );
    assert_eq!(
        real.ours("/apis/policy/v1beta1/namespaces/everything/poddisruptionbudgets").await,
        Vec::<String>::new()
    );

    // Without the autoscaler, the number of Pods is ours again.
    world.new_run();
    world.take("v2", "registry.example.com/churn@sha256:2");
    world.set("/workload/autoscaling", json!({"enabled": false}));
    world.set("/workload/replicas", json!(1));
    world.update_while(async || real.kubelet("everything").await).await.unwrap();
    assert_eq!(
        real.ours("/apis/autoscaling/v1/namespaces/everything/horizontalpodautoscalers").await,
        Vec::<String>::new()
    );

    world.new_run();
    world.step_while(Step::SwitchOff, async || real.kubelet("everything").await).await.unwrap();
    let off = world.target().observe(world.look()).await.unwrap();
    assert!(!off.service.unwrap().enabled);
    // On again, although another kind of call has set the number of Pods.
    world.new_run();
    world.take("v2", "registry.example.com/churn@sha256:2");
    world.update_while(async || real.kubelet("everything").await).await.unwrap();

    let foreign = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "slipway-of-somebody-else"}});
    real.hand.must("POST", "/api/v1/namespaces/everything/configmaps", Some(&foreign)).await;
    world.new_run();
    world.step_while(Step::Remove, async || real.kubelet("everything").await).await.unwrap();
    for kind in [
        "api/v1/namespaces/everything/services",
        "api/v1/namespaces/everything/secrets",
        "apis/apps/v1/namespaces/everything/deployments",
        "apis/networking.k8s.io/v1/namespaces/everything/ingresses",
    ] {
        assert_eq!(real.ours(&format!("/{kind}")).await, Vec::<String>::new(), "{kind}");
    }
    assert_eq!(real.ours("/api/v1/namespaces/everything/configmaps").await, ["slipway-of-somebody-else"]);
}

/// Pods that can't pull: named, and what was live is live again.
async fn failed_rollout(real: &Real) {
    let mut world = real.world("failing").await;
    let between = async || real.kubelet("failing").await;
    world.set("/workload/env", json!({"A": "1"}));
    world.set("/workload/replicas", json!(2));
    world.update_while(between).await.unwrap();

    world.new_run();
    world.take("v2", "registry.example.com/unpullable@sha256:2");
    world.set("/workload/env", json!({"A": "2"}));
    world.set("/workload/replicas", json!(3));
    let failure = world.step_while(Step::Activate, between).await.unwrap_err();
    assert_eq!(failure.code, codes::K8S_ROLLOUT_FAILED);
    assert!(failure.message.contains("ImagePullBackOff: Back-off pulling image"), "{failure}");
    let seen = world.target().observe(world.look()).await.unwrap().service.unwrap();
    assert_eq!(seen.troubles.iter().map(|one| &one.code).collect::<Vec<_>>(), [&codes::K8S_PODS_FAILING]);
    let (receipt, warnings) = world.step_while(Step::Restore, between).await.unwrap();
    assert_eq!(warnings, Vec::<String>::new(), "{receipt}");
    assert_eq!(receipt["bundle"], "v1");
    assert_eq!(receipt["service"]["facts"]["image"], "registry.example.com/churn@sha256:1");
    assert_eq!(receipt["service"]["facts"]["replicas"], 2);
    assert_eq!(real.ours("/api/v1/namespaces/failing/configmaps").await.len(), 1);
}

/// Each way of exposing, one after the other on one deployment.
async fn expositions(real: &Real) {
    let mut world = real.world("exposed").await;
    let between = async || real.kubelet("exposed").await;
    let rules = json!([{"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": ["get", "list", "create", "patch", "delete"]}]);
    let more = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "slipway-own-yaml"}, "rules": rules});
    real.hand.grant("exposed", "slipway-tests", more).await;
    let yaml = "apiVersion: v1\nkind: Service\nmetadata:\n  name: own-${executionId} # __exposed_service_id__\n  annotations: ${annotations}\nspec:\n  selector: ${selector}\n  ports: [{port: ${exposedPort}, targetPort: 12000}]\n---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: 'own-${executionId}', labels: {${labelsJsonFields}}}\nspec:\n  podSelector: {matchLabels: ${selector}}\n  ingress: [{}]\n";
    for (kind, params, url) in [
        (
            "NODE_PORT",
            json!({"nodeAddress": "node.example.com", "nodePort": 30_123}),
            Some("http://node.example.com:30123"),
        ),
        ("CLUSTER_IP", json!({}), Some(".exposed.svc:12000")),
        ("LOAD_BALANCER", json!({"sourceRanges": ["10.0.0.0/8"], "port": 80}), None),
        ("INGRESS", json!({"host": "a.example.com"}), Some("http://a.example.com")),
        ("YAML", json!({"yaml": yaml, "port": 8080}), Some(".exposed.svc:8080")),
        ("CLUSTER_IP", json!({}), Some(".exposed.svc:12000")),
    ] {
        world.new_run();
        world.take("v1", "registry.example.com/churn@sha256:1");
        world.set("/defaultServiceExposition", json!({"type": kind, "params": params}));
        let (receipt, warnings) = world.update_while(between).await.unwrap();
        // Nothing there gives a load balancer its address.
        assert_eq!(warnings.len(), usize::from(kind == "LOAD_BALANCER"), "{kind}: {warnings:?}");
        let urls = receipt.service.unwrap().urls;
        assert_eq!(urls.len(), usize::from(url.is_some()), "{kind}: {urls:?}");
        assert!(url.is_none_or(|url| urls[0].ends_with(url)), "{kind}: {urls:?}");
    }
    assert_eq!(real.ours("/apis/networking.k8s.io/v1/namespaces/exposed/ingresses").await, Vec::<String>::new());
    let left = real.hand.must("GET", "/apis/networking.k8s.io/v1/namespaces/exposed/networkpolicies", None).await;
    assert_eq!(left["items"], json!([]));
}

/// What others have, they keep.
async fn others(real: &Real) {
    let mut world = real.world("others").await;
    let between = async || real.kubelet("others").await;
    world.update_while(between).await.unwrap();
    let services = "/api/v1/namespaces/others/services";
    let name = real.ours(services).await.remove(0);

    // Somebody else manages a field that we set.
    let deployments = format!("/apis/apps/v1/namespaces/others/deployments/{name}");
    let deadline = json!({"spec": {"progressDeadlineSeconds": 77}});
    real.hand.must("PATCH", &format!("{deployments}?fieldManager=another-tool"), Some(&deadline)).await;
    let drift = world.target().drift(world.look(), &Default::default()).await.unwrap();
    assert_eq!(
        drift.iter().map(|one| (one.found.clone(), one.wanted.clone())).collect::<Vec<_>>(),
        [(json!(77), json!(600))]
    );
    world.new_run();
    world.take("v2", "registry.example.com/churn@sha256:2");
    for step in [Step::Validate, Step::Activate] {
        let failure = world.step(step).await.unwrap_err();
        assert_eq!(failure.code, codes::K8S_FIELD_CONFLICT);
        assert!(failure.message.contains(".spec.progressDeadlineSeconds is managed by another-tool"), "{failure}");
    }
    world.set("/conflicts", json!("FORCE"));
    world.update_while(between).await.unwrap();
    assert_eq!(real.hand.must("GET", &deployments, None).await["spec"]["progressDeadlineSeconds"], 600);

    // A name that is taken by something that we did not make.
    world.new_run();
    world.step_while(Step::Remove, between).await.unwrap();
    let foreign =
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"ports": [{"port": 1}]}});
    real.hand.must("POST", services, Some(&foreign)).await;
    world.new_run();
    world.take("v2", "registry.example.com/churn@sha256:2");
    for step in [Step::Validate, Step::Activate] {
        assert_eq!(world.step(step).await.unwrap_err().code, codes::PLATFORM_NAME_TAKEN, "{step:?}");
    }
    assert_eq!(real.hand.must("GET", &format!("{services}/{name}"), None).await["spec"]["ports"][0]["port"], 1);
}

/// What others set beside what we set, and what undoes it: told of, refused, and taken out where that is wanted.
async fn strays(real: &Real) {
    let mut world = real.world("strays").await;
    let between = async || real.kubelet("strays").await;
    world.set("/workload/env", json!({"LEVEL": "info"}));
    world.update_while(between).await.unwrap();
    let name = real.ours("/api/v1/namespaces/strays/services").await.remove(0);
    let service = format!("/api/v1/namespaces/strays/services/{name}");
    let deployment = format!("/apis/apps/v1/namespaces/strays/deployments/{name}");

    // Theirs, and harmless.
    real.hand.must("PATCH", &service, Some(&json!({"metadata": {"labels": {"theirs": "1"}}}))).await;
    assert_eq!(world.target().drift(world.look(), &Default::default()).await.unwrap(), []);
    // Theirs, and the end of the service.
    real.hand.must("PATCH", &service, Some(&json!({"spec": {"selector": {"app": "another"}}}))).await;
    let mut containers =
        real.hand.must("GET", &deployment, None).await["spec"]["template"]["spec"]["containers"].take();
    containers[0]["env"] = json!([{"name": "LEVEL", "value": "debug"}, {"name": "TRACE", "value": "on"}]);
    let body = json!({"spec": {"template": {"spec": {"containers": containers}}}});
    real.hand.must("PATCH", &deployment, Some(&body)).await;
    let drift = world.target().drift(world.look(), &Default::default()).await.unwrap();
    let told: Vec<_> = drift.iter().map(|one| one.what.rsplit(' ').next().unwrap()).collect();
    assert_eq!(told, ["/spec/selector/app", "/spec/template/spec/containers/service/env/LEVEL"], "{drift:?}");
    let seen = world.target().observe(world.look()).await.unwrap().service.unwrap();
    let codes_of =
        |seen: &[targets::on_node::ServiceTrouble]| seen.iter().map(|one| one.code.clone()).collect::<Vec<_>>();
    assert!(codes_of(&seen.troubles).contains(&codes::K8S_FIELD_CONFLICT), "{:?}", seen.troubles);

    world.new_run();
    let failure = world.step(Step::Validate).await.unwrap_err();
    assert_eq!(failure.code, codes::K8S_FIELD_CONFLICT, "{failure}");
    assert!(failure.message.contains("/spec/selector/app") && failure.message.contains("/env/LEVEL"), "{failure}");
    world.set("/conflicts", json!("FORCE"));
    world.new_run();
    world.take("v1", "registry.example.com/churn@sha256:1");
    world.update_while(between).await.unwrap();
    assert_eq!(world.target().drift(world.look(), &Default::default()).await.unwrap(), []);
    let seen = world.target().observe(world.look()).await.unwrap().service.unwrap();
    assert_eq!(codes_of(&seen.troubles), []);
    let live = real.hand.must("GET", &deployment, None).await;
    let env = &live["spec"]["template"]["spec"]["containers"][0]["env"];
    assert_eq!(*env, json!([{"name": "TRACE", "value": "on"}]), "what harms nobody is theirs");
}

/// Objects of a kind whose right is gone are not forgotten.
async fn lost_rights(real: &Real) {
    let mut world = real.world("lost").await;
    let between = async || real.kubelet("lost").await;
    world.set("/defaultServiceExposition", json!({"type": "INGRESS", "params": {"host": "a.example.com"}}));
    world.update_while(between).await.unwrap();
    let ingresses = "/apis/networking.k8s.io/v1/namespaces/lost/ingresses";
    assert_eq!(real.ours(ingresses).await.len(), 1);
    let roles = "/apis/rbac.authorization.k8s.io/v1/namespaces/lost/roles";
    let role = real.hand.must("GET", roles, None).await["items"][0].take();
    let path = format!("{roles}/{}", role["metadata"]["name"].as_str().unwrap());
    let rules: Vec<_> = role["rules"].as_array().unwrap().clone();
    let without: Vec<_> =
        rules.iter().filter(|rule| !rule["resources"].to_string().contains("ingresses")).cloned().collect();
    assert!(without.len() < rules.len());
    real.hand.must("PATCH", &path, Some(&json!({"rules": without}))).await;
    world.set("/defaultServiceExposition", json!({"type": "CLUSTER_IP", "params": {}}));
    for step in [Step::Validate, Step::Remove] {
        world.new_run();
        let failure = world.step_while(step, between).await.unwrap_err();
        assert_eq!(failure.code, codes::K8S_RIGHT_MISSING, "{step:?}: {failure}");
    }
    assert_eq!(real.ours(ingresses).await.len(), 1);
    real.hand.must("PATCH", &path, Some(&json!({"rules": rules}))).await;
    world.new_run();
    world.step_while(Step::Remove, between).await.unwrap();
    assert_eq!(real.ours(ingresses).await, Vec::<String>::new());
}

/// Rights, refusals and previews.
async fn looks(real: &Real) {
    let mut world = real.world("looks").await;
    let report = world.target().check(&world.spec.infrastructure, &world.vault).await.unwrap();
    assert_eq!((report.problems, report.is_admin), (Vec::<String>::new(), true));
    let version = report.version.unwrap();
    assert!(version.starts_with('v'), "{version}");

    let preview = world.target().preview(world.look()).await.unwrap();
    assert!(preview.creates_project && preview.problems.is_empty(), "{preview:?}");
    assert_eq!(preview.changes.iter().filter(|one| one.wanted == "present").count(), 2, "{preview:?}");
    assert_eq!(real.ours("/api/v1/namespaces/looks/services").await, Vec::<String>::new(), "a preview made something");

    // What the API server refuses, it refuses before anything has changed; all of it at once.
    world.set("/workload/serviceAccountName", json!("nobody"));
    let failure = world.step(Step::Validate).await.unwrap_err();
    assert_eq!(failure.code, codes::K8S_OBJECT_MISSING, "{failure}");
    world.set("/workload/serviceAccountName", json!(""));
    world.set("/workload/resources", json!({"cpuRequest": "2", "cpuLimit": "1"}));
    world.set("/workload/disruptionBudget", json!({"enabled": true, "minAvailable": "150%"}));
    let failure = world.step(Step::Validate).await.unwrap_err();
    assert_eq!(failure.code, codes::K8S_OBJECT_REFUSED);
    assert!(
        failure.message.contains("must not be greater than 100%")
            && failure.message.contains("must be less than or equal to cpu limit"),
        "{failure}"
    );

    world.set("/k8sNamespace", json!("everything-else"));
    let failure = world.step(Step::Validate).await.unwrap_err();
    assert_eq!(failure.code, codes::K8S_RIGHT_MISSING);
    assert!(failure.message.lines().count() > 20, "{failure}");
    let report = world.target().check(&world.spec.infrastructure, &world.vault).await.unwrap();
    assert!(report.problems.len() > 20 && !report.is_admin);
    world.vault.0.insert("token".into(), "wr0ng".into());
    assert_eq!(world.step(Step::Validate).await.unwrap_err().code, codes::NODE_KEY_REJECTED);
}
