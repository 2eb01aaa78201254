//! Making, changing and deleting a deployment.

use engine::{
    db::{DbErr, Tx},
    runs::request::is_duplicate,
};
use entities::{bundle, deployment, infrastructure, run};
use sea_orm::{
    ActiveModelTrait as _, ActiveValue::Set, ColumnTrait as _, ConnectionTrait, DbBackend, EntityTrait as _,
    IntoActiveModel as _, PaginatorTrait as _, QueryFilter as _, QuerySelect as _, sea_query::ExprTrait as _,
};
use targets::{spec::Remapping, target::Half};

use super::{
    Deployment,
    api::{self, ApiChange, ApiSettings, PreparedApi},
    list::{get, views},
    removal::{self, erase},
    settings::{Change, Settings, SettingsChange},
};
use crate::{
    Deployer,
    accounts::changes::inserted,
    audit::{Object, ObjectKind, act::Act},
    bundles::{self, BundleKey, Hold},
    error::{Error, Problems, Result},
    governance::{Wish, refuse_warnings},
    halves, infrastructures,
    live::Standing,
    names, platform,
    rights::{self, Access, Level, Right},
    sealed, services, versions,
    viewer::Viewer,
};

/// So many endpoints are named in a sentence.
const MOST_NAMED: usize = 20;

/// A deployment to make.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NewDeployment {
    /// Its id.
    pub id: String,
    /// The published project.
    pub project_key: String,
    /// Where to.
    pub infrastructure_id: String,
    /// The bundle.
    pub bundle_id: String,
    /// The project key on the node; None is the published project's.
    pub deployed_project_key: Option<String>,
    /// What is set otherwise than by default. Without remappings it gets a copy of the infrastructure's, unless those are merged at each update.
    pub settings: SettingsChange,
    /// Go on where the infrastructure's policies warn of the bundle.
    pub ignore_warnings: bool,
}

/// Makes a deployment. Nothing is deployed by that.
///
/// # Errors
/// `NOT_FOUND` by field for a project or infrastructure that is hidden or absent; `FORBIDDEN` without Deploy on both; all that is wrong with
/// the settings at once; `BUNDLE_UNKNOWN`; `ENDPOINT_MISSING`; `ID_NOT_AVAILABLE`; `DEPLOYED_PROJECT_KEY_TAKEN`; `GOVERNANCE_WARNING`, `PROJECT_STANDARDS_WARNING`
/// unless warnings are ignored.
pub async fn create(deployer: &Deployer, viewer: &Viewer, new: NewDeployment) -> Result<Deployment> {
    let object = Object::new(ObjectKind::Deployment, &new.id).on(&new.infrastructure_id, &new.project_key);
    let action = match halves::half_of(&new.project_key) {
        Half::Project => "createDeployment",
        Half::Api => "createServiceDeployment",
    };
    let act = &Act::new(deployer, viewer, action, object);
    act.run(|| create_once(deployer, viewer, new.clone(), act)).await
}

async fn create_once(deployer: &Deployer, viewer: &Viewer, new: NewDeployment, act: &Act<'_>) -> Result<Deployment> {
    let both = sides(deployer.db.pool(), viewer, &new).await?;
    let half = halves::half_of(&new.project_key);
    let target = platform::target_of(deployer, &both)?;
    if target.describe().half != half {
        return Err(other_half(half));
    }
    let deployed = new.deployed_project_key.clone().unwrap_or_else(|| halves::shown(&new.project_key).to_owned());
    let mut place = infrastructures::Settings::read(&both.settings)?;
    // What is merged at each update need not be copied: a copy would win over what the infrastructure says later.
    let copied = |theirs: Vec<Remapping>| match new.settings.merge_infrastructure_remapping {
        Some(true) => Vec::new(),
        _ => theirs,
    };
    let defaults = Settings {
        connection_remapping: copied(std::mem::take(&mut place.connection_remapping)),
        // None to copy: what is on the node is left alone until somebody sets some.
        code_env_remapping: Some(copied(std::mem::take(&mut place.code_env_remapping))).filter(|list| !list.is_empty()),
        container_exec_remapping: Some(copied(std::mem::take(&mut place.container_exec_remapping)))
            .filter(|list| !list.is_empty()),
        api: (half == Half::Api).then(ApiSettings::default),
        ..Settings::default()
    };
    let mut settings = defaults.with(&new.settings);
    let mut problems = Problems::default();
    names::check(&new.id, "id", &mut problems);
    names::check(&new.bundle_id, bundles::field(half), &mut problems);
    names::check(&deployed, deployed_field(half), &mut problems);
    settings.check(&mut problems);
    new.settings.check(half, &mut problems);
    let api = match &settings.api {
        Some(api) => Some(api::prepare(
            target.as_ref(),
            &place,
            api,
            &new.settings.api,
            deployer.targets.blocked(),
            &mut problems,
        )?),
        None => None,
    };
    problems.check()?;
    if names::is_reserved(&new.id) {
        return Err(Error::id_not_available("id"));
    }
    let package = (new.project_key.clone(), new.bundle_id.clone());
    if bundle::Entity::find_by_id(package).one(deployer.db.pool()).await?.is_some() {
        removal::make_way(&deployer.db, &new.id, &new.infrastructure_id, &deployed).await?;
    }
    if !new.ignore_warnings {
        let bundles = deployed_by(&new.bundle_id, settings.api.as_ref(), &new.settings.api);
        let (deployment_id, project_key) = (&*new.id, &*new.project_key);
        let wish = Wish { deployment_id, project_key, deployed_project_key: &deployed, bundles };
        refuse_warnings(deployer, viewer, &both, wish).await?;
    }

    let tx = deployer.db.begin().await?;
    keep_infrastructure(&tx, &new.infrastructure_id).await?;
    // The rights may have gone while we waited.
    sides(&*tx, viewer, &new).await?;
    require_bundle(&tx, &new.project_key, &new.bundle_id).await?;
    if let Some(api) = api {
        settings.api = Some(put_api(deployer, &tx, &new.project_key, &new.id, api).await?);
    }
    refuse_left_out(&new.bundle_id, settings.api.as_ref())?;
    require_endpoint(&tx, &new.project_key, &new.bundle_id, settings.api.as_ref()).await?;
    let now = tx.now().await?;
    let row = deployment::ActiveModel {
        id: Set(new.id.clone()),
        project_key: Set(new.project_key),
        infrastructure_id: Set(new.infrastructure_id),
        bundle_id: Set(new.bundle_id),
        deployed_project_key: Set(deployed),
        settings: Set(serde_json::to_string(&settings)?),
        version: Set(1),
        other_version: Set(0),
        last_run_no: Set(0),
        created_at: Set(now),
        created_by: Set(viewer.login.clone()),
        updated_at: Set(now),
        updated_by: Set(viewer.login.clone()),
    };
    // A conflict on the id is no error; one on the place is, and ends the transaction.
    let result = deployment::Entity::insert(row).on_conflict_do_nothing().exec_without_returning(&*tx).await;
    if !inserted(&result.map_err(|error| unless_taken(error, half))?) {
        return Err(Error::id_not_available("id"));
    }
    act.commit(tx).await?;
    get(deployer, viewer, &new.id).await?.ok_or_else(|| Error::not_found("id"))
}

/// The infrastructure's row, once the viewer may deploy on it and the project. What is hidden is told for both fields at once.
async fn sides<C: ConnectionTrait>(db: &C, viewer: &Viewer, new: &NewDeployment) -> Result<infrastructure::Model> {
    let mut problems = Problems::default();
    let field = parent_field(halves::half_of(&new.project_key));
    names::check(&new.infrastructure_id, "infrastructureId", &mut problems);
    names::check(halves::shown(&new.project_key), field, &mut problems);
    problems.check()?;
    let place =
        rights::require_infrastructure(db, viewer, &new.infrastructure_id, Level::Deploy, "infrastructureId").await;
    let project = rights::require_published_project(db, viewer, &new.project_key, Right::Deploy, field).await;
    match (place, project) {
        (Ok(place), Ok(_)) => Ok(place),
        (Err(Error::Refused(mut here)), Err(Error::Refused(there))) => {
            here.extend(there);
            Err(Error::Refused(here))
        }
        (Err(fault @ Error::Fault(_)), _) | (_, Err(fault @ Error::Fault(_))) => Err(fault),
        (Err(refused), _) | (_, Err(refused)) => Err(refused),
    }
}

/// Changes what is deployed, and how. The next update makes it so.
///
/// # Errors
/// `NOT_FOUND`, `FORBIDDEN` without Deploy on both; `VERSION_CONFLICT`; all that is wrong at once; `BUNDLE_UNKNOWN`; `ENDPOINT_MISSING`; `DEPLOYED_PROJECT_KEY_FIXED`
/// once an update was requested; `DEPLOYED_PROJECT_KEY_TAKEN`; `GOVERNANCE_WARNING`, `PROJECT_STANDARDS_WARNING` unless warnings are ignored.
pub async fn update_settings(deployer: &Deployer, viewer: &Viewer, id: &str, change: Change) -> Result<Deployment> {
    let act = &act(deployer, viewer, "updateDeploymentSettings", id);
    act.run(|| update_once(deployer, viewer, id, change.clone(), act)).await
}

fn act<'a>(deployer: &'a Deployer, viewer: &Viewer, action: &'static str, id: &str) -> Act<'a> {
    Act::new(deployer, viewer, action, Object::new(ObjectKind::Deployment, id))
}

async fn update_once(
    deployer: &Deployer,
    viewer: &Viewer,
    id: &str,
    change: Change,
    act: &Act<'_>,
) -> Result<Deployment> {
    let db = deployer.db.pool();
    let row = rights::require_deployment(db, viewer, id, Access::Change, "id").await?;
    if !change.ignore_warnings {
        // A source may take seconds: it is asked while nothing is locked.
        changed(&row, &change)?;
        let deployed = change.deployed_project_key.as_ref().unwrap_or(&row.deployed_project_key);
        let mut problems = Problems::default();
        api::check_versions(change.settings.api.versions.as_deref().unwrap_or_default(), &mut problems);
        problems.check()?;
        let settings = Settings::read(&row.settings)?;
        let bundles = match &change.bundle_id {
            Some(bundle) => deployed_by(bundle, None, &change.settings.api),
            None => deployed_by(&row.bundle_id, settings.api.as_ref(), &change.settings.api),
        };
        heed_warnings(deployer, viewer, &row, deployed, bundles).await?;
    }
    let tx = deployer.db.begin().await?;
    let row = lock(&tx, viewer, id, "id").await?;
    act.before(&tx).await?;
    let mut settings = changed(&row, &change)?;
    let half = halves::half_of(&row.project_key);
    if let Some(old) = &settings.api {
        let place = platform::place_of(deployer, &row).await?;
        let target = platform::target_of(deployer, &place)?;
        let mut problems = Problems::default();
        let mut wanted = change.settings.api.clone();
        if change.bundle_id.is_some() && wanted.versions.is_none() {
            // Whoever names one version wants all queries answered by it.
            wanted.versions = Some(Vec::new());
        }
        let place = infrastructures::Settings::read(&place.settings)?;
        let api = api::prepare(target.as_ref(), &place, old, &wanted, deployer.targets.blocked(), &mut problems)?;
        problems.check()?;
        settings.api = Some(put_api(deployer, &tx, &row.project_key, id, api).await?);
    }
    let bundle_id = match (change.bundle_id, &settings.api) {
        (Some(bundle_id), api) => {
            refuse_left_out(&bundle_id, api.as_ref())?;
            Some(bundle_id)
        }
        // The one version is always among those that share the queries.
        (None, Some(api)) if !is_among(&row.bundle_id, api) => api.versions.first().map(|share| share.version.clone()),
        (None, _) => None,
    };
    if let Some(bundle_id) = bundle_id.as_ref().filter(|bundle| **bundle != row.bundle_id) {
        require_bundle(&tx, &row.project_key, bundle_id).await?;
    }
    let deployed = bundle_id.as_ref().unwrap_or(&row.bundle_id);
    let served = |api: &Option<ApiSettings>| api.as_ref().map(|api| (api.endpoint.clone(), api.versions.clone()));
    // What is stored as it is now keeps nobody from saving something else.
    if *deployed != row.bundle_id || served(&settings.api) != served(&Settings::read(&row.settings)?.api) {
        require_endpoint(&tx, &row.project_key, deployed, settings.api.as_ref()).await?;
    }
    let mut row = counted(row, &viewer.login, tx.now().await?);
    if let Some(bundle_id) = bundle_id {
        row.bundle_id = Set(bundle_id);
    }
    if let Some(deployed) = change.deployed_project_key {
        row.deployed_project_key = Set(deployed);
    }
    row.settings = Set(serde_json::to_string(&settings)?);
    let row = row.update(&*tx).await.map_err(|error| unless_taken(error, half))?;
    if half == Half::Api {
        let mut kept = sealed::named_in(&row.settings)?;
        // What is live goes on with its own, until the next update.
        if let Some(live) = Standing::read(&*tx, id).await?.live {
            kept.extend(sealed::named_in(&serde_json::to_string(&live.body.service)?)?);
        }
        sealed::forget_unused_of(&tx, &sealed::deployment_owner_of(id), &kept, Some(id)).await?;
    }
    act.commit(tx).await?;
    views(deployer, viewer, vec![row]).await?.pop().ok_or_else(|| Error::not_found("id"))
}

/// Whether the deployment's version is among those that share the queries, if several do.
fn is_among(bundle_id: &str, api: &ApiSettings) -> bool {
    api.versions.is_empty() || api.versions.iter().any(|share| share.version == bundle_id)
}

/// # Errors
/// `VERSION_SHARES_INVALID`.
fn refuse_left_out(bundle_id: &str, api: Option<&ApiSettings>) -> Result<()> {
    if api.is_none_or(|api| is_among(bundle_id, api)) {
        return Ok(());
    }
    let message = format!("The deployment's version {bundle_id} is not among those that share the queries.");
    Err(Error::field("VERSION_SHARES_INVALID", "versions", message))
}

/// What an update would deploy: of a service with several versions all of them.
fn deployed_by<'a>(bundle_id: &'a str, known: Option<&'a ApiSettings>, change: &'a ApiChange) -> Vec<&'a str> {
    let known = known.map(|api| api.versions.as_slice()).unwrap_or_default();
    match change.versions.as_deref().unwrap_or(known) {
        [] => vec![bundle_id],
        versions => versions.iter().map(|share| share.version.as_str()).collect(),
    }
}

/// Refuses where the infrastructure's policies warn of a bundle that this deployment would be set to.
pub(crate) async fn heed_warnings(
    deployer: &Deployer,
    viewer: &Viewer,
    row: &deployment::Model,
    deployed_project_key: &str,
    bundles: Vec<&str>,
) -> Result<()> {
    let place = infrastructure::Entity::find_by_id(row.infrastructure_id.clone()).one(deployer.db.pool()).await?;
    let place = place.ok_or_else(|| Error::not_found("id"))?;
    let wish = Wish { deployment_id: &row.id, project_key: &row.project_key, deployed_project_key, bundles };
    refuse_warnings(deployer, viewer, &place, wish).await
}

/// The row, with one change more by this user.
pub(crate) fn counted(row: deployment::Model, login: &str, now: i64) -> deployment::ActiveModel {
    let other_version = versions::other((row.version, row.other_version), &row.updated_by, login);
    let version = row.version + 1;
    let mut row = row.into_active_model();
    row.version = Set(version);
    row.other_version = Set(other_version);
    row.updated_at = Set(now);
    row.updated_by = Set(login.to_owned());
    row
}

/// The settings after a change, if it may be made to this row.
fn changed(row: &deployment::Model, change: &Change) -> Result<Settings> {
    if row.version != change.expected_version {
        return Err(Error::version_conflict(change.expected_version, row.version));
    }
    let settings = Settings::read(&row.settings)?.with(&change.settings);
    let mut problems = Problems::default();
    settings.check(&mut problems);
    let half = halves::half_of(&row.project_key);
    change.settings.check(half, &mut problems);
    if let Some(bundle_id) = &change.bundle_id {
        names::check(bundle_id, bundles::field(half), &mut problems);
    }
    let moved = change.deployed_project_key.as_ref().filter(|key| **key != row.deployed_project_key);
    if let Some(deployed) = moved {
        names::check(deployed, deployed_field(half), &mut problems);
        // What is on the node would be left behind, unwatched.
        if row.last_run_no > 0 {
            let message = "An update was requested already, so it keeps its name on the node. Make another deployment.";
            problems.add("DEPLOYED_PROJECT_KEY_FIXED", deployed_field(half), message);
        }
    }
    problems.check()?;
    Ok(settings)
}

/// Deletes a deployment with the history of its updates. What is on the node stays there.
///
/// # Errors
/// `NOT_FOUND`, `FORBIDDEN` without Deploy on both; `UPDATE_RUNNING` while one of its updates has not ended.
pub async fn delete(deployer: &Deployer, viewer: &Viewer, id: &str) -> Result<()> {
    let act = &act(deployer, viewer, "deleteDeployment", id);
    act.run(|| delete_once(deployer, viewer, id, act)).await
}

async fn delete_once(deployer: &Deployer, viewer: &Viewer, id: &str, act: &Act<'_>) -> Result<()> {
    rights::require_deployment(deployer.db.pool(), viewer, id, Access::Change, "id").await?;
    let tx = deployer.db.begin().await?;
    lock(&tx, viewer, id, "id").await?;
    act.before(&tx).await?;
    let unfinished = run::Column::DeploymentId.eq(id).and(run::Column::EndedAt.is_null());
    if run::Entity::find().filter(unfinished).count(&*tx).await? > 0 {
        return Err(Error::field(
            "UPDATE_RUNNING",
            "id",
            "An update of this deployment has not ended. Cancel it (or abandon it, if it is stuck), then delete the deployment.",
        ));
    }
    erase(&tx, id).await?;
    act.commit(tx).await?;
    tracing::info!(deployment = id, by = viewer.login, "a deployment was deleted");
    Ok(())
}

/// Locks and reads a deployment's row: requests of updates, changes and the deletion take turns here. Asks again whether the viewer may change it: the
/// right may have gone while we waited.
pub(crate) async fn lock(tx: &Tx, viewer: &Viewer, id: &str, field: &str) -> Result<deployment::Model> {
    tx.lock("deployment", "id = $1", id).await?;
    rights::require_deployment(&**tx, viewer, id, Access::Change, field).await
}

/// The infrastructure must still be there when we commit.
async fn keep_infrastructure(tx: &Tx, id: &str) -> Result<()> {
    let mut query = infrastructure::Entity::find_by_id(id.to_owned());
    if tx.get_database_backend() == DbBackend::Postgres {
        query = query.lock_shared();
    }
    query.one(&**tx).await?.map(|_| ()).ok_or_else(|| Error::not_found("infrastructureId"))
}

/// # Errors
/// `BUNDLE_UNKNOWN`.
pub(crate) async fn require_bundle(tx: &Tx, project_key: &str, bundle_id: &str) -> Result<()> {
    let half = halves::half_of(project_key);
    require_package(tx, project_key, bundle_id, bundles::field(half)).await
}

async fn require_package(tx: &Tx, key: &str, package: &str, field: &str) -> Result<()> {
    let half = halves::half_of(key);
    let package = BundleKey { project_key: key.to_owned(), bundle_id: package.to_owned() };
    let found = bundles::lock(tx, &package, Hold::Keep).await?;
    found.map(|_| ()).ok_or_else(|| {
        let message = format!("The {} has no {} with this id.", halves::noun(half), halves::package(half));
        Error::field("BUNDLE_UNKNOWN", field, message)
    })
}

/// The endpoint is one of all the versions: no update could serve it, else.
///
/// # Errors
/// `ENDPOINT_MISSING`.
async fn require_endpoint(tx: &Tx, key: &str, bundle_id: &str, api: Option<&ApiSettings>) -> Result<()> {
    let Some((api, endpoint)) = api.and_then(|api| Some((api, api.endpoint.as_deref()?))) else { return Ok(()) };
    let shared = api.versions.iter().map(|share| share.version.as_str());
    let only = Some(bundle_id).filter(|_| api.versions.is_empty());
    for version in shared.chain(only) {
        let Some((_, contents)) = services::versions::row(&**tx, key, version).await? else { continue };
        let ids: Vec<_> = contents.endpoints.iter().map(|one| one.id.as_str()).collect();
        if !ids.contains(&endpoint) {
            let told = ids.iter().take(MOST_NAMED).copied().collect::<Vec<_>>().join(", ");
            let more = ids.len().saturating_sub(MOST_NAMED);
            let has = match more {
                0 if ids.is_empty() => "names none".to_owned(),
                0 => format!("has {told}"),
                _ => format!("has {told} and {more} more"),
            };
            let message = format!("Version {version} has no endpoint {endpoint}; it {has}. Choose one of its own.");
            return Err(Error::field("ENDPOINT_MISSING", "endpoint", message));
        }
    }
    Ok(())
}

/// Seals what was entered of an API service. What it names must be there when we commit.
async fn put_api(deployer: &Deployer, tx: &Tx, key: &str, id: &str, api: PreparedApi) -> Result<ApiSettings> {
    for (at, share) in api.versions().iter().enumerate() {
        require_package(tx, key, &share.version, &format!("versions[{at}].version")).await?;
    }
    services::hold_groups(tx, &api.new_groups(), "queryGroups").await?;
    api.seal(tx, &deployer.keyring, id).await
}

/// The argument that names what is deployed.
fn parent_field(half: Half) -> &'static str {
    match half {
        Half::Project => "projectKey",
        Half::Api => "serviceId",
    }
}

/// The argument that names it on the node.
fn deployed_field(half: Half) -> &'static str {
    match half {
        Half::Project => "deployedProjectKey",
        Half::Api => "deployedServiceId",
    }
}

fn other_half(wanted: Half) -> Error {
    let message = match wanted {
        Half::Project => "This infrastructure is for API services. Choose one for projects.",
        Half::Api => "This infrastructure is for projects. Choose one for API services.",
    };
    Error::field("INFRASTRUCTURE_OF_OTHER_HALF", "infrastructureId", message)
}

/// The one unique index beside the id: a place on a node.
fn unless_taken(error: DbErr, half: Half) -> Error {
    if !is_duplicate(&error) {
        return error.into();
    }
    let what = match half {
        Half::Project => "project key",
        Half::Api => "service id",
    };
    let message = format!("Another deployment has this {what} on this infrastructure. Choose another one.");
    Error::field("DEPLOYED_PROJECT_KEY_TAKEN", deployed_field(half), message)
}
