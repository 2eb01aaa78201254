//! The ready pieces of docs/ci, as far as they can run without their hosts: they are read as their host reads them, and their shell lines run with
//! the variables that it sets, against an installation with a practice node.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use saphyr::{LoadableYamlNode as _, Yaml};
use serde_json::json;
use tests::{Client, slipway};

use super::{Ended, Job, place, updates};

fn piece(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/ci").join(name)).unwrap()
}

fn yaml(text: &str) -> Yaml<'_> {
    Yaml::load_from_str(text).unwrap().remove(0)
}

/// Texts by name.
fn texts(node: &Yaml<'_>) -> BTreeMap<String, String> {
    let pairs = node.as_mapping().unwrap().iter();
    pairs.map(|(key, value)| (key.as_str().unwrap().to_owned(), value.as_str().unwrap().to_owned())).collect()
}

/// A machine of the host's: the binary is in its path.
fn host(variables: &BTreeMap<String, String>) -> Job {
    let mut job = Job::new();
    let folder: PathBuf = job.scratch.path().join("bin");
    fs::create_dir(&folder).unwrap();
    symlink(slipway::binary(), folder.join("slipway")).unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    job = job.with("PATH", &path);
    variables.iter().fold(job, |job, (name, value)| job.with(name, value))
}

/// Runs lines as a shell script that ends with the first that fails.
fn shell(job: &Job, script: &str) -> Ended {
    let mut command = Command::new("/bin/sh");
    command.args(["-e", "-c", script]).env_clear().envs(&job.variables).current_dir(job.scratch.path());
    Ended::of(command.output().unwrap())
}

/// What is to be deployed to: both stages, one infrastructure.
async fn stages() -> (tests::Fleet, sandbox::RunningNode) {
    let (fleet, node) = place().await;
    for id in ["churn-test", "churn-production"] {
        fleet
            .client
            .deployment(id, "production", ("CHURN", "v1"), &id.to_uppercase().replace('-', "_"), json!({}))
            .await;
    }
    (fleet, node)
}

/// A script deploys, and given again in the same attempt it is the same update; in the next it is another.
async fn deploys_once(client: &Client, deployment: &str, runs: [BTreeMap<String, String>; 2], script: &str) {
    let [first, next] = runs.map(|variables| host(&variables));
    let before = updates(client, deployment).await;
    shell(&first, script).is(0, &["SUCCEEDED"]);
    shell(&first, script).is(0, &["asked for before", "SUCCEEDED"]);
    assert_eq!(updates(client, deployment).await, before + 1);
    shell(&next, script).is(0, &["SUCCEEDED"]);
    assert_eq!(updates(client, deployment).await, before + 2);
    // What went wrong is the job's end.
    let wrong = host(&first.variables).with("SLIPWAY_API_KEY", "slw_12345678_wrong");
    shell(&wrong, script).is(2, &["UNAUTHENTICATED"]);
}

/// The variables of a run and of its next attempt.
fn runs(
    shared: &[(&str, &str)],
    own: [&[(&str, &str)]; 2],
    base: &BTreeMap<String, String>,
) -> [BTreeMap<String, String>; 2] {
    own.map(|own| {
        let more = shared.iter().chain(own).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        base.clone().into_iter().chain(more).collect()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_github_workflow() {
    let (fleet, _node) = stages().await;
    let text = piece("github.yml");
    let workflow = yaml(&text);
    assert!(workflow["on"]["workflow_dispatch"]["inputs"]["bundle"].as_mapping().is_some());
    assert_eq!(workflow["jobs"]["production"]["needs"].as_str(), Some("test"));
    let expressions = [
        ("${{ vars.SLIPWAY_URL }}", fleet.client.url()),
        ("${{ secrets.SLIPWAY_API_KEY }}", fleet.client.key()),
        ("${{ inputs.bundle }}", "v1"),
    ];
    for job in ["test", "production"] {
        let job = &workflow["jobs"][job];
        let mut env = texts(&job["env"]);
        for value in env.values_mut() {
            for (expression, meaning) in expressions {
                *value = value.replace(expression, meaning);
            }
            assert!(!value.contains("${{"), "{value}");
        }
        let steps = job["steps"].as_sequence().unwrap();
        let scripts: Vec<&str> =
            steps.iter().filter_map(|step| step.as_mapping_get("run").and_then(Yaml::as_str)).collect();
        let [script] = scripts[..] else { panic!("one script: {scripts:?}") };
        assert!(!script.contains("${{"), "an expression in a script would be run as shell: {script}");
        let deployment = env["DEPLOYMENT"].clone();
        let github = [("GITHUB_ACTIONS", "true"), ("CI", "true"), ("GITHUB_RUN_ID", "9001")];
        let runs = runs(&github, [&[("GITHUB_RUN_ATTEMPT", "1")], &[("GITHUB_RUN_ATTEMPT", "2")]], &env);
        deploys_once(&fleet.client, &deployment, runs, script).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gitlab_jobs() {
    let (fleet, _node) = stages().await;
    let text = piece("gitlab.yml");
    let all = yaml(&text);
    let lines = all[".deploy"]["script"].as_sequence().unwrap();
    let script = lines.iter().map(|line| line.as_str().unwrap()).collect::<Vec<_>>().join("\n");
    for (job, pipeline) in [("deploy-test", "501"), ("deploy-production", "502")] {
        assert_eq!(all[job]["extends"].as_str(), Some(".deploy"));
        let mut env = texts(&all[job]["variables"]);
        let deployment = env["DEPLOYMENT"].clone();
        for (name, value) in
            [("SLIPWAY_URL", fleet.client.url()), ("SLIPWAY_API_KEY", fleet.client.key()), ("BUNDLE", "v1")]
        {
            env.insert(name.to_owned(), value.to_owned());
        }
        let gitlab = [("GITLAB_CI", "true"), ("CI", "true"), ("CI_PIPELINE_ID", pipeline)];
        let runs = runs(&gitlab, [&[("CI_JOB_ID", "31")], &[("CI_JOB_ID", "32")]], &env);
        deploys_once(&fleet.client, &deployment, runs, &script).await;
    }
    assert!(all["deploy-production"]["rules"][0]["when"].as_str() == Some("manual"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_jenkins_stages() {
    let (fleet, _node) = stages().await;
    let text = piece("Jenkinsfile");
    assert_eq!(text.matches('{').count(), text.matches('}').count());
    let stages: Vec<&str> = text.split("stage('").skip(1).collect();
    assert_eq!(stages.len(), 2);
    for stage in stages {
        let script = stage.split("'''").nth(1).unwrap();
        let deployment = stage.split("DEPLOYMENT = '").nth(1).unwrap().split('\'').next().unwrap();
        let variables = [
            ("SLIPWAY_URL", fleet.client.url()),
            ("SLIPWAY_API_KEY", fleet.client.key()),
            ("BUNDLE", "v1"),
            ("DEPLOYMENT", deployment),
        ];
        assert!(
            ["SLIPWAY_URL = credentials('", "SLIPWAY_API_KEY = credentials('"].iter().all(|part| stage.contains(part))
        );
        let env = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let runs = runs(
            &[("JENKINS_URL", "https://jenkins.example.org/")],
            [
                &[("BUILD_TAG", "jenkins-churn-7"), ("BUILD_NUMBER", "7")],
                &[("BUILD_TAG", "jenkins-churn-8"), ("BUILD_NUMBER", "8")],
            ],
            &env,
        );
        deploys_once(&fleet.client, deployment, runs, script).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_script_refuses_what_it_cannot_do() {
    let (fleet, _node) = place().await;
    let python = crate::hook_test::python_with_client();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/ci/deploy.py").display().to_string();
    let job = Job::new();
    let run = |job: &Job, arguments: &[&str]| {
        let mut command = Command::new(&python);
        // Nothing of it is left in the folder of the sources.
        command.arg("-B").arg(&script).args(arguments).env_clear().envs(&job.variables);
        Ended::of(command.current_dir(job.scratch.path()).output().unwrap())
    };
    run(&job, &["--help"]).is(0, &["--infrastructure", "--timeout"]);
    run(&job, &["churn.zip", "churn"]).is(2, &["SLIPWAY_URL"]);
    let job = Job::of(&fleet.client);
    run(&job, &["churn.zip", "churn"]).is(2, &["churn.zip"]);
    fs::write(job.scratch.at("churn.zip"), "no zip").unwrap();
    run(&job, &["churn.zip", "churn"]).is(2, &["zip file"]);
    run(&job, &["churn.zip"]).is(2, &["deployment"]);
}
