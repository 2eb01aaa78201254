//! Infrastructures and their hooks.

use async_graphql::{Context, ID, InputObject, MaybeUndefined, Object, SimpleObject};
use deployer::{hooks, infrastructures};
use engine::secrets::Secret;

use super::payload;
use crate::{
    error::{Refusal, Result, settle},
    scalars::Long,
    session::Asked,
    types::{
        enums::HookPhase,
        hook::{Hook, HookInput},
        infrastructure::{Infrastructure, InfrastructurePermission},
        node::{NodeReport, all},
        platform::TargetType,
        settings::{InfrastructureNodeInput, InfrastructureSettingsInput, named},
        step::Failure,
    },
};

payload!(
    /// The answer of `createInfrastructure`.
    CreateInfrastructurePayload {
        /// The new infrastructure; null if refused.
        infrastructure: Infrastructure
    }
);
payload!(
    /// The answer of `updateInfrastructure`.
    UpdateInfrastructurePayload {
        /// The changed infrastructure; null if refused.
        infrastructure: Infrastructure
    }
);
/// The answer of `setInfrastructurePermissions`.
#[derive(SimpleObject)]
pub(crate) struct SetInfrastructurePermissionsPayload {
    /// The changed infrastructure; null if refused, or if you took your own right to see it.
    infrastructure: Option<Infrastructure>,
    /// Why nothing was done; empty if it was.
    refusals: Vec<Refusal>,
}

/// The answer of `deleteInfrastructure`.
#[derive(SimpleObject)]
pub(crate) struct DeleteInfrastructurePayload {
    /// The id that is gone; null if refused.
    deleted_id: Option<ID>,
    /// Why nothing was done; empty if it was.
    refusals: Vec<Refusal>,
}

/// The answer of `checkInfrastructure`.
#[derive(SimpleObject)]
pub(crate) struct CheckInfrastructurePayload {
    /// What the node said, the first one where there are several; null if it was not asked or could not be reached.
    report: Option<NodeReport>,
    /// Why it could not be reached: what an update would fail with.
    failure: Option<Failure>,
    /// The same of each of several nodes; empty when there is one.
    nodes: Vec<CheckedNode>,
    /// Why the node was not asked; empty if it was.
    refusals: Vec<Refusal>,
}

/// What `checkInfrastructure` found at one of several nodes.
#[derive(SimpleObject)]
pub(crate) struct CheckedNode {
    /// The node.
    name: String,
    /// What it said; null if it could not be reached.
    report: Option<NodeReport>,
    /// Why it could not be reached: what an update would fail with.
    failure: Option<Failure>,
}

fn told(outcome: infrastructures::CheckOutcome) -> (Option<NodeReport>, Option<Failure>) {
    match outcome {
        infrastructures::CheckOutcome::Reached(report) => (Some(report.into()), None),
        infrastructures::CheckOutcome::Failed(failure) => (None, Some(Failure::for_admins(failure))),
    }
}

/// The answer of `setHooks`.
#[derive(SimpleObject)]
pub(crate) struct SetHooksPayload {
    /// The hooks of this phase, as they are now; null if refused.
    hooks: Option<Vec<Hook>>,
    /// Why nothing was done; empty if it was.
    refusals: Vec<Refusal>,
}

/// An infrastructure to be made.
#[derive(InputObject)]
pub(crate) struct CreateInfrastructureInput {
    /// Unique, for good: 1 to 100 characters, none of / ? # %.
    id: ID,
    /// The kind of platform behind it.
    #[graphql(default)]
    kind: TargetType,
    /// A stage of its list.
    stage: String,
    /// The node's URL, and whatever is to differ from the defaults.
    settings: InfrastructureSettingsInput,
    /// A key of an administrator of the node. Write-only: it is encrypted, and never answered again.
    #[graphql(secret)]
    admin_key: Option<String>,
    /// A key of the governance source, sent to it as a bearer token. Write-only.
    #[graphql(secret)]
    governance_key: Option<String>,
    /// The nodes of a multi-node infrastructure, in the order in which they are activated.
    #[graphql(default)]
    nodes: Vec<InfrastructureNodeInput>,
    /// What groups may do.
    #[graphql(default)]
    permissions: Vec<InfrastructurePermission>,
}

/// A change of an infrastructure. What is not given is left as it is.
#[derive(InputObject)]
pub(crate) struct UpdateInfrastructureInput {
    /// Which.
    id: ID,
    /// The version that you saw: somebody else's change meanwhile is not overwritten, but refused with `VERSION_CONFLICT`.
    expected_version: Long,
    /// Another stage of its list.
    stage: Option<String>,
    /// Changes of the settings.
    settings: Option<InfrastructureSettingsInput>,
    /// A key of an administrator of the node; null removes it. Write-only.
    #[graphql(secret)]
    admin_key: MaybeUndefined<String>,
    /// All nodes of a multi-node infrastructure, in the order in which they are activated, in place of those before.
    nodes: Option<Vec<InfrastructureNodeInput>>,
    /// A key of the governance source; null removes it. Write-only.
    #[graphql(secret)]
    governance_key: MaybeUndefined<String>,
}

#[derive(Default)]
pub(super) struct Infrastructures;

#[Object]
impl Infrastructures {
    /// Makes an infrastructure. Global administrators alone.
    async fn create_infrastructure(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The infrastructure.")] input: CreateInfrastructureInput,
    ) -> Result<CreateInfrastructurePayload> {
        let session = ctx.session()?;
        let new = infrastructures::NewInfrastructure {
            id: input.id.0,
            kind: input.kind.into(),
            stage: input.stage,
            settings: input.settings.into(),
            admin_key: input.admin_key.map(Secret::new),
            governance_key: input.governance_key.map(Secret::new),
            nodes: all(input.nodes),
            permissions: all(input.permissions),
        };
        CreateInfrastructurePayload::of(infrastructures::create(&session.deployer, &session.viewer(), new).await)
    }

    /// Changes an infrastructure's stage, settings or key. Its administrators alone.
    async fn update_infrastructure(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The change.")] input: UpdateInfrastructureInput,
    ) -> Result<UpdateInfrastructurePayload> {
        let session = ctx.session()?;
        let patch = infrastructures::InfrastructurePatch {
            stage: input.stage,
            settings: input.settings.unwrap_or_default().into(),
            admin_key: named(input.admin_key).map(|key| key.map(Secret::new)),
            governance_key: named(input.governance_key).map(|key| key.map(Secret::new)),
            nodes: input.nodes.map(all),
            ..Default::default()
        };
        let answer =
            infrastructures::update(&session.deployer, &session.viewer(), &input.id, input.expected_version.0, patch)
                .await;
        UpdateInfrastructurePayload::of(answer)
    }

    /// Replaces the rights of all groups on an infrastructure. Its administrators alone.
    async fn set_infrastructure_permissions(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The infrastructure's id.")] id: ID,
        #[graphql(desc = "The version that you saw.")] expected_version: Long,
        #[graphql(desc = "All groups with rights, in place of those before.")] permissions: Vec<
            InfrastructurePermission,
        >,
    ) -> Result<SetInfrastructurePermissionsPayload> {
        let session = ctx.session()?;
        let permissions: Vec<infrastructures::Permission> = all(permissions);
        let answer = infrastructures::set_permissions(
            &session.deployer,
            &session.viewer(),
            &id,
            expected_version.0,
            &permissions,
        )
        .await;
        let (changed, refusals) = settle::<_, Option<infrastructures::Infrastructure>>(answer)?;
        Ok(SetInfrastructurePermissionsPayload { infrastructure: changed.flatten().map(Into::into), refusals })
    }

    /// Deletes an infrastructure that no deployment uses. Its administrators alone.
    async fn delete_infrastructure(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The infrastructure's id.")] id: ID,
    ) -> Result<DeleteInfrastructurePayload> {
        let session = ctx.session()?;
        let answer = infrastructures::delete(&session.deployer, &session.viewer(), &id).await.map(|()| id);
        let (deleted_id, refusals) = settle(answer)?;
        Ok(DeleteInfrastructurePayload { deleted_id, refusals })
    }

    /// Reaches the node with the stored key: whether it answers, whether the key is an administrator's there, and its version. Changes nothing. Its
    /// administrators alone.
    #[graphql(complexity = "crate::page::NODE_COST + child_complexity")]
    async fn check_infrastructure(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The infrastructure's id.")] id: ID,
    ) -> Result<CheckInfrastructurePayload> {
        let session = ctx.session()?;
        let answer = infrastructures::check(&session.deployer, &session.viewer(), &id).await;
        let (checked, refusals) = settle::<_, Vec<infrastructures::CheckedNode>>(answer)?;
        let checked = checked.unwrap_or_default();
        let (report, failure) = checked.first().cloned().map_or((None, None), |node| told(node.outcome));
        let nodes = checked.into_iter().filter_map(|node| {
            let (report, failure) = told(node.outcome);
            Some(CheckedNode { name: node.name?, report, failure })
        });
        Ok(CheckInfrastructurePayload { report, failure, nodes: nodes.collect(), refusals })
    }

    /// Replaces the hooks of one phase, in the order given. The infrastructure's administrators alone.
    async fn set_hooks(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The infrastructure's id.")] infrastructure_id: ID,
        #[graphql(desc = "The phase whose hooks are replaced.")] phase: HookPhase,
        #[graphql(desc = "All hooks of the phase; none removes them.")] hooks: Vec<HookInput>,
        #[graphql(desc = "The infrastructure's version that you saw.")] expected_version: Long,
    ) -> Result<SetHooksPayload> {
        let session = ctx.session()?;
        let (deployer, viewer) = (&session.deployer, session.viewer());
        let answer =
            hooks::set_hooks(deployer, &viewer, &infrastructure_id, phase.into(), all(hooks), expected_version.0).await;
        let (set, refusals) = settle::<_, Vec<hooks::Hook>>(answer)?;
        Ok(SetHooksPayload { hooks: set.map(all), refusals })
    }
}
