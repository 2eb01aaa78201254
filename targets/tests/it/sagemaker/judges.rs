//! Judges of others: botocore's service models and signer, and moto as an account that enforces signatures and policies.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, Command, Stdio},
    time::Duration,
};

use async_trait::async_trait;
use engine::{
    failure::{Failure, StepError, StepOutcome},
    ids::RunId,
    secrets::Secret,
    step::{Audience, StepContext},
};
use sandbox::sagemaker::SageMaker;
use serde_json::{Value, json};
use targets::{
    spec::BundleContents,
    target::{Look, Receipt, Secrets, ServiceQuery, Work},
};

use super::world::{KEY_ID, REGION, REPOSITORY, STEPS, World, object};
use crate::support::{KEY, Ledger, Run, Step};

/// A Python with the judges.
fn python() -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/code-env");
    let folder = concat!(env!("CARGO_TARGET_TMPDIR"), "/judges-of-aws");
    let out = Command::new(script).args([folder, "python3", "moto[server]==5.2.5"]).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

fn script(name: &str) -> String {
    format!("{}/tests/it/sagemaker/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Judges what a practice SageMaker heard; what kinds of calls there were.
fn judged(calls: &[Value], keys: &Value) -> Vec<String> {
    let mut judge = Command::new(python())
        .args([script("bodies.py"), keys.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = judge.stdin.take().unwrap();
    for call in calls {
        writeln!(input, "{call}").unwrap();
    }
    drop(input);
    let out = judge.wait_with_output().unwrap();
    assert!(out.status.success());
    let verdict: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(verdict["problems"], json!([]));
    verdict["judged"].as_object().unwrap().keys().cloned().collect()
}

#[tokio::test]
async fn bodies_and_signatures_are_what_aws_publishes() {
    let mut world = World::new().await;
    let settings = &mut world.connection().settings;
    settings.insert("roleArn".into(), json!("arn:aws:iam::123456789012:role/deployer"));
    settings.insert("externalId".into(), json!("ours+theirs=both"));
    world.set("createRepository", json!(true));
    world.set("repository", json!("made/here"));
    world.take(&[("v1", 0.25), ("v2", 0.75)]).await;
    world.update().await;
    for rollout in [
        json!({"strategy": "LINEAR", "stepSize": 20, "terminationWaitSeconds": 5, "maximumExecutionSeconds": 3600}),
        json!({"strategy": "ALL_AT_ONCE", "stepType": "INSTANCE_COUNT"}),
    ] {
        world.set("rollout", rollout);
        world.set(
            "dataCapture",
            json!({"enabled": true, "destinationS3Uri": "s3://captured/x", "output": false, "kmsKeyId": "k"}),
        );
        let next = format!("v{}", world.cloud.changes().len());
        world.take(&[(&next, 1.0)]).await;
        world.update().await;
    }
    let endpoint = targets::spec::EndpointSpec { id: "score".into(), kind: None };
    let query = ServiceQuery {
        endpoint,
        body: json!({"features": {"ä": 1}}),
        headers: Vec::new(),
        timeout: Duration::from_secs(5),
    };
    world.target().services().unwrap().query(world.look(), &query).await.unwrap();
    world.service().settings = object(json!({"endpointName": "another", "instanceCount": 3, "tags": {"a b": "c/d=e"}}));
    world.new_run();
    world.update().await;
    world.target().check(&world.spec.infrastructure, &crate::support::OneKey(KEY)).await.unwrap();
    world.step(Step::Remove).await.unwrap();

    let keys = json!({KEY_ID: KEY, "ASIAPRACTICE00000001": "session-secret-1",
        "ASIAPRACTICE00000002": "session-secret-2"});
    let kinds = judged(&world.cloud.captured(), &keys);
    for kind in [
        "ecr.BatchDeleteImage",
        "ecr.CreateRepository",
        "ecr.DescribeImages",
        "ecr.DescribeRepositories",
        "ecr.GetAuthorizationToken",
        "ecr.ListImages",
        "runtime.InvokeEndpoint",
        "sagemaker.CreateEndpoint",
        "sagemaker.CreateEndpointConfig",
        "sagemaker.CreateModel",
        "sagemaker.DeleteEndpoint",
        "sagemaker.DeleteEndpointConfig",
        "sagemaker.DeleteModel",
        "sagemaker.DescribeEndpoint",
        "sagemaker.DescribeEndpointConfig",
        "sagemaker.DescribeModel",
        "sagemaker.ListEndpointConfigs",
        "sagemaker.ListModels",
        "sagemaker.ListTags",
        "sagemaker.UpdateEndpoint",
        "sts.AssumeRole",
        "sts.GetCallerIdentity",
    ] {
        assert!(kinds.iter().any(|one| one == kind), "{kind} was not judged: {kinds:?}");
    }
}

/// An account of moto's, until it is dropped.
struct Account {
    process: Child,
    said: Value,
}

impl Account {
    fn with(policy: &Value) -> Self {
        let mut process = Command::new(python())
            .args([script("account.py"), policy.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { process, said: serde_json::from_str(&line).unwrap() }
    }

    fn text(&self, name: &str) -> String {
        self.said[name].as_str().unwrap().to_owned()
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        // Left to itself it would wait for connections that a client keeps.
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// The policy in the docs.
fn least() -> Value {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/targets/SAGEMAKER.md")).unwrap();
    let json = page.split("```json").nth(1).unwrap().split("```").next().unwrap();
    serde_json::from_str(json).unwrap()
}

/// A run whose secret is moto's.
struct OfMoto<'a>(&'a Run, String);

#[async_trait]
impl StepContext for OfMoto<'_> {
    fn run(&self) -> RunId {
        self.0.run()
    }

    fn attempt(&self) -> u32 {
        self.0.attempt()
    }

    fn note(&self, key: &str) -> Option<Value> {
        self.0.note(key)
    }

    async fn put_note(&self, key: &str, value: Value) -> Result<(), StepError> {
        self.0.put_note(key, value).await
    }

    async fn log(&self, audience: Audience, line: String) {
        self.0.log(audience, line).await;
    }

    async fn now(&self) -> Result<i64, StepError> {
        self.0.now().await
    }

    async fn secret(&self, _: &str) -> Result<Secret, StepError> {
        Ok(Secret::from(self.1.clone()))
    }
}

#[async_trait]
impl Secrets for OfMoto<'_> {
    async fn open(&self, _: &str) -> Result<Secret, Failure> {
        Ok(Secret::from(self.1.clone()))
    }
}

/// A world whose account is moto's; images go to a practice registry, as moto has none.
async fn world_of(account: &Account) -> World {
    let (id, secret) = (account.text("keyId"), account.text("secret"));
    let cloud = SageMaker::start("127.0.0.1:0".parse().unwrap(), REGION, &id, &secret).await.unwrap();
    cloud.add_repository(REPOSITORY);
    let base = cloud.add_base_image("base/node", "1");
    let registry = cloud.url();
    let mut world = World::at(cloud, &account.text("url"), &base).await;
    let settings = &mut world.connection().settings;
    settings.insert("accessKeyId".into(), json!(id));
    settings.insert("ecrEndpointUrl".into(), json!(registry));
    world
}

#[tokio::test]
async fn the_least_rights_are_enough_where_they_are_enforced() {
    let account = Account::with(&least());
    let mut world = world_of(&account).await;
    let secret = account.text("secret");
    let report = {
        let of_moto = OfMoto(&world.run, secret.clone());
        world.target().check(&world.spec.infrastructure, &of_moto).await.unwrap()
    };
    assert_eq!(report.problems, [""; 0]);
    assert!(report.identity.ends_with("user/slipway"), "{}", report.identity);

    let receipt = update(&world, &secret).await;
    assert_eq!(receipt.differences, []);
    let contents = BundleContents::default();
    let of_moto = OfMoto(&world.run, secret.clone());
    let look =
        Look { spec: &world.spec, contents: &contents, secrets: &of_moto, imports: &crate::support::Ledger::default() };
    assert!(world.target().observe(look).await.unwrap().service.unwrap().enabled);
    assert_eq!(world.target().drift(look, &receipt).await.unwrap(), []);
    world.new_run();
    attempt(&world, &secret, Step::Remove).await;

    // The same as a role, with moto's ECR: the policy is the role's, too.
    let settings = &mut world.connection().settings;
    settings.insert("roleArn".into(), json!(account.text("roleArn")));
    settings.remove("ecrEndpointUrl");
    let of_moto = OfMoto(&world.run, secret.clone());
    let failure = world.target().check(&world.spec.infrastructure, &of_moto).await.unwrap_err();
    // The user's policy has no sts:AssumeRole.
    assert_eq!(failure.code.as_str(), "NODE_FORBIDDEN", "{failure}");
    drop(account);

    let mut policy = least();
    let assume = json!({"Effect": "Allow", "Action": ["sts:AssumeRole"], "Resource": "*"});
    policy["Statement"].as_array_mut().unwrap().push(assume);
    let account = Account::with(&policy);
    let mut world = world_of(&account).await;
    let settings = &mut world.connection().settings;
    settings.insert("roleArn".into(), json!(account.text("roleArn")));
    settings.remove("ecrEndpointUrl");
    let of_moto = OfMoto(&world.run, account.text("secret"));
    let report = world.target().check(&world.spec.infrastructure, &of_moto).await.unwrap();
    // The base image lies in another registry than moto's, which is none.
    assert!(report.problems.iter().all(|problem| problem.starts_with("REGISTRY_")), "{:?}", report.problems);
    assert!(report.identity.contains("assumed-role/deployer/slipway"), "{}", report.identity);
}

#[tokio::test]
async fn missing_rights_and_wrong_keys_are_told() {
    let mut policy = least();
    let actions = policy["Statement"][0]["Action"].as_array_mut().unwrap();
    actions.retain(|action| action != "sagemaker:DescribeModel");
    let account = Account::with(&policy);
    let mut world = world_of(&account).await;
    let secret = account.text("secret");
    let check = async |world: &World, secret: &str| {
        let of_moto = OfMoto(&world.run, secret.to_owned());
        world.target().check(&world.spec.infrastructure, &of_moto).await
    };
    assert_eq!(check(&world, &secret).await.unwrap().problems, ["The right sagemaker:DescribeModel is missing."]);
    // Other references: nothing that was kept is used.
    world.connection().settings.insert("secretAccessKey".into(), json!({"$secret": "another"}));
    assert_eq!(check(&world, "wrong").await.unwrap_err().code.as_str(), "NODE_KEY_REJECTED");
}

async fn attempt(world: &World, secret: &str, step: Step) -> Value {
    let (contents, ledger) = (BundleContents::default(), Ledger::default());
    let of_moto = OfMoto(&world.run, secret.to_owned());
    let packages = world.packages();
    let work = Work { spec: &world.spec, contents: &contents, packages, imports: &ledger, run: &of_moto };
    let target = world.target();
    for _ in 0..50 {
        let result = match step {
            Step::Validate => target.validate(&work).await,
            Step::Push => target.push(&work).await,
            Step::Activate => target.activate(&work).await,
            Step::Enforce => target.enforce(&work).await,
            Step::Remove => target.remove(&work).await,
            _ => target.verify(&work).await,
        };
        match result.unwrap() {
            StepOutcome::Done { output, .. } => return output,
            StepOutcome::NotYet { check_in } => world.run.advance(check_in),
        }
    }
    panic!("{step:?} does not end");
}

async fn update(world: &World, secret: &str) -> Receipt {
    let mut output = Value::Null;
    for step in STEPS {
        output = attempt(world, secret, step).await;
    }
    serde_json::from_value(output).unwrap()
}
