//! Deployments.

use std::collections::{BTreeMap, BTreeSet};

use deployer::{
    accounts::users,
    deployments::{self, Change, Deployment, NewDeployment, SettingsChange},
    error::{Error, Result},
    governance, infrastructures,
    paging::{Listing, Page},
    projects, status, testing,
    updates::Trouble,
};
use serde_json::{Value, json};
use targets::target::Half;

use crate::{
    Context,
    call::Call,
    documents::{self, DEPLOYMENT_FIELDS, Versions},
    infras::{deployments_where, infra_basic, of_projects},
    messages::{Message, report},
    projects::{packages_of, project_basic},
    read::{Document, renamed},
};

/// All pages of a list.
pub(crate) async fn all<T, F>(mut list: impl FnMut(Page) -> F) -> Result<Vec<T>>
where
    F: Future<Output = Result<Listing<T>>>,
{
    let mut found = Vec::new();
    let mut page = Page::new(Some(100), None)?;
    loop {
        let listing = list(page).await?;
        let (has_next, last) = (listing.has_next, listing.items.last().map(|(cursor, _)| cursor.clone()));
        found.extend(listing.items.into_iter().map(|(_, item)| item));
        match last {
            Some(cursor) if has_next => page = Page::new(Some(100), Some(&cursor))?,
            _ => return Ok(found),
        }
    }
}

/// What people read for logins.
pub(crate) struct Names(BTreeMap<String, String>);

impl Names {
    /// Of whoever made or changed these deployments.
    pub(crate) async fn of(context: &Context<'_>, deployments: &[Deployment]) -> Result<Self> {
        let logins: BTreeSet<String> =
            deployments.iter().flat_map(|one| [one.created_by.clone(), one.updated_by.clone()]).collect();
        let logins: Vec<String> = logins.into_iter().collect();
        let found = users::by_logins(context.deployer, context.viewer, &logins).await?;
        Ok(Self(found.into_iter().map(|(login, user)| (login, user.display_name)).collect()))
    }

    /// Of one of them.
    pub(crate) fn name<'a>(&'a self, login: &'a str) -> &'a str {
        self.0.get(login).map_or(login, String::as_str)
    }
}

/// What lists say of a deployment.
pub(crate) fn basic(one: &Deployment, names: &Names) -> Value {
    json!({
        "id": one.id,
        "infraId": one.infrastructure_id,
        "tags": one.settings.tags,
        "createdByDisplayName": names.name(&one.created_by),
        "lastModifiedByDisplayName": names.name(&one.updated_by),
        "publishedProjectKey": one.project_key,
        "bundleId": one.bundle_id,
        "deployedProjectKey": one.deployed_project_key,
    })
}

/// The light status of these deployments: those whose infrastructure and project the viewer sees, too.
async fn lights(context: &Context<'_>, deployments: &[Deployment]) -> Result<Vec<Value>> {
    let names = Names::of(context, deployments).await?;
    let (infras, keys): (BTreeSet<String>, BTreeSet<String>) =
        deployments.iter().map(|one| (one.infrastructure_id.clone(), one.project_key.clone())).unzip();
    let (infras, keys): (Vec<_>, Vec<_>) = (infras.into_iter().collect(), keys.into_iter().collect());
    let infras = infrastructures::by_ids(context.deployer, context.viewer, &infras).await?;
    let found = projects::by_keys(context.deployer, context.viewer, &keys).await?;
    let bundles = packages_of(context, &keys).await?;
    let ids: Vec<String> = deployments.iter().map(|one| one.id.clone()).collect();
    let deployed = status::ever_deployed(context.deployer, context.viewer, &ids).await?;
    let none = Vec::new();
    let light = |one: &Deployment| {
        // A right may have gone since the deployments were read.
        let (infra, project) = (infras.get(&one.infrastructure_id)?, found.get(&one.project_key)?);
        Some(json!({
            "deploymentBasicInfo": basic(one, &names),
            "infraBasicInfo": infra_basic(infra),
            "projectBasicInfo": project_basic(project),
            "packages": bundles.get(&one.project_key).map_or(&none, |packages| packages),
            "neverEverDeployed": !deployed.contains(&one.id),
        }))
    };
    Ok(deployments.iter().filter_map(light).collect())
}

pub(crate) async fn list(context: &Context<'_>) -> Result<Value> {
    let deployments = deployments_where(context, of_projects()).await?;
    lights(context, &deployments).await.map(Value::Array)
}

/// The deployment.
pub(crate) async fn get(context: &Context<'_>, id: &str) -> Result<Deployment> {
    let found = deployments::get(context.deployer, context.viewer, id).await?;
    found.filter(|one| one.half == Half::Project).ok_or_else(|| Error::not_found("deploymentId"))
}

pub(crate) async fn light(context: &Context<'_>, id: &str) -> Result<Value> {
    let one = get(context, id).await?;
    lights(context, &[one]).await?.pop().ok_or_else(|| Error::not_found("deploymentId"))
}

pub(crate) async fn create(context: &Context<'_>, call: &Call) -> Result<Value> {
    let mut document = Document::of(call.json()?)?;
    let new = NewDeployment {
        id: document.required("deploymentId")?,
        project_key: document.required("publishedProjectKey")?,
        infrastructure_id: document.required("infraId")?,
        bundle_id: document.required("bundleId")?,
        deployed_project_key: document.text("deployedProjectKey")?.filter(|key| !key.is_empty()),
        ignore_warnings: call.flag("ignoreWarnings")?.unwrap_or(false),
        settings: SettingsChange { project_folder: document.named("projectFolderId")?, ..Default::default() },
    };
    let made = deployments::create(context.deployer, context.viewer, new).await;
    let made = made.map_err(|error| renamed(renamed(error, DEPLOYMENT_FIELDS), &[("id", "deploymentId")]))?;
    let names = Names::of(context, std::slice::from_ref(&made)).await?;
    Ok(json!({"deploymentBasicInfo": basic(&made, &names)}))
}

pub(crate) async fn settings(context: &Context<'_>, id: &str) -> Result<Value> {
    Ok(documents::deployment(&get(context, id).await?))
}

pub(crate) async fn save(context: &Context<'_>, id: &str, call: &Call) -> Result<Value> {
    let one = get(context, id).await?;
    let mut document = Document::of(call.json()?)?;
    let ignore_warnings = call.flag("ignoreWarnings")?.unwrap_or(false);
    let now = Versions { newest: one.version, by: &one.updated_by, other: one.other_version };
    let version = documents::expected_version(call, &mut document, context.viewer, now)?;
    let change = Change { ignore_warnings, ..documents::deployment_change(&one, document, version)? };
    let saved = deployments::update_settings(context.deployer, context.viewer, id, change).await;
    saved.map(|_| json!({})).map_err(|error| renamed(error, DEPLOYMENT_FIELDS))
}

pub(crate) async fn delete(context: &Context<'_>, id: &str) -> Result<Value> {
    get(context, id).await?;
    let deleted = deployments::delete(context.deployer, context.viewer, id).await;
    deleted.map(|()| json!({})).map_err(|error| renamed(error, &[("id", "deploymentId")]))
}

/// The health, asked of the node. A node that does not answer is bad health, and no error.
pub(crate) async fn heavy(context: &Context<'_>, id: &str) -> Result<Value> {
    get(context, id).await?;
    let heavy = status::heavy(context.deployer, context.viewer, id).await;
    Ok(health(heavy.map_err(|error| renamed(error, &[("id", "deploymentId")]))?))
}

/// The health of a deployment, for a client.
pub(crate) fn health(heavy: status::Heavy) -> Value {
    let message = |one: status::Message| Message {
        severity: one.severity.into(),
        code: one.code,
        title: one.title,
        message: one.message,
        details: one.details,
    };
    let messages: Vec<Message> = heavy.messages.into_iter().map(message).collect();
    let scenarios = heavy.monitoring;
    json!({
        "deploymentId": heavy.deployment_id,
        "health": heavy.health.as_str(),
        "healthMessages": report(&messages),
        "monitoring": {
            "hasScenarios": scenarios.has_scenarios,
            "hasActiveScenarios": scenarios.has_active_scenarios,
            "failed": scenarios.failed,
            "warning": scenarios.warning,
            "successful": scenarios.successful,
            "aborted": scenarios.aborted,
            "running": scenarios.running,
        },
    })
}

/// A client's name for which of several nodes.
const NODE: &str = "automationNodeId";

fn testing(status: &targets::on_node::TestingStatus) -> Value {
    json!({"nbTotalRanScenarios": status.ran, "nbScenariosPerOutcome": status.per_outcome})
}

/// What the node said, or why it said nothing.
fn told<T>(told: testing::Told<T>) -> Result<T> {
    match told {
        testing::Told::Found(found) => Ok(found),
        testing::Told::Failed(Trouble { code, message, .. }) => {
            Err(Error::refused("NODE_FAILED", format!("{message} ({code})")))
        }
    }
}

pub(crate) async fn testing_status(context: &Context<'_>, id: &str, call: &Call) -> Result<Value> {
    let found = testing::status(context.deployer, context.viewer, id, call.text("bundleId"), call.text(NODE)).await;
    let found = found.map_err(|error| renamed(error, &[("id", "deploymentId"), ("node", NODE)]))?;
    told(found).map(|status| testing(&status))
}

/// Waits until the test scenarios have ended.
pub(crate) async fn run_tests(context: &Context<'_>, id: &str, call: &Call) -> Result<Value> {
    let ran = testing::run(context.deployer, context.viewer, id, call.text(NODE)).await;
    let ran = told(ran.map_err(|error| renamed(error, &[("id", "deploymentId"), ("node", NODE)]))?)?;
    let mut answer = testing(&ran.status);
    answer["unfinished"] = json!(ran.unfinished);
    Ok(answer)
}

/// What the governance source says of a bundle; nothing without a source.
pub(crate) async fn governance_status(context: &Context<'_>, id: &str, call: &Call) -> Result<Value> {
    governance(context, id, call.text("bundleId")).await
}

/// The same of a package that is named, or of the deployment's own.
pub(crate) async fn governance(context: &Context<'_>, id: &str, package: Option<&str>) -> Result<Value> {
    let found = governance::status(context.deployer, context.viewer, id, package).await?;
    let message = |one: targets::governance::Message| Message {
        severity: one.severity.into(),
        code: one.code,
        title: one.title,
        message: one.message,
        details: None,
    };
    Ok(report(&found.messages.into_iter().map(message).collect::<Vec<_>>()))
}
