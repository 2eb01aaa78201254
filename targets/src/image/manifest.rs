//! What an image is made of: a manifest that names its configuration and its layers, and an index that names a manifest for each platform. Two families of media
//! types mean the same, Docker's and OCI's; an image keeps its base image's.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    digest::Digest,
    failure::{too_large, unsound},
};
use crate::http::CallError;

pub(super) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(super) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(super) const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// A larger manifest or index is refused, in bytes.
pub(super) const MAX_MANIFEST: u64 = 4 * 1024 * 1024;
/// A larger configuration is refused, in bytes.
pub(super) const MAX_CONFIG: u64 = 8 * 1024 * 1024;
/// What container engines can stack.
const MAX_LAYERS: usize = 127;
/// A larger layer is refused, in bytes.
const MAX_LAYER: u64 = 64 * 1024 * 1024 * 1024;
/// More platforms in one index are not looked at.
const MAX_PLATFORMS: usize = 1_000;

/// An operating system and a processor, such as `linux/amd64`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    os: String,
    architecture: String,
    variant: Option<String>,
}

/// The text is no platform.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("A platform is an operating system and a processor, such as linux/amd64 or linux/arm64/v8.")]
pub struct PlatformInvalid;

impl Default for Platform {
    fn default() -> Self {
        Self { os: "linux".to_owned(), architecture: "amd64".to_owned(), variant: None }
    }
}

impl FromStr for Platform {
    type Err = PlatformInvalid;

    fn from_str(text: &str) -> Result<Self, PlatformInvalid> {
        let word = |word: &str| {
            (1..=30).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        };
        let parts: Vec<&str> = text.split('/').collect();
        let (os, architecture, variant) = match parts[..] {
            [os, architecture] => (os, architecture, None),
            [os, architecture, variant] => (os, architecture, Some(variant)),
            _ => return Err(PlatformInvalid),
        };
        if !parts.into_iter().all(word) {
            return Err(PlatformInvalid);
        }
        Ok(Self { os: os.to_owned(), architecture: architecture.to_owned(), variant: variant.map(str::to_owned) })
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

impl Platform {
    fn is(&self, os: Option<&str>, architecture: Option<&str>, variant: Option<&str>) -> bool {
        let fine = |wanted: &Option<String>| wanted.is_none() || wanted.as_deref() == variant;
        os == Some(&self.os) && architecture == Some(&self.architecture) && fine(&self.variant)
    }
}

/// A content by its digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    pub(super) media_type: String,
    pub(super) size: u64,
    pub(super) digest: Digest,
    /// Where else it lies: Windows' own layers, which nobody may copy.
    #[serde(default, skip_serializing)]
    pub(super) urls: Vec<String>,
    #[serde(default, skip_serializing)]
    pub(super) platform: Option<Map<String, Value>>,
}

/// A manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest {
    pub(super) schema_version: u32,
    pub(super) media_type: String,
    pub(super) config: Descriptor,
    pub(super) layers: Vec<Descriptor>,
}

/// What a registry answers for a name.
pub(super) enum Named {
    Image(Manifest),
    /// The manifest for the wanted platform.
    Elsewhere(Descriptor),
    /// An index without that platform; these are there.
    Missing(Vec<String>),
}

impl Named {
    /// Reads what came with this content type.
    pub(super) fn read(name: &str, kind: &str, body: &[u8], platform: &Platform) -> Result<Self, CallError> {
        let mut value: Value = serde_json::from_slice(body).map_err(|_| unsound(name, "its manifest is no JSON."))?;
        // Media types stand inside, or only in the header.
        let kind = value.get("mediaType").and_then(Value::as_str).unwrap_or(kind).trim().to_owned();
        let malformed = |error: serde_json::Error| {
            unsound(name, "its manifest does not have the shape of one.").detail(error.to_string())
        };
        match kind.as_str() {
            OCI_MANIFEST | DOCKER_MANIFEST => {
                if let Some(object) = value.as_object_mut() {
                    object.insert("mediaType".to_owned(), kind.into());
                }
                let manifest: Manifest = serde_json::from_value(value).map_err(malformed)?;
                manifest.check(name)?;
                Ok(Self::Image(manifest))
            }
            OCI_INDEX | DOCKER_INDEX => {
                #[derive(Deserialize)]
                struct Index {
                    manifests: Vec<Descriptor>,
                }
                let index: Index = serde_json::from_value(value).map_err(malformed)?;
                Ok(Self::chosen(index.manifests, platform))
            }
            _ => {
                Err(unsound(name, "its manifest is of a kind that this build does not read (Docker's first schema?)."))
            }
        }
    }

    fn chosen(manifests: Vec<Descriptor>, platform: &Platform) -> Self {
        let mut there = Vec::new();
        for each in manifests.into_iter().take(MAX_PLATFORMS) {
            let said = |key: &str| each.platform.as_ref()?.get(key)?.as_str();
            let (os, architecture, variant) = (said("os"), said("architecture"), said("variant"));
            if platform.is(os, architecture, variant) {
                return Self::Elsewhere(each);
            }
            if let (Some(os), Some(architecture)) = (os, architecture) {
                there.push(format!("{os}/{architecture}"));
            }
        }
        Self::Missing(there)
    }
}

impl Manifest {
    fn check(&self, name: &str) -> Result<(), CallError> {
        if self.schema_version != 2 {
            return Err(unsound(name, "its manifest is not of schema version 2."));
        }
        if self.layers.len() >= MAX_LAYERS {
            return Err(unsound(name, "it has as many layers as an image can have."));
        }
        if self.config.size > MAX_CONFIG {
            return Err(too_large("The image's configuration", MAX_CONFIG));
        }
        if self.layers.iter().any(|layer| layer.size > MAX_LAYER) {
            return Err(too_large("A layer of the image", MAX_LAYER));
        }
        if self.layers.iter().any(|layer| !layer.urls.is_empty()) {
            return Err(unsound(name, "one of its layers may not be copied (Windows)."));
        }
        Ok(())
    }

    /// A layer of this image's family.
    pub(super) fn layer(&self, digest: Digest, size: u64) -> Descriptor {
        let kind = if self.media_type == DOCKER_MANIFEST { DOCKER_LAYER } else { OCI_LAYER };
        Descriptor { media_type: kind.to_owned(), size, digest, urls: Vec::new(), platform: None }
    }

    /// All bytes of the image.
    pub(super) fn size(&self) -> u64 {
        self.layers.iter().fold(self.config.size, |sum, layer| sum.saturating_add(layer.size))
    }
}

/// An image's configuration, of which only what we change is looked at.
pub(super) struct Config(pub(super) Map<String, Value>);

impl Config {
    pub(super) fn read(name: &str, body: &[u8], manifest: &Manifest, platform: &Platform) -> Result<Self, CallError> {
        let read: Map<String, Value> =
            serde_json::from_slice(body).map_err(|_| unsound(name, "its configuration is no JSON object."))?;
        let config = Self(read);
        let said = |key: &str| config.0.get(key).and_then(Value::as_str);
        // A manifest without an index says its platform only here. Old builders leave the variant out.
        let (os, architecture) = (said("os"), said("architecture"));
        if !platform.is(os, architecture, platform.variant.as_deref()) {
            let there = format!("{}/{}", os.unwrap_or("?"), architecture.unwrap_or("?"));
            return Err(super::build::no_platform(name, platform, &[there]));
        }
        if config.diff_ids().is_none_or(|ids| ids.len() != manifest.layers.len()) {
            return Err(unsound(name, "its configuration names other layers than its manifest."));
        }
        Ok(config)
    }

    fn diff_ids(&self) -> Option<&Vec<Value>> {
        self.0.get("rootfs")?.get("diff_ids")?.as_array()
    }

    /// Adds a layer on top. Its time is the base image's: the same image always has the same digest.
    pub(super) fn add_layer(&mut self, diff_id: &Digest) {
        if let Some(ids) = self.0.get_mut("rootfs").and_then(|fs| fs.get_mut("diff_ids")).and_then(Value::as_array_mut)
        {
            ids.push(diff_id.as_str().into());
        }
        let created = self.0.get("created").cloned();
        let history = self.0.entry("history").or_insert_with(|| Value::Array(Vec::new()));
        if let Some(history) = history.as_array_mut() {
            let mut entry = Map::new();
            entry.insert("created_by".to_owned(), "slipway".into());
            entry.extend(created.map(|created| ("created".to_owned(), created)));
            history.push(entry.into());
        }
    }

    /// How containers are run: the inner `config`.
    pub(super) fn running(&self) -> Map<String, Value> {
        self.0.get("config").and_then(Value::as_object).cloned().unwrap_or_default()
    }

    pub(super) fn set_running(&mut self, running: Map<String, Value>) {
        self.0.insert("config".to_owned(), running.into());
    }
}
