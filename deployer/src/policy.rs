//! What must still hold when an update begins: asked by the worker in step `check_policy`, in nobody's name but the requester's.

use engine::{
    failure::{Code, Failure, StepError},
    packages::{PackageError, PackageKey},
};
use entities::{account, bundle, deployment};
use sea_orm::EntityTrait as _;
use targets::spec::DeploySpec;

use crate::{
    Deployer,
    error::Error,
    governance, keys,
    rights::{self, Access},
    updates::UpdateType,
};

/// The requester is no user any more, or disabled, or another one has the login now.
pub const POLICY_REQUESTER_GONE: Code = Code::new("POLICY_REQUESTER_GONE");
/// The requester may no longer deploy.
pub const POLICY_RIGHT_LOST: Code = Code::new("POLICY_RIGHT_LOST");
/// The package is gone, or another one now.
pub const POLICY_PACKAGE_GONE: Code = Code::new("POLICY_PACKAGE_GONE");
/// We could not look.
pub const POLICY_UNAVAILABLE: Code = Code::new("POLICY_UNAVAILABLE");

/// Who asked for an update, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked<'a> {
    /// The login.
    pub requester: &'a str,
    /// µs since the Unix epoch.
    pub at: i64,
}

/// Whether this update may begin: the requester exists, is enabled and may deploy on the infrastructure and the published project; the package
/// is there with the content that was asked for, if the update deploys it; the infrastructure's policies let it be deployed. Answers what they warn of. `last`: no attempt follows this one.
///
/// # Errors
/// `POLICY_REQUESTER_GONE`, `POLICY_RIGHT_LOST`, `POLICY_PACKAGE_GONE`, `GOVERNANCE_PREVENTED`, `GOVERNANCE_SOURCE_INVALID`,
/// `PROJECT_STANDARDS_PREVENTED`, all permanent; `POLICY_UNAVAILABLE`, `GOVERNANCE_UNAVAILABLE`, worth another attempt.
pub async fn check(
    deployer: &Deployer,
    asked: Asked<'_>,
    spec: &DeploySpec,
    kind: UpdateType,
    last: bool,
) -> Result<Vec<String>, StepError> {
    let requester = asked.requester;
    let account = account::Entity::find_by_id(requester).one(deployer.db.pool()).await;
    // Whoever got the login later did not ask.
    let same =
        account.map_err(|error| unavailable(error.into()))?.is_some_and(|account| account.created_at <= asked.at);
    let viewer = keys::viewer_of(&deployer.db, requester).await.map_err(unavailable)?.filter(|_| same);
    let Some(viewer) = viewer else {
        let message = format!(
            "{requester}, who asked for this update, is no user any more or is disabled. Somebody else has to ask for it."
        );
        return Err(Failure::new(POLICY_REQUESTER_GONE, message).permanent());
    };
    let db = deployer.db.pool();
    let row = deployment::Entity::find_by_id(spec.deployment.clone())
        .one(db)
        .await
        .map_err(|error| unavailable(error.into()))?;
    let rights = match &row {
        Some(row) => rights::deployment_rights(db, &viewer, std::slice::from_ref(row)).await.map_err(unavailable)?,
        None => std::collections::BTreeMap::new(),
    };
    if !rights.get(&spec.deployment).is_some_and(|rights| rights.may(Access::Change)) {
        let message = format!(
            "{requester}, who asked for this update, may no longer deploy on its infrastructure, or what is published. Ask an administrator \
             for the right Deploy on both, or let somebody else ask for the update."
        );
        return Err(Failure::new(POLICY_RIGHT_LOST, message).permanent());
    }
    if kind.deploys() {
        package(deployer, spec).await?;
    }
    governance::check(deployer, requester, spec, last).await
}

/// The package must be what was asked for.
async fn package(deployer: &Deployer, spec: &DeploySpec) -> Result<(), StepError> {
    let package = &spec.package;
    stored(deployer, &package.project_key, (&package.bundle_id, &package.sha256, package.size)).await?;
    for version in spec.service.iter().flat_map(|service| &service.versions) {
        stored(deployer, &package.project_key, (&version.version, &version.sha256, version.size)).await?;
    }
    Ok(())
}

async fn stored(deployer: &Deployer, key: &str, (package, sha256, size): (&str, &str, u64)) -> Result<(), StepError> {
    let id = (key.to_owned(), package.to_owned());
    let bundle =
        bundle::Entity::find_by_id(id).one(deployer.db.pool()).await.map_err(|error| unavailable(error.into()))?;
    if bundle.is_none_or(|bundle| bundle.sha256 != sha256) {
        return Err(gone());
    }
    let key = PackageKey::of(sha256).map_err(|error| store(&error))?;
    // Opening says that the store has it; its content is checked while it is sent.
    match deployer.packages.open_package(&key).await {
        Ok((found, _)) if found == size => Ok(()),
        Ok(_) | Err(PackageError::NotFound) => Err(gone()),
        Err(error) => Err(store(&error)),
    }
}

fn gone() -> StepError {
    let message = "The bundle or version of this update was deleted, or its package is no longer in the store. Upload it again, or deploy another one.";
    Failure::new(POLICY_PACKAGE_GONE, message).permanent()
}

fn store(error: &PackageError) -> StepError {
    tracing::warn!(%error, "the package store could not be asked");
    Failure::new(POLICY_UNAVAILABLE, "The package store could not be asked. It is tried again.").retryable(None)
}

pub(crate) fn unavailable(error: Error) -> StepError {
    // A database's words are for our log alone.
    tracing::warn!(?error, "the policy of an update could not be checked");
    Failure::new(POLICY_UNAVAILABLE, "Slipway's own records could not be read. It is tried again.").retryable(None)
}
