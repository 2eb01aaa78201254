//! The rights of a project that this run created: the deploying user owns it, and the infrastructure says who else may what. Later runs leave them alone.

use std::collections::BTreeSet;

use engine::failure::StepError;
use serde_json::{Map, Value, json};

use super::{
    flight::effect_missing,
    notes::{self, Created},
    session::Session,
};
use crate::spec::PermissionsPropagation;

/// So many missing users and groups are named.
const MAX_NAMED: usize = 50;

/// Applies the propagation to a project that this run made, once. Answers what was ignored.
pub(super) async fn propagate(session: &Session<'_>) -> Result<Vec<String>, StepError> {
    let Some(created) = notes::read::<Created>(session.run(), notes::CREATED) else { return Ok(Vec::new()) };
    let policy = session.infrastructure().permissions_propagation;
    let items = &session.work.contents.permissions;
    let (known, missing) = match policy {
        PermissionsPropagation::None => (Vec::new(), Vec::new()),
        _ if items.is_empty() => (Vec::new(), Vec::new()),
        _ => split(items, &Subjects::look(session).await?),
    };
    let done = notes::read(session.run(), notes::PERMISSIONS).unwrap_or(false);
    if created == Created::Empty && !done {
        let wanted = known.iter().map(|item| propagated(item, policy)).collect();
        write(session, wanted).await?;
        notes::write(session.run(), notes::PERMISSIONS, &true).await?;
    }
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    let more = missing.len().saturating_sub(MAX_NAMED);
    let named = missing.into_iter().take(MAX_NAMED).collect::<Vec<_>>().join(", ");
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    Ok(vec![format!("Permissions of {named}{more} were not propagated: the node does not have them.")])
}

struct Subjects {
    users: BTreeSet<String>,
    groups: BTreeSet<String>,
}

impl Subjects {
    async fn look(session: &Session<'_>) -> Result<Self, StepError> {
        let users = session.api.users().await?.into_iter().map(|user| user.login).collect();
        Ok(Self { users, groups: session.api.groups().await? })
    }
}

type Item = Map<String, Value>;

/// The items whose user or group the node has, and the names of the others.
fn split<'a>(items: &'a [Item], subjects: &Subjects) -> (Vec<&'a Item>, Vec<String>) {
    let mut known = Vec::new();
    let mut missing = Vec::new();
    for item in items {
        let text = |key: &str| item.get(key).and_then(Value::as_str);
        match (text("group"), text("user")) {
            (Some(group), _) if subjects.groups.contains(group) => known.push(item),
            (None, Some(user)) if subjects.users.contains(user) => known.push(item),
            (Some(group), _) => missing.push(format!("group {group}")),
            (None, Some(user)) => missing.push(format!("user {user}")),
            (None, None) => {}
        }
    }
    (known, missing)
}

fn propagated(item: &Item, policy: PermissionsPropagation) -> Value {
    if policy == PermissionsPropagation::Full {
        return Value::Object(item.clone());
    }
    let subject = item.iter().filter(|(key, _)| matches!(key.as_str(), "group" | "user"));
    let mut read: Item = subject.map(|(key, value)| (key.clone(), value.clone())).collect();
    read.insert("readProjectContent".to_owned(), json!(true));
    Value::Object(read)
}

async fn write(session: &Session<'_>, wanted: Vec<Value>) -> Result<(), StepError> {
    let owner = &session.spec().acting_user;
    let has = |there: &Item, item: &Value| {
        let items = there.get("permissions").and_then(Value::as_array);
        // The node may add rights that it knows and the bundle does not name.
        let within = |found: &Value| {
            item.as_object().is_some_and(|item| item.iter().all(|(key, value)| found.get(key) == Some(value)))
        };
        items.is_some_and(|items| items.iter().any(within))
    };
    let same = |there: &Item| {
        let count = there.get("permissions").and_then(Value::as_array).map_or(0, Vec::len);
        there.get("owner").and_then(Value::as_str) == Some(owner)
            && count == wanted.len()
            && wanted.iter().all(|item| has(there, item))
    };
    let mut permissions = session.api.permissions(session.key()).await?;
    if same(&permissions) {
        return Ok(());
    }
    permissions.insert("owner".to_owned(), json!(owner));
    permissions.insert("permissions".to_owned(), Value::Array(wanted.clone()));
    session.api.put_permissions(session.key(), permissions).await?;
    if same(&session.api.permissions(session.key()).await?) {
        Ok(())
    } else {
        Err(effect_missing("writing the project's permissions").retryable(None))
    }
}
