//! Bundles to deploy: small ones for every day, and one of any size for streaming.

use crate::manifest::ENTRY;
use crate::upload::hex;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, BufWriter, Cursor, Read, Seek, Write};
use std::path::Path;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// What a sample bundle holds.
#[derive(Debug, Clone)]
pub struct BundleSpec {
    /// The project's key on the design node.
    pub project_key: String,
    /// The bundle's id.
    pub bundle_id: String,
    /// The project's name.
    pub project_name: String,
    /// The login of the project's owner on the design node.
    pub owner: String,
    /// The release notes.
    pub release_notes: String,
    /// The connections that the project uses.
    pub connections: Vec<SampleConnection>,
    /// The scenarios.
    pub scenarios: Vec<SampleScenario>,
    /// The web apps.
    pub webapps: Vec<SampleWebapp>,
    /// The project's permissions, as in the manifest.
    pub permissions: Vec<Value>,
    /// `variables.standard`, an object.
    pub variables: Value,
    /// The names of the code envs that it uses.
    pub code_envs: Vec<String>,
}

/// A connection that a sample bundle uses.
#[derive(Debug, Clone)]
pub struct SampleConnection {
    /// Its name on the design node.
    pub name: String,
    /// Its type, such as `PostgreSQL`.
    pub kind: String,
    /// What uses it.
    pub used_by: Vec<String>,
}

/// A scenario of a sample bundle.
#[derive(Debug, Clone)]
pub struct SampleScenario {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Whether it is on, on the design node.
    pub active: bool,
    /// Its run-as user on the design node; its last editor when absent.
    pub run_as_user: Option<String>,
    /// Whether it is a test.
    pub marked_as_test: bool,
}

/// A web app of a sample bundle.
#[derive(Debug, Clone)]
pub struct SampleWebapp {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its run-as user on the design node; its last editor when absent.
    pub run_as_user: Option<String>,
    /// Whether its backend starts when a node gets it for the first time.
    pub auto_start: bool,
}

impl BundleSpec {
    /// An ordinary project: two connections (`sql-dev` PostgreSQL, `files-dev` Filesystem), scenarios DAILY (on, runs as
    /// `designer`), WEEKLY (off, no run-as user) and CHECKS (off, a test), web app `app` (backend started), rights for
    /// group `data-team` and user `analyst`, a variable, a code env.
    pub fn new(project_key: &str, bundle_id: &str) -> Self {
        let connection = |name: &str, kind: &str, used_by: &str| SampleConnection {
            name: name.to_owned(),
            kind: kind.to_owned(),
            used_by: vec![used_by.to_owned()],
        };
        let scenario = |id: &str, name: &str, active: bool, run_as_user: Option<&str>| SampleScenario {
            id: id.to_owned(),
            name: name.to_owned(),
            active,
            run_as_user: run_as_user.map(str::to_owned),
            marked_as_test: id == "CHECKS",
        };
        Self {
            project_key: project_key.to_owned(),
            bundle_id: bundle_id.to_owned(),
            project_name: format!("Sample {project_key}"),
            owner: "designer".to_owned(),
            release_notes: format!("Sample bundle {bundle_id}"),
            connections: vec![
                connection("sql-dev", "PostgreSQL", "dataset customers"),
                connection("files-dev", "Filesystem", "dataset scores"),
            ],
            scenarios: vec![
                scenario("DAILY", "Daily build", true, Some("designer")),
                scenario("WEEKLY", "Weekly report", false, None),
                scenario("CHECKS", "Checks", false, Some("designer")),
            ],
            webapps: vec![SampleWebapp {
                id: "app".to_owned(),
                name: "Dashboard".to_owned(),
                run_as_user: Some("designer".to_owned()),
                auto_start: true,
            }],
            permissions: vec![
                json!({"group": "data-team", "readProjectContent": true, "runScenarios": true, "writeProjectContent": true}),
                json!({"user": "analyst", "readProjectContent": true}),
            ],
            variables: json!({"threshold": 0.8, "bundle": bundle_id}),
            code_envs: vec!["py_sample".to_owned()],
        }
    }

    /// The manifest.
    pub fn manifest(&self) -> Value {
        let connections: Vec<Value> = self
            .connections
            .iter()
            .map(|one| json!({"name": one.name, "type": one.kind, "usedBy": one.used_by}))
            .collect();
        let with_user = |mut value: Value, user: &Option<String>| {
            if let Some(user) = user {
                value["runAsUser"] = json!(user);
            }
            value
        };
        let scenarios: Vec<Value> = self
            .scenarios
            .iter()
            .map(|one| {
                let value =
                    json!({"id": one.id, "name": one.name, "active": one.active, "markedAsTest": one.marked_as_test});
                with_user(value, &one.run_as_user)
            })
            .collect();
        let webapps: Vec<Value> = self
            .webapps
            .iter()
            .map(|one| {
                let value = json!({"id": one.id, "name": one.name, "autoStartBackend": one.auto_start});
                with_user(value, &one.run_as_user)
            })
            .collect();
        let code_envs: Vec<Value> = self.code_envs.iter().map(|name| json!({"name": name, "lang": "PYTHON"})).collect();
        json!({
            "formatVersion": 1, "bundleId": self.bundle_id, "projectKey": self.project_key,
            "projectName": self.project_name, "owner": self.owner, "releaseNotes": self.release_notes,
            "designNodeInfo": {"nodeId": "design", "projectKey": self.project_key, "url": "https://design.example"},
            "connections": connections, "scenarios": scenarios, "webapps": webapps,
            "permissions": self.permissions, "variables": {"standard": self.variables}, "codeEnvs": code_envs,
            "projectStandardsReport": null,
        })
    }

    /// Manifest and a few files. Names are counted, so that no id can make two entries of one name.
    fn write_into(&self, zip: &mut ZipWriter<impl Write + Seek>) -> zip::result::ZipResult<()> {
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
        let mut file = |name: &str, text: &str| {
            zip.start_file(name, options)?;
            zip.write_all(text.as_bytes())?;
            Ok::<_, zip::result::ZipError>(())
        };
        file(ENTRY, &format!("{:#}", self.manifest()))?;
        file("README.md", &format!("# {}\n\n{}\n", self.project_name, self.release_notes))?;
        file("recipes/compute_scores.py", "import dataiku\n\n# A sample recipe.\n")?;
        for (number, one) in self.connections.iter().enumerate() {
            let dataset =
                json!({"name": format!("dataset_{number}"), "type": one.kind, "params": {"connection": one.name}});
            file(&format!("datasets/dataset_{number}.json"), &dataset.to_string())?;
        }
        for (number, one) in self.scenarios.iter().enumerate() {
            let scenario = json!({"id": one.id, "type": "step_based", "active": one.active});
            file(&format!("scenarios/scenario_{number}.json"), &scenario.to_string())?;
        }
        Ok(())
    }
}

impl Default for BundleSpec {
    fn default() -> Self {
        Self::new("CHURN", "v1")
    }
}

/// A small bundle, as the bytes of its archive. The same spec makes the same bytes.
pub fn sample_bundle(spec: &BundleSpec) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    match spec.write_into(&mut zip).and_then(|()| zip.finish()) {
        Ok(archive) => archive.into_inner(),
        Err(error) => unreachable!("an archive of counted names in memory can't fail: {error}"),
    }
}

/// A bundle that was written to a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Bytes of the archive.
    pub size: u64,
    /// SHA-256 of the archive in hexadecimal digits.
    pub sha256: String,
}

/// Writes a bundle with `content` bytes that can't be compressed to a file, in constant memory. Blocks.
///
/// # Errors
/// When the file can't be written.
pub fn write_big_bundle(spec: &BundleSpec, path: &Path, content: u64) -> io::Result<Written> {
    let mut zip = ZipWriter::new(BufWriter::new(File::create(path)?));
    spec.write_into(&mut zip)?;
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored).large_file(true);
    zip.start_file("data/content.bin", options)?;
    io::copy(&mut Noise::default().take(content), &mut zip)?;
    zip.finish()?.flush()?;
    let (mut file, mut hash, mut piece) = (File::open(path)?, Sha256::new(), vec![0; 64 * 1024]);
    let mut size = 0;
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            return Ok(Written { size, sha256: hex(hash) });
        }
        size += read as u64;
        hash.update(&piece[..read]);
    }
}

/// Endless bytes without a pattern (xorshift64*), the same every time.
struct Noise(u64);

impl Default for Noise {
    fn default() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }
}

impl Read for Noise {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        for piece in buf.chunks_mut(8) {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            let word = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes();
            piece.copy_from_slice(&word[..piece.len()]);
        }
        Ok(buf.len())
    }
}
