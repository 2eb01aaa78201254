//! The ready pieces of docs/ci, as far as they can run without their hosts: they are read as their host reads them, and their shell lines run with
//! the variables that it sets, against an installation with a practice node.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use sandbox::BundleSpec;
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

/// The lines of a page's one block of `sh` that holds this.
fn block(page: &str, part: &str) -> String {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(page)).unwrap();
    let mut blocks = text.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.find(|block| block.contains(part)).unwrap_or_else(|| panic!("{page} has no lines with {part}")).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lines_that_make_its_account() {
    let (fleet, _node) = place().await;
    // As beside a `slipway dev`: its data folder, and nothing else.
    let machine = host(&BTreeMap::new());
    symlink(fleet.scratch().at("data"), machine.scratch.path().join(".slipway")).unwrap();
    let settings = block("CI.md", "SLIPWAY_DATABASE_URL");
    let made = shell(&machine, &format!("{settings}\n{}", block("CI.md", "admin user create")));
    made.is(0, &["Made group churn-deployers.", "Made user ci-churn."]);
    let key = made.out.lines().last().unwrap();
    let ci = Client::new(fleet.client.url(), key);
    let viewer = ci.ask("{ viewer { login groups } }", json!({})).await;
    assert_eq!(viewer, json!({"login": "ci-churn", "groups": ["churn-deployers"]}));
    let kind = fleet.client.ask("{ user(login: \"ci-churn\") { kind } }", json!({})).await;
    assert_eq!(kind["kind"], "TECHNICAL");
    // The same in the containers of compose.
    let lines = block("OPERATIONS.md", "api admin user create");
    let lines = lines.replace("docker compose run --rm api ", "slipway ");
    let made = shell(&machine, &format!("{settings}\n{lines}"));
    made.is(0, &["Made group builders.", "Made user ci."]);
    let kind = fleet.client.ask("{ user(login: \"ci\") { kind } }", json!({})).await;
    assert_eq!(kind["kind"], "TECHNICAL");
}

/// Runs the Python script under a code env that has Dataiku's client.
fn python(job: &Job, arguments: &[&str]) -> Ended {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/ci/deploy.py");
    let mut command = Command::new(crate::hook_test::python_with_client());
    // Nothing of it is left in the folder of the sources.
    command.arg("-B").arg(script).args(arguments).env_clear().envs(&job.variables);
    Ended::of(command.current_dir(job.scratch.path()).output().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_script() {
    let (fleet, _node) = place().await;
    let job = Job::of(&fleet.client);
    let v2 = BundleSpec::new("CHURN", "v2");
    let file = job.bundle(&v2);
    python(&job, &[&file, "churn"]).is(0, &["Uploaded bundle v2 of project CHURN", "Health of churn: HEALTHY"]);
    assert_eq!(updates(&fleet.client, "churn").await, 1);
    python(&job, &[&file, "churn"]).is(0, &["there already", "HEALTHY"]);
    // Before anything is uploaded.
    let unseen = job.bundle(&BundleSpec::new("UNSEEN", "v1"));
    let refused = python(&job, &[&unseen, "second"]);
    refused.is(2, &["NOT_FOUND: there is no deployment second", "--infrastructure"]);
    assert!(!refused.out.contains("Uploaded"), "{refused:#?}");
    let projects = fleet.client.ask("{ publishedProject(key: \"UNSEEN\") { key } }", json!({})).await;
    assert!(projects.is_null(), "{projects}");
    let sales = job.bundle(&BundleSpec::new("SALES", "v1"));
    python(&job, &[&sales, "sales", "--infrastructure", "production"]).is(0, &["Making deployment sales", "HEALTHY"]);
    let other = job.bundle(&BundleSpec { release_notes: "other".to_owned(), ..v2 });
    python(&job, &[&other, "churn"]).is(2, &["of another content"]);
    // It waits no longer than it is told to, and tells a failure.
    let file = job.bundle(&BundleSpec::new("CHURN", "v3"));
    let go = job.scratch.at("go");
    fleet.client.set_hooks("production", "PRE", json!([{"name": "gate", "code": super::held_until(&go)}])).await;
    python(&job, &[&file, "churn", "--timeout", "1"]).is(3, &["it goes on"]);
    fs::write(&go, "").unwrap();
    let code = "def execute(**kwargs):\n    raise RuntimeError('there is a freeze\\n::error::boo\\n  ::stop-commands::x ##vso[task.complete]')\n";
    fleet.client.set_hooks("production", "PRE", json!([{"name": "freeze", "code": code}])).await;
    let failed = python(&job, &[&file, "churn"]);
    failed.is(1, &["there is a freeze", "boo", "the update failed"]);
    super::words::commands_nothing(&failed.out);
    super::words::commands_nothing(&failed.err);
    // Who may not, may not.
    let outsider = Job::of(&fleet.user("outsider", &[]));
    python(&outsider, &[&file, "churn"]).is(2, &[]);
    python(&job.with("SLIPWAY_API_KEY", "slw_12345678_wrong"), &[&file, "churn"]).is(2, &[]);
}

#[test]
fn the_python_script_refuses_what_it_cannot_do() {
    let job = Job::new();
    python(&job, &["--help"]).is(0, &["--infrastructure", "--timeout"]);
    python(&job, &["churn.zip", "churn"]).is(2, &["SLIPWAY_URL"]);
    let job = job.with("SLIPWAY_URL", "http://127.0.0.1:9").with("SLIPWAY_API_KEY", "slw_key");
    python(&job, &["churn.zip", "churn"]).is(2, &["churn.zip"]);
    fs::write(job.scratch.at("churn.zip"), "no zip").unwrap();
    python(&job, &["churn.zip", "churn"]).is(2, &["zip file"]);
    // A folder that somebody packed.
    let content = "import zipfile; zipfile.ZipFile('folder.zip', 'w').writestr('a.txt', 'a')";
    let mut pack = Command::new(crate::hook_test::python_with_client());
    assert!(pack.args(["-c", content]).current_dir(job.scratch.path()).status().unwrap().success());
    let refused = python(&job, &["folder.zip", "churn"]);
    refused.is(2, &["folder.zip holds no bundle-manifest.json", "BUNDLE-FORMAT"]);
    assert!(!refused.err.contains("Traceback"), "{refused:#?}");
    python(&job, &["churn.zip"]).is(2, &["deployment"]);
    let file = job.bundle(&BundleSpec::new("CHURN", "v2"));
    python(&job, &[&file, "churn"]).is(1, &["Connection refused"]);
}
