//! An image out of a base image and layers, in the target's registry. The same parts always make the same image, so whoever asks twice finds it there and sends
//! nothing.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{
    digest::Digest,
    failure::{mismatch, unsound},
    layer::Layer,
    manifest::{Config, DOCKER_MANIFEST, Descriptor, MAX_CONFIG, Manifest, Named, OCI_MANIFEST, Platform},
    reference::Reference,
    registry::{Access, Registry, Source},
};
use crate::{
    codes,
    http::{CallError, Effect, Http},
};

/// Of a manifest's digest, so many characters make a tag.
const TAG_CHARS: usize = 40;
/// Tags of images that got theirs from their content begin so.
pub(crate) const TAG_PREFIX: &str = "slipway-";

/// An image and how its registry is reached.
#[derive(Clone, Debug)]
pub struct Image {
    /// Its name.
    pub reference: Reference,
    /// The way in.
    pub access: Access,
}

/// How containers of the image differ from those of its base image.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// Variables to set. No secrets: whoever may pull the image reads them.
    pub environment: BTreeMap<String, String>,
    /// What is put before the base image's command, and after it. Together they are the new entrypoint, and the command is empty.
    pub around_command: Option<(Vec<String>, Vec<String>)>,
    /// Labels to set.
    pub labels: BTreeMap<String, String>,
    /// Ports to announce, besides the base image's.
    pub ports: Vec<u16>,
}

/// An image that is in its registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// By digest: what containers are to be made of.
    pub reference: Reference,
    /// The tag under which it is found, too.
    pub tag: String,
    /// Of its manifest.
    pub digest: Digest,
    /// All of its layers and its configuration, in bytes.
    pub size: u64,
    /// How much of that had to be sent.
    pub sent: u64,
}

/// Told as the work goes on, in lines for people.
pub type Progress<'a> = &'a (dyn Fn(&str) + Send + Sync);

/// What an image is made of and where it goes.
pub struct Build<'a> {
    /// The image below.
    pub base: &'a Image,
    /// Where the new one goes. Without a tag it gets one from its content.
    pub target: &'a Image,
    /// What lies on top, from the lowest up.
    pub layers: &'a [Layer],
    /// How its containers are run.
    pub changes: &'a Changes,
    /// Which of the base image's platforms.
    pub platform: &'a Platform,
}

/// The base image lacks the platform.
pub(super) fn no_platform(name: &str, platform: &Platform, there: &[String]) -> CallError {
    let there = if there.is_empty() { "none that is named".to_owned() } else { there.join(", ") };
    let there: String = there.chars().filter(|c| !c.is_control()).take(300).collect();
    let message = format!("The image {name} is not made for {platform}. It is for: {there}.");
    CallError::permanent(codes::IMAGE_PLATFORM_MISSING, message, Effect::None)
}

impl Build<'_> {
    /// Makes the image and pushes what the target's registry does not have.
    ///
    /// # Errors
    /// By what went wrong; `retryable` says whether another attempt is worth it. Any attempt goes on where the one before it stopped.
    pub async fn push(&self, http: &Http, progress: Progress<'_>) -> Result<Pushed, CallError> {
        let target = Registry::of(http, &self.target.reference, self.target.access.clone())?;
        let base = Registry::of(http, &self.base.reference, self.base.access.clone())?;
        let name = self.base.reference.to_string();
        let below = self.below(&base, &name).await?;
        let config = base.small_blob(&below.config.digest, below.config.size, MAX_CONFIG).await?;
        let mut config = Config::read(&name, &config, &below, self.platform)?;
        let mut manifest = below.clone();
        for layer in self.layers {
            config.add_layer(&layer.diff_id);
            manifest.layers.push(below.layer(layer.digest.clone(), layer.size));
        }
        let running = self.changes.applied(config.running()).map_err(|problem| unsound(&name, &problem))?;
        config.set_running(running);
        let written = |value: serde_json::Result<Vec<u8>>| {
            value.map(Bytes::from).map_err(|error| unsound(&name, "it can't be written.").detail(error.to_string()))
        };
        let config = written(serde_json::to_vec(&config.0))?;
        manifest.config.digest = Digest::of(&config);
        manifest.config.size = config.len() as u64;
        let body = written(serde_json::to_vec(&manifest))?;
        let digest = Digest::of(&body);
        let tag = match self.target.reference.tag() {
            Some(tag) => tag.to_owned(),
            None => format!("{TAG_PREFIX}{}", digest.hex().get(..TAG_CHARS).unwrap_or_default()),
        };
        let reference = self.target.reference.at(digest.clone());
        let mut pushed = Pushed { reference, tag, digest, size: manifest.size(), sent: 0 };
        if target.digest_of(&pushed.tag).await?.as_ref() == Some(&pushed.digest) {
            progress(&format!("{} is there already, as {}", pushed.reference, pushed.tag));
            return Ok(pushed);
        }
        let same = self.base.reference.api_host() == self.target.reference.api_host();
        let mount = (same && base.repository() != target.repository()).then_some(&base);
        let from_base = Source::Registry(base.clone());
        let added = self.layers.iter().map(|layer| (Source::File(layer.file.path().to_owned()), None));
        let sources = below.layers.iter().map(|_| (from_base.clone(), mount)).chain(added);
        let of_config = (manifest.config.clone(), (Source::Bytes(config), None));
        let contents: Vec<(Descriptor, (Source, Option<&Registry>))> =
            manifest.layers.iter().cloned().zip(sources).chain([of_config]).collect();
        let count = contents.len();
        for (n, (content, (source, mount))) in contents.iter().enumerate() {
            let sent = target.ensure_blob(&content.digest, content.size, source, *mount).await?;
            pushed.sent += if sent { content.size } else { 0 };
            let word = if sent { "sent" } else { "there" };
            progress(&format!("{} of {count}: {} ({} bytes) {word}", n + 1, content.digest, content.size));
        }
        let kind = if manifest.media_type == DOCKER_MANIFEST { DOCKER_MANIFEST } else { OCI_MANIFEST };
        target.put_manifest(&pushed.tag, kind, &body).await?;
        progress(&format!("{} is there, as {}", pushed.reference, pushed.tag));
        Ok(pushed)
    }

    /// The base image's manifest for the wanted platform.
    async fn below(&self, base: &Registry, name: &str) -> Result<Manifest, CallError> {
        let missing = || {
            let message = format!("The registry has no image {name}. Check its name, and that the login may read it.");
            CallError::permanent(codes::IMAGE_BASE_NOT_FOUND, message, Effect::None)
        };
        let pulled = base.manifest(self.base.reference.wanted()).await?.ok_or_else(missing)?;
        let elsewhere = match Named::read(name, &pulled.kind, &pulled.body, self.platform)? {
            Named::Image(manifest) => return Ok(manifest),
            Named::Missing(there) => return Err(no_platform(name, self.platform, &there)),
            Named::Elsewhere(descriptor) => descriptor,
        };
        let pulled = base.manifest(elsewhere.digest.as_str()).await?.ok_or_else(missing)?;
        if pulled.digest != elsewhere.digest {
            return Err(mismatch("the manifest"));
        }
        match Named::read(name, &pulled.kind, &pulled.body, self.platform)? {
            Named::Image(manifest) => Ok(manifest),
            _ => Err(unsound(name, "its index names another index.")),
        }
    }
}

impl Changes {
    /// The base image's way to run containers, changed. An error says what it lacks.
    fn applied(&self, mut running: Map<String, Value>) -> Result<Map<String, Value>, String> {
        let words =
            |value: Option<&Value>| -> Vec<Value> { value.and_then(Value::as_array).cloned().unwrap_or_default() };
        if !self.environment.is_empty() {
            let set = |entry: &Value| {
                let name = entry.as_str().and_then(|entry| entry.split('=').next()).unwrap_or_default().to_owned();
                self.environment.contains_key(&name)
            };
            let mut all = words(running.get("Env"));
            all.retain(|entry| !set(entry));
            all.extend(self.environment.iter().map(|(name, value)| Value::from(format!("{name}={value}"))));
            running.insert("Env".to_owned(), all.into());
        }
        if let Some((before, after)) = &self.around_command {
            let inner = [words(running.get("Entrypoint")), words(running.get("Cmd"))].concat();
            if inner.is_empty() {
                return Err("it says no command that starts its node: neither an entrypoint nor a command.".to_owned());
            }
            let texts = |texts: &[String]| texts.iter().map(|text| Value::from(text.as_str())).collect::<Vec<_>>();
            running.insert("Entrypoint".to_owned(), [texts(before), inner, texts(after)].concat().into());
            running.remove("Cmd");
        }
        let mut merge = |key: &str, more: Vec<(String, Value)>| {
            if !more.is_empty() {
                let mut all = running.get(key).and_then(Value::as_object).cloned().unwrap_or_default();
                all.extend(more);
                running.insert(key.to_owned(), all.into());
            }
        };
        merge("Labels", self.labels.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect());
        merge("ExposedPorts", self.ports.iter().map(|port| (format!("{port}/tcp"), json!({}))).collect());
        Ok(running)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_keep_what_the_base_image_says() {
        let base = json!({
            "User": "10001", "Env": ["PATH=/bin", "MODE=a"], "Entrypoint": ["/start"], "Cmd": ["--foreground"],
            "Labels": {"a": "1"}, "ExposedPorts": {"12000/tcp": {}},
        });
        let changes = Changes {
            environment: [("MODE".to_owned(), "b".to_owned())].into(),
            around_command: Some((vec!["front".to_owned(), "--run".to_owned()], vec![";".to_owned()])),
            labels: [("b".to_owned(), "2".to_owned())].into(),
            ports: vec![8080],
        };
        let Value::Object(running) = base else { panic!() };
        assert_eq!(Changes::default().applied(running.clone()).unwrap(), running);
        let changed = json!({
            "User": "10001", "Env": ["PATH=/bin", "MODE=b"], "Entrypoint": ["front", "--run", "/start", "--foreground", ";"],
            "Labels": {"a": "1", "b": "2"}, "ExposedPorts": {"12000/tcp": {}, "8080/tcp": {}},
        });
        assert_eq!(Value::Object(changes.applied(running).unwrap()), changed);
        assert!(changes.applied(Map::new()).is_err(), "nothing to start");
    }
}
