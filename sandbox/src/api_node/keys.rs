//! The keys of the admin API.

use super::ApiAsked;
use super::fields::Fields;
use super::state::Key;
use crate::admin::random;
use crate::clock::now_ms;
use crate::reply::{Answer, Refusal, Reply};
use serde_json::{Value, json};

fn shown(key: &Key) -> Value {
    json!({
        "id": key.id, "label": key.label, "description": key.description, "createdBy": key.created_by,
        "createdOn": key.created_on, "expiry": key.expiry,
    })
}

/// `GET keys`: without secrets.
pub(super) fn list(asked: &ApiAsked<'_>) -> Answer {
    Ok(Reply::Json(asked.core.state().keys.all().iter().map(shown).collect()))
}

/// `POST keys` `{"label", "description", "createdBy", "expiry"}`, all of them optional; `expiry` in milliseconds since
/// the epoch. Answers the secret, this once, as `key`.
pub(super) fn create(asked: &ApiAsked<'_>) -> Answer {
    let body = Fields::new(asked.json.object()?, "");
    let text = |name: &str| Ok::<_, Refusal>(body.text(name)?.map_or(Value::Null, Value::from));
    let expiry = body.get("expiry").map(|at| at.as_i64().ok_or_else(|| body.wrong("expiry", "is no whole number")));
    let (label, description, created_by) = (text("label")?, text("description")?, text("createdBy")?);
    let mut state = asked.core.state();
    let key = Key {
        id: state.keys.id(),
        secret: format!("{:016x}{:016x}", random(), random()),
        label,
        description,
        created_by,
        created_on: now_ms(),
        expiry: expiry.transpose()?,
    };
    let mut answer = shown(&key);
    answer["key"] = json!(key.secret);
    state.keys.add(key)?;
    Ok(Reply::Json(answer))
}

/// `DELETE keys/{secret}`.
pub(super) fn delete(asked: &ApiAsked<'_>, secret: &str) -> Answer {
    remove(asked, |key| key.secret == secret)
}

/// `DELETE keys/{id}/key`.
pub(super) fn delete_by_id(asked: &ApiAsked<'_>, id: &str) -> Answer {
    remove(asked, |key| key.id == id)
}

fn remove(asked: &ApiAsked<'_>, which: impl Fn(&Key) -> bool) -> Answer {
    if asked.core.state().keys.remove(which) {
        return Ok(Reply::Empty);
    }
    Err(Refusal::missing("there is no such key"))
}
