//! Contents by digest. A registry may redirect their reading to an object store: that is followed a few times, only for reading, each address checked, and our key
//! goes nowhere but to the registry itself.

use bytes::{Bytes, BytesMut};
use engine::secrets::Secret;
use url::Url;

use super::Registry;
use crate::{
    codes,
    http::{
        Auth, CallError, Effect, Method, Opened, Request,
        header::{CONTENT_LENGTH, LOCATION, RANGE},
    },
    image::{
        digest::Digest,
        failure::{mismatch, of_registry, refused, strange, too_large},
    },
};

/// Redirects of one reading that are followed.
const MAX_REDIRECTS: usize = 3;
const READING: &str = "reading a part of the image";

/// A content that is being read, from some byte on.
pub(in crate::image) struct Blob {
    opened: Opened,
    /// Bytes to be thrown away: the other side began before what we asked for.
    skip: u64,
}

impl Registry {
    /// Whether the registry has this content.
    pub(in crate::image) async fn has_blob(&self, digest: &Digest, size: u64) -> Result<bool, CallError> {
        let doing = "looking for a part of the image";
        let path = self.path(&["blobs", digest.as_str()]);
        let answer = self.exchange(&self.push(), || Request::new(Method::HEAD, &path, doing)).await?;
        match answer.status {
            404 => Ok(false),
            // Only what is there can be redirected to its store.
            300..400 => Ok(true),
            _ if answer.succeeded() => {
                let said = answer.header(CONTENT_LENGTH).and_then(|said| said.parse::<u64>().ok());
                if said.is_some_and(|said| said != size && said != 0) {
                    return Err(strange(doing, "what it has under this digest is of another size."));
                }
                Ok(true)
            }
            _ => Err(refused(&answer, doing)),
        }
    }

    /// A small content, whole.
    pub(in crate::image) async fn small_blob(&self, digest: &Digest, size: u64, most: u64) -> Result<Bytes, CallError> {
        if size > most {
            return Err(too_large("A part of the image", most));
        }
        let mut blob = self.blob(digest, 0).await?;
        let mut body = BytesMut::new();
        while let Some(piece) = blob.next().await? {
            if (body.len() + piece.len()) as u64 > size {
                return Err(mismatch("the image's configuration"));
            }
            body.extend_from_slice(&piece);
        }
        if Digest::of(&body) != *digest {
            return Err(mismatch("the image's configuration"));
        }
        Ok(body.freeze())
    }

    /// Reads a content from byte `from` on. Whoever reads checks it.
    pub(in crate::image) async fn blob(&self, digest: &Digest, from: u64) -> Result<Blob, CallError> {
        let path = self.path(&["blobs", digest.as_str()]);
        let headers: Vec<_> = (from > 0).then(|| (RANGE, Secret::from(format!("bytes={from}-")))).into_iter().collect();
        let timeout = Some(self.access.transfer_timeout);
        let request = || Request { headers: &headers, timeout, ..Request::new(Method::GET, &path, READING) };
        let mut opened = self.open(&self.pull(), request).await?;
        let here = format!("{}/v2/{}/blobs/{digest}", self.url, self.repository);
        let mut here = Url::parse(&here).map_err(|_| strange(READING, "its own address is no URL."))?;
        let mut followed = 0;
        while (300..400).contains(&opened.status) {
            followed += 1;
            if followed > MAX_REDIRECTS {
                return Err(strange(READING, "it redirects again and again."));
            }
            here = self.redirect(&opened, &here)?;
            let request = Request {
                at: Some(here.clone()),
                headers: &headers,
                timeout,
                ..Request::new(Method::GET, &[], READING)
            };
            // Such a URL is good by itself.
            opened = self.at(&here, Auth::None)?.open(request).await.map_err(|error| self.named(of_registry(error)))?;
        }
        match opened.status {
            206 => Ok(Blob { opened, skip: 0 }),
            _ if opened.succeeded() => Ok(Blob { opened, skip: from }),
            404 => {
                let message =
                    format!("The registry has lost a part of the base image, {digest}. Push the image to it again.");
                Err(CallError::permanent(codes::IMAGE_BASE_NOT_FOUND, message, Effect::None))
            }
            _ => {
                let node = self.node(Auth::None);
                let answer = opened.whole(&node, READING).await.map_err(|error| self.named(of_registry(error)))?;
                Err(self.named(refused(&answer, READING)))
            }
        }
    }

    /// Where a redirect leads: to https, or to http where the registry speaks it.
    fn redirect(&self, opened: &Opened, here: &Url) -> Result<Url, CallError> {
        let location = opened.headers.get(LOCATION).and_then(|value| value.to_str().ok());
        let target = location.and_then(|location| here.join(location).ok());
        let target = target.ok_or_else(|| strange(READING, "its redirect leads nowhere."))?;
        let fine = target.scheme() == "https" || (target.scheme() == "http" && self.access.plain_http);
        if fine && target.username().is_empty() && target.password().is_none() {
            Ok(target)
        } else {
            Err(strange(READING, "its redirect does not lead to https."))
        }
    }
}

impl Blob {
    /// The next piece; None at the end. How much there is, is for the caller to bound.
    pub(in crate::image) async fn next(&mut self) -> Result<Option<Bytes>, CallError> {
        loop {
            let Some(mut piece) = self.opened.chunk(READING).await.map_err(of_registry)? else { return Ok(None) };
            let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(piece.len());
            self.skip -= skipped as u64;
            let _ = piece.split_to(skipped);
            if !piece.is_empty() {
                return Ok(Some(piece));
            }
        }
    }
}
