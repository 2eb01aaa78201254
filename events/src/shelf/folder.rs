//! Event files in a folder. A file is written beside the events, confirmed by the disk, and moved to its place; then the disk confirms the place, too.

use std::{
    collections::HashSet,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Component, Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;

use super::Shelf;

/// Confirmed folders that are remembered; more than an hour has are not needed.
const REMEMBERED: usize = 100_000;

/// A folder of event files.
#[derive(Clone, Debug)]
pub struct Folder(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    /// On the same file system.
    beside: PathBuf,
    number: AtomicU64,
    /// Folders that the disk confirmed since this process began, up to the root: an older process may have died before it asked for that.
    confirmed: Mutex<HashSet<PathBuf>>,
}

impl Folder {
    /// Files go to `root`; `beside`, which is there and on the same file system, holds those under way.
    pub fn new(root: &Path, beside: &Path) -> Self {
        let (number, confirmed) = (AtomicU64::new(0), Mutex::default());
        Self(Arc::new(Inner { root: root.to_owned(), beside: beside.to_owned(), number, confirmed }))
    }

    async fn work<T: Send + 'static>(
        &self,
        path: &str,
        work: impl FnOnce(&Inner, &Path) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let (inner, path) = (Arc::clone(&self.0), self.0.place(path)?);
        tokio::task::spawn_blocking(move || work(&inner, &path)).await.map_err(io::Error::other)?
    }
}

impl Inner {
    /// A path that leads out of the root is no file of ours.
    fn place(&self, path: &str) -> io::Result<PathBuf> {
        let inside = |part: Component<'_>| matches!(part, Component::Normal(_));
        if path.is_empty() || !Path::new(path).components().all(inside) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "this path leads out of the folder of events"));
        }
        Ok(self.root.join(path))
    }

    fn put(&self, path: &Path, content: &[u8]) -> io::Result<u64> {
        let parent = path.parent().unwrap_or(&self.root);
        let mut confirmations = self.confirm(parent)?;
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let under_way = self.beside.join(format!("{number}.part"));
        let written = (|| {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o640).open(&under_way)?;
            file.write_all(content)?;
            file.sync_all()?;
            fs::rename(&under_way, path)?;
            sync(parent)
        })();
        if let Err(error) = written {
            if let Err(left) = fs::remove_file(&under_way)
                && left.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(path = %under_way.display(), error = %left, "a file under way stays until this server is started again");
            }
            return Err(error);
        }
        confirmations += 2;
        Ok(confirmations)
    }

    /// Makes a folder and those above it, and has the disk confirm them, once in this process's life.
    fn confirm(&self, folder: &Path) -> io::Result<u64> {
        let confirmed = || self.confirmed.lock().unwrap_or_else(PoisonError::into_inner);
        if confirmed().contains(folder) {
            // Somebody may tidy up behind us.
            return if folder.is_dir() { Ok(0) } else { self.make(folder) };
        }
        self.make(folder)
    }

    fn make(&self, folder: &Path) -> io::Result<u64> {
        DirBuilder::new().recursive(true).mode(0o750).create(folder)?;
        let mut confirmations = 0;
        for above in folder.ancestors().skip(1).take_while(|above| above.starts_with(&self.root)) {
            sync(above)?;
            confirmations += 1;
        }
        let mut confirmed = self.confirmed.lock().unwrap_or_else(PoisonError::into_inner);
        if confirmed.len() >= REMEMBERED {
            confirmed.clear();
        }
        confirmed.insert(folder.to_owned());
        Ok(confirmations)
    }
}

/// Has the disk confirm what a folder lists.
pub(crate) fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[async_trait]
impl Shelf for Folder {
    async fn put(&self, path: &str, content: Bytes) -> io::Result<u64> {
        self.work(path, move |inner, path| inner.put(path, &content)).await
    }

    async fn remove(&self, path: &str) -> io::Result<()> {
        self.work(path, |inner, path| match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(()) => sync(path.parent().unwrap_or(&inner.root)),
        })
        .await
    }

    /// It is this process that moves a file to its place.
    fn lingers(&self) -> bool {
        false
    }

    async fn exists(&self, path: &str) -> io::Result<bool> {
        self.work(path, |_, path| path.try_exists()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn files_are_put_whole_and_stay_inside() {
        let house = tempfile::tempdir().unwrap();
        let (root, beside) = (house.path().join("root"), house.path().join("beside"));
        fs::create_dir(&root).unwrap();
        fs::create_dir(&beside).unwrap();
        let shelf = Folder::new(&root, &beside);
        let path = "topic/key/2020/03/17/19/1.jsonl";
        assert_eq!(
            shelf.put(path, Bytes::from_static(b"one\n")).await.unwrap(),
            6 + 2,
            "each folder above, the file, its place"
        );
        assert_eq!(shelf.put("topic/key/2020/03/17/19/2.jsonl", Bytes::from_static(b"two\n")).await.unwrap(), 2);
        assert_eq!(fs::read(root.join(path)).unwrap(), b"one\n");
        assert_eq!(fs::read_dir(&beside).unwrap().count(), 0);
        assert!(shelf.exists(path).await.unwrap());
        shelf.remove(path).await.unwrap();
        shelf.remove(path).await.unwrap();
        assert!(!shelf.exists(path).await.unwrap());
        for hostile in ["", "/etc/x", "../x", "a/../../x", "a/./../x"] {
            let error = shelf.put(hostile, Bytes::new()).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{hostile}");
        }
        fs::remove_dir_all(root.join("topic")).unwrap();
        assert_eq!(shelf.put(path, Bytes::from_static(b"again\n")).await.unwrap(), 8, "made again");
    }

    #[tokio::test]
    async fn what_cannot_be_put_leaves_nothing() {
        let house = tempfile::tempdir().unwrap();
        let beside = house.path().join("beside");
        fs::create_dir(&beside).unwrap();
        let shelf = Folder::new(house.path(), &beside);
        fs::create_dir_all(house.path().join("a/taken.jsonl/x")).unwrap();
        assert!(shelf.put("a/taken.jsonl", Bytes::from_static(b"x")).await.is_err(), "a folder is in its place");
        assert_eq!(fs::read_dir(&beside).unwrap().count(), 0);
    }
}
