//! An Automation node.

use std::time::Duration;

use engine::failure::StepResult;
use sandbox::{BundleSpec, Call};
use serde_json::{Value, json};

use super::{Armed, Bench, Scene, Seen, Trouble, any, seen, took_effect};
use crate::support::{Step, World, remap, world};

pub(super) struct Automation(World);

/// Whether a call may have an effect.
fn changes(call: &Call) -> bool {
    call.method != "GET"
}

impl Bench for Automation {
    async fn new(scene: Scene) -> Self {
        let mut world = world().await;
        if scene == Scene::Second {
            world.update().await;
            world.new_run();
            world.take(&BundleSpec::new("CHURN", "v2")).await;
            world.node.set_connection("sql-prod2", "PostgreSQL");
            world.spec.connection_remapping = vec![remap("sql-dev", "sql-prod2"), remap("files-dev", "files-prod")];
            world.spec.local_variables = Some(json!({"env": "other"}).as_object().unwrap().clone());
            world.spec.scenarios = [("DAILY".to_owned(), false)].into();
        }
        world.node.clear_calls();
        Self(world)
    }

    fn next_run(&mut self) {
        self.0.new_run();
    }

    async fn attempt(&self, step: Step) -> StepResult {
        self.0.attempt(step).await
    }

    fn pass(&self, time: Duration) {
        self.0.run.advance(time);
    }

    fn calls(&self) -> Vec<Seen> {
        seen(self.0.node.calls(), changes)
    }

    fn arm(&self, _: usize, after: usize, trouble: Trouble) -> Box<dyn Armed + '_> {
        Box::new(self.0.node.arm(any(after, trouble.kind(|_| None))).unwrap())
    }

    fn left(&self) -> Value {
        self.0.node.snapshot()
    }

    fn effects(&self) -> Vec<String> {
        took_effect(self.0.node.calls(), changes)
    }

    /// Nothing was there before: what stands is made safe as far as the node lets us, and what is left off is named.
    fn gets_over(&self, step: Step, trouble: Trouble, _: &Seen, warnings: &[String]) -> bool {
        step == Step::Restore
            && matches!(trouble, Trouble::Unauthorized | Trouble::Unprocessable)
            && warnings.iter().any(|warning| {
                warning.starts_with("Nothing was active before this update") && warning.contains("Left off")
            })
    }

    /// The node does not show what it has preloaded: so that is done again, and twice is as once.
    fn forgive(&self, _: Step, trouble: Trouble, call: &Seen, _: &mut Value, effects: &mut Vec<String>) {
        if matches!(trouble, Trouble::AnswerLost | Trouble::Crash) && call.what.ends_with("/actions/preload") {
            effects.retain(|effect| *effect != call.what);
        }
    }
}
