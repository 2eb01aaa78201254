//! What became of each of several nodes in an update.

use engine::{
    journal::{Phase, State, StepState, Then},
    plan::PlannedStep,
};
use targets::target::Receipt;

use super::steps::Trouble;
use crate::freeze::{RESTORE, VERIFY};

/// One of several nodes, in one update.
#[derive(Clone, Debug, PartialEq)]
pub struct UpdatedNode {
    /// Its name.
    pub name: String,
    /// What became of it.
    pub status: NodeStatus,
    /// The step that it is at, or at which it failed.
    pub step: Option<String>,
    /// Why it failed.
    pub failure: Option<Trouble>,
    /// What is on it, as the last look found it.
    pub receipt: Option<Receipt>,
}

/// What became of a node in an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NodeStatus {
    /// Its turn has not come.
    Pending,
    /// It is being changed, or looked at.
    Updating,
    /// It is as the update was to make it.
    Done,
    /// It failed; it may be between two states.
    Failed,
    /// What was active before was put back.
    Restored,
    /// The update ended before its turn: what was active before still is.
    Untouched,
}

/// What the last looks at the nodes found, by name, in the plan's order: of the restore where one put something back, else of the verification.
pub(crate) fn receipts(state: &State) -> Vec<(Option<String>, Receipt)> {
    let steps = || state.spec.plan.steps.iter().zip(&state.steps);
    let mut found: Vec<(Option<String>, Receipt)> = Vec::new();
    for kind in [VERIFY, RESTORE] {
        for (planned, step) in steps().filter(|(planned, _)| planned.kind == kind) {
            let Some(output) = step.output.clone().filter(|output| !output.is_null()) else { continue };
            let receipt: Receipt = match serde_json::from_value(output) {
                Ok(receipt) => receipt,
                Err(error) => {
                    tracing::warn!(%error, kind, "a receipt of another version cannot be shown");
                    continue;
                }
            };
            match found.iter_mut().find(|(name, _)| *name == planned.lane) {
                Some((_, before)) => *before = receipt,
                None => found.push((planned.lane.clone(), receipt)),
            }
        }
    }
    found
}

/// Each of several nodes, in the order in which they are activated.
pub(super) fn render(state: &State, admin: bool) -> Vec<UpdatedNode> {
    let mut receipts = receipts(state);
    let mut take = |name: &str| {
        let at = receipts.iter().position(|(of, _)| of.as_deref() == Some(name))?;
        Some(receipts.swap_remove(at).1)
    };
    let mut names: Vec<&str> = Vec::new();
    for name in state.spec.plan.steps.iter().filter_map(|planned| planned.lane.as_deref()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.into_iter().map(|name| one(state, name, take(name), admin)).collect()
}

fn one(state: &State, name: &str, receipt: Option<Receipt>, admin: bool) -> UpdatedNode {
    let steps = || {
        let all = state.spec.plan.steps.iter().zip(&state.steps).enumerate();
        all.filter(|(_, (planned, _))| planned.lane.as_deref() == Some(name))
    };
    let forward = || steps().filter(|(_, (planned, _))| !planned.only_after_failure);
    let gave_up = |(_, (planned, step)): (usize, (&'_ PlannedStep, &StepState))| {
        let last = step.attempts.last().filter(|attempt| matches!(attempt.then, Some(Then::Stop | Then::Warn)))?;
        Some((planned.name.clone(), last.failure.clone()?))
    };
    let not_put_back = steps().filter(|(_, (planned, _))| planned.only_after_failure).find_map(gave_up);
    // What was read back before that is no longer so.
    let receipt = receipt.filter(|_| not_put_back.is_none());
    let is_broken = not_put_back.is_some();
    let given_up = not_put_back.or_else(|| forward().find_map(gave_up));
    let restored = steps().any(|(_, (planned, step))| {
        planned.only_after_failure && step.output.as_ref().is_some_and(|output| !output.is_null())
    });
    let changes = |(_, (planned, step)): &(usize, (&PlannedStep, &StepState))| {
        (planned.restorable || matches!(planned.kind.as_str(), "switch_off" | "delete_project"))
            && !step.attempts.is_empty()
    };
    let now = match state.phase {
        Phase::In { step } => steps().find(|(index, _)| *index == step).map(|(_, (planned, _))| planned.name.clone()),
        _ => None,
    };
    let goes_on = !matches!(state.phase, Phase::Ended { .. } | Phase::Stuck);
    let status = if now.is_some() {
        NodeStatus::Updating
    } else if restored && !is_broken {
        NodeStatus::Restored
    } else if given_up.is_some() {
        NodeStatus::Failed
    } else if forward().all(|(_, (_, step))| step.is_over()) {
        NodeStatus::Done
    } else if goes_on {
        NodeStatus::Pending
    } else if forward().any(|step| changes(&step)) {
        NodeStatus::Failed
    } else {
        NodeStatus::Untouched
    };
    UpdatedNode {
        name: name.to_owned(),
        status,
        step: now.or_else(|| given_up.as_ref().map(|(step, _)| step.clone())),
        failure: given_up.map(|(_, failure)| Trouble::of(&failure, admin)),
        receipt,
    }
}
