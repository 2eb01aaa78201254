//! A migrated database of its own.

use engine::db::{Db, Use};

use crate::{postgres::Postgres, scratch::Scratch};

/// The two kinds of databases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// A file.
    Sqlite,
    /// A database on this process's server.
    Postgres,
}

/// A fresh database.
#[derive(Debug)]
pub struct Base {
    /// An open pool.
    pub db: Db,
    /// For opening another one.
    pub url: String,
    /// Files that go with it.
    pub scratch: Scratch,
}

impl Base {
    /// Makes one, with the schema.
    ///
    /// # Panics
    /// When it can't be made.
    pub async fn new(store: Store) -> Self {
        let scratch = Scratch::new("base");
        let url = match store {
            Store::Sqlite => format!("sqlite://{}", scratch.at("slipway.db")),
            Store::Postgres => Postgres::shared().await.database().await,
        };
        let db = Db::open(&url, Use::Shared(8)).await.expect("a database");
        migration::migrate(db.pool()).await.expect("the schema");
        Self { db, url, scratch }
    }

    /// Another pool, as another process would have it.
    ///
    /// # Panics
    /// When it can't be opened.
    pub async fn open(&self) -> Db {
        Db::open(&self.url, Use::Shared(8)).await.expect("a database")
    }
}
