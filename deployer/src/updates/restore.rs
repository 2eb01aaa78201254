//! Restoring: to put back what was live before, by an update of its own. Its spec is that of the earlier update; where the node is, its key, run-as users
//! and hooks are as they are set now. The deployment is set as that update had it, so that the next ordinary update does not undo the restore.

mod keys;

use std::collections::BTreeMap;

use engine::{db::Tx, ids::RunId, spec::RunSpec};
use entities::{deployment, infrastructure};
use sea_orm::{ActiveModelTrait as _, ActiveValue::Set, EntityTrait as _};
use serde::Serialize;
use serde_json::{Map, Value, json};
use targets::{
    spec::{Auditing, DeploySpec, ServiceSpec, ServiceVersionSpec},
    target::VersionShare,
};

use super::kind::UpdateType;
use crate::{
    bundles::{self, BundleKey, Hold},
    deployments::{ApiSettings, Settings, write::counted},
    error::{Error, Result},
    freeze, infrastructures,
    live::{self, Success},
    sealed,
    services::{frozen, versions},
    status::changes::changes,
};

/// So many successes back are looked through.
const DEPTH: u64 = 50;

/// The spec of the update that restores; the deployment is set to match.
pub(super) async fn spec(tx: &Tx, row: deployment::Model, to: Option<RunId>, login: &str) -> Result<RunSpec> {
    let before = choose(tx, &row.id, to).await?;
    for (bundle_id, sha256) in packages(&before.body) {
        let key = BundleKey { project_key: before.body.package.project_key.clone(), bundle_id: bundle_id.clone() };
        let found = bundles::lock(tx, &key, Hold::Keep).await?;
        if found.is_none_or(|found| found.sha256 != sha256) {
            let what = if before.body.service.is_some() { "Version" } else { "Bundle" };
            let number = before.number;
            let message = format!(
                "{what} {bundle_id} of update {number} was deleted. Upload it again, or choose another update."
            );
            return Err(Error::field("BUNDLE_UNKNOWN", "updateId", message));
        }
    }
    let row = agree(tx, row, &before.body, login).await?;
    let mut spec = freeze::freeze(tx, &row, login).await?;
    let now: DeploySpec = serde_json::from_value(spec.body)?;
    let body = DeploySpec {
        infrastructure: now.infrastructure,
        acting_user: now.acting_user,
        deployed_project_key: now.deployed_project_key,
        deployment: now.deployment,
        installation: now.installation,
        // Of the settings that were put back, with the keys of now.
        service: now.service,
        ..before.body
    };
    spec.body = serde_json::to_value(body)?;
    UpdateType::Restore.mark(&mut spec);
    Ok(spec)
}

/// The update whose work is put back: the one that was asked for, or what was live before.
async fn choose(tx: &Tx, deployment: &str, to: Option<RunId>) -> Result<Success> {
    let successes = live::successes(&**tx, deployment, DEPTH).await?;
    let mut deployed = successes.into_iter().filter(|success| success.kind.deploys());
    if let Some(to) = to {
        return deployed.find(|success| success.run == to).ok_or_else(|| {
            let message =
                "Only an update of this deployment that succeeded, and that deployed a bundle, can be put back.";
            Error::field("RESTORE_NOT_POSSIBLE", "updateId", message)
        });
    }
    let nothing = || {
        let message = "Nothing else was live before: no earlier update of this deployment succeeded with another bundle or other settings.";
        Error::field("RESTORE_NOT_POSSIBLE", "deploymentId", message)
    };
    let newest = deployed.next().ok_or_else(nothing)?;
    // An update that failed half-way left something else: what was live before is what the newest success put there.
    if live::half_done_since(&**tx, deployment, newest.number).await? {
        return Ok(newest);
    }
    for earlier in deployed {
        if !same(&earlier.body, &newest.body)? {
            return Ok(earlier);
        }
    }
    Err(nothing())
}

/// Whether two updates deployed the same, wherever to.
fn same(one: &DeploySpec, other: &DeploySpec) -> Result<bool> {
    let there = DeploySpec { infrastructure: other.infrastructure.clone(), ..one.clone() };
    // Of one infrastructure, no setting of it is otherwise.
    Ok(changes(&there, other, &[])?.is_empty())
}

/// All that the update deployed, each with its content.
pub(super) fn packages(body: &DeploySpec) -> BTreeMap<String, String> {
    let versions = body.service.iter().flat_map(|service| &service.versions);
    let versions = versions.map(|version| (version.version.clone(), version.sha256.clone()));
    versions.chain([(body.package.bundle_id.clone(), body.package.sha256.clone())]).collect()
}

/// What is set of an API service, as the update had it, with the keys of now ([`keys`]).
async fn agree_on_service(
    tx: &Tx,
    row: &deployment::Model,
    service: &ServiceSpec,
    now: &ApiSettings,
) -> Result<ApiSettings> {
    let set = sealed::named_in(&row.settings)?;
    let with_keys = |field: &str, then: Map<String, Value>, now: &Map<String, Value>| {
        keys::with_those_of_now(&then, now, &set).map_err(|path| {
            let message = format!(
                "What is to be put back had a key that was taken away or replaced since, and a key that is gone does not come back: {field}.{path}. Set {field} with a key as it is to be and start an ordinary update, or restore another one."
            );
            Error::field("RESTORE_KEYS_GONE", "updateId", message)
        })
    };
    let place = infrastructure::Entity::find_by_id(row.infrastructure_id.clone()).one(&**tx).await?;
    let place = place.map(|place| infrastructures::Settings::read(&place.settings)).transpose()?.unwrap_or_default();
    let inherited = frozen::auditing(&place.query_log, &row.id)?;
    let query_log = match &service.auditing {
        same if *same == inherited => Map::new(),
        // The infrastructure's own log, whose key was replaced since.
        Some(auditing)
            if now.query_log.is_empty()
                && inherited.as_ref().map(Auditing::node_settings) == Some(auditing.node_settings()) =>
        {
            Map::new()
        }
        // Only the infrastructure names a variable of the container, and it names another one now, or none.
        Some(auditing) if auditing.key_variable().is_some() => now.query_log.clone(),
        Some(auditing) => document(auditing)?,
        // Versions that log nothing themselves go the same way under both.
        None if inherited == Some(Auditing::None) && !log_themselves(tx, &row.project_key, service).await? => {
            Map::new()
        }
        None => document(&json!({"type": "AS_PACKAGED"}))?,
    };
    // With the values that are left out, so that the same log is known as the same.
    let spelled_out =
        frozen::auditing(&now.query_log, &row.id)?.as_ref().map(document).transpose()?.unwrap_or_default();
    let authorization = service.authorization.as_ref().map(document).transpose()?.unwrap_or_default();
    let share = |version: &ServiceVersionSpec| VersionShare {
        version: version.version.clone(),
        probability: version.probability,
    };
    let several = service.versions.len() > 1;
    Ok(ApiSettings {
        versions: if several { service.versions.iter().map(share).collect() } else { Vec::new() },
        endpoint: service.endpoint.clone().filter(|one| frozen::only_endpoint(&service.versions) != Some(one)),
        query_groups: now.query_groups.clone(),
        authorization: with_keys("authorization", authorization, &now.authorization)?,
        query_log: with_keys("queryLog", query_log, &spelled_out)?,
        platform: with_keys("platform", service.settings.clone(), &now.platform)?,
    })
}

/// Whether one of its versions may say itself where its queries are logged.
async fn log_themselves(tx: &Tx, project: &str, service: &ServiceSpec) -> Result<bool> {
    for version in &service.versions {
        let found = versions::row(&**tx, project, &version.version).await?;
        let Some((row, _)) = found else { return Ok(true) };
        if versions::may_log_itself(&row)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A document as it is stored: what is null is not there.
fn document(value: &impl Serialize) -> Result<Map<String, Value>> {
    let Value::Object(object) = serde_json::to_value(value)? else { return Ok(Map::new()) };
    Ok(object.into_iter().filter(|(_, value)| !value.is_null()).collect())
}

/// Sets the deployment as the update had it: its bundle, and each setting that stands in a spec under the same name, also such as later versions add.
async fn agree(tx: &Tx, row: deployment::Model, body: &DeploySpec, login: &str) -> Result<deployment::Model> {
    let mut settings = Settings::read(&row.settings)?;
    if let (Value::Object(mut kept), Value::Object(body)) =
        (serde_json::to_value(&settings)?, serde_json::to_value(body)?)
    {
        for (name, value) in body {
            let Some(before) = kept.get(&name).cloned() else { continue };
            kept.insert(name.clone(), value);
            match serde_json::from_value(Value::Object(kept.clone())) {
                Ok(with) => settings = with,
                // A spec of an earlier version says nothing of it.
                Err(_) => drop(kept.insert(name, before)),
            }
        }
    }
    if let (Some(service), Some(now)) = (&body.service, &settings.api) {
        settings.api = Some(agree_on_service(tx, &row, service, now).await?);
    }
    // Its remappings hold what was merged then: what the infrastructure says now would come on top.
    settings.merge_infrastructure_remapping = false;
    let mut row = counted(row, login, tx.now().await?);
    row.bundle_id = Set(body.package.bundle_id.clone());
    row.settings = Set(serde_json::to_string(&settings)?);
    Ok(row.update(&**tx).await?)
}
