//! How a deployment is: health, drift, test scenarios.

use async_graphql::{ID, SimpleObject};
use deployer::{drift, status, testing};
use targets::on_node;

use super::{
    enums::{Health, Severity},
    node::{Difference, all},
    step::Failure,
};
use crate::scalars::{DateTime, Long};

/// How a deployment is. Its node is asked for it; answers are kept for a few seconds.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct DeploymentHealth {
    /// At a glance.
    health: Health,
    /// Why, the worst first.
    messages: Vec<HealthMessage>,
    /// How its scenarios are.
    monitoring: Monitoring,
    /// Where an API service is called; empty while nobody knows.
    urls: Vec<String>,
}

/// One thing to know about a deployment's health.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct HealthMessage {
    /// How bad it is.
    severity: Severity,
    /// A stable code (docs/HEALTH.md), or that of a failure.
    code: String,
    /// A few words.
    title: String,
    /// What is, and what to do.
    message: String,
    /// What was seen; of failures, for administrators of the infrastructure alone.
    details: Option<String>,
}

/// The scenarios of a deployed project: names by how their last run ended.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct Monitoring {
    /// It has any.
    has_scenarios: bool,
    /// The triggers of any are on.
    has_active_scenarios: bool,
    /// Those that failed.
    failed: Vec<String>,
    /// Those that ended with a warning.
    warning: Vec<String>,
    /// Those that succeeded.
    successful: Vec<String>,
    /// Those that somebody stopped.
    aborted: Vec<String>,
    /// Those that run now.
    running: Vec<String>,
}

impl From<status::Heavy> for DeploymentHealth {
    fn from(heavy: status::Heavy) -> Self {
        let status::Monitoring { has_scenarios, has_active_scenarios, failed, warning, successful, aborted, running } =
            heavy.monitoring;
        Self {
            health: heavy.health.into(),
            messages: all(heavy.messages),
            monitoring: Monitoring {
                has_scenarios,
                has_active_scenarios,
                failed,
                warning,
                successful,
                aborted,
                running,
            },
            urls: heavy.urls.into_iter().map(|(_, url)| url).collect(),
        }
    }
}

impl From<status::Message> for HealthMessage {
    fn from(one: status::Message) -> Self {
        let status::Message { severity, code, title, message, details } = one;
        Self { severity: severity.into(), code, title, message, details }
    }
}

/// What is otherwise on the node than the last successful update left it.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct Drift {
    /// When the node was compared.
    checked_at: DateTime,
    /// The id of the update that it was compared with.
    update_id: ID,
    /// What is otherwise: `wanted` is as the update left it. Empty is well, unless the comparison failed.
    differences: Vec<Difference>,
    /// Why the node could not be compared.
    failure: Option<Failure>,
}

impl From<drift::Drift> for Drift {
    fn from(drift: drift::Drift) -> Self {
        Self {
            checked_at: drift.checked_at.into(),
            update_id: ID(drift.update.to_string()),
            differences: all(drift.differences),
            failure: drift.failure.map(Into::into),
        }
    }
}

/// How the test scenarios of a deployed project ended.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct TestingStatus {
    /// How many ran.
    nb_total_ran_scenarios: Long,
    /// How many by outcome.
    nb_scenarios_per_outcome: Vec<OutcomeCount>,
    /// Of a request that runs them: the names of those that had not ended when it did. They go on at the node.
    unfinished: Vec<String>,
}

/// So many test scenarios ended so.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct OutcomeCount {
    /// In the node's words: SUCCESS, WARNING, FAILED, ABORTED.
    outcome: String,
    /// How many.
    count: Long,
}

impl From<on_node::TestRun> for TestingStatus {
    fn from(run: on_node::TestRun) -> Self {
        let count = |(outcome, count): (String, u64)| OutcomeCount { outcome, count: count.into() };
        Self {
            nb_total_ran_scenarios: run.status.ran.into(),
            nb_scenarios_per_outcome: run.status.per_outcome.into_iter().map(count).collect(),
            unfinished: run.unfinished,
        }
    }
}

impl From<on_node::TestingStatus> for TestingStatus {
    fn from(status: on_node::TestingStatus) -> Self {
        on_node::TestRun { status, unfinished: Vec::new() }.into()
    }
}

/// What the node said of test scenarios.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct Testing {
    /// How they ended; null if the node could not be asked.
    status: Option<TestingStatus>,
    /// Why the node could not be asked.
    failure: Option<Failure>,
}

impl<T: Into<TestingStatus>> From<testing::Told<T>> for Testing {
    fn from(told: testing::Told<T>) -> Self {
        match told {
            testing::Told::Found(found) => Self { status: Some(found.into()), failure: None },
            testing::Told::Failed(trouble) => Self { status: None, failure: Some(trouble.into()) },
        }
    }
}
