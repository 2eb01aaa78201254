//! Personal API keys.

use deployer::{
    accounts::users::{self, UserFilter},
    error::Result,
    keys::{self, Key, NewKey},
    rights::require_global_admin,
};
use serde_json::{Value, json};

use crate::{Context, deployments::all, documents::millis, read::Document};

/// What a key is called that its maker calls nothing.
const LABEL: &str = "API key";

/// A key without its secret.
fn shown(key: &Key) -> Value {
    json!({
        "id": key.id,
        "user": key.login,
        "label": key.label,
        "description": key.description,
        "createdOn": millis(key.created_at),
        "createdBy": key.created_by,
        "key": "",
        "expiresOn": key.expires_at.map(millis),
        "lastUsedOn": key.last_used_at.map(millis),
    })
}

async fn of(context: &Context<'_>, login: Option<&str>) -> Result<Vec<Value>> {
    let found = all(|page| async move { keys::list(context.deployer, context.viewer, login, &page).await }).await?;
    Ok(found.iter().filter(|key| key.revoked_at.is_none()).map(shown).collect())
}

pub(crate) async fn list(context: &Context<'_>) -> Result<Value> {
    of(context, None).await.map(Value::Array)
}

pub(crate) async fn all_users(context: &Context<'_>) -> Result<Vec<Value>> {
    let filter = UserFilter::default();
    let users = all(|page| {
        let filter = &filter;
        async move { users::list(context.deployer, context.viewer, filter, &page).await }
    })
    .await?;
    let mut found = Vec::new();
    for user in users {
        found.extend(of(context, Some(&user.login)).await?);
    }
    Ok(found)
}

pub(crate) async fn all_keys(context: &Context<'_>) -> Result<Value> {
    require_global_admin(context.viewer)?;
    all_users(context).await.map(Value::Array)
}

pub(crate) async fn one(context: &Context<'_>, id: &str) -> Result<Value> {
    keys::get(context.deployer, context.viewer, id).await.map(|key| shown(&key))
}

pub(crate) async fn create(context: &Context<'_>, body: Value, login: Option<String>) -> Result<Value> {
    let mut document = Document::of(body)?;
    let label = document.text("label")?.filter(|label| !label.trim().is_empty());
    let new = NewKey {
        login,
        label: label.unwrap_or_else(|| LABEL.to_owned()),
        expires_at: None,
        description: document.text("description")?.unwrap_or_default(),
    };
    let (key, secret) = keys::create(context.deployer, context.viewer, new).await?;
    let mut made = shown(&key);
    made["key"] = secret.expose().into();
    Ok(made)
}

pub(crate) async fn create_for(context: &Context<'_>, body: Value) -> Result<Value> {
    require_global_admin(context.viewer)?;
    let mut document = Document::of(body)?;
    let login = document.required("user")?;
    create(context, Value::Object(document.left), Some(login)).await
}

pub(crate) async fn save(context: &Context<'_>, id: &str, body: Value) -> Result<Value> {
    let mut document = Document::of(body)?;
    document.fixed("id", id)?;
    let (label, description) = (document.text("label")?, document.text("description")?);
    let saved = keys::describe(context.deployer, context.viewer, id, label.as_deref(), description.as_deref()).await?;
    Ok(shown(&saved))
}

pub(crate) async fn delete(context: &Context<'_>, id: &str) -> Result<Value> {
    keys::revoke(context.deployer, context.viewer, id).await.map(|_| json!({}))
}
