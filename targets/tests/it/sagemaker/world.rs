//! A run, a spec and a practice SageMaker.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use engine::{
    failure::{Failure, StepError, StepOutcome, StepResult},
    packages::PackageStore,
};
use sandbox::{sagemaker::SageMaker, sample_service};
use serde_json::{Map, Value, json};
use targets::{
    TargetType, Targets,
    http::HttpSettings,
    spec::{BundleContents, ConnectionSpec, DeploySpec, EndpointSpec, ServiceSpec, ServiceVersionSpec},
    target::{Look, Receipt, Target, Work},
    tools::HostSettings,
};

use crate::support::{KEY, Ledger, OneKey, Run, Step, targets};

pub(crate) const KEY_ID: &str = "AKIAPRACTICE00000001";
pub(crate) const REGION: &str = "eu-west-1";
pub(crate) const REPOSITORY: &str = "team/services";
pub(crate) const STEPS: [Step; 5] = [Step::Validate, Step::Push, Step::Activate, Step::Enforce, Step::Verify];

/// Everything that a deployment needs.
pub(crate) struct World {
    pub(crate) cloud: SageMaker,
    targets: Targets,
    ledger: Ledger,
    pub(crate) run: Run,
    pub(crate) spec: DeploySpec,
    contents: BundleContents,
    packages: PackageStore,
    _folder: tempfile::TempDir,
}

pub(crate) fn object(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

impl World {
    pub(crate) async fn new() -> Self {
        let cloud = SageMaker::start("127.0.0.1:0".parse().unwrap(), REGION, KEY_ID, KEY).await.unwrap();
        cloud.add_repository(REPOSITORY);
        let base = cloud.add_base_image("base/node", "1");
        let url = cloud.url();
        Self::at(cloud, &url, &base).await
    }

    /// With AWS' services at `url`.
    pub(crate) async fn at(cloud: SageMaker, url: &str, base: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("store");
        let packages = PackageStore::open(store.to_str().unwrap(), &folder.path().join("staging")).unwrap();
        let spec = json!({
            "deployment": "churn-prod",
            "infrastructure": {
                "id": "prod",
                "kind": "SAGEMAKER",
                "settings": {
                    "executionRoleArn": "arn:aws:iam::123456789012:role/sagemaker-execution",
                    "repository": REPOSITORY,
                    "baseImage": base,
                    "instanceType": "ml.c5.large",
                    "environment": {"MODE": "prod"},
                    "tags": {"team": "data"},
                    "vpc": {"subnets": ["subnet-1"], "securityGroupIds": ["sg-1"]},
                    "kmsKeyId": "alias/volumes",
                    "dataCapture": {"enabled": true, "destinationS3Uri": "s3://captured/churn", "samplingPercentage": 50},
                    "rollout": {"strategy": "CANARY", "waitSeconds": 60, "rollbackAlarms": ["churn-errors"]},
                },
                "connection": {
                    "id": "aws",
                    "kind": "AWS",
                    "settings": {
                        "region": REGION,
                        "accessKeyId": KEY_ID,
                        "secretAccessKey": {"$secret": "key-1"},
                        "endpointUrl": url,
                    },
                },
                "node": {"url": "", "key": "", "webapp_run_as_field": "", "settle_ms": 60_000, "call_timeout_ms": 10_000},
                "permissions_propagation": "NONE",
            },
            "package": {"project_key": "churn", "bundle_id": "v1", "sha256": "", "size": 0},
            "deployed_project_key": "churn",
            "acting_user": "deployer",
        });
        let mut spec: DeploySpec = serde_json::from_value(spec).unwrap();
        spec.service = Some(Box::new(ServiceSpec {
            published_service_id: "churn".into(),
            service_id: "churn".into(),
            versions: Vec::new(),
            endpoint: Some("score".into()),
            authorization: None,
            auditing: None,
            settings: Map::new(),
        }));
        let mut world = Self {
            cloud,
            targets: targets(),
            ledger: Ledger::default(),
            run: Run::default(),
            spec,
            contents: BundleContents::default(),
            packages,
            _folder: folder,
        };
        world.run.advance(Duration::from_secs(1_000_000));
        world.take(&[("v1", 1.0)]).await;
        world
    }

    pub(crate) fn service(&mut self) -> &mut ServiceSpec {
        self.spec.service.as_mut().unwrap()
    }

    /// Makes these the versions to deploy, in another run.
    pub(crate) async fn take(&mut self, versions: &[(&str, f64)]) {
        let mut all = Vec::new();
        for (version, probability) in versions {
            let archive = Bytes::from(sample_service(&sandbox::ServiceSpec::new("churn", version)));
            let pieces = futures_util::stream::iter([Ok::<_, std::io::Error>(archive)]);
            let staged = self.packages.stage(pieces, u64::MAX).await.unwrap();
            self.packages.commit(&staged).await.unwrap();
            all.push(ServiceVersionSpec {
                version: (*version).to_owned(),
                sha256: staged.sha256().to_owned(),
                size: staged.size(),
                probability: *probability,
                endpoints: vec![EndpointSpec { id: "score".into(), kind: Some("STD_PREDICTION".into()) }],
                auth_method: Some("PUBLIC".into()),
                api_keys: Vec::new(),
            });
        }
        self.spec.package.bundle_id.clone_from(&all[0].version);
        self.service().versions = all;
        self.new_run();
    }

    pub(crate) fn new_run(&mut self) {
        let now = self.run.now.load(Ordering::SeqCst);
        self.run = Run { now: now.into(), ..Run::default() };
    }

    pub(crate) fn connection(&mut self) -> &mut ConnectionSpec {
        self.spec.infrastructure.connection.as_mut().unwrap()
    }

    pub(crate) fn set(&mut self, name: &str, value: Value) {
        self.spec.infrastructure.settings.insert(name.to_owned(), value);
    }

    pub(crate) fn target(&self) -> Arc<dyn Target> {
        self.targets.find(TargetType::Sagemaker).unwrap()
    }

    pub(crate) fn targets(&self) -> &Targets {
        &self.targets
    }

    /// In a process whose operator says this.
    pub(crate) fn on_host(&mut self, host: HostSettings) {
        self.targets = Targets::on_host(HttpSettings::default(), host).unwrap();
    }

    pub(crate) fn packages(&self) -> &PackageStore {
        &self.packages
    }

    pub(crate) fn look(&self) -> Look<'_> {
        Look { spec: &self.spec, contents: &self.contents, secrets: &OneKey(KEY), imports: &self.ledger }
    }

    /// One attempt.
    pub(crate) async fn attempt(&self, step: Step) -> StepResult {
        let work = Work {
            spec: &self.spec,
            contents: &self.contents,
            packages: &self.packages,
            imports: &self.ledger,
            run: &self.run,
        };
        let target = self.target();
        let result = step.attempt(&*target, &work).await;
        let told = format!("{result:?} {:?}", self.run.notes.lock().unwrap());
        for secret in [KEY, "session-secret", "session-token", "practice-registry-password"] {
            assert!(!told.contains(secret), "{told}");
        }
        result
    }

    /// Attempts until the step is done or fails for good; time passes as the step asks.
    pub(crate) async fn step(&self, step: Step) -> Result<(Value, Vec<String>), Failure> {
        for _ in 0..200 {
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

    pub(crate) async fn until(&self, last: Step) {
        for step in STEPS {
            self.step(step).await.unwrap();
            if step == last {
                break;
            }
        }
    }

    /// All steps; the receipt.
    pub(crate) async fn update(&self) -> Receipt {
        self.until(Step::Enforce).await;
        let (receipt, _) = self.step(Step::Verify).await.unwrap();
        serde_json::from_value(receipt).unwrap()
    }

    /// How often each kind of change was made, since `from`.
    pub(crate) fn changes(&self, from: usize) -> Vec<String> {
        self.cloud.changes().into_iter().skip(from).map(|(operation, _)| operation).collect()
    }

    /// The only endpoint.
    pub(crate) fn endpoint(&self) -> (String, Value) {
        let effects = self.cloud.effects();
        let endpoints = effects["endpoints"].as_object().unwrap();
        assert_eq!(endpoints.len(), 1, "{endpoints:?}");
        let (name, endpoint) = endpoints.iter().next().unwrap();
        (name.clone(), endpoint.clone())
    }
}
