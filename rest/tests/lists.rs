//! Lists: as many statements for twenty of each as for one.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use deployer::{
    Deployer, bootstrap, bundles, deployments, infrastructures, keys, rights::Level, updates, viewer::Viewer,
};
use engine::{
    db::{Db, Use},
    packages::PackageStore,
    queue::Queue,
    secrets::{Keyring, Secret},
};
use futures_util::stream;
use rest::{Answer, Call, Instance, Method};
use serde_json::{Value, json};
use targets::{
    Targets,
    http::{HttpSettings, install_crypto_provider},
};
use tracing::{
    Event, Metadata, Subscriber,
    span::{Attributes, Id, Record},
};

/// Counts the statements that the database library is given.
#[derive(Clone, Default)]
struct Statements(Arc<AtomicUsize>);

impl Subscriber for Statements {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span() && metadata.target() == "sea_orm::database::db_connection"
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        if matches!(span.metadata().name(), "execute_raw" | "query_one_raw" | "query_all_raw") {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

struct World {
    deployer: Deployer,
    admin: Viewer,
    _folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        install_crypto_provider();
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let db = Db::open(&format!("sqlite://{}", at("slipway.db")), Use::Shared(4)).await.unwrap();
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
        Self { deployer, admin, _folder: folder }
    }

    /// One more infrastructure, published project and deployment of both; and an update of the first one.
    async fn add(&self, n: usize) {
        let (deployer, admin) = (&self.deployer, &self.admin);
        let mut new = infrastructures::NewInfrastructure {
            id: format!("I{n}"),
            stage: "Test".to_owned(),
            admin_key: Some(Secret::new("key".to_owned())),
            ..Default::default()
        };
        new.settings.node_url = Some(format!("http://127.0.0.1:{}", n + 1));
        let infra = infrastructures::create(deployer, admin, new).await.unwrap();
        assert_eq!(infra.level, Level::Admin);
        let archive = sandbox::sample_bundle(&sandbox::BundleSpec::new("CHURN", "v1"));
        let bytes = stream::iter([Ok::<_, std::io::Error>(Bytes::from(archive))]);
        let project = format!("P{n}");
        bundles::upload(deployer, admin, Some(&project), "v1.zip", bytes, u64::MAX).await.unwrap();
        let new = deployments::NewDeployment {
            id: format!("d{n}"),
            project_key: project,
            infrastructure_id: format!("I{n}"),
            bundle_id: "v1".to_owned(),
            ..Default::default()
        };
        deployments::create(deployer, admin, new).await.unwrap();
        updates::start(deployer, admin, "d0", None).await.unwrap();
    }

    async fn get(&self, path: &str) -> (Value, usize) {
        let call = Call {
            method: Method::Get,
            path: path.split('/').map(str::to_owned).collect(),
            query: Vec::new(),
            body: Bytes::new(),
        };
        let instance = Instance { node_id: "slipway".to_owned() };
        let statements = Statements::default();
        let counting = tracing::subscriber::set_default(statements.clone());
        let answer = rest::answer(&self.deployer, &self.admin, &instance, &call).await.unwrap();
        drop(counting);
        let Answer::Json(list) = answer else { panic!("{path}") };
        (list, statements.0.load(Ordering::SeqCst))
    }
}

#[tokio::test]
async fn twenty_take_as_many_statements_as_one() {
    // Somebody is always interested: else it is remembered that nobody is.
    tracing::subscriber::set_global_default(Statements::default()).unwrap();
    let world = World::new().await;
    world.add(0).await;
    let lists = ["infras", "projects", "deployments", "deployments/d0/update"];
    let mut one = Vec::new();
    for list in lists {
        let (list, count) = world.get(&format!("project-deployer/{list}")).await;
        assert_eq!(list.as_array().unwrap().len(), 1);
        one.push(count);
    }
    for n in 1..20 {
        world.add(n).await;
    }
    for (list, one) in lists.into_iter().zip(one) {
        let (shown, count) = world.get(&format!("project-deployer/{list}")).await;
        let shown = shown.as_array().unwrap();
        assert_eq!(shown.len(), 20, "{list}");
        assert!(one > 0 && count == one, "{list}: {one} statements for one, {count} for twenty");
        if list == "projects" || list == "deployments" {
            assert!(shown.iter().all(|one| one["packages"][0]["id"] == json!("v1")), "{shown:?}");
        }
        if list == "deployments/d0/update" {
            let whole = |one: &Value| one["type"] == "UPDATE" && one["status"] == "RUNNING";
            assert!(shown.iter().all(whole), "{shown:?}");
        }
    }
}
