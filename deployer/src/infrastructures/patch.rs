//! What a change names. A thing that is not named is left alone; for a thing that may be empty, `Some(None)` empties it.

use std::collections::BTreeMap;

use engine::{plan::OnFailure, secrets::Secret};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use targets::spec::{
    ConnectionRemapping, GovernCheckPolicy, PermissionsPropagation, ProjectStandardsPolicy, Remapping,
};

use super::{
    nodes::NodePatch,
    read::Permission,
    settings::{Settings, StepOverride},
};
use crate::{error::Problems, schema::Document};

/// Changes of [`Settings`]. An unknown key is refused.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[expect(missing_docs, reason = "each field is described at Settings")]
pub struct SettingsPatch {
    pub node_url: Option<String>,
    #[serde(deserialize_with = "named")]
    pub external_url: Option<Option<String>>,
    pub trust_all_certificates: Option<bool>,
    pub auditing: Option<Map<String, Value>>,
    pub logging: Option<Map<String, Value>>,
    pub multi_node: Option<bool>,
    pub connection_remapping: Option<Vec<ConnectionRemapping>>,
    pub code_env_remapping: Option<Vec<Remapping>>,
    pub container_exec_remapping: Option<Vec<Remapping>>,
    pub govern_check_policy: Option<GovernCheckPolicy>,
    #[serde(deserialize_with = "named")]
    pub governance_url: Option<Option<String>>,
    pub project_standards_policy: Option<ProjectStandardsPolicy>,
    pub permissions_propagation: Option<PermissionsPropagation>,
    #[serde(deserialize_with = "named")]
    pub deploy_as_user: Option<Option<String>>,
    #[serde(deserialize_with = "named")]
    pub run_as_scenarios: Option<Option<String>>,
    #[serde(deserialize_with = "named")]
    pub run_as_webapps: Option<Option<String>>,
    #[serde(deserialize_with = "named")]
    pub hooks_user: Option<Option<String>>,
    pub on_failure: Option<OnFailure>,
    pub step_policies: Option<BTreeMap<String, StepOverride>>,
    pub webapp_run_as_field: Option<String>,
    pub trust_foreign_bundles: Option<bool>,
    pub settle_ms: Option<u64>,
    pub call_timeout_ms: Option<u64>,
    pub pre_hook_wait_ms: Option<u64>,
    pub post_hook_wait_ms: Option<u64>,
    pub platform: Option<Document>,
    #[serde(deserialize_with = "named")]
    pub connection: Option<Option<String>>,
    pub query_log: Option<Document>,
    pub other: Option<Map<String, Value>>,
    /// Where in the list that came in a step policy stands whose kind has another before it.
    #[serde(skip)]
    pub repeated_step_policies: Vec<usize>,
}

/// A key with the value null is named, too.
fn named<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(deserializer).map(Some)
}

impl SettingsPatch {
    /// Notes what contradicts itself.
    pub(super) fn check(&self, problems: &mut Problems) {
        for index in &self.repeated_step_policies {
            let message = "This kind of step is there twice. Keep one of the two.";
            problems.add("TEXT_INVALID", format!("stepPolicies[{index}].kind"), message);
        }
    }

    /// The settings after the change. Blank optional texts are none.
    pub(super) fn apply(self, to: Settings) -> Settings {
        let text = |new: Option<Option<String>>, old: Option<String>| match new {
            Some(new) => new.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()),
            None => old,
        };
        // Of the one node nothing is left where several take its place.
        let multi_node = self.multi_node.unwrap_or(to.multi_node);
        let grows = multi_node && !to.multi_node;
        let to = if grows {
            Settings { node_url: String::new(), external_url: None, trust_all_certificates: false, ..to }
        } else {
            to
        };
        Settings {
            node_url: self.node_url.unwrap_or(to.node_url),
            external_url: text(self.external_url, to.external_url),
            trust_all_certificates: self.trust_all_certificates.unwrap_or(to.trust_all_certificates),
            auditing: self.auditing.unwrap_or(to.auditing),
            logging: self.logging.unwrap_or(to.logging),
            managed: to.managed,
            multi_node,
            nodes: to.nodes,
            connection_remapping: self.connection_remapping.unwrap_or(to.connection_remapping),
            code_env_remapping: self.code_env_remapping.unwrap_or(to.code_env_remapping),
            container_exec_remapping: self.container_exec_remapping.unwrap_or(to.container_exec_remapping),
            govern_check_policy: self.govern_check_policy.unwrap_or(to.govern_check_policy),
            governance_url: text(self.governance_url, to.governance_url),
            project_standards_policy: self.project_standards_policy.unwrap_or(to.project_standards_policy),
            permissions_propagation: self.permissions_propagation.unwrap_or(to.permissions_propagation),
            deploy_as_user: text(self.deploy_as_user, to.deploy_as_user),
            run_as_scenarios: text(self.run_as_scenarios, to.run_as_scenarios),
            run_as_webapps: text(self.run_as_webapps, to.run_as_webapps),
            hooks_user: text(self.hooks_user, to.hooks_user),
            on_failure: self.on_failure.unwrap_or(to.on_failure),
            step_policies: self.step_policies.unwrap_or(to.step_policies),
            webapp_run_as_field: self.webapp_run_as_field.unwrap_or(to.webapp_run_as_field),
            trust_foreign_bundles: self.trust_foreign_bundles.unwrap_or(to.trust_foreign_bundles),
            settle_ms: self.settle_ms.unwrap_or(to.settle_ms),
            call_timeout_ms: self.call_timeout_ms.unwrap_or(to.call_timeout_ms),
            pre_hook_wait_ms: self.pre_hook_wait_ms.unwrap_or(to.pre_hook_wait_ms),
            post_hook_wait_ms: self.post_hook_wait_ms.unwrap_or(to.post_hook_wait_ms),
            connection: text(self.connection, to.connection),
            // Their secrets are sealed first: `documents` puts them in.
            platform: to.platform,
            query_log: to.query_log,
            other: self.other.unwrap_or(to.other),
        }
    }
}

/// A change of an infrastructure.
#[derive(Clone, Debug, Default)]
pub struct InfrastructurePatch {
    /// Another stage of its list.
    pub stage: Option<String>,
    /// Changes of the settings.
    pub settings: SettingsPatch,
    /// The node's administrator key, write-only: `Some(None)` removes it.
    pub admin_key: Option<Option<Secret>>,
    /// The stored key must still be good after the change: the editor saw that there is one, and relies on it.
    pub keeps_key: bool,
    /// The same of the governance source's key.
    pub keeps_governance_key: bool,
    /// All nodes of a multi-node infrastructure, in place of those before.
    pub nodes: Option<Vec<NodePatch>>,
    /// All groups with rights, in place of those before.
    pub permissions: Option<Vec<Permission>>,
    /// The governance source's key, write-only: `Some(None)` removes it.
    pub governance_key: Option<Option<Secret>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patch(json: &str) -> SettingsPatch {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn absent_leaves_alone_and_null_empties() {
        let old = Settings {
            node_url: "http://n".to_owned(),
            deploy_as_user: Some("deployer".to_owned()),
            ..Settings::default()
        };
        assert_eq!(patch("{}").apply(old.clone()), old);
        assert_eq!(patch(r#"{"deployAsUser": null}"#).apply(old.clone()).deploy_as_user, None);
        assert_eq!(patch(r#"{"deployAsUser": " "}"#).apply(old.clone()).deploy_as_user, None);
        assert_eq!(patch(r#"{"deployAsUser": "bob"}"#).apply(old).deploy_as_user.as_deref(), Some("bob"));
    }

    #[test]
    fn unknown_keys_are_refused_by_name() {
        let error = serde_json::from_str::<SettingsPatch>(r#"{"nodeURL": "http://n"}"#).unwrap_err();
        assert!(error.to_string().contains("nodeURL"), "{error}");
    }
}
