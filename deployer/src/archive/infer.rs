//! A bundle without manifest: what its JSON files tell.
//!
//! The layout of such archives is not documented, so nothing depends on folders, and every finding is a guess that is marked as one.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{
    ArchiveError, BundleContents, BundleManifest, Contents, Limits, ManifestConnection, ManifestScenario,
    entries::Archive, id_problem, json, shown,
};

/// JSON values in one entry: what is larger holds data, not a definition.
const MOST_VALUES: u64 = 100_000;
/// Connections, and scenarios, that a list for people can hold.
const MOST_FOUND: usize = 10_000;
/// Types of datasets that are named like the type of their connection. For others (files on a cloud store) the two differ, and a wrong guess would
/// refuse a good deployment: then only the connection's name is known.
const SAME_TYPE: [&str; 17] = [
    "Athena",
    "BigQuery",
    "Cassandra",
    "Databricks",
    "ElasticSearch",
    "Filesystem",
    "Greenplum",
    "HDFS",
    "MongoDB",
    "MySQL",
    "Oracle",
    "PostgreSQL",
    "Redshift",
    "SQLServer",
    "Snowflake",
    "Synapse",
    "Teradata",
];

#[derive(Default)]
struct Found {
    /// By name and type: used by whom.
    connections: BTreeMap<(String, Option<String>), Vec<String>>,
    scenarios: BTreeMap<String, ManifestScenario>,
    /// By depth and key: how often.
    keys: BTreeMap<usize, BTreeMap<String, usize>>,
    unreadable: usize,
    passed_over: usize,
}

/// Looks through the archive's JSON entries.
pub(super) fn read(archive: &mut Archive, file_name: &str, limits: &Limits) -> Result<BundleContents, ArchiveError> {
    let found = scan(archive, limits)?;
    let project_key = found.project_key()?;
    let bundle_id = id_from(file_name)?;
    let mut warnings = vec![
        "The bundle has no manifest: its connections and scenarios were found by looking through its files, and some may be missing.".to_owned(),
    ];
    if found.passed_over > 0 {
        warnings.push(format!("{} JSON files were too large or too many to look into.", found.passed_over));
    }
    if found.unreadable > 0 {
        warnings
            .push(format!("{} files named .json hold no JSON object, or one that cannot be used.", found.unreadable));
    }
    let mut manifest = BundleManifest::new(bundle_id.clone(), project_key.clone());
    manifest.scenarios = found.scenarios.into_values().collect();
    let connections = found.connections.into_iter().map(|((name, kind), used_by)| ManifestConnection {
        name,
        kind,
        used_by,
        extra: Map::new(),
    });
    manifest.connections = connections.collect();
    Ok(BundleContents { bundle_id, project_key, project_name: None, manifest, contents: Contents::Inferred, warnings })
}

fn scan(archive: &mut Archive, limits: &Limits) -> Result<Found, ArchiveError> {
    let mut found = Found::default();
    let (mut entries_left, mut bytes_left) = (limits.scanned_entries, limits.scanned);
    for index in 0..archive.len() {
        let entry = archive.entry(index)?;
        if !entry.file || !entry.name.to_ascii_lowercase().ends_with(".json") {
            continue;
        }
        if entries_left == 0 || entry.size > bytes_left {
            found.passed_over += 1;
            continue;
        }
        entries_left -= 1;
        // What is no deflate is no reason to refuse: nothing demands that this entry is read.
        let bytes = match archive.unpack(index, limits.scanned_entry.min(bytes_left)) {
            Ok(Some(bytes)) => bytes,
            Ok(None) | Err(ArchiveError::CompressionUnsupported { .. }) => {
                found.passed_over += 1;
                continue;
            }
            Err(error) => return Err(error),
        };
        bytes_left = bytes_left.saturating_sub(bytes.len() as u64);
        match json::object(&bytes, MOST_VALUES) {
            Some(object) => found.look(&entry.name, &object),
            None => found.unreadable += 1,
        }
    }
    Ok(found)
}

impl Found {
    fn look(&mut self, entry: &str, object: &Map<String, Value>) {
        let text = |key: &str| object.get(key).and_then(Value::as_str).filter(|t| !t.trim().is_empty());
        if let Some(key) = text("projectKey").filter(|key| id_problem(key).is_none()) {
            let depth = entry.matches(['/', '\\']).count();
            *self.keys.entry(depth).or_default().entry(key.to_owned()).or_default() += 1;
        }
        let Some(kind) = text("type") else { return };
        let stem = stem(entry);
        let connection = object.get("params").and_then(|p| p.get("connection")).and_then(Value::as_str);
        match connection.filter(|name| !name.trim().is_empty()) {
            Some(name) => self.dataset(name, kind, text("name").unwrap_or(stem)),
            None => {
                let folder = entry.rsplit(['/', '\\']).nth(1);
                let scenario = matches!(kind, "step_based" | "custom_python") || folder == Some("scenarios");
                if let (true, Some(active)) = (scenario, object.get("active").and_then(Value::as_bool)) {
                    self.scenario(text("id").unwrap_or(stem), text("name"), active, object);
                }
            }
        }
    }

    fn dataset(&mut self, connection: &str, kind: &str, dataset: &str) {
        // A name is compared with the node's; one that must be cut to be shown is none.
        if connection != shown(connection) {
            self.unreadable += 1;
            return;
        }
        let kind = SAME_TYPE.contains(&kind).then(|| kind.to_owned());
        let key = (connection.to_owned(), kind);
        if self.connections.len() < MOST_FOUND || self.connections.contains_key(&key) {
            self.connections.entry(key).or_default().push(format!("dataset {}", shown(dataset)));
        } else {
            self.passed_over += 1;
        }
    }

    fn scenario(&mut self, id: &str, name: Option<&str>, active: bool, object: &Map<String, Value>) {
        if id_problem(id).is_some() || self.scenarios.len() >= MOST_FOUND {
            self.unreadable += 1;
            return;
        }
        let scenario = ManifestScenario {
            id: id.to_owned(),
            name: name.map(shown),
            active,
            run_as_user: object.get("runAsUser").and_then(Value::as_str).map(shown),
            marked_as_test: object.get("markedAsTest").and_then(Value::as_bool).unwrap_or(false),
            extra: Map::new(),
        };
        self.scenarios.entry(id.to_owned()).or_insert(scenario);
    }

    /// What most of the files nearest to the root say; if they don't agree on one, nobody knows.
    fn project_key(&self) -> Result<String, ArchiveError> {
        let (_, nearest) = self.keys.first_key_value().ok_or(ArchiveError::NoProjectKey)?;
        let most = nearest.values().max().copied().unwrap_or_default();
        let mut candidates = nearest.iter().filter(|(_, count)| **count == most).map(|(key, _)| key);
        match (candidates.next(), candidates.next()) {
            (Some(key), None) => Ok(key.clone()),
            _ => Err(ArchiveError::NoProjectKey),
        }
    }
}

/// The file's name without folders and without `.zip`.
fn id_from(file_name: &str) -> Result<String, ArchiveError> {
    let name = file_name.rsplit(['/', '\\']).next().unwrap_or_default();
    let zip =
        name.len().checked_sub(4).filter(|at| name.get(*at..).is_some_and(|end| end.eq_ignore_ascii_case(".zip")));
    let id = zip.and_then(|at| name.get(..at)).unwrap_or(name);
    match id_problem(id) {
        None => Ok(id.to_owned()),
        Some(problem) => Err(ArchiveError::BundleIdInvalid { problem }),
    }
}

fn stem(entry: &str) -> &str {
    let name = entry.rsplit(['/', '\\']).next().unwrap_or_default();
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}
