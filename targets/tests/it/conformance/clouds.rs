//! Azure ML and Vertex AI.

use std::time::Duration;

use engine::failure::StepResult;
use sandbox::clouds::{Azure, CloudCall, Google, RunningCloud, StandIn};
use serde_json::{Value, json};

use super::{Armed, Back, Bench, Scene, Seen, Trouble, any};
use crate::{azure_ml, cloud::CloudWorld, support::Step, vertex_ai};

pub(super) type AzureMl = Cloud<Azure>;
pub(super) type VertexAi = Cloud<Google>;

pub(super) struct Cloud<S> {
    cloud: RunningCloud<S>,
    world: CloudWorld,
    /// So many calls came before.
    from: usize,
}

pub(super) trait Start: StandIn + Sized {
    async fn start() -> (RunningCloud<Self>, CloudWorld);
}

impl Start for Azure {
    async fn start() -> (RunningCloud<Self>, CloudWorld) {
        azure_ml::world().await
    }
}

impl Start for Google {
    async fn start() -> (RunningCloud<Self>, CloudWorld) {
        vertex_ai::world().await
    }
}

/// Whether a call to this path is made to be let in.
fn signs_in(path: &str) -> bool {
    ["/oauth2/v2.0/token", "/token", "/sts", "/impersonate"].iter().any(|end| path.ends_with(end))
}

/// Whether it is, or may be, made to be let into the registry.
fn lets_into_registry(path: &str) -> bool {
    path.ends_with("/oauth2/exchange") || path.ends_with("/token")
}

fn is_of_registry(path: &str) -> bool {
    path.starts_with("/v2/") || path.starts_with("/oauth2/token")
}

impl<S: Start> Bench for Cloud<S> {
    async fn new(scene: Scene) -> Self {
        let (cloud, mut world) = S::start().await;
        if scene == Scene::Second {
            world.update().await.unwrap();
            world.next_run(&[("v2", 0.3), ("v3", 0.7)]);
        }
        Self { from: cloud.calls().len(), cloud, world }
    }

    fn bookmark(&mut self) -> Option<Back<Self>> {
        let (back, run) = (self.cloud.bookmark(), self.world.run.again());
        // Who is signed in makes fewer calls.
        self.world.sign_out();
        Some(Box::new(move |bench| {
            back(&bench.cloud);
            bench.world.sign_out();
            bench.world.run = run.again();
        }))
    }

    fn next_run(&mut self) {
        self.world.next_run(&[("v2", 0.3), ("v3", 0.7)]);
    }

    async fn attempt(&self, step: Step) -> StepResult {
        self.world.attempt(step).await
    }

    fn pass(&self, time: Duration) {
        self.world.run.advance(time);
    }

    fn calls(&self) -> Vec<Seen> {
        // Of what goes to the registry, only a manifest makes something: layers lie there by their digests.
        let to_registry = |call: &CloudCall| call.method == "PUT" && call.path.contains("/manifests/");
        let changes = |call: &CloudCall| {
            let looks = ["GET", "HEAD"].contains(&call.method.as_str());
            if call.path.starts_with("/v2/") { to_registry(call) } else { !looks }
        };
        let seen =
            |call: CloudCall| Seen { door: 0, changes: changes(&call), what: format!("{} {}", call.method, call.path) };
        self.cloud.calls().split_off(self.from).into_iter().map(seen).collect()
    }

    fn arm(&self, _: usize, after: usize, trouble: Trouble) -> Box<dyn Armed + '_> {
        Box::new(self.cloud.arm(any(after, trouble.kind(|_| None))).unwrap())
    }

    fn left(&self) -> Value {
        let effects = self.cloud.effects();
        json!({"resources": effects["resources"], "images": effects["registry"]["images"]})
    }

    fn effects(&self) -> Vec<String> {
        let effects = self.cloud.effects();
        let images = ("images".to_owned(), effects["registry"]["put"].clone());
        let counts = effects["counts"].as_object().cloned().unwrap().into_iter().chain([images]);
        counts.map(|(what, count)| format!("{what} {count}")).collect()
    }

    fn looks_again(&self, call: &Seen) -> bool {
        let noted = self.world.run.notes.lock().unwrap().get("unseen").is_some_and(|note| !note.is_null());
        noted && (!call.changes || signs_in(&call.what) || lets_into_registry(&call.what))
    }

    fn gets_over(&self, step: Step, trouble: Trouble, call: &Seen, warnings: &[String]) -> bool {
        let (_, path) = call.what.split_once(' ').unwrap();
        let refused = [Trouble::Unauthorized, Trouble::Unprocessable].contains(&trouble);
        let signs_in = signs_in(path);
        match step {
            // A token that is refused is got anew, once.
            _ if trouble == Trouble::Unauthorized && !signs_in => true,
            // What is left over and can't be deleted is only warned of.
            Step::Verify if refused => !warnings.is_empty(),
            // A registry that lets nothing be deleted, or nobody in, keeps its images.
            Step::Remove if refused && (lets_into_registry(path) || is_of_registry(path)) => true,
            // Sending to a registry goes on where it was cut, and a login that is not taken is asked for anew, once.
            _ => is_of_registry(path) && trouble != Trouble::Unprocessable,
        }
    }

    fn forgive(&self, step: Step, trouble: Trouble, call: &Seen, left: &mut Value, _: &mut Vec<String>) {
        let (_, path) = call.what.split_once(' ').unwrap();
        if step == Step::Remove
            && (is_of_registry(path) || lets_into_registry(path))
            && self.gets_over(step, trouble, call, &[])
        {
            left["images"] = Value::Null;
        }
    }
}
