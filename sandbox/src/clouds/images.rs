//! A container registry with one base image, as far as pushing goes: blobs, manifests, a login by token.

use super::door::{Asked, Reply};
use bytes::Bytes;
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The base image that there is.
pub const BASE: &str = "base/api-node";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A registry's contents.
#[derive(Clone, Default)]
pub(crate) struct Images {
    blobs: BTreeMap<String, Bytes>,
    /// By repository and tag, or digest.
    manifests: BTreeMap<(String, String), Bytes>,
    /// How many were put.
    put: u64,
}

fn name(content: &[u8]) -> String {
    let hex: String = digest(&SHA256, content).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

fn refused(status: u16, code: &str) -> Reply {
    Reply::json(status, json!({"errors": [{"code": code, "message": code}]}))
}

impl Images {
    /// With the base image.
    pub(crate) fn new() -> Self {
        let mut images = Self::default();
        let layer = Bytes::from_static(b"a layer of the base image");
        let config = json!({
            "os": "linux", "architecture": "amd64", "config": {"Entrypoint": ["/start"]},
            "rootfs": {"type": "layers", "diff_ids": [name(b"the same, unpacked")]},
        });
        let config = Bytes::from(config.to_string());
        let described = |kind: &str, blob: &Bytes| json!({"mediaType": kind, "digest": name(blob), "size": blob.len()});
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": described("application/vnd.oci.image.config.v1+json", &config),
            "layers": [described("application/vnd.oci.image.layer.v1.tar+gzip", &layer)],
        });
        images.blobs.insert(name(&layer), layer);
        images.blobs.insert(name(&config), config);
        let manifest = Bytes::from(manifest.to_string());
        for tag in ["1".to_owned(), name(&manifest)] {
            images.manifests.insert((BASE.to_owned(), tag), manifest.clone());
        }
        images
    }

    /// Layers and configurations.
    pub(crate) fn blobs(&self) -> Vec<Bytes> {
        self.blobs.values().cloned().collect()
    }

    /// What was pushed, for comparing.
    pub(crate) fn effects(&self) -> Value {
        let pushed = self.manifests.keys().filter(|(repository, _)| repository != BASE);
        json!({"put": self.put, "images": pushed.map(|(repository, tag)| format!("{repository} {tag}")).collect::<Vec<_>>()})
    }

    /// Does what a call below `/v2/` asks.
    pub(crate) fn answer(&mut self, asked: &Asked) -> Reply {
        let segments = asked.segments();
        let method = asked.method.as_str();
        let rest = &segments[1..];
        match (method, rest) {
            ("GET", [] | [""]) => Reply::json(200, json!({})),
            (_, [repository @ .., "blobs", "uploads", ""]) if method == "POST" => {
                let path = format!("/v2/{}/blobs/uploads/1", repository.join("/"));
                match asked.parameter("mount").filter(|digest| self.blobs.contains_key(*digest)) {
                    Some(digest) => Reply::json(201, Value::Null).with("docker-content-digest", digest),
                    None => Reply::json(202, Value::Null).with("location", path).with("range", "0-0"),
                }
            }
            ("PUT", [.., "blobs", "uploads", "1"]) => {
                let found = name(&asked.body);
                if asked.parameter("digest") != Some(&found) {
                    return refused(400, "DIGEST_INVALID");
                }
                self.blobs.insert(found.clone(), asked.body.clone());
                Reply::json(201, Value::Null).with("docker-content-digest", found)
            }
            ("GET" | "HEAD", [.., "blobs", digest]) => match self.blobs.get(*digest) {
                Some(blob) => Reply::raw(200, "application/octet-stream", blob.clone()),
                None => refused(404, "BLOB_UNKNOWN"),
            },
            ("GET", [repository @ .., "tags", "list"]) => self.tags(&repository.join("/"), asked),
            (_, [repository @ .., "manifests", tag]) => self.manifest(asked, repository.join("/"), tag),
            _ => refused(404, "NAME_UNKNOWN"),
        }
    }

    /// One a page, so that whoever reads lists has to turn pages.
    fn tags(&self, repository: &str, asked: &Asked) -> Reply {
        let last = asked.parameter("last").unwrap_or_default();
        let of = |(of, tag): &&(String, String)| of == repository && !tag.contains(':');
        let mut after = self.manifests.keys().filter(of).map(|(_, tag)| tag).filter(|tag| tag.as_str() > last);
        let page: Vec<_> = after.by_ref().take(1).collect();
        let reply = Reply::json(200, json!({"name": repository, "tags": page}));
        match after.next() {
            Some(_) => reply.with("link", format!("</v2/{repository}/tags/list?n=1&last={}>; rel=\"next\"", page[0])),
            None => reply,
        }
    }

    fn manifest(&mut self, asked: &Asked, repository: String, tag: &str) -> Reply {
        match asked.method.as_str() {
            "GET" | "HEAD" => match self.manifests.get(&(repository, tag.to_owned())) {
                Some(body) => Reply::raw(200, MANIFEST, body.clone()).with("docker-content-digest", name(body)),
                None => refused(404, "MANIFEST_UNKNOWN"),
            },
            "PUT" => {
                let read: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
                let layers = read["layers"].as_array().cloned().unwrap_or_default();
                let known = |one: &Value| one["digest"].as_str().is_some_and(|digest| self.blobs.contains_key(digest));
                if layers.is_empty() || !layers.iter().all(known) || !known(&read["config"]) {
                    return refused(400, "MANIFEST_BLOB_UNKNOWN");
                }
                self.put += 1;
                let found = name(&asked.body);
                for tag in [tag.to_owned(), found.clone()] {
                    self.manifests.insert((repository.clone(), tag), asked.body.clone());
                }
                Reply::json(201, Value::Null).with("docker-content-digest", found)
            }
            "DELETE" => {
                let before = self.manifests.len();
                self.manifests.retain(|(of, _), body| *of != repository || name(body) != tag);
                if self.manifests.len() == before {
                    refused(404, "MANIFEST_UNKNOWN")
                } else {
                    Reply::json(202, Value::Null)
                }
            }
            _ => refused(405, "UNSUPPORTED"),
        }
    }
}
