//! Which path below `/api-deployer` is which function.

use std::pin::Pin;

use deployer::{
    audit::{Object, ObjectKind},
    error::{Error, Result},
};
use serde_json::Value;

use super::{deployments, infras, services};
use crate::{
    Context,
    call::{Call, Method},
    futures, updates,
};

/// One row of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ApiRow<'a> {
    Stages,
    Infras,
    CreateInfra,
    Infra(&'a str),
    DeleteInfra(&'a str),
    InfraSettings(&'a str),
    SaveInfraSettings(&'a str),
    Services,
    CreateService,
    Service(&'a str),
    DeleteService(&'a str),
    ServiceSettings(&'a str),
    SaveServiceSettings(&'a str),
    UploadVersion(&'a str),
    Version(&'a str, &'a str),
    DeleteVersion(&'a str, &'a str),
    Deployments,
    CreateDeployment,
    Deployment(&'a str),
    DeleteDeployment(&'a str),
    DeploymentStatus(&'a str),
    GovernanceStatus(&'a str),
    DeploymentSettings(&'a str),
    SaveDeploymentSettings(&'a str),
    StartUpdate(&'a str),
    OpenApi(&'a str),
    TestQueries(&'a str),
    Queries(&'a str),
    Updates(&'a str),
    Update(&'a str, &'a str),
    LastUpdate(&'a str),
}

pub(crate) fn row<'a>(method: Method, path: &[&'a str]) -> Option<ApiRow<'a>> {
    use Method::{Delete, Get, Post, Put};
    Some(match (method, path) {
        (Get, ["stages"] | ["infras", "stages"]) => ApiRow::Stages,
        (_, ["infras", "stages", ..]) => return None,
        (Get, ["infras"]) => ApiRow::Infras,
        (Post, ["infras"]) => ApiRow::CreateInfra,
        (Get, ["infras", id]) => ApiRow::Infra(id),
        (Delete, ["infras", id]) => ApiRow::DeleteInfra(id),
        (Get, ["infras", id, "settings"]) => ApiRow::InfraSettings(id),
        (Put, ["infras", id, "settings"]) => ApiRow::SaveInfraSettings(id),
        (Get, ["services"]) => ApiRow::Services,
        (Post, ["services"]) => ApiRow::CreateService,
        (Get, ["services", id]) => ApiRow::Service(id),
        (Delete, ["services", id]) => ApiRow::DeleteService(id),
        (Get, ["services", id, "settings"]) => ApiRow::ServiceSettings(id),
        (Put, ["services", id, "settings"]) => ApiRow::SaveServiceSettings(id),
        (Post, ["services", id, "versions"]) => ApiRow::UploadVersion(id),
        (Get, ["services", id, "versions", version]) => ApiRow::Version(id, version),
        (Delete, ["services", id, "versions", version]) => ApiRow::DeleteVersion(id, version),
        (Get, ["deployments"]) => ApiRow::Deployments,
        (Post, ["deployments"]) => ApiRow::CreateDeployment,
        (Get, ["deployments", id]) => ApiRow::Deployment(id),
        (Delete, ["deployments", id]) => ApiRow::DeleteDeployment(id),
        (Get, ["deployments", id, "settings"]) => ApiRow::DeploymentSettings(id),
        (Put, ["deployments", id, "settings"]) => ApiRow::SaveDeploymentSettings(id),
        (Get, ["deployments", id, "status"]) => ApiRow::DeploymentStatus(id),
        (Get, ["deployments", id, "governance-status"]) => ApiRow::GovernanceStatus(id),
        (Get, ["deployments", id, "get-open-api"]) => ApiRow::OpenApi(id),
        (Post, ["deployments", id, "actions", "update"]) => ApiRow::StartUpdate(id),
        (Post, ["deployments", id, "actions", "run-test-queries"]) => ApiRow::TestQueries(id),
        (Post, ["deployments", id, "actions", "run-queries"]) => ApiRow::Queries(id),
        (Get, ["deployments", id, "update"]) => ApiRow::Updates(id),
        (Get, ["deployments", id, "update", at]) => ApiRow::Update(id, at),
        (Get, ["deployments", id, "last-update"]) => ApiRow::LastUpdate(id),
        _ => return None,
    })
}

impl ApiRow<'_> {
    /// Whether this call may take as long as what it waits for.
    pub(crate) fn is_patient(self) -> bool {
        matches!(self, Self::DeleteDeployment(_) | Self::TestQueries(_) | Self::Queries(_))
    }
}

/// What a call asks for, in the words of the audit; None for one that reads.
pub(crate) fn asked(row: ApiRow<'_>, given: impl Fn(&str) -> String) -> Option<(&'static str, Object)> {
    use ObjectKind::{Deployment, Infrastructure};
    Some(match row {
        ApiRow::CreateInfra => ("createInfrastructure", Object::new(Infrastructure, &given("id"))),
        ApiRow::DeleteInfra(id) => ("deleteInfrastructure", Object::new(Infrastructure, id)),
        ApiRow::SaveInfraSettings(id) => ("updateInfrastructure", Object::new(Infrastructure, id)),
        ApiRow::CreateService => ("createPublishedService", Object::service(&given("publishedServiceId"))),
        ApiRow::DeleteService(id) => ("deletePublishedService", Object::service(id)),
        ApiRow::SaveServiceSettings(id) => ("updatePublishedService", Object::service(id)),
        ApiRow::UploadVersion(id) => ("uploadServiceVersion", Object::version(id, "")),
        ApiRow::DeleteVersion(id, version) => ("deleteServiceVersion", Object::version(id, version)),
        ApiRow::CreateDeployment => {
            let object = Object::new(Deployment, &given("deploymentId"));
            ("createDeployment", object.on_service(&given("infraId"), &given("publishedServiceId")))
        }
        ApiRow::DeleteDeployment(id) => ("deleteDeployment", Object::new(Deployment, id)),
        ApiRow::SaveDeploymentSettings(id) => ("updateDeploymentSettings", Object::new(Deployment, id)),
        ApiRow::StartUpdate(id) => ("startUpdate", Object::new(Deployment, id)),
        ApiRow::Stages
        | ApiRow::Infras
        | ApiRow::Infra(_)
        | ApiRow::InfraSettings(_)
        | ApiRow::Services
        | ApiRow::Service(_)
        | ApiRow::ServiceSettings(_)
        | ApiRow::Version(..)
        | ApiRow::Deployments
        | ApiRow::Deployment(_)
        | ApiRow::DeploymentStatus(_)
        | ApiRow::GovernanceStatus(_)
        | ApiRow::DeploymentSettings(_)
        | ApiRow::OpenApi(_)
        | ApiRow::TestQueries(_)
        | ApiRow::Queries(_)
        | ApiRow::Updates(_)
        | ApiRow::Update(..)
        | ApiRow::LastUpdate(_) => return None,
    })
}

type Document<'a> = Pin<Box<dyn Future<Output = Result<Value>> + Send + 'a>>;

/// A call's answer to be.
pub(crate) fn document<'a>(row: ApiRow<'a>, context: &'a Context<'_>, call: &'a Call) -> Result<Document<'a>> {
    Ok(match row {
        ApiRow::Stages => Box::pin(infras::stages(context)),
        ApiRow::Infras => Box::pin(infras::list(context)),
        ApiRow::CreateInfra => Box::pin(infras::create(context, call.json()?)),
        ApiRow::Infra(id) => Box::pin(infras::status(context, id)),
        ApiRow::DeleteInfra(id) => Box::pin(infras::delete(context, id)),
        ApiRow::InfraSettings(id) => Box::pin(infras::settings(context, id)),
        ApiRow::SaveInfraSettings(id) => Box::pin(infras::save(context, id, call)),
        ApiRow::Services => Box::pin(services::list(context)),
        ApiRow::CreateService => Box::pin(services::create(context, call.json()?)),
        ApiRow::Service(id) => Box::pin(services::status(context, id)),
        ApiRow::DeleteService(id) => Box::pin(services::delete(context, id)),
        ApiRow::ServiceSettings(id) => Box::pin(services::settings(context, id)),
        ApiRow::SaveServiceSettings(id) => Box::pin(services::save(context, id, call)),
        ApiRow::UploadVersion(_) => {
            let message = "Send the version as multipart/form-data, in a part named file.";
            return Err(Error::field("BAD_REQUEST", "file", message));
        }
        ApiRow::Version(..) => return Err(Error::fault("a version is no document")),
        ApiRow::DeleteVersion(id, version) => Box::pin(services::delete_version(context, id, version)),
        ApiRow::Deployments => Box::pin(deployments::list(context)),
        ApiRow::CreateDeployment => Box::pin(deployments::create(context, call)),
        ApiRow::Deployment(id) => Box::pin(deployments::light(context, id)),
        ApiRow::DeleteDeployment(id) => Box::pin(deployments::delete(context, id, call)),
        ApiRow::DeploymentStatus(id) => Box::pin(deployments::heavy(context, id)),
        ApiRow::GovernanceStatus(id) => Box::pin(deployments::governance_status(context, id, call)),
        ApiRow::DeploymentSettings(id) => Box::pin(deployments::settings(context, id)),
        ApiRow::SaveDeploymentSettings(id) => Box::pin(deployments::save(context, id, call)),
        ApiRow::StartUpdate(id) => Box::pin(async move {
            deployments::get(context, id).await?;
            futures::start(context, id).await
        }),
        ApiRow::OpenApi(id) => Box::pin(deployments::open_api(context, id)),
        ApiRow::TestQueries(id) => Box::pin(deployments::test_queries(context, id, call)),
        ApiRow::Queries(id) => Box::pin(deployments::queries(context, id, call)),
        ApiRow::Updates(id) => Box::pin(async move {
            deployments::get(context, id).await?;
            updates::list_of(context, id).await
        }),
        ApiRow::Update(id, at) => Box::pin(async move {
            deployments::get(context, id).await?;
            updates::at_of(context, id, at).await
        }),
        ApiRow::LastUpdate(id) => Box::pin(async move {
            deployments::get(context, id).await?;
            updates::last_of(context, id).await
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn history_and_start_are_two_paths() {
        use Method::{Get, Post};
        assert_eq!(row(Get, &["deployments", "d", "update"]), Some(ApiRow::Updates("d")));
        assert_eq!(row(Post, &["deployments", "d", "actions", "update"]), Some(ApiRow::StartUpdate("d")));
        assert_eq!(row(Get, &["infras", "stages"]), Some(ApiRow::Stages));
        assert_eq!(row(Post, &["services", "s", "versions"]), Some(ApiRow::UploadVersion("s")));
        assert_eq!(row(Get, &["services", "s", "versions"]), None);
    }
}
