//! A real Kubernetes control plane and a real registry: a service from its upload to its deletion, with the rights of the docs' Role and no more. Images are made,
//! pushed and named by digest in the Pods; another program unpacks them, and what is in there answers queries. A worker dies while Pods come up.

use std::{fs, net::UdpSocket, time::Duration};

use serde_json::{Value, json};
use tests::{
    Fleet, PATIENCE, Size,
    guard::{Guarded, Program, free_port},
    registry::{PASSWORD, Registry, USER},
    scratch::Scratch,
    slipway, until_true,
};
use tokio::task::JoinHandle;

use super::{
    hand::Hand,
    plane::{Plane, SLIPWAY, programs},
    versions,
};
use crate::{
    images::{Unpacked, base_image},
    rest::script,
};

const NAMESPACE: &str = "models";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/models/deployments";
/// Where the node in a container listens.
const NODE_PORT: u16 = 12_000;

/// What a kubelet would do, until it is dropped.
struct Kubelet(JoinHandle<()>);

impl Kubelet {
    fn start(hand: &Hand) -> Self {
        let hand = hand.clone();
        Self(tokio::spawn(async move {
            loop {
                hand.kubelet(NAMESPACE).await;
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }))
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// An address of this machine that is not its loopback: an API server passes no query on to that.
fn own_address() -> String {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect("192.0.2.1:9").expect("a network beside the loopback");
    socket.local_addr().unwrap().ip().to_string()
}

/// The container's process, listening at `port`.
fn container(unpacked: &Unpacked, address: &str, port: u16, log: &Scratch) -> Guarded {
    let node = format!("{}/opt/node/node.py", unpacked.root);
    let service = format!("{}/opt/slipway/service", unpacked.root);
    Program::new([slipway::python(), node], &log.path().join(format!("node-{port}.log")))
        .with([("NODE_HOST", address.to_owned()), ("NODE_PORT", port.to_string()), ("NODE_SERVICE", service)])
        .start()
}

/// The only Deployment.
async fn live(hand: &Hand) -> Value {
    hand.must("GET", DEPLOYMENTS, None).await["items"][0].clone()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a control plane: scripts/control-plane FOLDER, then CONTROL_PLANE=FOLDER scripts/test -p tests --test it -- --ignored"]
async fn a_service_on_a_real_control_plane() {
    let plane = Plane::start(&programs().expect("CONTROL_PLANE names the folder of scripts/control-plane")).await;
    let (mut hand, address, scratch) = (plane.hand(), own_address(), Scratch::new("k8s"));
    hand.pod_ip.clone_from(&address);
    hand.namespace(NAMESPACE, "slipway-tests").await;
    let registry = Registry::launch(false).await;
    registry.skopeo(&base_image(&scratch, b"a base"), &format!("docker://{}/base:1", registry.host()));
    let mut fleet = Fleet::of(Size::Fleet).short_lease().start().await;
    let kubelet = Kubelet::start(&hand);
    let port = 30_000 + free_port() % 2_768;
    let told = json!({
        "api_server": plane.url, "token": SLIPWAY, "authority": plane.authority, "namespace": NAMESPACE,
        "registry": registry.host(), "user": USER, "password": PASSWORD, "versions": versions(&scratch),
        "address": address, "port": port,
    });
    let part = async |fleet: &Fleet, part: &str| {
        let mut told = told.clone();
        told["part"] = part.into();
        script("../platforms/k8s.py", fleet, told).await;
    };

    part(&fleet, "deploy").await;
    let image = live(&hand).await["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap().to_owned();
    assert!(image.starts_with(&registry.host()) && image.contains("@sha256:"), "{image}");
    let unpacked = Unpacked::of(&registry, &image, &scratch);
    let package = unpacked.read("/opt/slipway/service/1.zip");
    assert!(package == fs::read(told["versions"]["v1"].as_str().unwrap()).unwrap(), "the package is in the image");
    let _nodes = [NODE_PORT, port].map(|port| container(&unpacked, &address, port, &scratch));
    part(&fleet, "query").await;
    part(&fleet, "fails").await;

    // All workers die while the Pods come up; another one goes on.
    drop(kubelet);
    let generation = async || live(&hand).await["metadata"]["generation"].as_i64().unwrap();
    let before = generation().await;
    part(&fleet, "second").await;
    until_true("the rollout", PATIENCE, || async { generation().await > before }).await;
    for worker in &fleet.workers {
        worker.kill().await;
    }
    let kubelet = Kubelet::start(&hand);
    fleet.start_worker().await;
    let last = "{ updates(filter: {deployment: \"fraud-cluster\"}, first: 1) { nodes { id } } }";
    let last = fleet.client.graphql(last, json!({})).await;
    let update = fleet.client.over(last["updates"]["nodes"][0]["id"].as_str().unwrap()).await;
    assert_eq!(update["status"], "SUCCEEDED", "{update}");
    assert_eq!(generation().await, before + 1, "the Deployment was changed once");

    part(&fleet, "delete").await;
    drop(kubelet);
    for kind in [
        "api/v1/namespaces/models/services",
        "api/v1/namespaces/models/configmaps",
        "api/v1/namespaces/models/secrets",
        "apis/apps/v1/namespaces/models/deployments",
    ] {
        let left = hand.must("GET", &format!("/{kind}?labelSelector=slipway/deployment"), None).await;
        assert_eq!(left["items"], json!([]), "{kind}");
    }
    assert!(!fleet.logs().contains(SLIPWAY), "a log holds the token");
}
