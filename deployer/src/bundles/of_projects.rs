//! The bundles of many published projects at once.

use std::collections::HashMap;

use entities::bundle;
use sea_orm::{
    ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _,
    sea_query::{Expr, ExprTrait as _, Order, Query},
};

use super::{Bundle, Row, after, cursor, narrow};
use crate::{
    Deployer,
    error::Result,
    nested::first_of_each,
    paging::{Listing, Page},
    projects::storable,
    rights::{self, Right},
    viewer::Viewer,
};

/// The same page of the bundles of each of these projects, newest first. A project that the viewer may not read has none. One query, however many
/// projects.
///
/// # Errors
/// `PAGE_INVALID` for a cursor of another list.
pub async fn of_projects(
    deployer: &Deployer,
    viewer: &Viewer,
    project_keys: &[String],
    page: &Page,
) -> Result<HashMap<String, Listing<Bundle>>> {
    use bundle::Column::{BundleId, ProjectKey, UploadedAt};
    let mut each = Query::select();
    each.from(bundle::Entity).and_where(ProjectKey.is_in(storable(project_keys))).cond_where(rights::projects_where(
        viewer,
        ProjectKey,
        Right::Read,
    ));
    if let Some(cursor) = &page.after {
        each.cond_where(after(cursor)?);
    }
    let order = [(UploadedAt, Order::Desc), (BundleId, Order::Asc)];
    let first = first_of_each(each, &[ProjectKey, BundleId], ProjectKey, &order, page.limit());
    let keys = Expr::tuple([Expr::col(ProjectKey), Expr::col(BundleId)]);
    let rows = narrow(bundle::Entity::find().filter(keys.in_subquery(first)))
        .order_by_desc(UploadedAt)
        .order_by_asc(BundleId)
        .into_model::<Row>()
        .all(deployer.db.pool())
        .await?;
    let mut each: HashMap<String, Vec<Bundle>> = HashMap::new();
    for row in rows {
        each.entry(row.project_key.clone()).or_default().push(row.into());
    }
    Ok(each.into_iter().map(|(key, bundles)| (key, page.listing(bundles, cursor))).collect())
}
