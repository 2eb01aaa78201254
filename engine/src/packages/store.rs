//! The store itself, over whatever `object_store` speaks to.

use std::{error::Error, fs::DirBuilder, os::unix::fs::DirBuilderExt as _, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{
    Stream, StreamExt as _,
    stream::{self, BoxStream},
};
use object_store::{GetResultPayload, ObjectStore, ObjectStoreExt as _, WriteMultipart, local::LocalFileSystem};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncReadExt as _;
use tokio_util::io::ReaderStream;

use super::{
    PackageError, PackageKey,
    staging::{Staged, Staging},
};
use crate::{location::Location, secrets::hex};

/// A package's content, in order. Its last piece is only given out when the whole is what was put in.
pub type PackageStream = BoxStream<'static, Result<Bytes, PackageError>>;

/// One piece of a package in memory, in bytes.
const PIECE: usize = 256 * 1024;
/// One part of an upload to the store, in bytes: what object stores demand at least.
const PART: u64 = 5 * 1024 * 1024;
/// And so many parts they take at most.
const PARTS: u64 = 10_000;
/// Parts on their way at once. With the size of a part the bound on memory of one commit.
const PARTS_AT_ONCE: usize = 2;
/// So long a look at a package, or its removal, may take: whoever calls holds a lock meanwhile.
const CALL: Duration = Duration::from_secs(30);

/// Where packages lie. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PackageStore {
    store: Arc<dyn ObjectStore>,
    staging: Staging,
}

impl PackageStore {
    /// Opens the store at a [`Location`]; a bucket is looked at. `staging` is a local folder for uploads on their way in. Folders are made if missing (mode 0700); staged files of
    /// dead processes are removed.
    ///
    /// # Errors
    /// [`PackageError::Location`]; [`PackageError::Failed`] if a folder can't be used.
    pub async fn at(location: &str, staging: &Path) -> Result<Self, PackageError> {
        match Location::parse(location)? {
            Location::Folder(folder) => Self::open(folder, staging),
            Location::Bucket(bucket) => {
                bucket.check().await?;
                Self::over(bucket.store(), staging)
            }
        }
    }

    /// Opens the store in a folder.
    ///
    /// # Errors
    /// [`PackageError::Failed`] if a folder can't be used.
    pub fn open(folder: impl AsRef<Path>, staging: &Path) -> Result<Self, PackageError> {
        let (folder, opening) = (folder.as_ref(), "opening its folder");
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(PackageError::io(opening))?;
        let store = LocalFileSystem::new_with_prefix(folder).map_err(PackageError::store(opening))?.with_fsync(true);
        Self::over(Arc::new(store), staging)
    }

    fn over(store: Arc<dyn ObjectStore>, staging: &Path) -> Result<Self, PackageError> {
        let staging = Staging::open(staging).map_err(PackageError::io("opening the staging folder"))?;
        Ok(Self { store, staging })
    }

    /// Writes an upload to a local file, hashing as it goes, with constant memory, and has the disk confirm it.
    ///
    /// # Errors
    /// [`PackageError::TooLarge`] over `limit` bytes, [`PackageError::Interrupted`] if the stream fails, [`PackageError::Full`] or [`PackageError::Failed`] if
    /// the disk does. Nothing stays then, nor when this future is dropped.
    pub async fn stage<S, E>(&self, stream: S, limit: u64) -> Result<Staged, PackageError>
    where
        S: Stream<Item = Result<Bytes, E>>,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        self.staging.stage(stream, limit).await
    }

    /// Puts a staged upload into the store, for good when this returns. Content that is there already is left alone.
    ///
    /// # Errors
    /// [`PackageError::Full`] or [`PackageError::Failed`]; the store is unchanged then.
    pub async fn commit(&self, staged: &Staged) -> Result<PackageKey, PackageError> {
        let key = PackageKey::of(staged.sha256())?;
        let path = key.path();
        let looking = "looking for the package";
        match in_time(looking, self.store.head(&path)).await? {
            Ok(there) if there.size == staged.size() => return Ok(key),
            // Another size under the hash of this content: damaged, and mended by what we hold.
            Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(PackageError::store(looking)(error)),
        }
        let storing = "storing the package";
        let mut file = tokio::fs::File::open(staged.path()).await.map_err(PackageError::io(storing))?;
        let upload = self.store.put_multipart(&path).await.map_err(PackageError::store(storing))?;
        let part = PART.max(staged.size().div_ceil(PARTS));
        let mut upload = WriteMultipart::new_with_chunk_size(upload, usize::try_from(part).unwrap_or(usize::MAX));
        let mut piece = vec![0; PIECE];
        let sent: Result<(), PackageError> = loop {
            match file.read(&mut piece).await {
                Ok(0) => break Ok(()),
                Ok(read) => upload.write(&piece[..read]),
                Err(error) => break Err(PackageError::io(storing)(error)),
            }
            if let Err(error) = upload.wait_for_capacity(PARTS_AT_ONCE).await {
                break Err(PackageError::store(storing)(error));
            }
        };
        match sent {
            Ok(()) => upload.finish().await.map_err(PackageError::store(storing))?,
            Err(error) => {
                if let Err(abort) = upload.abort().await {
                    tracing::warn!(key = %key, error = %abort, "an unfinished upload to the package store could not be taken back");
                }
                return Err(error);
            }
        };
        Ok(key)
    }

    /// Size in bytes and content of a package. The content is hashed on its way: if it is not what was put in, the stream ends with
    /// [`PackageError::Corrupt`] instead of its last piece, so nobody ever receives a damaged package as a whole one.
    ///
    /// # Errors
    /// [`PackageError::NotFound`], [`PackageError::Failed`].
    pub async fn open_package(&self, key: &PackageKey) -> Result<(u64, PackageStream), PackageError> {
        let reading = "reading the package";
        let found = self.store.get(&key.path()).await.map_err(PackageError::store(reading))?;
        let size = found.meta.size;
        let pieces: PackageStream = match found.payload {
            GetResultPayload::File(file, _) => ReaderStream::with_capacity(tokio::fs::File::from_std(file), PIECE)
                .map(move |piece| piece.map_err(PackageError::io(reading)))
                .boxed(),
            GetResultPayload::Stream(pieces) => {
                pieces.map(move |piece| piece.map_err(PackageError::store(reading))).boxed()
            }
        };
        Ok((size, checked(pieces, size, key.sha256().to_owned())))
    }

    /// Removes a package. One that is not there is removed already.
    ///
    /// # Errors
    /// [`PackageError::Failed`].
    pub async fn delete(&self, key: &PackageKey) -> Result<(), PackageError> {
        let deleting = "deleting the package";
        match in_time(deleting, self.store.delete(&key.path())).await? {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(PackageError::store(deleting)(error)),
        }
    }
}

async fn in_time<T>(doing: &'static str, call: impl Future<Output = T>) -> Result<T, PackageError> {
    let late = |late: tokio::time::error::Elapsed| PackageError::Failed { doing, source: late.into() };
    tokio::time::timeout(CALL, call).await.map_err(late)
}

/// Passes pieces on while they can still become the content with this size and hash.
fn checked(pieces: PackageStream, size: u64, sha256: String) -> PackageStream {
    let state = (pieces, Sha256::new(), 0u64, sha256);
    stream::try_unfold(state, move |(mut pieces, mut hasher, seen, sha256)| async move {
        let Some(piece) = pieces.next().await.transpose()? else {
            let whole = seen == size && (size > 0 || hex(&hasher.finalize()) == sha256);
            return if whole { Ok(None) } else { Err(PackageError::Corrupt) };
        };
        hasher.update(&piece);
        let seen = seen.saturating_add(piece.len() as u64);
        let wrong = seen > size || (seen == size && hex(&hasher.clone().finalize()) != sha256);
        if wrong {
            return Err(PackageError::Corrupt);
        }
        Ok(Some((piece, (pieces, hasher, seen, sha256))))
    })
    .boxed()
}

#[cfg(test)]
mod tests;
