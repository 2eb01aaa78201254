//! The registry behind ECR: contents by digest, manifests by tag. Whoever comes with ECR's login may push and pull.

use super::door::Heard;
use super::registry::PASSWORD;
use super::signature::hex;
use super::state::State;
use crate::reply::Finished;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use poem::http::StatusCode;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(bytes)))
}

fn told(status: StatusCode, headers: &[(&str, &str)], body: Vec<u8>) -> Finished {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Finished { status, headers, body }
}

fn no(status: StatusCode, code: &str) -> Finished {
    Finished::json(status, &json!({"errors": [{"code": code, "message": code}]}))
}

pub(super) fn answer(state: &mut State, heard: &Heard, method: &str, query: &str) -> Finished {
    let wanted = format!("Basic {}", STANDARD.encode(format!("AWS:{PASSWORD}")));
    if heard.headers.get("authorization") != Some(&wanted) {
        return no(StatusCode::UNAUTHORIZED, "UNAUTHORIZED").with("www-authenticate", "Basic realm=\"practice\"");
    }
    let path = heard.path.trim_start_matches("/v2/");
    let split = |word: &str| path.rsplit_once(word).map(|(name, rest)| (name.to_owned(), rest.to_owned()));
    if let Some((name, _)) = split("/blobs/uploads/") {
        return upload(state, &name, heard, method, query);
    }
    if let Some((_, digest)) = split("/blobs/") {
        return match state.blobs.get(&digest) {
            Some(blob) => told(StatusCode::OK, &[("docker-content-digest", &digest)], blob.clone()),
            None => no(StatusCode::NOT_FOUND, "BLOB_UNKNOWN"),
        };
    }
    match split("/manifests/") {
        Some((name, wanted)) if method == "PUT" => put(state, &name, &wanted, heard),
        Some((name, wanted)) => {
            let by_tag = state.repositories.get(&name).and_then(|tags| tags.get(&wanted).cloned());
            let digest = by_tag.unwrap_or(wanted);
            match state.manifests.get(&digest) {
                Some((kind, body)) => {
                    told(StatusCode::OK, &[("content-type", kind), ("docker-content-digest", &digest)], body.clone())
                }
                None => no(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN"),
            }
        }
        None if path.is_empty() => Finished::json(StatusCode::OK, &json!({})),
        None => no(StatusCode::NOT_FOUND, "NAME_UNKNOWN"),
    }
}

fn upload(state: &mut State, name: &str, heard: &Heard, method: &str, query: &str) -> Finished {
    if !state.repositories.contains_key(name) {
        return no(StatusCode::NOT_FOUND, "NAME_UNKNOWN");
    }
    let said = query.split('&').find_map(|pair| pair.strip_prefix("digest="));
    match (method, said) {
        ("POST", _) => {
            let place = format!("/v2/{name}/blobs/uploads/one");
            told(StatusCode::ACCEPTED, &[("location", &place)], Vec::new())
        }
        ("PUT", Some(said)) => {
            let found = digest(&heard.body);
            if percent_decode_str(said).decode_utf8_lossy() != found {
                return no(StatusCode::BAD_REQUEST, "DIGEST_INVALID");
            }
            state.blobs.insert(found.clone(), heard.body.clone());
            told(StatusCode::CREATED, &[("docker-content-digest", &found)], Vec::new())
        }
        _ => no(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED"),
    }
}

fn put(state: &mut State, name: &str, tag: &str, heard: &Heard) -> Finished {
    let Some(manifest) = serde_json::from_slice::<Value>(&heard.body).ok() else {
        return no(StatusCode::BAD_REQUEST, "MANIFEST_INVALID");
    };
    let layers = manifest["layers"].as_array().cloned().unwrap_or_default();
    let parts = layers.iter().chain([&manifest["config"]]);
    if !parts.into_iter().all(|part| part["digest"].as_str().is_some_and(|digest| state.blobs.contains_key(digest))) {
        return no(StatusCode::BAD_REQUEST, "MANIFEST_BLOB_UNKNOWN");
    }
    let kind = heard.headers.get("content-type").cloned().unwrap_or_default();
    let found = digest(&heard.body);
    let Some(tags) = state.repositories.get_mut(name) else { return no(StatusCode::NOT_FOUND, "NAME_UNKNOWN") };
    if tags.insert(tag.to_owned(), found.clone()).as_ref() != Some(&found) {
        state.change("PutImage", tag);
    }
    state.manifests.insert(found.clone(), (kind, heard.body.clone()));
    told(StatusCode::CREATED, &[("docker-content-digest", &found)], Vec::new())
}

/// A base image: a configuration with this entrypoint, and one empty layer.
pub(super) fn add_base(state: &mut State, repository: &str, tag: &str, entrypoint: &str) {
    // An empty tar archive, compressed: two blocks of zeros.
    let layer: Vec<u8> = vec![
        0x1f, 0x8b, 0x08, 0, 0, 0, 0, 0, 0, 0xff, 0x63, 0x60, 0x18, 0x05, 0xa3, 0x60, 0x14, 0x8c, 0x54, 0x00, 0x00,
        0x2e, 0xaf, 0xb5, 0xef, 0x00, 0x04, 0x00, 0x00,
    ];
    let config = json!({
        "os": "linux",
        "architecture": "amd64",
        "config": {"Entrypoint": [entrypoint]},
        "rootfs": {"type": "layers", "diff_ids": [digest(&[0; 1024])]},
        "history": [],
    });
    let config = config.to_string().into_bytes();
    let part = |kind: &str, bytes: &[u8]| json!({"mediaType": kind, "digest": digest(bytes), "size": bytes.len()});
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": part(CONFIG, &config),
        "layers": [part(LAYER, &layer)],
    });
    let manifest = manifest.to_string().into_bytes();
    let found = digest(&manifest);
    state.blobs.insert(digest(&layer), layer);
    state.blobs.insert(digest(&config), config);
    state.manifests.insert(found.clone(), (MANIFEST.to_owned(), manifest));
    state.repositories.entry(repository.to_owned()).or_default().insert(tag.to_owned(), found);
}
