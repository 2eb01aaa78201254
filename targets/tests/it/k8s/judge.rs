//! Every manifest that is applied, judged by the schemas of several versions of Kubernetes.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use serde_json::json;

use super::{
    standin::{NAMESPACE, NEW, StandIn, TOKEN},
    world::World,
};

/// As an administrator may write it, with every kind that a schema is at hand of.
const OWN: &str = "
apiVersion: v1
kind: Service
metadata:
  name: own-${executionId} # __exposed_service_id__
  annotations: ${annotations}
spec:
  selector: ${selector}
  ports: [{port: ${exposedPort}, targetPort: 12000}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: 'own-${executionId}'}
spec:
  defaultBackend: {service: {name: 'own-${executionId}', port: {number: ${exposedPort}}}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: 'own-${executionId}'}
spec:
  podSelector: {matchLabels: ${selector}}
  ingress: [{}]
";
const PACKAGES: &str = "kubernetes-validate==1.37.0";

/// An interpreter with the packages.
fn python() -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/code-env");
    let folder = concat!(env!("CARGO_TARGET_TMPDIR"), "/k8s-judge");
    let made = Command::new(script).args([folder, "python3", PACKAGES]).stderr(Stdio::inherit()).output().unwrap();
    assert!(made.status.success(), "scripts/code-env failed; it needs python3, python3-venv and python3-pip");
    String::from_utf8(made.stdout).unwrap().trim().to_owned()
}

#[tokio::test]
async fn kubernetes_own_schemas_take_every_manifest() {
    let mut lines = Vec::new();
    // What servers before 1.25 take, a real one judges: `real`.
    let versions = ["1.25", "1.28", "1.31", "1.34", "1.37"];
    for everything in [false, true] {
        for (kind, params) in [
            ("CLUSTER_IP", json!({})),
            ("NODE_PORT", json!({"nodePort": 30_000})),
            ("LOAD_BALANCER", json!({"sourceRanges": ["10.0.0.0/8"], "port": 80, "annotations": {"a": "${infraId}"}})),
            (
                "INGRESS",
                json!({"host": "a.example.com", "path": "/x", "tlsSecretName": "tls", "ingressClassName": "nginx"}),
            ),
            ("YAML", json!({"yaml": OWN, "port": 8080})),
        ] {
            let standin = StandIn::start(NEW).await;
            let mut world = World::new(&standin.url, None, TOKEN, NAMESPACE, standin.host());
            if everything {
                world.set_everything();
            }
            if everything && kind == "NODE_PORT" {
                world.set("/workload/disruptionBudget", json!({"enabled": true, "minAvailable": "1"}));
                world.set("/workload/autoscaling", json!({"maxReplicas": 3, "targetMemory": "1Gi"}));
            }
            world.set("/defaultServiceExposition", json!({"type": kind, "params": params}));
            world.update().await;
            for manifest in standin.applied() {
                lines.extend(versions.iter().map(|version| json!({"version": version, "manifest": manifest})));
            }
        }
    }
    let mut judge = Command::new(python())
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/k8s/judge.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = judge.stdin.take().unwrap();
    for line in &lines {
        writeln!(input, "{line}").unwrap();
    }
    drop(input);
    let said = judge.wait_with_output().unwrap();
    let told = format!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert!(said.status.success(), "{told}");
}
