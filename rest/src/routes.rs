//! Which path is which function. A path that this API has under another method answers `METHOD_NOT_ALLOWED`, any other `NOT_FOUND`.

use deployer::{
    bundles::BundleKey,
    error::{Error, Result},
};

use crate::{
    Context,
    call::{Answer, Call, Method},
    deployments, futures, groups, infras, instance, keys, people, projects, updates,
};

/// One row of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Row<'a> {
    Stages,
    Infras,
    CreateInfra,
    Infra(&'a str),
    DeleteInfra(&'a str),
    InfraSettings(&'a str),
    SaveInfraSettings(&'a str),
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
}

fn row<'a>(method: Method, path: &[&'a str]) -> Option<Row<'a>> {
    match path {
        ["project-deployer", path @ ..] => project_deployer(method, path),
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

/// The published project that an upload names: None is the bundle's own.
///
/// # Errors
/// As [`crate::answer`], for a call that is no upload.
pub fn upload_to(call: &Call) -> Result<Option<&str>> {
    match row_of(call)? {
        Row::UploadBundle => Ok(call.text("projectKey")),
        _ => Err(Error::refused("CONTENT_TYPE_INVALID", "Send a JSON document: only bundles are sent as forms.")),
    }
}

/// Whether this call may take as long as what it waits for.
pub fn is_patient(call: &Call) -> bool {
    matches!(row_of(call), Ok(Row::RunTests(_)))
}

pub(crate) async fn answer(context: &Context<'_>, call: &Call) -> Result<Answer> {
    Ok(Answer::Json(match row_of(call)? {
        Row::Stages => infras::stages(context).await?,
        Row::Infras => infras::list(context).await?,
        Row::CreateInfra => infras::create(context, call.json()?).await?,
        Row::Infra(id) => infras::status(context, id).await?,
        Row::DeleteInfra(id) => infras::delete(context, id).await?,
        Row::InfraSettings(id) => infras::settings(context, id).await?,
        Row::SaveInfraSettings(id) => infras::save(context, id, call).await?,
        Row::Projects => projects::list(context).await?,
        Row::CreateProject => projects::create(context, call.json()?).await?,
        Row::Project(key) => projects::status(context, key).await?,
        Row::DeleteProject(key) => projects::delete(context, key).await?,
        Row::ProjectSettings(key) => projects::settings(context, key).await?,
        Row::SaveProjectSettings(key) => projects::save(context, key, call).await?,
        Row::ProjectInfras => infras::create(context, call.json()?).await?,
        Row::UploadBundle => {
            let message = "Send the bundle as multipart/form-data, in a part named file.";
            return Err(Error::field("BAD_REQUEST", "file", message));
        }
        Row::Bundle(key, id) => {
            return Ok(Answer::Bundle(BundleKey { project_key: key.to_owned(), bundle_id: id.to_owned() }));
        }
        Row::DeleteBundle(key, id) => projects::delete_bundle(context, key, id).await?,
        Row::StandardsReport(key, id) => projects::standards_report(context, key, id).await?,
        Row::Deployments => deployments::list(context).await?,
        Row::CreateDeployment => deployments::create(context, call).await?,
        Row::Deployment(id) => deployments::light(context, id).await?,
        Row::DeleteDeployment(id) => deployments::delete(context, id).await?,
        Row::DeploymentStatus(id) => deployments::heavy(context, id).await?,
        Row::TestingStatus(id) => deployments::testing_status(context, id, call).await?,
        Row::RunTests(id) => deployments::run_tests(context, id).await?,
        Row::DeploymentSettings(id) => deployments::settings(context, id).await?,
        Row::SaveDeploymentSettings(id) => deployments::save(context, id, call).await?,
        Row::StartUpdate(id) => futures::start(context, id).await?,
        Row::Updates(id) => updates::list(context, id).await?,
        Row::Update(id, at) => updates::at(context, id, at).await?,
        Row::LastUpdate(id) => updates::last(context, id).await?,
        Row::Futures => futures::list(context, call).await?,
        Row::Future(id) => futures::state(context, id, call).await?,
        Row::Abort(id) => futures::abort(context, id).await?,
        Row::AuthInfo => instance::auth_info(context, call)?,
        Row::InstanceInfo => instance::info(context),
        Row::Users => people::list(context).await?,
        Row::User(login) => people::one(context, login).await?,
        Row::AdminUsers => people::admin_list(context).await?,
        Row::AdminUser(login) => people::admin_one(context, login).await?,
        Row::OwnUser => people::own(context).await?,
        Row::CreateUser => people::create(context, call.json()?).await?,
        Row::SaveUser(login) => people::save(context, login, call.json()?).await?,
        Row::DeleteUser(login) => people::delete(context, login, call).await?,
        Row::CreateUsers => people::create_all(context, call.json()?).await?,
        Row::SaveUsers => people::save_all(context, call.json()?).await?,
        Row::DeleteUsers => people::delete_all(context, call).await?,
        Row::Groups => groups::list(context).await?,
        Row::AdminGroups => groups::admin_list(context).await?,
        Row::AdminGroup(name) => groups::one(context, name).await?,
        Row::CreateGroup => groups::create(context, call.json()?).await?,
        Row::SaveGroup(name) => groups::save(context, name, call.json()?).await?,
        Row::DeleteGroup(name) => groups::delete(context, name).await?,
        Row::Keys => keys::list(context).await?,
        Row::Key(id) => keys::one(context, id).await?,
        Row::CreateKey => keys::create(context, call.json()?, None).await?,
        Row::SaveKey(id) => keys::save(context, id, call.json()?).await?,
        Row::DeleteKey(id) => keys::delete(context, id).await?,
        Row::AdminKeys => keys::all_keys(context).await?,
        Row::CreateAdminKey => keys::create_for(context, call.json()?).await?,
    }))
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
        assert_eq!(row(Post, &["project-deployer", "deployments", "d", "actions", "update"]), Some(Row::StartUpdate("d")));
        assert_eq!(row(Post, &["project-deployer", "deployments", "d", "update"]), None);
    }
}
