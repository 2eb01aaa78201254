//! `bundle-manifest.json`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use targets::spec;

use super::{ArchiveError, BundleContents, Contents, id_problem, json, json::nullable, shown};

/// Its name, at the root of the bundle.
pub(super) const FILE: &str = "bundle-manifest.json";

/// More connections, scenarios or web apps than a project has.
const MOST_ITEMS: usize = 10_000;

/// A bundle's manifest. Only the two ids are needed; `null` stands for a missing key; keys that Slipway doesn't know are kept in `extra`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BundleManifest {
    /// Of the manifest; absent means 1.
    #[serde(default = "json::first_format", deserialize_with = "json::format_version")]
    pub format_version: u64,
    /// The bundle.
    #[serde(default, deserialize_with = "nullable")]
    pub bundle_id: String,
    /// The project that it was made from.
    #[serde(default, deserialize_with = "nullable")]
    pub project_key: String,
    /// That project's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_name: Option<String>,
    /// That project's owner: a login of the design node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// What is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release_notes: Option<String>,
    /// Where it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub design_node_info: Option<ManifestDesignNode>,
    /// The connections that it uses.
    #[serde(default, deserialize_with = "nullable")]
    pub connections: Vec<ManifestConnection>,
    /// Its scenarios.
    #[serde(default, deserialize_with = "nullable")]
    pub scenarios: Vec<ManifestScenario>,
    /// Its web apps.
    #[serde(default, deserialize_with = "nullable")]
    pub webapps: Vec<ManifestWebApp>,
    /// The design project's permissions.
    #[serde(default, deserialize_with = "nullable")]
    pub permissions: Vec<ManifestPermission>,
    /// The project's variables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variables: Option<Map<String, Value>>,
    /// The code environments that it uses, as the design node describes them.
    #[serde(default, deserialize_with = "nullable")]
    pub code_envs: Vec<Map<String, Value>>,
    /// The report of the project's standards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_standards_report: Option<Value>,
    /// What else the manifest holds.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The node where a bundle was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ManifestDesignNode {
    /// Its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_id: Option<String>,
    /// The project there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_key: Option<String>,
    /// Its address; a text for people, never called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// What else it says.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A connection that a bundle uses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ManifestConnection {
    /// Its name on the design node.
    pub name: String,
    /// Its type, such as `PostgreSQL`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// What uses it: texts for people.
    #[serde(default, deserialize_with = "nullable")]
    pub used_by: Vec<String>,
    /// What else it says.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A scenario in a bundle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ManifestScenario {
    /// Its id.
    pub id: String,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether its triggers are on in the design project.
    #[serde(default, deserialize_with = "nullable")]
    pub active: bool,
    /// As whom it runs on the design node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_as_user: Option<String>,
    /// Whether it is a test.
    #[serde(default, deserialize_with = "nullable")]
    pub marked_as_test: bool,
    /// What else it says.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A web app in a bundle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ManifestWebApp {
    /// Its id.
    pub id: String,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// As whom it runs on the design node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_as_user: Option<String>,
    /// What else it says.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// What a group or a user may do in the design project.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ManifestPermission {
    /// A group's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Or a user's login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// `readProjectContent`, `writeProjectContent` and the like, as the node's API spells them.
    #[serde(flatten)]
    pub rights: Map<String, Value>,
}

impl BundleManifest {
    /// A manifest with nothing but its ids.
    pub(super) fn new(bundle_id: String, project_key: String) -> Self {
        Self {
            format_version: json::first_format(),
            bundle_id,
            project_key,
            project_name: None,
            owner: None,
            release_notes: None,
            design_node_info: None,
            connections: Vec::new(),
            scenarios: Vec::new(),
            webapps: Vec::new(),
            permissions: Vec::new(),
            variables: None,
            code_envs: Vec::new(),
            project_standards_report: None,
            extra: Map::new(),
        }
    }

    /// What a target must know of it.
    pub(super) fn for_target(&self, inferred: bool) -> spec::BundleContents {
        let connections = self.connections.iter().map(|c| spec::BundleConnection {
            name: c.name.clone(),
            kind: c.kind.clone(),
            used_by: c.used_by.iter().map(|user| shown(user)).collect(),
        });
        let scenarios = self.scenarios.iter().map(|s| spec::BundleScenario {
            id: s.id.clone(),
            name: s.name.as_deref().map(shown),
            active: s.active,
        });
        let webapps =
            self.webapps.iter().map(|w| spec::BundleWebApp { id: w.id.clone(), name: w.name.as_deref().map(shown) });
        let permissions = self.permissions.iter().map(|p| {
            let mut item = p.rights.clone();
            item.extend(p.group.as_deref().map(|group| ("group".to_owned(), Value::String(shown(group)))));
            item.extend(p.user.as_deref().map(|user| ("user".to_owned(), Value::String(shown(user)))));
            item
        });
        let code_envs = self.code_envs.iter().filter_map(|env| {
            let name = ["name", "envName"].iter().find_map(|key| env.get(*key)?.as_str())?;
            (!name.trim().is_empty() && name == shown(name)).then(|| name.to_owned())
        });
        spec::BundleContents {
            project_key: Some(self.project_key.clone()),
            connections: connections.collect(),
            scenarios: scenarios.collect(),
            webapps: webapps.collect(),
            code_envs: code_envs.collect(),
            permissions: permissions.collect(),
            inferred,
        }
    }

    /// Ids and names that later become parts of calls to a node, and of messages.
    fn check(&self) -> Result<(), ArchiveError> {
        let invalid = |path: String, problem: String| ArchiveError::ManifestInvalid { file: FILE, path, problem };
        if self.project_key.trim().is_empty() {
            return Err(ArchiveError::NoProjectKey);
        }
        if let Some(problem) = id_problem(&self.project_key) {
            return Err(ArchiveError::ProjectKeyInvalid { problem });
        }
        if let Some(problem) = id_problem(&self.bundle_id) {
            return Err(ArchiveError::BundleIdInvalid { problem });
        }
        for (list, length) in [
            ("connections", self.connections.len()),
            ("scenarios", self.scenarios.len()),
            ("webapps", self.webapps.len()),
        ] {
            if length > MOST_ITEMS {
                return Err(invalid(list.to_owned(), format!("at most {MOST_ITEMS} are allowed")));
            }
        }
        for (at, connection) in self.connections.iter().enumerate() {
            let texts = [("name", Some(&connection.name)), ("type", connection.kind.as_ref())];
            for (key, text) in texts.into_iter().filter_map(|(key, text)| Some((key, text?))) {
                if *text != shown(text) {
                    return Err(invalid(
                        format!("connections[{at}].{key}"),
                        "it must have at most 100 characters, and no control or invisible ones".to_owned(),
                    ));
                }
            }
            if connection.name.trim().is_empty() {
                return Err(invalid(
                    format!("connections[{at}].name"),
                    "a connection's name must not be blank".to_owned(),
                ));
            }
        }
        let scenarios = self.scenarios.iter().enumerate().map(|(at, s)| (format!("scenarios[{at}].id"), &s.id));
        let webapps = self.webapps.iter().enumerate().map(|(at, w)| (format!("webapps[{at}].id"), &w.id));
        for (path, id) in scenarios.chain(webapps) {
            if let Some(problem) = id_problem(id) {
                return Err(invalid(path, problem.trim_end_matches('.').to_owned()));
            }
        }
        Ok(())
    }
}

/// Reads the manifest's bytes.
pub(super) fn read(bytes: &[u8], most_values: u64) -> Result<BundleContents, ArchiveError> {
    let manifest: BundleManifest = json::manifest(FILE, bytes, most_values)?;
    manifest.check()?;
    let mut warnings = Vec::new();
    for (at, item) in manifest.permissions.iter().enumerate() {
        if item.group.is_none() == item.user.is_none() {
            warnings.push(format!("permissions[{at}] of the manifest names not exactly one of group and user."));
        }
    }
    Ok(BundleContents {
        bundle_id: manifest.bundle_id.clone(),
        project_key: manifest.project_key.clone(),
        project_name: manifest.project_name.clone(),
        contents: Contents::Declared,
        warnings,
        manifest,
    })
}
