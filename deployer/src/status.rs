//! How a deployment is: what is known of it here, and, with a look at its node, its health.
//!
//! * [`light`]: without asking the node.
//! * [`heavy`]: its health, with messages, and how its scenarios ended. A node that does not answer is bad health, never an error.
//! * [`changes`](mod@changes): what is set otherwise than it was deployed.

pub mod changes;
mod judge;

use std::collections::{BTreeMap, BTreeSet};

use engine::{
    failure::{Code, Failure},
    journal::Status,
};
use entities::{bundle, deployment, run};
use futures_util::future::try_join_all;
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _, QuerySelect as _, sea_query::Query};
use serde_json::json;
use targets::{
    on_node::{OnNode, Outcome},
    spec::{BundleContents, DeploySpec, NodePlace},
    target::{Half, Look},
};

use crate::{
    Deployer,
    bundles::{self, Bundle},
    deployments::Settings,
    deployments::{self, Deployment},
    drift,
    error::{Error, Result},
    freeze, halves,
    imports::Records,
    infrastructures::{self, Infrastructure},
    live::{self, Standing},
    paging::Page,
    platform::{self, Opener},
    projects::{self, Project},
    rights::{self, Access, Level},
    services::{
        self, Service,
        versions::{self, Version},
    },
    updates::{Trouble, UpdateType},
    viewer::Viewer,
};

/// What is known of a deployment without asking its node.
#[derive(Clone, Debug, PartialEq)]
pub struct Light {
    /// The deployment.
    pub deployment: Deployment,
    /// Its infrastructure, as far as the viewer may see it.
    pub infrastructure: Infrastructure,
    /// Its published project.
    pub project: Project,
    /// The bundles of its published project, newest first; at most [`MOST_PACKAGES`].
    pub packages: Vec<Bundle>,
    /// No update of it ever succeeded.
    pub never_ever_deployed: bool,
}

/// So many successes back is it looked for whether a web app ran.
const LOOKED_BACK: u64 = 20;

/// So many bundles are listed.
pub const MOST_PACKAGES: usize = 1_000;

/// How a deployment is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heavy {
    /// Its id.
    pub deployment_id: String,
    /// At a glance: the worst of what the messages say.
    pub health: Health,
    /// Why, the worst first.
    pub messages: Vec<Message>,
    /// How its scenarios are.
    pub monitoring: Monitoring,
    /// Where an API service is called, by node; without a name where there is one place. Empty while nobody knows.
    pub urls: Vec<(Option<String>, String)>,
}

/// The health of a deployment, from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Health {
    /// It is on the node as it is set, and works.
    Healthy,
    /// Nobody can say: it was never deployed, or it is disabled.
    Unknown,
    /// It works, with something to look at.
    Warning,
    /// It is on the node as it is set, but a scenario fails or a web app stopped.
    Unhealthy,
    /// What is on the node is otherwise than it is set, or than it was left.
    OutOfSync,
    /// Its last update failed, or its node can't be asked.
    Error,
}

impl Health {
    /// Its stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "HEALTHY",
            Self::Unknown => "UNKNOWN",
            Self::Warning => "WARNING",
            Self::Unhealthy => "UNHEALTHY",
            Self::OutOfSync => "OUT_OF_SYNC",
            Self::Error => "ERROR",
        }
    }
}

/// How bad a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// All is well.
    Success,
    /// Good to know.
    Info,
    /// Look at it.
    Warning,
    /// Mend it.
    Error,
}

impl Severity {
    /// Its stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "SUCCESS",
            Self::Info => "INFO",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
        }
    }
}

/// One thing to know about a deployment's health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// How bad it is.
    pub severity: Severity,
    /// A stable code: of docs/HEALTH.md, or of a failure.
    pub code: String,
    /// A few words.
    pub title: String,
    /// What is, and what to do.
    pub message: String,
    /// What we saw, if the viewer may see it.
    pub details: Option<String>,
}

/// The scenarios of a deployed project: names by how their last run ended, each list in alphabetical order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Monitoring {
    /// It has any.
    pub has_scenarios: bool,
    /// The triggers of any are on.
    pub has_active_scenarios: bool,
    /// Those that failed.
    pub failed: Vec<String>,
    /// Those that ended with a warning.
    pub warning: Vec<String>,
    /// Those that succeeded.
    pub successful: Vec<String>,
    /// Those that somebody stopped.
    pub aborted: Vec<String>,
    /// Those that run now.
    pub running: Vec<String>,
}

impl Monitoring {
    /// Of all nodes together; what goes differently on two of them is named under both.
    fn of<'a>(nodes: impl Iterator<Item = &'a OnNode> + Clone) -> Self {
        let mut each: BTreeMap<Option<Outcome>, BTreeSet<String>> = BTreeMap::new();
        let scenarios = nodes.flat_map(|there| &there.scenarios);
        for scenario in scenarios.clone() {
            let outcome = match (scenario.running, scenario.last) {
                (true, _) => None,
                (false, Some(last)) => Some(last.outcome),
                (false, None) => continue,
            };
            each.entry(outcome).or_default().insert(scenario.name.clone());
        }
        let mut named = |outcome: Option<Outcome>| each.remove(&outcome).unwrap_or_default().into_iter().collect();
        Self {
            has_scenarios: scenarios.clone().next().is_some(),
            has_active_scenarios: scenarios.clone().any(|scenario| scenario.active),
            failed: named(Some(Outcome::Failed)),
            warning: named(Some(Outcome::Warning)),
            successful: named(Some(Outcome::Success)),
            aborted: named(Some(Outcome::Aborted)),
            running: named(None),
        }
    }
}

/// What is known of the deployment of an API service without asking its platform.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceLight {
    /// The deployment.
    pub deployment: Deployment,
    /// Its infrastructure, as far as the viewer may see it.
    pub infrastructure: Infrastructure,
    /// Its published service.
    pub service: Service,
    /// The versions of its published service, newest first; at most [`MOST_PACKAGES`].
    pub packages: Vec<Version>,
    /// No update of it ever succeeded.
    pub never_ever_deployed: bool,
}

/// What is known of the deployment of an API service without asking its platform.
///
/// # Errors
/// `NOT_FOUND`, also for a deployment of a project.
pub async fn service_light(deployer: &Deployer, viewer: &Viewer, id: &str) -> Result<ServiceLight> {
    let absent = || Error::not_found("id");
    let deployment = deployments::get(deployer, viewer, id).await?.filter(|found| found.half == Half::Api);
    let deployment = deployment.ok_or_else(absent)?;
    let place = infrastructures::get(deployer, viewer, &deployment.infrastructure_id).await?.ok_or_else(absent)?;
    let id = deployment.project_key.clone();
    let service = services::get(deployer, viewer, &id).await?.ok_or_else(absent)?;
    let mut packages = versions::newest_of(deployer, viewer, std::slice::from_ref(&id), MOST_PACKAGES).await?;
    let packages = packages.remove(&id).unwrap_or_default();
    let never_ever_deployed = !live::ever_deployed(deployer.db.pool(), &deployment.id).await?;
    Ok(ServiceLight { deployment, infrastructure: place, service, packages, never_ever_deployed })
}

/// What is known of a deployment without asking its node.
///
/// # Errors
/// `NOT_FOUND`, also for a deployment of an API service.
pub async fn light(deployer: &Deployer, viewer: &Viewer, id: &str) -> Result<Light> {
    let absent = || Error::not_found("id");
    let deployment = deployments::get(deployer, viewer, id).await?.filter(|found| found.half == Half::Project);
    let deployment = deployment.ok_or_else(absent)?;
    let place = infrastructures::get(deployer, viewer, &deployment.infrastructure_id).await?.ok_or_else(absent)?;
    let project = projects::get(deployer, viewer, &deployment.project_key).await?.ok_or_else(absent)?;
    let mut packages = Vec::new();
    let mut page = Page::new(Some(100), None)?;
    loop {
        let listing = bundles::list(deployer, viewer, &deployment.project_key, &page).await?.ok_or_else(absent)?;
        let more = listing.has_next;
        let last = listing.items.last().map(|(cursor, _)| cursor.clone());
        packages.extend(listing.items.into_iter().map(|(_, bundle)| bundle));
        match last.filter(|_| more && packages.len() < MOST_PACKAGES) {
            Some(cursor) => page = Page::new(Some(100), Some(&cursor))?,
            None => break,
        }
    }
    let never_ever_deployed = !live::ever_deployed(deployer.db.pool(), id).await?;
    Ok(Light { deployment, infrastructure: place, project, packages, never_ever_deployed })
}

/// Those of these deployments of which an update ever succeeded, as far as the viewer may see them. One query, however many.
///
/// # Errors
/// Faults only.
pub async fn ever_deployed(deployer: &Deployer, viewer: &Viewer, ids: &[String]) -> Result<BTreeSet<String>> {
    let seen = Query::select()
        .column(deployment::Column::Id)
        .from(deployment::Entity)
        .and_where(deployment::Column::Id.is_in(projects::storable(ids)))
        .cond_where(rights::deployments_where(viewer, Access::See))
        .to_owned();
    let found: Vec<String> = run::Entity::find()
        .select_only()
        .column(run::Column::DeploymentId)
        .distinct()
        .filter(run::Column::DeploymentId.in_subquery(seen))
        .filter(run::Column::Status.is_in([Status::Succeeded.as_str(), Status::Warning.as_str()]))
        .into_tuple()
        .all(deployer.db.pool())
        .await?;
    Ok(found.into_iter().collect())
}

/// The health of a deployment. Asks its node, unless nothing of it is there; looks are kept for a moment, so that many questions in a row are quick.
///
/// # Errors
/// `NOT_FOUND`.
pub async fn heavy(deployer: &Deployer, viewer: &Viewer, id: &str) -> Result<Heavy> {
    let db = deployer.db.pool();
    let row = rights::require_deployment(db, viewer, id, Access::See, "id").await?;
    let admin = rights::infrastructure_level(db, viewer, &row.infrastructure_id).await? >= Level::Admin;
    let standing = Standing::read(db, id).await?;
    let target = platform::of_deployment(deployer, &row).await?;
    let settings = Settings::read(&row.settings)?;
    let serving = standing.live.as_ref().is_some_and(|live| live.kind.deploys());
    // An API service is switched off by the next update; until then it is as live as before.
    let pending_off = settings.disabled && settings.api.is_some() && serving;
    let disabled = settings.disabled && !pending_off;
    let mut facts = judge::Facts {
        standing: &standing,
        now: None,
        nodes: Vec::new(),
        refused: None,
        drift: None,
        earlier: Vec::new(),
        disabled,
        half_enabled: match &standing.live {
            Some(live) if live.kind == UpdateType::Disable => live::half_done_since(db, id, live.number).await?,
            _ => false,
        },
        pending_off,
        admin,
        reach: platform::reach(&target)?,
    };
    if let Some(live) = standing.live.as_ref().filter(|live| live.kind.deploys() && !disabled) {
        let now = present(deployer, &row, &live.requester).await;
        let (now, refused) = split(now)?;
        if let Some(now) = &now {
            let places = now.infrastructure.places();
            // A service is looked at as it was deployed: what was set since is not there yet.
            let there = match now.service {
                Some(_) => {
                    let mut infrastructure = now.infrastructure.clone();
                    platform::as_deployed(&*target, &live.body, &mut infrastructure)?;
                    DeploySpec { infrastructure, ..live.body.clone() }
                }
                None => now.clone(),
            };
            let looks = places.iter().map(|place| look(deployer, &row, &there, *place, live.run.0));
            let looks = try_join_all(looks).await?;
            let named = places.iter().zip(looks).map(|(place, looked)| (place.name.map(str::to_owned), looked));
            facts.nodes = named.collect();
            let stopped = |there: &OnNode| there.webapps.iter().any(|app| !app.running);
            if facts.nodes.iter().any(|(_, looked)| looked.as_ref().is_ok_and(stopped)) {
                facts.earlier = live::successes(db, id, LOOKED_BACK).await?;
            }
        }
        (facts.now, facts.refused) = (now, refused);
        facts.drift = drift::found_since(deployer, id, live.run).await?;
    }
    let monitoring = Monitoring::of(facts.nodes.iter().filter_map(|(_, looked)| looked.as_ref().ok()));
    let (health, messages) = judge::judge(&facts)?;
    let urls = facts.nodes.iter().filter_map(|(name, looked)| Some((name, looked.as_ref().ok()?.service.as_ref()?)));
    let urls = urls.flat_map(|(name, service)| service.urls.iter().map(move |url| (name.clone(), url.clone())));
    Ok(Heavy { deployment_id: row.id, health, messages, monitoring, urls: urls.collect() })
}

/// What an update would deploy now, if `login` asked for it.
async fn present(deployer: &Deployer, row: &deployment::Model, login: &str) -> Result<DeploySpec> {
    let db = deployer.db.pool();
    let package = bundle::Entity::find_by_id((row.project_key.clone(), row.bundle_id.clone())).one(db).await?;
    let package = package.ok_or_else(|| {
        let deleted = halves::package(halves::half_of(&row.project_key));
        Error::field(
            "BUNDLE_UNKNOWN",
            "bundleId",
            format!("The deployment's {deleted} was deleted. Choose another one."),
        )
    })?;
    Ok(freeze::read(db, row, &package, login).await?.0)
}

/// What is refused, such as a missing key, is bad health.
pub(crate) fn split<T>(answer: Result<T>) -> Result<(Option<T>, Option<Failure>)> {
    match answer {
        Ok(value) => Ok((Some(value), None)),
        Err(Error::Refused(refusals)) => {
            let first = refusals.into_iter().next();
            Ok((None, first.map(|refusal| Failure::new(Code::new(refusal.code), refusal.message))))
        }
        Err(fault) => Err(fault),
    }
}

/// Looks at the project on a node, or remembers that somebody just did.
pub(crate) async fn look(
    deployer: &Deployer,
    row: &deployment::Model,
    spec: &DeploySpec,
    place: NodePlace<'_>,
    live: i64,
) -> Result<std::result::Result<OnNode, Failure>> {
    let target = platform::of_deployment(deployer, row).await?;
    let mut spec = spec.clone();
    (spec.infrastructure.node, spec.infrastructure.nodes) = (place.node.clone(), Vec::new());
    // Another key, another address or a newer update: another look.
    let there = &spec.infrastructure;
    let mark = json!([there.node, there.settings, there.connection, row.deployed_project_key, live]).to_string();
    let contents = BundleContents::default();
    let (opener, imports) = (Opener(deployer), Records(&deployer.db));
    let look = target.observe(Look { spec: &spec, contents: &contents, secrets: &opener, imports: &imports });
    // Ids and names have no slash.
    let whose = place.name.map_or_else(|| row.id.clone(), |name| format!("{}/{name}", row.id));
    Ok(deployer.targets.looks().get(&whose, &mark, look).await.map(|there| (*there).clone()))
}

impl Message {
    fn new(severity: Severity, code: &str, title: &str, message: impl Into<String>) -> Self {
        let (code, title) = (code.to_owned(), title.to_owned());
        Self { severity, code, title, message: message.into(), details: None }
    }

    fn of(failure: &Failure, title: &str, admin: bool) -> Self {
        let trouble = Trouble::of(failure, admin);
        Self {
            severity: Severity::Error,
            code: trouble.code,
            title: title.to_owned(),
            message: trouble.message,
            details: trouble.detail,
        }
    }
}
