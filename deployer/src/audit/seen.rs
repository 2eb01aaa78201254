//! What a thing looks like in the audit: flat, bounded, and without its secrets.

use std::collections::{BTreeMap, BTreeSet};

use engine::ids::RunId;
use entities::{
    account, api_key, bundle, connection, connection_permission, deployment, hook, hook_code, infrastructure,
    infrastructure_permission, membership, node_enrolment, pool, published_project, published_project_permission, run,
    stage, user_group, worker,
};
use sea_orm::{ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _, QueryOrder as _};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use targets::spec::SecretRef;

use super::{
    chain::hex,
    object::{Object, ObjectKind},
};
use crate::{error::Result, halves, infrastructures::nodes, rights::Level};

/// A value that is longer than so many bytes of JSON is recorded as its hash and size.
const LONGEST: usize = 4 << 10;
/// So many changed fields does a record hold; it says how many more there are.
const MOST_FIELDS: usize = 200;
/// What stands for a secret.
const SET: &str = "set";
const CHANGED: &str = "changed";
/// Fields whose values are secrets' names: of them a record says that they are there, or changed.
const SECRETS: [&str; 2] = ["adminKey", "governanceKey"];

/// What clients keep in settings. Nobody knows what it is: a record says that it changed, and not to what.
const OTHER: &str = "other";
/// What a schema describes, with secrets in it.
const DOCUMENTS: [&str; 2] = ["platform", "queryLog"];
/// All of that kind.
const KEPT: [&str; 3] = [OTHER, "auditing", "logging"];

/// A thing as it is, and whom it concerns.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Seen {
    pub(crate) fields: Map<String, Value>,
    pub(crate) infrastructure: Option<String>,
    pub(crate) project: Option<String>,
}

/// Looks at a thing; nothing if there is none.
pub(crate) async fn look<C: ConnectionTrait>(db: &C, object: &Object) -> Result<Seen> {
    let id = object.id.as_str();
    Ok(match object.kind {
        ObjectKind::Infrastructure => infrastructure(db, id).await?,
        ObjectKind::PublishedProject => project(db, id).await?,
        ObjectKind::Bundle => {
            Seen { fields: bundle(db, id).await?, project: object.project.clone(), ..Seen::default() }
        }
        ObjectKind::PublishedService => project(db, &halves::service_key(id)).await?,
        ObjectKind::ServiceVersion => {
            let fields = bundle(db, &halves::service_key(id)).await?;
            Seen { fields, project: object.project.clone(), ..Seen::default() }
        }
        ObjectKind::Connection => plain(connection(db, id).await?),
        ObjectKind::Deployment => deployment(db, id).await?,
        ObjectKind::Update => update(db, id).await?,
        ObjectKind::Stage => plain(stages(db, id).await?),
        ObjectKind::User => plain(user(db, id).await?),
        ObjectKind::Group => plain(group(db, id).await?),
        ObjectKind::ApiKey => plain(key(db, id).await?),
        ObjectKind::Pool => plain(pool(db, id).await?),
        ObjectKind::Worker => plain(worker(db, id).await?),
        ObjectKind::Custom | ObjectKind::Many => Seen::default(),
    })
}

fn plain(fields: Map<String, Value>) -> Seen {
    Seen { fields, ..Seen::default() }
}

fn map<const N: usize>(fields: [(&str, Value); N]) -> Map<String, Value> {
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

async fn infrastructure<C: ConnectionTrait>(db: &C, id: &str) -> Result<Seen> {
    let Some(row) = infrastructure::Entity::find_by_id(id).one(db).await? else { return Ok(Seen::default()) };
    let mut fields = map([
        ("stage", json!(row.stage)),
        ("kind", json!(row.kind)),
        ("adminKey", json!(row.key_ref)),
        ("governanceKey", json!(row.governance_key_ref)),
    ]);
    for (node, key) in nodes::key_refs(row.node_key_refs.as_deref())? {
        fields.insert(format!("nodes.{node}.adminKey"), json!(key));
    }
    for (name, value) in serde_json::from_str::<Map<String, Value>>(&row.settings)? {
        if DOCUMENTS.contains(&name.as_str()) {
            flatten(&name, &value, &mut fields);
            continue;
        }
        let value = if KEPT.contains(&name.as_str()) { unread(&value) } else { value };
        fields.insert(name, value);
    }
    // By the part that may be shown. Tokens that were used are no part of the infrastructure any more.
    let tokens = node_enrolment::Entity::find()
        .filter(node_enrolment::Column::InfrastructureId.eq(id))
        .filter(node_enrolment::Column::UsedAt.is_null())
        .all(db)
        .await?;
    for token in tokens {
        let (name, value) = match (token.expires_at, &token.node_name) {
            (Some(at), name) => (format!("enrolmentTokens.{}", token.id), json!({"nodeName": name, "expiresAt": at})),
            (None, Some(name)) => (format!("nodes.{name}.credential"), json!(token.id)),
            (None, None) => ("credential".to_owned(), json!(token.id)),
        };
        fields.insert(name, value);
    }
    // Each on its own, so that a record says which one changed; their order, too.
    let nodes = fields.remove("nodes").unwrap_or_default();
    let nodes: Vec<Map<String, Value>> = serde_json::from_value(nodes).unwrap_or_default();
    for (at, node) in nodes.into_iter().enumerate() {
        let name = node.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        fields.insert(format!("nodes.{name}.position"), json!(at));
        for (key, value) in node.into_iter().filter(|(key, _)| key != "name") {
            let value = if KEPT.contains(&key.as_str()) { unread(&value) } else { value };
            fields.insert(format!("nodes.{name}.{key}"), value);
        }
    }
    let permissions = infrastructure_permission::Entity::find()
        .filter(infrastructure_permission::Column::InfrastructureId.eq(id))
        .all(db)
        .await?;
    for row in permissions {
        fields.insert(format!("permissions.{}", row.group_name), json!(Level::from_row(row.level)));
    }
    let hooks = hook::Entity::find().filter(hook::Column::InfrastructureId.eq(id)).all(db).await?;
    let codes = hook_code::Entity::find()
        .filter(hook_code::Column::Id.is_in(hooks.iter().map(|row| row.code_ref.clone())))
        .all(db)
        .await?;
    let codes: BTreeMap<_, _> = codes.into_iter().map(|row| (row.id, row.code)).collect();
    for row in hooks {
        let code = codes.get(&row.code_ref).map_or("", String::as_str);
        let shown = json!({
            "position": row.position,
            "enabled": row.enabled,
            "code": { "sha256": hex(&Sha256::digest(code)), "bytes": code.len() },
            "codeEnv": row.code_env,
            "osUser": row.os_user,
            "deadlineMs": row.deadline_ms,
            "onInterrupt": row.on_interrupt,
        });
        fields.insert(format!("hooks.{}.{}", row.phase, row.name), shown);
    }
    Ok(Seen { fields, infrastructure: Some(row.id), project: None })
}

async fn project<C: ConnectionTrait>(db: &C, key: &str) -> Result<Seen> {
    let Some(row) = published_project::Entity::find_by_id(key).one(db).await? else { return Ok(Seen::default()) };
    let mut fields = map([("name", json!(row.name)), ("owner", json!(row.owner))]);
    if let Some(other) = &row.other {
        fields.insert(OTHER.to_owned(), unread(&serde_json::from_str(other)?));
    }
    let permissions = published_project_permission::Entity::find()
        .filter(published_project_permission::Column::ProjectKey.eq(key))
        .all(db)
        .await?;
    for row in permissions {
        let rights =
            [("READ", row.can_read), ("WRITE", row.can_write), ("DEPLOY", row.can_deploy), ("ADMIN", row.can_admin)];
        let given: Vec<_> = rights.into_iter().filter(|(_, given)| *given).map(|(name, _)| name).collect();
        fields.insert(format!("permissions.{}", row.group_name), json!(given));
    }
    Ok(Seen { fields, infrastructure: None, project: Some(row.key) })
}

async fn connection<C: ConnectionTrait>(db: &C, id: &str) -> Result<Map<String, Value>> {
    let Some(row) = connection::Entity::find_by_id(id).one(db).await? else { return Ok(Map::new()) };
    let mut fields = map([("kind", json!(row.kind))]);
    flatten("settings", &serde_json::from_str(&row.settings)?, &mut fields);
    let permissions = connection_permission::Entity::find()
        .filter(connection_permission::Column::ConnectionId.eq(id))
        .all(db)
        .await?;
    for row in permissions {
        fields.insert(format!("permissions.{}", row.group_name), json!(Level::from_row(row.level)));
    }
    Ok(fields)
}

/// A document, each of its values under its path. Of a secret the record says that it is there, and by the beginning of its row's id that it is another one.
fn flatten(path: &str, document: &Value, fields: &mut Map<String, Value>) {
    match (SecretRef::read(document), document) {
        (Some(secret), _) => {
            let version: String = secret.id.chars().take(8).collect();
            fields.insert(path.to_owned(), json!(format!("{SET} ({version})")));
        }
        (None, Value::Object(object)) => {
            object.iter().for_each(|(key, value)| flatten(&format!("{path}.{key}"), value, fields));
        }
        (None, Value::Array(items)) => {
            items.iter().enumerate().for_each(|(at, value)| flatten(&format!("{path}[{at}]"), value, fields));
        }
        (None, plain) => drop(fields.insert(path.to_owned(), plain.clone())),
    }
}

async fn bundle<C: ConnectionTrait>(db: &C, id: &str) -> Result<Map<String, Value>> {
    // No id has a slash; the key of a service has one before its own.
    let (project, id) = id.rsplit_once('/').unwrap_or((id, ""));
    let row = bundle::Entity::find_by_id((project.to_owned(), id.to_owned())).one(db).await?;
    Ok(row.map_or_else(Map::new, |row| {
        map([("sha256", json!(row.sha256)), ("size", json!(row.size)), ("fileName", json!(row.file_name))])
    }))
}

async fn deployment<C: ConnectionTrait>(db: &C, id: &str) -> Result<Seen> {
    let Some(row) = deployment::Entity::find_by_id(id).one(db).await? else { return Ok(Seen::default()) };
    let mut fields = map([
        ("publishedProject", json!(halves::shown(&row.project_key))),
        ("infrastructure", json!(row.infrastructure_id)),
        ("bundleId", json!(row.bundle_id)),
        ("deployedProjectKey", json!(row.deployed_project_key)),
    ]);
    for (name, value) in serde_json::from_str::<Map<String, Value>>(&row.settings)? {
        // People keep passwords in variables, and what is recorded stays for good.
        let value = match name.as_str() {
            "local_variables" if !value.is_null() => digest(&value),
            OTHER => unread(&value),
            "api" => {
                flatten("api", &value, &mut fields);
                continue;
            }
            _ => value,
        };
        fields.insert(camel(&name), value);
    }
    Ok(Seen { fields, infrastructure: Some(row.infrastructure_id), project: Some(row.project_key) })
}

async fn update<C: ConnectionTrait>(db: &C, id: &str) -> Result<Seen> {
    let Ok(RunId(id)) = id.parse() else { return Ok(Seen::default()) };
    let Some(row) = run::Entity::find_by_id(id).one(db).await? else { return Ok(Seen::default()) };
    let fields = map([
        ("deployment", json!(row.deployment_id)),
        ("status", json!(row.status)),
        ("cancelRequestedBy", json!(row.cancel_requested_by)),
    ]);
    Ok(Seen { fields, ..deployment(db, &row.deployment_id).await? })
}

/// The whole list that the stage is in: its order is a property of all of them.
async fn stages<C: ConnectionTrait>(db: &C, id: &str) -> Result<Map<String, Value>> {
    let kind = id.split_once('/').map_or(id, |(kind, _)| kind);
    let rows = stage::Entity::find()
        .filter(stage::Column::Kind.eq(kind))
        .order_by_asc(stage::Column::Position)
        .all(db)
        .await?;
    let order: Vec<_> = rows.iter().map(|row| row.id.as_str()).collect();
    let mut fields = map([("order", json!(order))]);
    for row in &rows {
        fields.insert(format!("description.{}", row.id), json!(row.description));
    }
    Ok(fields)
}

async fn user<C: ConnectionTrait>(db: &C, login: &str) -> Result<Map<String, Value>> {
    let Some(row) = account::Entity::find_by_id(login).one(db).await? else { return Ok(Map::new()) };
    let mut fields = map([
        ("displayName", json!(row.display_name)),
        ("kind", json!(row.kind)),
        ("email", json!(row.email)),
        ("enabled", json!(row.enabled)),
    ]);
    let groups = membership::Entity::find().filter(membership::Column::Login.eq(login)).all(db).await?;
    fields.extend(groups.into_iter().map(|row| (format!("groups.{}", row.group_name), json!(true))));
    let keys = api_key::Entity::find()
        .filter(api_key::Column::Login.eq(login))
        .filter(api_key::Column::RevokedAt.is_null())
        .filter(api_key::Column::HooksRunId.is_null())
        .all(db)
        .await?;
    fields.extend(keys.into_iter().map(|row| (format!("keys.{}", row.id), json!(true))));
    Ok(fields)
}

async fn group<C: ConnectionTrait>(db: &C, name: &str) -> Result<Map<String, Value>> {
    let Some(row) = user_group::Entity::find_by_id(name).one(db).await? else { return Ok(Map::new()) };
    let may = row.may_publish_services;
    let mut fields = map([("description", json!(row.description)), ("mayPublishServices", json!(may))]);
    let members = membership::Entity::find().filter(membership::Column::GroupName.eq(name)).all(db).await?;
    fields.extend(members.into_iter().map(|row| (format!("members.{}", row.login), json!(true))));
    let levels = infrastructure_permission::Entity::find()
        .filter(infrastructure_permission::Column::GroupName.eq(name))
        .all(db)
        .await?;
    let level = |row: infrastructure_permission::Model| {
        (format!("infrastructures.{}", row.infrastructure_id), json!(Level::from_row(row.level)))
    };
    fields.extend(levels.into_iter().map(level));
    let rights = published_project_permission::Entity::find()
        .filter(published_project_permission::Column::GroupName.eq(name))
        .all(db)
        .await?;
    fields.extend(rights.into_iter().map(|row| (format!("publishedProjects.{}", row.project_key), json!(true))));
    Ok(fields)
}

async fn key<C: ConnectionTrait>(db: &C, id: &str) -> Result<Map<String, Value>> {
    let row = api_key::Entity::find_by_id(id).one(db).await?;
    Ok(row.map_or_else(Map::new, |row| {
        map([
            ("login", json!(row.login)),
            ("label", json!(row.label)),
            ("description", json!(row.description)),
            ("expiresAt", json!(row.expires_at)),
            ("revoked", json!(row.revoked_at.is_some())),
        ])
    }))
}

async fn pool<C: ConnectionTrait>(db: &C, name: &str) -> Result<Map<String, Value>> {
    let row = pool::Entity::find_by_id(name).one(db).await?;
    Ok(row.map_or_else(Map::new, |row| map([("limit", json!(row.slot_limit))])))
}

async fn worker<C: ConnectionTrait>(db: &C, id: &str) -> Result<Map<String, Value>> {
    let Ok(id) = id.parse::<i64>() else { return Ok(Map::new()) };
    let row = worker::Entity::find_by_id(id).one(db).await?;
    Ok(row.map_or_else(Map::new, |row| {
        map([("name", json!(row.name)), ("draining", json!(row.draining_since.is_some()))])
    }))
}

/// The fields that differ: as they were, and as they are.
pub(crate) fn changes(before: &Seen, after: &Seen) -> (Map<String, Value>, Map<String, Value>) {
    let (mut old, mut new) = (Map::new(), Map::new());
    let names: BTreeSet<_> = before.fields.keys().chain(after.fields.keys()).collect();
    let differing: Vec<_> =
        names.into_iter().filter(|name| before.fields.get(*name) != after.fields.get(*name)).collect();
    for name in differing.iter().take(MOST_FIELDS) {
        let last = name.rsplit('.').next().unwrap_or(name);
        let secret = SECRETS.contains(&last);
        if let Some(value) = before.fields.get(*name) {
            old.insert((*name).clone(), if secret { kept(value, SET) } else { bounded(value) });
        }
        if let Some(value) = after.fields.get(*name) {
            new.insert((*name).clone(), if secret { kept(value, CHANGED) } else { bounded(value) });
        }
    }
    if let Some(more) = differing.len().checked_sub(MOST_FIELDS).filter(|more| *more > 0) {
        new.insert("…".to_owned(), json!(more));
    }
    (old, new)
}

fn kept(secret: &Value, word: &str) -> Value {
    if secret.is_null() { Value::Null } else { json!(word) }
}

fn bounded(value: &Value) -> Value {
    if value.to_string().len() <= LONGEST { value.clone() } else { digest(value) }
}

fn digest(value: &Value) -> Value {
    let text = value.to_string();
    json!({ "sha256": hex(&Sha256::digest(&text)), "bytes": text.len() })
}

/// The digest of what clients keep, if they keep anything.
fn unread(kept: &Value) -> Value {
    let nothing = kept.is_null() || kept.as_object().is_some_and(Map::is_empty);
    if nothing { kept.clone() } else { digest(kept) }
}

fn camel(name: &str) -> String {
    let mut up = false;
    name.chars()
        .filter_map(|c| {
            let raise = std::mem::replace(&mut up, c == '_');
            (c != '_').then(|| if raise { c.to_ascii_uppercase() } else { c })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen<const N: usize>(fields: [(&str, Value); N]) -> Seen {
        plain(map(fields))
    }

    #[test]
    fn what_differs_is_recorded_and_secrets_are_not() {
        let before = seen([("stage", json!("Test")), ("adminKey", json!("one")), ("nodeUrl", json!("http://a"))]);
        let after = seen([("stage", json!("Production")), ("adminKey", json!("two")), ("nodeUrl", json!("http://a"))]);
        let (old, new) = changes(&before, &after);
        assert_eq!(Value::Object(old), json!({"adminKey": "set", "stage": "Test"}));
        assert_eq!(Value::Object(new), json!({"adminKey": "changed", "stage": "Production"}));
        let (old, new) = changes(&seen([("adminKey", json!("one"))]), &seen([("adminKey", Value::Null)]));
        assert_eq!((Value::Object(old), Value::Object(new)), (json!({"adminKey": "set"}), json!({"adminKey": null})));
    }

    #[test]
    fn a_record_is_bounded() {
        let long = seen([("text", json!("x".repeat(100_000)))]);
        let (_, new) = changes(&Seen::default(), &long);
        assert_eq!(new["text"]["bytes"], 100_002);
        let fields = (0..1_000).map(|n| (format!("f{n:04}"), json!(n))).collect();
        let (_, new) = changes(&Seen::default(), &plain(fields));
        assert_eq!((new.len(), &new["…"]), (MOST_FIELDS + 1, &json!(800)));
        assert_eq!(camel("on_failure_of_it"), "onFailureOfIt");
    }
}
