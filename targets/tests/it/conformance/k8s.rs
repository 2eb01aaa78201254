//! A Kubernetes cluster of an older version, and a registry of images.

use std::{net::TcpListener, sync::Arc, time::Duration};

use bytes::Bytes;
use engine::failure::StepResult;
use serde_json::{Value, json};

use super::{Armed, Back, Bench, Scene, Seen, Trouble, seen_by};
use crate::{
    images::{Images, digest},
    k8s::{
        standin::{NAMESPACE, OLD, StandIn, TOKEN},
        world::{HIDDEN, World},
    },
    support::Step,
    wire::{Asked, Server},
};

pub(super) struct Cluster {
    cluster: StandIn,
    registry: Server,
    images: Arc<Images>,
    world: World,
}

thread_local! {
    /// One address for all registries of a test, one after another: it is in names and digests.
    static REGISTRY: TcpListener = TcpListener::bind("127.0.0.1:0").unwrap();
}

fn package(version: &str) -> Bytes {
    Bytes::from(format!("the package of {version}"))
}

impl Cluster {
    fn doors(&self) -> [&Server; 2] {
        [&self.cluster.server, &self.registry]
    }

    fn forget(&self) {
        self.doors().into_iter().for_each(Server::forget);
    }

    fn take(&mut self, version: &str) {
        let package = package(version);
        let taken = &mut self.world.service().versions[0];
        taken.version = version.to_owned();
        taken.sha256 = digest(&package).trim_start_matches("sha256:").to_owned();
        taken.size = package.len() as u64;
    }
}

impl Bench for Cluster {
    async fn new(scene: Scene) -> Self {
        let cluster = StandIn::start(OLD).await;
        let images = Arc::new(Images::new("robot", HIDDEN[2], Box::new(|_, _, _| {})));
        let listener = REGISTRY.with(|listener| listener.try_clone().unwrap());
        let registry = Server::start_at(listener, Arc::clone(&images) as Arc<_>).await;
        let host = registry.url.trim_start_matches("http://");
        let mut world = World::new(&cluster.url, None, TOKEN, NAMESPACE, host);
        world.set_everything();
        world.set("/baseImageTag", json!("base/node:1"));
        for version in ["v1", "v2"] {
            world.store(package(version)).await;
        }
        let mut bench = Self { cluster, registry, images, world };
        bench.world.new_run();
        bench.take("v1");
        if scene == Scene::Second {
            for step in [Step::Validate, Step::Push, Step::Activate, Step::Enforce, Step::Verify] {
                bench.world.step(step).await.unwrap();
            }
            bench.world.new_run();
            bench.take("v2");
            let world = &mut bench.world;
            world.set("/workload/env", json!({"LEVEL": "debug"}));
            world.set("/workload/disruptionBudget", json!({"enabled": false}));
            world.set("/workload/autoscaling", json!({"enabled": false}));
        }
        bench.forget();
        bench
    }

    fn bookmark(&mut self) -> Option<Back<Self>> {
        let (state, images) = (self.cluster.state().clone(), self.images.contents().clone());
        let run = self.world.run.clone();
        self.forget();
        Some(Box::new(move |bench| {
            *bench.cluster.state() = state.clone();
            *bench.images.contents() = images.clone();
            bench.world.run = run.clone();
            bench.forget();
        }))
    }

    fn next_run(&mut self) {
        self.world.new_run();
    }

    async fn attempt(&self, step: Step) -> StepResult {
        self.world.attempt(step).await
    }

    fn pass(&self, time: Duration) {
        self.world.pass(time);
    }

    fn calls(&self) -> Vec<Seen> {
        let changes =
            |asked: &Asked| ["PATCH", "DELETE"].contains(&asked.method.as_str()) && asked.parameter("dryRun").is_none();
        seen_by(self.doors(), changes)
    }

    fn arm(&self, door: usize, after: usize, trouble: Trouble) -> Box<dyn Armed + '_> {
        let server = self.doors()[door];
        server.arm("", after, trouble.into());
        Box::new(server)
    }

    fn left(&self) -> Value {
        let told = json!({"objects": self.cluster.effects(), "images": self.images.names()}).to_string();
        serde_json::from_str(&told.replace(self.cluster.host(), "CLUSTER")).unwrap()
    }

    /// An object that is applied again as it is has no further effect, and its generation in what is left shows one that had; so what is counted is what went.
    fn effects(&self) -> Vec<String> {
        self.cluster.changes()
    }

    fn own_codes(&self, trouble: Trouble) -> &'static [&'static str] {
        if trouble == Trouble::Unprocessable { &["K8S_OBJECT_REFUSED"] } else { &[] }
    }

    /// Sending to a registry goes on where it was cut.
    fn looks_again(&self, call: &Seen) -> bool {
        let noted = self.world.run.notes.lock().unwrap().get("unseen").is_some_and(|note| !note.is_null());
        noted && !call.changes
    }

    fn gets_over(&self, _: Step, trouble: Trouble, call: &Seen, _: &[String]) -> bool {
        call.door == 1 && trouble != Trouble::Unprocessable
    }
}
