//! A run of a deployment to the stand-in, with the engine's side in memory.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use engine::{
    failure::{Failure, StepError, StepOutcome, StepResult},
    ids::RunId,
    packages::PackageStore,
    secrets::Secret,
    step::{Audience, StepContext},
};
use serde_json::{Map, Value, json};
use targets::{
    TargetType, Targets,
    spec::{
        BundleContents, ConnectionSpec, DeploySpec, EndpointSpec, GovernCheckPolicy, InfrastructureSpec, NodeSpec,
        PackageSpec, PermissionsPropagation, ProjectStandardsPolicy, ServiceSpec, ServiceVersionSpec,
    },
    target::{Look, Receipt, Secrets, Target, Work},
};

use super::{
    account::{Account, DATABASE, POOL, REPOSITORY, SCHEMA},
    login::{ACCOUNT, PAT, USER},
};
use crate::{
    images::{Images, digest},
    support::{Ledger, STEPS, Step, targets},
    wire::Server,
};

pub(crate) const KEY: &str = include_str!("keys/plain.pem");
pub(crate) const PASSPHRASE: &str = "open-sesame";

/// The notes, the clock and the log of a run.
#[derive(Default)]
pub(crate) struct Run {
    pub(crate) notes: Mutex<BTreeMap<String, Value>>,
    pub(crate) now: AtomicI64,
    pub(crate) told: Mutex<Vec<(Audience, String)>>,
}

impl Run {
    /// One that is where this one is, and has told nothing.
    pub(crate) fn again(&self) -> Self {
        let notes = self.notes.lock().unwrap().clone();
        Self { notes: Mutex::new(notes), now: self.now.load(Ordering::SeqCst).into(), told: Mutex::default() }
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.now.fetch_add(i64::try_from(by.as_micros()).unwrap(), Ordering::SeqCst);
    }
}

#[async_trait]
impl StepContext for Run {
    fn run(&self) -> RunId {
        RunId(1)
    }

    fn attempt(&self) -> u32 {
        1
    }

    fn note(&self, key: &str) -> Option<Value> {
        self.notes.lock().unwrap().get(key).cloned()
    }

    async fn put_note(&self, key: &str, value: Value) -> Result<(), StepError> {
        assert!(!value.to_string().contains("PRIVATE KEY") && !value.to_string().contains(PAT));
        self.notes.lock().unwrap().insert(key.to_owned(), value);
        Ok(())
    }

    async fn log(&self, audience: Audience, line: String) {
        self.told.lock().unwrap().push((audience, line));
    }

    async fn now(&self) -> Result<i64, StepError> {
        Ok(self.now.fetch_add(1_000, Ordering::SeqCst))
    }

    async fn secret(&self, reference: &str) -> Result<Secret, StepError> {
        Ok(secret(reference))
    }
}

fn secret(reference: &str) -> Secret {
    let text = match reference {
        "key" => KEY,
        "pbkdf2" => include_str!("keys/pbkdf2.pem"),
        "scrypt" => include_str!("keys/scrypt.pem"),
        "pkcs1" => include_str!("keys/pkcs1.pem"),
        "old" => include_str!("keys/old.pem"),
        "slow" => include_str!("keys/slow.pem"),
        "ec" => include_str!("keys/ec.pem"),
        "passphrase" => PASSPHRASE,
        "pat" => PAT,
        "wrong" => "something else",
        other => panic!("no secret {other}"),
    };
    Secret::from(text.to_owned())
}

pub(crate) struct Vault;

#[async_trait]
impl Secrets for Vault {
    async fn open(&self, reference: &str) -> Result<Secret, Failure> {
        Ok(secret(reference))
    }
}

/// Everything that a deployment needs.
pub(crate) struct World {
    pub(crate) account: Arc<Account>,
    pub(crate) server: Server,
    pub(crate) repository: Server,
    pub(crate) images: Arc<Images>,
    pub(crate) targets: Targets,
    pub(crate) run: Run,
    pub(crate) spec: DeploySpec,
    contents: BundleContents,
    ledger: Ledger,
    packages: PackageStore,
    _folder: tempfile::TempDir,
}

pub(crate) fn object(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn package(id: &str) -> Bytes {
    Bytes::from(format!("the package of {id}"))
}

pub(crate) fn version(id: &str, probability: f64) -> ServiceVersionSpec {
    ServiceVersionSpec {
        version: id.to_owned(),
        sha256: digest(&package(id)).trim_start_matches("sha256:").to_owned(),
        size: package(id).len() as u64,
        probability,
        endpoints: vec![EndpointSpec { id: "predict".to_owned(), kind: Some("STD_PREDICTION".to_owned()) }],
        auth_method: None,
        api_keys: Vec::new(),
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        let account = Arc::new(Account::default());
        let server = Server::start(Arc::clone(&account) as Arc<_>).await;
        let images = Arc::new(Images::new(USER, PAT, Box::new(account.hears())));
        let repository = Server::start(Arc::clone(&images) as Arc<_>).await;
        let host = repository.url.trim_start_matches("http://").to_owned();
        account.state().registry.clone_from(&host);
        let folder = tempfile::tempdir().unwrap();
        let packages =
            PackageStore::open(folder.path().join("store").to_str().unwrap(), &folder.path().join("staging")).unwrap();
        for id in ["v1", "v2"] {
            let staged =
                packages.stage(futures_util::stream::iter([Ok::<_, std::io::Error>(package(id))]), 1_000).await;
            packages.commit(&staged.unwrap()).await.unwrap();
        }
        let connection = object(json!({
            "account": ACCOUNT, "user": USER, "privateKey": {"$secret": "key"}, "registryPassword": {"$secret": "pat"},
            "accountUrl": server.url, "registryHost": repository.url,
        }));
        let settings = object(json!({
            "database": DATABASE.to_lowercase(), "schema": SCHEMA, "computePool": POOL, "imageRepository": REPOSITORY,
            "warehouse": "wh", "role": "deploy_role", "baseImage": format!("http://{host}/base/node:1"),
            "externalAccessIntegrations": ["outside"], "maxInstances": 2,
            "environment": {"MODE": "a$b"},
        }));
        let service = ServiceSpec {
            published_service_id: "churn".into(),
            service_id: "churn".into(),
            versions: vec![version("v1", 1.0)],
            endpoint: None,
            authorization: None,
            auditing: None,
            settings: object(json!({
                "arguments": [{"name": "age", "type": "FLOAT"}, {"name": "city"}], "grantUsageTo": ["analyst"],
            })),
        };
        let node = NodeSpec { settle_ms: 1_000, call_timeout_ms: 10_000, ..NodeSpec::default() };
        let spec = DeploySpec {
            deployment: "churn-prod".into(),
            installation: String::new(),
            infrastructure: InfrastructureSpec {
                id: "snow".into(),
                node,
                kind: TargetType::Snowpark,
                settings,
                connection: Some(ConnectionSpec { id: "c".into(), kind: "SNOWFLAKE".into(), settings: connection }),
                nodes: Vec::new(),
                permissions_propagation: PermissionsPropagation::None,
                run_as_scenarios: None,
                run_as_webapps: None,
                trust_foreign_bundles: false,
                govern_check_policy: GovernCheckPolicy::NoCheck,
                governance: None,
                project_standards_policy: ProjectStandardsPolicy::Ignore,
            },
            package: PackageSpec {
                project_key: "churn".into(),
                bundle_id: "v1".into(),
                sha256: "1".repeat(64),
                size: 10,
            },
            deployed_project_key: "churn".into(),
            project_folder: None,
            connection_remapping: Vec::new(),
            code_env_remapping: None,
            container_exec_remapping: None,
            code_envs_behavior: None,
            local_variables: None,
            scenarios: BTreeMap::new(),
            disable_automatic_triggers: false,
            acting_user: "deployer".into(),
            service: Some(Box::new(service)),
        };
        Self {
            account,
            server,
            repository,
            images,
            targets: targets(),
            run: Run::default(),
            spec,
            contents: BundleContents::default(),
            ledger: Ledger::default(),
            packages,
            _folder: folder,
        }
    }

    pub(crate) fn service(&mut self) -> &mut ServiceSpec {
        self.spec.service.as_mut().unwrap()
    }

    pub(crate) fn settings(&mut self) -> &mut Map<String, Value> {
        &mut self.spec.infrastructure.settings
    }

    pub(crate) fn connection(&mut self) -> &mut Map<String, Value> {
        &mut self.spec.infrastructure.connection.as_mut().unwrap().settings
    }

    /// Another run of the same deployment.
    pub(crate) fn new_run(&mut self) {
        let now = self.run.now.load(Ordering::SeqCst);
        self.run = Run { now: AtomicI64::new(now), ..Run::default() };
    }

    /// Another run, for another version.
    pub(crate) fn next(&mut self, id: &str) {
        self.new_run();
        self.service().versions = vec![version(id, 1.0)];
    }

    pub(crate) fn target(&self) -> Arc<dyn Target> {
        self.targets.find(TargetType::Snowpark).unwrap()
    }

    pub(crate) fn look(&self) -> Look<'_> {
        Look { spec: &self.spec, contents: &self.contents, secrets: &Vault, imports: &self.ledger }
    }

    /// One attempt.
    pub(crate) async fn attempt(&self, step: Step) -> StepResult {
        let target = self.target();
        let work = Work {
            spec: &self.spec,
            contents: &self.contents,
            packages: &self.packages,
            imports: &self.ledger,
            run: &self.run,
        };
        let result = step.attempt(&*target, &work).await;
        let told = format!("{result:?}{:?}", self.run.told.lock().unwrap());
        assert!(!told.contains(PAT) && !told.contains("PRIVATE KEY") && !told.contains('\u{1b}'), "{told}");
        result
    }

    /// Attempts until the step is done or fails for good; time passes as the step asks.
    pub(crate) async fn step(&self, step: Step) -> Result<(Value, Vec<String>), Failure> {
        for _ in 0..500 {
            match self.attempt(step).await {
                Ok(StepOutcome::Done { output, warnings }) => return Ok((output, warnings)),
                Ok(StepOutcome::NotYet { check_in }) => {
                    assert!(!check_in.is_zero());
                    self.run.advance(check_in);
                }
                Err(StepError::Retryable { .. }) => self.run.advance(Duration::from_secs(1)),
                Err(StepError::Permanent(failure)) => return Err(failure),
                Err(other) => panic!("{other:?}"),
            }
        }
        panic!("{step:?} does not end");
    }

    pub(crate) async fn failure(&self, step: Step) -> Failure {
        self.step(step).await.unwrap_err()
    }

    /// All steps; the receipt.
    pub(crate) async fn update(&self) -> Receipt {
        for step in &STEPS[..4] {
            self.step(*step).await.unwrap();
        }
        let (receipt, _) = self.step(Step::Verify).await.unwrap();
        serde_json::from_value(receipt).unwrap()
    }

    /// Only the service of ours.
    pub(crate) fn found(&self) -> Value {
        let all = self.account.snapshot()["services"].as_object().unwrap().clone();
        assert!(all.len() < 2, "{all:?}");
        all.into_iter().next().map_or(Value::Null, |(_, one)| one)
    }
}
