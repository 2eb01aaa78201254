//! Images by name.

use bytes::Bytes;
use engine::secrets::Secret;
use serde::Deserialize;

use super::{Registry, token::Scope};
use crate::{
    codes,
    http::{
        Body, CallError, Effect, Exchange, HeaderName, Method, Request,
        header::{ACCEPT, CONTENT_TYPE, LINK},
    },
    image::{
        digest::Digest,
        failure::{mismatch, refused, strange, too_large},
        manifest::{DOCKER_INDEX, DOCKER_MANIFEST, MAX_MANIFEST, OCI_INDEX, OCI_MANIFEST},
    },
};

/// Tags are read in pages of this many, and so many pages at most.
const PAGE: usize = 200;
const PAGES: usize = 50;

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// A manifest or an index, as it came.
pub(in crate::image) struct Pulled {
    pub(in crate::image) kind: String,
    pub(in crate::image) digest: Digest,
    pub(in crate::image) body: Bytes,
}

impl Registry {
    /// What is under this tag or digest; None when there is nothing. What came by digest is what its digest says.
    pub(in crate::image) async fn manifest(&self, wanted: &str) -> Result<Option<Pulled>, CallError> {
        let doing = "reading the image's manifest";
        let answer = self.asked(Method::GET, wanted, doing).await?;
        if answer.status == 404 {
            return Ok(None);
        }
        if !answer.succeeded() {
            return Err(refused(&answer, doing));
        }
        if answer.body.len() as u64 > MAX_MANIFEST {
            return Err(too_large("The image's manifest", MAX_MANIFEST));
        }
        let digest = Digest::of(&answer.body);
        let by_digest = wanted.contains(':').then_some(wanted);
        let said = [by_digest, answer.header(CONTENT_DIGEST)];
        // Another algorithm's digest says nothing that we could check.
        if said.into_iter().flatten().any(|said| said.starts_with("sha256:") && said != digest.as_str()) {
            return Err(mismatch("the manifest"));
        }
        let kind = answer.header(CONTENT_TYPE).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().to_owned();
        Ok(Some(Pulled { kind, digest, body: answer.body }))
    }

    /// The digest of what is under this tag or digest, without reading it; None when there is nothing.
    ///
    /// # Errors
    /// What went wrong.
    pub async fn digest_of(&self, wanted: &str) -> Result<Option<Digest>, CallError> {
        let doing = "looking for the image";
        let answer = self.asked(Method::HEAD, wanted, doing).await?;
        match answer.status {
            404 => Ok(None),
            _ if answer.succeeded() => match answer.header(CONTENT_DIGEST).and_then(|said| said.parse().ok()) {
                Some(digest) => Ok(Some(digest)),
                // Not every registry says it: then it is in the content.
                None => Ok(self.manifest(wanted).await?.map(|pulled| pulled.digest)),
            },
            _ => Err(refused(&answer, doing)),
        }
    }

    /// The tags of the repository. One that is not there has none.
    ///
    /// # Errors
    /// What went wrong; `IMAGE_TOO_LARGE` for more than ten thousand.
    pub async fn tags(&self) -> Result<Vec<String>, CallError> {
        #[derive(Deserialize)]
        struct Page {
            // Without any, some registries say null.
            tags: Option<Vec<String>>,
        }
        let doing = "listing the images";
        let (path, most) = (self.path(&["tags", "list"]), PAGE.to_string());
        let mut all: Vec<String> = Vec::new();
        for _ in 0..PAGES {
            let last = all.last().cloned();
            let query: Vec<_> = [("n", Some(most.as_str())), ("last", last.as_deref())]
                .into_iter()
                .filter_map(|(name, value)| Some((name, value?)))
                .collect();
            let request = || Request { query: &query, ..Request::new(Method::GET, &path, doing) };
            let answer = self.exchange(&self.pull(), request).await?;
            match answer.status {
                404 => return Ok(all),
                _ if answer.succeeded() => {}
                _ => return Err(self.named(refused(&answer, doing))),
            }
            let page: Page = serde_json::from_slice(&answer.body)
                .map_err(|error| strange(doing, "its answer is no list of tags.").detail(error.to_string()))?;
            let page = page.tags.unwrap_or_default();
            // Whoever has more says so; whoever says it and adds nothing has none.
            let more = answer.header(LINK).is_some() && !page.is_empty();
            all.extend(page);
            if !more {
                return Ok(all);
            }
        }
        Err(too_large("The list of images", (PAGE * PAGES) as u64))
    }

    async fn asked(&self, method: Method, wanted: &str, doing: &str) -> Result<Exchange, CallError> {
        let path = self.path(&["manifests", wanted]);
        let kinds = [OCI_MANIFEST, DOCKER_MANIFEST, OCI_INDEX, DOCKER_INDEX].join(", ");
        let headers = [(ACCEPT, Secret::from(kinds))];
        let request = || Request { headers: &headers, ..Request::new(method.clone(), &path, doing) };
        self.exchange(&self.pull(), request).await
    }

    /// Puts a manifest under a tag or its digest.
    pub(in crate::image) async fn put_manifest(
        &self,
        name: &str,
        kind: &'static str,
        body: &Bytes,
    ) -> Result<(), CallError> {
        let doing = "writing the image's manifest";
        let path = self.path(&["manifests", name]);
        let request = || Request { body: Body::Bytes(kind, body.clone()), ..Request::new(Method::PUT, &path, doing) };
        let answer = self.answered(&self.push(), request).await?;
        let said = answer.header(CONTENT_DIGEST).and_then(|said| said.parse::<Digest>().ok());
        if said.is_some_and(|said| said != Digest::of(body)) {
            return Err(strange(doing, "it took the manifest under another digest."));
        }
        Ok(())
    }

    /// Deletes an image by its digest, with all of its tags. One that is not there is deleted already.
    ///
    /// # Errors
    /// `REGISTRY_REFUSED` where the registry deletes nothing; what else went wrong.
    pub async fn delete(&self, digest: &Digest) -> Result<(), CallError> {
        let doing = "deleting the image";
        let path = self.path(&["manifests", digest.as_str()]);
        let scope = Scope::delete(&self.repository);
        let answer = self.exchange(&scope, || Request::new(Method::DELETE, &path, doing)).await?;
        match answer.status {
            404 => Ok(()),
            405 => Err(CallError::permanent(
                codes::REGISTRY_REFUSED,
                "The registry deletes no images: that is switched off there.",
                Effect::None,
            )),
            _ if answer.succeeded() => Ok(()),
            _ => Err(refused(&answer, doing)),
        }
    }
}
