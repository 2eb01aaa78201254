//! What the edge asks of the house behind it. The edge knows transports; who may do what is the house's business.

use std::{fmt, future::Future, sync::Arc};

use async_graphql::Data;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use serde::Serialize;

use crate::failure::Failure;

/// A body on its way.
pub type ByteStream = BoxStream<'static, std::io::Result<Bytes>>;

/// What lies behind the edge.
pub trait House: Send + Sync + 'static {
    /// Somebody whom the house knows.
    type Viewer: Clone + Send + Sync + 'static;

    /// Whose key this is, with the rights of this moment; `None` for a key that is unknown, revoked or expired.
    ///
    /// # Errors
    /// When it cannot be found out.
    fn authenticate(&self, key: &Key) -> impl Future<Output = Result<Option<Self::Viewer>, Failure>> + Send;

    /// The name that the log shows.
    fn login<'a>(&self, viewer: &'a Self::Viewer) -> &'a str;

    /// Notes on a viewer where the request came from.
    fn arrived(&self, _viewer: &mut Self::Viewer, _from: &Arrival) {}

    /// What the resolvers of one operation find in their context.
    fn request_data(&self, pass: &Pass<Self::Viewer>, request_id: &str) -> Data;

    /// Whether requests can be served now.
    fn readiness(&self) -> impl Future<Output = Readiness> + Send;

    /// Stores a package. Answers what it stored.
    ///
    /// # Errors
    /// What is wrong with it.
    fn upload(
        &self,
        viewer: &Self::Viewer,
        parent: Parent<'_>,
        file_name: &str,
        content: ByteStream,
    ) -> impl Future<Output = Result<serde_json::Value, Failure>> + Send;

    /// Opens a package.
    ///
    /// # Errors
    /// Not there, or not for this viewer: the same answer.
    fn download(
        &self,
        viewer: &Self::Viewer,
        package: Package<'_>,
    ) -> impl Future<Output = Result<Download, Failure>> + Send;

    /// Somebody else, as whom this viewer may act.
    ///
    /// # Errors
    /// When it may not, or there is nobody of this login.
    fn act_for(&self, viewer: &Self::Viewer, login: &str)
    -> impl Future<Output = Result<Self::Viewer, Failure>> + Send;

    /// Whether this call may take as long as what it waits for.
    fn is_patient(&self, call: &RestCall) -> bool;

    /// Answers a call of the REST API.
    ///
    /// # Errors
    /// What is wrong with it.
    fn rest(&self, viewer: &Self::Viewer, call: RestCall) -> impl Future<Output = Result<RestAnswer, Failure>> + Send;

    /// A node that asks for itself.
    type Node: Send + Sync + 'static;

    /// Which node this token is of, as far as it allows this method.
    ///
    /// # Errors
    /// One answer for every token that is not good.
    fn node(
        &self,
        token: Option<&Key>,
        method: &str,
        from: &Arrival,
    ) -> impl Future<Output = Result<Self::Node, Failure>> + Send;

    /// The name that the log shows.
    fn node_login<'a>(&self, node: &'a Self::Node) -> &'a str;

    /// Does what the node asks.
    ///
    /// # Errors
    /// What is wrong with it.
    fn fleet(&self, node: &Self::Node, body: Bytes) -> impl Future<Output = Result<serde_json::Value, Failure>> + Send;

    /// Takes what a form of the REST API carries in its part `file`.
    ///
    /// # Errors
    /// What is wrong with it.
    fn rest_upload(
        &self,
        viewer: &Self::Viewer,
        call: RestCall,
        file_name: &str,
        content: ByteStream,
    ) -> impl Future<Output = Result<RestAnswer, Failure>> + Send;
}

/// What a package that comes in belongs to; without a name, to what it was made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parent<'a> {
    /// A bundle, to a published project.
    Project(Option<&'a str>),
    /// A version, to a published API service.
    Service(Option<&'a str>),
}

/// A package that goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Package<'a> {
    /// Of this published project, this bundle.
    Bundle(&'a str, &'a str),
    /// Of this published API service, this version.
    Version(&'a str, &'a str),
}

/// A call of the REST API, without HTTP.
#[derive(Clone, Debug)]
pub struct RestCall {
    /// The HTTP method.
    pub method: String,
    /// The parts of the path below the API's base, decoded; none is empty.
    pub path: Vec<String>,
    /// The query, decoded.
    pub query: Vec<(String, String)>,
    /// The body; empty for an upload, whose content comes as a stream.
    pub body: Bytes,
}

/// What a call of the REST API comes to.
pub enum RestAnswer {
    /// A document.
    Json(serde_json::Value),
    /// A package.
    Package(Download),
}

/// A package on its way out.
pub struct Download {
    /// The archive.
    pub content: ByteStream,
    /// Its length in bytes.
    pub size: u64,
    /// Its SHA-256 in hexadecimal.
    pub sha256: String,
    /// What a browser calls it.
    pub file_name: String,
}

/// Whether requests can be served, and what the parts say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Readiness {
    /// The database answers and takes changes.
    pub database: bool,
    /// Its schema is this version's.
    pub migrations: bool,
    /// `ok`, or `degraded: sweeping` while Redis is away: requests are accepted, runs start a little later.
    pub queue: String,
}

impl Readiness {
    /// Redis away is no reason to turn requests down: they are recorded in SQL.
    pub fn is_ready(&self) -> bool {
        self.database && self.migrations
    }
}

/// An API key as a client gave it. Never shown.
#[derive(Clone)]
pub struct Key(Arc<str>);

impl Key {
    /// The longest that is looked at.
    const LONGEST: usize = 512;

    /// Takes what a client sent; `None` for what can be no key.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        let sound = !text.is_empty() && text.len() <= Self::LONGEST && text.bytes().all(|b| b.is_ascii_graphic());
        sound.then(|| Self(text.into()))
    }

    /// For the one that compares it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// Where a request came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arrival {
    /// The peer's address: behind a load balancer that is the balancer's. A header can say anything, and is not asked.
    pub address: Option<Arc<str>>,
    /// The number under which it is logged.
    pub request_id: Option<Arc<str>>,
    /// It came to the address of GraphQL.
    pub graphql: bool,
}

/// A viewer, and the key by which the viewer can be asked for again.
#[derive(Clone, Debug)]
pub struct Pass<V> {
    /// Who.
    pub viewer: V,
    /// By which key.
    pub key: Key,
    /// Where from.
    pub from: Arrival,
}
