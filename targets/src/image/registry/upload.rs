//! Sending contents: taken from another repository of the same registry where it has them, else in one piece, or in parts that go on where they broke off. All that
//! is sent is hashed on its way, and what is not what its digest says is never completed.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use engine::{
    packages::{PackageError, PackageStream},
    secrets::Secret,
};
use futures_util::{StreamExt as _, stream};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncSeekExt as _;
use tokio_util::io::ReaderStream;
use url::Url;

use super::Registry;
use crate::{
    codes,
    http::{
        Body, CallError, Effect, Exchange, Method, Request,
        header::{CONTENT_RANGE, LOCATION, RANGE},
    },
    image::{
        digest::Digest,
        failure::{mismatch, of_registry, refused, strange},
    },
};

/// Contents up to this size are sent in one piece, in bytes.
const ONE_PIECE: u64 = 8 * 1024 * 1024;
/// So often in a row an upload may fail without having come any further.
const FAILURES: u32 = 4;
const PAUSE: Duration = Duration::from_millis(200);
const READ: usize = 128 * 1024;
const OCTETS: &str = "application/octet-stream";
const SENDING: &str = "sending a part of the image";

/// Where a content comes from. It can be read from any byte on, again and again.
#[derive(Clone)]
pub(in crate::image) enum Source {
    Bytes(Bytes),
    File(PathBuf),
    Registry(Registry),
}

impl Source {
    async fn read(&self, digest: &Digest, from: u64) -> Result<PackageStream, CallError> {
        match self {
            Self::Bytes(bytes) => {
                let at = usize::try_from(from).unwrap_or(usize::MAX).min(bytes.len());
                Ok(stream::iter([Ok(bytes.slice(at..))]).boxed())
            }
            Self::File(path) => {
                let lost = |error: std::io::Error| {
                    let message = format!("The image's layer could not be read from this machine's disk: {error}");
                    CallError::retryable(codes::IMAGE_LAYER_FAILED, message, Effect::None)
                };
                let mut file = tokio::fs::File::open(path).await.map_err(lost)?;
                file.seek(std::io::SeekFrom::Start(from)).await.map_err(lost)?;
                let pieces = ReaderStream::with_capacity(file, READ);
                Ok(pieces.map(|piece| piece.map_err(|error| PackageError::Interrupted(error.into()))).boxed())
            }
            Self::Registry(registry) => {
                let blob = registry.blob(digest, from).await?;
                let pieces = stream::try_unfold(blob, |mut blob| async move {
                    let next = blob.next().await.map_err(|error| PackageError::Interrupted(Box::new(Lost(error))))?;
                    Ok(next.map(|piece| (piece, blob)))
                });
                Ok(pieces.boxed())
            }
        }
    }
}

/// Why a source broke off.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.failure)]
struct Lost(CallError);

/// What was read of a content so far, and what went wrong with it.
#[derive(Default)]
struct Progress {
    hasher: Sha256,
    hashed: u64,
    trouble: Option<CallError>,
}

/// A content on its way.
struct Sending<'a> {
    registry: &'a Registry,
    digest: &'a Digest,
    size: u64,
    source: &'a Source,
    progress: Arc<Mutex<Progress>>,
}

impl Registry {
    /// Makes sure that the registry has this content; `mount` is another repository of the same registry that does. Whether it had to be sent.
    pub(in crate::image) async fn ensure_blob(
        &self,
        digest: &Digest,
        size: u64,
        source: &Source,
        mount: Option<&Registry>,
    ) -> Result<bool, CallError> {
        if self.has_blob(digest, size).await? {
            return Ok(false);
        }
        let sending = Sending { registry: self, digest, size, source, progress: Arc::default() };
        let mut place = match mount {
            None => None,
            Some(other) => match self.begin(Some((other, digest))).await? {
                None => return Ok(false),
                place => place,
            },
        };
        let mut failures = 0;
        loop {
            let begun = match place.take() {
                Some(begun) => begun,
                None => self.begin(None).await?.ok_or_else(|| strange(SENDING, "it took what was not sent."))?,
            };
            let sent = if size <= ONE_PIECE { sending.whole(begun).await } else { sending.parts(begun).await };
            match sent {
                Ok(()) => return Ok(true),
                Err(error) if error.retryable && failures + 1 < FAILURES => {
                    failures += 1;
                    tokio::time::sleep(error.retry_after.unwrap_or(PAUSE * (1 << failures)).min(PAUSE * 50)).await;
                    // The answer may be what was lost.
                    if self.has_blob(digest, size).await? {
                        return Ok(true);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Begins an upload: where it goes. None when the registry took the content from the other repository.
    async fn begin(&self, mount: Option<(&Registry, &Digest)>) -> Result<Option<Url>, CallError> {
        let path = self.path(&["blobs", "uploads", ""]);
        let query: Vec<(&str, &str)> = mount
            .map(|(other, digest)| [("mount", digest.as_str()), ("from", other.repository.as_str())])
            .into_iter()
            .flatten()
            .collect();
        let scope = match mount {
            Some((other, _)) => self.push().and(other.pull()),
            None => self.push(),
        };
        let request = || Request { query: &query, ..Request::new(Method::POST, &path, SENDING) };
        let answer = self.exchange(&scope, request).await?;
        match answer.status {
            201 if mount.is_some() => Ok(None),
            202 => self.place(&answer).map(Some),
            // A registry that may not show us the other repository; we send it ourselves.
            400..500 if mount.is_some() && answer.status != 429 => Box::pin(self.begin(None)).await,
            _ if answer.succeeded() => Err(strange(SENDING, "it does not say where.")),
            _ => Err(refused(&answer, SENDING)),
        }
    }

    /// Where the upload goes on. Only on the registry itself: the key goes with it.
    fn place(&self, answer: &Exchange) -> Result<Url, CallError> {
        let place = answer.header(LOCATION).and_then(|location| self.url.named(location));
        place.ok_or_else(|| strange(SENDING, "it does not say where."))
    }
}

impl Sending<'_> {
    /// In one piece.
    async fn whole(&self, mut place: Url) -> Result<(), CallError> {
        *self.lock() = Progress::default();
        place.query_pairs_mut().append_pair("digest", self.digest.as_str());
        let answer = self.call(Method::PUT, place, 0, self.size, false).await?;
        if answer.succeeded() { Ok(()) } else { Err(refused(&answer, SENDING)) }
    }

    /// Part by part. A part that broke off goes on where the registry says it did.
    async fn parts(&self, mut place: Url) -> Result<(), CallError> {
        *self.lock() = Progress::default();
        let (mut at, mut failures) = (0, 0);
        while at < self.size {
            let length = self.registry.access.part.max(ONE_PIECE).min(self.size - at);
            let sent = self.call(Method::PATCH, place.clone(), at, length, at > 0 || length < self.size).await;
            let trouble = match sent {
                Ok(answer) if answer.succeeded() => {
                    place = self.registry.place(&answer)?;
                    let there = range_end(&answer).unwrap_or(at + length);
                    if there <= at || there > at + length {
                        return Err(strange(SENDING, "it has another part than was sent."));
                    }
                    (at, failures) = (there, 0);
                    continue;
                }
                Ok(answer) => refused(&answer, SENDING),
                Err(error) => error,
            };
            failures += 1;
            if !trouble.retryable || failures >= FAILURES {
                return Err(trouble);
            }
            tokio::time::sleep(trouble.retry_after.unwrap_or(PAUSE * (1 << failures)).min(PAUSE * 50)).await;
            let (there, next) = self.look(&place).await?.ok_or(trouble)?;
            if there > self.lock().hashed {
                return Err(strange(SENDING, "it has more than was sent."));
            }
            if there > at {
                failures = 0;
            }
            (at, place) = (there, next);
        }
        let whole = Digest::finished(self.lock().hasher.clone());
        if whole != *self.digest {
            return Err(mismatch("a layer"));
        }
        place.query_pairs_mut().append_pair("digest", self.digest.as_str());
        let request = || Request { at: Some(place.clone()), ..Request::new(Method::PUT, &[], SENDING) };
        self.registry.answered(&self.registry.push(), request).await.map(drop)
    }

    /// What the registry has of it, and where it goes on; None when it has forgotten it.
    async fn look(&self, place: &Url) -> Result<Option<(u64, Url)>, CallError> {
        let request = || Request { at: Some(place.clone()), ..Request::new(Method::GET, &[], SENDING) };
        let answer = self.registry.exchange(&self.registry.push(), request).await?;
        match answer.status {
            404 => Ok(None),
            _ if answer.succeeded() => {
                let next = answer.header(LOCATION).map_or(Ok(place.clone()), |_| self.registry.place(&answer))?;
                Ok(Some((range_end(&answer).unwrap_or(0), next)))
            }
            _ => Err(refused(&answer, SENDING)),
        }
    }

    /// Sends `length` bytes from `at` on.
    async fn call(
        &self,
        method: Method,
        place: Url,
        at: u64,
        length: u64,
        ranged: bool,
    ) -> Result<Exchange, CallError> {
        let registry = self.registry;
        let node = registry.let_in(&registry.push()).await?;
        let content = self.content(at, length).await?;
        let range = format!("{at}-{}", (at + length).saturating_sub(1));
        let headers: Vec<_> = ranged.then(|| (CONTENT_RANGE, Secret::from(range))).into_iter().collect();
        let request = Request {
            at: Some(place),
            headers: &headers,
            body: Body::Stream(OCTETS, length, content),
            timeout: Some(registry.access.transfer_timeout),
            ..Request::new(method, &[], SENDING)
        };
        let answer = node.exchange(request).await.map_err(|error| registry.named(of_registry(error)));
        // What stopped our own reading is why the call failed.
        if let Some(trouble) = self.lock().trouble.take() {
            return Err(trouble);
        }
        let answer = answer?;
        if answer.status == 401 && registry.challenged(&answer.headers).await {
            // The token was good for less than the transfer took; there is a new one for the next attempt.
            let error = registry.named(refused(&answer, SENDING));
            return Err(CallError { retryable: true, ..error });
        }
        Ok(answer)
    }

    /// So much of the content; hashed as far as it was not yet.
    async fn content(&self, at: u64, length: u64) -> Result<PackageStream, CallError> {
        let pieces = self.source.read(self.digest, at).await?;
        let (progress, digest, size) = (Arc::clone(&self.progress), self.digest.clone(), self.size);
        let state = (pieces, at, at + length, progress);
        let content = stream::try_unfold(state, move |(mut pieces, at, end, progress)| {
            let digest = digest.clone();
            async move {
                if at >= end {
                    return Ok(None);
                }
                let trouble = |error: CallError| {
                    progress.lock().unwrap_or_else(PoisonError::into_inner).trouble = Some(error);
                    Err(PackageError::Corrupt)
                };
                let mut piece = match pieces.next().await {
                    Some(Ok(piece)) => piece,
                    Some(Err(error)) => return trouble(broke_off(error)),
                    None => return trouble(broke_off(PackageError::Interrupted("it ended early".into()))),
                };
                let most = usize::try_from(end - at).unwrap_or(usize::MAX);
                let more = piece.len() > most;
                piece.truncate(most);
                let next = at + piece.len() as u64;
                let wrong = {
                    let mut progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
                    let known = usize::try_from(progress.hashed.saturating_sub(at)).unwrap_or(usize::MAX);
                    if let Some(fresh) = piece.get(known..).filter(|fresh| !fresh.is_empty()) {
                        progress.hasher.update(fresh);
                        progress.hashed = next;
                    }
                    next == size && (more || Digest::finished(progress.hasher.clone()) != digest)
                };
                // Held back, so that nobody ever has all of it.
                if wrong {
                    return trouble(mismatch("a layer"));
                }
                Ok(Some((piece, (pieces, next, end, progress))))
            }
        });
        Ok(content.boxed())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The source's own failure.
fn broke_off(error: PackageError) -> CallError {
    if let PackageError::Interrupted(inner) = &error
        && let Some(Lost(lost)) = inner.downcast_ref::<Lost>()
    {
        return lost.clone();
    }
    let message = "A part of the image could not be read to its end.";
    CallError::retryable(codes::IMAGE_LAYER_FAILED, message, Effect::None).detail(error.to_string())
}

/// How much of an upload is there: one more than the last byte of `Range: 0-N`.
fn range_end(answer: &Exchange) -> Option<u64> {
    let range = answer.header(RANGE)?;
    let (_, last) = range.trim().trim_start_matches("bytes=").split_once('-')?;
    let last: u64 = last.parse().ok()?;
    // Docker's registry says 0-0 for nothing, too.
    Some(if last == 0 { 0 } else { last.saturating_add(1) })
}
