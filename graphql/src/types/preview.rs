//! Previews.

use async_graphql::SimpleObject;
use deployer::preview;
use targets::target;

use super::{
    hook::HookCounts,
    node::{ConnectionOnNode, Difference, all},
    step::Failure,
};

/// What an update would change, found without changing anything.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct UpdatePreview {
    /// What was found on the node, the first one where there are several; null if it could not be asked.
    found: Option<Preview>,
    /// Why it could not be asked: what an update would fail with.
    failure: Option<Failure>,
    /// The same of each of several nodes; empty when there is one.
    nodes: Vec<PreviewedNode>,
    /// How many hooks would run.
    hooks: HookCounts,
    /// Their names, in order; null unless you administer the infrastructure.
    hook_names: Option<Vec<PreviewedHook>>,
    /// The login on the node as whom changes would be made.
    acting_user: String,
}

/// What an update would change on one of several nodes.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct PreviewedNode {
    /// The node.
    name: String,
    /// What was found there; null if it could not be asked.
    found: Option<Preview>,
    /// Why it could not be asked: what an update would fail with.
    failure: Option<Failure>,
}

/// A hook that would run.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct PreviewedHook {
    /// The step, such as `pre_hooks/1`.
    step: String,
    /// The hook's name.
    name: String,
}

/// What would change on the node.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct Preview {
    /// The bundle that is active now; null when the project is not there, or has none.
    active_bundle: Option<String>,
    /// The bundle that would be active.
    bundle: String,
    /// Whether the project would be created.
    creates_project: bool,
    /// Each connection of the bundle, and what becomes of it.
    connections: Vec<ConnectionOnNode>,
    /// Each code env of the bundle, and what becomes of it.
    code_envs: Vec<CodeEnvOnNode>,
    /// Remappings, and the import of code envs, that would change.
    remapping: Vec<Difference>,
    /// Run-as users that would change.
    run_as: Vec<Difference>,
    /// Scenario switches that would change.
    scenarios: Vec<Difference>,
    /// What else would change: of an API service, all of it.
    changes: Vec<Difference>,
    /// What would stop the update.
    problems: Vec<Problem>,
}

/// A code env of the bundle.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct CodeEnvOnNode {
    /// Its name in the bundle.
    source: String,
    /// Its name on the node.
    target: String,
    /// Whether the node has it; null if it was not asked, because a node makes what it lacks.
    found: Option<bool>,
}

impl From<target::CodeEnvPreview> for CodeEnvOnNode {
    fn from(env: target::CodeEnvPreview) -> Self {
        Self { source: env.source, target: env.target, found: env.found }
    }
}

/// Something that would stop an update.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct Problem {
    /// A failure code, such as `CONNECTION_MISSING`.
    code: String,
    /// What is wrong.
    message: String,
}

impl From<target::Problem> for Problem {
    fn from(problem: target::Problem) -> Self {
        Self { code: problem.code, message: problem.message }
    }
}

impl From<target::Preview> for Preview {
    fn from(preview: target::Preview) -> Self {
        Self {
            active_bundle: preview.active_bundle,
            bundle: preview.bundle,
            creates_project: preview.creates_project,
            connections: all(preview.connections),
            code_envs: all(preview.code_envs),
            remapping: all(preview.remapping),
            run_as: all(preview.run_as),
            scenarios: all(preview.scenarios),
            changes: all(preview.changes),
            problems: all(preview.problems),
        }
    }
}

impl From<preview::UpdatePreview> for UpdatePreview {
    fn from(preview: preview::UpdatePreview) -> Self {
        let told = |outcome| match outcome {
            preview::PreviewOutcome::Found(found) => (Some(found.into()), None),
            preview::PreviewOutcome::Failed(trouble) => (None, Some(trouble.into())),
        };
        let (found, failure) = told(preview.outcome);
        let nodes = preview.nodes.into_iter().map(|(name, outcome)| {
            let (found, failure) = told(outcome);
            PreviewedNode { name, found, failure }
        });
        let named = |(step, name)| PreviewedHook { step, name };
        Self {
            found,
            failure,
            nodes: nodes.collect(),
            hooks: preview.hooks.into(),
            hook_names: preview.hook_names.map(|names| names.into_iter().map(named).collect()),
            acting_user: preview.acting_user,
        }
    }
}
