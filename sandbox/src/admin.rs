//! The instance: who am I, users, groups, connections, code envs, futures.

use crate::auth::Who;
use crate::reply::{Answer, Refusal, Reply};
use crate::request::{Asked, check_id, text};
use crate::state::{ADMINISTRATORS, Connection, User};
use serde_json::{Value, json};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};

/// `GET /instance-info`.
pub(crate) fn instance_info(asked: &Asked<'_>) -> Answer {
    let config = &asked.core.config;
    Ok(Reply::Json(json!({
        "nodeId": config.node_id, "nodeName": config.node_id, "nodeType": "AUTOMATION", "dssVersion": config.version,
    })))
}

/// `GET /auth/info`.
pub(crate) fn auth_info(who: &Who) -> Answer {
    let mut value = json!({"authIdentifier": who.identity, "groups": who.groups});
    if let Some(login) = &who.login {
        value["associatedDSSUser"] = json!(login);
    }
    Ok(Reply::Json(value))
}

fn public_user(login: &str, user: &User) -> Value {
    json!({"login": login, "displayName": login, "groups": user.groups, "email": null, "enabled": user.enabled})
}

fn whole_user(login: &str, user: &User) -> Value {
    let mut value = public_user(login, user);
    value["sourceType"] = json!("LOCAL");
    value["userProfile"] = json!("FULL_DESIGNER");
    value
}

fn one_user(asked: &Asked<'_>, login: &str, show: fn(&str, &User) -> Value) -> Answer {
    let state = asked.core.state();
    let user = state.users.get(login).ok_or_else(|| Refusal::missing(format!("there is no user {login}")))?;
    Ok(Reply::Json(show(login, user)))
}

fn all_users(asked: &Asked<'_>, show: fn(&str, &User) -> Value) -> Answer {
    Ok(Reply::Json(asked.core.state().users.iter().map(|(login, user)| show(login, user)).collect()))
}

/// `GET /users`.
pub(crate) fn users(asked: &Asked<'_>) -> Answer {
    all_users(asked, public_user)
}

/// `GET /users/{login}`.
pub(crate) fn user(asked: &Asked<'_>, login: &str) -> Answer {
    one_user(asked, login, public_user)
}

/// `GET /groups`.
pub(crate) fn groups(asked: &Asked<'_>) -> Answer {
    Ok(Reply::Json(asked.core.state().groups.iter().map(|name| json!({"name": name})).collect()))
}

/// `GET /admin/users/`.
pub(crate) fn admin_users(asked: &Asked<'_>) -> Answer {
    all_users(asked, whole_user)
}

/// `GET /admin/users/{login}`.
pub(crate) fn admin_user(asked: &Asked<'_>, login: &str) -> Answer {
    one_user(asked, login, whole_user)
}

/// `GET /admin/groups/`.
pub(crate) fn admin_groups(asked: &Asked<'_>) -> Answer {
    let group = |name: &String| json!({"name": name, "sourceType": "LOCAL", "admin": name == ADMINISTRATORS});
    Ok(Reply::Json(asked.core.state().groups.iter().map(group).collect()))
}

/// `POST /admin/personal-api-keys/` `{"user", "label", "description"}`; with `secret`, the key has that secret.
pub(crate) fn create_personal_key(asked: &Asked<'_>) -> Answer {
    let body = asked.json.object()?;
    let login = text(body, "user").ok_or_else(|| Refusal::bad("user is needed".to_owned()))?;
    let mut state = asked.core.state();
    if !state.users.contains_key(login) {
        return Err(Refusal::missing(format!("there is no user {login}")));
    }
    let random = || format!("{:016x}{:016x}", random(), random());
    let secret = text(body, "secret").map_or_else(random, str::to_owned);
    state.personal_keys.insert(secret.clone(), login.to_owned());
    let id = format!("key-{}", state.personal_keys.len());
    let (label, description) = (text(body, "label"), text(body, "description"));
    Ok(Reply::Json(json!({"id": id, "user": login, "label": label, "description": description, "key": secret})))
}

/// Each hasher has keys of its own, drawn from the system's randomness.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

fn connection_value(name: &str, connection: &Connection) -> Value {
    let usable = if connection.allowed.is_some() { "ALLOWED" } else { "ALL" };
    json!({
        "name": name, "type": connection.kind, "params": {}, "usableBy": usable,
        "allowedGroups": connection.allowed.clone().unwrap_or_default(), "allowWrite": true,
    })
}

/// `GET /admin/connections/`: an object, by name.
pub(crate) fn connections(asked: &Asked<'_>) -> Answer {
    let state = asked.core.state();
    let by_name = |(name, connection): (&String, &Connection)| (name.clone(), connection_value(name, connection));
    Ok(Reply::Json(Value::Object(state.connections.iter().map(by_name).collect())))
}

/// `GET /admin/connections/{name}`.
pub(crate) fn connection(asked: &Asked<'_>, name: &str) -> Answer {
    let state = asked.core.state();
    let found = state.connections.get(name);
    let found = found.ok_or_else(|| Refusal::missing(format!("there is no connection {name}")))?;
    Ok(Reply::Json(connection_value(name, found)))
}

/// `POST /admin/connections/` `{"name", "type"}`.
pub(crate) fn create_connection(asked: &Asked<'_>) -> Answer {
    let body = asked.json.object()?;
    let needed = |name: &str| text(body, name).ok_or_else(|| Refusal::bad(format!("{name} is needed")));
    let (name, kind) = (needed("name")?, needed("type")?);
    check_id("name", name)?;
    let mut state = asked.core.state();
    if state.connections.contains_key(name) {
        return Err(Refusal::bad(format!("there is a connection {name} already")));
    }
    let allowed = (text(body, "usableBy") == Some("ALLOWED")).then(|| {
        let groups = body.get("allowedGroups").and_then(Value::as_array);
        groups.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    });
    state.connections.insert(name.to_owned(), Connection { kind: kind.to_owned(), allowed });
    Ok(Reply::Json(json!({"msg": format!("Created connection {name}")})))
}

/// `DELETE /admin/connections/{name}`.
pub(crate) fn delete_connection(asked: &Asked<'_>, name: &str) -> Answer {
    let removed = asked.core.state().connections.remove(name);
    removed.ok_or_else(|| Refusal::missing(format!("there is no connection {name}")))?;
    Ok(Reply::Empty)
}

/// `GET /connections/get-names?type=`: names only, for everybody.
pub(crate) fn connection_names(asked: &Asked<'_>) -> Answer {
    let kind = asked.query.get("type").filter(|kind| !kind.eq_ignore_ascii_case("all"));
    let state = asked.core.state();
    let wanted = state.connections.iter().filter(|(_, connection)| kind.is_none_or(|kind| connection.kind == kind));
    Ok(Reply::Json(wanted.map(|(name, _)| json!(name)).collect()))
}

/// `GET /admin/code-envs/`.
pub(crate) fn code_envs(asked: &Asked<'_>) -> Answer {
    let env = |name: &String| json!({"envName": name, "envLang": "PYTHON", "deploymentMode": "AUTOMATION_SINGLE"});
    Ok(Reply::Json(asked.core.state().code_envs.iter().map(env).collect()))
}

/// `GET /futures/{jobId}?peek=`.
pub(crate) fn future(asked: &Asked<'_>, job: &str) -> Answer {
    let peek = asked.query.flag("peek", false)?;
    let state = asked.core.state();
    let result = state.futures.get(job).ok_or_else(|| Refusal::missing(format!("there is no future {job}")))?;
    let mut value = json!({"jobId": job, "hasResult": true, "alive": false});
    if !peek {
        value["result"] = result.clone();
    }
    Ok(Reply::Json(value))
}
