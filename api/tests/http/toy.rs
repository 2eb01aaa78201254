//! A house with one inhabitant and a schema with a little of everything.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
};

use api::{
    Arrival, ByteStream, Download, Failure, House, HttpMetrics, Key, Package, Parent, Pass, Readiness, RestAnswer,
    RestCall, Settings,
};
use async_graphql::{Context, Data, Object, Schema, SimpleObject, Subscription};
use futures_util::{Stream, StreamExt, stream};
use poem::http::StatusCode;
use prometheus_client::registry::Registry;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub(crate) const KEY: &str = "swk_good";
/// A node's.
pub(crate) const TOKEN: &str = "slwe_good";

#[derive(Clone, Default)]
pub(crate) struct Toy(pub(crate) Arc<State>);

#[derive(Default)]
pub(crate) struct State {
    pub(crate) revoked: AtomicBool,
    pub(crate) redis_away: AtomicBool,
    pub(crate) database_away: AtomicBool,
    pub(crate) counted: AtomicI64,
    pub(crate) stored: Mutex<Vec<u8>>,
    /// An upload has begun.
    pub(crate) uploading: Notify,
}

pub(crate) struct Viewer(pub(crate) String);

impl House for Toy {
    type Viewer = Arc<Viewer>;

    async fn authenticate(&self, key: &Key) -> Result<Option<Self::Viewer>, Failure> {
        if self.0.database_away.load(Ordering::SeqCst) {
            return Err(Failure::internal());
        }
        let good = key.expose() == KEY && !self.0.revoked.load(Ordering::SeqCst);
        Ok(good.then(|| Arc::new(Viewer("ada".into()))))
    }

    fn login<'a>(&self, viewer: &'a Self::Viewer) -> &'a str {
        &viewer.0
    }

    fn request_data(&self, pass: &Pass<Self::Viewer>, _request_id: &str) -> Data {
        let mut data = Data::default();
        data.insert(pass.viewer.clone());
        data.insert(self.clone());
        data
    }

    async fn readiness(&self) -> Readiness {
        let queue = if self.0.redis_away.load(Ordering::SeqCst) { "degraded: sweeping" } else { "ok" };
        Readiness { database: !self.0.database_away.load(Ordering::SeqCst), migrations: true, queue: queue.into() }
    }

    async fn upload(
        &self,
        _viewer: &Self::Viewer,
        parent: Parent<'_>,
        _file_name: &str,
        mut content: ByteStream,
    ) -> Result<serde_json::Value, Failure> {
        if parent != Parent::Project(Some("SALES")) {
            return Err(Failure::new(StatusCode::NOT_FOUND, "NOT_FOUND", "Nothing.").about("projectKey"));
        }
        self.0.uploading.notify_one();
        let mut bytes = Vec::new();
        while let Some(chunk) = content.next().await {
            bytes.extend_from_slice(
                &chunk.map_err(|_| Failure::new(StatusCode::BAD_REQUEST, "BUNDLE_TRUNCATED", "Cut."))?,
            );
        }
        let size = bytes.len();
        *self.0.stored.lock().unwrap() = bytes;
        Ok(serde_json::json!({"bundleId": "v1", "size": size}))
    }

    async fn download(&self, _viewer: &Self::Viewer, package: Package<'_>) -> Result<Download, Failure> {
        if package != Package::Bundle("SALES", "v 1") {
            return Err(Failure::new(StatusCode::NOT_FOUND, "NOT_FOUND", "Nothing."));
        }
        let bytes = self.0.stored.lock().unwrap().clone();
        let size = bytes.len() as u64;
        let content = stream::iter([Ok(bytes::Bytes::from(bytes))]).boxed();
        Ok(Download { content, size, sha256: "ab12".into(), file_name: "v 1.zip".into() })
    }

    async fn act_for(&self, _viewer: &Self::Viewer, login: &str) -> Result<Self::Viewer, Failure> {
        match login {
            "bob" => Ok(Arc::new(Viewer("bob".into()))),
            _ => Err(Failure::new(StatusCode::FORBIDDEN, "FORBIDDEN", "Not as them.")),
        }
    }

    fn is_patient(&self, _call: &RestCall) -> bool {
        false
    }

    async fn rest(&self, viewer: &Self::Viewer, call: RestCall) -> Result<RestAnswer, Failure> {
        match call.path.first().map(String::as_str) {
            Some("echo") => Ok(RestAnswer::Json(serde_json::json!({
                "login": viewer.0, "method": call.method, "path": call.path, "query": call.query,
                "body": String::from_utf8_lossy(&call.body),
            }))),
            Some("bundle") => self.download(viewer, Package::Bundle("SALES", "v 1")).await.map(RestAnswer::Package),
            _ => Err(Failure::new(StatusCode::NOT_FOUND, "NOT_FOUND", "Nothing.").about("path")),
        }
    }

    type Node = String;

    async fn node(&self, token: Option<&Key>, method: &str, _from: &Arrival) -> Result<String, Failure> {
        let good = token.is_some_and(|token| token.expose() == TOKEN);
        good.then(|| method.to_owned())
            .ok_or_else(|| Failure::new(StatusCode::UNAUTHORIZED, "ENROLMENT_TOKEN_INVALID", "None."))
    }

    fn node_login<'a>(&self, node: &'a String) -> &'a str {
        node
    }

    async fn fleet(&self, node: &String, body: bytes::Bytes) -> Result<serde_json::Value, Failure> {
        Ok(serde_json::json!({"method": node, "bytes": body.len()}))
    }

    async fn rest_upload(
        &self,
        viewer: &Self::Viewer,
        call: RestCall,
        file_name: &str,
        content: ByteStream,
    ) -> Result<RestAnswer, Failure> {
        let project = call.query.iter().find(|(key, _)| key == "projectKey").map(|(_, value)| value.as_str());
        self.upload(viewer, Parent::Project(project), file_name, content).await.map(RestAnswer::Json)
    }
}

pub(crate) struct Query;
pub(crate) struct Mutation;
pub(crate) struct Ticks;

#[derive(SimpleObject)]
pub(crate) struct Tick {
    seq: i64,
}

#[Object]
impl Query {
    async fn me(&self, ctx: &Context<'_>) -> String {
        ctx.data_unchecked::<Arc<Viewer>>().0.clone()
    }

    async fn add(&self, a: i32, b: i32) -> i32 {
        a + b
    }

    async fn this(&self) -> Query {
        Query
    }

    async fn panics(&self, word: Option<i32>) -> i32 {
        word.expect("the secret of the house")
    }

    async fn never(&self) -> i32 {
        std::future::pending().await
    }

    #[graphql(complexity = "n * child_complexity")]
    async fn many(&self, n: usize) -> Vec<Query> {
        (0..n.min(3)).map(|_| Query).collect()
    }
}

#[Object]
impl Mutation {
    async fn count(&self, ctx: &Context<'_>) -> i64 {
        ctx.data_unchecked::<Toy>().0.counted.fetch_add(1, Ordering::SeqCst) + 1
    }
}

#[Subscription]
impl Ticks {
    /// Seqs after `after_seq` up to `to`, then ends; `to: 0` never ends.
    async fn ticks(&self, after_seq: Option<i64>, to: i64) -> impl Stream<Item = Tick> {
        let from = after_seq.unwrap_or(0) + 1;
        let some = stream::iter((from..=to).map(|seq| Tick { seq }));
        if to == 0 { some.chain(stream::pending()).boxed() } else { some.boxed() }
    }
}

pub(crate) struct Server {
    pub(crate) at: SocketAddr,
    pub(crate) toy: Toy,
    pub(crate) http: reqwest::Client,
    pub(crate) shutdown: CancellationToken,
    pub(crate) done: tokio::task::JoinHandle<std::io::Result<()>>,
}

/// Starts a server with short times.
pub(crate) async fn start() -> Server {
    start_with(Settings { ping_s: 1, recheck_s: 1, socket_init_s: 1, drain_s: 5, ..Settings::default() }).await
}

pub(crate) async fn start_with(settings: Settings) -> Server {
    // Another test may have installed it.
    drop(rustls::crypto::ring::default_provider().install_default());
    let toy = Toy::default();
    let schema = api::limits::apply(Schema::build(Query, Mutation, Ticks), &settings.limits).finish();
    let shutdown = CancellationToken::new();
    let mut registry = Registry::default();
    let metrics = HttpMetrics::register(&mut registry);
    let app = api::app(schema, toy.clone(), settings, metrics, Arc::new(registry), shutdown.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let done = tokio::spawn(api::serve(listener, app, 64, shutdown.clone(), std::time::Duration::from_secs(5)));
    Server { at, toy, http: reqwest::Client::new(), shutdown, done }
}

impl Server {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.at)
    }

    pub(crate) async fn post(&self, body: serde_json::Value) -> (u16, serde_json::Value) {
        let answer = self.http.post(self.url("/graphql")).bearer_auth(KEY).json(&body).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    pub(crate) async fn query(&self, query: &str) -> (u16, serde_json::Value) {
        self.post(serde_json::json!({"query": query})).await
    }
}

pub(crate) fn code(answer: &serde_json::Value) -> &str {
    answer["errors"][0]["extensions"]["code"].as_str().unwrap_or("-")
}
