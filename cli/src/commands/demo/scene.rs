//! What the demo does, as any client would do it.

use engine::secrets::Secret;
use sandbox::{BundleSpec, SampleConnection, sample_bundle};
use serde_json::{Value, json};

use crate::{
    client::Client,
    commands::{
        say,
        show::{self, Show},
    },
    failure::Failure,
};

const BEFORE: &str = r#"def execute(requesting_user, deployment_id, deployed_project_key, **kwargs):
    print(f"{requesting_user} deploys {deployment_id} to project {deployed_project_key}")
    return HookResult.success("No freeze today.")
"#;

const AFTER: &str = r#"def execute(deployment_id, deployment_report, **kwargs):
    print(f"{deployment_id} is live: {deployment_report['status']}")
    return HookResult.success("Everybody was told.")
"#;

const EVENTS: &str = "subscription($id: ID!) { updateEvents(updateId: $id, afterSeq: 0) {
  seq at kind stepName attempt status retried waitMs pool warnings failure { code message } } }";

/// Plays the scene; true when the update succeeded.
pub(super) async fn play(client: &Client, node_url: &str, node_key: &Secret, python: bool) -> Result<bool, Failure> {
    let created = client
        .run(
            "mutation($input: CreateInfrastructureInput!) { createInfrastructure(input: $input) {
  infrastructure { version } refusals { code message } } }",
            json!({ "input": {
                "id": "production", "stage": "Production", "adminKey": node_key.expose(),
                "settings": {
                    "nodeUrl": node_url,
                    "connectionRemapping": [{ "source": "sql-dev", "target": "sql-prod" }],
                    "permissionsPropagation": "LIMITED",
                    "runAsScenarios": "svc_run",
                    "runAsWebapps": "svc_run",
                },
            } }),
        )
        .await?;
    say("Made infrastructure production: its node, remapping sql-dev to sql-prod, everything run as svc_run.")?;
    if python {
        let version = set_hooks(client, "PRE", "freeze window", BEFORE, &created["infrastructure"]["version"]).await?;
        set_hooks(client, "POST", "tell everybody", AFTER, &version).await?;
        say("Set a pre- and a post-deployment hook.")?;
    } else {
        say(
            "There is no python3 here: the two hooks are left out, so steps pre_hooks/1 and post_hooks/1 will be missing.",
        )?;
    }
    let bundle = BundleSpec {
        connections: vec![SampleConnection {
            name: "sql-dev".to_owned(),
            kind: "PostgreSQL".to_owned(),
            used_by: vec!["dataset customers".to_owned()],
        }],
        ..BundleSpec::new("CHURN", "v1")
    };
    client.upload("churn-v1.zip", sample_bundle(&bundle)).await?;
    say("Uploaded bundle v1 of project CHURN.")?;
    client
        .run(
            "mutation($input: CreateDeploymentInput!) { createDeployment(input: $input) {
  deployment { id } refusals { code message } } }",
            json!({ "input": {
                "id": "churn-production", "projectKey": "CHURN", "infrastructureId": "production", "bundleId": "v1",
                "settings": { "scenarios": [{ "id": "DAILY", "on": true }], "localVariables": { "region": "eu" } },
            } }),
        )
        .await?;
    say("Made deployment churn-production. Its update begins:")?;
    let started = client
        .run(
            "mutation { startUpdate(deploymentId: \"churn-production\", idempotencyKey: \"demo\") {
  update { id } refusals { code message } } }",
            json!({}),
        )
        .await?;
    let id = started["update"]["id"].clone();
    let mut show = Show::new(None);
    let mut events = client.subscribe(EVENTS, json!({ "id": id })).await?;
    while let Some(event) = events.next().await? {
        show.event(&event)?;
    }
    show.end();
    let update = client
        .run(
            "query($id: ID!) { update(id: $id) { status failure { code message } warnings receipt {
  projectKey bundle connections { source target wantedType foundType }
  scenarios { id runAs active } webapps { id runAs active } differences { what found wanted } } } }",
            json!({ "id": id }),
        )
        .await?;
    show::receipt(&update, true)?;
    Ok(matches!(update["status"].as_str(), Some("SUCCEEDED" | "WARNING")))
}

async fn set_hooks(client: &Client, phase: &str, name: &str, code: &str, version: &Value) -> Result<Value, Failure> {
    client
        .run(
            "mutation($phase: HookPhase!, $hooks: [HookInput!]!, $version: Long!) {
  setHooks(infrastructureId: \"production\", phase: $phase, hooks: $hooks, expectedVersion: $version) {
    hooks { name } refusals { code message } } }",
            json!({ "phase": phase, "hooks": [{ "name": name, "code": code }], "version": version }),
        )
        .await?;
    let now = client.run("{ infrastructure(id: \"production\") { version } }", json!({})).await?;
    Ok(now["version"].clone())
}
