//! Users.

use std::collections::BTreeSet;

use deployer::{
    accounts::users::{self, NewUser, User, UserFilter, UserPatch},
    error::{Error, Fault, Result},
    rights::require_global_admin,
};
use serde_json::{Value, json};

use crate::{
    Context,
    call::Call,
    deployments::all,
    documents::millis,
    read::{Document, object},
};

/// The most users in one call.
const MOST_AT_ONCE: usize = 1_000;
/// What users of other products have and users of ours lack: empty in our answers, and refused when it is not in a save.
const LACKING: [&str; 4] = ["secrets", "credentials", "adminProperties", "userProperties"];

fn brief(user: &User) -> Value {
    json!({
        "login": user.login,
        "displayName": user.display_name,
        "groups": user.groups,
        "email": user.email,
        "enabled": user.enabled,
    })
}

fn settings(user: &User) -> Value {
    json!({
        "login": user.login,
        "displayName": user.display_name,
        "groups": user.groups,
        "email": user.email,
        "enabled": user.enabled,
        "sourceType": "LOCAL",
        "userProfile": "FULL_DESIGNER",
        "creationDate": millis(user.created_at),
        "secrets": [],
        "credentials": {},
        "adminProperties": {},
        "userProperties": {},
        "preferences": {},
    })
}

async fn every(context: &Context<'_>) -> Result<Vec<User>> {
    let filter = UserFilter::default();
    all(|page| {
        let filter = &filter;
        async move { users::list(context.deployer, context.viewer, filter, &page).await }
    })
    .await
}

async fn get(context: &Context<'_>, login: &str) -> Result<User> {
    users::get(context.deployer, context.viewer, login).await?.ok_or_else(|| Error::not_found("login"))
}

pub(crate) async fn list(context: &Context<'_>) -> Result<Value> {
    Ok(every(context).await?.iter().map(brief).collect())
}

pub(crate) async fn one(context: &Context<'_>, login: &str) -> Result<Value> {
    get(context, login).await.map(|user| brief(&user))
}

pub(crate) async fn own(context: &Context<'_>) -> Result<Value> {
    get(context, &context.viewer.login).await.map(|user| settings(&user))
}

pub(crate) async fn admin_list(context: &Context<'_>) -> Result<Value> {
    require_global_admin(context.viewer)?;
    Ok(every(context).await?.iter().map(settings).collect())
}

pub(crate) async fn admin_one(context: &Context<'_>, login: &str) -> Result<Value> {
    require_global_admin(context.viewer)?;
    get(context, login).await.map(|user| settings(&user))
}

pub(crate) async fn create(context: &Context<'_>, body: Value) -> Result<Value> {
    require_global_admin(context.viewer)?;
    let mut document = Document::of(body)?;
    let new = NewUser {
        login: document.required("login")?,
        display_name: document.text("displayName")?.filter(|name| !name.is_empty()),
        groups: document.texts("groups")?.unwrap_or_default().into_iter().collect(),
        email: document.text("email")?,
    };
    users::create(context.deployer, context.viewer, new).await.map(|user| settings(&user))
}

fn patch(document: &mut Document) -> Result<UserPatch> {
    for field in LACKING {
        let empty = match document.any(field) {
            None => true,
            Some(Value::Array(list)) => list.is_empty(),
            Some(Value::Object(object)) => object.is_empty(),
            Some(_) => false,
        };
        if !empty {
            return Err(Error::field("FIELD_INVALID", field, "Users of Slipway have none of these. Leave it empty."));
        }
    }
    Ok(UserPatch {
        display_name: document.text("displayName")?,
        enabled: document.flag("enabled")?,
        groups: document.texts("groups")?.map(BTreeSet::from_iter),
        email: document.named("email")?,
    })
}

pub(crate) async fn save(context: &Context<'_>, login: &str, body: Value) -> Result<Value> {
    require_global_admin(context.viewer)?;
    let mut document = Document::of(body)?;
    document.fixed("login", login)?;
    let patch = patch(&mut document)?;
    users::update(context.deployer, context.viewer, login, patch).await.map(|user| settings(&user))
}

pub(crate) async fn delete(context: &Context<'_>, login: &str, call: &Call) -> Result<Value> {
    require_global_admin(context.viewer)?;
    delete_one(context, login, call.flag("allowSelfDeletion")?.unwrap_or(false)).await.map(|()| json!({}))
}

async fn delete_one(context: &Context<'_>, login: &str, own_too: bool) -> Result<()> {
    if login == context.viewer.login && !own_too {
        let message = "This is you. Say allowSelfDeletion=True if you mean it.";
        return Err(Error::field("SELF_DELETION", "login", message));
    }
    users::delete(context.deployer, context.viewer, login).await
}

/// How one of many went. A fault ends them all.
fn outcome(login: &str, done: Result<()>) -> Result<Value> {
    match done {
        Ok(()) => Ok(json!({"login": login, "status": "SUCCESS", "error": ""})),
        Err(Error::Refused(refusals)) => {
            let told: Vec<String> = refusals.iter().map(ToString::to_string).collect();
            Ok(json!({"login": login, "status": "FAILURE", "error": told.join(" ")}))
        }
        Err(Error::Fault(Fault { detail, transient, conflict })) => {
            Err(Error::Fault(Fault { detail, transient, conflict }))
        }
    }
}

fn many(body: Value) -> Result<Vec<Value>> {
    match body {
        Value::Array(list) if list.len() <= MOST_AT_ONCE => Ok(list),
        Value::Array(_) => Err(Error::refused("TOO_MANY", format!("At most {MOST_AT_ONCE} users at once."))),
        _ => Err(Error::refused("BAD_REQUEST", "The body must be a list.")),
    }
}

fn login_of(value: &Value) -> String {
    value.get("login").and_then(Value::as_str).unwrap_or_default().to_owned()
}

pub(crate) async fn create_all(context: &Context<'_>, body: Value) -> Result<Value> {
    require_global_admin(context.viewer)?;
    let mut told = Vec::new();
    for user in many(body)? {
        let login = login_of(&user);
        told.push(outcome(&login, create(context, user).await.map(drop))?);
    }
    Ok(Value::Array(told))
}

pub(crate) async fn save_all(context: &Context<'_>, body: Value) -> Result<Value> {
    require_global_admin(context.viewer)?;
    let mut told = Vec::new();
    for user in many(body)? {
        let login = login_of(&user);
        let saved = match object(user, "users") {
            Ok(user) => save(context, &login, Value::Object(user)).await.map(drop),
            Err(error) => Err(error),
        };
        told.push(outcome(&login, saved)?);
    }
    Ok(Value::Array(told))
}

pub(crate) async fn delete_all(context: &Context<'_>, call: &Call) -> Result<Value> {
    require_global_admin(context.viewer)?;
    let own_too = call.flag("allowSelfDeletion")?.unwrap_or(false);
    let mut told = Vec::new();
    for login in many(call.json()?)? {
        let login = login.as_str().ok_or_else(|| Error::refused("BAD_REQUEST", "The body must be a list of logins."))?;
        told.push(outcome(login, delete_one(context, login, own_too).await)?);
    }
    Ok(Value::Array(told))
}
