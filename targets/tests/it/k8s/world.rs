//! A run on a cluster, for tests: the engine's side in memory.

use std::{collections::BTreeMap, sync::Mutex, time::Duration};

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
    service::{Authorization, EndpointSpec, ServiceSpec, ServiceVersionSpec},
    spec::{
        BundleContents, DeploySpec, GovernCheckPolicy, InfrastructureSpec, NodeSpec, PackageSpec,
        PermissionsPropagation, ProjectStandardsPolicy, SecretRef,
    },
    target::{Look, Receipt, Secrets, Target, Work},
};

use crate::support::{Ledger, Step, targets};

/// What must be in no text that anybody reads.
pub(crate) const HIDDEN: [&str; 3] = ["s3cret-0f-a-variable", "qu3ry-key-0f-a-caller", "p4ssword-0f-the-registry"];

/// The secrets by reference.
pub(crate) struct Vault(pub(super) BTreeMap<String, String>);

#[async_trait]
impl Secrets for Vault {
    async fn open(&self, reference: &str) -> Result<Secret, Failure> {
        Ok(Secret::from(self.0[reference].clone()))
    }
}

/// One run: its notes, its log, its clock.
pub(crate) struct Run {
    id: i64,
    pub(crate) notes: Mutex<BTreeMap<String, Value>>,
    pub(crate) lines: Mutex<Vec<String>>,
    now: Mutex<i64>,
}

/// A run, and what it opens secrets with.
struct Context<'a>(&'a Run, &'a Vault);

#[async_trait]
impl StepContext for Context<'_> {
    fn run(&self) -> RunId {
        RunId(self.0.id)
    }

    fn attempt(&self) -> u32 {
        1
    }

    fn note(&self, key: &str) -> Option<Value> {
        self.0.notes.lock().unwrap().get(key).cloned()
    }

    async fn put_note(&self, key: &str, value: Value) -> Result<(), StepError> {
        self.0.notes.lock().unwrap().insert(key.to_owned(), value);
        Ok(())
    }

    async fn log(&self, _: Audience, line: String) {
        self.0.lines.lock().unwrap().push(line);
    }

    async fn now(&self) -> Result<i64, StepError> {
        let mut now = self.0.now.lock().unwrap();
        *now += 1_000;
        Ok(*now)
    }

    async fn secret(&self, reference: &str) -> Result<Secret, StepError> {
        Ok(self.1.open(reference).await?)
    }
}

/// A deployment on a cluster.
pub(crate) struct World {
    pub(crate) targets: Targets,
    pub(crate) vault: Vault,
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

impl World {
    pub(crate) fn new(url: &str, authority: Option<&str>, token: &str, namespace: &str, registry: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("store");
        let packages = PackageStore::open(store.to_str().unwrap(), &folder.path().join("staging")).unwrap();
        let version = |name: &str, probability: f64| ServiceVersionSpec {
            version: name.into(),
            sha256: "00".repeat(32),
            size: 1,
            probability,
            endpoints: vec![EndpointSpec { id: "predict".into(), kind: Some("STD_PREDICTION".into()) }],
            auth_method: Some("PUBLIC".into()),
            api_keys: Vec::new(),
        };
        let service = ServiceSpec {
            published_service_id: "churn".into(),
            service_id: "Churn_Score".into(),
            versions: vec![version("v1", 1.0)],
            endpoint: None,
            authorization: None,
            auditing: None,
            settings: Map::new(),
        };
        let settings = json!({
            "cluster": {"apiServer": url, "token": {"$secret": "token"}, "certificateAuthority": authority},
            "k8sNamespace": namespace,
            "registryHost": registry,
            "registryPlainHttp": true,
            "baseImageTag": "base:1",
            "workload": {"failingPodSeconds": 60},
        });
        let spec = DeploySpec {
            deployment: "Churn Prod".into(),
            installation: String::new(),
            infrastructure: InfrastructureSpec {
                id: "prod".into(),
                kind: TargetType::K8s,
                settings: object(settings),
                connection: None,
                node: NodeSpec { settle_ms: 60_000, call_timeout_ms: 10_000, ..NodeSpec::default() },
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
                sha256: "00".repeat(32),
                size: 1,
            },
            deployed_project_key: "Churn_Score".into(),
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
        let secrets = [("token", token), ("variable", HIDDEN[0]), ("key", HIDDEN[1]), ("password", HIDDEN[2])];
        let mut world = Self {
            targets: targets(),
            vault: Vault(secrets.iter().map(|(id, text)| ((*id).to_owned(), (*text).to_owned())).collect()),
            run: run(1, 1_000_000_000_000),
            spec,
            contents: BundleContents::default(),
            ledger: Ledger::default(),
            packages,
            _folder: folder,
        };
        world.take("v1", "registry.example.com/churn@sha256:1");
        world
    }

    /// The version to deploy, as if its image had been pushed.
    pub(crate) fn take(&mut self, version: &str, image: &str) {
        self.spec.package.bundle_id = version.into();
        self.service().versions[0].version = version.into();
        self.run.notes.lock().unwrap().insert("image".into(), json!({"reference": image}));
    }

    pub(crate) fn service(&mut self) -> &mut ServiceSpec {
        self.spec.service.as_mut().unwrap()
    }

    /// Stores a package.
    pub(crate) async fn store(&self, package: Bytes) {
        let pieces = futures_util::stream::iter([Ok::<_, std::io::Error>(package)]);
        let staged = self.packages.stage(pieces, u64::MAX).await.unwrap();
        self.packages.commit(&staged).await.unwrap();
    }

    /// Another run of the same deployment.
    pub(crate) fn new_run(&mut self) {
        let now = *self.run.now.lock().unwrap();
        self.run = run(self.run.id + 1, now);
    }

    /// Time passes.
    pub(crate) fn pass(&self, time: Duration) {
        *self.run.now.lock().unwrap() += time.as_micros() as i64;
    }

    /// Changes a setting of the infrastructure, by pointer.
    pub(crate) fn set(&mut self, pointer: &str, value: Value) {
        let mut settings = Value::Object(self.spec.infrastructure.settings.clone());
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let at = parent.split('/').skip(1).fold(&mut settings, |at, key| &mut at[key]);
        at[key] = value;
        self.spec.infrastructure.settings = object(settings);
    }

    /// Every kind of object, and every secret.
    pub(crate) fn set_everything(&mut self) {
        self.set("/registryUser", json!("robot"));
        self.set("/registryPassword", json!({"$secret": "password"}));
        self.set("/workload/env", json!({"LEVEL": "info"}));
        self.set("/workload/secretEnv", json!([{"name": "DB_PASSWORD", "value": {"$secret": "variable"}}]));
        self.set("/workload/labels", json!({"team": "data"}));
        self.set("/workload/annotations", json!({"example.com/contact": "data team"}));
        let resources =
            json!({"cpuRequest": "0.5", "cpuLimit": "1000m", "memoryRequest": "512Mi", "memoryLimit": "1024Mi"});
        self.set("/workload/resources", resources);
        self.set("/workload/disruptionBudget", json!({"enabled": true, "maxUnavailable": "50%"}));
        self.set("/workload/topologySpread", json!([{"topologyKey": "topology.kubernetes.io/zone"}]));
        self.set("/workload/autoscaling", json!({"minReplicas": 2, "maxReplicas": 4, "targetCpuUtilization": 70}));
        let params = json!({"host": "${k8sFriendlyDeployedServiceId}.example.com", "path": "/api", "tlsSecretName": "tls", "ingressClassName": "nginx", "annotations": {"example.com/for": "${apiDeploymentId}"}});
        self.set("/defaultServiceExposition", json!({"type": "INGRESS", "params": params}));
        let keys = vec![SecretRef { id: "key".into() }];
        self.service().authorization = Some(Authorization::ApiKeys { keys });
    }

    pub(crate) fn target(&self) -> std::sync::Arc<dyn Target> {
        self.targets.find(TargetType::K8s).unwrap()
    }

    pub(crate) fn look(&self) -> Look<'_> {
        Look { spec: &self.spec, contents: &self.contents, secrets: &self.vault, imports: &self.ledger }
    }

    /// One attempt.
    pub(crate) async fn attempt(&self, step: Step) -> StepResult {
        let (target, context) = (self.target(), Context(&self.run, &self.vault));
        let work = Work {
            spec: &self.spec,
            contents: &self.contents,
            packages: &self.packages,
            imports: &self.ledger,
            run: &context,
        };
        let result = step.attempt(&*target, &work).await;
        let told = format!("{result:?} {:?} {:?}", self.run.notes.lock().unwrap(), self.run.lines.lock().unwrap());
        let token = self.vault.0["token"].as_str();
        assert!(HIDDEN.iter().chain([&token]).all(|secret| !told.contains(secret)), "{told}");
        result
    }

    /// Attempts until the step is done or fails for good; `between` is what the cluster does while the step waits, and time passes.
    pub(crate) async fn step_while(
        &self,
        step: Step,
        between: impl AsyncFn(),
    ) -> Result<(Value, Vec<String>), Failure> {
        for _ in 0..200 {
            match self.attempt(step).await {
                Ok(StepOutcome::Done { output, warnings }) => return Ok((output, warnings)),
                Ok(StepOutcome::NotYet { check_in }) => {
                    between().await;
                    self.pass(check_in);
                }
                Err(StepError::Retryable { .. }) => self.pass(Duration::from_secs(1)),
                Err(StepError::Permanent(failure)) => return Err(failure),
                Err(other) => panic!("{other:?}"),
            }
        }
        panic!("{step:?} does not end: {:?}", self.run.lines.lock().unwrap());
    }

    pub(crate) async fn step(&self, step: Step) -> Result<(Value, Vec<String>), Failure> {
        self.step_while(step, async || {}).await
    }

    /// All steps but the push; the receipt.
    pub(crate) async fn update_while(&self, between: impl AsyncFn()) -> Result<(Receipt, Vec<String>), Failure> {
        for step in [Step::Validate, Step::Activate, Step::Enforce] {
            self.step_while(step, &between).await?;
        }
        let (receipt, warnings) = self.step_while(Step::Verify, &between).await?;
        Ok((serde_json::from_value(receipt).unwrap(), warnings))
    }

    pub(crate) async fn update(&self) -> (Receipt, Vec<String>) {
        self.update_while(async || {}).await.unwrap()
    }
}

impl Clone for Run {
    fn clone(&self) -> Self {
        let copy = run(self.id, *self.now.lock().unwrap());
        copy.notes.lock().unwrap().clone_from(&self.notes.lock().unwrap());
        copy
    }
}

fn run(id: i64, now: i64) -> Run {
    Run { id, notes: Mutex::default(), lines: Mutex::default(), now: Mutex::new(now) }
}
