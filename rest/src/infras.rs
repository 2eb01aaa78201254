//! Stages and infrastructures.

use std::collections::BTreeMap;

use deployer::{
    deployments::{self, Deployment},
    error::{Error, Result},
    infrastructures::{self, Infrastructure, InfrastructurePatch, NewInfrastructure, NewPersonalKeys, NodeKeyOutcome},
    rights::Level,
    stages::{self, StageKind},
};
use engine::secrets::Secret;
use serde_json::{Value, json};
use targets::{TargetType, target::Half};

use crate::{
    Context,
    call::Call,
    deployments::{Names, all, basic},
    documents::{self, INFRA_FIELDS, MASK, Versions},
    read::{Document, renamed},
};

pub(crate) async fn stages(context: &Context<'_>) -> Result<Value> {
    let stages = stages::list(context.deployer, context.viewer, StageKind::Project).await?;
    Ok(stages.into_iter().map(|stage| json!({"id": stage.id, "desc": stage.description})).collect())
}

/// What everybody who sees an infrastructure learns of it.
pub(crate) fn infra_basic(infra: &Infrastructure) -> Value {
    json!({
        "id": infra.id,
        "stage": infra.stage,
        "governCheckPolicy": infra.govern_check_policy,
        "automationNodeUrl": infra.node_url,
        "automationNodeExternalUrl": infra.external_url,
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

pub(crate) async fn list(context: &Context<'_>) -> Result<Value> {
    let filter = infrastructures::Filter { half: Some(Half::Project), ..Default::default() };
    let infras = all(|page| {
        let filter = &filter;
        async move { infrastructures::list(context.deployer, context.viewer, filter, &page).await }
    })
    .await?;
    let deployments = deployments_where(context, of_projects()).await?;
    let names = Names::of(context, &deployments).await?;
    let mut each: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for one in &deployments {
        each.entry(&one.infrastructure_id).or_default().push(basic(one, &names));
    }
    let none = Vec::new();
    Ok(infras.iter().map(|infra| light(infra, each.get(infra.id.as_str()).unwrap_or(&none))).collect())
}

pub(crate) async fn deployments_where(context: &Context<'_>, filter: deployments::Filter) -> Result<Vec<Deployment>> {
    all(|page| {
        let filter = &filter;
        async move { deployments::list(context.deployer, context.viewer, filter, &page).await }
    })
    .await
}

/// The deployments of projects.
pub(crate) fn of_projects() -> deployments::Filter {
    deployments::Filter { half: Some(Half::Project), ..Default::default() }
}

/// The infrastructure, if it is for projects.
async fn get(context: &Context<'_>, id: &str) -> Result<Infrastructure> {
    let found = infrastructures::get(context.deployer, context.viewer, id).await?;
    let of_projects =
        |infra: &Infrastructure| infra.kind.parse::<TargetType>().is_ok_and(|kind| kind.half() == Half::Project);
    found.filter(of_projects).ok_or_else(|| Error::not_found("infraId"))
}

pub(crate) async fn status(context: &Context<'_>, id: &str) -> Result<Value> {
    let infra = get(context, id).await?;
    let filter = deployments::Filter { infrastructure: Some(id.to_owned()), ..Default::default() };
    let deployments = deployments_where(context, filter).await?;
    let names = Names::of(context, &deployments).await?;
    let deployments: Vec<_> = deployments.iter().map(|one| basic(one, &names)).collect();
    Ok(light(&infra, &deployments))
}

pub(crate) async fn create(context: &Context<'_>, body: Value) -> Result<Value> {
    // Before anything about the document: who may not is told just that.
    deployer::rights::require_global_admin(context.viewer)?;
    let mut document = Document::of(body)?;
    let (id, stage) = (document.required("id")?, document.required("stage")?);
    let policy = document.any("governCheckPolicy");
    let mut settings = json!({});
    if let Some(policy) = policy {
        settings["governCheckPolicy"] = policy;
    }
    let new =
        NewInfrastructure { id, stage, settings: documents::typed(settings, "")?, ..NewInfrastructure::default() };
    let made = infrastructures::create(context.deployer, context.viewer, new).await;
    let made = made.map_err(|error| renamed(error, INFRA_FIELDS))?;
    Ok(light(&made, &[]))
}

pub(crate) async fn settings(context: &Context<'_>, id: &str) -> Result<Value> {
    let infra = get(context, id).await?;
    let ids = [infra.id.clone()];
    let mut rights = infrastructures::permissions_by_ids(context.deployer, context.viewer, &ids).await?;
    documents::infra(&infra, &rights.remove(&infra.id).unwrap_or_default())
}

pub(crate) async fn save(context: &Context<'_>, id: &str, call: &Call) -> Result<Value> {
    let infra = get(context, id).await?;
    if infra.settings.is_none() {
        return Err(Error::forbidden("the right Admin on the infrastructure"));
    }
    let mut document = Document::of(call.json()?)?;
    let now = Versions { newest: infra.version, by: &infra.updated_by, other: infra.other_version };
    let version = documents::expected_version(call, &mut document, context.viewer, now)?;
    document.fixed("id", &infra.id)?;
    let key = document.named("adminApiKey")?;
    let keeps_key = matches!(&key, Some(Some(key)) if key == MASK);
    let governance_key = document.named("governanceKey")?;
    let keeps_governance_key = matches!(&governance_key, Some(Some(key)) if key == MASK);
    let patch = InfrastructurePatch {
        stage: document.text("stage")?,
        admin_key: key.filter(|_| !keeps_key).map(|key| key.map(Secret::new)),
        keeps_key,
        keeps_governance_key,
        governance_key: governance_key.filter(|_| !keeps_governance_key).map(|key| key.map(Secret::new)),
        permissions: document.list("permissions")?.map(documents::permissions).transpose()?,
        nodes: documents::nodes(&infra, &mut document)?,
        settings: documents::infra_patch(&infra, document)?,
    };
    infrastructures::update(context.deployer, context.viewer, id, version, patch)
        .await
        .map(|_| json!({}))
        .map_err(|error| documents::node_fields(renamed(error, INFRA_FIELDS)))
}

/// Makes a personal key of one user on each node.
pub(crate) async fn personal_keys(context: &Context<'_>, id: &str, call: &Call) -> Result<Value> {
    let new = NewPersonalKeys {
        user: call.text("forUser").filter(|user| !user.is_empty()).map(str::to_owned),
        label: call.text("label").unwrap_or_default().to_owned(),
        description: call.text("description").unwrap_or_default().to_owned(),
    };
    let made = infrastructures::generate_personal_keys(context.deployer, context.viewer, id, new).await;
    let made = made.map_err(|error| renamed(error, &[("id", "infraId"), ("user", "forUser")]))?;
    let node = |name: &str| json!({"nodeId": name});
    let of = |which: fn(&NodeKeyOutcome) -> bool| {
        made.nodes.iter().filter(|(_, outcome)| which(outcome)).map(|(name, _)| node(name)).collect::<Vec<_>>()
    };
    let keys = made.nodes.iter().filter_map(|(name, outcome)| match outcome {
        NodeKeyOutcome::Made { key_id, own_secret, .. } => {
            let mut shown = json!({"nodeId": name, "keyId": key_id});
            if let Some(secret) = own_secret {
                shown["secret"] = secret.expose().into();
            }
            Some(shown)
        }
        _ => None,
    });
    let mut answer = json!({
        "createdOnAllNodes": made.on_all_nodes(),
        "user": made.user,
        "nodesAndKeys": keys.collect::<Vec<_>>(),
        "nodesWhereUserDoesNotExist": of(|outcome| matches!(outcome, NodeKeyOutcome::UserMissing)),
        "nodesWhereUserIsDisabled": of(|outcome| matches!(outcome, NodeKeyOutcome::UserDisabled)),
    });
    if let Some(secret) = &made.secret {
        answer["secret"] = secret.expose().into();
    }
    if let Some(error) = made.error() {
        answer["error"] = error.into();
    }
    Ok(answer)
}

pub(crate) async fn delete(context: &Context<'_>, id: &str) -> Result<Value> {
    get(context, id).await?;
    let deleted = infrastructures::delete(context.deployer, context.viewer, id).await;
    deleted.map(|()| json!({})).map_err(|error| renamed(error, &[("id", "infraId")]))
}
