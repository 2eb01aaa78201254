//! Who does the steps of a run. `Steps` is the real one; a simulation scripts its own.

use std::ops::RangeInclusive;

use async_trait::async_trait;
use deployer::drift::Swept;
use engine::{
    failure::StepResult,
    plan::{PLAN_VERSION, PlannedStep},
    slots::{Demand, Slots},
};
use tokio_util::sync::CancellationToken;

use crate::{context::Context, held::Lost};

/// Whoever does steps in this process.
#[async_trait]
pub trait Doer: Send + Sync + 'static {
    /// One attempt at a step that needs no slot. May be dropped at any await.
    async fn perform(&self, context: &Context, planned: &PlannedStep) -> StepResult;

    /// One attempt at a hook, whose slot is held. Returns when no process of it is left: after its own end, when `stop` fires, or when the lease
    /// is over.
    async fn hook(
        &self,
        context: &Context,
        planned: &PlannedStep,
        slots: &Slots,
        demand: &Demand,
        stop: CancellationToken,
    ) -> StepResult;

    /// When a run stops for good and leaves the node as it is: nothing that is off because of us stays off unsaid. Answers that sentence.
    async fn leave_safe(&self, context: &Context) -> Result<Option<String>, Lost>;

    /// A call whose end nobody knows may be going on at the node.
    fn is_in_flight(&self, context: &Context) -> bool;

    /// What of a step's needs this worker lacks, in an operator's words; None when it can do it.
    fn lacks(&self, planned: &PlannedStep) -> Option<String>;

    /// The versions of plans that this worker knows. Runs of others are left to those who do.
    fn plan_versions(&self) -> RangeInclusive<u32> {
        1..=PLAN_VERSION
    }

    /// Whether it [tends](Self::tend) what is not a run.
    fn tends(&self) -> bool {
        false
    }

    /// Does what is due for the whole fleet beside runs: looks for drift, removes deployments whose deletion has done its work. Nothing waits for it.
    async fn tend(&self) -> Swept {
        Swept::default()
    }

    /// Forgets what is too old, once in a while for the whole fleet.
    async fn forget_old(&self);
}
