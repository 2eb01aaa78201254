//! API keys: each acts as its user, is shown once, and is kept as a prefix and a hash.
//!
//! A key is dead once it is revoked or expired, its user disabled or deleted, or, for a key that was minted for a run's hooks, that run ended.
//! All of these answer like a key that never was.

use engine::{
    db::{Db, clock_sql, sql_with},
    ids::RunId,
    secrets::ApiKey,
};
use entities::{account, api_key};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, Condition, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder,
    QuerySelect,
};

use crate::{
    Deployer,
    accounts::{changes::inserted, users::AccountKind},
    audit::{self, Object, ObjectKind, act::Act},
    error::{Error, Problems, Result},
    paging::{Listing, Page},
    rights, text,
    viewer::{Origin, Via, Viewer},
};

/// So many living keys may one user have.
pub const MOST_KEYS: u64 = 100;
/// The last use is kept to the minute: a request must not cost a write.
const USE_GRAIN_MICROS: i64 = 60_000_000;

/// A key, without its secret part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// `slw_` and 8 characters: names it without giving it away.
    pub id: String,
    /// Whom it acts as.
    pub login: String,
    /// What its maker calls it.
    pub label: String,
    /// When, in µs since the Unix epoch.
    pub created_at: i64,
    /// µs; None never expires.
    pub expires_at: Option<i64>,
    /// µs, to the minute.
    pub last_used_at: Option<i64>,
    /// µs; a revoked key stays dead.
    pub revoked_at: Option<i64>,
    /// What it is for.
    pub description: String,
    /// Who made it: a login.
    pub created_by: String,
}

impl From<api_key::Model> for Key {
    fn from(row: api_key::Model) -> Self {
        Self {
            description: row.description.unwrap_or_default(),
            created_by: row.created_by.unwrap_or_else(|| row.login.clone()),
            id: row.id,
            login: row.login,
            label: row.label,
            created_at: row.created_at,
            expires_at: row.expires_at,
            last_used_at: row.last_used_at,
            revoked_at: row.revoked_at,
        }
    }
}

/// A key to be made.
#[derive(Clone, Debug, Default)]
pub struct NewKey {
    /// Whom it acts as; None is the viewer. Somebody else's: global administrators alone.
    pub login: Option<String>,
    /// What to call it.
    pub label: String,
    /// µs since the Unix epoch, in the future; None never expires.
    pub expires_at: Option<i64>,
    /// What it is for.
    pub description: String,
}

/// Makes a key. The second part of the answer is shown once, and never again.
///
/// # Errors
/// `FORBIDDEN` for somebody else's key, for a technical account unless as a global administrator, or with a key that was minted for a run's hooks; `NOT_FOUND` when there is no such user;
/// `TEXT_INVALID`, `TOO_MANY_KEYS`; `EXPIRY_INVALID` for a time that is past, or later than the expiry of the key that asks.
pub async fn create(deployer: &Deployer, viewer: &Viewer, new: NewKey) -> Result<(Key, ApiKey)> {
    // Whose it is to be, until it has an id.
    let login = new.login.as_deref().unwrap_or(&viewer.login);
    let act = Act::new(deployer, viewer, "createApiKey", Object::new(ObjectKind::User, login));
    act.once(create_once(deployer, viewer, &new, &act)).await
}

async fn create_once(deployer: &Deployer, viewer: &Viewer, new: &NewKey, act: &Act<'_>) -> Result<(Key, ApiKey)> {
    let login = new.login.as_deref().unwrap_or(&viewer.login);
    if login != viewer.login {
        rights::require_global_admin(viewer)?;
    }
    if !viewer.is_admin() && kind_of(deployer, login).await? == AccountKind::Technical {
        return Err(Error::forbidden("to be a global administrator, who alone makes keys for a technical account"));
    }
    if let Some(until) = own_expiry(deployer, viewer).await?
        && new.expires_at.is_none_or(|at| at > until)
    {
        // Else a key that leaked could live on in another.
        let message = "The key that you use expires, and one that it makes must not outlive it. Choose its expiry or an earlier time.";
        return Err(Error::field("EXPIRY_INVALID", "expiresAt", message));
    }
    let about = About { description: &new.description, created_by: Some(&viewer.login) };
    let tx = deployer.db.begin().await?;
    let made = insert_in(&tx, login, &new.label, new.expires_at, None, None, about).await?;
    act.about(Object::new(ObjectKind::ApiKey, &made.0.id));
    act.commit(tx).await?;
    Ok(made)
}

async fn kind_of(deployer: &Deployer, login: &str) -> Result<AccountKind> {
    let row =
        if text::storable(login) { account::Entity::find_by_id(login).one(deployer.db.pool()).await? } else { None };
    Ok(row.map_or_else(AccountKind::default, |row| AccountKind::of(&row.kind)))
}

/// What a key says of itself besides its label.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct About<'a> {
    /// What it is for.
    pub(crate) description: &'a str,
    /// Who made it; None is its user, or the operator.
    pub(crate) created_by: Option<&'a str>,
}

/// The row of the key that the viewer uses; None without one.
///
/// # Errors
/// `FORBIDDEN` for a key that was minted for a run's hooks: it dies with its run. If it could make another, it would not; and it has no business
/// with the others.
pub(crate) async fn own_key(deployer: &Deployer, viewer: &Viewer) -> Result<Option<api_key::Model>> {
    let Some(id) = &viewer.key_id else { return Ok(None) };
    match api_key::Entity::find_by_id(id).one(deployer.db.pool()).await? {
        Some(row) if row.hooks_run_id.is_none() => Ok(Some(row)),
        _ => Err(Error::forbidden("a key of your own, not one that was made for a hook")),
    }
}

/// Whether this key is neither revoked nor expired nor gone.
pub(crate) async fn lives(db: &Db, id: &str) -> Result<bool> {
    let row = api_key::Entity::find_by_id(id).one(db.pool()).await?;
    let now = db.now().await?;
    Ok(row.is_some_and(|row| row.revoked_at.is_none() && row.expires_at.is_none_or(|at| at > now)))
}

/// When the key that the viewer uses expires, in µs: what it makes must not outlive it. None never, or without a key.
///
/// # Errors
/// `FORBIDDEN` for a key that was minted for a run's hooks.
pub(crate) async fn own_expiry(deployer: &Deployer, viewer: &Viewer) -> Result<Option<i64>> {
    Ok(own_key(deployer, viewer).await?.and_then(|row| row.expires_at))
}

/// Mints a key for the hooks of one run. It acts as the infrastructure's hooks user, and is dead once the run has ended. None when that user
/// is gone or disabled.
///
/// # Errors
/// The database's.
pub async fn mint_for_hooks(deployer: &Deployer, run: RunId, login: &str) -> Result<Option<ApiKey>> {
    let (db, keyring) = (&deployer.db, Some(&*deployer.keyring));
    let act = Act::unsigned(db, keyring, Via::Worker, "mintHookKey", Object::new(ObjectKind::User, login));
    let label = format!("hooks of update {run}");
    match act.once(insert(db, login, &label, None, Some(run), About::default(), &act)).await {
        Ok((_, key)) => Ok(Some(key)),
        Err(Error::Refused(_)) => Ok(None),
        Err(fault) => Err(fault),
    }
}

/// Makes a key for an enabled user; the callers have asked for the right.
pub(crate) async fn insert(
    db: &Db,
    login: &str,
    label: &str,
    expires_at: Option<i64>,
    run: Option<RunId>,
    about: About<'_>,
    act: &Act<'_>,
) -> Result<(Key, ApiKey)> {
    let tx = db.begin().await?;
    let made = insert_in(&tx, login, label, expires_at, run, None, about).await?;
    act.about(Object::new(ObjectKind::ApiKey, &made.0.id));
    if let Some(run) = run {
        act.update(run);
    }
    act.commit(tx).await?;
    Ok(made)
}

/// As [`insert`], inside a transaction; `given` is a key that was chosen outside.
pub(crate) async fn insert_in(
    tx: &engine::db::Tx,
    login: &str,
    label: &str,
    expires_at: Option<i64>,
    run: Option<RunId>,
    given: Option<ApiKey>,
    about: About<'_>,
) -> Result<(Key, ApiKey)> {
    if !text::storable(login) || !tx.lock("account", "login = $1 AND enabled", login).await? {
        return Err(Error::not_found("login"));
    }
    let now = tx.now().await?;
    let mut problems = Problems::default();
    text::required_line(label, text::LINE, "label", &mut problems);
    text::lines(about.description, text::DESCRIPTION, "description", &mut problems);
    if expires_at.is_some_and(|at| at <= now) {
        problems.add("EXPIRY_INVALID", "expiresAt", "The key would have expired already. Choose a time in the future.");
    }
    problems.check()?;
    if run.is_none() {
        let living = api_key::Entity::find()
            .filter(api_key::Column::Login.eq(login))
            .filter(api_key::Column::HooksRunId.is_null())
            .filter(api_key::Column::RevokedAt.is_null())
            .filter(Condition::any().add(api_key::Column::ExpiresAt.is_null()).add(api_key::Column::ExpiresAt.gt(now)))
            .count(&**tx)
            .await?;
        if living >= MOST_KEYS {
            return Err(Error::refused(
                "TOO_MANY_KEYS",
                format!("This user has {living} keys. Revoke one that is not needed any more."),
            ));
        }
    }
    let chosen = given.is_some();
    let mut key = given.unwrap_or_else(ApiKey::generate);
    loop {
        let row = api_key::ActiveModel {
            id: Set(key.prefix().to_owned()),
            login: Set(login.to_owned()),
            label: Set(label.to_owned()),
            hash: Set(key.hash()),
            created_at: Set(now),
            expires_at: Set(expires_at),
            last_used_at: Set(None),
            revoked_at: Set(None),
            hooks_run_id: Set(run.map(|run| run.0)),
            description: Set((!about.description.is_empty()).then(|| about.description.to_owned())),
            created_by: Set(about.created_by.map(ToOwned::to_owned)),
        };
        let result = api_key::Entity::insert(row).on_conflict_do_nothing().exec_without_returning(&**tx).await?;
        if inserted(&result) {
            break;
        }
        if chosen {
            return Err(Error::id_not_available("key"));
        }
        // Two names met by chance: draw again.
        key = ApiKey::generate();
    }
    tracing::info!(key.id = key.prefix(), key.login = login, "API key made");
    let view = Key {
        id: key.prefix().to_owned(),
        login: login.to_owned(),
        label: label.to_owned(),
        created_at: now,
        expires_at,
        last_used_at: None,
        revoked_at: None,
        description: about.description.to_owned(),
        created_by: about.created_by.unwrap_or(login).to_owned(),
    };
    Ok((view, key))
}

/// Revokes a key, for good: one's own, or any as a global administrator. Repeating it is harmless.
///
/// # Errors
/// `NOT_FOUND` when there is no such key, or it is somebody else's; `FORBIDDEN` with a key that was minted for a run's hooks.
pub async fn revoke(deployer: &Deployer, viewer: &Viewer, id: &str) -> Result<Key> {
    let act = Act::new(deployer, viewer, "revokeApiKey", Object::new(ObjectKind::ApiKey, id));
    act.once(revoke_once(deployer, viewer, id, &act)).await
}

async fn revoke_once(deployer: &Deployer, viewer: &Viewer, id: &str, act: &Act<'_>) -> Result<Key> {
    own_key(deployer, viewer).await?;
    if !text::storable(id) {
        return Err(Error::not_found("id"));
    }
    let tx = deployer.db.begin().await?;
    tx.lock("api_key", "id = $1", id).await?;
    act.before(&tx).await?;
    let row = api_key::Entity::find_by_id(id).one(&*tx).await?;
    let mine = |row: &api_key::Model| viewer.is_admin() || row.login == viewer.login;
    let Some(mut row) = row.filter(mine) else { return Err(Error::not_found("id")) };
    if row.revoked_at.is_none() {
        let now = tx.now().await?;
        api_key::Entity::update_many()
            .col_expr(api_key::Column::RevokedAt, now.into())
            .filter(api_key::Column::Id.eq(id))
            .exec(&*tx)
            .await?;
        row.revoked_at = Some(now);
        act.commit(tx).await?;
        tracing::info!(key.id = id, key.login = row.login, by = viewer.login, "API key revoked");
    }
    Ok(row.into())
}

/// Calls a key otherwise: one's own, or any as a global administrator. None leaves a thing alone.
///
/// # Errors
/// `NOT_FOUND` when there is no such living key, or it is somebody else's; `FORBIDDEN` with a key that was minted for a run's hooks; `TEXT_INVALID`.
pub async fn describe(
    deployer: &Deployer,
    viewer: &Viewer,
    id: &str,
    label: Option<&str>,
    description: Option<&str>,
) -> Result<Key> {
    let act = Act::new(deployer, viewer, "describeApiKey", Object::new(ObjectKind::ApiKey, id));
    act.once(describe_once(deployer, viewer, id, label, description, &act)).await
}

async fn describe_once(
    deployer: &Deployer,
    viewer: &Viewer,
    id: &str,
    label: Option<&str>,
    description: Option<&str>,
    act: &Act<'_>,
) -> Result<Key> {
    own_key(deployer, viewer).await?;
    let mut row = living(deployer, viewer, id).await?;
    let mut problems = Problems::default();
    if let Some(label) = label {
        text::required_line(label, text::LINE, "label", &mut problems);
        label.clone_into(&mut row.label);
    }
    if let Some(description) = description {
        text::lines(description, text::DESCRIPTION, "description", &mut problems);
        row.description = Some(description.to_owned());
    }
    problems.check()?;
    let tx = deployer.db.begin().await?;
    tx.lock("api_key", "id = $1", id).await?;
    act.before(&tx).await?;
    api_key::Entity::update_many()
        .col_expr(api_key::Column::Label, row.label.as_str().into())
        .col_expr(api_key::Column::Description, row.description.clone().into())
        .filter(api_key::Column::Id.eq(id))
        .exec(&*tx)
        .await?;
    act.commit(tx).await?;
    Ok(row.into())
}

/// A key that was not revoked: one's own, or any as a global administrator.
///
/// # Errors
/// `NOT_FOUND` when there is no such living key, or it is somebody else's.
pub async fn get(deployer: &Deployer, viewer: &Viewer, id: &str) -> Result<Key> {
    living(deployer, viewer, id).await.map(Key::from)
}

async fn living(deployer: &Deployer, viewer: &Viewer, id: &str) -> Result<api_key::Model> {
    if !text::storable(id) {
        return Err(Error::not_found("id"));
    }
    let row = api_key::Entity::find_by_id(id).one(deployer.db.pool()).await?;
    row.filter(|row| viewer.is_admin() || row.login == viewer.login)
        .filter(|row| row.revoked_at.is_none() && row.hooks_run_id.is_none())
        .ok_or_else(|| Error::not_found("id"))
}

/// A page of a user's keys, the revoked and expired ones, too, by id; None is the viewer. Keys that were minted for hooks are not listed.
///
/// # Errors
/// `FORBIDDEN` for somebody else's, unless the viewer is a global administrator.
pub async fn list(deployer: &Deployer, viewer: &Viewer, login: Option<&str>, page: &Page) -> Result<Listing<Key>> {
    let login = login.unwrap_or(&viewer.login);
    if login != viewer.login {
        rights::require_global_admin(viewer)?;
    }
    if !text::storable(login) {
        return Ok(page.listing(Vec::<api_key::Model>::new(), |row| row.id.clone()).map(Key::from));
    }
    let mut select =
        api_key::Entity::find().filter(api_key::Column::Login.eq(login)).filter(api_key::Column::HooksRunId.is_null());
    if let Some(after) = &page.after {
        select = select.filter(api_key::Column::Id.gt(after));
    }
    let rows = select.order_by_asc(api_key::Column::Id).limit(page.limit()).all(deployer.db.pool()).await?;
    Ok(page.listing(rows, |row| row.id.clone()).map(Key::from))
}

/// Who a key belongs to, with the groups of this moment; None for whatever is no living key. One query, and at most once a minute a write.
///
/// # Errors
/// The database's.
pub async fn authenticate(db: &Db, text: &str) -> Result<Option<Viewer>> {
    let Some(key) = ApiKey::parse(text) else { return Ok(None) };
    let Some(found) = find(db, key.prefix()).await? else { return Ok(None) };
    if !key.matches(&found.hash) {
        return Ok(None);
    }
    if found.last_used_at.is_none_or(|at| found.now.saturating_sub(at) >= USE_GRAIN_MICROS)
        && let Err(error) = note_use(db, key.prefix(), found.now).await
    {
        // The answer does not depend on it.
        tracing::warn!(key.id = key.prefix(), error = ?error, "the use of an API key could not be noted");
    }
    Ok(Some(found.viewer))
}

/// The same viewer as it is now: other groups perhaps, and None when its key died meanwhile. What outlives a request (a subscription) asks
/// before each event that it sends.
///
/// # Errors
/// The database's.
pub async fn refresh(db: &Db, viewer: &Viewer) -> Result<Option<Viewer>> {
    let now = match &viewer.key_id {
        Some(id) => find(db, id).await?.map(|found| found.viewer).filter(|now| now.login == viewer.login),
        None => viewer_of(db, &viewer.login).await?,
    };
    Ok(now.map(|now| Viewer { origin: viewer.origin.clone(), ..now }))
}

/// An enabled user as a viewer, without a key: what the deployer does in a requester's name, later (`check_policy`).
///
/// # Errors
/// The database's.
pub async fn viewer_of(db: &Db, login: &str) -> Result<Option<Viewer>> {
    let Some(row) = account::Entity::find_by_id(login).one(db.pool()).await?.filter(|row| row.enabled) else {
        return Ok(None);
    };
    let groups = entities::membership::Entity::find()
        .filter(entities::membership::Column::Login.eq(login))
        .all(db.pool())
        .await?;
    Ok(Some(Viewer {
        login: row.login,
        display_name: row.display_name,
        groups: groups.into_iter().map(|row| row.group_name).collect(),
        key_id: None,
        origin: Origin::default(),
    }))
}

/// An enabled user as whom a global administrator acts: what it does is done with that user's rights alone, and by the administrator's key.
///
/// # Errors
/// `FORBIDDEN` for somebody else, unless the viewer is a global administrator; `USER_UNKNOWN` when there is no enabled user with this login.
pub async fn act_for(deployer: &Deployer, viewer: &Viewer, login: &str) -> Result<Viewer> {
    if login == viewer.login {
        return Ok(viewer.clone());
    }
    let object = Object::new(ObjectKind::User, login);
    audit::told(deployer, viewer, "actAs", object, become_other(deployer, viewer, login)).await
}

async fn become_other(deployer: &Deployer, viewer: &Viewer, login: &str) -> Result<Viewer> {
    rights::require_global_admin(viewer)?;
    let unknown = || Error::field("USER_UNKNOWN", "login", "There is no enabled user with this login.");
    if !text::storable(login) {
        return Err(unknown());
    }
    let other = viewer_of(&deployer.db, login).await?.ok_or_else(unknown)?;
    // The key and the place are those of whoever asks.
    let origin = Origin { acting: Some(viewer.login.clone()), ..viewer.origin.clone() };
    Ok(Viewer { key_id: viewer.key_id.clone(), origin, ..other })
}

struct Found {
    viewer: Viewer,
    hash: String,
    last_used_at: Option<i64>,
    now: i64,
}

async fn find(db: &Db, id: &str) -> Result<Option<Found>> {
    let pool = db.pool();
    let clock = clock_sql(pool.get_database_backend());
    let sql = format!(
        "SELECT k.hash, k.last_used_at, k.expires_at, a.login, a.display_name, m.group_name, {clock} AS now \
         FROM api_key k JOIN account a ON a.login = k.login LEFT JOIN membership m ON m.login = a.login \
         LEFT JOIN run r ON r.id = k.hooks_run_id \
         WHERE k.id = $1 AND a.enabled AND k.revoked_at IS NULL \
         AND (k.hooks_run_id IS NULL OR (r.id IS NOT NULL AND r.ended_at IS NULL))"
    );
    let rows = pool.query_all_raw(sql_with(pool, sql, [id.into()])).await?;
    let Some(first) = rows.first() else { return Ok(None) };
    let now: i64 = first.try_get("", "now")?;
    let expires_at: Option<i64> = first.try_get("", "expires_at")?;
    if expires_at.is_some_and(|at| at <= now) {
        return Ok(None);
    }
    let mut viewer = Viewer {
        login: first.try_get("", "login")?,
        display_name: first.try_get("", "display_name")?,
        groups: std::collections::BTreeSet::new(),
        key_id: Some(id.to_owned()),
        origin: Origin::default(),
    };
    for row in &rows {
        viewer.groups.extend(row.try_get::<Option<String>>("", "group_name")?);
    }
    Ok(Some(Found { viewer, hash: first.try_get("", "hash")?, last_used_at: first.try_get("", "last_used_at")?, now }))
}

async fn note_use(db: &Db, id: &str, now: i64) -> Result<()> {
    let tx = db.begin().await?;
    let stale = Condition::any()
        .add(api_key::Column::LastUsedAt.is_null())
        .add(api_key::Column::LastUsedAt.lte(now.saturating_sub(USE_GRAIN_MICROS)));
    api_key::Entity::update_many()
        .col_expr(api_key::Column::LastUsedAt, now.into())
        .filter(api_key::Column::Id.eq(id))
        .filter(stale)
        .exec(&*tx)
        .await?;
    Ok(tx.commit().await?)
}
