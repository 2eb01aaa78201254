//! Makes a personal key of a user on the node.

use engine::{failure::Failure, secrets::Secret};
use serde_json::{Value, json};

use super::client::{Api, As};
use crate::target::{NewPersonalKey, PersonalKey};

/// The client's own call takes no secret; whether a node takes the one that we propose is told by its answer.
pub(super) async fn create(api: &Api, new: NewPersonalKey<'_>) -> Result<PersonalKey, Failure> {
    match api.users().await?.iter().find(|user| user.login == new.user) {
        None => return Ok(PersonalKey::UserMissing),
        Some(user) if !user.enabled => return Ok(PersonalKey::UserDisabled),
        Some(_) => {}
    }
    let body = json!({
        "user": new.user,
        "label": new.label,
        "description": new.description,
        "secret": new.secret.expose(),
    });
    let made = api.act(&["admin", "personal-api-keys", ""], As::Admin, body, "making a personal key").await?;
    let text = |key: &str| made.get(key).and_then(Value::as_str).map(str::to_owned);
    let secret = text("key").or_else(|| text("secret")).map(Secret::new);
    Ok(PersonalKey::Made { id: text("id").map(|id| api.clean(&id)), secret })
}
