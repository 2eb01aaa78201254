//! Queries through the deployer: what a deployed service says, put to it with the deployer's own credentials. Whoever may deploy may query, and the members of the groups
//! that the deployment names.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use engine::failure::Failure;
use entities::{bundle, deployment};
use sea_orm::EntityTrait as _;
use serde_json::Value;
use targets::{
    codes,
    spec::{Auditing, BundleContents, DeploySpec, EndpointSpec},
    target::{Look, ServiceAnswer, ServiceQuery, Target},
};

use super::{frozen, query_logs};
use crate::{
    Deployer,
    deployments::{ApiSettings, Settings},
    error::{Error, Result},
    freeze,
    imports::Records,
    infrastructures,
    live::{self, Served},
    platform::{self, Opener},
    rights::{self, Access, Level},
    updates::Trouble,
    viewer::Viewer,
};

/// So long a query may take.
const WITHIN: Duration = Duration::from_secs(20);
/// And so long all of a request: its own time limit must not cut off what was answered.
const ALL_WITHIN: Duration = Duration::from_secs(45);
/// The largest query, as JSON, in bytes.
const LARGEST: usize = 1 << 20;
/// So many headers go along with a query.
const MOST_HEADERS: usize = 20;
/// So often a query is put with other keys, while an update changes them.
const MOST_KEYS: usize = 12;
/// After all of them, there is a pause.
const BETWEEN_KEYS: Duration = Duration::from_millis(50);
/// So many queries stand in one request.
pub const MOST: usize = 100;

/// One query.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Query {
    /// As the API node takes it for the endpoint's type.
    pub body: Value,
    /// Sent along: what callers of the service send. None that carry credentials or say how the body is sent.
    pub headers: Vec<(String, String)>,
}

/// What came of one query.
#[derive(Clone, Debug, PartialEq)]
pub enum Answered {
    /// The service answered, perhaps with an error of its own.
    Service(ServiceAnswer),
    /// It could not be asked.
    Failed(Trouble),
}

/// Puts queries to a deployed service, one after the other. Without an endpoint: the only one there is, or the one that the deployment chose.
///
/// # Errors
/// `NOT_FOUND`, `FORBIDDEN`; `NOT_FOR_PROJECTS`; `NOT_DEPLOYED`; `ENDPOINT_UNKNOWN`; `TOO_MANY`, `QUERY_TOO_LARGE`, `HEADER_INVALID`.
pub async fn query(
    deployer: &Deployer,
    viewer: &Viewer,
    deployment_id: &str,
    endpoint: Option<&str>,
    queries: Vec<Query>,
) -> Result<Vec<Answered>> {
    let asked = Asked::of(deployer, viewer, deployment_id, endpoint).await?;
    asked.put_all(deployer, queries).await
}

/// The same with the test queries that the deployed version brings along for the endpoint; answers them, too.
///
/// # Errors
/// As [`query`]; `TEST_QUERIES_MISSING` where it brings none.
pub async fn test(
    deployer: &Deployer,
    viewer: &Viewer,
    deployment_id: &str,
    endpoint: Option<&str>,
) -> Result<Vec<(Query, Answered)>> {
    let asked = Asked::of(deployer, viewer, deployment_id, endpoint).await?;
    let queries = asked.test_queries(deployer).await?;
    let answers = asked.put_all(deployer, queries.clone()).await?;
    Ok(queries.into_iter().zip(answers).collect())
}

fn bound(queries: &[Query]) -> Result<()> {
    if queries.len() > MOST {
        return Err(Error::field("TOO_MANY", "queries", format!("At most {MOST} queries in one request.")));
    }
    for (at, query) in queries.iter().enumerate() {
        if query.body.to_string().len() > LARGEST {
            let message = format!("A query has at most {LARGEST} bytes. Ask the service itself.");
            return Err(Error::field("QUERY_TOO_LARGE", format!("queries[{at}]"), message));
        }
        let fine = |(name, value): &(String, String)| {
            let token = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
            let known = ["authorization", "host", "cookie", "connection", "upgrade", "te", "trailer", "expect"];
            let own = known.contains(&name.to_ascii_lowercase().as_str());
            // What frames the body; what says, to an API server on the way, in whose name one asks.
            let families = ["content-", "transfer-", "proxy-", "impersonate-", "x-remote-"];
            let framing = families.iter().any(|head| name.to_ascii_lowercase().starts_with(head));
            let short = (1..=100).contains(&name.len()) && value.len() <= 1_000;
            short && name.bytes().all(token) && !own && !framing && value.bytes().all(|byte| (32..127).contains(&byte))
        };
        if query.headers.len() > MOST_HEADERS || !query.headers.iter().all(fine) {
            let message = "Headers have short names and plain values, and none that carry credentials, name another user or say how the body is sent.";
            return Err(Error::field("HEADER_INVALID", format!("queries[{at}].headers"), message));
        }
    }
    Ok(())
}

/// A deployed service, and who asks.
struct Asked {
    target: Arc<dyn Target>,
    spec: DeploySpec,
    endpoint: EndpointSpec,
    admin: bool,
}

impl Asked {
    async fn of(deployer: &Deployer, viewer: &Viewer, id: &str, endpoint: Option<&str>) -> Result<Self> {
        let db = deployer.db.pool();
        let field = "deploymentId";
        let row = rights::require_deployment(db, viewer, id, Access::See, field).await?;
        let Some(api) = Settings::read(&row.settings)?.api else {
            let message = "Only API services can be queried. This deployment is of a project.";
            return Err(Error::field("NOT_FOR_PROJECTS", field, message));
        };
        let mine = rights::deployment_rights(db, viewer, std::slice::from_ref(&row)).await?;
        let mine = mine.get(id).copied().unwrap_or_default();
        if !mine.may(Access::Change) && !api.query_groups.iter().any(|group| viewer.groups.contains(group)) {
            return Err(Error::forbidden(
                "the right Deploy on both, or to be in a group that may query through the deployer",
            ));
        }
        let served = live::served(db, id).await?.ok_or_else(|| crate::drift::not_deployed(field))?;
        let spec = now(deployer, &row, &api, served).await?;
        let endpoint = choose(&spec, endpoint)?;
        let target = platform::of_deployment(deployer, &row).await?;
        Ok(Self { target, spec, endpoint, admin: mine.infrastructure >= Level::Admin })
    }

    async fn put_all(&self, deployer: &Deployer, queries: Vec<Query>) -> Result<Vec<Answered>> {
        bound(&queries)?;
        let has_gate = self.target.services().is_none_or(|services| services.has_gate());
        if let Some(at) = queries.iter().position(|query| has_gate && !query.headers.is_empty()) {
            let message = "This platform passes no headers of callers on to the service. Leave them out.";
            return Err(Error::field("HEADER_INVALID", format!("queries[{at}].headers"), message));
        }
        let log = deployer.query_logs.of(deployer, &self.spec).await;
        let mut answers = Vec::with_capacity(queries.len());
        let end = Instant::now() + ALL_WITHIN;
        for query in queries {
            let left = end.saturating_duration_since(Instant::now()).min(WITHIN);
            if left.is_zero() {
                let message = "The queries before it took all the time that a request has. Send it again.";
                answers.push(self.failed(&Failure::new(targets::codes::NODE_TIMED_OUT, message)));
                continue;
            }
            let body = log.is_some().then(|| query.body.clone());
            let answer = self.put(deployer, query, left).await;
            if let (Some(log), Some(body), Answered::Service(told)) = (&log, body, &answer) {
                log.emit(&query_logs::event(&self.spec, &self.endpoint, &body, told));
            }
            answers.push(answer);
        }
        Ok(answers)
    }

    /// What the first deployed version brings along: `testQueries` of the endpoint in its manifest, each `{"q": {…}}`.
    async fn test_queries(&self, deployer: &Deployer) -> Result<Vec<Query>> {
        let missing = || {
            let message = "The deployed version brings no test queries for this endpoint. Send some.";
            Error::field("TEST_QUERIES_MISSING", "endpoint", message)
        };
        let package = &self.spec.package;
        let id = (package.project_key.clone(), package.bundle_id.clone());
        let row = bundle::Entity::find_by_id(id).one(deployer.db.pool()).await?.ok_or_else(missing)?;
        let manifest: Value = serde_json::from_str(&row.manifest)?;
        let endpoints = manifest.get("endpoints").and_then(Value::as_array).into_iter().flatten();
        let mut mine = endpoints.filter(|one| one.get("id").and_then(Value::as_str) == Some(self.endpoint.id.as_str()));
        let queries = mine.next().and_then(|one| one.get("testQueries")?.as_array()).filter(|all| !all.is_empty());
        let one = |query: &Value| Query { body: query.get("q").unwrap_or(query).clone(), headers: Vec::new() };
        Ok(queries.ok_or_else(missing)?.iter().take(MOST).map(one).collect())
    }

    async fn put(&self, deployer: &Deployer, query: Query, timeout: Duration) -> Answered {
        let Some(services) = self.target.services() else {
            return self.failed(&Failure::new(
                engine::failure::Code::new("NOT_FOR_PROJECTS"),
                "This platform takes no queries.",
            ));
        };
        let Query { body, headers } = query;
        let end = Instant::now() + timeout;
        let mut query = ServiceQuery { endpoint: self.endpoint.clone(), body, headers, timeout };
        // Of several nodes, the target asks another one only where the query never arrived at the first.
        let (contents, secrets) = (BundleContents::default(), Opener(deployer));
        let imports = Records(&deployer.db);
        let look = |spec| Look { spec, contents: &contents, secrets: &secrets, imports: &imports };
        let mut answer = services.query(look(&self.spec), &query).await;
        if is_locked(&answer) {
            let others = self.others(deployer).await;
            for (at, spec) in others.iter().cycle().take(MOST_KEYS).enumerate() {
                if at > 0 && at % others.len() == 0 {
                    tokio::time::sleep(BETWEEN_KEYS).await;
                }
                query.timeout = end.saturating_duration_since(Instant::now());
                if query.timeout.is_zero() {
                    break;
                }
                let next = services.query(look(spec), &query).await;
                if !is_locked(&next) {
                    answer = next;
                    break;
                }
            }
        }
        match answer {
            Ok(answer) => Answered::Service(answer),
            Err(failure) => self.failed(&failure),
        }
    }

    /// While an update changes who may call, one node or container has it already and another has not, and what was read a moment ago may be old: all that may be
    /// there, in turn. Nothing where only this may be there.
    async fn others(&self, deployer: &Deployer) -> Vec<DeploySpec> {
        let read = async {
            let db = deployer.db.pool();
            let row = deployment::Entity::find_by_id(self.spec.deployment.clone()).one(db).await?;
            let row = row.ok_or_else(|| Error::not_found("deploymentId"))?;
            let api = Settings::read(&row.settings)?.api.unwrap_or_default();
            let mut all = Vec::new();
            for served in live::may_be_there(db, &row.id).await? {
                all.push(now(deployer, &row, &api, served).await?);
            }
            Ok::<_, Error>(all)
        };
        match read.await {
            Ok(all) if all.iter().any(|spec| self.differs(spec)) => all,
            Ok(_) => Vec::new(),
            Err(error) => {
                tracing::warn!(deployment.id = self.spec.deployment, ?error, "what else may be deployed was not read");
                Vec::new()
            }
        }
    }

    /// Whether another one is served, or it is reached otherwise.
    fn differs(&self, spec: &DeploySpec) -> bool {
        spec.service != self.spec.service || spec.infrastructure != self.spec.infrastructure
    }

    fn failed(&self, failure: &Failure) -> Answered {
        Answered::Failed(Trouble::of(failure, self.admin))
    }
}

/// Whether the service wants other credentials, or those that were read are gone by now: it has not looked at the query.
fn is_locked(answer: &std::result::Result<ServiceAnswer, Failure>) -> bool {
    match answer {
        Ok(answer) => matches!(answer.status, 401 | 403),
        Err(failure) => [platform::GONE, codes::QUERY_CREDENTIALS_MISSING].contains(&failure.code),
    }
}

/// What is there, reached as the infrastructure is reached now: its keys are those of now. What else is set of the infrastructure now comes with the next update.
async fn now(deployer: &Deployer, row: &deployment::Model, api: &ApiSettings, served: Served) -> Result<DeploySpec> {
    let place = platform::place_of(deployer, row).await?;
    let mut infrastructure = freeze::place(deployer.db.pool(), &place).await?.spec;
    served.first_of(&mut infrastructure.nodes);
    platform::as_deployed(&*platform::target_of(deployer, &place)?, &served.body, &mut infrastructure)?;
    let mut spec = DeploySpec { infrastructure, ..served.body };
    // Who may call is as it was deployed. A log's key that was replaced since may be gone: the same log is reached with the key of now.
    if let Some(service) = spec.service.as_mut() {
        let settings = infrastructures::Settings::read(&place.settings)?;
        let fresh = frozen::logged(api, &settings, &row.id)?;
        let where_to = |auditing: &Option<Auditing>| auditing.as_ref().map(Auditing::node_settings);
        if where_to(&service.auditing) == where_to(&fresh) {
            service.auditing = fresh;
        }
    }
    Ok(spec)
}

/// The endpoint that is asked.
fn choose(spec: &DeploySpec, wanted: Option<&str>) -> Result<EndpointSpec> {
    let Some(service) = &spec.service else { return Err(Error::fault("a deployed service without one")) };
    // One that some versions lack is answered by the others: the update warned of that.
    let all = service.endpoints();
    let wanted = wanted.filter(|endpoint| !endpoint.is_empty()).or(service.endpoint.as_deref());
    match (wanted, all.as_slice()) {
        (Some(wanted), all) => {
            all.iter().find(|endpoint| endpoint.id == wanted).map(|found| (*found).clone()).ok_or_else(|| {
                let known: Vec<_> = all.iter().map(|endpoint| endpoint.id.as_str()).collect();
                let message = format!("What is deployed has no such endpoint. It has: {}.", known.join(", "));
                Error::field("ENDPOINT_UNKNOWN", "endpoint", message)
            })
        }
        (None, [only]) => Ok((*only).clone()),
        (None, _) => {
            let message = "What is deployed has several endpoints, or names none. Name the one to ask.";
            Err(Error::field("ENDPOINT_UNKNOWN", "endpoint", message))
        }
    }
}
