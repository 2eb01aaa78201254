//! Stages, pools and workers: what global administrators arrange for everybody.

use async_graphql::{Context, ID, Object, SimpleObject};
use deployer::{audit, error::Error, pools, stages, workers};

use super::payload;
use crate::{
    error::{Refusal, Result, settle},
    session::Asked,
    types::{enums::StageKind, infrastructure::Stage, node::all, pool::Pool, worker::Worker},
};

/// The answer of each change of the stages.
#[derive(SimpleObject)]
pub(crate) struct StagesPayload {
    /// The list as it is now, in order; null if refused.
    stages: Option<Vec<Stage>>,
    /// Why nothing was done; empty if it was.
    refusals: Vec<Refusal>,
}

impl StagesPayload {
    fn of(answer: deployer::error::Result<Vec<stages::Stage>>) -> Result<Self> {
        let (list, refusals) = settle::<_, Vec<stages::Stage>>(answer)?;
        Ok(Self { stages: list.map(all), refusals })
    }
}

payload!(
    /// The answer of `setHookLimit`.
    SetHookLimitPayload {
        /// The pool as it is now; null if refused.
        pool: Pool
    }
);

payload!(
    /// The answer of `drainWorker`.
    DrainWorkerPayload {
        /// The worker as it is now; null if refused.
        worker: Worker
    }
);

#[derive(Default)]
pub(super) struct Places;

#[Object]
impl Places {
    /// Adds a stage at the end of a list. Global administrators alone.
    async fn create_stage(
        &self,
        ctx: &Context<'_>,
        #[graphql(default_with = "StageKind::Project", desc = "Which list.")] kind: StageKind,
        #[graphql(desc = "Unique within the list.")] id: ID,
        #[graphql(default, desc = "What it is for.")] description: String,
    ) -> Result<StagesPayload> {
        let session = ctx.session()?;
        StagesPayload::of(stages::create(&session.deployer, &session.viewer(), kind.into(), &id, &description).await)
    }

    /// Renames or describes a stage; its infrastructures go along. Global administrators alone.
    async fn update_stage(
        &self,
        ctx: &Context<'_>,
        #[graphql(default_with = "StageKind::Project", desc = "Which list.")] kind: StageKind,
        #[graphql(desc = "Which stage.")] id: ID,
        #[graphql(desc = "Its new id.")] new_id: Option<ID>,
        #[graphql(desc = "What it is for.")] description: Option<String>,
    ) -> Result<StagesPayload> {
        let session = ctx.session()?;
        let patch = stages::StagePatch { id: new_id.map(|id| id.0), description };
        StagesPayload::of(stages::update(&session.deployer, &session.viewer(), kind.into(), &id, patch).await)
    }

    /// Puts the stages of a list into another order. Global administrators alone.
    async fn reorder_stages(
        &self,
        ctx: &Context<'_>,
        #[graphql(default_with = "StageKind::Project", desc = "Which list.")] kind: StageKind,
        #[graphql(desc = "All ids of the list, in the new order.")] ids: Vec<ID>,
    ) -> Result<StagesPayload> {
        let session = ctx.session()?;
        let ids: Vec<String> = ids.into_iter().map(|id| id.0).collect();
        StagesPayload::of(stages::reorder(&session.deployer, &session.viewer(), kind.into(), &ids).await)
    }

    /// Deletes a stage that no infrastructure belongs to. Global administrators alone.
    async fn delete_stage(
        &self,
        ctx: &Context<'_>,
        #[graphql(default_with = "StageKind::Project", desc = "Which list.")] kind: StageKind,
        #[graphql(desc = "Which stage.")] id: ID,
    ) -> Result<StagesPayload> {
        let session = ctx.session()?;
        StagesPayload::of(stages::delete(&session.deployer, &session.viewer(), kind.into(), &id).await)
    }

    /// Changes how many hooks run at once, over all workers. Lowering it ends nothing. Global administrators alone.
    async fn set_hook_limit(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Slots at once, at least 1.")] limit: i32,
    ) -> Result<SetHookLimitPayload> {
        let session = ctx.session()?;
        SetHookLimitPayload::of(pools::set_limit(&session.deployer, &session.viewer(), pools::HOOKS, limit).await)
    }

    /// Asks a worker to drain, as SIGTERM does: it takes nothing new, steps under way get the drain time, then its updates go to others and its
    /// process ends. Global administrators alone.
    async fn drain_worker(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The worker's id.")] id: ID,
    ) -> Result<DrainWorkerPayload> {
        let session = ctx.session()?;
        let answer = match id.parse() {
            Ok(id) => workers::drain(&session.deployer, &session.viewer(), id).await,
            Err(_) => {
                let object = audit::Object::new(audit::ObjectKind::Worker, &id);
                let (deployer, refused) = (&session.deployer, Error::not_found("id"));
                Err(audit::refuse(deployer, &session.viewer(), "drainWorker", object, refused).await)
            }
        };
        DrainWorkerPayload::of(answer)
    }
}
