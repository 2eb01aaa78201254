//! Changing infrastructures. Lock order of these transactions: the stage, the infrastructure, the group `administrators`, accounts, other groups; then
//! rows that name groups.

use std::collections::BTreeSet;

use engine::{db::Tx, secrets::Secret};
use entities::{deployment, hook, hook_code, infrastructure, infrastructure_permission, secret};
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter};
use targets::{
    TargetType,
    spec::{InfrastructureSpec, NodeSpec},
};
use url::Url;

use super::{
    documents,
    nodes::{self, Changed, KeyRefs, NodePatch},
    patch::{InfrastructurePatch, SettingsPatch},
    read::{self, Infrastructure, Permission},
    settings::Settings,
    validate,
};
use crate::{
    Deployer,
    accounts::changes::{inserted, lock_administrators, lock_groups},
    audit::{Object, ObjectKind, act::Act},
    deployments, enrolment,
    error::{Error, Problems, Refusal, Result},
    names, platform,
    projects::MOST_GROUPS,
    rights::{self, Level},
    sealed,
    stages::{self, StageKind},
    versions,
    viewer::Viewer,
};

/// An infrastructure to be made.
#[derive(Clone, Debug, Default)]
pub struct NewInfrastructure {
    /// Unique, for good.
    pub id: String,
    /// The kind of platform behind it.
    pub kind: TargetType,
    /// A stage of its list.
    pub stage: String,
    /// The node URL, and whatever is to differ from the defaults.
    pub settings: SettingsPatch,
    /// The node's administrator key, write-only.
    pub admin_key: Option<Secret>,
    /// The governance source's key, write-only.
    pub governance_key: Option<Secret>,
    /// The nodes of a multi-node infrastructure.
    pub nodes: Vec<NodePatch>,
    /// What groups may do.
    pub permissions: Vec<Permission>,
}

/// Locks the row until the end of the transaction, and answers it if the viewer has at least this level. Whoever makes something that names an
/// infrastructure takes this lock, too: none is deleted under it.
///
/// # Errors
/// As [`rights::require_infrastructure`].
pub(crate) async fn lock(
    tx: &Tx,
    viewer: &Viewer,
    id: &str,
    level: Level,
    field: &str,
) -> Result<infrastructure::Model> {
    if crate::text::storable(id) {
        tx.lock("infrastructure", "id = $1", id).await?;
    }
    rights::require_infrastructure(&**tx, viewer, id, level, field).await
}

/// Counts a change, under the row's lock.
pub(crate) async fn touch(tx: &Tx, viewer: &Viewer, row: &infrastructure::Model) -> Result<()> {
    touch_as(tx, &viewer.login, row).await
}

/// The same for whoever has this name.
pub(super) async fn touch_as(tx: &Tx, login: &str, row: &infrastructure::Model) -> Result<()> {
    let other_version = versions::other((row.version, row.other_version), &row.updated_by, login);
    infrastructure::Entity::update_many()
        .col_expr(infrastructure::Column::Version, row.version.saturating_add(1).into())
        .col_expr(infrastructure::Column::OtherVersion, other_version.into())
        .col_expr(infrastructure::Column::UpdatedAt, tx.now().await?.into())
        .col_expr(infrastructure::Column::UpdatedBy, login.into())
        .filter(infrastructure::Column::Id.eq(&row.id))
        .exec(&**tx)
        .await?;
    Ok(())
}

/// Refuses an editor who saw another version.
pub(crate) fn require_version(row: &infrastructure::Model, seen: i64) -> Result<()> {
    if row.version == seen { Ok(()) } else { Err(Error::version_conflict(seen, row.version)) }
}

/// Makes an infrastructure. Global administrators alone.
///
/// # Errors
/// `FORBIDDEN`; `ID_INVALID`, `ID_NOT_AVAILABLE` when the id is taken or reserved; `STAGE_UNKNOWN`; `TOO_MANY`; `GROUP_UNKNOWN`; `USER_UNKNOWN`; one for each
/// setting that is wrong.
pub async fn create(deployer: &Deployer, viewer: &Viewer, new: NewInfrastructure) -> Result<Infrastructure> {
    let act = act(deployer, viewer, "createInfrastructure", &new.id);
    act.once(create_once(deployer, viewer, new, &act)).await
}

fn act<'a>(deployer: &'a Deployer, viewer: &Viewer, action: &'static str, id: &str) -> Act<'a> {
    Act::new(deployer, viewer, action, Object::new(ObjectKind::Infrastructure, id))
}

async fn create_once(
    deployer: &Deployer,
    viewer: &Viewer,
    new: NewInfrastructure,
    act: &Act<'_>,
) -> Result<Infrastructure> {
    rights::require_global_admin(viewer)?;
    bound(&new.permissions)?;
    let mut problems = Problems::default();
    names::check(&new.id, "id", &mut problems);
    new.settings.check(&mut problems);
    let new_settings = new.settings.clone();
    let mut settings = new.settings.apply(Settings::default());
    settings.nodes = nodes::applied(&[], &new.nodes);
    validate::settings(&mut settings, &deployer.targets, &mut problems);
    if let Some(key) = &new.admin_key {
        validate::key(key, "adminKey", &mut problems);
    }
    if let Some(key) = &new.governance_key {
        validate::key(key, "governanceKey", &mut problems);
    }
    let none = Settings::default();
    nodes::check_keys(&none, &KeyRefs::new(), &new.nodes, &settings.nodes, &mut problems);
    refuse_lone_key(&settings, new.admin_key.is_some(), &mut problems);
    let patch = InfrastructurePatch {
        admin_key: new.admin_key.clone().map(Some),
        nodes: Some(new.nodes.clone()),
        ..InfrastructurePatch::default()
    };
    documents::refuse_other_half(new.kind, &none, &settings, &patch, &mut problems);
    let target = deployer.targets.find(new.kind);
    let target = target.ok_or_else(|| Error::fault(format!("this build lacks {}", new.kind)))?;
    let entered = documents::prepare(target.as_ref(), &none, &new_settings, deployer.targets.blocked(), &mut problems)?;
    let permissions = permission_rows(&new.permissions, &mut problems);
    problems.check()?;
    if names::is_reserved(&new.id) {
        return Err(Error::id_not_available("id"));
    }
    let tx = deployer.db.begin().await?;
    stages::lock(&tx, StageKind::of(new.kind), &new.stage, "stage").await?;
    documents::hold_connection(&tx, viewer, target.as_ref(), None, &settings).await?;
    entered.put(&tx, &deployer.keyring, &new.id, &mut settings).await?;
    let now = tx.now().await?;
    let key_ref = match &new.admin_key {
        Some(key) => Some(sealed::put(&tx, &deployer.keyring, &sealed::owner_of(&new.id), key).await?),
        None => None,
    };
    let governance_key_ref = match &new.governance_key {
        Some(key) => Some(sealed::put(&tx, &deployer.keyring, &sealed::governance_owner_of(&new.id), key).await?),
        None => None,
    };
    let refs = nodes::put_keys(deployer, &tx, &new.id, (&none, &KeyRefs::new()), Some(&new.nodes), &settings).await?;
    let row = infrastructure::ActiveModel {
        id: Set(new.id.clone()),
        kind: Set(new.kind.as_str().to_owned()),
        stage: Set(new.stage),
        settings: Set(settings.write()?),
        key_ref: Set(key_ref),
        governance_key_ref: Set(governance_key_ref),
        node_key_refs: Set(nodes::key_refs_text(&refs)?),
        version: Set(1),
        other_version: Set(0),
        created_at: Set(now),
        created_by: Set(viewer.login.clone()),
        updated_at: Set(now),
        updated_by: Set(viewer.login.clone()),
    };
    let result = infrastructure::Entity::insert(row).on_conflict_do_nothing().exec_without_returning(&*tx).await?;
    if !inserted(&result) {
        return Err(Error::id_not_available("id"));
    }
    // The version before leaves them behind when it deletes an infrastructure: they are not good for a new one.
    enrolment::forget_all(&tx, &new.id).await?;
    lock_administrators(&tx, &names_of(&permissions)).await?;
    require_hooks_user(&tx, viewer, &Settings::default(), &settings).await?;
    put_permissions(&tx, &new.id, &permissions).await?;
    act.commit(tx).await?;
    read_back(deployer, viewer, &new.id).await
}

/// Changes an infrastructure's stage, settings, keys or rights. A change of the node's scheme, host, port or certificate trust clears the stored key unless a
/// new one comes with it: the old one must not be sent elsewhere. The same holds for the governance source and its key. Its administrators alone.
///
/// # Errors
/// `NOT_FOUND`, `FORBIDDEN`, `VERSION_CONFLICT`, `STAGE_UNKNOWN`, `USER_UNKNOWN`, `ADMIN_KEY_MASKED`, `GROUP_UNKNOWN`; one for each setting that is
/// wrong.
pub async fn update(
    deployer: &Deployer,
    viewer: &Viewer,
    id: &str,
    expected_version: i64,
    patch: InfrastructurePatch,
) -> Result<Infrastructure> {
    let act = &act(deployer, viewer, "updateInfrastructure", id);
    act.run(|| update_once(deployer, viewer, id, expected_version, patch.clone(), act)).await
}

async fn update_once(
    deployer: &Deployer,
    viewer: &Viewer,
    id: &str,
    expected_version: i64,
    patch: InfrastructurePatch,
    act: &Act<'_>,
) -> Result<Infrastructure> {
    // Asked before anything about the input, so that a hidden infrastructure answers like an absent one whatever is sent.
    let row = rights::require_infrastructure(deployer.db.pool(), viewer, id, Level::Admin, "id").await?;
    bound(patch.permissions.as_deref().unwrap_or_default())?;
    let tx = deployer.db.begin().await?;
    // One that it is in already may have vanished, and is left as it is.
    if let Some(stage) = patch.stage.as_ref().filter(|stage| **stage != row.stage) {
        stages::lock(&tx, StageKind::of(platform::kind_of(&row)?), stage, "stage").await?;
    }
    let row = lock(&tx, viewer, id, Level::Admin, "id").await?;
    act.before(&tx).await?;
    require_version(&row, expected_version)?;
    let old = Settings::read(&row.settings)?;
    let refs = nodes::key_refs(row.node_key_refs.as_deref())?;
    let mut problems = Problems::default();
    patch.settings.check(&mut problems);
    let entered_settings = patch.settings.clone();
    let mut new = patch.settings.clone().apply(old.clone());
    if let Some(list) = &patch.nodes {
        new.nodes = nodes::applied(&old.nodes, list);
    }
    validate::settings(&mut new, &deployer.targets, &mut problems);
    if let Some(Some(key)) = &patch.admin_key {
        validate::key(key, "adminKey", &mut problems);
    }
    if let Some(Some(key)) = &patch.governance_key {
        validate::key(key, "governanceKey", &mut problems);
    }
    let target = platform::target_of(deployer, &row)?;
    documents::refuse_other_half(platform::kind_of(&row)?, &old, &new, &patch, &mut problems);
    let documents =
        documents::prepare(target.as_ref(), &old, &entered_settings, deployer.targets.blocked(), &mut problems)?;
    let list = patch.nodes.as_deref();
    nodes::check_keys(&old, &refs, list.unwrap_or_default(), &new.nodes, &mut problems);
    let entered = list.unwrap_or_default().iter().filter(|node| node.admin_key.is_some());
    let entered = Changed { only: patch.admin_key.is_some(), of: entered.map(|node| node.name.as_str()).collect() };
    nodes::check_managed(&old, &new, &entered, &mut problems);
    refuse_lone_key(&new, matches!(patch.admin_key, Some(Some(_))), &mut problems);
    if patch.keeps_key && (row.key_ref.is_none() || another_place(&old, &new)) {
        problems.add("ADMIN_KEY_MASKED", "adminKey", nodes::not_kept(row.key_ref.is_some()));
    }
    if patch.keeps_governance_key && (row.governance_key_ref.is_none() || another_source(&old, &new)) {
        let message = match row.governance_key_ref {
            None => "There is no stored key. Enter the key itself.",
            Some(_) => {
                "The governance source's address changed, so the stored key would go somewhere else. Enter the key itself."
            }
        };
        problems.add("ADMIN_KEY_MASKED", "governanceKey", message);
    }
    let permissions = patch.permissions.as_ref().map(|given| permission_rows(given, &mut problems));
    problems.check()?;
    if old.multi_node != new.multi_node {
        refuse_disabled(&tx, id).await?;
    }
    documents.refuse_moved(&tx, id, target.as_ref(), &old, &new).await?;
    if let Some(permissions) = &permissions {
        lock_administrators(&tx, &names_of(permissions)).await?;
    }
    require_hooks_user(&tx, viewer, &old, &new).await?;
    documents::hold_connection(&tx, viewer, target.as_ref(), Some(&old), &new).await?;
    documents.put(&tx, &deployer.keyring, id, &mut new).await?;
    let key_ref = match &patch.admin_key {
        Some(Some(key)) => Some(sealed::put(&tx, &deployer.keyring, &sealed::owner_of(id), key).await?),
        Some(None) => None,
        None if another_place(&old, &new) => None,
        None => row.key_ref.clone(),
    };
    let governance_key_ref = match &patch.governance_key {
        Some(Some(key)) => Some(sealed::put(&tx, &deployer.keyring, &sealed::governance_owner_of(id), key).await?),
        Some(None) => None,
        None if another_source(&old, &new) => None,
        None => row.governance_key_ref.clone(),
    };
    let refs = nodes::put_keys(deployer, &tx, id, (&old, &refs), list, &new).await?;
    infrastructure::Entity::update_many()
        .col_expr(infrastructure::Column::Stage, patch.stage.as_ref().unwrap_or(&row.stage).as_str().into())
        .col_expr(infrastructure::Column::Settings, new.write()?.into())
        .col_expr(infrastructure::Column::KeyRef, key_ref.into())
        .col_expr(infrastructure::Column::GovernanceKeyRef, governance_key_ref.into())
        .col_expr(infrastructure::Column::NodeKeyRefs, nodes::key_refs_text(&refs)?.into())
        .filter(infrastructure::Column::Id.eq(id))
        .exec(&*tx)
        .await?;
    forget_keys(&tx, id).await?;
    if let Some(permissions) = &permissions {
        put_permissions(&tx, id, permissions).await?;
    }
    touch(&tx, viewer, &row).await?;
    let row = infrastructure::Entity::find_by_id(id).one(&*tx).await?;
    // Whoever gave their own rights away learns that it worked all the same.
    let changed = read::whole(&*tx, row.ok_or_else(|| Error::fault("a locked row vanished"))?).await?;
    act.commit(tx).await?;
    Ok(changed)
}

/// What was on before a deployment was disabled is noted by node: it would not be found again under other names.
async fn refuse_disabled(tx: &Tx, id: &str) -> Result<()> {
    let rows = deployment::Entity::find().filter(deployment::Column::InfrastructureId.eq(id)).all(&**tx).await?;
    for row in rows {
        if deployments::Settings::read(&row.settings)?.disabled {
            let message = "A deployment on this infrastructure is disabled, and what was on before would be forgotten. Enable it before you change this.";
            return Err(Error::field("IN_USE", "multiNode", message));
        }
    }
    Ok(())
}

/// Removes the keys that the infrastructure's row names no more.
pub(super) async fn forget_keys(tx: &Tx, id: &str) -> Result<()> {
    let row = infrastructure::Entity::find_by_id(id).one(&**tx).await?;
    let row = row.ok_or_else(|| Error::fault("a locked row vanished"))?;
    sealed::forget_unused(tx, id, &sealed::named_by(&row)?).await?;
    Ok(())
}

/// The key of the only node has no node to go to where there are several.
fn refuse_lone_key(settings: &Settings, entered: bool, problems: &mut Problems) {
    if settings.multi_node && entered {
        let message = "A multi-node infrastructure has a key for each node. Enter it there.";
        problems.add("NODE_LIST_INVALID", "adminKey", message);
    }
}

/// Whether a key would go to another place, or over a less trusted way.
fn another_place(old: &Settings, new: &Settings) -> bool {
    differs((&old.node_url, old.trust_all_certificates), (&new.node_url, new.trust_all_certificates))
}

/// Whether the governance source's key would go to another place.
fn another_source(old: &Settings, new: &Settings) -> bool {
    match (&old.governance_url, &new.governance_url) {
        (None, None) => false,
        (Some(old), Some(new)) => differs((old, false), (new, false)),
        _ => true,
    }
}

/// Whether these are other nodes: a key that was entered for one must not be sent to another.
pub(crate) fn other_nodes(old: &InfrastructureSpec, new: &InfrastructureSpec) -> bool {
    let (old, new) = (old.places(), new.places());
    let differ = |old: &NodeSpec, new: &NodeSpec| {
        differs((&old.url, old.trust_all_certificates), (&new.url, new.trust_all_certificates))
    };
    old.len() != new.len() || old.iter().zip(&new).any(|(old, new)| old.name != new.name || differ(old.node, new.node))
}

/// Scheme, host, port or trust differ, unless nothing does; else an address that cannot be read differs from all.
pub(super) fn differs(old: (&str, bool), new: (&str, bool)) -> bool {
    let place = |url: &str| {
        let url = Url::parse(url).ok()?;
        Some((url.scheme().to_owned(), url.host_str()?.to_owned(), url.port_or_known_default()))
    };
    old != new && (old.1 != new.1 || place(old.0).is_none() || place(old.0) != place(new.0))
}

/// Hooks call us back as this user: an infrastructure's administrator may lend only their own name to them, a global administrator anybody's.
async fn require_hooks_user(tx: &Tx, viewer: &Viewer, old: &Settings, new: &Settings) -> Result<()> {
    let Some(user) = new.hooks_user.as_ref().filter(|user| old.hooks_user.as_ref() != Some(*user)) else {
        return Ok(());
    };
    if !viewer.is_admin() && *user != viewer.login {
        return Err(Error::Refused(vec![Refusal {
            code: "FORBIDDEN",
            field: Some("hooksUser".to_owned()),
            message:
                "Only a global administrator may choose somebody else as the hooks user. Choose yourself, or ask one."
                    .to_owned(),
        }]));
    }
    if !tx.lock("account", "login = $1 AND enabled", user.as_str()).await? {
        return Err(Error::field("USER_UNKNOWN", "hooksUser", "There is no enabled user with this login."));
    }
    Ok(())
}

/// Replaces the rights on an infrastructure. Its administrators alone; they may take their own right, global administrators keep theirs.
///
/// # Errors
/// `NOT_FOUND`, `FORBIDDEN`, `TOO_MANY`, `VERSION_CONFLICT`, `PERMISSION_INVALID`, `GROUP_UNKNOWN`.
pub async fn set_permissions(
    deployer: &Deployer,
    viewer: &Viewer,
    id: &str,
    expected_version: i64,
    permissions: &[Permission],
) -> Result<Option<Infrastructure>> {
    let act = &act(deployer, viewer, "setInfrastructurePermissions", id);
    act.run(|| set_permissions_once(deployer, viewer, id, expected_version, permissions, act)).await
}

async fn set_permissions_once(
    deployer: &Deployer,
    viewer: &Viewer,
    id: &str,
    expected_version: i64,
    permissions: &[Permission],
    act: &Act<'_>,
) -> Result<Option<Infrastructure>> {
    // Asked before the lock, too: whoever may not change it must not keep others waiting.
    rights::require_infrastructure(deployer.db.pool(), viewer, id, Level::Admin, "id").await?;
    bound(permissions)?;
    let tx = deployer.db.begin().await?;
    let row = lock(&tx, viewer, id, Level::Admin, "id").await?;
    act.before(&tx).await?;
    require_version(&row, expected_version)?;
    let mut problems = Problems::default();
    let rows = permission_rows(permissions, &mut problems);
    problems.check()?;
    put_permissions(&tx, id, &rows).await?;
    touch(&tx, viewer, &row).await?;
    act.commit(tx).await?;
    read::get(deployer, viewer, id).await
}

/// Not more rights than anybody needs: each is a row to lock.
pub(crate) fn bound(permissions: &[Permission]) -> Result<()> {
    if permissions.len() <= MOST_GROUPS {
        return Ok(());
    }
    Err(Error::field("TOO_MANY", "permissions", format!("At most {MOST_GROUPS} groups can have rights.")))
}

/// The groups, each once, in the order in which they were given.
pub(crate) fn permission_rows(permissions: &[Permission], problems: &mut Problems) -> Vec<Permission> {
    let mut groups = BTreeSet::new();
    for (at, permission) in permissions.iter().enumerate() {
        if permission.level == Level::None {
            problems.add("PERMISSION_INVALID", format!("permissions[{at}].level"), "Give VIEW, DEPLOY or ADMIN.");
        }
        if !groups.insert(&permission.group) {
            problems.add("PERMISSION_INVALID", format!("permissions[{at}].group"), "This group is named twice.");
        }
    }
    permissions.to_vec()
}

fn names_of(permissions: &[Permission]) -> BTreeSet<String> {
    permissions.iter().map(|permission| permission.group.clone()).collect()
}

/// Gives exactly these rights. The groups first, then the rows: whoever deletes a group goes that way, too.
async fn put_permissions(tx: &Tx, id: &str, permissions: &[Permission]) -> Result<()> {
    lock_groups(tx, &names_of(permissions), "permissions").await?;
    infrastructure_permission::Entity::delete_many()
        .filter(infrastructure_permission::Column::InfrastructureId.eq(id))
        .exec(&**tx)
        .await?;
    let rows: Vec<_> = permissions
        .iter()
        .zip(0..)
        .map(|(permission, position)| infrastructure_permission::ActiveModel {
            infrastructure_id: Set(id.to_owned()),
            group_name: Set(permission.group.clone()),
            level: Set(permission.level.to_row()),
            position: Set(position),
        })
        .collect();
    if !rows.is_empty() {
        infrastructure_permission::Entity::insert_many(rows).exec_without_returning(&**tx).await?;
    }
    Ok(())
}

/// Deletes an infrastructure that no deployment uses, with its rights, hooks and keys. Its administrators alone.
///
/// # Errors
/// `NOT_FOUND`, `FORBIDDEN`, `IN_USE`, which says that something uses it, and never what: the viewer may not be allowed to see it.
pub async fn delete(deployer: &Deployer, viewer: &Viewer, id: &str) -> Result<()> {
    let act = &act(deployer, viewer, "deleteInfrastructure", id);
    act.run(|| delete_once(deployer, viewer, id, act)).await
}

async fn delete_once(deployer: &Deployer, viewer: &Viewer, id: &str, act: &Act<'_>) -> Result<()> {
    rights::require_infrastructure(deployer.db.pool(), viewer, id, Level::Admin, "id").await?;
    let tx = deployer.db.begin().await?;
    lock(&tx, viewer, id, Level::Admin, "id").await?;
    act.before(&tx).await?;
    let used = deployment::Entity::find().filter(deployment::Column::InfrastructureId.eq(id)).count(&*tx).await?;
    if used > 0 {
        return Err(Error::field("IN_USE", "id", "Deployments use this infrastructure. Delete them first."));
    }
    infrastructure_permission::Entity::delete_many()
        .filter(infrastructure_permission::Column::InfrastructureId.eq(id))
        .exec(&*tx)
        .await?;
    hook::Entity::delete_many().filter(hook::Column::InfrastructureId.eq(id)).exec(&*tx).await?;
    hook_code::Entity::delete_many().filter(hook_code::Column::InfrastructureId.eq(id)).exec(&*tx).await?;
    secret::Entity::delete_many().filter(secret::Column::Owner.is_in(sealed::owners_of(id))).exec(&*tx).await?;
    enrolment::forget_all(&tx, id).await?;
    infrastructure::Entity::delete_by_id(id).exec(&*tx).await?;
    act.commit(tx).await
}

async fn read_back(deployer: &Deployer, viewer: &Viewer, id: &str) -> Result<Infrastructure> {
    read::get(deployer, viewer, id).await?.ok_or_else(|| Error::not_found("id"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_it_another_place() {
        let at = |url: &str, trust| Settings {
            node_url: url.to_owned(),
            trust_all_certificates: trust,
            ..Settings::default()
        };
        let old = at("https://node.example.com/dss", false);
        for (url, trust, other) in [
            ("https://node.example.com/dss", false, false),
            ("https://node.example.com", false, false),
            ("https://node.example.com:443/dss", false, false),
            ("http://node.example.com/dss", false, true),
            ("https://node2.example.com/dss", false, true),
            ("https://node.example.com:444/dss", false, true),
            ("https://node.example.com/dss", true, true),
        ] {
            assert_eq!(another_place(&old, &at(url, trust)), other, "{url} {trust}");
        }
        // A key that was entered before its node's address stays until there is one: it was entered for another, or for none.
        assert!(!another_place(&at("", false), &at("", false)));
        assert!(another_place(&at("", false), &at("http://a", false)) && another_place(&at("", false), &at("", true)));
        let from = |url: Option<&str>| Settings { governance_url: url.map(str::to_owned), ..Settings::default() };
        assert!(!another_source(&from(None), &from(None)) && !another_source(&from(Some("")), &from(Some(""))));
        assert!(another_source(&from(None), &from(Some("http://a"))));
    }
}
