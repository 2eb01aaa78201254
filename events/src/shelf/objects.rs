//! Event files in an object store, which puts an object whole or not at all, and keeps it once it said so.

use std::{io, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use object_store::{ObjectStore, ObjectStoreExt as _, path::Path};

use super::Shelf;

/// An object store.
#[derive(Clone, Debug)]
pub struct Objects(Arc<dyn ObjectStore>);

impl Objects {
    /// This one.
    pub fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self(store)
    }
}

/// Our paths hold percent signs that are a part of the name.
fn place(path: &str) -> io::Result<Path> {
    Path::parse(path).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
}

#[async_trait]
impl Shelf for Objects {
    async fn put(&self, path: &str, content: Bytes) -> io::Result<u64> {
        self.0.put(&place(path)?, content.into()).await.map_err(io::Error::other)?;
        Ok(1)
    }

    async fn remove(&self, path: &str) -> io::Result<()> {
        match self.0.delete(&place(path)?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    /// The store has what was sent to it, whatever becomes of the sender.
    fn lingers(&self) -> bool {
        true
    }

    async fn exists(&self, path: &str) -> io::Result<bool> {
        match self.0.head(&place(path)?).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(io::Error::other(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    #[tokio::test]
    async fn an_object_has_the_name_that_it_was_given() {
        let store = Arc::new(InMemory::new());
        let shelf = Objects::new(store.clone());
        let path = "%2E./a%2Fb/2020/03/17/19/1.jsonl";
        shelf.put(path, Bytes::from_static(b"one\n")).await.unwrap();
        assert!(shelf.exists(path).await.unwrap());
        let kept = store.get(&Path::parse(path).unwrap()).await.unwrap().bytes().await.unwrap();
        assert_eq!(&kept[..], b"one\n");
        shelf.remove(path).await.unwrap();
        shelf.remove(path).await.unwrap();
        assert!(!shelf.exists(path).await.unwrap());
        assert!(shelf.put("a/../b", Bytes::new()).await.is_err());
    }
}
