//! What an infrastructure's administrator sets.

use std::collections::BTreeMap;

use engine::{plan::OnFailure, retry::RetryPolicy};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use targets::spec::{
    ConnectionRemapping, GovernCheckPolicy, PermissionsPropagation, ProjectStandardsPolicy, Remapping,
};

use super::nodes::{Managed, Node};
use crate::error::Result;

/// The kinds of steps whose policy may be overridden.
pub const STEP_KINDS: [&str; 10] = [
    "check_policy",
    "hook",
    "validate_remap",
    "push_bundle",
    "activate",
    "enforce_run_as",
    "verify",
    "restore",
    "switch_off",
    "delete_project",
];

/// An infrastructure's settings. Kept as JSON; what an older or newer version does not know is passed over when it is read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Settings {
    /// Where we reach the node: http or https. Empty until somebody enters it: nothing can be deployed there before.
    pub node_url: String,
    /// What people open in a browser; None is the node URL.
    pub external_url: Option<String>,
    /// Accept any certificate of the node.
    pub trust_all_certificates: bool,
    /// Where the node sends its audit events, in its own words. Kept for hooks and clients; Slipway acts on none of it.
    pub auditing: Map<String, Value>,
    /// Where the node sends its logs, likewise.
    pub logging: Map<String, Value>,
    /// The fleet that manages the node, if one does: then all of the above is read-only by hand.
    pub managed: Option<Managed>,
    /// Several nodes stand behind each deployment: those of `nodes`, not the one above.
    pub multi_node: bool,
    /// They, in the order in which they are activated.
    pub nodes: Vec<Node>,
    /// Copied into each new deployment.
    pub connection_remapping: Vec<ConnectionRemapping>,
    /// Of code envs; copied into each new deployment.
    pub code_env_remapping: Vec<Remapping>,
    /// Of container configurations; copied into each new deployment.
    pub container_exec_remapping: Vec<Remapping>,
    /// What becomes of a bundle that the governance source does not approve of.
    pub govern_check_policy: GovernCheckPolicy,
    /// The governance source, an HTTP endpoint that answers for a bundle: http or https. None asks nobody.
    pub governance_url: Option<String>,
    /// What becomes of a bundle whose project standards report names a problem, or that has no report.
    pub project_standards_policy: ProjectStandardsPolicy,
    /// What of the design project's rights a new project on the node gets.
    pub permissions_propagation: PermissionsPropagation,
    /// The login on the node as whom changes are made; None is who asks for the update.
    pub deploy_as_user: Option<String>,
    /// The run-as user of every scenario; None leaves them as the bundle says.
    pub run_as_scenarios: Option<String>,
    /// The run-as user of every web app; None leaves them as the bundle says.
    pub run_as_webapps: Option<String>,
    /// The user of ours as whom hooks call us back; None gives hooks no key.
    pub hooks_user: Option<String>,
    /// After a failure for good that may have changed the node, or one of several nodes.
    pub on_failure: OnFailure,
    /// Per kind of step ([`STEP_KINDS`]), instead of its default.
    pub step_policies: BTreeMap<String, StepOverride>,
    /// The name of a web app's run-as field in the node's JSON.
    pub webapp_run_as_field: String,
    /// Take a bundle id that the node has, and that we did not import, for ours.
    pub trust_foreign_bundles: bool,
    /// How long a blocking call may go on at the node after its answer was lost, in milliseconds.
    pub settle_ms: u64,
    /// How long a blocking call may take, in milliseconds.
    pub call_timeout_ms: u64,
    /// How long a pre-deployment hook waits for a slot, in milliseconds.
    pub pre_hook_wait_ms: u64,
    /// How long a post-deployment hook waits for a slot, in milliseconds.
    pub post_hook_wait_ms: u64,
    /// What its target wants to know, as the target's schema describes it; secrets by reference. Empty for an Automation node.
    pub platform: Map<String, Value>,
    /// The connection that its target reaches the platform with.
    pub connection: Option<String>,
    /// Where the queries of services deployed here are logged, as [`crate::services::QUERY_LOG`] describes it; empty leaves it to what each version's package says.
    pub query_log: Map<String, Value>,
    /// What clients keep here that means nothing to us: answered as it was given.
    pub other: Map<String, Value>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            node_url: String::new(),
            external_url: None,
            trust_all_certificates: false,
            auditing: Map::new(),
            logging: Map::new(),
            managed: None,
            multi_node: false,
            nodes: Vec::new(),
            connection_remapping: Vec::new(),
            code_env_remapping: Vec::new(),
            container_exec_remapping: Vec::new(),
            govern_check_policy: GovernCheckPolicy::default(),
            governance_url: None,
            project_standards_policy: ProjectStandardsPolicy::default(),
            permissions_propagation: PermissionsPropagation::default(),
            deploy_as_user: None,
            run_as_scenarios: None,
            run_as_webapps: None,
            hooks_user: None,
            on_failure: OnFailure::default(),
            step_policies: BTreeMap::new(),
            webapp_run_as_field: "runAsUser".to_owned(),
            trust_foreign_bundles: false,
            settle_ms: 600_000,
            call_timeout_ms: 1_800_000,
            pre_hook_wait_ms: 10_000,
            post_hook_wait_ms: 60_000,
            platform: Map::new(),
            connection: None,
            query_log: Map::new(),
            other: Map::new(),
        }
    }
}

impl Settings {
    /// The names by which updates tell its nodes apart, in the order in which they are activated. One without a name: it is the only one.
    pub fn node_names(&self) -> Vec<Option<&str>> {
        if self.multi_node { self.nodes.iter().map(|node| Some(node.name.as_str())).collect() } else { vec![None] }
    }

    /// Reads the column.
    ///
    /// # Errors
    /// A fault when it is no settings at all.
    pub fn read(text: &str) -> Result<Self> {
        Ok(serde_json::from_str(text)?)
    }

    /// Writes the column.
    ///
    /// # Errors
    /// A fault; never seen.
    pub fn write(&self) -> Result<String> {
        Ok(serde_json::to_string(self)?)
    }
}

/// Instead of a step kind's default policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepOverride {
    /// Attempts and the time between them; None is the default.
    #[serde(default)]
    pub retry: Option<RetryPolicy>,
    /// One attempt may take this long, in milliseconds; None is the default. Of no effect on hooks, which have a deadline each.
    #[serde(default)]
    pub deadline_ms: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_is_tolerant_and_fills_in_defaults() -> Result<()> {
        let read = Settings::read(r#"{"nodeUrl": "http://n", "ofALaterVersion": [1]}"#)?;
        assert_eq!(read, Settings { node_url: "http://n".to_owned(), ..Settings::default() });
        assert_eq!(Settings::read(&read.write()?)?, read);
        assert!(Settings::read("3").is_err());
        Ok(())
    }
}
