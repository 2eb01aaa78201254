//! An infrastructure's settings, as its administrators see and change them.

use std::collections::{BTreeMap, BTreeSet};

use async_graphql::{InputObject, Json, MaybeUndefined, SimpleObject};
use deployer::infrastructures;
use engine::{retry::RetryPolicy, secrets::Secret};
use serde_json::{Map, Value};
use targets::spec;

use super::{
    enums::{GovernCheckPolicy, OnFailure, PermissionsPropagation, ProjectStandardsPolicy},
    node::all,
    platform::{Settings as DocumentInput, document},
};
use crate::scalars::Long;

/// A connection of the bundle and its name on the node. Its type must be the same there.
#[derive(Clone, Debug, SimpleObject, InputObject)]
#[graphql(input_name = "ConnectionRemappingInput")]
pub(crate) struct ConnectionRemapping {
    /// The connection's name in the bundle.
    source: String,
    /// The connection's name on the node.
    target: String,
}

impl From<spec::ConnectionRemapping> for ConnectionRemapping {
    fn from(one: spec::ConnectionRemapping) -> Self {
        Self { source: one.source, target: one.target }
    }
}

impl From<ConnectionRemapping> for spec::ConnectionRemapping {
    fn from(one: ConnectionRemapping) -> Self {
        Self { source: one.source, target: one.target }
    }
}

/// A code env, or a container configuration, of the bundle and its name on the node.
#[derive(Clone, Debug, SimpleObject, InputObject)]
#[graphql(input_name = "RemappingInput")]
pub(crate) struct Remapping {
    /// The name in the bundle.
    source: String,
    /// The name on the node.
    target: String,
}

impl From<spec::Remapping> for Remapping {
    fn from(one: spec::Remapping) -> Self {
        Self { source: one.source, target: one.target }
    }
}

impl From<Remapping> for spec::Remapping {
    fn from(one: Remapping) -> Self {
        Self { source: one.source, target: one.target }
    }
}

/// How often a step is tried, and how long apart: each wait is twice the one before, spread by chance.
#[derive(Clone, Copy, Debug, SimpleObject, InputObject)]
#[graphql(input_name = "RetryPolicyInput")]
pub(crate) struct Retry {
    /// Attempts in all, at least 1.
    max_attempts: u32,
    /// The wait before the second attempt, in milliseconds.
    initial_ms: Long,
    /// The longest wait, in milliseconds.
    cap_ms: Long,
}

/// Instead of the default policy of one kind of step.
#[derive(Clone, Debug, SimpleObject, InputObject)]
#[graphql(input_name = "StepPolicyInput")]
pub(crate) struct StepPolicy {
    /// `check_policy`, `hook`, `validate_remap`, `push_bundle`, `activate`, `enforce_run_as`, `verify`, `restore`, `switch_off` or `delete_project`.
    kind: String,
    /// Attempts and the time between them; null is the default.
    retry: Option<Retry>,
    /// How long one attempt may take, in milliseconds; null is the default. Of no effect on hooks, which have a deadline each.
    deadline_ms: Option<Long>,
}

/// An infrastructure's settings. The node's key is write-only and never among them.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct InfrastructureSettings {
    /// Accept any certificate of the node.
    trust_all_certificates: bool,
    /// Where the node sends its audit events, in its own words. Kept for hooks and clients; Slipway acts on none of it.
    auditing: Json<Value>,
    /// Where the node sends its logs, likewise.
    logging: Json<Value>,
    /// Copied into each new deployment.
    connection_remapping: Vec<ConnectionRemapping>,
    /// Of code envs; copied into each new deployment.
    code_env_remapping: Vec<Remapping>,
    /// Of container configurations; copied into each new deployment.
    container_exec_remapping: Vec<Remapping>,
    /// What becomes of a bundle that the governance source does not approve of.
    govern_check_policy: GovernCheckPolicy,
    /// The governance source, an HTTP endpoint that answers for a bundle; null asks nobody.
    governance_url: Option<String>,
    /// What becomes of a bundle whose project standards report names a problem, or that has no report.
    project_standards_policy: ProjectStandardsPolicy,
    /// What of the design project's rights a new project on the node gets.
    permissions_propagation: PermissionsPropagation,
    /// The login on the node as whom changes are made; null is whoever asks for the update.
    deploy_as_user: Option<String>,
    /// The run-as user of every scenario; null leaves them as the bundle says.
    run_as_scenarios: Option<String>,
    /// The run-as user of every web app; null leaves them as the bundle says.
    run_as_webapps: Option<String>,
    /// The user of Slipway as whom hooks call it back; null gives hooks no key.
    hooks_user: Option<String>,
    /// What a failure does after the node may have changed.
    on_failure: OnFailure,
    /// Policies other than the default, by kind of step.
    step_policies: Vec<StepPolicy>,
    /// The name of a web app's run-as field in the node's JSON.
    webapp_run_as_field: String,
    /// Take a bundle id that the node has, and that Slipway did not import, for ours.
    trust_foreign_bundles: bool,
    /// How long a call may go on at the node after its answer was lost, in milliseconds.
    settle_ms: Long,
    /// How long one call to the node may take, in milliseconds.
    call_timeout_ms: Long,
    /// How long a hook before the deployment waits for a slot, in milliseconds.
    pre_hook_wait_ms: Long,
    /// How long a hook after the deployment waits for a slot, in milliseconds.
    post_hook_wait_ms: Long,
    /// What its platform wants to know, as `settingsSchema` of its type describes it; ten asterisks stand for each secret. Empty for an Automation node.
    platform: Json<Value>,
    /// The id of the connection that it reaches its platform with.
    connection: Option<String>,
    /// Where the queries of services deployed here are logged, as `serviceSchemas.queryLog` describes it; empty leaves it to what each version's package says, and type NONE logs none.
    query_log: Json<Value>,
}

impl From<infrastructures::Settings> for InfrastructureSettings {
    fn from(settings: infrastructures::Settings) -> Self {
        Self {
            trust_all_certificates: settings.trust_all_certificates,
            auditing: Json(Value::Object(settings.auditing)),
            logging: Json(Value::Object(settings.logging)),
            connection_remapping: all(settings.connection_remapping),
            code_env_remapping: all(settings.code_env_remapping),
            container_exec_remapping: all(settings.container_exec_remapping),
            govern_check_policy: settings.govern_check_policy.into(),
            governance_url: settings.governance_url,
            project_standards_policy: settings.project_standards_policy.into(),
            permissions_propagation: settings.permissions_propagation.into(),
            deploy_as_user: settings.deploy_as_user,
            run_as_scenarios: settings.run_as_scenarios,
            run_as_webapps: settings.run_as_webapps,
            hooks_user: settings.hooks_user,
            on_failure: settings.on_failure.into(),
            step_policies: settings.step_policies.into_iter().map(step_policy).collect(),
            webapp_run_as_field: settings.webapp_run_as_field,
            trust_foreign_bundles: settings.trust_foreign_bundles,
            settle_ms: settings.settle_ms.into(),
            call_timeout_ms: settings.call_timeout_ms.into(),
            pre_hook_wait_ms: settings.pre_hook_wait_ms.into(),
            post_hook_wait_ms: settings.post_hook_wait_ms.into(),
            platform: Json(Value::Object(settings.platform)),
            connection: settings.connection,
            query_log: Json(Value::Object(settings.query_log)),
        }
    }
}

fn step_policy((kind, policy): (String, infrastructures::StepOverride)) -> StepPolicy {
    let retry = policy.retry.map(|retry| Retry {
        max_attempts: retry.max_attempts,
        initial_ms: retry.initial_ms.into(),
        cap_ms: retry.cap_ms.into(),
    });
    StepPolicy { kind, retry, deadline_ms: policy.deadline_ms.map(Into::into) }
}

/// What to set of an infrastructure. A field that is not given is left as it is, or at its default; null empties a field that may be empty.
#[derive(Clone, Debug, Default, InputObject)]
pub(crate) struct InfrastructureSettingsInput {
    /// Where Slipway reaches the node: http or https. Nothing can be deployed before it is entered; an empty text takes it away. Another scheme, host or port clears the stored key.
    pub(crate) node_url: Option<String>,
    /// What people open in a browser; null is the node URL.
    external_url: MaybeUndefined<String>,
    /// Accept any certificate of the node. A change clears the stored key.
    trust_all_certificates: Option<bool>,
    /// Where the node sends its audit events, in its own words. Kept for hooks and clients; Slipway acts on none of it. No secrets.
    auditing: Option<Json<Map<String, Value>>>,
    /// Where the node sends its logs, likewise.
    logging: Option<Json<Map<String, Value>>>,
    /// Several nodes stand behind each deployment: those of `nodes`. Then the URL, the key and the other fields of the one node stay empty.
    multi_node: Option<bool>,
    /// All remappings, in place of those before. Copied into each new deployment; deployments that exist keep theirs.
    connection_remapping: Option<Vec<ConnectionRemapping>>,
    /// All remappings of code envs, in place of those before. Copied into each new deployment; deployments that exist keep theirs.
    code_env_remapping: Option<Vec<Remapping>>,
    /// All remappings of container configurations, in place of those before. Copied into each new deployment; deployments that exist keep theirs.
    container_exec_remapping: Option<Vec<Remapping>>,
    /// What becomes of a bundle that the governance source does not approve of; `NO_CHECK` by default.
    govern_check_policy: Option<GovernCheckPolicy>,
    /// The governance source, an HTTP endpoint that answers for a bundle: http or https; null asks nobody. Another scheme, host or port clears its
    /// stored key.
    governance_url: MaybeUndefined<String>,
    /// What becomes of a bundle whose project standards report names a problem, or that has no report; `IGNORE` by default.
    project_standards_policy: Option<ProjectStandardsPolicy>,
    /// What of the design project's rights a new project on the node gets.
    permissions_propagation: Option<PermissionsPropagation>,
    /// The login on the node as whom changes are made; null is whoever asks for the update.
    deploy_as_user: MaybeUndefined<String>,
    /// The run-as user of every scenario; null leaves them as the bundle says.
    run_as_scenarios: MaybeUndefined<String>,
    /// The run-as user of every web app; null leaves them as the bundle says.
    run_as_webapps: MaybeUndefined<String>,
    /// The user of Slipway as whom hooks call it back; null gives hooks no key.
    hooks_user: MaybeUndefined<String>,
    /// What a failure does after the node may have changed.
    on_failure: Option<OnFailure>,
    /// All policies other than the default, in place of those before.
    step_policies: Option<Vec<StepPolicy>>,
    /// The name of a web app's run-as field in the node's JSON; `runAsUser` by default.
    webapp_run_as_field: Option<String>,
    /// Take a bundle id that the node has, and that Slipway did not import, for ours.
    trust_foreign_bundles: Option<bool>,
    /// How long a call may go on at the node after its answer was lost, in milliseconds.
    settle_ms: Option<Long>,
    /// How long one call to the node may take, in milliseconds.
    call_timeout_ms: Option<Long>,
    /// How long a hook before the deployment waits for a slot, in milliseconds; 10,000 by default.
    pre_hook_wait_ms: Option<Long>,
    /// How long a hook after the deployment waits for a slot, in milliseconds; 60,000 by default.
    post_hook_wait_ms: Option<Long>,
    /// What its platform wants to know, as `settingsSchema` of its type describes it, in place of all before. Secrets are encrypted, and never answered again; ten
    /// asterisks keep one that is stored, as long as it would be sent to the same place.
    #[graphql(secret)]
    platform: Option<Json<DocumentInput>>,
    /// The id of a connection that you may use; null takes it away.
    connection: MaybeUndefined<String>,
    /// Where the queries of services deployed here are logged, as `serviceSchemas.queryLog` describes it; an empty object leaves it to what each version's package says, and type NONE logs none.
    #[graphql(secret)]
    query_log: Option<Json<DocumentInput>>,
}

impl From<InfrastructureSettingsInput> for infrastructures::SettingsPatch {
    fn from(input: InfrastructureSettingsInput) -> Self {
        let named_twice = input.step_policies.as_deref().map(|all| repeated(all, |one| &one.kind)).unwrap_or_default();
        Self {
            repeated_step_policies: named_twice,
            node_url: input.node_url,
            external_url: named(input.external_url),
            trust_all_certificates: input.trust_all_certificates,
            auditing: input.auditing.map(|json| json.0),
            logging: input.logging.map(|json| json.0),
            multi_node: input.multi_node,
            connection_remapping: input.connection_remapping.map(all),
            code_env_remapping: input.code_env_remapping.map(all),
            container_exec_remapping: input.container_exec_remapping.map(all),
            govern_check_policy: input.govern_check_policy.map(Into::into),
            governance_url: named(input.governance_url),
            project_standards_policy: input.project_standards_policy.map(Into::into),
            permissions_propagation: input.permissions_propagation.map(Into::into),
            deploy_as_user: named(input.deploy_as_user),
            run_as_scenarios: named(input.run_as_scenarios),
            run_as_webapps: named(input.run_as_webapps),
            hooks_user: named(input.hooks_user),
            on_failure: input.on_failure.map(Into::into),
            step_policies: input.step_policies.map(policies),
            webapp_run_as_field: input.webapp_run_as_field,
            trust_foreign_bundles: input.trust_foreign_bundles,
            settle_ms: input.settle_ms.map(Long::to_u64),
            call_timeout_ms: input.call_timeout_ms.map(Long::to_u64),
            pre_hook_wait_ms: input.pre_hook_wait_ms.map(Long::to_u64),
            post_hook_wait_ms: input.post_hook_wait_ms.map(Long::to_u64),
            platform: document(input.platform),
            connection: named(input.connection),
            query_log: document(input.query_log),
            other: None,
        }
    }
}

/// Where in a list something stands that stands there before.
pub(crate) fn repeated<T>(all: &[T], id: impl Fn(&T) -> &String) -> Vec<usize> {
    let mut seen = BTreeSet::new();
    all.iter().enumerate().filter(|(_, one)| !seen.insert(id(one))).map(|(index, _)| index).collect()
}

fn policies(all: Vec<StepPolicy>) -> BTreeMap<String, infrastructures::StepOverride> {
    let policy = |one: StepPolicy| {
        let retry = one.retry.map(|retry| RetryPolicy {
            max_attempts: retry.max_attempts,
            initial_ms: retry.initial_ms.to_u64(),
            cap_ms: retry.cap_ms.to_u64(),
        });
        (one.kind, infrastructures::StepOverride { retry, deadline_ms: one.deadline_ms.map(Long::to_u64) })
    };
    all.into_iter().map(policy).collect()
}

/// One of the nodes of a multi-node infrastructure. A name that was in the list before is the same node: what is not given of it stays.
#[derive(InputObject)]
pub(crate) struct InfrastructureNodeInput {
    /// Unique within the infrastructure, for good: 1 to 100 characters, none of / ? # %.
    name: String,
    /// Where Slipway reaches it: http or https. Another scheme, host or port clears its stored key.
    url: String,
    /// What people open in a browser; null is the URL.
    external_url: MaybeUndefined<String>,
    /// Accept any certificate of it. A change clears its stored key.
    trust_all_certificates: Option<bool>,
    /// Where it sends its audit events, in its own words. Kept for hooks and clients; Slipway acts on none of it. No secrets.
    auditing: Option<Json<Map<String, Value>>>,
    /// Where it sends its logs, likewise.
    logging: Option<Json<Map<String, Value>>>,
    /// A key of an administrator of the node; null removes it. Write-only: it is encrypted, and never answered again.
    #[graphql(secret)]
    admin_key: MaybeUndefined<String>,
}

impl From<InfrastructureNodeInput> for infrastructures::NodePatch {
    fn from(input: InfrastructureNodeInput) -> Self {
        Self {
            name: input.name,
            url: input.url,
            external_url: named(input.external_url),
            trust_all_certificates: input.trust_all_certificates,
            auditing: input.auditing.map(|json| json.0),
            logging: input.logging.map(|json| json.0),
            admin_key: named(input.admin_key).map(|key| key.map(Secret::new)),
            keeps_key: false,
        }
    }
}

/// Not given, null, or a value.
pub(crate) fn named<T>(field: MaybeUndefined<T>) -> Option<Option<T>> {
    match field {
        MaybeUndefined::Undefined => None,
        MaybeUndefined::Null => Some(None),
        MaybeUndefined::Value(value) => Some(Some(value)),
    }
}
