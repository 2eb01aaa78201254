//! The updates of many deployments at once: what a list of deployments shows of each.

use std::collections::HashMap;

use entities::run;
use sea_orm::{
    ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _,
    sea_query::{Order, Query},
};

use super::{
    brief::{self, Brief},
    list::{self, Filter},
};
use crate::{
    Deployer,
    error::Result,
    nested::first_of_each,
    paging::{Listing, Page},
    projects::storable,
    viewer::Viewer,
};

/// The same page of the updates of each of these deployments, newest first. A deployment that the viewer may not see has none.
/// A handful of queries, however many deployments.
///
/// # Errors
/// `PAGE_INVALID` for a cursor of another list.
pub async fn of_deployments(
    deployer: &Deployer,
    viewer: &Viewer,
    deployment_ids: &[String],
    page: &Page,
) -> Result<HashMap<String, Listing<Brief>>> {
    let mut each = Query::select();
    each.from(run::Entity)
        .and_where(run::Column::DeploymentId.is_in(storable(deployment_ids)))
        .and_where(run::Column::DeploymentId.in_subquery(list::deployments(viewer, &Filter::default())));
    if let Some(after) = &page.after {
        each.cond_where(list::after(after)?);
    }
    let order = [(run::Column::RequestedAt, Order::Desc), (run::Column::Id, Order::Desc)];
    let first = first_of_each(each, &[run::Column::Id], run::Column::DeploymentId, &order, page.limit());
    let ids: Vec<i64> = run::Entity::find()
        .select_only()
        .column(run::Column::Id)
        .filter(run::Column::Id.in_subquery(first))
        .order_by_desc(run::Column::RequestedAt)
        .order_by_desc(run::Column::Id)
        .into_tuple()
        .all(deployer.db.pool())
        .await?;
    let mut found = brief::read(deployer, viewer, &ids).await?;
    let mut each: HashMap<String, Vec<Brief>> = HashMap::new();
    for brief in ids.iter().filter_map(|id| found.remove(id)) {
        each.entry(brief.deployment_id.clone()).or_default().push(brief);
    }
    Ok(each.into_iter().map(|(id, briefs)| (id, page.listing(briefs, brief::cursor))).collect())
}
