//! Static API nodes: one, whose folder of packages is shared.

use std::time::Duration;

use engine::failure::StepResult;
use sandbox::Call;
use serde_json::{Value, json};
use targets::spec::{Authorization, SecretRef};

use super::{Armed, Bench, Scene, Seen, Trouble, any, seen, took_effect};
use crate::{
    api_static::world::{World, world},
    support::Step,
};

pub(super) struct StaticNodes(World);

/// Whether a call may have an effect. What callers of the service say has none; the node is asked so, too, for what it answers them.
fn changes(call: &Call) -> bool {
    call.method != "GET" && !call.path.starts_with("/public/")
}

impl Bench for StaticNodes {
    async fn new(scene: Scene) -> Self {
        let mut world = world().await;
        if scene == Scene::Second {
            world.update().await;
            world.new_run();
            world.take(&[("v2", 0.5), ("v3", 0.5)]).await;
            let keys = vec![SecretRef { id: "caller".into() }];
            world.service().authorization = Some(Authorization::ApiKeys { keys });
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
        json!({"services": self.0.on_node(), "scratch": self.0.scratch()})
    }

    fn effects(&self) -> Vec<String> {
        took_effect(self.0.node.calls(), changes)
    }

    /// Nothing was there before: what a first update did stands.
    fn calls_nobody(scene: Scene, step: Step) -> bool {
        (scene, step) == (Scene::First, Step::Restore)
    }

    /// Of what a caller is answered, and of a node that says it is not alive.
    fn own_codes(&self, trouble: Trouble) -> &'static [&'static str] {
        match trouble {
            Trouble::TooMany => &["SERVICE_NOT_ANSWERING"],
            Trouble::Unavailable => &["API_NODE_NOT_ALIVE", "SERVICE_NOT_ANSWERING"],
            Trouble::Unauthorized | Trouble::Unprocessable => &["SERVICE_AUTH_DIFFERS"],
            _ => &[],
        }
    }

    /// What a query is answered is what there is to see; what can't be seen is warned of.
    fn gets_over(&self, _: Step, _: Trouble, call: &Seen, _: &[String]) -> bool {
        call.what.contains(" /public/")
    }
}
