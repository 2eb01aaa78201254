//! Reading infrastructures.

use std::collections::{BTreeMap, BTreeSet};

use entities::{infrastructure, infrastructure_permission};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect,
    sea_query::Expr,
};
use targets::{TargetType, spec::GovernCheckPolicy, target::Half};

use super::{
    nodes::{self, Node},
    settings::Settings,
};
use crate::{
    Deployer,
    accounts::users::contains,
    error::Result,
    paging::{Listing, Page},
    rights::{self, Level},
    schema, stages, text,
    viewer::Viewer,
};

/// An infrastructure, as far as this viewer may see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Infrastructure {
    /// Unique.
    pub id: String,
    /// Its target type, such as `AUTOMATION_NODE`.
    pub kind: String,
    /// Its stage; may name one that is gone.
    pub stage: String,
    /// Whether its stage is in its list; else it shows under "no stage".
    pub stage_exists: bool,
    /// Where we reach the node.
    pub node_url: String,
    /// What people open in a browser.
    pub external_url: String,
    /// Several nodes stand behind each deployment.
    pub multi_node: bool,
    /// They, in the order in which they are activated; empty when there is one.
    pub nodes: Vec<SeenNode>,
    /// A fleet manages the only node.
    pub managed: bool,
    /// What this viewer may do here.
    pub level: Level,
    /// Counts changes of settings, rights and hooks.
    pub version: i64,
    /// The newest version that somebody else made than the one after it.
    pub other_version: i64,
    /// When, in µs since the Unix epoch.
    pub created_at: i64,
    /// Who: a login.
    pub created_by: String,
    /// When, in µs since the Unix epoch.
    pub updated_at: i64,
    /// Who: a login.
    pub updated_by: String,
    /// What becomes of a bundle that the governance source does not approve of.
    pub govern_check_policy: GovernCheckPolicy,
    /// For its administrators alone: None for others.
    pub settings: Option<Settings>,
    /// For its administrators alone: whether a node key was entered. The key itself is for nobody.
    pub has_admin_key: Option<bool>,
    /// For its administrators alone: whether a key of the governance source was entered.
    pub has_governance_key: Option<bool>,
}

/// One of several nodes, as whoever sees the infrastructure sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenNode {
    /// Unique within the infrastructure.
    pub name: String,
    /// Where we reach it.
    pub url: String,
    /// What people open in a browser.
    pub external_url: String,
    /// A fleet manages it.
    pub managed: bool,
    /// For the infrastructure's administrators alone: whether its key was entered.
    pub has_admin_key: Option<bool>,
}

/// A group's level on an infrastructure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    /// The group.
    pub group: String,
    /// Its level.
    pub level: Level,
}

/// Which infrastructures.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// In this stage.
    pub stage: Option<String>,
    /// In a stage that is gone.
    pub without_stage: bool,
    /// Of this target type.
    pub kind: Option<TargetType>,
    /// For projects, or for API services.
    pub half: Option<Half>,
    /// Part of the id, whatever the case.
    pub text: Option<String>,
    /// On which the viewer has at least this level; None is View.
    pub at_least: Option<Level>,
}

impl Filter {
    fn condition(&self, viewer: &Viewer) -> Condition {
        use infrastructure::Column;
        let mut all = Condition::all().add(rights::infrastructures_where(
            viewer,
            Column::Id,
            self.at_least.unwrap_or(Level::View),
        ));
        if let Some(stage) = &self.stage {
            let there = if crate::text::storable(stage) { Column::Stage.eq(stage) } else { Expr::cust("1 = 0") };
            all = all.add(there);
        }
        if self.without_stage {
            all = all.add(stages::vanished());
        }
        if let Some(half) = self.half {
            let kinds = targets::all().iter().map(|(kind, _)| *kind).filter(|kind| kind.half() == half);
            all = all.add(Column::Kind.is_in(kinds.map(TargetType::as_str)));
        }
        if let Some(kind) = self.kind {
            all = all.add(Column::Kind.eq(kind.as_str()));
        }
        if let Some(text) = &self.text {
            all = all.add(contains(Column::Id, text));
        }
        all
    }
}

/// The row, as far as the level lets it be seen.
fn view(row: infrastructure::Model, level: Level, stages: &BTreeSet<(String, String)>) -> Result<Infrastructure> {
    let settings = Settings::read(&row.settings)?;
    let admin = level >= Level::Admin;
    let keys = nodes::key_refs(row.node_key_refs.as_deref())?;
    let seen = |node: &Node| SeenNode {
        name: node.name.clone(),
        url: node.url.clone(),
        external_url: node.external_url.clone().unwrap_or_else(|| node.url.clone()),
        managed: node.managed.is_some(),
        has_admin_key: admin.then_some(keys.contains_key(&node.name)),
    };
    let place = (row.kind, row.stage);
    let stage_exists = stages.contains(&place);
    Ok(Infrastructure {
        id: row.id,
        kind: place.0,
        stage: place.1,
        stage_exists,
        node_url: settings.node_url.clone(),
        external_url: settings.external_url.clone().unwrap_or_else(|| settings.node_url.clone()),
        multi_node: settings.multi_node,
        nodes: settings.nodes.iter().map(seen).collect(),
        managed: settings.managed.is_some(),
        level,
        version: row.version,
        other_version: row.other_version,
        created_at: row.created_at,
        created_by: row.created_by,
        updated_at: row.updated_at,
        updated_by: row.updated_by,
        govern_check_policy: settings.govern_check_policy,
        settings: admin.then(|| shown(settings)),
        has_admin_key: admin.then_some(row.key_ref.is_some()),
        has_governance_key: admin.then_some(row.governance_key_ref.is_some()),
    })
}

/// Settings as people see them: no reference to a secret.
fn shown(settings: Settings) -> Settings {
    let platform = schema::masked(&settings.platform);
    let query_log = schema::masked(&settings.query_log);
    Settings { platform, query_log, ..settings }
}

/// The row, as its administrators see it.
pub(super) async fn whole<C: ConnectionTrait>(db: &C, row: infrastructure::Model) -> Result<Infrastructure> {
    view(row, Level::Admin, &stages::known(db).await?)
}

async fn views<C: ConnectionTrait>(
    db: &C,
    viewer: &Viewer,
    rows: Vec<infrastructure::Model>,
) -> Result<Vec<Infrastructure>> {
    let ids: Vec<_> = rows.iter().map(|row| row.id.clone()).collect();
    let levels = rights::infrastructure_levels(db, viewer, &ids).await?;
    let stages = stages::known(db).await?;
    rows.into_iter()
        .filter_map(|row| {
            // A right may have gone since the rows were read.
            let level = levels.get(&row.id).copied().filter(|level| *level >= Level::View)?;
            Some(view(row, level, &stages))
        })
        .collect()
}

/// A page of the infrastructures that the viewer may see, by id.
///
/// # Errors
/// The database's.
pub async fn list(
    deployer: &Deployer,
    viewer: &Viewer,
    filter: &Filter,
    page: &Page,
) -> Result<Listing<Infrastructure>> {
    let db = deployer.db.pool();
    let mut select = infrastructure::Entity::find().filter(filter.condition(viewer));
    if let Some(after) = &page.after {
        select = select.filter(infrastructure::Column::Id.gt(after));
    }
    let rows = select.order_by_asc(infrastructure::Column::Id).limit(page.limit()).all(db).await?;
    Ok(page.listing(views(db, viewer, rows).await?, |item| item.id.clone()))
}

/// How many of the infrastructures that the viewer may see the filter leaves.
///
/// # Errors
/// The database's.
pub async fn count(deployer: &Deployer, viewer: &Viewer, filter: &Filter) -> Result<u64> {
    Ok(infrastructure::Entity::find().filter(filter.condition(viewer)).count(deployer.db.pool()).await?)
}

/// One infrastructure; None when it is absent or hidden.
///
/// # Errors
/// The database's.
pub async fn get(deployer: &Deployer, viewer: &Viewer, id: &str) -> Result<Option<Infrastructure>> {
    Ok(by_ids(deployer, viewer, &[id.to_owned()]).await?.remove(id))
}

/// Infrastructures by id, for loaders; those that the viewer may see.
///
/// # Errors
/// The database's.
pub async fn by_ids(deployer: &Deployer, viewer: &Viewer, ids: &[String]) -> Result<BTreeMap<String, Infrastructure>> {
    let db = deployer.db.pool();
    let ids = ids.iter().filter(|id| text::storable(id)).cloned();
    let rows = infrastructure::Entity::find()
        .filter(infrastructure::Column::Id.is_in(ids))
        .filter(rights::infrastructures_where(viewer, infrastructure::Column::Id, Level::View))
        .all(db)
        .await?;
    Ok(views(db, viewer, rows).await?.into_iter().map(|item| (item.id.clone(), item)).collect())
}

/// The rights on these infrastructures, by id, for loaders: of those that the viewer administers.
///
/// # Errors
/// The database's.
pub async fn permissions_by_ids(
    deployer: &Deployer,
    viewer: &Viewer,
    ids: &[String],
) -> Result<BTreeMap<String, Vec<Permission>>> {
    let db = deployer.db.pool();
    let levels = rights::infrastructure_levels(db, viewer, ids).await?;
    let mine = ids.iter().filter(|id| text::storable(id) && levels.get(*id) == Some(&Level::Admin)).cloned();
    let mut all: BTreeMap<String, Vec<Permission>> = mine.map(|id| (id, Vec::new())).collect();
    let rows = infrastructure_permission::Entity::find()
        .filter(infrastructure_permission::Column::InfrastructureId.is_in(all.keys().cloned()))
        .order_by_asc(infrastructure_permission::Column::Position)
        .order_by_asc(infrastructure_permission::Column::GroupName)
        .all(db)
        .await?;
    for row in rows {
        let permission = Permission { group: row.group_name, level: Level::from_row(row.level) };
        all.entry(row.infrastructure_id).or_default().push(permission);
    }
    Ok(all)
}
