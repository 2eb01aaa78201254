//! Infrastructures and stages.

use async_graphql::{Context, Enum, ID, InputObject, Json, Object, SimpleObject, connection::Connection};
use deployer::{connections, infrastructures, stages};
use serde_json::Value;

use super::{
    deployment::Deployment,
    enrolment::EnrolmentToken,
    enums::{Level, StageKind},
    hook::{Hook, HookCounts},
    node::all,
    platform::{PlatformConnection, TargetType},
    settings::InfrastructureSettings,
};
use crate::{
    error::Result,
    loaders::{DeploymentsOn, EnrolmentTokensOf, HookCountsOf, HooksOf, PermissionsOf},
    page,
    scalars::{DateTime, Long},
    session::Asked,
};

/// A step on the way to production, such as Development, Test or Production. Each infrastructure belongs to one.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct Stage {
    /// Unique within its list.
    id: ID,
    /// The list that it belongs to.
    kind: StageKind,
    /// What it is for.
    description: String,
}

impl From<stages::Stage> for Stage {
    fn from(stage: stages::Stage) -> Self {
        Self { id: ID(stage.id), kind: stage.kind.into(), description: stage.description }
    }
}

/// A place to deploy to: one platform, one stage. Without the right to view it, it is not there.
pub(crate) struct Infrastructure(infrastructures::Infrastructure);

impl From<infrastructures::Infrastructure> for Infrastructure {
    fn from(one: infrastructures::Infrastructure) -> Self {
        Self(one)
    }
}

/// One of several nodes behind an infrastructure.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct InfrastructureNode {
    /// Unique within the infrastructure.
    name: String,
    /// Where Slipway reaches it.
    url: String,
    /// What people open in a browser.
    external_url: String,
    /// Whether a fleet manages it: then all of this is read-only by hand.
    managed: bool,
    /// Whether its key was entered; null unless you administer the infrastructure. The key itself is for nobody.
    has_admin_key: Option<bool>,
    /// Accept any certificate of it; null unless you administer the infrastructure.
    trust_all_certificates: Option<bool>,
    /// Where it sends its audit events; null unless you administer the infrastructure.
    auditing: Option<Json<Value>>,
    /// Where it sends its logs; null unless you administer the infrastructure.
    logging: Option<Json<Value>>,
}

impl InfrastructureNode {
    fn new(seen: infrastructures::SeenNode, whole: Option<infrastructures::Node>) -> Self {
        let infrastructures::SeenNode { name, url, external_url, managed, has_admin_key } = seen;
        let trust_all_certificates = whole.as_ref().map(|node| node.trust_all_certificates);
        let auditing = whole.as_ref().map(|node| Json(Value::Object(node.auditing.clone())));
        let logging = whole.map(|node| Json(Value::Object(node.logging)));
        Self { name, url, external_url, managed, has_admin_key, trust_all_certificates, auditing, logging }
    }
}

/// A group's level on an infrastructure.
#[derive(Clone, Debug, SimpleObject, InputObject)]
#[graphql(input_name = "InfrastructurePermissionInput")]
pub(crate) struct InfrastructurePermission {
    /// The group.
    group: String,
    /// Its level.
    level: Level,
}

impl From<infrastructures::Permission> for InfrastructurePermission {
    fn from(one: infrastructures::Permission) -> Self {
        Self { group: one.group, level: one.level.into() }
    }
}

impl From<InfrastructurePermission> for infrastructures::Permission {
    fn from(one: InfrastructurePermission) -> Self {
        Self { group: one.group, level: one.level.into() }
    }
}

/// Which infrastructures. All conditions hold together.
#[derive(Clone, Debug, Default, InputObject)]
pub(crate) struct InfrastructureFilter {
    /// In this stage.
    stage: Option<String>,
    /// In a stage that is gone.
    #[graphql(default)]
    without_stage: bool,
    /// Of this kind of platform.
    kind: Option<TargetType>,
    /// For projects, or for API services.
    half: Option<StageKind>,
    /// Part of the id, whatever the case.
    text: Option<String>,
    /// On which you have at least this level; VIEW if not given.
    at_least: Option<AtLeast>,
}

/// A level that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(name = "LevelAtLeast")]
pub(crate) enum AtLeast {
    /// View or more.
    View,
    /// Deploy or more.
    Deploy,
    /// Administer.
    Admin,
}

/// What infrastructures of a list of stages are for.
pub(crate) fn half(list: StageKind) -> targets::target::Half {
    match list {
        StageKind::Project => targets::target::Half::Project,
        StageKind::Api => targets::target::Half::Api,
    }
}

impl From<InfrastructureFilter> for infrastructures::Filter {
    fn from(filter: InfrastructureFilter) -> Self {
        let level = |level| match level {
            AtLeast::View => deployer::rights::Level::View,
            AtLeast::Deploy => deployer::rights::Level::Deploy,
            AtLeast::Admin => deployer::rights::Level::Admin,
        };
        Self {
            stage: filter.stage,
            without_stage: filter.without_stage,
            kind: filter.kind.map(Into::into),
            half: filter.half.map(half),
            text: filter.text,
            at_least: filter.at_least.map(level),
        }
    }
}

/// A place to deploy to: one platform, one stage. Without the right to view it, it is not there.
#[Object]
impl Infrastructure {
    /// Unique, for good.
    async fn id(&self) -> ID {
        ID(self.0.id.clone())
    }

    /// The kind of platform, such as `AUTOMATION_NODE`.
    async fn kind(&self) -> &str {
        &self.0.kind
    }

    /// The id of its stage; may name one that is gone.
    async fn stage(&self) -> &str {
        &self.0.stage
    }

    /// Whether its stage is in the list of stages. If not (a restored backup, an import), show it under "no stage".
    async fn stage_exists(&self) -> bool {
        self.0.stage_exists
    }

    /// Where Slipway reaches the node; null until somebody enters it.
    async fn node_url(&self) -> Option<&str> {
        Some(self.0.node_url.as_str()).filter(|url| !url.is_empty())
    }

    /// What people open in a browser; null until somebody enters it, or the node URL.
    async fn external_url(&self) -> Option<&str> {
        Some(self.0.external_url.as_str()).filter(|url| !url.is_empty())
    }

    /// Whether several nodes stand behind each deployment.
    async fn multi_node(&self) -> bool {
        self.0.multi_node
    }

    /// The nodes of a multi-node infrastructure, in the order in which they are activated; empty when there is one.
    async fn nodes(&self) -> Vec<InfrastructureNode> {
        let settings = self.0.settings.as_ref();
        let whole = |name: &str| settings?.nodes.iter().find(|node| node.name == name).cloned();
        self.0.nodes.iter().map(|node| InfrastructureNode::new(node.clone(), whole(&node.name))).collect()
    }

    /// Whether a fleet manages the only node: then its connection, auditing and logging are read-only by hand.
    async fn managed(&self) -> bool {
        self.0.managed
    }

    /// What you may do here.
    async fn level(&self) -> Level {
        self.0.level.into()
    }

    /// Counts changes of settings, rights and hooks: editors name the one that they saw.
    async fn version(&self) -> Long {
        self.0.version.into()
    }

    /// When it was made.
    async fn created_at(&self) -> DateTime {
        self.0.created_at.into()
    }

    /// Who made it: a login.
    async fn created_by(&self) -> &str {
        &self.0.created_by
    }

    /// When it was last changed.
    async fn updated_at(&self) -> DateTime {
        self.0.updated_at.into()
    }

    /// Who last changed it: a login.
    async fn updated_by(&self) -> &str {
        &self.0.updated_by
    }

    /// The connection that it reaches its platform with; null if it has none, or if you may not see it.
    async fn connection(&self, ctx: &Context<'_>) -> Result<Option<PlatformConnection>> {
        let Some(id) = self.0.settings.as_ref().and_then(|settings| settings.connection.clone()) else {
            return Ok(None);
        };
        let session = ctx.session()?;
        Ok(connections::get(&session.deployer, &session.viewer(), &id).await?.map(Into::into))
    }

    /// Its settings; null unless you administer it.
    async fn settings(&self) -> Option<InfrastructureSettings> {
        self.0.settings.clone().map(Into::into)
    }

    /// Whether a key of the node was entered; null unless you administer it. The key itself is for nobody.
    async fn has_admin_key(&self) -> Option<bool> {
        self.0.has_admin_key
    }

    /// Whether a key of the governance source was entered; null unless you administer it. The key itself is for nobody.
    async fn has_governance_key(&self) -> Option<bool> {
        self.0.has_governance_key
    }

    /// What groups may do; null unless you administer it.
    async fn permissions(&self, ctx: &Context<'_>) -> Result<Option<Vec<InfrastructurePermission>>> {
        Ok(ctx.loader()?.load_one(PermissionsOf(self.0.id.clone())).await?.map(all))
    }

    /// One-time tokens with which nodes register themselves, newest first, used and expired ones, too; null unless you administer it.
    async fn enrolment_tokens(&self, ctx: &Context<'_>) -> Result<Option<Vec<EnrolmentToken>>> {
        Ok(ctx.loader()?.load_one(EnrolmentTokensOf(self.0.id.clone())).await?.map(all))
    }

    /// Its hooks, PRE before POST, in order; null unless you administer it.
    async fn hooks(&self, ctx: &Context<'_>) -> Result<Option<Vec<Hook>>> {
        if self.0.level < deployer::rights::Level::Admin {
            return Ok(None);
        }
        Ok(Some(ctx.loader()?.load_one(HooksOf(self.0.id.clone())).await?.map(all).unwrap_or_default()))
    }

    /// How many enabled hooks it has.
    async fn hook_counts(&self, ctx: &Context<'_>) -> Result<HookCounts> {
        Ok(ctx.loader()?.load_one(HookCountsOf(self.0.id.clone())).await?.map(Into::into).unwrap_or_default())
    }

    /// The deployments on it that you may see, by id.
    #[graphql(complexity = "page::cost(first, child_complexity)")]
    async fn deployments(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many, 1 to 100; 50 if not given.")] first: Option<i32>,
        #[graphql(desc = "The endCursor of the page before.")] after: Option<String>,
    ) -> Result<Connection<String, Deployment>> {
        let page = page::page(first, after.as_deref())?;
        Ok(page::nested(&page, ctx.loader()?.load_one(DeploymentsOn(self.0.id.clone(), page.clone())).await?))
    }
}
