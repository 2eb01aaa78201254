//! Method and path to function: the public API, sections 0 and 3 of the wire contract.

use crate::auth::Who;
use crate::reply::{Answer, Refusal, Reply};
use crate::request::Asked;
use crate::{activation, admin, bundles, folders, projects, runs, scenarios, settings, webapps};
use poem::{Body, Request};

/// Does what a request asks. `body` is there if it is an upload, and is taken if it is read.
pub(crate) async fn answer(asked: &Asked<'_>, who: &Who, request: Request, body: &mut Option<Body>) -> Answer {
    let segments: Vec<&str> = asked.segments.iter().map(String::as_str).collect();
    match (asked.method.as_str(), segments.as_slice()) {
        ("POST", ["projectsFromBundle"]) => bundles::create_project(asked, who, request, body).await,
        ("POST", ["projectsFromBundle", "fromArchive"]) => bundles::create_project_local(asked, who).await,
        ("POST", ["projects", key, "bundles", "imported", "actions", "importFromStream"]) => {
            bundles::import(asked, who, key, request, body).await
        }
        ("POST", ["projects", key, "bundles", "imported", "actions", "importFromArchive"]) => {
            bundles::import_local(asked, who, key).await
        }
        _ if body.is_some() => Err(Refusal::media("this call takes no upload")),
        (method, ["projects", key, "bundles", rest @ ..]) => of_bundles(asked, who, method, key, rest),
        (method, ["projects", key, "scenarios", rest @ ..]) => of_scenarios(asked, who, method, key, rest),
        (method, ["projects", key, "webapps", rest @ ..]) => of_webapps(asked, who, method, key, rest),
        (method, ["projects", rest @ ..]) => of_projects(asked, who, method, rest),
        (method, ["project-folders", rest @ ..]) => of_folders(asked, who, method, rest),
        (method, rest) => of_instance(asked, who, method, rest),
    }
}

fn of_bundles(asked: &Asked<'_>, who: &Who, method: &str, key: &str, rest: &[&str]) -> Answer {
    match (method, rest) {
        ("GET", ["imported"]) => bundles::list(asked, who, key),
        ("DELETE", ["imported", id]) => bundles::delete(asked, who, key, id),
        ("POST", ["imported", id, "actions", "preload"]) => activation::preload(asked, who, key, id),
        ("POST", ["imported", id, "actions", "activate"]) => activation::activate(asked, who, key, id),
        _ => asked.nothing(),
    }
}

fn of_scenarios(asked: &Asked<'_>, who: &Who, method: &str, key: &str, rest: &[&str]) -> Answer {
    match (method, rest) {
        ("GET", []) => scenarios::list(asked, who, key),
        ("POST", []) => scenarios::create(asked, who, key),
        ("GET", ["testing-status"]) => runs::testing_status(asked, who, key),
        ("GET", ["trigger", id, trigger]) => runs::trigger(asked, who, key, id, trigger),
        ("GET", [id]) => scenarios::get(asked, who, key, id),
        ("PUT", [id]) => scenarios::put(asked, who, key, id),
        ("DELETE", [id]) => scenarios::delete(asked, who, key, id),
        ("GET", [id, "light"]) => scenarios::light(asked, who, key, id),
        ("PUT", [id, "light"]) => scenarios::put_light(asked, who, key, id),
        ("GET", [id, "payload"]) => scenarios::payload(asked, who, key, id),
        ("PUT", [id, "payload"]) => scenarios::put_payload(asked, who, key, id),
        ("POST", [id, "run"]) => runs::run(asked, who, key, id),
        ("POST", [id, "abort"]) => runs::abort(asked, who, key, id),
        ("GET", [id, "get-run-for-trigger"]) => runs::for_trigger(asked, who, key, id),
        ("GET", [id, "get-last-runs"]) => runs::last(asked, who, key, id),
        ("GET", [id, run]) => runs::get(asked, who, key, id, run),
        _ => asked.nothing(),
    }
}

fn of_webapps(asked: &Asked<'_>, who: &Who, method: &str, key: &str, rest: &[&str]) -> Answer {
    match (method, rest) {
        ("GET", []) => webapps::list(asked, who, key),
        ("GET", [id]) => webapps::get(asked, who, key, id),
        ("PUT", [id]) => webapps::put(asked, who, key, id),
        ("GET", [id, "backend", "state"]) => webapps::state(asked, who, key, id),
        ("PUT", [id, "backend", "actions", "restart"]) => webapps::restart(asked, who, key, id),
        ("PUT", [id, "backend", "actions", "stop"]) => webapps::stop(asked, who, key, id),
        _ => asked.nothing(),
    }
}

fn of_projects(asked: &Asked<'_>, who: &Who, method: &str, rest: &[&str]) -> Answer {
    match (method, rest) {
        ("GET", []) => projects::list(asked, who),
        ("POST", []) => projects::create(asked, who),
        ("GET", [key]) => projects::get(asked, who, key),
        ("DELETE", [key]) => projects::delete(asked, who, key),
        ("GET", [key, "settings"]) => settings::get(asked, who, key),
        ("PUT", [key, "settings"]) => settings::put(asked, who, key),
        ("GET", [key, "variables"]) => settings::variables(asked, who, key),
        ("PUT", [key, "variables"]) => settings::put_variables(asked, who, key),
        ("GET", [key, "permissions"]) => settings::permissions(asked, who, key),
        ("PUT", [key, "permissions"]) => settings::put_permissions(asked, who, key),
        _ => asked.nothing(),
    }
}

fn of_folders(asked: &Asked<'_>, who: &Who, method: &str, rest: &[&str]) -> Answer {
    match (method, rest) {
        ("GET", []) => folders::get(asked, who, crate::state::ROOT),
        ("GET", ["locate-project", key]) => folders::locate(asked, who, key),
        ("GET", [id]) => folders::get(asked, who, id),
        ("DELETE", [id]) => folders::delete(asked, id),
        ("POST", [id, "children"]) => folders::create(asked, id),
        ("POST", [id, "projects", key, "move"]) => folders::move_project(asked, who, id, key),
        _ => asked.nothing(),
    }
}

fn of_instance(asked: &Asked<'_>, who: &Who, method: &str, rest: &[&str]) -> Answer {
    match (method, rest) {
        ("GET", ["instance-info"]) => admin::instance_info(asked),
        ("GET", ["auth", "info"]) => admin::auth_info(who),
        ("GET", ["users"]) => admin::users(asked),
        ("GET", ["users", login]) => admin::user(asked, login),
        ("GET", ["groups"]) => admin::groups(asked),
        ("GET", ["connections", "get-names"]) => admin::connection_names(asked),
        ("GET", ["futures", job]) => admin::future(asked, job),
        ("DELETE", ["futures", _]) => Ok(Reply::Empty),
        (_, ["admin", ..]) => {
            who.need_admin()?;
            of_admin(asked, method, &rest[1..])
        }
        _ => asked.nothing(),
    }
}

fn of_admin(asked: &Asked<'_>, method: &str, rest: &[&str]) -> Answer {
    match (method, rest) {
        ("GET", ["users"]) => admin::admin_users(asked),
        ("GET", ["users", login]) => admin::admin_user(asked, login),
        ("POST", ["personal-api-keys"]) => admin::create_personal_key(asked),
        ("GET", ["groups"]) => admin::admin_groups(asked),
        ("GET", ["connections"]) => admin::connections(asked),
        ("GET", ["connections", name]) => admin::connection(asked, name),
        ("POST", ["connections"]) => admin::create_connection(asked),
        ("DELETE", ["connections", name]) => admin::delete_connection(asked, name),
        ("GET", ["code-envs"]) => admin::code_envs(asked),
        _ => asked.nothing(),
    }
}
