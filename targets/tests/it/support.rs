//! A run, a ledger and a node, for tests: the engine's side in memory, the node's side over HTTP.

use std::{
    collections::BTreeMap,
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
use sandbox::{BundleSpec, Call, Node, RunningNode, sample_bundle};
use serde_json::{Value, json};
use targets::{
    TargetType, Targets,
    http::HttpSettings,
    spec::{
        BundleContents, ConnectionRemapping, DeploySpec, GovernCheckPolicy, InfrastructureSpec, NodeSpec, PackageSpec,
        PermissionsPropagation, ProjectStandardsPolicy,
    },
    target::{Import, ImportLedger, ImportRecords, Look, Receipt, Secrets, Target, Work},
    tools::HostSettings,
};

/// The administrator's key; must be nowhere but in requests.
pub(crate) const KEY: &str = "adm1n-k3y-of-the-node";
pub(crate) const SETTLE: Duration = Duration::from_secs(60);

/// The notes and the clock of a run.
#[derive(Default)]
pub(crate) struct Run {
    pub(crate) notes: Mutex<BTreeMap<String, Value>>,
    pub(crate) now: AtomicI64,
}

impl Run {
    /// One that is where this one is.
    pub(crate) fn again(&self) -> Self {
        let notes = self.notes.lock().unwrap().clone();
        Self { notes: Mutex::new(notes), now: self.now.load(Ordering::SeqCst).into() }
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.now.fetch_add(by.as_micros() as i64, Ordering::SeqCst);
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
        self.notes.lock().unwrap().insert(key.to_owned(), value);
        Ok(())
    }

    async fn log(&self, _: Audience, _: String) {}

    async fn now(&self) -> Result<i64, StepError> {
        Ok(self.now.fetch_add(1_000, Ordering::SeqCst))
    }

    async fn secret(&self, reference: &str) -> Result<Secret, StepError> {
        Ok(Secret::from(opened(reference, KEY)))
    }
}

/// The secret of a reference: each has its own.
pub(crate) fn opened(reference: &str, key: &str) -> String {
    if reference == "key-1" { key.to_owned() } else { format!("s3cret-of-{reference}") }
}

/// Imports by node, project and bundle.
#[derive(Default)]
pub(crate) struct Ledger(pub(crate) Mutex<BTreeMap<(String, String, String), Import>>);

#[async_trait]
impl ImportRecords for Ledger {
    async fn find(&self, node: &str, project: &str, bundle: &str) -> Result<Option<Import>, StepError> {
        Ok(self.0.lock().unwrap().get(&(node.into(), project.into(), bundle.into())).cloned())
    }
}

#[async_trait]
impl ImportLedger for Ledger {
    async fn intend(&self, node: &str, project: &str, bundle: &str, sha256: &str) -> Result<(), StepError> {
        let import = Import { sha256: sha256.into(), confirmed: false, at: 0 };
        self.0.lock().unwrap().entry((node.into(), project.into(), bundle.into())).or_insert(import);
        Ok(())
    }

    async fn withdraw(&self, node: &str, project: &str, bundle: &str, sha256: &str) -> Result<(), StepError> {
        let key = (node.into(), project.into(), bundle.into());
        let mut all = self.0.lock().unwrap();
        if all.get(&key).is_some_and(|import| !import.confirmed && import.sha256 == sha256) {
            all.remove(&key);
        }
        Ok(())
    }

    async fn confirm(&self, node: &str, project: &str, bundle: &str, sha256: &str) -> Result<(), StepError> {
        let import = Import { sha256: sha256.into(), confirmed: true, at: 0 };
        self.0.lock().unwrap().insert((node.into(), project.into(), bundle.into()), import);
        Ok(())
    }
}

/// This key, whatever the reference.
pub(crate) struct OneKey(pub(crate) &'static str);

#[async_trait]
impl Secrets for OneKey {
    async fn open(&self, reference: &str) -> Result<Secret, Failure> {
        Ok(Secret::from(opened(reference, self.0)))
    }
}

/// As a worker makes them, with a program for the front of images; once in each test, for making them reads the machine's certificates.
pub(crate) fn targets() -> Targets {
    static SCRATCH: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("front"), "a program").unwrap();
        folder
    });
    thread_local! {
        static MADE: Targets = {
            let http = HttpSettings { call_timeout: Duration::from_secs(10), ..HttpSettings::default() };
            let scratch = SCRATCH.path().to_owned();
            let front = scratch.join("front");
            Targets::on_host(http, HostSettings { scratch, front, ..HostSettings::default() }).unwrap()
        };
    }
    MADE.with(Targets::clone)
}

/// The steps that change the node, in order.
pub(crate) const STEPS: [Step; 5] = [Step::Validate, Step::Push, Step::Activate, Step::Enforce, Step::Verify];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Validate,
    Push,
    Activate,
    Enforce,
    Verify,
    Restore,
    SwitchOff,
    Remove,
}

impl Step {
    pub(crate) const ALL: [Self; 8] = [
        Self::Validate,
        Self::Push,
        Self::Activate,
        Self::Enforce,
        Self::Verify,
        Self::Restore,
        Self::SwitchOff,
        Self::Remove,
    ];

    /// One attempt.
    pub(crate) async fn attempt(self, target: &dyn Target, work: &Work<'_>) -> StepResult {
        match self {
            Self::Validate => target.validate(work).await,
            Self::Push => target.push(work).await,
            Self::Activate => target.activate(work).await,
            Self::Enforce => target.enforce(work).await,
            Self::Verify => target.verify(work).await,
            Self::Restore => target.restore(work).await,
            Self::SwitchOff => target.switch_off(work).await,
            Self::Remove => target.remove(work).await,
        }
    }
}

/// Everything that a deployment needs.
pub(crate) struct World {
    pub(crate) node: RunningNode,
    pub(crate) targets: Targets,
    pub(crate) ledger: Ledger,
    pub(crate) run: Run,
    pub(crate) spec: DeploySpec,
    pub(crate) contents: BundleContents,
    packages: PackageStore,
    _folder: tempfile::TempDir,
}

/// A node with all that the sample bundle needs under other names.
pub(crate) fn node() -> sandbox::Builder {
    Node::builder()
        .admin_key(KEY)
        .user("deployer", &["data-team"], false)
        .user("runner", &[], false)
        .user("analyst", &[], false)
        .connection("sql-prod", "PostgreSQL")
        .connection("files-prod", "Filesystem")
}

pub(crate) async fn world() -> World {
    World::on(node()).await
}

impl World {
    pub(crate) async fn on(node: sandbox::Builder) -> Self {
        let node = node.start("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let packages =
            PackageStore::open(folder.path().join("store").to_str().unwrap(), &folder.path().join("staging")).unwrap();
        let settings = HttpSettings {
            connect_timeout: Duration::from_secs(5),
            call_timeout: Duration::from_secs(10),
            answer_limit: 1024 * 1024,
            ..HttpSettings::default()
        };
        let spec = DeploySpec {
            deployment: "churn-prod".into(),
            installation: String::new(),
            infrastructure: InfrastructureSpec {
                id: "prod".into(),
                node: NodeSpec {
                    url: node.url(),
                    key: "key-1".into(),
                    trust_all_certificates: false,
                    webapp_run_as_field: "runAsUser".into(),
                    settle_ms: SETTLE.as_millis() as u64,
                    call_timeout_ms: 10_000,
                },
                kind: TargetType::AutomationNode,
                settings: serde_json::Map::new(),
                connection: None,
                nodes: Vec::new(),
                permissions_propagation: PermissionsPropagation::None,
                run_as_scenarios: Some("runner".into()),
                run_as_webapps: Some("runner".into()),
                trust_foreign_bundles: false,
                govern_check_policy: GovernCheckPolicy::NoCheck,
                governance: None,
                project_standards_policy: ProjectStandardsPolicy::Ignore,
            },
            package: PackageSpec {
                project_key: String::new(),
                bundle_id: String::new(),
                sha256: String::new(),
                size: 0,
            },
            deployed_project_key: "CHURN".into(),
            project_folder: None,
            connection_remapping: vec![remap("sql-dev", "sql-prod"), remap("files-dev", "files-prod")],
            code_env_remapping: Some(Vec::new()),
            container_exec_remapping: Some(Vec::new()),
            code_envs_behavior: None,
            local_variables: Some(json!({"env": "prod"}).as_object().unwrap().clone()),
            scenarios: BTreeMap::from([("DAILY".into(), true), ("CHECKS".into(), false)]),
            disable_automatic_triggers: false,
            acting_user: "deployer".into(),
            service: None,
        };
        let mut world = Self {
            node,
            targets: Targets::new(settings).unwrap(),
            ledger: Ledger::default(),
            run: Run::default(),
            spec,
            contents: BundleContents::default(),
            packages,
            _folder: folder,
        };
        world.run.advance(Duration::from_secs(1_000_000));
        world.take(&BundleSpec::new("CHURN", "v1")).await;
        world
    }

    /// Stores a bundle and makes it the one to deploy.
    pub(crate) async fn take(&mut self, bundle: &BundleSpec) {
        let archive = Bytes::from(sample_bundle(bundle));
        self.store(bundle, archive).await;
    }

    pub(crate) async fn store(&mut self, bundle: &BundleSpec, archive: Bytes) {
        let pieces = archive
            .chunks(1_000)
            .map(|piece| Ok::<_, std::io::Error>(Bytes::copy_from_slice(piece)))
            .collect::<Vec<_>>();
        let staged = self.packages.stage(futures_util::stream::iter(pieces), u64::MAX).await.unwrap();
        self.packages.commit(&staged).await.unwrap();
        self.spec.package = PackageSpec {
            project_key: bundle.project_key.clone(),
            bundle_id: bundle.bundle_id.clone(),
            sha256: staged.sha256().to_owned(),
            size: staged.size(),
        };
        let manifest = bundle.manifest();
        let list = |key: &str| manifest[key].clone();
        self.contents = BundleContents {
            project_key: Some(bundle.project_key.clone()),
            connections: serde_json::from_value(list("connections")).unwrap(),
            scenarios: serde_json::from_value(list("scenarios")).unwrap(),
            webapps: serde_json::from_value(list("webapps")).unwrap(),
            permissions: serde_json::from_value(list("permissions")).unwrap(),
            code_envs: bundle.code_envs.clone(),
            inferred: false,
        };
    }

    /// Another run of the same deployment.
    pub(crate) fn new_run(&mut self) {
        let now = self.run.now.load(Ordering::SeqCst);
        self.run = Run { now: AtomicI64::new(now), ..Run::default() };
    }

    pub(crate) fn target(&self) -> std::sync::Arc<dyn Target> {
        self.targets.find(TargetType::AutomationNode).unwrap()
    }

    pub(crate) fn look(&self) -> Look<'_> {
        Look { spec: &self.spec, contents: &self.contents, secrets: &OneKey(KEY), imports: &self.ledger }
    }

    fn work(&self) -> Work<'_> {
        Work {
            spec: &self.spec,
            contents: &self.contents,
            packages: &self.packages,
            imports: &self.ledger,
            run: &self.run,
        }
    }

    /// One attempt.
    pub(crate) async fn attempt(&self, step: Step) -> StepResult {
        let (target, work) = (self.target(), self.work());
        let result = step.attempt(&*target, &work).await;
        let told = format!("{result:?}");
        assert!(!told.contains(KEY), "{told}");
        result
    }

    pub(crate) async fn leave_safe(&self) -> Vec<String> {
        self.target().leave_safe(&self.work()).await.unwrap()
    }

    /// Attempts until the step is done or fails for good; time passes as the step asks.
    pub(crate) async fn step(&self, step: Step) -> Result<(Value, Vec<String>), Failure> {
        for _ in 0..100 {
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

    /// One attempt that must fail so that another is worth it.
    pub(crate) async fn retryable(&self, step: Step) -> (Failure, Option<Duration>) {
        match self.attempt(step).await {
            Err(StepError::Retryable { failure, retry_after }) => (failure, retry_after),
            other => panic!("{step:?}: {other:?}"),
        }
    }

    pub(crate) async fn until(&self, last: Step) -> Result<(), Failure> {
        for step in STEPS {
            self.step(step).await?;
            if step == last {
                break;
            }
        }
        Ok(())
    }

    /// All steps; the receipt.
    pub(crate) async fn update(&self) -> Receipt {
        self.until(Step::Enforce).await.unwrap();
        let (receipt, _) = self.step(Step::Verify).await.unwrap();
        serde_json::from_value(receipt).unwrap()
    }

    /// The project on the node.
    pub(crate) fn project(&self) -> Value {
        self.node.snapshot()["projects"][&self.spec.deployed_project_key].clone()
    }

    /// The calls that took effect, by method and the end of the path.
    pub(crate) fn effects(&self, method: &str, end: &str) -> Vec<Call> {
        let reached = |call: &Call| {
            call.status.is_none_or(|status| status < 400)
                && !matches!(
                    call.fault.as_deref(),
                    Some("RESET" | "STATUS" | "HTML" | "REDIRECT" | "CUT_UPLOAD" | "REPORT_ERROR")
                )
        };
        self.node
            .calls()
            .into_iter()
            .filter(|call| call.method == method && call.path.ends_with(end) && reached(call))
            .collect()
    }

    /// Calls the node itself, as its administrator or as a user, past the target.
    pub(crate) async fn by_hand(&self, method: &str, path: &str, body: Value) -> Value {
        by_hand::call(&self.node.url(), method, path, &body).await
    }
}

pub(crate) fn remap(source: &str, target: &str) -> ConnectionRemapping {
    ConnectionRemapping { source: source.into(), target: target.into() }
}

/// A few lines of HTTP, so that tests name no client.
mod by_hand {
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    use serde_json::Value;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpStream,
    };

    pub(crate) async fn call(url: &str, method: &str, path: &str, body: &Value) -> Value {
        let host = url.trim_start_matches("http://");
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let auth = BASE64_STANDARD.encode(format!("{}:", super::KEY));
        let head = format!(
            "{method} /dip/publicapi{path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Basic {auth}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(host).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{method} {path}: {answer}");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(!head.to_ascii_lowercase().contains("chunked"));
        serde_json::from_str(body).unwrap_or_default()
    }
}
