//! Users.

use std::collections::BTreeSet;

use deployer::{
    accounts::users::{self, NewUser, User, UserFilter, UserPatch},
    audit::{self, Object, ObjectKind},
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

/// What users change of themselves: what people read of them.
pub(crate) async fn save_own(context: &Context<'_>, body: Value) -> Result<Value> {
    let user = get(context, &context.viewer.login).await?;
    let mut document = Document::of(body)?;
    let (name, email) = (document.text("displayName")?, document.named("email")?);
    let Value::Object(shown) = settings(&user) else { return Err(Error::fault("settings are no object")) };
    for (field, is) in shown.into_iter().filter(|(field, _)| !LACKING.contains(&field.as_str())) {
        let Some(mut given) = document.any(&field) else { continue };
        if let Value::Array(list) = &mut given {
            list.sort_by(|one, other| one.as_str().cmp(&other.as_str()));
        }
        if given != is {
            let message = "This cannot be changed here. Ask a global administrator.";
            return Err(Error::field("FIELD_FIXED", field, message));
        }
    }
    patch(&mut document)?;
    users::update_own(context.deployer, context.viewer, name, email).await.map(|user| settings(&user))
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
        ..NewUser::default()
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

/// The users of a call about many. If all of it is refused, that is told for each of them.
async fn several(context: &Context<'_>, action: &'static str, body: Result<Value>) -> Result<Vec<Value>> {
    let list = |body: &Result<Value>| match body {
        Ok(Value::Array(list)) => list.iter().map(login_of).take(MOST_AT_ONCE).collect(),
        _ => Vec::new(),
    };
    let mut logins: Vec<String> = list(&body);
    let mut why = match require_global_admin(context.viewer).and(body).and_then(many) {
        Ok(list) => return Ok(list),
        Err(why) => why,
    };
    if logins.is_empty() {
        logins.push(String::new());
    }
    for login in logins {
        why = audit::refuse(context.deployer, context.viewer, action, user_of(&login), why).await;
    }
    Err(why)
}

fn user_of(login: &str) -> Object {
    Object::new(ObjectKind::User, login)
}

/// One of many, told for itself.
async fn one_of<T>(
    context: &Context<'_>,
    action: &'static str,
    login: &str,
    work: impl Future<Output = Result<T>>,
) -> Result<Value> {
    let done = audit::told(context.deployer, context.viewer, action, user_of(login), work).await;
    outcome(login, done.map(drop))
}

fn many(body: Value) -> Result<Vec<Value>> {
    match body {
        Value::Array(list) if list.len() <= MOST_AT_ONCE => Ok(list),
        Value::Array(_) => Err(Error::refused("TOO_MANY", format!("At most {MOST_AT_ONCE} users at once."))),
        _ => Err(Error::refused("BAD_REQUEST", "The body must be a list.")),
    }
}

/// A call about many has a user's document, or its login.
fn login_of(value: &Value) -> String {
    value.get("login").unwrap_or(value).as_str().unwrap_or_default().to_owned()
}

pub(crate) async fn create_all(context: &Context<'_>, call: &Call) -> Result<Value> {
    let mut told = Vec::new();
    for user in several(context, "createUser", call.json()).await? {
        told.push(one_of(context, "createUser", &login_of(&user), create(context, user)).await?);
    }
    Ok(Value::Array(told))
}

pub(crate) async fn save_all(context: &Context<'_>, call: &Call) -> Result<Value> {
    let mut told = Vec::new();
    for user in several(context, "updateUser", call.json()).await? {
        let login = login_of(&user);
        let saved = async {
            let user = object(user, "users")?;
            save(context, &login, Value::Object(user)).await
        };
        told.push(one_of(context, "updateUser", &login, saved).await?);
    }
    Ok(Value::Array(told))
}

pub(crate) async fn delete_all(context: &Context<'_>, call: &Call) -> Result<Value> {
    let own_too = call.flag("allowSelfDeletion");
    let own = *own_too.as_ref().unwrap_or(&None) == Some(true);
    let logins = own_too.and_then(|_| call.json()).and_then(|body| match &body {
        // Before the first one is deleted.
        Value::Array(list) if !list.iter().all(Value::is_string) => {
            Err(Error::refused("BAD_REQUEST", "The body must be a list of logins."))
        }
        _ => Ok(body),
    });
    let mut told = Vec::new();
    for login in several(context, "deleteUser", logins).await? {
        let login = login_of(&login);
        told.push(one_of(context, "deleteUser", &login, delete_one(context, &login, own)).await?);
    }
    Ok(Value::Array(told))
}
