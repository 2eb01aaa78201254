//! A deployer on a fresh database, its schema, and people with keys.

use std::sync::Arc;

use async_graphql::{Request, Response, Variables};
use deployer::{
    Deployer,
    accounts::{groups, users},
    bootstrap, bundles, enrolment,
    infrastructures::NodeOffer,
    keys, services,
    viewer::{Origin, Viewer},
};
use engine::{
    bell::Bell,
    db::{Db, Use},
    ids::RunId,
    journal::{Kind, NewEvent, Status},
    leases::{Lease, LeaseSettings},
    packages::PackageStore,
    queue::Queue,
    runs::{self, Answer, LogWriter, NewLogLine, Op, Writer},
    secrets::{Keyring, NodeTokenKind, Secret},
};
use futures_util::{StreamExt, stream, stream::BoxStream};
use graphql::{SlipwaySchema, Tail};
use serde_json::{Value, json};
use targets::{
    Targets,
    http::{HttpSettings, install_crypto_provider},
};

pub(crate) struct World {
    pub(crate) deployer: Deployer,
    pub(crate) schema: SlipwaySchema,
    pub(crate) tail: Tail,
    pub(crate) bell: Bell,
    pub(crate) admin: Viewer,
    _folder: tempfile::TempDir,
}

/// An administrator, and nothing else.
pub(crate) async fn empty() -> World {
    install_crypto_provider();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let db = Db::open(&database(&at("slipway.db")).await, Use::Shared(4)).await.unwrap();
    migration::migrate(db.pool()).await.unwrap();
    let deployer = Deployer {
        db,
        keyring: Arc::new(Keyring::generate()),
        packages: Arc::new(PackageStore::open(at("packages"), &folder.path().join("staging")).unwrap()),
        targets: Arc::new(Targets::new(HttpSettings::default()).unwrap()),
        queue: Queue::embedded(),
        query_logs: deployer::services::QueryLogs::default(),
        audit: deployer::audit::Ledger::default(),
    };
    let key = bootstrap::first_start(&deployer.db, None).await.unwrap().unwrap();
    let admin = keys::authenticate(&deployer.db, key.expose()).await.unwrap().unwrap();
    let bell = Bell::embedded();
    let tail = Tail::start(&deployer, &bell);
    World { deployer, schema: graphql::builder().finish(), tail, bell, admin, _folder: folder }
}

/// A SQLite file; or, with `SLIPWAY_TEST_POSTGRES=postgres://USER@HOST:PORT` (no database name), a new database on that server.
async fn database(file: &str) -> String {
    use sea_orm::ConnectionTrait as _;
    let Ok(server) = std::env::var("SLIPWAY_TEST_POSTGRES") else { return format!("sqlite://{file}") };
    let name = format!("t{:016x}", engine::clock::random_u64());
    let postgres = Db::open(&format!("{server}/postgres"), Use::Shared(1)).await.unwrap();
    postgres.pool().execute_unprepared(&format!("CREATE DATABASE {name}")).await.unwrap();
    format!("{server}/{name}")
}

/// Infrastructure `PROD`, published project `CHURN` with bundle `v1`, deployment `churn` of it; groups `see` and `deploy` with these rights on both.
pub(crate) async fn world() -> World {
    let world = empty().await;
    for group in ["see", "deploy", "other"] {
        groups::create(&world.deployer, &world.admin, group, "").await.unwrap();
    }
    let made = world
        .admin(
            "mutation($input: CreateInfrastructureInput!) { createInfrastructure(input: $input) { infrastructure { id } refusals { code } } }",
            json!({"input": {
                "id": "PROD", "stage": "Production", "adminKey": "node-secret",
                "settings": {"nodeUrl": "http://127.0.0.1:1", "connectionRemapping": [{"source": "dev", "target": "prod"}]},
                "permissions": [{"group": "see", "level": "VIEW"}, {"group": "deploy", "level": "DEPLOY"}],
            }}),
        )
        .await;
    assert_eq!(made["createInfrastructure"]["infrastructure"]["id"], "PROD", "{made}");
    world.upload("CHURN", "v1").await;
    let made = world
        .admin(
            r#"mutation { updatePublishedProject(input: {key: "CHURN", expectedVersion: 1, permissions: [
                 {group: "see", read: true}, {group: "deploy", deploy: true}]}) { project { key } refusals { code message } }
               createDeployment(input: {id: "churn", projectKey: "CHURN", infrastructureId: "PROD", bundleId: "v1"}) {
                 deployment { id } refusals { code field } } }"#,
            json!({}),
        )
        .await;
    assert_eq!(made["updatePublishedProject"]["project"]["key"], "CHURN", "{made}");
    assert_eq!(made["createDeployment"]["deployment"]["id"], "churn", "{made}");
    world
}

impl World {
    /// A node enrolls as the only one of this infrastructure; answers its credential.
    pub(crate) async fn enroll(&self, infrastructure: &str) -> String {
        let deployer = &self.deployer;
        let (_, token) = enrolment::create_token(deployer, &self.admin, infrastructure, None, 60).await.unwrap();
        let bearer =
            enrolment::admit(deployer, &Origin::default(), NodeTokenKind::Enrolment, token.expose()).await.unwrap();
        let offer = NodeOffer {
            node_id: "auto-1".to_owned(),
            url: "http://127.0.0.1:2".to_owned(),
            external_url: None,
            trust_all_certificates: false,
            admin_key: Secret::new("node-secret".to_owned()),
            auditing: None,
            logging: None,
        };
        enrolment::enroll(deployer, &bearer, offer).await.unwrap().credential.expose().to_owned()
    }

    fn request(&self, viewer: &Viewer, query: &str, variables: Value) -> Request {
        let mut request = Request::new(query).variables(Variables::from_json(variables));
        request.data = graphql::request_data(&self.deployer, &self.tail, viewer.clone(), "request-1");
        request
    }

    pub(crate) async fn raw(&self, viewer: &Viewer, query: &str, variables: Value) -> Response {
        self.schema.execute(self.request(viewer, query, variables)).await
    }

    /// The data; errors fail the test.
    pub(crate) async fn ask(&self, viewer: &Viewer, query: &str, variables: Value) -> Value {
        let response = self.raw(viewer, query, variables).await;
        assert!(response.errors.is_empty(), "{:?}", response.errors);
        response.data.into_json().unwrap()
    }

    pub(crate) async fn admin(&self, query: &str, variables: Value) -> Value {
        self.ask(&self.admin, query, variables).await
    }

    /// A user with a key.
    pub(crate) async fn somebody(&self, login: &str, member_of: &[&str]) -> Viewer {
        let groups = member_of.iter().map(|group| (*group).to_owned()).collect();
        let new = users::NewUser { login: login.to_owned(), groups, ..Default::default() };
        users::create(&self.deployer, &self.admin, new).await.unwrap();
        let new = keys::NewKey { login: Some(login.to_owned()), label: "test".to_owned(), ..Default::default() };
        let (_, secret) = keys::create(&self.deployer, &self.admin, new).await.unwrap();
        keys::authenticate(&self.deployer.db, secret.expose()).await.unwrap().unwrap()
    }

    pub(crate) async fn sql(&self, sql: &str) {
        use sea_orm::ConnectionTrait as _;
        self.deployer.db.pool().execute_unprepared(sql).await.unwrap();
    }

    pub(crate) async fn upload(&self, project: &str, id: &str) {
        let bytes = sandbox::sample_bundle(&sandbox::BundleSpec::new(project, id));
        let pieces = stream::iter([Ok::<_, std::io::Error>(bytes.into())]);
        bundles::upload(&self.deployer, &self.admin, Some(project), "bundle.zip", pieces, 1 << 20).await.unwrap();
    }

    /// Publishes versions of an API service, and makes an infrastructure for it.
    pub(crate) async fn service(&self, id: &str, versions: &[&str]) {
        let made = self
            .admin(
                "mutation($id: ID!) { createPublishedService(id: $id) { refusals { code } } \
                 createInfrastructure(input: {id: \"NODES\", kind: STATIC, stage: \"Test\", settings: {}}) { refusals { code } } }",
                json!({"id": id}),
            )
            .await;
        assert_eq!(made["createInfrastructure"]["refusals"], json!([]), "{made}");
        for version in versions {
            let bytes = sandbox::sample_service(&sandbox::ServiceSpec::new(id, version));
            let pieces = stream::iter([Ok::<_, std::io::Error>(bytes.into())]);
            let (deployer, admin) = (&self.deployer, &self.admin);
            services::versions::upload(deployer, admin, Some(id), "version.zip", pieces, 1 << 20).await.unwrap();
        }
    }

    pub(crate) async fn start(&self) -> String {
        let started = self
            .admin(
                r#"mutation { startUpdate(deploymentId: "churn") { update { id } refusals { code message } } }"#,
                json!({}),
            )
            .await;
        started["startUpdate"]["update"]["id"].as_str().unwrap_or_else(|| panic!("{started}")).to_owned()
    }

    pub(crate) fn follow(&self, viewer: &Viewer, query: &str, variables: Value) -> Following {
        Following(self.schema.execute_stream(self.request(viewer, query, variables)).boxed())
    }

    pub(crate) async fn worker(&self) -> Worker {
        let db = self.deployer.db.clone();
        let lease = Lease::register(&db, None, "test", &json!({}), &LeaseSettings::default()).await.unwrap();
        let writer = Writer::start(&db, self.bell.clone()).await.unwrap();
        let log = LogWriter::start(db.clone(), self.bell.clone());
        Worker { db, writer, log, lease }
    }
}

/// A subscription.
pub(crate) struct Following(BoxStream<'static, Response>);

impl Following {
    /// What comes next; None at the end.
    pub(crate) async fn next(&mut self) -> Option<Response> {
        tokio::time::timeout(std::time::Duration::from_secs(30), self.0.next()).await.unwrap()
    }

    /// The next one's data.
    pub(crate) async fn data(&mut self) -> Value {
        let response = self.next().await.unwrap();
        assert!(response.errors.is_empty(), "{:?}", response.errors);
        response.data.into_json().unwrap()
    }

    /// The next one's error code; then the end.
    pub(crate) async fn ends_with(&mut self, code: &str) {
        let response = self.next().await.unwrap();
        let found = response.errors[0].extensions.as_ref().and_then(|all| all.get("code")).cloned();
        assert_eq!(found, Some(code.into()), "{response:?}");
        assert!(self.next().await.is_none());
    }
}

/// A worker that writes what it is told.
pub(crate) struct Worker {
    db: Db,
    writer: Writer,
    log: LogWriter,
    lease: Lease,
}

impl Worker {
    pub(crate) async fn claim(&self, run: &str) {
        let claimed = NewEvent::run(Kind::claimed(self.lease.worker, false));
        self.write(run, &[claimed, NewEvent::step(0, 1, Kind::StepStarted)], true).await;
    }

    pub(crate) async fn note(&self, run: &str, key: &str) {
        let note = Kind::StepNoted { key: key.to_owned(), value: json!("x") };
        self.write(run, &[NewEvent::step(0, 1, note)], false).await;
    }

    pub(crate) fn id(&self) -> String {
        self.lease.worker.to_string()
    }

    /// Nobody can tell what is on the node.
    pub(crate) async fn stick(&self, run: &str) {
        let failure = engine::failure::Failure::new(engine::failure::Code::new("OUTCOME_UNKNOWN"), "unknown");
        self.write(run, &[NewEvent::run(Kind::Stuck { failure })], false).await;
    }

    /// Ends a run that somebody asked to cancel.
    pub(crate) async fn finish(&self, run: &str) {
        let asked = NewEvent::run(Kind::CancelRequested { by: "admin".to_owned() });
        let end = Kind::Finished { status: Status::Cancelled, failure: None };
        self.write(run, &[asked], false).await;
        self.write(run, &[NewEvent::run(end)], false).await;
    }

    async fn write(&self, run: &str, events: &[NewEvent], claim: bool) {
        let run: RunId = run.parse().unwrap();
        let state = runs::load(self.db.pool(), run).await.unwrap().unwrap().state;
        let op =
            if claim { Op::claim(run, &state, self.lease.worker, events) } else { Op::append(run, &state, events) };
        let answer = self.writer.write(op.unwrap()).await;
        assert!(matches!(answer, Answer::Accepted { .. }), "{answer:?}");
    }

    pub(crate) async fn say(&self, run: &str, number: i64, line: &str, admins_only: bool) {
        let (run, line) = (run.parse().unwrap(), line.to_owned());
        let line =
            NewLogLine { run, epoch: 1, number, step: Some(0), attempt: Some(1), stream: "STDOUT", admins_only, line };
        self.log.write(line).await;
    }
}
