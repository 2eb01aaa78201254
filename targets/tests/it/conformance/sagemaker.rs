//! SageMaker, and Amazon's registry of images.

use std::time::Duration;

use engine::failure::StepResult;
use sandbox::Call;
use serde_json::{Value, json};

use super::{Armed, Back, Bench, Scene, Seen, Trouble, any, seen};
use crate::{sagemaker::world::World, support::Step};

pub(super) struct Account {
    world: World,
    /// So many changes came before.
    from: usize,
}

impl Bench for Account {
    async fn new(scene: Scene) -> Self {
        let mut world = World::new().await;
        world.cloud.set_slowness(1);
        if scene == Scene::Second {
            world.update().await;
            world.take(&[("v2", 1.0)]).await;
        }
        world.cloud.clear_calls();
        Self { from: world.cloud.changes().len(), world }
    }

    fn bookmark(&mut self) -> Option<Back<Self>> {
        let (back, run) = (self.world.cloud.bookmark(), self.world.run.again());
        Some(Box::new(move |bench| {
            back(&bench.world.cloud);
            bench.world.run = run.again();
        }))
    }

    fn next_run(&mut self) {
        self.world.new_run();
    }

    async fn attempt(&self, step: Step) -> StepResult {
        self.world.attempt(step).await
    }

    fn pass(&self, time: Duration) {
        self.world.run.advance(time);
    }

    fn calls(&self) -> Vec<Seen> {
        let changes = |call: &Call| {
            let operation = call.path.rsplit('/').next().unwrap_or_default();
            ["Create", "Update", "Delete", "BatchDelete", "AddTags", "PUT"]
                .iter()
                .any(|begin| operation.starts_with(begin))
        };
        seen(self.world.cloud.calls(), changes)
    }

    fn arm(&self, _: usize, after: usize, trouble: Trouble) -> Box<dyn Armed + '_> {
        let named = |status| match status {
            429 => Some("TooManyRequestsException"),
            503 => Some("ServiceUnavailable"),
            401 => Some("UnrecognizedClientException"),
            _ => Some("SomethingElse"),
        };
        Box::new(self.world.cloud.arm(any(after, trouble.kind(named))).unwrap())
    }

    /// Names have a digest of the registry's address in them, which is another one each time: so things are counted.
    fn left(&self) -> Value {
        let effects = self.world.cloud.effects();
        let count = |kind: &str| effects[kind].as_object().unwrap().len();
        let endpoints: Vec<_> = effects["endpoints"].as_object().unwrap().values().map(|one| &one["status"]).collect();
        json!({
            "models": count("models"), "configurations": count("configs"), "repositories": count("repositories"),
            "tags": count("tags"), "endpoints": endpoints,
        })
    }

    fn effects(&self) -> Vec<String> {
        self.world.changes(self.from)
    }

    /// Sending to a registry goes on where it was cut, and a login that is not taken is asked for anew.
    fn looks_again(&self, call: &Seen) -> bool {
        let noted = self.world.run.notes.lock().unwrap().get("unseen").is_some_and(|note| !note.is_null());
        noted && !call.changes
    }

    fn gets_over(&self, _: Step, trouble: Trouble, call: &Seen, _: &[String]) -> bool {
        call.what.contains(" /registry/") && trouble != Trouble::Unprocessable
    }
}
