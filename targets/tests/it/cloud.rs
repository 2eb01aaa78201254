//! A run, secrets and a spec for platforms that are clouds.

pub(crate) mod alike;
pub(crate) mod judge;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        LazyLock, Mutex,
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
    http::HttpSettings,
    spec::{
        BundleContents, ConnectionSpec, DeploySpec, InfrastructureSpec, NodeSpec, PackageSpec, PermissionsPropagation,
    },
    target::{Look, Receipt, Secrets, Target, Work},
    tools::HostSettings,
};

use crate::support::{Ledger, Step};

/// Never to be told to anybody.
pub(crate) struct Known(pub(crate) BTreeMap<String, String>);

impl Known {
    pub(crate) fn assert_untold(&self, told: &str) {
        for secret in self.0.values() {
            assert!(!told.contains(secret.as_str()), "a secret in {told}");
        }
    }
}

#[async_trait]
impl Secrets for Known {
    async fn open(&self, reference: &str) -> Result<Secret, Failure> {
        Ok(Secret::from(self.0[reference].clone()))
    }
}

/// A run's notes, log and clock.
pub(crate) struct CloudRun {
    pub(crate) id: i64,
    pub(crate) notes: Mutex<BTreeMap<String, Value>>,
    pub(crate) log: Mutex<Vec<String>>,
    secrets: BTreeMap<String, String>,
    now: AtomicI64,
}

#[async_trait]
impl StepContext for CloudRun {
    fn run(&self) -> RunId {
        RunId(self.id)
    }

    fn attempt(&self) -> u32 {
        1
    }

    fn note(&self, key: &str) -> Option<Value> {
        self.notes.lock().unwrap().get(key).cloned()
    }

    async fn put_note(&self, key: &str, value: Value) -> Result<(), StepError> {
        self.notes.lock().unwrap().insert(key.to_owned(), value);
        Ok(())
    }

    async fn log(&self, _: Audience, line: String) {
        self.log.lock().unwrap().push(line);
    }

    async fn now(&self) -> Result<i64, StepError> {
        Ok(self.now.fetch_add(1_000, Ordering::SeqCst))
    }

    async fn secret(&self, reference: &str) -> Result<Secret, StepError> {
        Ok(Secret::from(self.secrets[reference].clone()))
    }
}

impl CloudRun {
    pub(crate) fn new(id: i64, secrets: &BTreeMap<String, String>) -> Self {
        Self {
            id,
            notes: Mutex::default(),
            log: Mutex::default(),
            secrets: secrets.clone(),
            now: AtomicI64::new(1_000_000),
        }
    }

    /// One that is where this one is.
    pub(crate) fn again(&self) -> Self {
        Self {
            id: self.id,
            notes: Mutex::new(self.notes.lock().unwrap().clone()),
            log: Mutex::new(self.log.lock().unwrap().clone()),
            secrets: self.secrets.clone(),
            now: self.now.load(Ordering::SeqCst).into(),
        }
    }

    /// Time passes, as a step asked.
    pub(crate) fn advance(&self, by: Duration) {
        assert!(!by.is_zero());
        self.now.fetch_add(i64::try_from(by.as_micros()).unwrap(), Ordering::SeqCst);
    }
}

/// What a cloud's world is made of.
pub(crate) struct Setup {
    pub(crate) kind: TargetType,
    pub(crate) settings: Value,
    pub(crate) connection: (&'static str, Value),
    pub(crate) secrets: BTreeMap<String, String>,
    pub(crate) host: HostSettings,
}

/// A deployment to a cloud.
pub(crate) struct CloudWorld {
    pub(crate) targets: Targets,
    host: HostSettings,
    kind: TargetType,
    pub(crate) known: Known,
    pub(crate) run: CloudRun,
    pub(crate) spec: DeploySpec,
    contents: BundleContents,
    packages: PackageStore,
    ledger: Ledger,
}

/// How long a call may take in these tests: what never answers is given up after this.
const CALL: Duration = Duration::from_millis(400);

fn object(value: Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap()
}

/// The package of every version, and what stands in for the program that goes into images.
const PACKAGE: &[u8] = b"0123456789";

/// Versions of a service as a spec has them, each with its share.
pub(crate) fn versions(shares: &[(&str, f64)]) -> Value {
    let one = |(version, probability): &(&str, f64)| {
        let sha256 = "84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882";
        json!({"version": version, "sha256": sha256, "size": 10, "probability": probability, "endpoints": [{"id": "predict", "type": "STD_PREDICTION"}]})
    };
    shares.iter().map(one).collect()
}

/// Ids that a version may have, and that hardly anything can be called by.
pub(crate) const ODD_VERSIONS: &[&str] = &[
    "release 2 (final)",
    "Ausgabe_ö-β-版",
    "long.0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789",
];

/// With a front that is small, and a folder that goes with the tests.
fn host(host: HostSettings, folder: &Path) -> HostSettings {
    let front = folder.join("front");
    if !front.exists() {
        std::fs::write(&front, "a program").unwrap();
    }
    HostSettings { scratch: folder.to_owned(), front, ..host }
}

fn targets_on(host: &HostSettings) -> Targets {
    let http = HttpSettings {
        connect_timeout: Duration::from_secs(5),
        call_timeout: CALL,
        answer_limit: 1024 * 1024,
        ..HttpSettings::default()
    };
    Targets::on_host(http, host.clone()).unwrap()
}

impl CloudWorld {
    pub(crate) async fn new(setup: Setup) -> Self {
        // One store for all worlds of the process: none changes it.
        static FOLDER: LazyLock<tempfile::TempDir> = LazyLock::new(|| tempfile::tempdir().unwrap());
        let folder = FOLDER.path();
        let packages = PackageStore::open(folder.join("store").to_str().unwrap(), &folder.join("staging")).unwrap();
        let staged = packages
            .stage(futures_util::stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(PACKAGE))]), u64::MAX)
            .await
            .unwrap();
        packages.commit(&staged).await.unwrap();
        let (kind, settings) = setup.connection;
        let connection = ConnectionSpec { id: "cloud".into(), kind: kind.into(), settings: object(settings) };
        let service = json!({
            "publishedServiceId": "churn", "serviceId": "churn", "versions": versions(&[("v1", 1.0)]), "endpoint": "predict",
        });
        let spec = DeploySpec {
            deployment: "churn-prod".into(),
            installation: String::new(),
            infrastructure: InfrastructureSpec {
                id: "prod".into(),
                kind: setup.kind,
                settings: object(setup.settings),
                connection: Some(connection),
                node: NodeSpec { settle_ms: 60_000, call_timeout_ms: 400, ..NodeSpec::default() },
                nodes: Vec::new(),
                permissions_propagation: PermissionsPropagation::None,
                run_as_scenarios: None,
                run_as_webapps: None,
                trust_foreign_bundles: false,
                govern_check_policy: Default::default(),
                governance: None,
                project_standards_policy: Default::default(),
            },
            package: PackageSpec {
                project_key: "churn".into(),
                bundle_id: "v1".into(),
                sha256: staged.sha256().to_owned(),
                size: staged.size(),
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
            service: Some(serde_json::from_value(service).unwrap()),
        };
        let host = host(setup.host, folder);
        Self {
            targets: targets_on(&host),
            host,
            kind: setup.kind,
            run: CloudRun::new(1, &setup.secrets),
            known: Known(setup.secrets),
            spec,
            contents: BundleContents::default(),
            packages,
            ledger: Ledger::default(),
        }
    }

    /// As in a worker that has just been started.
    pub(crate) fn sign_out(&mut self) {
        self.targets = targets_on(&self.host);
    }

    pub(crate) fn target(&self) -> std::sync::Arc<dyn Target> {
        self.targets.find(self.kind).unwrap()
    }

    /// Another run of the deployment, of these versions.
    pub(crate) fn next_run(&mut self, shares: &[(&str, f64)]) {
        self.run = CloudRun::new(self.run.id + 1, &self.known.0);
        if let Some(service) = &mut self.spec.service {
            service.versions = serde_json::from_value(versions(shares)).unwrap();
        }
    }

    pub(crate) fn set(&mut self, setting: &str, value: Value) {
        self.spec.infrastructure.settings.insert(setting.to_owned(), value);
    }

    pub(crate) fn connection(&mut self) -> &mut Map<String, Value> {
        &mut self.spec.infrastructure.connection.as_mut().unwrap().settings
    }

    pub(crate) fn look(&self) -> Look<'_> {
        Look { spec: &self.spec, contents: &self.contents, secrets: &self.known, imports: &self.ledger }
    }

    /// One attempt at a step.
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
        self.known.assert_untold(&format!("{result:?} {:?} {:?}", self.run.notes, self.run.log));
        result
    }

    /// Attempts until the step is done, or fails for good.
    pub(crate) async fn step(&self, step: Step) -> Result<(Value, Vec<String>), Failure> {
        for _ in 0..200 {
            match self.attempt(step).await {
                Ok(StepOutcome::Done { output, warnings }) => return Ok((output, warnings)),
                Ok(StepOutcome::NotYet { check_in }) => self.run.advance(check_in),
                Err(StepError::Retryable { .. }) => {}
                Err(StepError::Permanent(failure)) => return Err(failure),
                Err(other) => panic!("{other:?}"),
            }
        }
        panic!("{step:?} does not end");
    }

    /// Attempts until one fails or is done, so many of them at most: how many said that they look again.
    pub(crate) async fn looks(&self, step: Step, most: u32) -> (u32, StepResult) {
        for looks in 0..most {
            match self.attempt(step).await {
                Ok(StepOutcome::NotYet { check_in }) => self.run.advance(check_in),
                other => return (looks, other),
            }
        }
        panic!("{step:?} looks and looks")
    }

    /// All steps; the receipt.
    pub(crate) async fn update(&self) -> Result<Receipt, Failure> {
        for step in [Step::Validate, Step::Push, Step::Activate, Step::Enforce] {
            self.step(step).await?;
        }
        let (receipt, warnings) = self.step(Step::Verify).await?;
        assert!(warnings.is_empty(), "{warnings:?}");
        Ok(serde_json::from_value(receipt).unwrap())
    }

    /// The versions that the platform shows, with their shares in percent.
    pub(crate) async fn live(&self) -> Vec<(String, f64)> {
        let service = self.target().observe(self.look()).await.unwrap().service;
        let versions = service.map(|service| service.versions).unwrap_or_default();
        versions.into_iter().map(|one| (one.version, (one.probability * 100.0).round())).collect()
    }
}
