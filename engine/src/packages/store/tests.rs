use std::{
    fs, io,
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
};

use futures_util::{FutureExt as _, TryStreamExt as _};
use tempfile::TempDir;

use super::*;

struct House {
    folder: TempDir,
    store: PackageStore,
}

impl House {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store =
            PackageStore::open(folder.path().join("store").to_str().unwrap(), &folder.path().join("staging")).unwrap();
        Self { folder, store }
    }

    fn staged_files(&self) -> usize {
        fs::read_dir(self.folder.path().join("staging")).unwrap().count()
    }

    fn stored_file(&self, key: &PackageKey) -> PathBuf {
        self.folder.path().join("store").join(key.as_str())
    }

    async fn put(&self, content: &'static [u8]) -> PackageKey {
        let staged = self.store.stage(once(content), 1 << 20).await.unwrap();
        self.store.commit(&staged).await.unwrap()
    }
}

fn once(content: &'static [u8]) -> impl Stream<Item = io::Result<Bytes>> {
    stream::iter(content.chunks(3).map(|c| Ok(Bytes::from_static(c))))
}

async fn read(store: &PackageStore, key: &PackageKey) -> Result<Vec<u8>, PackageError> {
    let (size, pieces) = store.open_package(key).await?;
    let all: Vec<Bytes> = pieces.try_collect().await?;
    let all = all.concat();
    assert_eq!(size, all.len() as u64);
    Ok(all)
}

fn code<T>(result: Result<T, PackageError>) -> String {
    result.err().unwrap().code().as_str().to_owned()
}

#[tokio::test]
async fn an_upload_comes_back_under_its_hash() {
    let house = House::new();
    let staged = house.store.stage(once(b"hello"), 5).await.unwrap();
    assert_eq!(staged.size(), 5);
    // printf hello | sha256sum
    assert_eq!(staged.sha256(), "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
    assert_eq!(fs::read(staged.path()).unwrap(), b"hello");
    let key = house.store.commit(&staged).await.unwrap();
    assert_eq!(key.as_str(), format!("packages/2c/{}", staged.sha256()));
    drop(staged);
    assert_eq!(house.staged_files(), 0);
    assert_eq!(read(&house.store, &key).await.unwrap(), b"hello");
}

#[tokio::test]
async fn an_empty_upload_and_one_of_many_parts_come_back_too() {
    let house = House::new();
    let key = house.put(b"").await;
    assert_eq!(read(&house.store, &key).await.unwrap(), b"");

    let piece = Bytes::from((0..1 << 20).map(|n: u32| n.to_le_bytes()[1]).collect::<Vec<_>>());
    let many = stream::iter((0..17).map(|_| Ok::<_, io::Error>(piece.clone())));
    let staged = house.store.stage(many, 17 << 20).await.unwrap();
    let key = house.store.commit(&staged).await.unwrap();
    assert_eq!(read(&house.store, &key).await.unwrap(), piece.repeat(17));
}

#[tokio::test]
async fn committing_again_changes_nothing_and_mends_a_damaged_size() {
    let house = House::new();
    let key = house.put(b"hello").await;
    let before = fs::metadata(house.stored_file(&key)).unwrap().modified().unwrap();
    assert_eq!(house.put(b"hello").await, key);
    assert_eq!(fs::metadata(house.stored_file(&key)).unwrap().modified().unwrap(), before);

    fs::write(house.stored_file(&key), b"hell").unwrap();
    assert_eq!(house.put(b"hello").await, key);
    assert_eq!(read(&house.store, &key).await.unwrap(), b"hello");
}

#[tokio::test]
async fn over_the_limit_nothing_stays_and_nothing_more_is_read() {
    let house = House::new();
    let read = AtomicU64::new(0);
    let endless = stream::repeat_with(|| {
        read.fetch_add(1, Ordering::Relaxed);
        Ok::<_, io::Error>(Bytes::from_static(&[0; 1024]))
    });
    let error = house.store.stage(endless, 10 * 1024).await.err().unwrap();
    assert!(matches!(error, PackageError::TooLarge { limit: 10_240 }), "{error}");
    assert_eq!(error.code().as_str(), "PACKAGE_TOO_LARGE");
    assert_eq!(read.load(Ordering::Relaxed), 11);
    assert_eq!(house.staged_files(), 0);
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_nothing() {
    let house = House::new();
    let broken = once(b"hello").chain(stream::iter([Err(io::Error::from(io::ErrorKind::ConnectionReset))]));
    assert_eq!(code(house.store.stage(broken, 100).await), "UPLOAD_INTERRUPTED");
    assert_eq!(house.staged_files(), 0);
}

#[tokio::test]
async fn a_dropped_upload_leaves_nothing() {
    let house = House::new();
    let (reached, wait) = tokio::sync::oneshot::channel();
    let mut reached = Some(reached);
    let stuck = once(b"hello").chain(stream::poll_fn(move |_| {
        reached.take().map(|r| r.send(()));
        std::task::Poll::Pending
    }));
    let mut upload = Box::pin(house.store.stage(stuck, 100));
    tokio::select! {
        _ = &mut upload => unreachable!(),
        done = wait => done.unwrap(),
    }
    assert_eq!(house.staged_files(), 1);
    assert!((&mut upload).now_or_never().is_none());
    drop(upload);
    assert_eq!(house.staged_files(), 0);
}

#[tokio::test]
async fn a_start_sweeps_what_the_dead_left_and_nothing_of_the_living() {
    let house = House::new();
    let living = house.store.stage(once(b"hello"), 5).await.unwrap();
    let staging = house.folder.path().join("staging");
    fs::write(staging.join("0123.part"), b"left behind").unwrap();
    fs::write(staging.join("notes.txt"), b"not ours").unwrap();
    let store = house.folder.path().join("store");
    let second = PackageStore::at(&format!("file://{}", store.display()), &staging).await.unwrap();
    assert!(!staging.join("0123.part").exists());
    assert!(staging.join("notes.txt").exists());
    let key = second.commit(&living).await.unwrap();
    assert_eq!(read(&house.store, &key).await.unwrap(), b"hello");
}

#[tokio::test]
async fn a_damaged_package_never_arrives_whole() {
    let house = House::new();
    for damage in [&b"hellO"[..], b"hell", b"hello!"] {
        let key = house.put(b"hello").await;
        fs::write(house.stored_file(&key), damage).unwrap();
        let (_, mut pieces) = house.store.open_package(&key).await.unwrap();
        let mut got = Vec::new();
        let error = loop {
            match pieces.next().await.unwrap() {
                Ok(piece) => got.extend_from_slice(&piece),
                Err(error) => break error,
            }
        };
        assert_eq!(error.code().as_str(), "PACKAGE_CORRUPT");
        assert!(got.len() < damage.len(), "{got:?}");
        house.store.delete(&key).await.unwrap();
    }
}

#[tokio::test]
async fn deleting_twice_is_deleting_once() {
    let house = House::new();
    let key = house.put(b"hello").await;
    house.store.delete(&key).await.unwrap();
    house.store.delete(&key).await.unwrap();
    assert_eq!(code(house.store.open_package(&key).await), "PACKAGE_NOT_FOUND");
}

#[tokio::test]
async fn places_that_are_none_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    for (location, scheme) in [("ftp://bucket/x", "ftp"), ("file://host/x", "file"), ("http://c", "http")] {
        let error = PackageStore::at(location, folder.path()).await.err().unwrap();
        assert_eq!(error.code().as_str(), "PACKAGE_STORE_UNSUPPORTED");
        assert!(error.to_string().contains(&format!("\"{scheme}://")), "{error}");
    }
    let error = PackageStore::at("s3://user@bucket", folder.path()).await.err().unwrap();
    assert_eq!(error.code().as_str(), "PACKAGE_STORE_UNUSABLE");
}
