//! Deployments of API services.

use std::{collections::BTreeSet, time::Duration};

use deployer::{
    deployments::{self, ApiChange, Change, Deployment, NewDeployment, SettingsChange},
    error::{Error, Result},
    infrastructures,
    services::{
        self, open_api,
        query::{self, Answered, Query},
    },
    status,
};
use serde_json::{Value, json};
use targets::target::Half;

use super::{
    documents::{self, DEPLOYMENT_FIELDS},
    infras::{infra_basic, of_services},
    services::{packages_of, service_basic},
};
use crate::{
    Context,
    call::Call,
    deployments::{Names, governance, health},
    documents::{Versions, expected_version},
    infras::deployments_where,
    read::{Document, object, renamed, wrong},
};

/// So long a deletion waits for what was made on the platform to go.
const PRE_DELETE: Duration = Duration::from_secs(600);

/// What lists say of a deployment.
pub(super) fn basic(one: &Deployment, names: &Names) -> Value {
    let api = one.settings.api.clone().unwrap_or_default();
    json!({
        "id": one.id,
        "infraId": one.infrastructure_id,
        "tags": one.settings.tags,
        "createdByDisplayName": names.name(&one.created_by),
        "lastModifiedByDisplayName": names.name(&one.updated_by),
        "publishedServiceId": one.project_key,
        "deployedServiceId": one.deployed_project_key,
        "enabled": !one.settings.disabled,
        "endpointId": api.endpoint,
    })
}

/// The light status of these deployments: those whose infrastructure and service the viewer sees, too.
async fn lights(context: &Context<'_>, deployments: &[Deployment]) -> Result<Vec<Value>> {
    let names = Names::of(context, deployments).await?;
    let (infras, ids): (BTreeSet<String>, BTreeSet<String>) =
        deployments.iter().map(|one| (one.infrastructure_id.clone(), one.project_key.clone())).unzip();
    let (infras, ids): (Vec<_>, Vec<_>) = (infras.into_iter().collect(), ids.into_iter().collect());
    let infras = infrastructures::by_ids(context.deployer, context.viewer, &infras).await?;
    let found = services::by_ids(context.deployer, context.viewer, &ids).await?;
    let packages = packages_of(context, &ids).await?;
    let own: Vec<String> = deployments.iter().map(|one| one.id.clone()).collect();
    let deployed = status::ever_deployed(context.deployer, context.viewer, &own).await?;
    let none = Vec::new();
    let light = |one: &Deployment| {
        // A right may have gone since the deployments were read.
        let (infra, service) = (infras.get(&one.infrastructure_id)?, found.get(&one.project_key)?);
        Some(json!({
            "deploymentBasicInfo": basic(one, &names),
            "infraBasicInfo": infra_basic(infra),
            "serviceBasicInfo": service_basic(service),
            "packages": packages.get(&one.project_key).unwrap_or(&none),
            "neverEverDeployed": !deployed.contains(&one.id),
        }))
    };
    Ok(deployments.iter().filter_map(light).collect())
}

pub(super) async fn list(context: &Context<'_>) -> Result<Value> {
    let deployments = deployments_where(context, of_services()).await?;
    lights(context, &deployments).await.map(Value::Array)
}

/// The deployment, if it is of an API service.
pub(super) async fn get(context: &Context<'_>, id: &str) -> Result<Deployment> {
    let found = deployments::get(context.deployer, context.viewer, id).await?;
    found.filter(|one| one.half == Half::Api).ok_or_else(|| Error::not_found("deploymentId"))
}

pub(super) async fn light(context: &Context<'_>, id: &str) -> Result<Value> {
    let one = get(context, id).await?;
    lights(context, &[one]).await?.pop().ok_or_else(|| Error::not_found("deploymentId"))
}

pub(super) async fn create(context: &Context<'_>, call: &Call) -> Result<Value> {
    let mut document = Document::of(call.json()?)?;
    let infrastructure_id = document.required("infraId")?;
    // What the client says of it: ignored where the platform serves all endpoints.
    let place = infrastructures::get(context.deployer, context.viewer, &infrastructure_id).await?;
    let target = place.and_then(|place| context.deployer.targets.find(place.kind.parse().ok()?));
    let serves_all = target.is_some_and(|target| !target.describe().one_endpoint);
    let api = ApiChange {
        endpoint: document.named("endpointId")?.filter(|_| !serves_all),
        query_groups: documents::query_groups(&mut document)?,
        ..ApiChange::default()
    };
    let new = NewDeployment {
        id: document.required("deploymentId")?,
        project_key: services::key_of(&document.required("publishedServiceId")?),
        infrastructure_id,
        bundle_id: document.required("version")?,
        deployed_project_key: document.text("deployedServiceId")?.filter(|id| !id.is_empty()),
        ignore_warnings: call.flag("ignoreWarnings")?.unwrap_or(false),
        settings: SettingsChange { api, ..Default::default() },
    };
    let made = deployments::create(context.deployer, context.viewer, new).await;
    let made = made.map_err(|error| renamed(renamed(error, DEPLOYMENT_FIELDS), &[("id", "deploymentId")]))?;
    let names = Names::of(context, std::slice::from_ref(&made)).await?;
    Ok(json!({"deploymentBasicInfo": basic(&made, &names)}))
}

pub(super) async fn settings(context: &Context<'_>, id: &str) -> Result<Value> {
    Ok(documents::deployment(&get(context, id).await?))
}

pub(super) async fn save(context: &Context<'_>, id: &str, call: &Call) -> Result<Value> {
    let one = get(context, id).await?;
    let mut document = Document::of(call.json()?)?;
    let ignore_warnings = call.flag("ignoreWarnings")?.unwrap_or(false);
    let now = Versions { newest: one.version, by: &one.updated_by, other: one.other_version };
    let version = expected_version(call, &mut document, context.viewer, now)?;
    let change = Change { ignore_warnings, ..documents::deployment_change(&one, document, version)? };
    let saved = deployments::update_settings(context.deployer, context.viewer, id, change).await;
    saved.map(|_| json!({})).map_err(|error| renamed(error, DEPLOYMENT_FIELDS))
}

/// Takes the service down, too, whatever the deployment was set to.
pub(super) async fn delete(context: &Context<'_>, id: &str, call: &Call) -> Result<Value> {
    get(context, id).await?;
    let ignoring = call.flag("ignorePreDeleteErrors")?.unwrap_or(false);
    let deleted = deployments::delete_wholly(context.deployer, context.viewer, id, ignoring, PRE_DELETE).await;
    deleted.map(|()| json!({})).map_err(|error| renamed(error, &[("id", "deploymentId")]))
}

/// The health, asked of the platform. A platform that does not answer is bad health, and no error.
pub(super) async fn heavy(context: &Context<'_>, id: &str) -> Result<Value> {
    get(context, id).await?;
    let heavy = status::heavy(context.deployer, context.viewer, id).await;
    let heavy = heavy.map_err(|error| renamed(error, &[("id", "deploymentId")]))?;
    let urls = heavy.urls.clone();
    let gate = match urls.as_slice() {
        [(None, _), ..] => open_api::gate(context.deployer, context.viewer, id).await?,
        _ => None,
    };
    let mut answer = health(heavy);
    if let Value::Object(answer) = &mut answer {
        answer.remove("monitoring");
        let tidy = |url: &str| url.trim_end_matches('/').to_owned();
        match urls.as_slice() {
            [] => {}
            [(None, url), ..] => {
                let url = match &gate {
                    // The client appends an API node's path: behind this mark, which is sent to nobody, it does no harm.
                    Some(path) => format!("{}{path}#", url.strip_suffix(path.as_str()).unwrap_or(&tidy(url))),
                    None => tidy(url),
                };
                answer.insert("publicURL".to_owned(), url.into());
            }
            nodes => {
                let nodes = nodes.iter().map(|(name, url)| json!({"url": tidy(url), "id": name})).collect();
                answer.insert("apiNodes".to_owned(), nodes);
            }
        }
    }
    Ok(answer)
}

pub(super) async fn governance_status(context: &Context<'_>, id: &str, call: &Call) -> Result<Value> {
    get(context, id).await?;
    let answer = governance(context, id, call.text("version")).await;
    answer.map_err(|error| renamed(error, &[("bundleId", "version")]))
}

/// The OpenAPI document: JSON, which the client hands on as text.
pub(super) async fn open_api(context: &Context<'_>, id: &str) -> Result<Value> {
    get(context, id).await?;
    match open_api::document(context.deployer, context.viewer, id).await {
        // What is not deployed has no document: the client expects just that.
        Err(Error::Refused(refusals)) if refusals.iter().all(|one| one.code == "NOT_DEPLOYED") => {
            let message = refusals.into_iter().next().map(|one| one.message).unwrap_or_default();
            Err(Error::field("NOT_FOUND", "deploymentId", message))
        }
        answer => answer,
    }
}

pub(super) async fn test_queries(context: &Context<'_>, id: &str, call: &Call) -> Result<Value> {
    get(context, id).await?;
    let endpoint = call.text("endpointIdParam");
    let asked = match call.text("testQueriesParam") {
        Some(text) => {
            let queries = parsed(text, "testQueriesParam")?;
            let answers = query::query(context.deployer, context.viewer, id, endpoint, queries.clone()).await;
            answers.map(|answers| queries.into_iter().zip(answers).collect())
        }
        None => query::test(context.deployer, context.viewer, id, endpoint).await,
    };
    let asked =
        asked.map_err(|error| renamed(error, &[("endpoint", "endpointIdParam"), ("queries", "testQueriesParam")]))?;
    Ok(answered(&asked))
}

pub(super) async fn queries(context: &Context<'_>, id: &str, call: &Call) -> Result<Value> {
    get(context, id).await?;
    // Queries are always put in the form that the platform takes.
    call.flag("adaptQueryForInfraType")?;
    let text = call.text("queries").ok_or_else(|| Error::field("FIELD_INVALID", "queries", "This is missing."))?;
    let queries = parsed(text, "queries")?;
    let answers = query::query(context.deployer, context.viewer, id, call.text("endpointId"), queries.clone()).await;
    let answers = answers.map_err(|error| renamed(error, &[("endpoint", "endpointId")]))?;
    Ok(answered(&queries.into_iter().zip(answers).collect::<Vec<_>>()))
}

/// Queries as the client writes them: `[{"q": {…}, "headers": [{"key", "value"}]}]`, as JSON in the address.
fn parsed(text: &str, field: &str) -> Result<Vec<Query>> {
    let shape = "a JSON list of queries, such as [{\"q\": {\"features\": {…}}}]";
    let Ok(Value::Array(list)) = serde_json::from_str(text) else { return Err(wrong(field, shape)) };
    let mut queries = Vec::with_capacity(list.len());
    for (at, one) in list.into_iter().enumerate() {
        let mut one = Document { left: object(one, &format!("{field}[{at}]"))? };
        let body = one.any("q").ok_or_else(|| wrong(&format!("{field}[{at}].q"), "the query"))?;
        let below = |error| deployer::kept::below(error, &format!("{field}[{at}]"));
        let mut headers = Vec::new();
        for (number, header) in one.list("headers").map_err(below)?.unwrap_or_default().into_iter().enumerate() {
            let place = format!("{field}[{at}].headers[{number}]");
            let mut header = Document { left: object(header, &place)? };
            let below = |error| deployer::kept::below(error, &place);
            headers.push((header.required("key").map_err(below)?, header.required("value").map_err(below)?));
        }
        queries.push(Query { body, headers });
    }
    Ok(queries)
}

/// What came of each query. The client hands it on as it is; what it holds is in no public source.
fn answered(asked: &[(Query, Answered)]) -> Value {
    let one = |(query, answered): &(Query, Answered)| match answered {
        Answered::Service(answer) => {
            let ok = (200..300).contains(&answer.status);
            json!({"q": query.body, "success": ok, "status": answer.status, "response": answer.body})
        }
        Answered::Failed(trouble) => {
            json!({"q": query.body, "success": false, "error": {"code": trouble.code, "message": trouble.message}})
        }
    };
    let responses: Vec<_> = asked.iter().map(one).collect();
    let success = responses.iter().all(|one| one["success"] == true);
    json!({"success": success, "responses": responses})
}
