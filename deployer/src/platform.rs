//! The platform behind an infrastructure, and how it opens the secrets that a spec names.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use engine::{
    failure::{Code, Failure},
    secrets::Secret,
};
use entities::{deployment, infrastructure};
use sea_orm::EntityTrait as _;
use targets::{
    TargetType, codes,
    spec::{DeploySpec, InfrastructureSpec},
    target::{Projects, Secrets, Target},
};

use crate::{
    Deployer,
    error::{Error, Result},
    schema, sealed,
};

/// The kind of platform of an infrastructure's row.
pub(crate) fn kind_of(row: &infrastructure::Model) -> Result<TargetType> {
    row.kind.parse::<TargetType>().map_err(|error| Error::fault(error.to_string()))
}

/// The platform behind an infrastructure.
pub(crate) fn target_of(deployer: &Deployer, row: &infrastructure::Model) -> Result<Arc<dyn Target>> {
    let kind = kind_of(row)?;
    deployer.targets.find(kind).ok_or_else(|| Error::fault(format!("this build lacks {kind}")))
}

/// The infrastructure of now as an API service meets it that was deployed earlier: reached as it is reached now, and set as it was set then. What was set since comes
/// with the next update.
pub(crate) fn as_deployed(target: &dyn Target, then: &DeploySpec, now: &mut InfrastructureSpec) -> Result<()> {
    if then.service.is_some() && then.infrastructure.id == now.id {
        let schema = schema::of(target.describe().settings)?;
        now.settings = schema::reached_as_now(&schema, &then.infrastructure.settings, &now.settings);
    }
    Ok(())
}

/// The settings of an infrastructure of this kind that say how its platform is reached.
pub(crate) fn reach(target: &Arc<dyn Target>) -> Result<Vec<String>> {
    Ok(schema::reach(&*schema::of(target.describe().settings)?))
}

/// The infrastructure of a deployment.
pub(crate) async fn place_of(deployer: &Deployer, row: &deployment::Model) -> Result<infrastructure::Model> {
    let place = infrastructure::Entity::find_by_id(row.infrastructure_id.clone()).one(deployer.db.pool()).await?;
    place.ok_or_else(|| Error::fault(format!("deployment {} has no infrastructure", row.id)))
}

/// The platform behind a deployment.
pub(crate) async fn of_deployment(deployer: &Deployer, row: &deployment::Model) -> Result<Arc<dyn Target>> {
    target_of(deployer, &place_of(deployer, row).await?)
}

/// So long a node, or a platform, has for a check or a preview: the request has its own limit, and what the others said must not be lost with it.
const WITHIN: Duration = Duration::from_secs(30);

/// What is asked of one node or platform, for a while.
pub(crate) async fn asked_for_a_while<T>(
    asked: impl Future<Output = std::result::Result<T, Failure>>,
) -> std::result::Result<T, Failure> {
    tokio::time::timeout(WITHIN, asked).await.unwrap_or_else(|_| {
        let message = format!(
            "It did not answer within {} seconds. Look at it, and at the network on the way.",
            WITHIN.as_secs()
        );
        Err(Failure::new(codes::NODE_TIMED_OUT, message))
    })
}

/// What only platforms for projects do.
pub(crate) fn projects<'a>(target: &'a Arc<dyn Target>, field: &str) -> Result<&'a dyn Projects> {
    target.projects().ok_or_else(|| not_for_projects(field))
}

/// Something was asked that only makes sense for a project.
pub(crate) fn not_for_projects(field: &str) -> Error {
    let message = "This infrastructure is for API services; only projects have this. Name one of an Automation node.";
    Error::field("NOT_FOR_API_SERVICES", field, message)
}

/// A secret that a spec refers to is gone: it was replaced after the spec was read.
pub(crate) const GONE: Code = Code::new("ADMIN_KEY_MISSING");

/// Opens secrets for what acts in the deployer's own name, after the caller asked for the right.
pub(crate) struct Opener<'a>(pub(crate) &'a Deployer);

#[async_trait]
impl Secrets for Opener<'_> {
    async fn open(&self, reference: &str) -> std::result::Result<Secret, Failure> {
        match sealed::open(&self.0.db, &self.0.keyring, reference).await {
            Ok(Some(secret)) => Ok(secret),
            Ok(None) => {
                let message = "A key of this infrastructure was replaced meanwhile. Try again.";
                Err(Failure::new(GONE, message))
            }
            Err(Error::Refused(refusals)) => {
                let first = refusals.into_iter().next();
                Err(first.map_or_else(failed, |refusal| Failure::new(Code::new(refusal.code), refusal.message)))
            }
            Err(Error::Fault(fault)) => {
                tracing::error!(error = ?fault, "a secret could not be opened");
                Err(failed())
            }
        }
    }
}

fn failed() -> Failure {
    Failure::new(Code::new("INTERNAL"), "A key could not be read. Slipway's operators find why in its log.")
}
