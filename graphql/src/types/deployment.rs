//! Deployments.

use std::collections::BTreeMap;

use async_graphql::{Context, ID, InputObject, Json, MaybeUndefined, Object, SimpleObject, connection::Connection};
use deployer::{bundles::BundleKey, deployments, rights, status, testing};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use targets::{spec, target::Half};

use super::{
    enums::{EnvImportSpecificationMode, ImportTimeMode, Level, OnFailure, RemappingKind, StageKind, UpdateStatus},
    health::{DeploymentHealth, Drift, Testing},
    infrastructure::{Infrastructure, half},
    node::all,
    project::{Bundle, ProjectRights, PublishedProject},
    service::{DeployedService, ServiceSettingsInput},
    settings::{ConnectionRemapping, Remapping, named, repeated},
    update::Update,
};
use crate::{
    error::Result,
    loaders::{BundleByKey, DriftOf, InfrastructureById, LatestUpdateOf, ProjectByKey, UpdatesOf},
    page,
    scalars::{DateTime, Long},
    session::Asked,
};

/// What you may do with a deployment: what you may do on both of its sides.
#[derive(Clone, Copy, Debug, SimpleObject)]
pub(crate) struct DeploymentRights {
    /// On its infrastructure.
    infrastructure: Level,
    /// On its published project.
    project: ProjectRights,
    /// Change it, and start, cancel, retry and abandon its updates.
    change: bool,
}

impl From<rights::DeploymentRights> for DeploymentRights {
    fn from(both: rights::DeploymentRights) -> Self {
        Self {
            infrastructure: both.infrastructure.into(),
            project: both.project.into(),
            change: both.may(rights::Access::Change),
        }
    }
}

/// Whether a scenario is on after an update. A scenario that is not named is left as it was on the node.
#[derive(Clone, Debug, SimpleObject, InputObject)]
#[graphql(input_name = "ScenarioSwitchInput")]
pub(crate) struct ScenarioSwitch {
    /// The scenario's id.
    id: String,
    /// On or off.
    on: bool,
}

/// How a node imports the code envs of a bundle.
#[derive(Clone, Copy, Debug, SimpleObject, InputObject)]
#[graphql(input_name = "CodeEnvsBehaviorInput")]
pub(crate) struct CodeEnvsBehavior {
    /// What happens to a code env that the node lacks.
    import_time_mode: ImportTimeMode,
    /// After which description it is made.
    env_import_specification_mode: EnvImportSpecificationMode,
}

impl From<spec::CodeEnvsBehavior> for CodeEnvsBehavior {
    fn from(one: spec::CodeEnvsBehavior) -> Self {
        Self {
            import_time_mode: one.import_time_mode.into(),
            env_import_specification_mode: one.env_import_specification_mode.into(),
        }
    }
}

impl From<CodeEnvsBehavior> for spec::CodeEnvsBehavior {
    fn from(one: CodeEnvsBehavior) -> Self {
        Self {
            import_time_mode: one.import_time_mode.into(),
            env_import_specification_mode: one.env_import_specification_mode.into(),
        }
    }
}

/// How a deployment's bundle is put on its infrastructure.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct DeploymentSettings {
    /// The deployment's own copy of the remappings.
    connection_remapping: Vec<ConnectionRemapping>,
    /// Of code envs.
    code_env_remapping: Vec<Remapping>,
    /// Of container configurations.
    container_exec_remapping: Vec<Remapping>,
    /// At each update, the infrastructure's remappings of then are put to these; where both remap a name, these win.
    merge_infrastructure_remapping: bool,
    /// How the node imports the bundle's code envs; null leaves the node's own way alone.
    code_envs_behavior: Option<CodeEnvsBehavior>,
    /// Written to the node as the project's local variables; null leaves the node's alone.
    local_variables: Option<Json<Value>>,
    /// Scenarios that are switched; the others are left alone.
    scenarios: Vec<ScenarioSwitch>,
    /// The folder on the node that the project lies in: an update makes it there, or moves it there. Null: a new project in the root, another one where it lies.
    project_folder: Option<String>,
    /// What a failure does, in place of the infrastructure's policy.
    on_failure: Option<OnFailure>,
    /// Every scenario is off after an update, whatever `scenarios` says. When it is set back, those that `scenarios` does not name stay off.
    disable_automatic_triggers: bool,
    /// What people look for deployments by.
    tags: Vec<String>,
}

impl From<deployments::Settings> for DeploymentSettings {
    fn from(settings: deployments::Settings) -> Self {
        Self {
            connection_remapping: all(settings.connection_remapping),
            code_env_remapping: all(settings.code_env_remapping.unwrap_or_default()),
            container_exec_remapping: all(settings.container_exec_remapping.unwrap_or_default()),
            merge_infrastructure_remapping: settings.merge_infrastructure_remapping,
            code_envs_behavior: settings.code_envs_behavior.map(Into::into),
            local_variables: settings.local_variables.map(|variables| Json(Value::Object(variables))),
            scenarios: settings.scenarios.into_iter().map(|(id, on)| ScenarioSwitch { id, on }).collect(),
            project_folder: settings.project_folder,
            on_failure: settings.on_failure.map(Into::into),
            disable_automatic_triggers: settings.disable_automatic_triggers,
            tags: settings.tags,
        }
    }
}

/// What to set of a deployment. A field that is not given is left as it is; null empties a field that may be empty.
#[derive(Clone, Debug, Default, InputObject)]
pub(crate) struct DeploymentSettingsInput {
    /// All remappings, in place of those before.
    connection_remapping: Option<Vec<ConnectionRemapping>>,
    /// All remappings of code envs, in place of those before.
    code_env_remapping: Option<Vec<Remapping>>,
    /// All remappings of container configurations, in place of those before.
    container_exec_remapping: Option<Vec<Remapping>>,
    /// At each update, the infrastructure's remappings of then are put to these; where both remap a name, these win.
    merge_infrastructure_remapping: Option<bool>,
    /// How the node imports the bundle's code envs; null leaves the node's own way alone.
    code_envs_behavior: MaybeUndefined<CodeEnvsBehavior>,
    /// Written to the node as the project's local variables; null leaves the node's alone.
    local_variables: MaybeUndefined<Json<LocalVariables>>,
    /// All scenario switches, in place of those before.
    scenarios: Option<Vec<ScenarioSwitch>>,
    /// The folder on the node that the project lies in: an update makes it there, or moves it there. Null: a new project in the root, another one where it lies.
    project_folder: MaybeUndefined<String>,
    /// What a failure does; null is the infrastructure's policy.
    on_failure: MaybeUndefined<OnFailure>,
    /// Every scenario is off after an update, whatever `scenarios` says.
    disable_automatic_triggers: Option<bool>,
    /// All tags, in place of those before.
    tags: Option<Vec<String>>,
    /// What to set of an API service.
    service: Option<ServiceSettingsInput>,
}

/// Local variables by name. What is none is refused by the field's name: the scalar does not know it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(try_from = "Value")]
pub(crate) struct LocalVariables(serde_json::Map<String, Value>);

impl TryFrom<Value> for LocalVariables {
    type Error = &'static str;

    fn try_from(value: Value) -> std::result::Result<Self, Self::Error> {
        match value {
            Value::Object(variables) => Ok(Self(variables)),
            _ => Err("localVariables is a JSON object of variables by name, such as {\"region\": \"eu\"}."),
        }
    }
}

impl From<DeploymentSettingsInput> for deployments::SettingsChange {
    fn from(input: DeploymentSettingsInput) -> Self {
        let named_twice = input.scenarios.as_deref().map(|all| repeated(all, |one| &one.id)).unwrap_or_default();
        let switches =
            |all: Vec<ScenarioSwitch>| all.into_iter().map(|one| (one.id, one.on)).collect::<BTreeMap<_, _>>();
        Self {
            connection_remapping: input.connection_remapping.map(all),
            code_env_remapping: input.code_env_remapping.map(all),
            container_exec_remapping: input.container_exec_remapping.map(all),
            merge_infrastructure_remapping: input.merge_infrastructure_remapping,
            code_envs_behavior: named(input.code_envs_behavior).map(|behavior| behavior.map(Into::into)),
            local_variables: named(input.local_variables).map(|variables| variables.map(|json| json.0.0)),
            scenarios: input.scenarios.map(switches),
            project_folder: named(input.project_folder),
            on_failure: named(input.on_failure).map(|policy| policy.map(Into::into)),
            disable_automatic_triggers: input.disable_automatic_triggers,
            tags: input.tags,
            other: None,
            api: input.service.unwrap_or_default().into(),
            repeated_scenarios: named_twice,
        }
    }
}

/// Which deployments. All conditions hold together.
#[derive(Clone, Debug, Default, InputObject)]
pub(crate) struct DeploymentFilter {
    /// On this infrastructure.
    infrastructure: Option<String>,
    /// Of this published project.
    project: Option<String>,
    /// Of this published API service.
    service: Option<String>,
    /// Of projects, or of API services; both if not given.
    kind: Option<StageKind>,
    /// On an infrastructure of this stage.
    stage: Option<String>,
    /// On an infrastructure whose stage is gone.
    #[graphql(default)]
    without_stage: bool,
    /// Whose newest update has one of these statuses.
    status: Option<Vec<UpdateStatus>>,
    /// Part of the id, whatever the case.
    text: Option<String>,
}

impl From<DeploymentFilter> for deployments::Filter {
    fn from(filter: DeploymentFilter) -> Self {
        Self {
            infrastructure: filter.infrastructure,
            project: filter.project,
            service: filter.service,
            half: filter.kind.map(half),
            stage: filter.stage,
            without_stage: filter.without_stage,
            status: filter.status.map(all),
            text: filter.text,
        }
    }
}

/// A deployment that remaps otherwise than its infrastructure does today.
#[derive(SimpleObject)]
pub(crate) struct RemappedDeployment {
    /// The deployment.
    deployment: Deployment,
    /// What is different. Empty for one alone that ends a page on which none was found: the next page goes on behind it.
    differences: Vec<RemappingDifference>,
}

impl From<deployments::Remapped> for RemappedDeployment {
    fn from(one: deployments::Remapped) -> Self {
        Self { deployment: one.deployment.into(), differences: all(one.differences) }
    }
}

/// One name that a deployment remaps otherwise than its infrastructure does today.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct RemappingDifference {
    /// What it names.
    kind: RemappingKind,
    /// The name in the bundle.
    source: String,
    /// What the deployment makes of it; null leaves the name.
    deployment: Option<String>,
    /// What the infrastructure makes of it; null leaves the name.
    infrastructure: Option<String>,
}

impl From<deployments::RemappingDifference> for RemappingDifference {
    fn from(one: deployments::RemappingDifference) -> Self {
        Self {
            kind: one.kind.into(),
            source: one.source,
            deployment: one.deployment,
            infrastructure: one.infrastructure,
        }
    }
}

/// The standing intention: this bundle on this infrastructure.
pub(crate) struct Deployment(pub(crate) deployments::Deployment);

impl From<deployments::Deployment> for Deployment {
    fn from(one: deployments::Deployment) -> Self {
        Self(one)
    }
}

/// The standing intention: this bundle on this infrastructure, with these settings. An update makes it so.
#[Object]
impl Deployment {
    /// Unique.
    async fn id(&self) -> ID {
        ID(self.0.id.clone())
    }

    /// What it deploys: a project, or an API service.
    async fn kind(&self) -> StageKind {
        match self.0.half {
            Half::Project => StageKind::Project,
            Half::Api => StageKind::Api,
        }
    }

    /// What is set of an API service; null for a project.
    async fn service(&self) -> Option<DeployedService> {
        DeployedService::of(&self.0)
    }

    /// The key of its published project, or the id of its published API service.
    async fn project_key(&self) -> &str {
        &self.0.project_key
    }

    /// Its published project; null for an API service.
    async fn project(&self, ctx: &Context<'_>) -> Result<Option<PublishedProject>> {
        if self.0.half == Half::Api {
            return Ok(None);
        }
        Ok(ctx.loader()?.load_one(ProjectByKey(self.0.project_key.clone())).await?.map(Into::into))
    }

    /// The id of its infrastructure.
    async fn infrastructure_id(&self) -> ID {
        ID(self.0.infrastructure_id.clone())
    }

    /// Its infrastructure.
    async fn infrastructure(&self, ctx: &Context<'_>) -> Result<Option<Infrastructure>> {
        Ok(ctx.loader()?.load_one(InfrastructureById(self.0.infrastructure_id.clone())).await?.map(Into::into))
    }

    /// The id of the bundle that is to be there; of an API service its version, the first of several.
    async fn bundle_id(&self) -> ID {
        ID(self.0.bundle_id.clone())
    }

    /// The bundle that is to be there; null if it was deleted, and for an API service.
    async fn bundle(&self, ctx: &Context<'_>) -> Result<Option<Bundle>> {
        if self.0.half == Half::Api {
            return Ok(None);
        }
        let key = BundleKey { project_key: self.0.project_key.clone(), bundle_id: self.0.bundle_id.clone() };
        Ok(ctx.loader()?.load_one(BundleByKey(key)).await?.map(Into::into))
    }

    /// The project key, or the service's id, on the node.
    async fn deployed_project_key(&self) -> &str {
        &self.0.deployed_project_key
    }

    /// How the bundle is put there.
    async fn settings(&self) -> DeploymentSettings {
        self.0.settings.clone().into()
    }

    /// Counts changes: editors name the one that they saw.
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

    /// What you may do with it.
    async fn rights(&self) -> DeploymentRights {
        self.0.rights.into()
    }

    /// How it is. Asks its node, within ten seconds; a node that does not answer is bad health, no error.
    #[graphql(complexity = "50 + child_complexity")]
    async fn health(&self, ctx: &Context<'_>) -> Result<DeploymentHealth> {
        let session = ctx.session()?;
        Ok(status::heavy(&session.deployer, &session.viewer(), &self.0.id).await?.into())
    }

    /// What is otherwise on the node than its last successful update left it, as it was last compared; null if it was not yet. See `checkDrift`.
    async fn drift(&self, ctx: &Context<'_>) -> Result<Option<Drift>> {
        Ok(ctx.loader()?.load_one(DriftOf(self.0.id.clone())).await?.map(Into::into))
    }

    /// How the test scenarios of the deployed project ended last. Asks its node.
    #[graphql(complexity = "50 + child_complexity")]
    async fn testing_status(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Only what ran under this bundle; any if not given.")] bundle_id: Option<ID>,
        #[graphql(desc = "Where there are several nodes: which; the first one if not given.")] node: Option<String>,
    ) -> Result<Testing> {
        let session = ctx.session()?;
        let bundle = bundle_id.as_deref().map(String::as_str);
        Ok(testing::status(&session.deployer, &session.viewer(), &self.0.id, bundle, node.as_deref()).await?.into())
    }

    /// Whether it is disabled: switched off on its node, and taking no update but the one that enables it.
    async fn disabled(&self) -> bool {
        self.0.settings.disabled
    }

    /// Its newest update; null before the first.
    async fn latest_update(&self, ctx: &Context<'_>) -> Result<Option<Update>> {
        Ok(ctx.loader()?.load_one(LatestUpdateOf(self.0.id.clone())).await?.map(Into::into))
    }

    /// Its updates, newest first.
    #[graphql(complexity = "page::cost(first, child_complexity)")]
    async fn updates(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many, 1 to 100; 50 if not given.")] first: Option<i32>,
        #[graphql(desc = "The endCursor of the page before.")] after: Option<String>,
    ) -> Result<Connection<String, Update>> {
        let page = page::page(first, after.as_deref())?;
        Ok(page::nested(&page, ctx.loader()?.load_one(UpdatesOf(self.0.id.clone(), page.clone())).await?))
    }
}
