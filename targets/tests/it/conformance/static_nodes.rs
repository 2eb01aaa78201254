//! Static API nodes: one, whose folder of packages is shared.

use std::time::Duration;

use engine::failure::StepResult;
use sandbox::Call;
use serde_json::{Value, json};
use targets::spec::{Authorization, SecretRef};

use super::{Armed, Bench, Scene, Seen, Trouble, any, automation::took_effect};
use crate::{
    api_static::world::{World, world},
    support::Step,
};

pub(super) struct StaticNodes(World);

/// What callers of the service say; the node is asked so, too, for what it answers them.
fn is_query(call: &Call) -> bool {
    call.path.starts_with("/public/")
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
        let seen = |call: Call| Seen {
            door: 0,
            what: format!("{} {}", call.method, call.path),
            changes: call.method != "GET" && !is_query(&call),
        };
        self.0.node.calls().into_iter().map(seen).collect()
    }

    fn arm(&self, _: usize, after: usize, trouble: Trouble) -> Box<dyn Armed + '_> {
        Box::new(self.0.node.arm(any(after, trouble.kind(|_| None))).unwrap())
    }

    fn left(&self) -> Value {
        json!({"services": self.0.on_node(), "scratch": self.0.scratch()})
    }

    fn effects(&self) -> Vec<String> {
        let calls = self.0.node.calls().into_iter();
        let effects = calls.filter(|call| call.method != "GET" && !is_query(call) && took_effect(call));
        effects.map(|call| format!("{} {}", call.method, call.path)).collect()
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
