//! What the node knows. All of it is behind one lock, which is never held across a wait: a query that took its
//! generation out keeps it, whatever is switched or deleted meanwhile.

use super::version::Version;
use crate::clock::now_ms;
use crate::reply::Refusal;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The most services, generations of a service, and keys.
pub(super) const MOST: usize = 1000;

pub(super) struct State {
    pub(super) alive: bool,
    pub(super) services: BTreeMap<String, Service>,
    pub(super) keys: Keys,
    /// Languages by name.
    pub(super) code_envs: BTreeMap<String, String>,
    /// Archives by SHA-256.
    pub(super) models: BTreeSet<String>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            alive: true,
            services: BTreeMap::new(),
            keys: Keys::default(),
            code_envs: BTreeMap::new(),
            models: BTreeSet::new(),
        }
    }
}

#[derive(Default)]
pub(super) struct Service {
    pub(super) enabled: bool,
    /// In the order of import.
    pub(super) generations: Vec<Generation>,
    pub(super) mapping: Vec<Share>,
    /// How many queries were dispatched by chance.
    pub(super) dispatched: u64,
    pub(super) counts: BTreeMap<String, Count>,
}

pub(super) struct Generation {
    pub(super) version: Arc<Version>,
    pub(super) sha256: String,
    pub(super) size: u64,
    pub(super) preloaded: bool,
    pub(super) imported_on: i64,
}

/// The part of the queries that a generation answers.
#[derive(Clone)]
pub(super) struct Share {
    pub(super) generation: String,
    pub(super) proba: f64,
}

/// The queries of an endpoint.
#[derive(Default)]
pub(super) struct Count {
    pub(super) answered: u64,
    pub(super) refused: u64,
}

impl State {
    pub(super) fn service(&self, id: &str) -> Result<&Service, Refusal> {
        self.services.get(id).ok_or_else(|| no_service(id))
    }

    pub(super) fn service_mut(&mut self, id: &str) -> Result<&mut Service, Refusal> {
        self.services.get_mut(id).ok_or_else(|| no_service(id))
    }
}

pub(super) fn no_service(id: &str) -> Refusal {
    Refusal::missing(format!("there is no service {id}"))
}

impl Service {
    pub(super) fn generation(&self, id: &str) -> Result<&Generation, Refusal> {
        let found = self.generations.iter().find(|known| known.version.generation == id);
        found.ok_or_else(|| Refusal::missing(format!("there is no generation {id}")))
    }

    pub(super) fn is_mapped(&self, generation: &str) -> bool {
        self.mapping.iter().any(|share| share.generation == generation)
    }
}

/// The keys of the admin API. Secrets are never shown but once, to who made the key.
#[derive(Default)]
pub(super) struct Keys {
    list: Vec<Key>,
    made: u64,
}

pub(super) struct Key {
    pub(super) id: String,
    pub(super) secret: String,
    pub(super) label: Value,
    pub(super) description: Value,
    pub(super) created_by: Value,
    pub(super) created_on: i64,
    /// In milliseconds since the epoch.
    pub(super) expiry: Option<i64>,
}

impl Keys {
    pub(super) fn id(&mut self) -> String {
        self.made += 1;
        format!("key-{}", self.made)
    }

    /// A key that was there before the node started.
    pub(super) fn given(&mut self, secret: &str) {
        let id = self.id();
        self.list.push(Key {
            id,
            secret: secret.to_owned(),
            label: Value::Null,
            description: Value::Null,
            created_by: Value::Null,
            created_on: now_ms(),
            expiry: None,
        });
    }

    pub(super) fn add(&mut self, key: Key) -> Result<(), Refusal> {
        if self.list.len() >= MOST {
            return Err(Refusal::bad(format!("there are {MOST} keys already")));
        }
        self.list.push(key);
        Ok(())
    }

    pub(super) fn all(&self) -> &[Key] {
        &self.list
    }

    /// The key of this secret, unless it has expired.
    pub(super) fn holder(&self, secret: &str) -> Option<&Key> {
        let now = now_ms();
        self.list.iter().find(|key| key.secret == secret && key.expiry.is_none_or(|expiry| expiry > now))
    }

    /// Whether there was such a key.
    pub(super) fn remove(&mut self, which: impl Fn(&Key) -> bool) -> bool {
        let before = self.list.len();
        self.list.retain(|key| !which(key));
        self.list.len() < before
    }
}
