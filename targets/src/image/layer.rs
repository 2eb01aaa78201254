//! A layer: a tar archive, compressed, in a temporary file. The same entries always make the same bytes, so a layer that a registry has is known by its digest
//! and never sent twice. Memory does not grow with the content.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{self, BufWriter, Read, Write},
    path::{Path, PathBuf},
};

use bytes::{Buf as _, Bytes};
use engine::{
    failure::{Code, Failure},
    packages::{PackageError, PackageStream, TempFile},
};
use flate2::{Compression, GzBuilder, write::GzEncoder};
use futures_util::StreamExt as _;
use sha2::{Digest as _, Sha256};
use tar::{EntryType, Header};
use tokio::runtime::Handle;

use super::digest::Digest;
use crate::{
    codes,
    http::{CallError, Effect},
    tools::own_folder,
};

/// More entries are refused.
const MAX_ENTRIES: usize = 1_000;
/// Longer paths are refused, in bytes: what the plain form of a tar header holds.
const MAX_PATH: usize = 100;
/// Larger entries are refused, in bytes: likewise.
const MAX_ENTRY: u64 = 8 * 1024 * 1024 * 1024 - 1;
/// Packages are compressed already; what is left to gain is not worth a second core.
const COMPRESSION: Compression = Compression::new(3);
const BUFFER: usize = 128 * 1024;

/// What is in an entry.
pub enum Content {
    /// A file of this machine, read when the layer is made.
    File(PathBuf),
    /// Bytes.
    Bytes(Bytes),
    /// A package from the store.
    Stream {
        /// In bytes.
        size: u64,
        /// All of it.
        content: PackageStream,
    },
}

/// Who may do what with an entry. The owner is root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Everybody reads.
    Data,
    /// Everybody reads and runs.
    Program,
}

/// The entries of a layer to be.
#[derive(Default)]
pub struct LayerPlan(BTreeMap<String, (Mode, Content)>);

/// A layer in a file that goes with it.
#[derive(Debug)]
pub struct Layer {
    pub(crate) file: TempFile,
    /// Of the compressed file, in bytes.
    pub size: u64,
    /// Of the compressed file: its name in a registry.
    pub digest: Digest,
    /// Of the archive inside: its name in an image's configuration.
    pub diff_id: Digest,
}

/// No layer could be made.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The path can't stand in a layer.
    #[error("\"{0}\" can't be a path in an image: at most {MAX_PATH} bytes, relative, without \".\" and \"..\".")]
    Path(String),
    /// Two entries have one path.
    #[error("\"{0}\" would be twice in the image.")]
    Twice(String),
    /// Too many entries, or one that is too large.
    #[error("An image's layer holds at most {MAX_ENTRIES} files, of less than 8 GiB each.")]
    TooLarge,
    /// The content has another size than was said.
    #[error("\"{0}\" changed while it was read. Try again.")]
    Changed(String),
    /// The package store failed.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// This machine's disk failed.
    #[error("The image's layer could not be written: {0}")]
    Io(#[source] io::Error),
}

impl From<LayerError> for CallError {
    fn from(error: LayerError) -> Self {
        let (code, text) = (error.code(), error.to_string());
        let passing = matches!(
            error,
            LayerError::Changed(_)
                | LayerError::Io(_)
                | LayerError::Package(PackageError::Failed { .. } | PackageError::Interrupted(_))
        );
        if passing { Self::retryable(code, text, Effect::None) } else { Self::permanent(code, text, Effect::None) }
    }
}

impl LayerError {
    /// What to record.
    pub fn into_failure(self) -> Failure {
        CallError::from(self).failure
    }

    /// Its failure code.
    pub fn code(&self) -> Code {
        match self {
            Self::Path(_) | Self::Twice(_) | Self::TooLarge => codes::IMAGE_LAYER_INVALID,
            Self::Changed(_) | Self::Io(_) => codes::IMAGE_LAYER_FAILED,
            Self::Package(error) => error.code(),
        }
    }
}

impl LayerPlan {
    /// Adds an entry; `path` is relative to the image's root. Its folders are added, too, except the first one, which is the base image's.
    ///
    /// # Errors
    /// [`LayerError::Path`], [`LayerError::Twice`], [`LayerError::TooLarge`].
    pub fn add(&mut self, path: &str, mode: Mode, content: Content) -> Result<(), LayerError> {
        let path = path.strip_prefix('/').unwrap_or(path);
        let word = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(char::is_control);
        if path.len() > MAX_PATH || !path.split('/').all(word) || path.contains('\\') {
            return Err(LayerError::Path(path.chars().take(MAX_PATH).collect()));
        }
        if self.0.len() >= MAX_ENTRIES {
            return Err(LayerError::TooLarge);
        }
        if self.0.insert(path.to_owned(), (mode, content)).is_some() {
            return Err(LayerError::Twice(path.to_owned()));
        }
        Ok(())
    }

    /// Makes the layer, in a new file under the scratch folder `folder`.
    ///
    /// # Errors
    /// [`LayerError`], by what went wrong. No file is left then.
    pub async fn make(self, folder: &Path) -> Result<Layer, LayerError> {
        let (folder, here) = (folder.to_owned(), Handle::current());
        let made = tokio::task::spawn_blocking(move || self.write(&folder, &here));
        made.await.map_err(|error| LayerError::Io(io::Error::other(error)))?
    }

    fn write(self, folder: &Path, here: &Handle) -> Result<Layer, LayerError> {
        let (file, writer) = TempFile::create(&own_folder(folder)).map_err(LayerError::Io)?;
        let compressed = Hashed::new(BufWriter::with_capacity(BUFFER, writer));
        // No name and no time, which would differ.
        let gzip = GzBuilder::new().mtime(0).operating_system(255).write(compressed, COMPRESSION);
        let mut archive = tar::Builder::new(Hashed::new(gzip));
        let parents: BTreeSet<String> = self.0.keys().flat_map(|path| parents(path)).collect();
        // A folder comes before what is in it: it is the shorter beginning of the same text.
        let folders = parents.into_iter().map(|path| (path, None));
        let mut all: BTreeMap<String, Option<(Mode, Content)>> = folders.collect();
        for (path, entry) in self.0 {
            if all.insert(path.clone(), Some(entry)).is_some() {
                return Err(LayerError::Twice(path));
            }
        }
        for (path, entry) in all {
            match entry {
                None => append(&mut archive, &format!("{path}/"), EntryType::Directory, 0o755, 0, io::empty())?,
                Some((mode, content)) => write_entry(&mut archive, &path, mode, content, here)?,
            }
        }
        let archive: Hashed<GzEncoder<_>> = archive.into_inner().map_err(LayerError::Io)?;
        let (gzip, diff_id, _) = archive.finish();
        let (mut compressed, digest, size) = gzip.finish().map_err(LayerError::Io)?.finish();
        compressed.flush().map_err(LayerError::Io)?;
        Ok(Layer { file, size, digest, diff_id })
    }
}

/// The folders above a path, except the first.
fn parents(path: &str) -> impl Iterator<Item = String> + use<'_> {
    path.match_indices('/').skip(1).map(|(at, _)| path[..at].to_owned())
}

type Archive<W> = tar::Builder<Hashed<W>>;

fn write_entry<W: Write>(
    archive: &mut Archive<W>,
    path: &str,
    mode: Mode,
    content: Content,
    here: &Handle,
) -> Result<(), LayerError> {
    let bits = match mode {
        Mode::Data => 0o644,
        Mode::Program => 0o755,
    };
    match content {
        Content::Bytes(bytes) => append(archive, path, EntryType::Regular, bits, bytes.len() as u64, bytes.reader()),
        Content::File(file) => {
            let opened = File::open(file).map_err(LayerError::Io)?;
            let size = opened.metadata().map_err(LayerError::Io)?.len();
            append(archive, path, EntryType::Regular, bits, size, opened)
        }
        Content::Stream { size, content } => {
            let mut pulled = Pulled { here, content, piece: Bytes::new(), failed: None };
            let written = append(archive, path, EntryType::Regular, bits, size, &mut pulled);
            match pulled.failed {
                Some(error) => Err(error.into()),
                None => written,
            }
        }
    }
}

fn append<W: Write>(
    archive: &mut Archive<W>,
    path: &str,
    kind: EntryType,
    mode: u32,
    size: u64,
    content: impl Read,
) -> Result<(), LayerError> {
    if size > MAX_ENTRY {
        return Err(LayerError::TooLarge);
    }
    let mut header = Header::new_ustar();
    header.set_path(path).map_err(|_| LayerError::Path(path.to_owned()))?;
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header.set_cksum();
    let mut exact = Exact { content, left: size, more: false };
    archive.append(&header, &mut exact).map_err(LayerError::Io)?;
    // A byte too many would have become a part of no file; too few, a part of the next.
    if exact.left == 0 && !exact.has_more().map_err(LayerError::Io)? {
        Ok(())
    } else {
        Err(LayerError::Changed(path.to_owned()))
    }
}

/// So many bytes of a content, and whether it has more.
struct Exact<R> {
    content: R,
    left: u64,
    more: bool,
}

impl<R: Read> Exact<R> {
    fn has_more(&mut self) -> io::Result<bool> {
        self.more = self.more || self.content.read(&mut [0])? > 0;
        Ok(self.more)
    }
}

impl<R: Read> Read for Exact<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.content.read(&mut buffer[..most])?;
        self.left -= read as u64;
        Ok(read)
    }
}

/// A stream, read by a thread that may wait.
struct Pulled<'a> {
    here: &'a Handle,
    content: PackageStream,
    piece: Bytes,
    failed: Option<PackageError>,
}

impl Read for Pulled<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.here.block_on(self.content.next()) {
                None => return Ok(0),
                Some(Ok(piece)) => self.piece = piece,
                Some(Err(error)) => {
                    self.failed = Some(error);
                    return Err(io::Error::other("the package store failed"));
                }
            }
        }
        let most = self.piece.len().min(buffer.len());
        self.piece.copy_to_slice(&mut buffer[..most]);
        Ok(most)
    }
}

/// Hashes and counts what is written through it.
struct Hashed<W> {
    inner: W,
    hasher: Sha256,
    written: u64,
}

impl<W: Write> Hashed<W> {
    fn new(inner: W) -> Self {
        Self { inner, hasher: Sha256::new(), written: 0 }
    }

    fn finish(self) -> (W, Digest, u64) {
        (self.inner, Digest::finished(self.hasher), self.written)
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.written += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;
    use futures_util::stream;

    use super::*;

    fn plan() -> LayerPlan {
        let mut plan = LayerPlan::default();
        let pieces = stream::iter([Ok(Bytes::from_static(b"ab")), Ok(Bytes::new()), Ok(Bytes::from_static(b"c"))]);
        plan.add("/opt/slipway/service/b.zip", Mode::Data, Content::Stream { size: 3, content: pieces.boxed() })
            .unwrap();
        plan.add("opt/slipway/service/a", Mode::Data, Content::Bytes(Bytes::from_static(b"1"))).unwrap();
        let program = Content::File(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml").into());
        plan.add("/opt/slipway/bin/p", Mode::Program, program).unwrap();
        plan
    }

    #[tokio::test]
    async fn same_entries_make_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let one = plan().make(folder.path()).await.unwrap();
        let two = plan().make(folder.path()).await.unwrap();
        assert_eq!((&one.digest, &one.diff_id, one.size), (&two.digest, &two.diff_id, two.size));
        let compressed = std::fs::read(one.file.path()).unwrap();
        assert_eq!((Digest::of(&compressed), compressed.len() as u64), (one.digest.clone(), one.size));
        let mut plain = Vec::new();
        GzDecoder::new(compressed.as_slice()).read_to_end(&mut plain).unwrap();
        assert_eq!(Digest::of(&plain), one.diff_id);
        let mut archive = tar::Archive::new(plain.as_slice());
        let mut seen = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let header = entry.header().clone();
            assert_eq!((header.uid().unwrap(), header.gid().unwrap(), header.mtime().unwrap()), (0, 0, 0));
            let path = entry.path().unwrap().display().to_string();
            let mut content = String::new();
            entry.read_to_string(&mut content).unwrap();
            seen.push((path, header.mode().unwrap(), content));
        }
        let own = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).unwrap();
        let expected = [
            ("opt/slipway/", 0o755, ""),
            ("opt/slipway/bin/", 0o755, ""),
            ("opt/slipway/bin/p", 0o755, own.as_str()),
            ("opt/slipway/service/", 0o755, ""),
            ("opt/slipway/service/a", 0o644, "1"),
            ("opt/slipway/service/b.zip", 0o644, "abc"),
        ];
        let expected = expected.map(|(path, mode, content)| (path.to_owned(), mode, content.to_owned()));
        assert_eq!(seen, expected);
        drop((one, two));
        let left = std::fs::read_dir(own_folder(folder.path())).unwrap().count();
        assert_eq!(left, 0, "a layer's file goes with it");
    }

    #[tokio::test]
    async fn a_content_of_another_size_is_no_content() {
        let folder = tempfile::tempdir().unwrap();
        for size in [2, 4] {
            let mut plan = LayerPlan::default();
            let pieces = stream::iter([Ok(Bytes::from_static(b"abc"))]);
            plan.add("a/b", Mode::Data, Content::Stream { size, content: pieces.boxed() }).unwrap();
            let error = plan.make(folder.path()).await.unwrap_err();
            assert!(matches!(error, LayerError::Changed(_)), "{size}: {error}");
        }
        let mut plan = LayerPlan::default();
        let broken = stream::iter([Ok(Bytes::from_static(b"ab")), Err(PackageError::Corrupt)]);
        plan.add("a/b", Mode::Data, Content::Stream { size: 3, content: broken.boxed() }).unwrap();
        let error = plan.make(folder.path()).await.unwrap_err();
        assert_eq!(error.code().as_str(), "PACKAGE_CORRUPT");
        assert_eq!(std::fs::read_dir(own_folder(folder.path())).unwrap().count(), 0);
    }

    #[test]
    fn paths_stay_inside() {
        let mut plan = LayerPlan::default();
        let mut add = |path: &str| plan.add(path, Mode::Data, Content::Bytes(Bytes::new()));
        for bad in ["", "/", "a/../b", "..", "a//b", "a/", "./a", "//a", "a\\b", "a\nb", &"a".repeat(101)] {
            assert!(matches!(add(bad), Err(LayerError::Path(_))), "{bad}");
        }
        add("a").unwrap();
        assert!(matches!(add("/a"), Err(LayerError::Twice(_))));
    }
}
