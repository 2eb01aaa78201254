//! A run, a ledger, an API node and a worker's host, for tests.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use engine::{
    failure::{Failure, StepError, StepOutcome, StepResult},
    packages::PackageStore,
};
use sandbox::{ApiNode, RunningApiNode, ServiceSpec as Sample, sample_service};
use serde_json::{Map, Value, json};
use targets::{
    TargetType, Targets,
    http::HttpSettings,
    service::{EndpointSpec, ServiceSpec, ServiceVersionSpec},
    spec::{DeploySpec, InfrastructureSpec, PackageSpec},
    target::{Look, Receipt, Target, Work},
    tools::HostSettings,
};

use crate::support::{KEY, Ledger, OneKey, Run, Step};

pub(crate) use crate::support::STEPS;

pub(crate) const SERVICE: &str = "fraud";
/// How long a call whose answer was lost may go on at the node.
pub(crate) const SETTLE: Duration = Duration::from_secs(60);

pub(crate) struct World {
    pub(crate) node: RunningApiNode,
    pub(crate) targets: Targets,
    pub(crate) ledger: Ledger,
    pub(crate) run: Run,
    pub(crate) spec: DeploySpec,
    pub(crate) packages: PackageStore,
    folder: tempfile::TempDir,
}

pub(crate) async fn world() -> World {
    World::on(BTreeMap::new()).await
}

impl World {
    /// With these copy commands declared.
    pub(crate) async fn on(copy_commands: BTreeMap<String, Vec<String>>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir(&path).unwrap();
            path
        };
        let (there, scratch) = (path("packages"), path("scratch"));
        let packages =
            PackageStore::open(folder.path().join("store").to_str().unwrap(), &folder.path().join("staging")).unwrap();
        let node = ApiNode::builder().admin_key(KEY).packages(&there);
        let node = node.start("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let settings = HttpSettings {
            connect_timeout: Duration::from_secs(5),
            call_timeout: Duration::from_secs(10),
            answer_limit: 1024 * 1024,
            ..HttpSettings::default()
        };
        let host = HostSettings {
            scratch,
            copy_commands,
            shared_folders: BTreeMap::from([("shared".to_owned(), there.clone())]),
            ..HostSettings::default()
        };
        let platform = json!({
            "apiNodes": [{"url": node.url(), "adminAPIKey": {"$secret": "key-1"}, "graphitePrefix": null}],
            "delivery": {"mode": "SHARED_FOLDER", "folder": "shared", "nodePath": there},
        });
        let spec = DeploySpec {
            deployment: "fraud-prod".into(),
            installation: String::new(),
            infrastructure: infrastructure(&node, platform),
            package: PackageSpec {
                project_key: SERVICE.into(),
                bundle_id: String::new(),
                sha256: String::new(),
                size: 0,
            },
            deployed_project_key: SERVICE.into(),
            project_folder: None,
            connection_remapping: Vec::new(),
            code_env_remapping: None,
            container_exec_remapping: None,
            code_envs_behavior: None,
            local_variables: None,
            scenarios: BTreeMap::new(),
            disable_automatic_triggers: false,
            acting_user: "deployer".into(),
            service: Some(Box::new(ServiceSpec {
                published_service_id: SERVICE.into(),
                service_id: SERVICE.into(),
                versions: Vec::new(),
                endpoint: None,
                authorization: None,
                auditing: None,
                settings: Map::new(),
            })),
        };
        let targets = Targets::on_host(settings, host).unwrap();
        let mut world = Self { node, targets, ledger: Ledger::default(), run: Run::default(), spec, packages, folder };
        world.run.advance(Duration::from_secs(1_000_000));
        world.take(&[("v1", 1.0)]).await;
        world
    }

    /// The node's folder of packages.
    pub(crate) fn there(&self) -> PathBuf {
        self.folder.path().join("packages")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The names of the files that lie in a folder.
    pub(crate) fn files(folder: &Path) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// What is left in the folder for scratch files.
    pub(crate) fn scratch(&self) -> Vec<String> {
        Self::files(&self.path("scratch").join("slipway-packages"))
    }

    pub(crate) fn settings(&mut self) -> &mut Map<String, Value> {
        &mut self.spec.infrastructure.settings
    }

    pub(crate) fn service(&mut self) -> &mut ServiceSpec {
        self.spec.service.as_mut().unwrap()
    }

    /// Stores versions, and makes them those to deploy, with their shares.
    pub(crate) async fn take(&mut self, versions: &[(&str, f64)]) {
        let mut taken = Vec::new();
        for (version, share) in versions {
            taken.push(self.stored(&Sample::new(SERVICE, version), *share).await);
        }
        self.service().versions = taken;
    }

    pub(crate) async fn stored(&self, sample: &Sample, share: f64) -> ServiceVersionSpec {
        let archive = Bytes::from(sample_service(sample));
        let upload = futures_util::stream::iter([Ok::<_, std::io::Error>(archive)]);
        let staged = self.packages.stage(upload, u64::MAX).await.unwrap();
        self.packages.commit(&staged).await.unwrap();
        let endpoint = |(id, kind): &(String, String)| EndpointSpec { id: id.clone(), kind: Some(kind.clone()) };
        ServiceVersionSpec {
            version: sample.generation.clone(),
            sha256: staged.sha256().to_owned(),
            size: staged.size(),
            probability: share,
            endpoints: sample.endpoints.iter().map(endpoint).collect(),
            auth_method: Some(sample.auth_method.clone()),
            api_keys: Vec::new(),
        }
    }

    /// The next run: what the one before noted is gone.
    pub(crate) fn new_run(&mut self) {
        let now = self.run.now.load(std::sync::atomic::Ordering::SeqCst);
        self.run = Run::default();
        self.run.advance(Duration::from_micros(now as u64));
    }

    pub(crate) fn target(&self) -> std::sync::Arc<dyn Target> {
        self.targets.find(TargetType::Static).unwrap()
    }

    pub(crate) fn look(&self) -> Look<'_> {
        static CONTENTS: std::sync::LazyLock<targets::spec::BundleContents> =
            std::sync::LazyLock::new(Default::default);
        Look { spec: &self.spec, contents: &CONTENTS, secrets: &OneKey(KEY), imports: &self.ledger }
    }

    pub(crate) async fn attempt(&self, step: Step) -> StepResult {
        let contents = Default::default();
        let work = Work {
            spec: &self.spec,
            contents: &contents,
            packages: &self.packages,
            imports: &self.ledger,
            run: &self.run,
        };
        let target = self.target();
        let result = step.attempt(&*target, &work).await;
        let told = format!("{result:?} {:?}", self.run.notes.lock().unwrap());
        assert!(!told.contains(KEY) && !told.contains("s3cret-of-"), "{told}");
        result
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

    /// The failure of one attempt, and whether another is worth it.
    pub(crate) async fn failure(&self, step: Step) -> (Failure, bool) {
        match self.attempt(step).await {
            Err(StepError::Retryable { failure, .. }) => (failure, true),
            Err(StepError::Permanent(failure)) => (failure, false),
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

    /// All steps; the receipt and the warnings of the last.
    pub(crate) async fn update(&self) -> (Receipt, Vec<String>) {
        self.until(Step::Enforce).await.unwrap();
        let (receipt, warnings) = self.step(Step::Verify).await.unwrap();
        (serde_json::from_value(receipt).unwrap(), warnings)
    }

    /// The service as the node has it, without the events.
    pub(crate) fn on_node(&self) -> Value {
        self.node.snapshot()["services"].clone()
    }

    /// The mapping, as the node has it.
    pub(crate) fn mapping(&self) -> BTreeMap<String, f64> {
        let mapping = self.on_node()[SERVICE]["mapping"].clone();
        let entry =
            |entry: &Value| (entry["generation"].as_str().unwrap().to_owned(), entry["proba"].as_f64().unwrap());
        mapping.as_array().map(|all| all.iter().map(entry).collect()).unwrap_or_default()
    }

    /// How often calls of this method and end took effect.
    pub(crate) fn effects(&self, method: &str, end: &str) -> usize {
        let kept = ["RESET", "STATUS", "HTML", "REDIRECT", "CUT_UPLOAD", "REPORT_ERROR"];
        let reached = |call: &sandbox::Call| {
            call.status.is_none_or(|status| status < 400)
                && call.fault.as_deref().is_none_or(|fault| !kept.contains(&fault))
        };
        self.node
            .calls()
            .iter()
            .filter(|call| call.method == method && call.path.ends_with(end) && reached(call))
            .count()
    }
}

pub(crate) fn infrastructure(node: &RunningApiNode, platform: Value) -> InfrastructureSpec {
    let value = json!({
        "id": "api-prod", "kind": "STATIC", "settings": platform, "permissions_propagation": "NONE",
        "node": {"url": node.url(), "key": "key-1", "webapp_run_as_field": "", "settle_ms": SETTLE.as_millis() as u64,
            "call_timeout_ms": 10_000},
    });
    let read: InfrastructureSpec = serde_json::from_value(value).unwrap();
    let named = read.kind.nodes(&read.settings);
    assert_eq!(
        (named[0].node.url.as_str(), named[0].node.key.as_str()),
        (read.node.url.as_str(), read.node.key.as_str())
    );
    read
}
