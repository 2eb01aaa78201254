//! Groups.

use deployer::{
    accounts::groups::{self, Group},
    error::{Error, Result},
    rights::require_global_admin,
    viewer::ADMINISTRATORS,
};
use serde_json::{Value, json};

use crate::{Context, deployments::all, read::Document};

fn definition(group: &Group) -> Value {
    json!({
        "name": group.name,
        "description": group.description,
        "sourceType": "LOCAL",
        "admin": group.name == ADMINISTRATORS,
    })
}

async fn every(context: &Context<'_>) -> Result<Vec<Group>> {
    all(|page| async move { groups::list(context.deployer, context.viewer, None, &page).await }).await
}

pub(crate) async fn list(context: &Context<'_>) -> Result<Value> {
    Ok(every(context).await?.iter().map(|group| json!({"name": group.name})).collect())
}

pub(crate) async fn admin_list(context: &Context<'_>) -> Result<Value> {
    require_global_admin(context.viewer)?;
    Ok(every(context).await?.iter().map(definition).collect())
}

pub(crate) async fn one(context: &Context<'_>, name: &str) -> Result<Value> {
    require_global_admin(context.viewer)?;
    let names = [name.to_owned()];
    let mut found = groups::by_names(context.deployer, context.viewer, &names).await?;
    found.remove(name).map(|group| definition(&group)).ok_or_else(|| Error::not_found("name"))
}

pub(crate) async fn create(context: &Context<'_>, body: Value) -> Result<Value> {
    require_global_admin(context.viewer)?;
    let mut document = Document::of(body)?;
    let (name, description) = (document.required("name")?, document.text("description")?.unwrap_or_default());
    groups::create(context.deployer, context.viewer, &name, &description).await.map(|group| definition(&group))
}

pub(crate) async fn save(context: &Context<'_>, name: &str, body: Value) -> Result<Value> {
    require_global_admin(context.viewer)?;
    let mut document = Document::of(body)?;
    document.fixed("name", name)?;
    if document.flag("admin")?.is_some_and(|admin| admin != (name == ADMINISTRATORS)) {
        let message = "The members of the group administrators are Slipway's administrators, and nobody else. Put users there.";
        return Err(Error::field("FIELD_INVALID", "admin", message));
    }
    let description = match document.text("description")? {
        Some(description) => description,
        None => return one(context, name).await,
    };
    groups::describe(context.deployer, context.viewer, name, &description).await.map(|group| definition(&group))
}

pub(crate) async fn delete(context: &Context<'_>, name: &str) -> Result<Value> {
    groups::delete(context.deployer, context.viewer, name).await.map(|()| json!({}))
}
