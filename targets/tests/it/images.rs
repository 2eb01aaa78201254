//! A small image repository: what a push needs, with the digests checked.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::wire::{Answers, Asked, Told};

const INDEX: &str = "application/vnd.oci.image.manifest.v1+json";

#[derive(Clone, Default)]
pub(crate) struct Contents {
    blobs: BTreeMap<String, Vec<u8>>,
    /// By repository and tag, or digest.
    manifests: BTreeMap<(String, String), Vec<u8>>,
    uploads: BTreeMap<String, Vec<u8>>,
    taken: BTreeSet<String>,
}

impl Contents {
    /// Layers and configurations.
    pub(crate) fn blobs(&self) -> Vec<Vec<u8>> {
        self.blobs.values().cloned().collect()
    }
}

/// Hears of an image that was not there: its repository, its tag, its digest.
type Hears = Box<dyn Fn(&str, &str, &str) + Send + Sync>;

/// A registry with a base image, `base/node:1`, that everybody may read.
pub(crate) struct Images {
    login: String,
    hears: Hears,
    contents: Mutex<Contents>,
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

impl Images {
    pub(crate) fn new(user: &str, password: &str, hears: Hears) -> Self {
        let mut contents = Contents::default();
        let layer = b"a base layer".to_vec();
        let config = json!({
            "architecture": "amd64", "os": "linux", "config": {"Entrypoint": ["/node"], "User": "10001"},
            "rootfs": {"type": "layers", "diff_ids": [digest(b"its archive")]}, "history": [],
        });
        let config = config.to_string().into_bytes();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": INDEX,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(&config), "size": config.len()},
            "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digest(&layer), "size": layer.len()}],
        });
        contents.manifests.insert(("base/node".to_owned(), "1".to_owned()), manifest.to_string().into_bytes());
        for blob in [layer, config] {
            contents.blobs.insert(digest(&blob), blob);
        }
        let login = format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")));
        Self { login, hears, contents: Mutex::new(contents) }
    }

    /// Of all images: repository and tag, or digest.
    pub(crate) fn names(&self) -> Vec<String> {
        self.contents().manifests.keys().map(|(repository, name)| format!("{repository} {name}")).collect()
    }

    /// All that it holds.
    pub(crate) fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap()
    }
}

impl Answers for Images {
    fn refused(&self, status: u16) -> Value {
        json!({"errors": [{"code": "DENIED", "message": format!("told to answer {status}")}]})
    }

    fn answer(&self, asked: &Asked) -> Told {
        let mut contents = self.contents.lock().unwrap();
        let path = asked.path.join("/");
        let Some(path) = path.strip_prefix("v2/") else { return Told::new(404, Value::Null) };
        if !path.starts_with("base/") && asked.header("authorization") != Some(&self.login) {
            let asks = ("WWW-Authenticate".to_owned(), "Basic realm=\"registry\"".to_owned());
            return Told { headers: vec![asks], ..Told::new(401, json!({"errors": [{"code": "UNAUTHORIZED"}]})) };
        }
        if path.is_empty() {
            return Told::new(200, Value::Null);
        }
        let missing = || Told::new(404, json!({"errors": [{"code": "NAME_UNKNOWN"}]}));
        let at = |place: String| vec![("Location".to_owned(), place)];
        if let Some((repository, wanted)) = path.split_once("/manifests/") {
            let key = (repository.to_owned(), wanted.to_owned());
            if asked.method == "PUT" {
                let manifest: Value = serde_json::from_slice(&asked.body).unwrap();
                let parts = manifest["layers"].as_array().unwrap().iter().chain([&manifest["config"]]);
                for part in parts {
                    assert!(contents.blobs.contains_key(part["digest"].as_str().unwrap()), "a part is missing");
                }
                let known = digest(&asked.body);
                if contents.taken.insert(format!("{repository}:{wanted}@{known}")) {
                    (self.hears)(repository, wanted, &known);
                }
                contents.manifests.insert((repository.to_owned(), known.clone()), asked.body.clone());
                contents.manifests.insert(key, asked.body.clone());
                return Told {
                    headers: vec![("Docker-Content-Digest".to_owned(), known)],
                    ..Told::new(201, Value::Null)
                };
            }
            let Some(manifest) = contents.manifests.get(&key) else { return missing() };
            return Told::raw(INDEX, manifest.clone(), &digest(manifest));
        }
        if let Some((_, wanted)) = path.split_once("/blobs/sha256:") {
            let wanted = format!("sha256:{wanted}");
            let Some(blob) = contents.blobs.get(&wanted) else { return missing() };
            return Told::raw("application/octet-stream", blob.clone(), &wanted);
        }
        if path.ends_with("/blobs/uploads/") {
            if let Some(mounted) = asked.parameter("mount").filter(|mounted| contents.blobs.contains_key(*mounted)) {
                return Told { headers: at(format!("/v2/{path}{mounted}")), ..Told::new(201, Value::Null) };
            }
            let id = format!("u{}", contents.uploads.len());
            contents.uploads.insert(id.clone(), Vec::new());
            return Told { headers: at(format!("/v2/{path}{id}")), ..Told::new(202, Value::Null) };
        }
        let Some((_, id)) = path.split_once("/blobs/uploads/") else { return missing() };
        let Some(upload) = contents.uploads.get_mut(id) else { return missing() };
        upload.extend_from_slice(&asked.body);
        let (length, whole) = (upload.len(), upload.clone());
        match asked.method.as_str() {
            "PATCH" => {
                let mut headers = at(format!("/v2/{path}"));
                headers.push(("Range".to_owned(), format!("0-{}", length.saturating_sub(1))));
                Told { headers, ..Told::new(202, Value::Null) }
            }
            "PUT" if asked.parameter("digest") == Some(&digest(&whole)) => {
                contents.blobs.insert(digest(&whole), whole);
                Told::new(201, Value::Null)
            }
            _ => Told::new(400, json!({"errors": [{"code": "DIGEST_INVALID"}]})),
        }
    }
}
