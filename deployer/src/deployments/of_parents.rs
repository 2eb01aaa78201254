//! The deployments of many infrastructures, or of many published projects, at once.

use std::collections::HashMap;

use entities::deployment;
use sea_orm::{
    ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _,
    sea_query::{Order, Query},
};

use super::{Deployment, list::views};
use crate::{
    Deployer,
    error::Result,
    nested::first_of_each,
    paging::{Listing, Page},
    projects::storable,
    rights::{self, Access},
    viewer::Viewer,
};

/// What has deployments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Parent {
    /// An infrastructure, by id.
    Infrastructure,
    /// A published project, by key.
    Project,
}

/// The same page of the deployments of each of these parents that the viewer may see, by id. A handful of queries, however many parents.
///
/// # Errors
/// Faults only.
pub async fn of_parents(
    deployer: &Deployer,
    viewer: &Viewer,
    kind: Parent,
    parents: &[String],
    page: &Page,
) -> Result<HashMap<String, Listing<Deployment>>> {
    let column = match kind {
        Parent::Infrastructure => deployment::Column::InfrastructureId,
        Parent::Project => deployment::Column::ProjectKey,
    };
    let mut each = Query::select();
    each.from(deployment::Entity)
        .and_where(column.is_in(storable(parents)))
        .cond_where(rights::deployments_where(viewer, Access::See));
    if let Some(after) = &page.after {
        each.and_where(deployment::Column::Id.gt(after));
    }
    let order = [(deployment::Column::Id, Order::Asc)];
    let first = first_of_each(each, &[deployment::Column::Id], column, &order, page.limit());
    let rows = deployment::Entity::find()
        .filter(deployment::Column::Id.in_subquery(first))
        .order_by_asc(deployment::Column::Id)
        .all(deployer.db.pool())
        .await?;
    let mut each: HashMap<String, Vec<Deployment>> = HashMap::new();
    for one in views(deployer, viewer, rows).await? {
        let parent = match kind {
            Parent::Infrastructure => &one.infrastructure_id,
            Parent::Project => &one.project_key,
        };
        each.entry(parent.clone()).or_default().push(one);
    }
    Ok(each.into_iter().map(|(id, all)| (id, page.listing(all, |one| one.id.clone()))).collect())
}
