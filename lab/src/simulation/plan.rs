//! Plans, drawn.

use engine::{
    ids::RunId,
    journal::State,
    plan::{OnFailure, OnInterrupt, Plan, PlannedStep, SlotDemand, StepPolicy},
    retry::RetryPolicy,
    spec::{Inherited, RunSpec},
};
use serde_json::Value;

use super::chance::Chance;

/// The one pool.
pub(super) const POOL: &str = "hooks";
/// What only some workers have, and some hooks need.
pub(super) const NEEDED: &str = "code env";

fn step(chance: &mut Chance, name: &str) -> PlannedStep {
    let hook = name.contains("hooks/");
    let kind = match name {
        "push" | "activate" | "restore" => "call",
        _ if hook => "hook",
        _ => "check",
    };
    let retry = RetryPolicy { max_attempts: 3, initial_ms: 100, cap_ms: 600 };
    let post = name.starts_with("post");
    PlannedStep {
        name: name.to_owned(),
        kind: kind.to_owned(),
        policy: StepPolicy { retry: if hook { RetryPolicy::NEVER } else { retry }, deadline_ms: 4_000 },
        params: if hook && chance.percent(15) { Value::from(NEEDED) } else { Value::Null },
        restorable: matches!(name, "activate" | "verify"),
        only_after_failure: name == "restore",
        slot: hook.then(|| SlotDemand { pool: POOL.to_owned(), wait_ms: chance.one_of(&[300, 2_000, 8_000], 2_000) }),
        on_interrupt: if hook && post == chance.percent(80) { OnInterrupt::Fail } else { OnInterrupt::Rerun },
        failure_warns: post,
        lane: None,
    }
}

/// A run's spec: a few steps, of which some need a slot, some call the node.
pub(super) fn spec(chance: &mut Chance) -> RunSpec {
    let all = ["check", "pre_hooks/1", "pre_hooks/2", "push", "activate", "verify", "post_hooks/1"];
    let mut names: Vec<&str> = all.into_iter().filter(|_| chance.percent(60)).collect();
    if names.is_empty() {
        names.push("push");
    }
    let restores = chance.percent(50);
    if restores {
        names.push("restore");
    }
    let on_failure = if restores { OnFailure::Restore } else { OnFailure::Leave };
    let steps = names.into_iter().map(|name| step(chance, name)).collect();
    let plan = Plan::new(steps, on_failure);
    RunSpec { plan, requester: "ada".to_owned(), body: Value::Null, inherited: None }
}

/// The spec of a run that retries this one: outputs of hooks before the deployment are inherited, and what was noted.
pub(super) fn retry(from: RunId, state: &State) -> RunSpec {
    let hooks = state.spec.plan.steps.iter().zip(&state.steps).filter(|(planned, _)| planned.name.starts_with("pre"));
    let steps = hooks.filter_map(|(planned, step)| Some((planned.name.clone(), step.output.clone()?))).collect();
    let inherited = Some(Inherited { from, steps, notes: state.notes.clone() });
    let body = Value::from(state.spec.body.as_i64().unwrap_or(from.0));
    RunSpec { body, inherited, ..(*state.spec).clone() }
}
