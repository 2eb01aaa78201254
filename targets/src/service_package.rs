//! A service version as it is delivered: the zip that was uploaded, or the same one with its manifest amended. Who may call a service, and where its queries are
//! logged, stands in the manifest alone: no platform's API takes it.
//!
//! An amended version is another generation, `<version>~<8 hex>`, so that the same version with other settings can stand beside it. The eight digits are made of
//! what was amended with secrets by reference: they tell nothing of a secret, and whoever has the spec knows the name without opening one. A reference names an
//! immutable secret, so a key that is entered anew makes another generation.
//!
//! * `edit`: what is amended, with its secrets; `archive`: the archive rewritten, entry by entry.

mod archive;
mod edit;

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::Path,
    sync::Arc,
};

use engine::{
    failure::{Failure, StepError},
    packages::{PackageError, PackageKey, PackageStore, PackageStream, TempFile},
    step::StepContext,
};
use futures_util::{StreamExt as _, TryStreamExt as _};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use tokio_util::io::ReaderStream;

use crate::{
    codes,
    service::{ServiceSpec, ServiceVersionSpec},
    target::Work,
    tools::own_folder,
};

/// The longest name of a generation, in characters.
const LONGEST: usize = 100;
/// So many hexadecimal digits tell amendments apart.
const TAG: usize = 8;
/// One piece of a package in memory, in bytes.
const PIECE: usize = 256 * 1024;

/// A service version, ready to be sent. What was put together for it goes when this goes.
#[derive(Debug)]
pub(crate) struct ServicePackage {
    /// The name that its manifest gives it.
    pub(crate) generation: String,
    /// SHA-256 of the archive, lower-case hex.
    pub(crate) sha256: String,
    /// In bytes.
    pub(crate) size: u64,
    source: Source,
}

#[derive(Debug)]
enum Source {
    /// What was uploaded, unchanged.
    Stored(PackageStore, PackageKey),
    /// What was put together.
    Scratch(Arc<TempFile>),
}

/// The digits of what is amended in this version; None when nothing is.
pub(crate) fn tag(service: &ServiceSpec, version: &ServiceVersionSpec) -> Option<String> {
    let renamed = service.service_id != service.published_service_id;
    if service.authorization.is_none() && service.auditing.is_none() && !renamed {
        return None;
    }
    let amended = json!({
        "version": version.version,
        "sha256": version.sha256,
        "serviceId": renamed.then_some(&service.service_id),
        "authorization": service.authorization,
        "auditing": service.auditing,
    });
    let mut digest = hex(&Sha256::digest(sorted(amended).to_string()));
    digest.truncate(TAG);
    Some(digest)
}

/// The name of the generation that this version is delivered as.
pub(crate) fn generation(service: &ServiceSpec, version: &ServiceVersionSpec) -> String {
    let Some(tag) = tag(service, version) else { return version.version.clone() };
    let kept: String = version.version.chars().take(LONGEST - TAG - 1).collect();
    format!("{kept}~{tag}")
}

/// The version that a generation of this name holds, in the words of a spec; the generation's own name when it is none of the spec's.
pub(crate) fn version_of(service: &ServiceSpec, name: &str) -> String {
    let known = service.versions.iter().find(|version| generation(service, version) == name);
    known.map_or_else(|| name.to_owned(), |version| version.version.clone())
}

/// Makes the version ready to be sent: opens the secrets, and rewrites the archive in a folder under `scratch` where it must be amended. Constant memory.
///
/// # Errors
/// Of the package store and of secrets, as they come; `SERVICE_PACKAGE_INVALID` when the archive can't be amended; `SCRATCH_FAILED`, worth another attempt.
pub(crate) async fn prepare(
    packages: &PackageStore,
    run: &dyn StepContext,
    service: &ServiceSpec,
    version: &ServiceVersionSpec,
    scratch: &Path,
) -> Result<ServicePackage, StepError> {
    let key = PackageKey::of(&version.sha256).map_err(package_failed)?;
    let generation = generation(service, version);
    if tag(service, version).is_none() {
        let source = Source::Stored(packages.clone(), key);
        return Ok(ServicePackage { generation, sha256: version.sha256.clone(), size: version.size, source });
    }
    let edit = edit::Edit::of(service, &generation, run).await?;
    let original = downloaded(packages, &key, scratch).await?;
    let folder = own_folder(scratch);
    let written = tokio::task::spawn_blocking(move || {
        let (file, mut target) = TempFile::create(&folder).map_err(archive::AmendError::Disk)?;
        let source = File::open(original.path()).map_err(archive::AmendError::Disk)?;
        archive::amend(source, &mut target, &edit)?;
        let (sha256, size) = hashed(&mut target).map_err(archive::AmendError::Disk)?;
        Ok::<_, archive::AmendError>((file, sha256, size))
    });
    let (file, sha256, size) = match written.await {
        Ok(Ok(written)) => written,
        Ok(Err(archive::AmendError::Disk(error))) => return Err(disk_failed(&error)),
        Ok(Err(archive::AmendError::Archive(what))) => {
            let message = format!(
                "Version {} can't be delivered with the deployment's own authorization or auditing: {what}. Upload it anew as another version.",
                version.version
            );
            return Err(Failure::new(codes::SERVICE_PACKAGE_INVALID, message).permanent());
        }
        Err(error) => return Err(disk_failed(&io::Error::other(error))),
    };
    Ok(ServicePackage { generation, sha256, size, source: Source::Scratch(Arc::new(file)) })
}

impl ServicePackage {
    /// Its content from this byte on. What was uploaded is checked on its way: damaged, the stream ends with an error.
    pub(crate) async fn open_at(&self, offset: u64) -> Result<PackageStream, StepError> {
        match &self.source {
            Source::Stored(store, key) => {
                let (_, stream) = store.open_package(key).await.map_err(package_failed)?;
                Ok(skipping(stream, offset))
            }
            Source::Scratch(file) => {
                let kept = Arc::clone(file);
                let opened = tokio::task::spawn_blocking(move || {
                    let mut file = File::open(kept.path())?;
                    file.seek(SeekFrom::Start(offset))?;
                    Ok((file, kept))
                });
                let (file, kept) =
                    opened.await.map_err(io::Error::other).and_then(|opened| opened).map_err(|e| disk_failed(&e))?;
                let pieces = ReaderStream::with_capacity(tokio::fs::File::from_std(file), PIECE);
                // The file lives as long as its stream.
                Ok(pieces.map(move |piece| piece.map_err(|error| unreadable(&kept, error))).boxed())
            }
        }
    }

    /// A local file that holds it, for a program that wants one.
    pub(crate) async fn file(&self, scratch: &Path) -> Result<Arc<TempFile>, StepError> {
        match &self.source {
            Source::Stored(store, key) => Ok(Arc::new(downloaded(store, key, scratch).await?)),
            Source::Scratch(file) => Ok(Arc::clone(file)),
        }
    }
}

fn unreadable(_kept: &Arc<TempFile>, error: io::Error) -> PackageError {
    PackageError::Failed { doing: "reading the amended package", source: error.into() }
}

fn skipping(stream: PackageStream, offset: u64) -> PackageStream {
    if offset == 0 {
        return stream;
    }
    stream
        .scan(offset, |left, piece| {
            let piece = piece.map(|mut piece| {
                let skip = usize::try_from(*left).unwrap_or(usize::MAX).min(piece.len());
                *left -= skip as u64;
                piece.split_off(skip)
            });
            std::future::ready(Some(piece))
        })
        .try_filter(|piece| std::future::ready(!piece.is_empty()))
        .boxed()
}

/// The package in a scratch file.
async fn downloaded(packages: &PackageStore, key: &PackageKey, scratch: &Path) -> Result<TempFile, StepError> {
    let (_, mut content) = packages.open_package(key).await.map_err(package_failed)?;
    let folder = own_folder(scratch);
    let created = tokio::task::spawn_blocking(move || TempFile::create(&folder)).await;
    let (kept, file) = created.map_err(io::Error::other).and_then(|made| made).map_err(|e| disk_failed(&e))?;
    let mut file = tokio::fs::File::from_std(file);
    while let Some(piece) = content.try_next().await.map_err(package_failed)? {
        tokio::io::AsyncWriteExt::write_all(&mut file, &piece).await.map_err(|e| disk_failed(&e))?;
    }
    tokio::io::AsyncWriteExt::flush(&mut file).await.map_err(|e| disk_failed(&e))?;
    Ok(kept)
}

fn hashed(file: &mut File) -> io::Result<(String, u64)> {
    file.flush()?;
    file.seek(SeekFrom::Start(0))?;
    let (mut hasher, mut size, mut piece) = (Sha256::new(), 0_u64, vec![0; PIECE]);
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            return Ok((hex(&hasher.finalize()), size));
        }
        hasher.update(&piece[..read]);
        size += read as u64;
    }
}

/// What the version's manifest says, for whoever must know more than its spec holds; nothing where it can't be read.
pub(crate) async fn manifest(
    packages: &PackageStore,
    version: &ServiceVersionSpec,
    scratch: &Path,
) -> Result<Map<String, Value>, StepError> {
    let key = PackageKey::of(&version.sha256).map_err(package_failed)?;
    let original = downloaded(packages, &key, scratch).await?;
    let read = tokio::task::spawn_blocking(move || {
        let source = File::open(original.path()).map_err(archive::AmendError::Disk)?;
        archive::manifest(source)
    });
    match read.await {
        Ok(Ok(manifest)) => Ok(manifest),
        Ok(Err(archive::AmendError::Archive(_))) => Ok(Map::new()),
        Ok(Err(archive::AmendError::Disk(error))) => Err(disk_failed(&error)),
        Err(error) => Err(disk_failed(&io::Error::other(error))),
    }
}

/// Opens a version's archive as it was uploaded; it is streamed, whatever its size.
pub(crate) async fn open(work: &Work<'_>, version: &ServiceVersionSpec) -> Result<(u64, PackageStream), StepError> {
    let key = PackageKey::of(&version.sha256).map_err(package_failed)?;
    let (size, content) = work.packages.open_package(&key).await.map_err(package_failed)?;
    if size != version.size {
        return Err(package_failed(PackageError::Corrupt));
    }
    Ok((size, content))
}

/// What a failure of the package store means for a step.
pub(crate) fn package_failed(error: PackageError) -> StepError {
    let failure = Failure::new(error.code(), error.to_string());
    match error {
        PackageError::Failed { .. } | PackageError::Interrupted(_) | PackageError::Full(_) => failure.retryable(None),
        _ => failure.permanent(),
    }
}

/// What a failure of the local disk means for a step.
pub(crate) fn disk_failed(error: &io::Error) -> StepError {
    let message = "The worker could not put the package together in its folder for scratch files. Ask an operator to look at the disk.";
    Failure::new(codes::SCRATCH_FAILED, message).detail(error.to_string()).retryable(None)
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a text can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The same value with the keys of every object in order, whatever order this build keeps them in.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(object) => {
            let mut fields: Vec<_> = object.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            fields.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(fields.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests;
