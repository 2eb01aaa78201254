//! What can be set on a deployment.

use std::collections::BTreeMap;

use engine::plan::OnFailure;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use targets::{
    spec::{CodeEnvsBehavior, ConnectionRemapping, Remapping},
    target::Half,
};

use super::api::{ApiChange, ApiSettings};
use crate::{
    error::{Problems, Result},
    infrastructures::{remappings, validate::MOST_OTHER},
    names, text,
};

/// The most scenarios that are switched.
const MOST_SCENARIOS: usize = 10_000;
/// The most local variables, as JSON, in bytes.
const MOST_VARIABLES: usize = 1 << 20;

/// The most tags, and the longest, in characters.
const MOST_TAGS: usize = 50;
const LONGEST_TAG: usize = 100;

/// How a deployment's bundle is put on its infrastructure. Kept as JSON in the deployment's row.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// The deployment's own copy of the remappings.
    pub connection_remapping: Vec<ConnectionRemapping>,
    /// Of code envs; None (nobody has set any since an earlier version) leaves the node's alone.
    pub code_env_remapping: Option<Vec<Remapping>>,
    /// Of container configurations; None as well.
    pub container_exec_remapping: Option<Vec<Remapping>>,
    /// At each update, the infrastructure's remappings of then are put to these; where both remap a name, these win.
    pub merge_infrastructure_remapping: bool,
    /// How the node imports the bundle's code envs; None leaves the node's own way alone.
    pub code_envs_behavior: Option<CodeEnvsBehavior>,
    /// Written to the node as the project's local variables; None leaves the node's alone.
    pub local_variables: Option<Map<String, Value>>,
    /// Per scenario id: on or off. A scenario that is not named is left alone.
    pub scenarios: BTreeMap<String, bool>,
    /// The folder on the node that the project lies in: the next update moves it there. None: a new one in the root, another one where it lies.
    pub project_folder: Option<String>,
    /// In place of the infrastructure's.
    pub on_failure: Option<OnFailure>,
    /// Every scenario is off, whatever is said per scenario.
    pub disable_automatic_triggers: bool,
    /// For people: what they look for deployments by.
    pub tags: Vec<String>,
    /// It is switched off on its node, and takes no update but the one that enables it. Changed by that, and by disabling, alone.
    pub disabled: bool,
    /// What clients keep here that means nothing to us: answered as it was given.
    pub other: Map<String, Value>,
    /// Of an API service; None for a project.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api: Option<ApiSettings>,
}

/// What to change of a deployment; None leaves it as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Change {
    /// The version that the editor saw.
    pub expected_version: i64,
    /// The bundle.
    pub bundle_id: Option<String>,
    /// The project key on the node: only before the first update.
    pub deployed_project_key: Option<String>,
    /// The settings.
    pub settings: SettingsChange,
    /// Go on where the infrastructure's policies warn of the bundle.
    pub ignore_warnings: bool,
}

/// What to change of the settings; None leaves it as it is, `Some(None)` takes it away.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SettingsChange {
    /// All remappings, in place of those before.
    pub connection_remapping: Option<Vec<ConnectionRemapping>>,
    /// All remappings of code envs.
    pub code_env_remapping: Option<Vec<Remapping>>,
    /// All remappings of container configurations.
    pub container_exec_remapping: Option<Vec<Remapping>>,
    /// Whether the infrastructure's remappings are put to these.
    pub merge_infrastructure_remapping: Option<bool>,
    /// How code envs are imported.
    pub code_envs_behavior: Option<Option<CodeEnvsBehavior>>,
    /// All local variables.
    pub local_variables: Option<Option<Map<String, Value>>>,
    /// All scenario switches.
    pub scenarios: Option<BTreeMap<String, bool>>,
    /// The folder on the node.
    pub project_folder: Option<Option<String>>,
    /// What a failure does.
    pub on_failure: Option<Option<OnFailure>>,
    /// Whether every scenario is off.
    pub disable_automatic_triggers: Option<bool>,
    /// All tags.
    pub tags: Option<Vec<String>>,
    /// All that clients keep.
    pub other: Option<Map<String, Value>>,
    /// Of an API service.
    pub api: ApiChange,
    /// Where in the list that came in a scenario stands that stands there before: what is meant by both, nobody knows.
    pub repeated_scenarios: Vec<usize>,
}

impl SettingsChange {
    /// Notes what contradicts itself, or is of the other half.
    pub(crate) fn check(&self, half: Half, problems: &mut Problems) {
        if half == Half::Api {
            self.refuse_for_projects(problems);
        }
        for index in &self.repeated_scenarios {
            let message = "This scenario is there twice. Keep one of the two.";
            problems.add("TEXT_INVALID", format!("scenarios[{index}].id"), message);
        }
    }

    /// Notes what only projects have. Nothing in its place, as clients send it along, says nothing.
    fn refuse_for_projects(&self, problems: &mut Problems) {
        fn some<T>(list: &Option<Vec<T>>) -> bool {
            list.as_ref().is_some_and(|list| !list.is_empty())
        }
        for (field, set) in [
            ("connectionRemapping", some(&self.connection_remapping)),
            ("codeEnvRemapping", some(&self.code_env_remapping)),
            ("containerExecRemapping", some(&self.container_exec_remapping)),
            ("mergeInfrastructureRemapping", self.merge_infrastructure_remapping == Some(true)),
            ("codeEnvsBehavior", matches!(self.code_envs_behavior, Some(Some(_)))),
            ("localVariables", matches!(&self.local_variables, Some(Some(variables)) if !variables.is_empty())),
            ("scenarios", self.scenarios.as_ref().is_some_and(|scenarios| !scenarios.is_empty())),
            ("projectFolder", matches!(self.project_folder, Some(Some(_)))),
            ("disableAutomaticTriggers", self.disable_automatic_triggers == Some(true)),
        ] {
            if set {
                let message =
                    "Only deployments of projects have this. What a deployed API service can have set is in service.";
                problems.add("NOT_FOR_API_SERVICES", field, message);
            }
        }
    }
}

impl Settings {
    /// As the row holds them.
    pub(crate) fn read(row: &str) -> Result<Self> {
        Ok(serde_json::from_str(row)?)
    }

    /// These settings with a change.
    #[must_use]
    pub fn with(mut self, change: &SettingsChange) -> Self {
        if let Some(remapping) = &change.connection_remapping {
            self.connection_remapping.clone_from(remapping);
        }
        if let Some(remapping) = &change.code_env_remapping {
            self.code_env_remapping = Some(remapping.clone());
        }
        if let Some(remapping) = &change.container_exec_remapping {
            self.container_exec_remapping = Some(remapping.clone());
        }
        if let Some(merge) = change.merge_infrastructure_remapping {
            self.merge_infrastructure_remapping = merge;
        }
        if let Some(behavior) = change.code_envs_behavior {
            self.code_envs_behavior = behavior;
        }
        if let Some(variables) = &change.local_variables {
            self.local_variables.clone_from(variables);
        }
        if let Some(scenarios) = &change.scenarios {
            self.scenarios.clone_from(scenarios);
        }
        if let Some(folder) = &change.project_folder {
            self.project_folder.clone_from(folder);
        }
        if let Some(on_failure) = change.on_failure {
            self.on_failure = on_failure;
        }
        // Of a project this is done by an update alone, which notes what was on.
        if let (Some(enabled), Some(_)) = (change.api.enabled, &self.api) {
            self.disabled = !enabled;
        }
        if let Some(disable) = change.disable_automatic_triggers {
            self.disable_automatic_triggers = disable;
        }
        if let Some(tags) = &change.tags {
            self.tags.clone_from(tags);
        }
        if let Some(other) = &change.other {
            self.other.clone_from(other);
        }
        self
    }

    /// Notes all that is wrong.
    pub(crate) fn check(&self, problems: &mut Problems) {
        remappings(&self.connection_remapping, "connectionRemapping", problems);
        remappings(self.code_env_remapping.as_deref().unwrap_or_default(), "codeEnvRemapping", problems);
        remappings(self.container_exec_remapping.as_deref().unwrap_or_default(), "containerExecRemapping", problems);
        if self.scenarios.len() > MOST_SCENARIOS {
            problems.add("TOO_MANY", "scenarios", format!("At most {MOST_SCENARIOS} scenarios can be switched."));
        } else {
            for (index, id) in self.scenarios.keys().enumerate() {
                text::required_line(id, text::LINE, &format!("scenarios[{index}].id"), problems);
            }
        }
        if let Some(variables) = &self.local_variables {
            // Counted, not kept.
            let size = serde_json::to_vec(variables).map_or(usize::MAX, |json| json.len());
            if size > MOST_VARIABLES {
                problems.add(
                    "LOCAL_VARIABLES_TOO_LARGE",
                    "localVariables",
                    format!("At most {MOST_VARIABLES} bytes as JSON."),
                );
            }
        }
        if let Some(folder) = &self.project_folder {
            names::check(folder, "projectFolder", problems);
        }
        if self.tags.len() > MOST_TAGS {
            problems.add("TOO_MANY", "tags", format!("At most {MOST_TAGS} tags."));
        } else {
            for (index, tag) in self.tags.iter().enumerate() {
                text::required_line(tag, LONGEST_TAG, &format!("tags[{index}]"), problems);
                if self.tags[..index].contains(tag) {
                    problems.add(
                        "TEXT_INVALID",
                        format!("tags[{index}]"),
                        "This tag is there twice. Keep one of the two.",
                    );
                }
            }
        }
        let other = serde_json::to_vec(&self.other).map_or(usize::MAX, |json| json.len());
        if other > MOST_OTHER {
            problems.add(
                "SETTINGS_TOO_LARGE",
                "other",
                format!("At most {MOST_OTHER} bytes of keys that Slipway does not know."),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::error::Error;

    fn problems(settings: &Settings) -> Vec<(&'static str, String)> {
        let mut problems = Problems::default();
        settings.check(&mut problems);
        match problems.check() {
            Err(Error::Refused(refusals)) => {
                refusals.into_iter().map(|r| (r.code, r.field.unwrap_or_default())).collect()
            }
            _ => Vec::new(),
        }
    }

    fn remap(source: &str, target: &str) -> Remapping {
        Remapping { source: source.to_owned(), target: target.to_owned() }
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let long = Value::String("x".repeat(MOST_VARIABLES));
        let settings = Settings {
            connection_remapping: vec![remap("a", "b"), remap("a", "c"), remap(" ", "c")],
            code_env_remapping: Some(vec![remap("py", "py\n")]),
            container_exec_remapping: Some(vec![remap("big", "huge"), remap("big", "small")]),
            local_variables: Some([("v".to_owned(), long)].into_iter().collect()),
            scenarios: [("a\nb".to_owned(), true)].into_iter().collect(),
            project_folder: Some("a/b".to_owned()),
            tags: vec!["a".to_owned(), "a".to_owned(), "x".repeat(LONGEST_TAG + 1)],
            ..Settings::default()
        };
        let expected = [
            ("REMAPPING_INVALID", "connectionRemapping[1].source"),
            ("TEXT_INVALID", "connectionRemapping[2].source"),
            ("TEXT_INVALID", "codeEnvRemapping[0].target"),
            ("REMAPPING_INVALID", "containerExecRemapping[1].source"),
            ("TEXT_INVALID", "scenarios[0].id"),
            ("LOCAL_VARIABLES_TOO_LARGE", "localVariables"),
            ("ID_INVALID", "projectFolder"),
            ("TEXT_INVALID", "tags[1]"),
            ("TEXT_INVALID", "tags[2]"),
        ];
        assert_eq!(problems(&settings), expected.map(|(code, field)| (code, field.to_owned())));
        assert_eq!(problems(&Settings::default()), []);
    }

    #[test]
    fn a_change_touches_what_it_names() {
        let before = Settings {
            connection_remapping: vec![remap("a", "b")],
            on_failure: Some(OnFailure::Restore),
            ..Settings::default()
        };
        assert_eq!(before.clone().with(&SettingsChange::default()), before);
        let after = before.clone().with(&SettingsChange { on_failure: Some(None), ..SettingsChange::default() });
        assert_eq!(after, Settings { on_failure: None, ..before });
    }

    #[test]
    fn rows_of_an_earlier_version_can_be_read() {
        assert_eq!(serde_json::from_value::<Settings>(json!({})).unwrap(), Settings::default());
    }
}
