//! A world for one or two attempts: a practice node with a live project, a proxy that stands for everybody else, and the hook under its supervisor.

use std::{collections::BTreeMap, fs::File, io::Write, net::Ipv4Addr, path::Path, time::Duration};

use engine::{
    clock::{boottime_nanos, random_u64},
    secrets::Secret,
};
use sandbox::{BundleSpec, Fault, FaultHandle, FaultKind, Node, Outside, RunningNode, When, sample_bundle};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use worker::hooks::{
    self, ClientAccess, DeploymentReport, HookArguments, HookCall, HookControl, HookEnvironment, HookLimits, HookLine,
    HookOutcome, HookReport,
};

use super::{
    Settings,
    calls::{Made, Whom},
    report::Point,
};
use crate::failure::LabError;

const ADMIN: &str = "admin";

/// One attempt: what it called, what it said, how it ended.
pub(super) struct Attempt {
    pub(super) calls: Vec<Made>,
    pub(super) lines: Vec<HookLine>,
    pub(super) report: HookReport,
}

/// The world.
pub(super) struct Bench {
    /// What hooks get as their idempotency key.
    key: String,
    node: RunningNode,
    node_key: Secret,
    outside: Outside,
    project: String,
    scratch: TempDir,
}

impl Bench {
    pub(super) async fn set(settings: &Settings, key: &str) -> Result<Self, LabError> {
        let scratch = tempfile::Builder::new().prefix("slipway-hook-test-").tempdir()?;
        let sample = scratch.path().join("sample.zip");
        let bundle = match &settings.bundle {
            Some(bundle) => bundle,
            None => {
                File::create(&sample)?.write_all(&sample_bundle(&BundleSpec::new("CHURN", "v1")))?;
                &sample
            }
        };
        let node_key = Secret::new(format!("practice-{:016x}", random_u64()));
        let builder = Node::builder().user(ADMIN, &[], true).admin_key(node_key.expose());
        let file = File::open(bundle).map_err(|error| LabError::failed(bundle.display().to_string(), error))?;
        let builder = builder.ready_for(file).map_err(|error| LabError::failed(bundle.display().to_string(), error))?;
        let node = builder.start((Ipv4Addr::LOCALHOST, 0).into()).await?;
        let project = deploy(&node, &node_key, bundle).await?;
        node.clear_calls();
        let (key, outside) = (key.to_owned(), Outside::open(key).await?);
        Ok(Self { key, node, node_key, outside, project, scratch })
    }

    /// Runs the hook to its end.
    pub(super) async fn attempt(&self, settings: &Settings, number: u32) -> Result<Attempt, LabError> {
        self.run(settings, number, CancellationToken::new()).await
    }

    /// Runs the hook, and kills it with all its processes when this call was done and not answered.
    pub(super) async fn killed_after(&self, settings: &Settings, point: &Point) -> Result<Attempt, LabError> {
        let (kill, ended, held) = (CancellationToken::new(), CancellationToken::new(), self.hold(point)?);
        let running = async {
            let attempt = self.run(settings, 1, kill.clone()).await;
            ended.cancel();
            attempt
        };
        let reached = async {
            match &held {
                Some(held) => held.reached().await,
                None => self.outside.reached().await,
            }
        };
        let killing = async {
            tokio::select! {
                () = reached => kill.cancel(),
                () = ended.cancelled() => {}
            }
        };
        let (attempt, ()) = tokio::join!(running, killing);
        if let Some(held) = held {
            held.disarm();
        }
        attempt
    }

    /// Holds this call back after its effect, whatever else the hook calls before.
    fn hold(&self, point: &Point) -> Result<Option<FaultHandle>, LabError> {
        let Point { call, nth } = point;
        if call.whom == Whom::Outside {
            self.outside.hold(&call.method, call.place(), *nth);
            return Ok(None);
        }
        let fault = Fault::on(&call.method, call.place(), FaultKind::Hold { when: When::After });
        let fault = fault.nth(u32::try_from(*nth).unwrap_or(u32::MAX));
        self.node.arm(fault).map(Some).map_err(|error| LabError::failed("the practice node", error))
    }

    async fn run(&self, settings: &Settings, number: u32, kill: CancellationToken) -> Result<Attempt, LabError> {
        let before = self.node.calls().len();
        let (sender, mut received) = mpsc::channel(256);
        let long = i64::try_from((2 * settings.deadline).as_nanos()).unwrap_or(i64::MAX / 2);
        // Nobody's lease ends here.
        let (_lease, lease_deadline) = watch::channel(boottime_nanos().saturating_add(long));
        let control = HookControl { lease_deadline, cancel: kill };
        let reading = async {
            let mut lines = Vec::new();
            while let Some(line) = received.recv().await {
                lines.push(line);
            }
            lines
        };
        let (report, lines) = tokio::join!(hooks::run(self.call(settings, number), control, sender), reading);
        if let HookOutcome::NotStarted { detail }
        | HookOutcome::InterpreterMissing { detail }
        | HookOutcome::InterpreterFailed { detail } = &report.outcome
        {
            let said: Vec<&str> = lines.iter().map(|line: &HookLine| line.text.as_str()).collect();
            return Err(LabError::failed(
                "the hook's interpreter",
                format!("{detail}\n{}", said.join("\n")).trim_end(),
            ));
        }
        let on_node = self.node.calls();
        let mut calls: Vec<Made> = on_node.iter().skip(before).map(Made::on_node).collect();
        calls.extend(self.outside.take().into_iter().map(Made::outside));
        calls.sort_by_key(|call| call.at);
        Ok(Attempt { calls, lines, report })
    }

    fn call(&self, settings: &Settings, number: u32) -> HookCall {
        let proxy = Some(self.outside.url());
        let report = || DeploymentReport { status: "SUCCESS".to_owned(), messages: Vec::new() };
        HookCall {
            supervisor: settings.supervisor.clone(),
            python: settings.python.clone(),
            code_env: "default".to_owned(),
            os_user: None,
            scratch_root: self.scratch.path().to_owned(),
            environment: HookEnvironment {
                http_proxy: proxy.clone(),
                https_proxy: proxy,
                no_proxy: Some(self.node_address()),
                ..HookEnvironment::default()
            },
            name: "hook".to_owned(),
            code: settings.code.clone(),
            arguments: HookArguments {
                requesting_user: ADMIN.to_owned(),
                deploying_user: ADMIN.to_owned(),
                deployment_id: "hook-test".to_owned(),
                deployment_report: settings.after.then(report),
                deployed_project_key: Some(self.project.clone()),
                extra: BTreeMap::from([
                    ("idempotency_key".to_owned(), self.key.clone().into()),
                    ("attempt".to_owned(), number.into()),
                ]),
            },
            automation: Some(ClientAccess {
                url: format!("http://{}", self.node_address()),
                key: self.node_key.clone(),
                no_check_certificate: false,
            }),
            nodes: BTreeMap::new(),
            deployer: Err("there is no deployer here"),
            limits: HookLimits { deadline: settings.deadline, ..HookLimits::default() },
            secrets: Vec::new(),
        }
    }

    /// By name: Python's `requests` looks at ports in `no_proxy` for names alone, and a hook may call others on this machine.
    fn node_address(&self) -> String {
        format!("localhost:{}", self.node.addr().port())
    }

    /// What is on the node now.
    pub(super) fn end(&self) -> Value {
        self.node.snapshot()
    }

    pub(super) async fn clear(self) {
        self.node.stop().await;
    }
}

/// Makes the bundle live on the node; returns its project's key.
async fn deploy(node: &RunningNode, key: &Secret, bundle: &Path) -> Result<String, LabError> {
    let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60)).build()?;
    let post = async |path: &str, query: &[(&str, &str)]| -> Result<Value, LabError> {
        let request = http.post(format!("{}/dip/publicapi{path}", node.url())).basic_auth(key.expose(), Some(""));
        let answer = request.query(query).body("{}").send().await?;
        let (status, body) = (answer.status(), answer.text().await?);
        let value: Value = serde_json::from_str(&body).unwrap_or(Value::Null);
        let failed = !status.is_success() || value["maxSeverity"] == "ERROR";
        if failed { Err(LabError::failed(format!("the practice node at {path}"), body)) } else { Ok(value) }
    };
    let path = bundle.to_string_lossy();
    let made = post("/projectsFromBundle/fromArchive", &[("archivePath", &*path)]).await?;
    let project = made["projectKey"].as_str().unwrap_or_default().to_owned();
    let id = made["bundleId"].as_str().unwrap_or_default();
    for action in ["preload", "activate"] {
        post(&format!("/projects/{project}/bundles/imported/{id}/actions/{action}"), &[]).await?;
    }
    Ok(project)
}
