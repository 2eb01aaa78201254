//! Reading a package that somebody uploaded: a project bundle, or an API service version.
//!
//! An archive is hostile until read. Its structure is checked before anything is unpacked (see `directory`), names of entries are labels and never paths, and
//! what is unpacked is counted. What is refused, and with which code: [`ArchiveError`]. The format is described in `docs/BUNDLE-FORMAT.md`.
//!
//! * `directory`: the archive's table of contents, read by hand and held to the limits.
//! * `entries`: opening the archive and unpacking one entry.
//! * `json`: parsing with a bound on the number of values, and errors that name the path.
//! * `manifest`, `service`: the two manifests. `infer`: a bundle without one.

mod directory;
mod entries;
mod error;
mod infer;
mod json;
mod manifest;
mod service;

use std::{
    io,
    path::{Path, PathBuf},
};

pub use error::ArchiveError;
pub use manifest::{
    BundleManifest, ManifestConnection, ManifestDesignNode, ManifestPermission, ManifestScenario, ManifestWebApp,
};
use serde_json::{Map, Value};
pub use service::{ServiceContents, ServiceEndpoint, ServiceManifest};
use targets::{http::unseen, spec};

use self::entries::Archive;

/// The longest text about the design node that lists of bundles show, in bytes.
const MOST_OF_NODE: usize = 1_000;

/// The bounds of one archive.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Entries in the archive.
    pub entries: u64,
    /// The archive's table of contents, in bytes: held in memory.
    pub directory: u64,
    /// All entries unpacked, as declared, in bytes.
    pub unpacked: u64,
    /// Unpacked bytes for each byte of the archive; only looked at from [`Limits::ratio_from`] on.
    pub ratio: u64,
    /// Below so many unpacked bytes any ratio is harmless.
    pub ratio_from: u64,
    /// A manifest, unpacked, in bytes.
    pub manifest: u64,
    /// JSON values in a manifest.
    pub manifest_values: u64,
    /// Inference: JSON entries that are looked into.
    pub scanned_entries: u64,
    /// Inference: one JSON entry, unpacked, in bytes.
    pub scanned_entry: u64,
    /// Inference: all that is unpacked, in bytes.
    pub scanned: u64,
}

impl Default for Limits {
    fn default() -> Self {
        const MIB: u64 = 1 << 20;
        Self {
            entries: 100_000,
            directory: 64 * MIB,
            unpacked: 100 * 1024 * MIB,
            ratio: 200,
            ratio_from: 256 * MIB,
            manifest: 16 * MIB,
            manifest_values: 500_000,
            scanned_entries: 20_000,
            scanned_entry: 4 * MIB,
            scanned: 256 * MIB,
        }
    }
}

/// How the contents of a bundle are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contents {
    /// The bundle's manifest says.
    Declared,
    /// Found by looking through the bundle's JSON files: connections may be missing from the list.
    Inferred,
}

/// What a bundle says of itself.
#[derive(Clone, Debug)]
pub struct BundleContents {
    /// Its id: from the manifest, else from the file's name.
    pub bundle_id: String,
    /// The project that it was made from.
    pub project_key: String,
    /// That project's name.
    pub project_name: Option<String>,
    /// The manifest, unknown keys and all; built from what was found if the bundle has none.
    pub manifest: BundleManifest,
    /// How the contents are known.
    pub contents: Contents,
    /// For the uploader: what was passed over.
    pub warnings: Vec<String>,
}

impl BundleContents {
    /// What a target must know of it.
    pub fn for_target(&self) -> spec::BundleContents {
        self.manifest.for_target(self.contents == Contents::Inferred)
    }

    /// Where it was made: `projectKey`, and as far as the manifest says it, `nodeId`, `url` and `installId` of the design node.
    pub fn design_node(&self) -> Map<String, Value> {
        let info = self.manifest.design_node_info.as_ref();
        let told = [
            ("projectKey", info.and_then(|info| info.project_key.as_deref()).or(Some(&self.project_key))),
            ("nodeId", info.and_then(|info| info.node_id.as_deref())),
            ("url", info.and_then(|info| info.url.as_deref())),
            ("installId", info.and_then(|info| info.extra.get("installId")?.as_str())),
        ];
        let short = |text: &&str| text.len() <= MOST_OF_NODE;
        told.into_iter().filter_map(|(key, text)| Some((key.to_owned(), text.filter(short)?.into()))).collect()
    }
}

/// Reads a bundle from a local file. `file_name` is the name under which it was uploaded: a bundle without manifest takes its id from it.
///
/// # Errors
/// [`ArchiveError`], each refusal with its own code.
pub async fn read_bundle(path: &Path, file_name: &str, limits: Limits) -> Result<BundleContents, ArchiveError> {
    let file_name = file_name.to_owned();
    blocking(path, move |path| bundle(&path, &file_name, limits)).await
}

/// Reads an API service version from a local file.
///
/// # Errors
/// [`ArchiveError`], each refusal with its own code.
pub async fn read_service(path: &Path, limits: Limits) -> Result<ServiceContents, ArchiveError> {
    blocking(path, move |path| service_version(&path, limits)).await
}

fn bundle(path: &Path, file_name: &str, limits: Limits) -> Result<BundleContents, ArchiveError> {
    let mut archive = Archive::open(path, limits)?;
    match archive.find(manifest::FILE) {
        Some(index) => manifest::read(&archive.manifest(index)?, limits.manifest_values),
        None => infer::read(&mut archive, file_name, &limits),
    }
}

fn service_version(path: &Path, limits: Limits) -> Result<ServiceContents, ArchiveError> {
    let mut archive = Archive::open(path, limits)?;
    let index = archive.find(service::FILE).ok_or(ArchiveError::ServiceManifestMissing)?;
    service::read(&archive.manifest(index)?, limits.manifest_values)
}

/// Unpacking is work for a processor and a disk, not for the threads that serve requests.
async fn blocking<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce(PathBuf) -> Result<T, ArchiveError> + Send + 'static,
) -> Result<T, ArchiveError> {
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || work(path))
        .await
        .unwrap_or_else(|e| Err(ArchiveError::Read(io::Error::other(e))))
}

/// What is wrong with an id, or nothing.
fn id_problem(id: &str) -> Option<String> {
    let mut problems = crate::error::Problems::default();
    crate::names::check(id, "id", &mut problems);
    match problems.check() {
        Err(crate::error::Error::Refused(refusals)) => refusals.into_iter().next().map(|r| r.message),
        _ => None,
    }
}

/// Text from an archive, fit for a message: no control or invisible characters, at most 100 characters.
fn shown(text: &str) -> String {
    const MOST: usize = 100;
    let mut shown: String =
        text.chars().take(MOST).map(|c| if c.is_control() || unseen(c) { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(MOST).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests;
