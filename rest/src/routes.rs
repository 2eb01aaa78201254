//! Which path is which function. A path that this API has under another method answers `METHOD_NOT_ALLOWED`, any other `NOT_FOUND`.

use std::{
    future::{Future, ready},
    pin::Pin,
};

use deployer::{
    audit,
    bundles::BundleKey,
    error::{Error, Result},
};

use serde_json::Value;

use crate::{
    Context,
    api_deployer::{self, ApiRow},
    asked,
    call::{Answer, Call, Method},
    deployments, futures, groups, infras, instance, keys, people, projects, updates,
};

/// One row of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Row<'a> {
    Stages,
    Infras,
    CreateInfra,
    Infra(&'a str),
    DeleteInfra(&'a str),
    InfraSettings(&'a str),
    SaveInfraSettings(&'a str),
    PersonalKeys(&'a str),
    Projects,
    CreateProject,
    Project(&'a str),
    DeleteProject(&'a str),
    ProjectSettings(&'a str),
    SaveProjectSettings(&'a str),
    ProjectInfras,
    UploadBundle,
    Bundle(&'a str, &'a str),
    DeleteBundle(&'a str, &'a str),
    StandardsReport(&'a str, &'a str),
    Deployments,
    CreateDeployment,
    Deployment(&'a str),
    DeleteDeployment(&'a str),
    DeploymentStatus(&'a str),
    GovernanceStatus(&'a str),
    TestingStatus(&'a str),
    RunTests(&'a str),
    DeploymentSettings(&'a str),
    SaveDeploymentSettings(&'a str),
    StartUpdate(&'a str),
    Updates(&'a str),
    Update(&'a str, &'a str),
    LastUpdate(&'a str),
    Futures,
    Future(&'a str),
    Abort(&'a str),
    AuthInfo,
    InstanceInfo,
    Users,
    User(&'a str),
    AdminUsers,
    AdminUser(&'a str),
    CreateUser,
    SaveUser(&'a str),
    DeleteUser(&'a str),
    CreateUsers,
    SaveUsers,
    DeleteUsers,
    OwnUser,
    SaveOwnUser,
    Groups,
    AdminGroups,
    AdminGroup(&'a str),
    CreateGroup,
    SaveGroup(&'a str),
    DeleteGroup(&'a str),
    Keys,
    Key(&'a str),
    CreateKey,
    SaveKey(&'a str),
    DeleteKey(&'a str),
    AdminKeys,
    CreateAdminKey,
    Audit(&'a str),
    Api(ApiRow<'a>),
}

fn row<'a>(method: Method, path: &[&'a str]) -> Option<Row<'a>> {
    match path {
        ["project-deployer", path @ ..] => project_deployer(method, path),
        ["api-deployer", path @ ..] => api_deployer::row(method, path).map(Row::Api),
        ["admin", path @ ..] => admin(method, path),
        path => others(method, path),
    }
}

fn project_deployer<'a>(method: Method, path: &[&'a str]) -> Option<Row<'a>> {
    use Method::{Delete, Get, Post, Put};
    Some(match (method, path) {
        // The REST documentation names two paths otherwise than the client.
        (Get, ["stages"] | ["infras", "stages"]) => Row::Stages,
        (_, ["infras", "stages", ..]) => return None,
        (Get, ["infras"]) => Row::Infras,
        (Post, ["infras"]) => Row::CreateInfra,
        (Get, ["infras", id]) => Row::Infra(id),
        (Delete, ["infras", id]) => Row::DeleteInfra(id),
        (Get, ["infras", id, "settings"]) => Row::InfraSettings(id),
        (Put, ["infras", id, "settings"]) => Row::SaveInfraSettings(id),
        (Post, ["infras", id, "generate-personal-api-key"]) => Row::PersonalKeys(id),
        (Post, ["projects", "infras"]) => Row::ProjectInfras,
        (Post, ["projects", "bundles"]) => Row::UploadBundle,
        (_, ["projects", "infras" | "bundles", ..]) => return None,
        (Get, ["projects"]) => Row::Projects,
        (Post, ["projects"]) => Row::CreateProject,
        (Get, ["projects", key]) => Row::Project(key),
        (Delete, ["projects", key]) => Row::DeleteProject(key),
        (Get, ["projects", key, "settings"]) => Row::ProjectSettings(key),
        (Put, ["projects", key, "settings"]) => Row::SaveProjectSettings(key),
        (Get, ["projects", key, "bundles", id]) => Row::Bundle(key, id),
        (Delete, ["projects", key, "bundles", id]) => Row::DeleteBundle(key, id),
        (Get, ["projects", key, "bundles", id, "project-standards-report"]) => Row::StandardsReport(key, id),
        (Get, ["deployments"]) => Row::Deployments,
        (Post, ["deployments"]) => Row::CreateDeployment,
        (Get, ["deployments", id]) => Row::Deployment(id),
        (Delete, ["deployments", id]) => Row::DeleteDeployment(id),
        (Get, ["deployments", id, "settings"]) => Row::DeploymentSettings(id),
        (Put, ["deployments", id, "settings"]) => Row::SaveDeploymentSettings(id),
        (Get, ["deployments", id, "status"]) => Row::DeploymentStatus(id),
        (Get, ["deployments", id, "governance-status"]) => Row::GovernanceStatus(id),
        (Get, ["deployments", id, "testing-status"]) => Row::TestingStatus(id),
        (Post, ["deployments", id, "run-test-scenarios"]) => Row::RunTests(id),
        (Post, ["deployments", id, "actions", "update"]) => Row::StartUpdate(id),
        (Get, ["deployments", id, "update"]) => Row::Updates(id),
        (Get, ["deployments", id, "update", at]) => Row::Update(id, at),
        (Get, ["deployments", id, "last-update"]) => Row::LastUpdate(id),
        _ => return None,
    })
}

fn admin<'a>(method: Method, path: &[&'a str]) -> Option<Row<'a>> {
    use Method::{Delete, Get, Post, Put};
    Some(match (method, path) {
        (Get, ["users"]) => Row::AdminUsers,
        (Post, ["users"]) => Row::CreateUser,
        (Post, ["users", "actions", "bulk"]) => Row::CreateUsers,
        (Put, ["users", "actions", "bulk"]) => Row::SaveUsers,
        (Delete, ["users", "actions", "bulk"]) => Row::DeleteUsers,
        (Get, ["users", login]) => Row::AdminUser(login),
        (Put, ["users", login]) => Row::SaveUser(login),
        (Delete, ["users", login]) => Row::DeleteUser(login),
        (Get, ["groups"]) => Row::AdminGroups,
        (Post, ["groups"]) => Row::CreateGroup,
        (Get, ["groups", name]) => Row::AdminGroup(name),
        (Put, ["groups", name]) => Row::SaveGroup(name),
        (Delete, ["groups", name]) => Row::DeleteGroup(name),
        (Post, ["audit", "custom", kind]) => Row::Audit(kind),
        (Get, ["personal-api-keys"]) => Row::AdminKeys,
        (Post, ["personal-api-keys"]) => Row::CreateAdminKey,
        _ => return None,
    })
}

fn others<'a>(method: Method, path: &[&'a str]) -> Option<Row<'a>> {
    use Method::{Delete, Get, Post, Put};
    Some(match (method, path) {
        (Get, ["futures"]) => Row::Futures,
        (Get, ["futures", id]) => Row::Future(id),
        (Delete, ["futures", id]) => Row::Abort(id),
        (Get, ["auth", "info"]) => Row::AuthInfo,
        (Get, ["instance-info"]) => Row::InstanceInfo,
        (Get, ["users"]) => Row::Users,
        (Get, ["users", login]) => Row::User(login),
        (Get, ["current-user"]) => Row::OwnUser,
        (Put, ["current-user"]) => Row::SaveOwnUser,
        (Get, ["groups"]) => Row::Groups,
        (Get, ["personal-api-keys"]) => Row::Keys,
        (Post, ["personal-api-keys"]) => Row::CreateKey,
        (Get, ["personal-api-keys", id]) => Row::Key(id),
        (Put, ["personal-api-keys", id]) => Row::SaveKey(id),
        (Delete, ["personal-api-keys", id]) => Row::DeleteKey(id),
        _ => return None,
    })
}

/// The row of a call.
fn row_of(call: &Call) -> Result<Row<'_>> {
    let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
    row(call.method, &path).ok_or_else(|| {
        let methods = [Method::Get, Method::Post, Method::Put, Method::Delete];
        if methods.into_iter().any(|method| row(method, &path).is_some()) {
            return Error::refused("METHOD_NOT_ALLOWED", "This address does not know this method.");
        }
        Error::refused("NOT_FOUND", "This API has no such address.")
    })
}

/// What an upload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UploadTo<'a> {
    /// A bundle of this published project; None is the bundle's own.
    Project(Option<&'a str>),
    /// A version of this published service.
    Service(&'a str),
}

/// What an upload names.
///
/// # Errors
/// As [`crate::answer`], for a call that is no upload.
pub fn upload_to(call: &Call) -> Result<UploadTo<'_>> {
    match row_of(call)? {
        Row::UploadBundle => Ok(UploadTo::Project(call.text("projectKey"))),
        Row::Api(ApiRow::UploadVersion(id)) => Ok(UploadTo::Service(id)),
        _ => Err(Error::refused("CONTENT_TYPE_INVALID", "Send a JSON document: only packages are sent as forms.")),
    }
}

/// Whether this call may take as long as what it waits for.
pub fn is_patient(call: &Call) -> bool {
    match row_of(call) {
        Ok(Row::RunTests(_)) => true,
        Ok(Row::Api(row)) => row.is_patient(),
        _ => false,
    }
}

pub(crate) async fn answer(context: &Context<'_>, call: &Call) -> Result<Answer> {
    let row = row_of(call)?;
    if let Row::Bundle(key, id) = row {
        return Ok(Answer::Bundle(BundleKey { project_key: key.to_owned(), bundle_id: id.to_owned() }));
    }
    if let Row::Api(ApiRow::Version(service, version)) = row {
        return Ok(Answer::Version(service.to_owned(), version.to_owned()));
    }
    let answer = async { document(row, context, call)?.await };
    let answer = match asked::of(row, context, call) {
        // Much is refused before the deployer's function is called at all.
        Some((action, object)) => audit::told(context.deployer, context.viewer, action, object, answer).await,
        None => answer.await,
    };
    answer.map(Answer::Json)
}

/// A call's answer to be. On the heap: together, the futures of all rows are more than the stack of a thread may hold.
type Document<'a> = Pin<Box<dyn Future<Output = Result<Value>> + Send + 'a>>;

fn document<'a>(row: Row<'a>, context: &'a Context<'_>, call: &'a Call) -> Result<Document<'a>> {
    Ok(match row {
        Row::Stages => Box::pin(infras::stages(context)),
        Row::Infras => Box::pin(infras::list(context)),
        Row::CreateInfra => Box::pin(infras::create(context, call.json()?)),
        Row::Infra(id) => Box::pin(infras::status(context, id)),
        Row::DeleteInfra(id) => Box::pin(infras::delete(context, id)),
        Row::InfraSettings(id) => Box::pin(infras::settings(context, id)),
        Row::SaveInfraSettings(id) => Box::pin(infras::save(context, id, call)),
        Row::PersonalKeys(id) => Box::pin(infras::personal_keys(context, id, call)),
        Row::Projects => Box::pin(projects::list(context)),
        Row::CreateProject => Box::pin(projects::create(context, call.json()?)),
        Row::Project(key) => Box::pin(projects::status(context, key)),
        Row::DeleteProject(key) => Box::pin(projects::delete(context, key)),
        Row::ProjectSettings(key) => Box::pin(projects::settings(context, key)),
        Row::SaveProjectSettings(key) => Box::pin(projects::save(context, key, call)),
        Row::ProjectInfras => Box::pin(infras::create(context, call.json()?)),
        Row::UploadBundle => {
            let message = "Send the bundle as multipart/form-data, in a part named file.";
            return Err(Error::field("BAD_REQUEST", "file", message));
        }
        Row::Bundle(..) => return Err(Error::fault("a bundle is no document")),
        Row::DeleteBundle(key, id) => Box::pin(projects::delete_bundle(context, key, id)),
        Row::StandardsReport(key, id) => Box::pin(projects::standards_report(context, key, id)),
        Row::Deployments => Box::pin(deployments::list(context)),
        Row::CreateDeployment => Box::pin(deployments::create(context, call)),
        Row::Deployment(id) => Box::pin(deployments::light(context, id)),
        Row::DeleteDeployment(id) => Box::pin(deployments::delete(context, id)),
        Row::DeploymentStatus(id) => Box::pin(deployments::heavy(context, id)),
        Row::GovernanceStatus(id) => Box::pin(deployments::governance_status(context, id, call)),
        Row::TestingStatus(id) => Box::pin(deployments::testing_status(context, id, call)),
        Row::RunTests(id) => Box::pin(deployments::run_tests(context, id, call)),
        Row::DeploymentSettings(id) => Box::pin(deployments::settings(context, id)),
        Row::SaveDeploymentSettings(id) => Box::pin(deployments::save(context, id, call)),
        Row::StartUpdate(id) => Box::pin(async move {
            deployments::get(context, id).await?;
            futures::start(context, id).await
        }),
        Row::Updates(id) => Box::pin(updates::list(context, id)),
        Row::Update(id, at) => Box::pin(updates::at(context, id, at)),
        Row::LastUpdate(id) => Box::pin(updates::last(context, id)),
        Row::Futures => Box::pin(futures::list(context, call)),
        Row::Future(id) => Box::pin(futures::state(context, id, call)),
        Row::Abort(id) => Box::pin(futures::abort(context, id)),
        Row::AuthInfo => Box::pin(ready(instance::auth_info(context, call))),
        Row::InstanceInfo => Box::pin(ready(Ok(instance::info(context)))),
        Row::Users => Box::pin(people::list(context)),
        Row::User(login) => Box::pin(people::one(context, login)),
        Row::AdminUsers => Box::pin(people::admin_list(context)),
        Row::AdminUser(login) => Box::pin(people::admin_one(context, login)),
        Row::OwnUser => Box::pin(people::own(context)),
        Row::SaveOwnUser => Box::pin(people::save_own(context, call.json()?)),
        Row::CreateUser => Box::pin(people::create(context, call.json()?)),
        Row::SaveUser(login) => Box::pin(people::save(context, login, call.json()?)),
        Row::DeleteUser(login) => Box::pin(people::delete(context, login, call)),
        Row::CreateUsers => Box::pin(people::create_all(context, call)),
        Row::SaveUsers => Box::pin(people::save_all(context, call)),
        Row::DeleteUsers => Box::pin(people::delete_all(context, call)),
        Row::Groups => Box::pin(groups::list(context)),
        Row::AdminGroups => Box::pin(groups::admin_list(context)),
        Row::AdminGroup(name) => Box::pin(groups::one(context, name)),
        Row::CreateGroup => Box::pin(groups::create(context, call.json()?)),
        Row::SaveGroup(name) => Box::pin(groups::save(context, name, call.json()?)),
        Row::DeleteGroup(name) => Box::pin(groups::delete(context, name)),
        Row::Keys => Box::pin(keys::list(context)),
        Row::Key(id) => Box::pin(keys::one(context, id)),
        Row::CreateKey => Box::pin(keys::create(context, call.json()?, None)),
        Row::SaveKey(id) => Box::pin(keys::save(context, id, call.json()?)),
        Row::DeleteKey(id) => Box::pin(keys::delete(context, id)),
        Row::AdminKeys => Box::pin(keys::all_keys(context)),
        Row::Audit(kind) => Box::pin(instance::audit(context, kind, call.json()?)),
        Row::CreateAdminKey => Box::pin(keys::create_for(context, call.json()?)),
        Row::Api(row) => return api_deployer::document(row, context, call),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_words_are_no_ids() {
        use Method::{Delete, Get, Post};
        assert_eq!(row(Post, &["project-deployer", "projects", "bundles"]), Some(Row::UploadBundle));
        assert_eq!(row(Get, &["project-deployer", "projects", "bundles"]), None);
        assert_eq!(row(Delete, &["project-deployer", "projects", "bundles"]), None);
        assert_eq!(row(Get, &["project-deployer", "infras", "stages"]), Some(Row::Stages));
        assert_eq!(row(Get, &["project-deployer", "deployments", "d", "update"]), Some(Row::Updates("d")));
        assert_eq!(
            row(Post, &["project-deployer", "deployments", "d", "actions", "update"]),
            Some(Row::StartUpdate("d"))
        );
        assert_eq!(row(Post, &["project-deployer", "deployments", "d", "update"]), None);
    }
}
