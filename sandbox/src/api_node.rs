//! A practice API node: Dataiku's API node over real HTTP, its admin API and its query API, with its state in memory.
//!
//! | file | what it holds |
//! |---|---|
//! | `builder` | [`ApiNodeBuilder`] |
//! | `state` | services, generations, mappings, keys |
//! | `version`, `fields` | a service version's `service.json`, read |
//! | `routes` | method and path to function |
//! | `services`, `mapping` | the admin API: services and their generations; which of them answer |
//! | `import` | generations from archives on the node's own disk |
//! | `keys`, `caches` | admin keys; metrics, code envs, models |
//! | `query`, `dispatch`, `entry` | one query: which generation answers, who may ask |
//! | `model` | what it answers |
//! | `jwt` | tokens against a static set of keys |
//! | `events`, `delivery` | the log of queries; sending it to an event server |
//! | `shown` | the end state, for comparing |

mod builder;
mod caches;
mod delivery;
mod dispatch;
mod entry;
mod events;
mod fields;
mod import;
mod jwt;
mod keys;
mod mapping;
mod model;
mod query;
mod routes;
mod services;
mod shown;
mod state;
mod version;

pub use builder::ApiNodeBuilder;
pub use events::Delivery;
pub(crate) use version::ENTRY;

use crate::auth::{Claim, KeyKind};
use crate::desk::Desk;
use crate::practice::Practice;
use crate::reply::{Answer, Refusal, Reply};
use crate::request::{Asked, Json, Place, segments};
use crate::running::Running;
use events::Events;
use poem::{Body, Request};
use serde_json::{Map, Value, json};
use state::State;
use std::io;
use std::net::SocketAddr;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;

/// The largest archive that is imported, and the largest body that is read to its end, in bytes.
const LARGEST: u64 = 16 * 1024 * 1024 * 1024;

/// All of an API node but its connections.
pub(crate) struct ApiCore {
    node_id: String,
    version: String,
    /// The folders that archives are imported from, as they really are: absolute, without links.
    folders: Vec<PathBuf>,
    state: Mutex<State>,
    events: Events,
    desk: Desk,
}

type ApiAsked<'a> = Asked<'a, ApiCore>;

impl ApiCore {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Practice for ApiCore {
    const PAGE: &'static str = "<!DOCTYPE html><html><head><title>Practice node</title></head><body><h1>Practice node</h1>\
<p>A practice API node. Its APIs are under <code>/admin/api</code> and <code>/public/api/v1</code>.</p></body></html>";

    fn desk(&self) -> &Desk {
        &self.desk
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn max_upload(&self) -> u64 {
        LARGEST
    }

    /// Two APIs and a probe: paths keep their bases, which tell them apart.
    fn place(path: &str) -> Place {
        let mut segments = segments(path);
        match segments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["admin", "api", ..] | ["public", "api", "v1", ..] | ["isAlive"] => Place::Api(segments),
            ["sandbox", ..] => Place::Control(segments.split_off(1)),
            _ => Place::Pages,
        }
    }

    fn logged(&self, segments: &[String]) -> String {
        match segments {
            // A key may be deleted by its secret.
            [admin, api, keys, _, rest @ ..] if admin == "admin" && api == "api" && keys == "keys" => {
                format!("/admin/api/keys/*{}", if rest.is_empty() { "" } else { "/key" })
            }
            _ => format!("/{}", segments.join("/")),
        }
    }

    fn caller(&self, claim: &Claim, segments: &[String]) -> (KeyKind, Option<String>) {
        let Some(secret) = &claim.secret else { return (KeyKind::None, None) };
        if segments.first().is_some_and(|first| first == "public") {
            // Whether a service knows it is noted by the query.
            return (KeyKind::Unknown, None);
        }
        match self.state().keys.holder(secret).filter(|_| !claim.bearer) {
            Some(key) => (KeyKind::Admin, Some(format!("api:{}", key.id))),
            None => (KeyKind::Unknown, None),
        }
    }

    async fn answer(asked: &ApiAsked<'_>, claim: &Claim, _: Request, body: &mut Option<Body>) -> Answer {
        if body.is_some() {
            return Err(Refusal::media("this node takes no upload"));
        }
        routes::answer(asked, claim).await
    }

    fn snapshot(&self) -> Value {
        shown::of(self)
    }

    fn control(&self, method: &str, segments: &[&str], json: &Json) -> Answer {
        match (method, segments) {
            ("GET", ["events"]) => Ok(Reply::Json(self.events.shown())),
            ("DELETE", ["events"]) => {
                self.events.clear();
                Ok(Reply::Json(json!({})))
            }
            ("POST", ["alive"]) => {
                let alive = json.object()?.get("alive").and_then(Value::as_bool);
                let alive = alive.ok_or_else(|| Refusal::bad("alive is true or false"))?;
                self.state().alive = alive;
                Ok(Reply::Json(json!({"alive": alive})))
            }
            _ => Err(Refusal::missing("no such control call")),
        }
    }

    fn background(self: &Arc<Self>, stop: &CancellationToken) {
        tokio::spawn(stop.clone().run_until_cancelled_owned(delivery::run(Arc::clone(self))));
    }
}

/// An API node, listening or not: its state, its log of calls, its faults. Cheap to clone; all clones are the same node.
#[derive(Clone)]
pub struct ApiNode {
    core: Arc<ApiCore>,
}

/// A service version that a node serves from the start. It has no `Debug`: what is amended may be a key.
#[derive(Clone)]
pub struct Package {
    /// Its archive.
    pub file: PathBuf,
    /// The part of its service's queries that it answers, 0 to 1.
    pub proba: f64,
    /// What stands instead of the archive's fields of these names, such as `serviceId` or `authMethod`.
    pub amended: Map<String, Value>,
}

impl<P: Into<PathBuf>> From<(P, f64)> for Package {
    /// As the archive says.
    fn from((file, proba): (P, f64)) -> Self {
        Self { file: file.into(), proba, amended: Map::new() }
    }
}

/// An API node that listens, until it is stopped or dropped.
pub type RunningApiNode = Running<ApiNode>;

impl ApiNode {
    /// Describes a node.
    pub fn builder() -> ApiNodeBuilder {
        ApiNodeBuilder::new()
    }

    /// Starts listening; port 0 takes a free one. Runs as a task of the current tokio runtime.
    ///
    /// # Errors
    /// When it can't listen there.
    pub async fn start(&self, listen: SocketAddr) -> io::Result<RunningApiNode> {
        Running::start(self.clone(), Arc::clone(&self.core), listen).await
    }

    /// Imports and preloads these archives, wherever they lie, and maps each service to its archives' generations with
    /// these probabilities. All of them, or none. Blocks.
    ///
    /// # Errors
    /// A sentence, when an archive is no service version, or the probabilities of a service don't sum to 1.
    pub fn serve(&self, packages: &[Package]) -> Result<(), String> {
        import::serve(&self.core, packages).map_err(|refusal| refusal.message)
    }

    /// The end state: services with their generations, mapping and switch, caches, the queries that were answered.
    /// Without times, so that two walks to the same end compare equal.
    pub fn snapshot(&self) -> Value {
        shown::of(&self.core)
    }

    /// Revokes an admin key.
    pub fn revoke_key(&self, secret: &str) {
        self.core.state().keys.remove(|key| key.secret == secret);
    }

    /// What `GET /isAlive/` answers from now on.
    pub fn set_alive(&self, alive: bool) {
        self.core.state().alive = alive;
    }

    /// The queries that were answered, oldest first, as events; the last thousand.
    pub fn events(&self) -> Vec<Value> {
        self.core.events.all()
    }

    /// Waits until what became of the events that event servers were to get satisfies `enough`.
    pub async fn until_delivery(&self, enough: impl FnMut(&Delivery) -> bool) -> Delivery {
        self.core.events.until(enough).await
    }
}

impl Deref for ApiNode {
    type Target = Desk;

    fn deref(&self) -> &Desk {
        &self.core.desk
    }
}
