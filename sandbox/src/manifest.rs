//! The manifest of a bundle, and reading it out of an archive. Entry names are never used as paths.

use crate::reply::Refusal;
use crate::request::{Object, check_id, text};
use serde::Deserialize;
use serde_json::Value;
use std::fs::File;
use std::io::{BufReader, Read};
use zip::ZipArchive;

/// The entry that makes an archive a bundle.
pub(crate) const ENTRY: &str = "bundle-manifest.json";
/// The newest format that this node reads.
const FORMAT: u64 = 1;
/// The largest manifest, in bytes.
const SIZE: u64 = 16 * 1024 * 1024;
/// The most entries of an archive.
const ENTRIES: usize = 100_000;

/// What this node needs of a manifest. Scenarios, web apps and permissions stay whole: they become definitions.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    #[serde(default)]
    pub(crate) format_version: Option<u64>,
    pub(crate) bundle_id: String,
    pub(crate) project_key: String,
    #[serde(default)]
    pub(crate) project_name: Option<String>,
    #[serde(default)]
    pub(crate) owner: Option<String>,
    #[serde(default)]
    pub(crate) release_notes: Option<String>,
    #[serde(default)]
    pub(crate) connections: Vec<UsedConnection>,
    #[serde(default)]
    pub(crate) scenarios: Vec<Object>,
    #[serde(default)]
    pub(crate) webapps: Vec<Object>,
    #[serde(default)]
    pub(crate) permissions: Vec<Object>,
    #[serde(default)]
    pub(crate) variables: Variables,
    #[serde(default)]
    pub(crate) code_envs: Vec<UsedCodeEnv>,
}

/// A connection that the bundle's objects use.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct UsedConnection {
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(crate) kind: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Variables {
    #[serde(default)]
    pub(crate) standard: Object,
}

/// A code env that the bundle's recipes use.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct UsedCodeEnv {
    pub(crate) name: String,
}

/// The bytes of an archive's manifest, whatever its name. Blocks.
pub(crate) fn entry(file: File, name: &str) -> Result<Vec<u8>, Refusal> {
    let not_zip = |error| Refusal::bad(format!("the file is no readable zip archive: {error}"));
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(not_zip)?;
    if archive.len() > ENTRIES {
        return Err(Refusal::bad(format!("the archive has more than {ENTRIES} entries")));
    }
    if archive.has_duplicate_names() {
        return Err(Refusal::bad("the archive has two entries of one name"));
    }
    let entry = archive.by_name(name).map_err(|error| Refusal::bad(format!("no {name} in it: {error}")))?;
    let mut bytes = Vec::new();
    entry.take(SIZE + 1).read_to_end(&mut bytes).map_err(|error| not_zip(error.into()))?;
    if bytes.len() as u64 > SIZE {
        return Err(Refusal::bad(format!("{name} is larger than {SIZE} bytes")));
    }
    Ok(bytes)
}

/// Refuses a format that is newer than this node reads.
pub(crate) fn check_format(version: Option<u64>) -> Result<(), Refusal> {
    match version.filter(|version| *version > FORMAT) {
        Some(version) => Err(Refusal::bad(format!("formatVersion {version} is newer than this node reads ({FORMAT})"))),
        None => Ok(()),
    }
}

impl Manifest {
    /// Reads the manifest of an archive. Blocks.
    pub(crate) fn read(file: File) -> Result<Self, Refusal> {
        let bytes = entry(file, ENTRY)?;
        let manifest: Self =
            serde_json::from_slice(&bytes).map_err(|error| Refusal::bad(format!("{ENTRY} is wrong: {error}")))?;
        manifest.check()?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), Refusal> {
        check_format(self.format_version)?;
        check_id("bundleId", &self.bundle_id)?;
        check_id("projectKey", &self.project_key)?;
        for (what, objects) in [("scenario", &self.scenarios), ("web app", &self.webapps)] {
            for object in objects {
                let id = text(object, "id").ok_or_else(|| Refusal::bad(format!("a {what} has no id")))?;
                check_id(&format!("the id of a {what}"), id)?;
            }
        }
        Ok(())
    }

    pub(crate) fn name(&self) -> &str {
        self.project_name.as_deref().unwrap_or(&self.project_key)
    }

    /// Whether the bundle turns a scenario on, on a node that never had it.
    pub(crate) fn active(scenario: &Object) -> bool {
        scenario.get("active").and_then(Value::as_bool).unwrap_or(false)
    }
}
