//! Stages: two freely edited lists, one for projects and one for API services. An infrastructure belongs to one stage of its list.

use std::{collections::BTreeSet, fmt, str::FromStr};

use engine::db::Tx;
use entities::{infrastructure, stage};
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, Select,
    sea_query::{Expr, ExprTrait as _, Query},
};
use serde::{Deserialize, Serialize};
use targets::{TargetType, target::Half};

use crate::{
    Deployer,
    accounts::changes::inserted,
    audit::{Object, ObjectKind, act::Act},
    error::{Error, Problems, Result},
    infrastructures, names, rights, text,
    viewer::Viewer,
};

/// So many stages has one list at most.
const MOST_STAGES: usize = 50;

/// Which list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum StageKind {
    /// Of infrastructures that projects are deployed to.
    Project,
    /// Of infrastructures that API services are deployed to.
    Api,
}

impl StageKind {
    /// Its stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Project => "PROJECT",
            Self::Api => "API",
        }
    }

    /// The list that infrastructures of this kind belong to.
    pub fn of(kind: TargetType) -> Self {
        match kind.half() {
            Half::Project => Self::Project,
            Half::Api => Self::Api,
        }
    }

    /// The target types of this list.
    fn targets(self) -> impl Iterator<Item = &'static str> {
        let kinds = targets::all().iter().map(|(kind, _)| *kind).filter(move |kind| Self::of(*kind) == self);
        kinds.map(TargetType::as_str)
    }

    /// The infrastructures that belong to this list, in a stage.
    fn infrastructures(self, id: &str) -> Select<infrastructure::Entity> {
        infrastructure::Entity::find()
            .filter(infrastructure::Column::Stage.eq(id))
            .filter(infrastructure::Column::Kind.is_in(self.targets()))
    }
}

impl fmt::Display for StageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for StageKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        [Self::Project, Self::Api]
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| Error::field("STAGE_UNKNOWN", "kind", "The lists of stages are PROJECT and API."))
    }
}

/// One stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// Its list.
    pub kind: StageKind,
    /// Unique within its list.
    pub id: String,
    /// What it is for.
    pub description: String,
}

/// What to change of a stage; None leaves a thing alone.
#[derive(Clone, Debug, Default)]
pub struct StagePatch {
    /// Its new name; its infrastructures go along.
    pub id: Option<String>,
    /// What it is for.
    pub description: Option<String>,
}

/// The stages of a list, in order. Visible to whoever is signed in.
///
/// # Errors
/// The database's.
pub async fn list(deployer: &Deployer, _: &Viewer, kind: StageKind) -> Result<Vec<Stage>> {
    read(deployer.db.pool(), kind).await
}

async fn read<C: ConnectionTrait>(db: &C, kind: StageKind) -> Result<Vec<Stage>> {
    let rows = stage::Entity::find()
        .filter(stage::Column::Kind.eq(kind.as_str()))
        .order_by_asc(stage::Column::Position)
        .order_by_asc(stage::Column::Id)
        .all(db)
        .await?;
    Ok(rows.into_iter().map(|row| Stage { kind, id: row.id, description: row.description }).collect())
}

/// Every stage, as target type and id: of which an infrastructure's is one, unless it vanished.
pub(crate) async fn known<C: ConnectionTrait>(db: &C) -> Result<BTreeSet<(String, String)>> {
    let mut known = BTreeSet::new();
    for kind in [StageKind::Project, StageKind::Api] {
        for stage in read(db, kind).await? {
            known.extend(kind.targets().map(|target| (target.to_owned(), stage.id.clone())));
        }
    }
    Ok(known)
}

/// A condition on infrastructures: their stage is not in their list any more (a restored backup, an import).
pub(crate) fn vanished() -> Condition {
    let mut any = Condition::any();
    for kind in [StageKind::Project, StageKind::Api] {
        let there = Query::select()
            .expr(Expr::val(1))
            .from(stage::Entity)
            .and_where(stage::Column::Kind.eq(kind.as_str()))
            .and_where(
                Expr::col((stage::Entity, stage::Column::Id))
                    .equals((infrastructure::Entity, infrastructure::Column::Stage)),
            )
            .to_owned();
        let of_list = infrastructure::Column::Kind.is_in(kind.targets());
        any = any.add(of_list.and(Expr::exists(there).not()));
    }
    any
}

/// Locks a stage until the end of the transaction, so that it neither vanishes nor is renamed under an infrastructure that is put there.
///
/// # Errors
/// `STAGE_UNKNOWN` on `field`.
pub(crate) async fn lock(tx: &Tx, kind: StageKind, id: &str, field: &str) -> Result<()> {
    if text::storable(id) && lock_row(tx, kind, id).await? {
        return Ok(());
    }
    let known: Vec<_> = read(&**tx, kind).await?.into_iter().map(|stage| stage.id).collect();
    Err(Error::field("STAGE_UNKNOWN", field, format!("There is no such stage. There are: {}.", known.join(", "))))
}

async fn lock_row(tx: &Tx, kind: StageKind, id: &str) -> Result<bool> {
    Ok(tx.lock("stage", &format!("kind = '{kind}' AND id = $1"), id).await?)
}

/// Locks every stage of a list, in one order: else two editors could wait for each other.
async fn lock_list(tx: &Tx, kind: StageKind) -> Result<()> {
    let ids: BTreeSet<_> = read(&**tx, kind).await?.into_iter().map(|stage| stage.id).collect();
    for id in ids {
        lock_row(tx, kind, &id).await?;
    }
    Ok(())
}

/// Adds a stage at the end of a list. Global administrators alone.
///
/// # Errors
/// `FORBIDDEN`, `ID_INVALID`, `TEXT_INVALID`, `ID_NOT_AVAILABLE`, `TOO_MANY_STAGES`.
pub async fn create(
    deployer: &Deployer,
    viewer: &Viewer,
    kind: StageKind,
    id: &str,
    description: &str,
) -> Result<Vec<Stage>> {
    let act = act(deployer, viewer, "createStage", kind, id);
    act.once(create_once(deployer, viewer, kind, id, description, &act)).await
}

/// The whole list may change with one of its stages.
fn act<'a>(deployer: &'a Deployer, viewer: &Viewer, action: &'static str, kind: StageKind, id: &str) -> Act<'a> {
    Act::new(deployer, viewer, action, Object::new(ObjectKind::Stage, &format!("{kind}/{id}")))
}

async fn create_once(
    deployer: &Deployer,
    viewer: &Viewer,
    kind: StageKind,
    id: &str,
    description: &str,
    act: &Act<'_>,
) -> Result<Vec<Stage>> {
    rights::require_global_admin(viewer)?;
    let mut problems = Problems::default();
    names::check(id, "id", &mut problems);
    text::lines(description, text::DESCRIPTION, "description", &mut problems);
    problems.check()?;
    let tx = deployer.db.begin().await?;
    lock_list(&tx, kind).await?;
    act.before(&tx).await?;
    let stages = read(&*tx, kind).await?;
    if stages.len() >= MOST_STAGES {
        return Err(Error::refused("TOO_MANY_STAGES", format!("A list has at most {MOST_STAGES} stages.")));
    }
    let row = stage::ActiveModel {
        kind: Set(kind.as_str().to_owned()),
        id: Set(id.to_owned()),
        position: Set(i32::try_from(stages.len()).unwrap_or(i32::MAX)),
        description: Set(description.to_owned()),
    };
    let result = stage::Entity::insert(row).on_conflict_do_nothing().exec_without_returning(&*tx).await?;
    if !inserted(&result) {
        return Err(Error::id_not_available("id"));
    }
    put_order(&tx, kind, stages.iter().map(|stage| stage.id.as_str()).chain([id])).await?;
    let stages = read(&*tx, kind).await?;
    act.commit(tx).await?;
    Ok(stages)
}

/// Renames or describes a stage. Its infrastructures go along. Global administrators alone.
///
/// # Errors
/// `FORBIDDEN`, `NOT_FOUND`, `ID_INVALID`, `TEXT_INVALID`, `ID_NOT_AVAILABLE`.
pub async fn update(
    deployer: &Deployer,
    viewer: &Viewer,
    kind: StageKind,
    id: &str,
    patch: StagePatch,
) -> Result<Vec<Stage>> {
    let act = act(deployer, viewer, "updateStage", kind, id);
    act.once(update_once(deployer, viewer, kind, id, patch, &act)).await
}

async fn update_once(
    deployer: &Deployer,
    viewer: &Viewer,
    kind: StageKind,
    id: &str,
    patch: StagePatch,
    act: &Act<'_>,
) -> Result<Vec<Stage>> {
    rights::require_global_admin(viewer)?;
    let mut problems = Problems::default();
    if let Some(new) = &patch.id {
        names::check(new, "newId", &mut problems);
    }
    if let Some(description) = &patch.description {
        text::lines(description, text::DESCRIPTION, "description", &mut problems);
    }
    problems.check()?;
    let tx = deployer.db.begin().await?;
    lock_list(&tx, kind).await?;
    act.before(&tx).await?;
    let stages = read(&*tx, kind).await?;
    if !stages.iter().any(|stage| stage.id == id) {
        return Err(Error::not_found("id"));
    }
    let new = patch.id.as_deref().unwrap_or(id);
    if new != id {
        if stages.iter().any(|stage| stage.id == new) {
            return Err(Error::id_not_available("newId"));
        }
        // A change of each, too: whoever saw the old name must not put it back there.
        for row in kind.infrastructures(id).order_by_asc(infrastructure::Column::Id).all(&*tx).await? {
            tx.lock("infrastructure", "id = $1", row.id.as_str()).await?;
            let Some(row) = infrastructure::Entity::find_by_id(&row.id).one(&*tx).await? else { continue };
            act.along(&tx, Object::new(ObjectKind::Infrastructure, &row.id)).await?;
            infrastructures::touch(&tx, viewer, &row).await?;
            infrastructure::Entity::update_many()
                .col_expr(infrastructure::Column::Stage, new.into())
                .filter(infrastructure::Column::Id.eq(row.id))
                .exec(&*tx)
                .await?;
        }
    }
    let mut change = stage::Entity::update_many().col_expr(stage::Column::Id, new.into());
    if let Some(description) = &patch.description {
        change = change.col_expr(stage::Column::Description, description.into());
    }
    change.filter(stage::Column::Kind.eq(kind.as_str())).filter(stage::Column::Id.eq(id)).exec(&*tx).await?;
    let stages = read(&*tx, kind).await?;
    act.commit(tx).await?;
    Ok(stages)
}

/// Puts a list in order: `ids` are all its stages. Global administrators alone.
///
/// # Errors
/// `FORBIDDEN`; `STAGE_UNKNOWN` when the ids are not exactly those of the list.
pub async fn reorder(deployer: &Deployer, viewer: &Viewer, kind: StageKind, ids: &[String]) -> Result<Vec<Stage>> {
    let act = Act::new(deployer, viewer, "reorderStages", Object::new(ObjectKind::Stage, kind.as_str()));
    act.once(reorder_once(deployer, viewer, kind, ids, &act)).await
}

async fn reorder_once(
    deployer: &Deployer,
    viewer: &Viewer,
    kind: StageKind,
    ids: &[String],
    act: &Act<'_>,
) -> Result<Vec<Stage>> {
    rights::require_global_admin(viewer)?;
    let tx = deployer.db.begin().await?;
    lock_list(&tx, kind).await?;
    act.before(&tx).await?;
    let stages = read(&*tx, kind).await?;
    let there: BTreeSet<_> = stages.iter().map(|stage| stage.id.as_str()).collect();
    let given: BTreeSet<_> = ids.iter().map(String::as_str).collect();
    if given != there || ids.len() != there.len() {
        return Err(Error::field("STAGE_UNKNOWN", "ids", "Name every stage of the list, each once."));
    }
    put_order(&tx, kind, ids.iter().map(String::as_str)).await?;
    let stages = read(&*tx, kind).await?;
    act.commit(tx).await?;
    Ok(stages)
}

/// Deletes a stage that no infrastructure is in. Global administrators alone, who see every infrastructure.
///
/// # Errors
/// `FORBIDDEN`, `NOT_FOUND`, `IN_USE` with the number of infrastructures.
pub async fn delete(deployer: &Deployer, viewer: &Viewer, kind: StageKind, id: &str) -> Result<Vec<Stage>> {
    let act = act(deployer, viewer, "deleteStage", kind, id);
    act.once(delete_once(deployer, viewer, kind, id, &act)).await
}

async fn delete_once(
    deployer: &Deployer,
    viewer: &Viewer,
    kind: StageKind,
    id: &str,
    act: &Act<'_>,
) -> Result<Vec<Stage>> {
    rights::require_global_admin(viewer)?;
    let tx = deployer.db.begin().await?;
    lock_list(&tx, kind).await?;
    act.before(&tx).await?;
    let stages = read(&*tx, kind).await?;
    if !stages.iter().any(|stage| stage.id == id) {
        return Err(Error::not_found("id"));
    }
    let used = kind.infrastructures(id).count(&*tx).await?;
    if used > 0 {
        return Err(Error::field(
            "IN_USE",
            "id",
            match used {
                1 => "1 infrastructure is in this stage. Put it into another stage first.".to_owned(),
                _ => format!("{used} infrastructures are in this stage. Put them into another stage first."),
            },
        ));
    }
    stage::Entity::delete_by_id((kind.as_str().to_owned(), id.to_owned())).exec(&*tx).await?;
    put_order(&tx, kind, stages.iter().map(|stage| stage.id.as_str()).filter(|other| *other != id)).await?;
    let stages = read(&*tx, kind).await?;
    act.commit(tx).await?;
    Ok(stages)
}

async fn put_order<'a>(tx: &Tx, kind: StageKind, ids: impl Iterator<Item = &'a str>) -> Result<()> {
    for (position, id) in (0i32..).zip(ids) {
        stage::Entity::update_many()
            .col_expr(stage::Column::Position, position.into())
            .filter(stage::Column::Kind.eq(kind.as_str()))
            .filter(stage::Column::Id.eq(id))
            .exec(&**tx)
            .await?;
    }
    Ok(())
}
