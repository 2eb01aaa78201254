//! An uploaded archive: streamed into a temporary file without a name, hashed on the way, read when it is whole.

use crate::calls::CallBody;
use crate::manifest::Manifest;
use crate::reply::Refusal;
use crate::request::Asked;
use poem::web::Multipart;
use poem::{Body, FromRequest, Request, RequestBody};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// An archive that arrived whole. Its bytes are not kept: what the node needs is the manifest.
pub(crate) struct Archive {
    pub(crate) manifest: Manifest,
    pub(crate) sha256: String,
    pub(crate) size: u64,
}

const PIECE: usize = 64 * 1024;

/// Reads the upload of a request: multipart, one part named `file`.
pub(crate) async fn receive(asked: &Asked<'_>, request: Request, body: Body) -> Result<Archive, Refusal> {
    let mut parts = Multipart::from_request(&request, &mut RequestBody::new(body))
        .await
        .map_err(|error| Refusal::bad(format!("the upload is no multipart: {error}")))?;
    let broken = |error| Refusal::bad(format!("the upload is broken: {error}"));
    let mut archive = None;
    while let Some(part) = parts.next_field().await.map_err(broken)? {
        if part.name() != Some("file") {
            continue;
        }
        if archive.is_some() {
            return Err(Refusal::bad("two parts are named file"));
        }
        let name = part.file_name().unwrap_or_default().to_owned();
        archive = Some((name, store(asked, part.into_async_read()).await?));
    }
    let (file, (stored, size, sha256)) = archive.ok_or_else(|| Refusal::bad("no part is named file"))?;
    asked.core.desk.calls.note(asked.index, |call| {
        call.body = CallBody::Upload { file, size, sha256: sha256.clone() };
    });
    read(stored, size, sha256).await
}

/// Reads an archive on the node's own disk, as `archivePath` names it.
pub(crate) async fn open(asked: &Asked<'_>) -> Result<Archive, Refusal> {
    let path = asked.query.get("archivePath").ok_or_else(|| Refusal::bad("archivePath is needed"))?.to_owned();
    let limit = asked.core.config.max_upload;
    let (file, size, sha256) = blocking(move || local(Path::new(&path), "archivePath", limit)).await?;
    read(file, size, sha256).await
}

/// A file on the node's own disk, its size and its SHA-256; `what` names it in refusals. Blocks.
pub(crate) fn local(path: &Path, what: &str, limit: u64) -> Result<(File, u64, String), Refusal> {
    let wrong = |error| Refusal::bad(format!("can't read {what}: {error}"));
    // Asked before it is opened: a pipe would hold whoever opens it.
    if !std::fs::metadata(path).map_err(wrong)?.is_file() {
        return Err(Refusal::bad(format!("{what} is no file")));
    }
    let mut file = File::open(path).map_err(wrong)?;
    let (mut hash, mut size, mut piece) = (Sha256::new(), 0_u64, vec![0; PIECE]);
    loop {
        let read = file.read(&mut piece).map_err(wrong)?;
        if read == 0 {
            return Ok((file, size, hex(hash)));
        }
        size += read as u64;
        if size > limit {
            return Err(Refusal::too_large(format!("the archive is larger than {limit} bytes")));
        }
        hash.update(&piece[..read]);
    }
}

async fn store(asked: &Asked<'_>, upload: impl tokio::io::AsyncRead + Send) -> Result<(File, u64, String), Refusal> {
    let disk = |error| Refusal::internal(format!("can't keep the upload: {error}"));
    let folder = asked.core.config.scratch.clone();
    let file = blocking(move || match folder {
        Some(folder) => tempfile::tempfile_in(folder).map_err(disk),
        None => tempfile::tempfile().map_err(disk),
    })
    .await?;
    let mut file = tokio::fs::File::from_std(file);
    let limit = asked.core.config.max_upload;
    let (mut hash, mut size, mut piece) = (Sha256::new(), 0_u64, vec![0; PIECE]);
    tokio::pin!(upload);
    loop {
        let read = upload.read(&mut piece).await.map_err(|error| Refusal::bad(format!("the upload broke: {error}")))?;
        if read == 0 {
            break;
        }
        size += read as u64;
        if size > limit {
            // As much again is read and thrown away, so that a client that is only a little over comes to read the answer.
            let rest = tokio::io::copy(&mut upload.take(limit), &mut tokio::io::sink()).await;
            tracing::debug!(?rest, "an upload was over the limit");
            return Err(Refusal::too_large(format!("the upload is larger than {limit} bytes")));
        }
        hash.update(&piece[..read]);
        file.write_all(&piece[..read]).await.map_err(disk)?;
    }
    file.flush().await.map_err(disk)?;
    Ok((file.into_std().await, size, hex(hash)))
}

async fn read(file: File, size: u64, sha256: String) -> Result<Archive, Refusal> {
    let manifest = blocking(move || Manifest::read(file)).await?;
    Ok(Archive { manifest, sha256, size })
}

pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Refusal::internal(format!("the node failed: {error}"))),
    }
}

pub(crate) fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
