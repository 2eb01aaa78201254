//! Hooks: Python that runs before or after a deployment on one infrastructure.
//!
//! Only the infrastructure's administrators see, change or delete them; others see how many there are per phase. Code lies in immutable rows, so that
//! a run's spec names what it runs by reference, and a change never reaches a run under way.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use engine::{
    db::{Db, Tx},
    plan::OnInterrupt,
};
use entities::{hook, hook_code, worker};
use sea_orm::{ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Deployer,
    audit::{Object, ObjectKind, act::Act},
    error::{Error, Problems, Result},
    infrastructures::{Settings, lock, require_version, touch},
    rights::{self, Level},
    sealed, text,
    viewer::Viewer,
};

/// So many hooks has a phase at most.
pub const MOST_HOOKS: usize = 20;
/// The longest code, in bytes.
pub const LONGEST_CODE: usize = 256 * 1024;
/// How long one attempt may run unless the hook says otherwise, in milliseconds.
pub const DEFAULT_DEADLINE_MS: i64 = 600_000;
const DEADLINES_MS: std::ops::RangeInclusive<i64> = 1_000..=6 * 3_600_000;

/// When a hook runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Phase {
    /// Before anything on the node changes.
    Pre,
    /// When the deployment was verified.
    Post,
}

impl Phase {
    /// Its stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pre => "PRE",
            Self::Post => "POST",
        }
    }

    fn from_row(text: &str) -> Result<Self> {
        match text {
            "PRE" => Ok(Self::Pre),
            "POST" => Ok(Self::Post),
            other => Err(Error::fault(format!("a hook's phase is {other}"))),
        }
    }

    /// What an interrupted attempt does unless the hook says otherwise: before a deployment, running again does no harm that the first attempt did
    /// not; after it, a human should look.
    pub fn default_on_interrupt(self) -> OnInterrupt {
        match self {
            Self::Pre => OnInterrupt::Rerun,
            Self::Post => OnInterrupt::Fail,
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A hook as an administrator gives it. Its place in the list is its order.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HookInput {
    /// Unique within the phase. A hook that keeps its name keeps its identity.
    pub name: String,
    /// Python with a function `execute`.
    pub code: String,
    /// A code env that some worker publishes; None is the default.
    #[serde(default)]
    pub code_env: Option<String>,
    /// An OS user that some worker publishes; None is the worker's own.
    #[serde(default)]
    pub os_user: Option<String>,
    /// How long one attempt may run; None is [`DEFAULT_DEADLINE_MS`].
    #[serde(default)]
    pub deadline_ms: Option<i64>,
    /// None is true. A disabled hook is no step of new updates.
    #[serde(default)]
    pub enabled: Option<bool>,
    /// None is [`Phase::default_on_interrupt`].
    #[serde(default)]
    pub on_interrupt: Option<OnInterrupt>,
}

/// A hook, as its infrastructure's administrators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Stable while the hook keeps its name.
    pub id: String,
    /// When it runs.
    pub phase: Phase,
    /// Order within the phase, from 1.
    pub position: i32,
    /// Unique within the phase.
    pub name: String,
    /// Whether it is a step of new updates.
    pub enabled: bool,
    /// Python.
    pub code: String,
    /// None is the default one.
    pub code_env: Option<String>,
    /// None is the worker's own.
    pub os_user: Option<String>,
    /// How long one attempt may run.
    pub deadline_ms: i64,
    /// What an interrupted attempt does.
    pub on_interrupt: OnInterrupt,
}

/// A hook as a run's spec holds it: its code by reference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedHook {
    /// Stable while the hook keeps its name.
    pub id: String,
    /// When it runs.
    pub phase: Phase,
    /// What people read.
    pub name: String,
    /// The immutable code: see [`code`].
    pub code_ref: String,
    /// None is the default one.
    pub code_env: Option<String>,
    /// None is the worker's own.
    pub os_user: Option<String>,
    /// How long one attempt may run.
    pub deadline_ms: i64,
    /// What an interrupted attempt does.
    pub on_interrupt: OnInterrupt,
}

/// How many enabled hooks there are: what everybody who sees the infrastructure may know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HookCounts {
    /// Before a deployment.
    pub pre: u32,
    /// After it.
    pub post: u32,
}

/// Replaces the hooks of one phase. The infrastructure's administrators alone.
///
/// # Errors
/// `NOT_FOUND`, `FORBIDDEN`, `VERSION_CONFLICT`, `HOOK_INVALID`, `TEXT_INVALID`, `CODE_ENV_UNKNOWN`, `OS_USER_UNKNOWN`.
pub async fn set_hooks(
    deployer: &Deployer,
    viewer: &Viewer,
    infrastructure: &str,
    phase: Phase,
    hooks: Vec<HookInput>,
    expected_version: i64,
) -> Result<Vec<Hook>> {
    let act = Act::new(deployer, viewer, "setHooks", Object::new(ObjectKind::Infrastructure, infrastructure));
    act.once(set_once(deployer, viewer, infrastructure, phase, hooks, expected_version, &act)).await
}

async fn set_once(
    deployer: &Deployer,
    viewer: &Viewer,
    infrastructure: &str,
    phase: Phase,
    hooks: Vec<HookInput>,
    expected_version: i64,
    act: &Act<'_>,
) -> Result<Vec<Hook>> {
    // Asked before the lock, too: whoever may not change it must not keep others waiting.
    rights::require_infrastructure(deployer.db.pool(), viewer, infrastructure, Level::Admin, "infrastructureId")
        .await?;
    let tx = deployer.db.begin().await?;
    let row = lock(&tx, viewer, infrastructure, Level::Admin, "infrastructureId").await?;
    act.before(&tx).await?;
    require_version(&row, expected_version)?;
    require_own_hooks_user(viewer, &Settings::read(&row.settings)?)?;
    validate(&hooks, &published_names(&*tx).await?)?;
    let old = rows_of(&*tx, &[infrastructure.to_owned()], Some(phase)).await?;
    let mut codes = codes_of(&*tx, &old).await?;
    hook::Entity::delete_many()
        .filter(hook::Column::InfrastructureId.eq(infrastructure))
        .filter(hook::Column::Phase.eq(phase.as_str()))
        .exec(&*tx)
        .await?;
    for (position, input) in (1i32..).zip(hooks) {
        let code_ref = match codes.iter().find(|(_, code)| **code == input.code) {
            Some((same, _)) => same.clone(),
            None => put_code(&tx, viewer, infrastructure, &input.code).await?,
        };
        codes.insert(code_ref.clone(), input.code);
        let id = old.iter().find(|row| row.name == input.name).map_or_else(sealed::random_id, |row| row.id.clone());
        let on_interrupt = input.on_interrupt.unwrap_or(phase.default_on_interrupt());
        let row = hook::ActiveModel {
            id: Set(id),
            infrastructure_id: Set(infrastructure.to_owned()),
            phase: Set(phase.as_str().to_owned()),
            position: Set(position),
            name: Set(input.name),
            enabled: Set(input.enabled.unwrap_or(true)),
            code_ref: Set(code_ref),
            code_env: Set(input.code_env),
            os_user: Set(input.os_user),
            deadline_ms: Set(input.deadline_ms.unwrap_or(DEFAULT_DEADLINE_MS)),
            on_interrupt: Set(on_interrupt_to_row(on_interrupt).to_owned()),
        };
        hook::Entity::insert(row).exec_without_returning(&*tx).await?;
    }
    touch(&tx, viewer, &row).await?;
    act.commit(tx).await?;
    let mut all = by_infrastructures(deployer, viewer, &[infrastructure.to_owned()]).await?;
    let all = all.remove(infrastructure).unwrap_or_default();
    Ok(all.into_iter().filter(|hook| hook.phase == phase).collect())
}

/// Code that runs with a key of somebody acts as them: whose name a global administrator lent to an infrastructure's hooks, lent it to these.
fn require_own_hooks_user(viewer: &Viewer, settings: &Settings) -> Result<()> {
    let lent = settings.hooks_user.as_ref().is_some_and(|user| *user != viewer.login);
    if !lent || viewer.is_admin() {
        return Ok(());
    }
    Err(Error::field(
        "FORBIDDEN",
        "hooksUser",
        "Hooks here act as somebody else, the infrastructure's hooks user. Let a global administrator set the hooks, or choose yourself (or nobody) as the \
         hooks user first.",
    ))
}

async fn put_code(tx: &Tx, viewer: &Viewer, infrastructure: &str, code: &str) -> Result<String> {
    let id = sealed::random_id();
    let row = hook_code::ActiveModel {
        id: Set(id.clone()),
        infrastructure_id: Set(infrastructure.to_owned()),
        code: Set(code.to_owned()),
        created_at: Set(tx.now().await?),
        created_by: Set(viewer.login.clone()),
    };
    hook_code::Entity::insert(row).exec_without_returning(&**tx).await?;
    Ok(id)
}

/// The hooks of these infrastructures, PRE before POST, in order, by infrastructure id, for loaders: of those that the viewer administers.
///
/// # Errors
/// The database's.
pub async fn by_infrastructures(
    deployer: &Deployer,
    viewer: &Viewer,
    ids: &[String],
) -> Result<BTreeMap<String, Vec<Hook>>> {
    let db = deployer.db.pool();
    let levels = rights::infrastructure_levels(db, viewer, ids).await?;
    let mine: Vec<_> = ids.iter().filter(|id| levels.get(*id) == Some(&Level::Admin)).cloned().collect();
    let rows = rows_of(db, &mine, None).await?;
    let codes = codes_of(db, &rows).await?;
    let mut all: BTreeMap<String, Vec<Hook>> = mine.into_iter().map(|id| (id, Vec::new())).collect();
    for row in rows {
        let hook = Hook {
            phase: Phase::from_row(&row.phase)?,
            on_interrupt: on_interrupt_from_row(&row.on_interrupt)?,
            code: codes.get(&row.code_ref).cloned().unwrap_or_default(),
            id: row.id,
            position: row.position,
            name: row.name,
            enabled: row.enabled,
            code_env: row.code_env,
            os_user: row.os_user,
            deadline_ms: row.deadline_ms,
        };
        all.entry(row.infrastructure_id).or_default().push(hook);
    }
    Ok(all)
}

/// How many enabled hooks these infrastructures have, by id, for loaders: of those that the viewer may see.
///
/// # Errors
/// The database's.
pub async fn counts(deployer: &Deployer, viewer: &Viewer, ids: &[String]) -> Result<BTreeMap<String, HookCounts>> {
    let db = deployer.db.pool();
    let levels = rights::infrastructure_levels(db, viewer, ids).await?;
    let seen = ids.iter().filter(|id| levels.get(*id).is_some_and(|level| *level >= Level::View)).cloned();
    let mut all: BTreeMap<String, HookCounts> = seen.map(|id| (id, HookCounts::default())).collect();
    let ids: Vec<_> = all.keys().cloned().collect();
    for row in rows_of(db, &ids, None).await?.into_iter().filter(|row| row.enabled) {
        let counts = all.entry(row.infrastructure_id).or_default();
        match Phase::from_row(&row.phase)? {
            Phase::Pre => counts.pre += 1,
            Phase::Post => counts.post += 1,
        }
    }
    Ok(all)
}

/// The enabled hooks of an infrastructure, PRE before POST, in order: what a run's plan is made of. The caller has the right to deploy there.
///
/// # Errors
/// The database's.
pub async fn enabled_hooks_for_plan<C: ConnectionTrait>(db: &C, infrastructure: &str) -> Result<Vec<PlannedHook>> {
    let rows = rows_of(db, &[infrastructure.to_owned()], None).await?;
    let planned = |row: hook::Model| {
        Ok(PlannedHook {
            phase: Phase::from_row(&row.phase)?,
            on_interrupt: on_interrupt_from_row(&row.on_interrupt)?,
            id: row.id,
            name: row.name,
            code_ref: row.code_ref,
            code_env: row.code_env,
            os_user: row.os_user,
            deadline_ms: row.deadline_ms,
        })
    };
    rows.into_iter().filter(|row| row.enabled).map(planned).collect()
}

/// The code that a run's spec refers to. For workers: the spec gives the right.
///
/// # Errors
/// The database's.
pub async fn code(db: &Db, code_ref: &str) -> Result<Option<String>> {
    Ok(hook_code::Entity::find_by_id(code_ref).one(db.pool()).await?.map(|row| row.code))
}

async fn rows_of<C: ConnectionTrait>(
    db: &C,
    infrastructures: &[String],
    phase: Option<Phase>,
) -> Result<Vec<hook::Model>> {
    let ids = infrastructures.iter().filter(|id| text::storable(id)).cloned();
    let mut select = hook::Entity::find().filter(hook::Column::InfrastructureId.is_in(ids));
    if let Some(phase) = phase {
        select = select.filter(hook::Column::Phase.eq(phase.as_str()));
    }
    let mut rows = select.order_by_asc(hook::Column::Position).all(db).await?;
    // POST sorts before PRE in the database.
    rows.sort_by_key(|row| row.phase != Phase::Pre.as_str());
    Ok(rows)
}

async fn codes_of<C: ConnectionTrait>(db: &C, rows: &[hook::Model]) -> Result<BTreeMap<String, String>> {
    let refs = rows.iter().map(|row| row.code_ref.clone());
    let codes = hook_code::Entity::find().filter(hook_code::Column::Id.is_in(refs)).all(db).await?;
    Ok(codes.into_iter().map(|row| (row.id, row.code)).collect())
}

/// Names that workers published, ever: a run may wait for a worker that is away, not for one that never was.
#[derive(Debug, Default)]
struct PublishedNames {
    code_envs: BTreeSet<String>,
    os_users: BTreeSet<String>,
}

async fn published_names<C: ConnectionTrait>(db: &C) -> Result<PublishedNames> {
    let facts: Vec<String> =
        worker::Entity::find().select_only().column(worker::Column::Facts).distinct().into_tuple().all(db).await?;
    let mut all = PublishedNames::default();
    for text in facts {
        // Facts of another version may say more, or less; one row that is broken must not keep everybody from setting hooks.
        let facts: Value = match serde_json::from_str(&text) {
            Ok(facts) => facts,
            Err(error) => {
                tracing::warn!(%error, "the facts of a worker cannot be read");
                continue;
            }
        };
        let names =
            |key: &str| facts[key].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
        all.code_envs.extend(names("codeEnvs"));
        all.os_users.extend(names("osUsers"));
    }
    Ok(all)
}

fn validate(hooks: &[HookInput], published: &PublishedNames) -> Result<()> {
    let mut problems = Problems::default();
    if hooks.len() > MOST_HOOKS {
        problems.add("HOOK_INVALID", "hooks", format!("A phase has at most {MOST_HOOKS} hooks."));
        return problems.check();
    }
    let mut names = BTreeSet::new();
    for (at, hook) in hooks.iter().enumerate() {
        let field = |part: &str| format!("hooks[{at}].{part}");
        text::required_line(&hook.name, text::LINE, &field("name"), &mut problems);
        if !names.insert(&hook.name) {
            problems.add("HOOK_INVALID", field("name"), "Two hooks of a phase have this name. Rename one.");
        }
        if hook.code.trim().is_empty() {
            problems.add("HOOK_INVALID", field("code"), "The code must not be blank. It has a function execute.");
        } else if hook.code.len() > LONGEST_CODE {
            problems.add("HOOK_INVALID", field("code"), format!("The code has at most {LONGEST_CODE} bytes."));
        } else if !text::storable(&hook.code) {
            problems.add("HOOK_INVALID", field("code"), "The code must not contain NUL characters.");
        }
        if hook.deadline_ms.is_some_and(|deadline| !DEADLINES_MS.contains(&deadline)) {
            let (least, most) = DEADLINES_MS.into_inner();
            problems.add("DURATION_INVALID", field("deadlineMs"), format!("Give {least} to {most} milliseconds."));
        }
        for (name, known, code, part) in [
            (&hook.code_env, &published.code_envs, "CODE_ENV_UNKNOWN", "codeEnv"),
            (&hook.os_user, &published.os_users, "OS_USER_UNKNOWN", "osUser"),
        ] {
            if name.as_ref().is_some_and(|name| !known.contains(name)) {
                let known: Vec<_> = known.iter().map(String::as_str).collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                problems.add(code, field(part), format!("No worker has published this name. There are: {known}."));
            }
        }
    }
    problems.check()
}

fn on_interrupt_to_row(policy: OnInterrupt) -> &'static str {
    match policy {
        OnInterrupt::Rerun => "RERUN",
        OnInterrupt::Fail => "FAIL",
    }
}

fn on_interrupt_from_row(text: &str) -> Result<OnInterrupt> {
    match text {
        "RERUN" => Ok(OnInterrupt::Rerun),
        "FAIL" => Ok(OnInterrupt::Fail),
        other => Err(Error::fault(format!("a hook's policy is {other}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input() -> HookInput {
        HookInput {
            name: "check".to_owned(),
            code: "def execute(**kwargs):\n    return HookResult.success('ok')\n".to_owned(),
            code_env: None,
            os_user: None,
            deadline_ms: None,
            enabled: None,
            on_interrupt: None,
        }
    }

    fn problems(hooks: &[HookInput]) -> Vec<(&'static str, Option<String>)> {
        let published = PublishedNames {
            code_envs: BTreeSet::from(["py311".to_owned()]),
            os_users: BTreeSet::from(["hooks".to_owned()]),
        };
        match validate(hooks, &published) {
            Ok(()) => Vec::new(),
            Err(Error::Refused(all)) => all.into_iter().map(|refusal| (refusal.code, refusal.field)).collect(),
            Err(fault) => panic!("{fault:?}"),
        }
    }

    #[test]
    fn each_field() {
        let good = HookInput {
            code_env: Some("py311".to_owned()),
            os_user: Some("hooks".to_owned()),
            deadline_ms: Some(1_000),
            ..input()
        };
        assert_eq!(problems(&[good]), []);
        for (hook, code, field) in [
            (HookInput { name: " ".to_owned(), ..input() }, "TEXT_INVALID", "hooks[0].name"),
            (HookInput { code: "\n ".to_owned(), ..input() }, "HOOK_INVALID", "hooks[0].code"),
            (HookInput { code: "a\0".to_owned(), ..input() }, "HOOK_INVALID", "hooks[0].code"),
            (HookInput { code: "x".repeat(LONGEST_CODE + 1), ..input() }, "HOOK_INVALID", "hooks[0].code"),
            (HookInput { code_env: Some("py27".to_owned()), ..input() }, "CODE_ENV_UNKNOWN", "hooks[0].codeEnv"),
            (HookInput { os_user: Some("root".to_owned()), ..input() }, "OS_USER_UNKNOWN", "hooks[0].osUser"),
            (HookInput { deadline_ms: Some(0), ..input() }, "DURATION_INVALID", "hooks[0].deadlineMs"),
            (HookInput { deadline_ms: Some(i64::MAX), ..input() }, "DURATION_INVALID", "hooks[0].deadlineMs"),
        ] {
            assert_eq!(problems(&[hook]), [(code, Some(field.to_owned()))]);
        }
        assert_eq!(problems(&[input(), input()]), [("HOOK_INVALID", Some("hooks[1].name".to_owned()))]);
        assert_eq!(problems(&vec![input(); MOST_HOOKS + 1]), [("HOOK_INVALID", Some("hooks".to_owned()))]);
    }
}
