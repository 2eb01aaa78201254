//! Stages and infrastructures of the API Deployer.

use std::collections::BTreeMap;

use deployer::{
    deployments,
    error::{Error, Result},
    infrastructures::{self, Infrastructure, InfrastructurePatch, NewInfrastructure},
    rights::Level,
    stages::{self, StageKind},
};
use engine::secrets::Secret;
use serde_json::{Value, json};
use targets::{TargetType, target::Half};

use super::{
    deployments::basic,
    documents::{self, INFRA_FIELDS},
};
use crate::{
    Context,
    call::Call,
    deployments::{Names, all},
    documents::{MASK, Versions, expected_version, permissions, typed},
    infras::deployments_where,
    read::{Document, renamed},
};

pub(super) async fn stages(context: &Context<'_>) -> Result<Value> {
    let stages = stages::list(context.deployer, context.viewer, StageKind::Api).await?;
    Ok(stages.into_iter().map(|stage| json!({"id": stage.id, "desc": stage.description})).collect())
}

/// What everybody who sees an infrastructure learns of it.
pub(super) fn infra_basic(infra: &Infrastructure) -> Value {
    json!({
        "id": infra.id,
        "stage": infra.stage,
        "type": infra.kind,
        "governCheckPolicy": infra.govern_check_policy,
    })
}

fn light(infra: &Infrastructure, deployments: &[Value]) -> Value {
    json!({
        "infraBasicInfo": infra_basic(infra),
        "isAdmin": infra.level >= Level::Admin,
        "canDeploy": infra.level >= Level::Deploy,
        "deployments": deployments,
    })
}

/// The deployments of API services.
pub(super) fn of_services() -> deployments::Filter {
    deployments::Filter { half: Some(Half::Api), ..Default::default() }
}

pub(super) async fn list(context: &Context<'_>) -> Result<Value> {
    let filter = infrastructures::Filter { half: Some(Half::Api), ..Default::default() };
    let infras = all(|page| {
        let filter = &filter;
        async move { infrastructures::list(context.deployer, context.viewer, filter, &page).await }
    })
    .await?;
    let deployments = deployments_where(context, of_services()).await?;
    let names = Names::of(context, &deployments).await?;
    let mut each: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for one in &deployments {
        each.entry(&one.infrastructure_id).or_default().push(basic(one, &names));
    }
    let none = Vec::new();
    Ok(infras.iter().map(|infra| light(infra, each.get(infra.id.as_str()).unwrap_or(&none))).collect())
}

/// The kind of an infrastructure of this half.
pub(super) fn kind_of(infra: &Infrastructure) -> Option<TargetType> {
    infra.kind.parse::<TargetType>().ok().filter(|kind| kind.half() == Half::Api)
}

async fn get(context: &Context<'_>, id: &str) -> Result<(Infrastructure, TargetType)> {
    let infra = infrastructures::get(context.deployer, context.viewer, id).await?;
    let found = infra.and_then(|infra| kind_of(&infra).map(|kind| (infra, kind)));
    found.ok_or_else(|| Error::not_found("infraId"))
}

pub(super) async fn status(context: &Context<'_>, id: &str) -> Result<Value> {
    let (infra, _) = get(context, id).await?;
    let filter = deployments::Filter { infrastructure: Some(id.to_owned()), ..of_services() };
    let deployments = deployments_where(context, filter).await?;
    let names = Names::of(context, &deployments).await?;
    let deployments: Vec<_> = deployments.iter().map(|one| basic(one, &names)).collect();
    Ok(light(&infra, &deployments))
}

pub(super) async fn create(context: &Context<'_>, body: Value) -> Result<Value> {
    // Before anything about the document: who may not is told just that.
    deployer::rights::require_global_admin(context.viewer)?;
    let mut document = Document::of(body)?;
    let (id, stage, name) = (document.required("id")?, document.required("stage")?, document.required("type")?);
    let kind = name.parse::<TargetType>().ok().filter(|kind| kind.half() == Half::Api).ok_or_else(|| {
        let kinds = targets::all().iter().map(|(kind, _)| *kind).filter(|kind| kind.half() == Half::Api);
        let known: Vec<_> = kinds.map(TargetType::as_str).collect();
        let message = format!("There is no such type of infrastructure. There are: {}.", known.join(", "));
        Error::field("FIELD_INVALID", "type", message)
    })?;
    let mut settings = json!({});
    if let Some(policy) = document.any("governCheckPolicy") {
        settings["governCheckPolicy"] = policy;
    }
    let settings = typed(settings, "")?;
    let new = NewInfrastructure { id, kind, stage, settings, ..NewInfrastructure::default() };
    let made = infrastructures::create(context.deployer, context.viewer, new).await;
    Ok(light(&made.map_err(|error| renamed(error, INFRA_FIELDS))?, &[]))
}

pub(super) async fn settings(context: &Context<'_>, id: &str) -> Result<Value> {
    let (infra, kind) = get(context, id).await?;
    let ids = [infra.id.clone()];
    let mut rights = infrastructures::permissions_by_ids(context.deployer, context.viewer, &ids).await?;
    documents::infra(context, kind, &infra, &rights.remove(&infra.id).unwrap_or_default())
}

pub(super) async fn save(context: &Context<'_>, id: &str, call: &Call) -> Result<Value> {
    let (infra, kind) = get(context, id).await?;
    let Some(stored) = &infra.settings else {
        return Err(Error::forbidden("the right Admin on the infrastructure"));
    };
    let mut document = Document::of(call.json()?)?;
    let now = Versions { newest: infra.version, by: &infra.updated_by, other: infra.other_version };
    let version = expected_version(call, &mut document, context.viewer, now)?;
    document.fixed("id", &infra.id)?;
    document.fixed("type", &infra.kind)?;
    let governance_key = document.named("governanceKey")?;
    let keeps_governance_key = matches!(&governance_key, Some(Some(key)) if key == MASK);
    let patch = InfrastructurePatch {
        stage: document.text("stage")?,
        keeps_governance_key,
        governance_key: governance_key.filter(|_| !keeps_governance_key).map(|key| key.map(Secret::new)),
        permissions: document.list("permissions")?.map(permissions).transpose()?,
        settings: documents::infra_patch(context, kind, &stored.platform, document)?,
        ..InfrastructurePatch::default()
    };
    let saved = infrastructures::update(context.deployer, context.viewer, id, version, patch).await;
    saved.map(|_| json!({})).map_err(documents::infra_fields)
}

pub(super) async fn delete(context: &Context<'_>, id: &str) -> Result<Value> {
    get(context, id).await?;
    let deleted = infrastructures::delete(context.deployer, context.viewer, id).await;
    deleted.map(|()| json!({})).map_err(|error| renamed(error, &[("id", "infraId")]))
}
