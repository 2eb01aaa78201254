//! An Automation node.

use std::time::Duration;

use engine::failure::StepResult;
use sandbox::{BundleSpec, Call};
use serde_json::{Value, json};

use super::{Armed, Bench, Scene, Seen, Trouble, any};
use crate::support::{Step, World, remap, world};

pub(super) struct Automation(World);

/// A call of a practice node, whose faults without an effect have these names.
pub(super) fn took_effect(call: &Call) -> bool {
    let kept = ["RESET", "STATUS"];
    call.status.is_none_or(|status| status < 400) && call.fault.as_deref().is_none_or(|fault| !kept.contains(&fault))
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
        let seen = |call: Call| Seen {
            door: 0,
            what: format!("{} {}", call.method, call.path),
            changes: call.method != "GET",
        };
        self.0.node.calls().into_iter().map(seen).collect()
    }

    fn arm(&self, _: usize, after: usize, trouble: Trouble) -> Box<dyn Armed + '_> {
        Box::new(self.0.node.arm(any(after, trouble.kind(|_| None))).unwrap())
    }

    fn left(&self) -> Value {
        self.0.node.snapshot()
    }

    fn effects(&self) -> Vec<String> {
        let calls = self.0.node.calls().into_iter();
        let effects = calls.filter(|call| call.method != "GET" && took_effect(call));
        effects.map(|call| format!("{} {}", call.method, call.path)).collect()
    }

    /// The node does not show what it has preloaded: so that is done again, and twice is as once.
    fn forgive(&self, _: Step, trouble: Trouble, call: &Seen, _: &mut Value, effects: &mut Vec<String>) {
        if matches!(trouble, Trouble::AnswerLost | Trouble::Crash) && call.what.ends_with("/actions/preload") {
            effects.retain(|effect| *effect != call.what);
        }
    }
}
