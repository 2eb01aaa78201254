//! What a call asks for, in the words of the audit.

use deployer::audit::{Object, ObjectKind};

use crate::{Context, api_deployer, call::Call, routes::Row};

/// The action, and the thing that is meant, of a call that changes something; None for one that reads, and for one that is about many at once: each
/// of those is told for itself.
pub(crate) fn of(row: Row<'_>, context: &Context<'_>, call: &Call) -> Option<(&'static str, Object)> {
    use ObjectKind::{ApiKey, Custom, Deployment, Group, Infrastructure, PublishedProject, Update, User};
    let given = |name: &str| {
        let body = call.json().unwrap_or_default();
        body.get(name).and_then(|value| value.as_str()).unwrap_or_default().to_owned()
    };
    let own = context.viewer.login.as_str();
    Some(match row {
        Row::CreateInfra | Row::ProjectInfras => ("createInfrastructure", Object::new(Infrastructure, &given("id"))),
        Row::DeleteInfra(id) => ("deleteInfrastructure", Object::new(Infrastructure, id)),
        Row::SaveInfraSettings(id) => ("updateInfrastructure", Object::new(Infrastructure, id)),
        Row::PersonalKeys(id) => ("generatePersonalKeys", Object::new(Infrastructure, id)),
        Row::CreateProject => ("createPublishedProject", Object::new(PublishedProject, &given("publishedProjectKey"))),
        Row::DeleteProject(key) => ("deletePublishedProject", Object::new(PublishedProject, key)),
        Row::SaveProjectSettings(key) => ("updatePublishedProject", Object::new(PublishedProject, key)),
        Row::UploadBundle => ("uploadBundle", Object::bundle(call.text("projectKey").unwrap_or_default(), "")),
        Row::DeleteBundle(key, id) => ("deleteBundle", Object::bundle(key, id)),
        Row::CreateDeployment => {
            let object = Object::new(Deployment, &given("deploymentId"));
            ("createDeployment", object.on(&given("infraId"), &given("publishedProjectKey")))
        }
        Row::DeleteDeployment(id) => ("deleteDeployment", Object::new(Deployment, id)),
        Row::SaveDeploymentSettings(id) => ("updateDeploymentSettings", Object::new(Deployment, id)),
        Row::RunTests(id) => ("runTestScenarios", Object::new(Deployment, id)),
        Row::StartUpdate(id) => ("startUpdate", Object::new(Deployment, id)),
        Row::Abort(id) => ("cancelUpdate", Object::new(Update, id)),
        Row::CreateUser => ("createUser", Object::new(User, &given("login"))),
        Row::SaveUser(login) => ("updateUser", Object::new(User, login)),
        Row::SaveOwnUser => ("updateUser", Object::new(User, own)),
        Row::DeleteUser(login) => ("deleteUser", Object::new(User, login)),
        Row::CreateGroup => ("createGroup", Object::new(Group, &given("name"))),
        Row::SaveGroup(name) => ("describeGroup", Object::new(Group, name)),
        Row::DeleteGroup(name) => ("deleteGroup", Object::new(Group, name)),
        Row::CreateKey => ("createApiKey", Object::new(User, own)),
        Row::CreateAdminKey => ("createApiKey", Object::new(User, &given("user"))),
        Row::SaveKey(id) => ("describeApiKey", Object::new(ApiKey, id)),
        Row::DeleteKey(id) => ("revokeApiKey", Object::new(ApiKey, id)),
        Row::Audit(kind) => ("custom", Object::new(Custom, kind)),
        Row::Api(row) => return api_deployer::asked(row, given),
        Row::CreateUsers | Row::SaveUsers | Row::DeleteUsers => return None,
        Row::Stages
        | Row::Infras
        | Row::Infra(_)
        | Row::InfraSettings(_)
        | Row::Projects
        | Row::Project(_)
        | Row::ProjectSettings(_)
        | Row::Bundle(..)
        | Row::StandardsReport(..)
        | Row::Deployments
        | Row::Deployment(_)
        | Row::DeploymentStatus(_)
        | Row::GovernanceStatus(_)
        | Row::TestingStatus(_)
        | Row::DeploymentSettings(_)
        | Row::Updates(_)
        | Row::Update(..)
        | Row::LastUpdate(_)
        | Row::Futures
        | Row::Future(_)
        | Row::AuthInfo
        | Row::InstanceInfo
        | Row::Users
        | Row::User(_)
        | Row::AdminUsers
        | Row::AdminUser(_)
        | Row::OwnUser
        | Row::Groups
        | Row::AdminGroups
        | Row::AdminGroup(_)
        | Row::Keys
        | Row::Key(_)
        | Row::AdminKeys => return None,
    })
}
