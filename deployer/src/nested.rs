//! Lists inside of lists: the first rows of many parents with one statement, however many parents.

use sea_orm::{
    ColumnTrait,
    sea_query::{Alias, Expr, ExprTrait as _, Order, Query, SelectStatement, WindowStatement},
};

/// A query for the `key` of those rows of `select` that are among the first `limit` of their parent, in this order.
///
/// `select` names its table and its conditions; its columns are set here.
pub(crate) fn first_of_each<C: ColumnTrait>(
    mut select: SelectStatement,
    key: &[C],
    parent: C,
    order: &[(C, Order)],
    limit: u64,
) -> SelectStatement {
    let mut window = WindowStatement::partition_by(parent);
    for (column, direction) in order {
        window.order_by(*column, direction.clone());
    }
    select.columns(key.iter().copied());
    select.expr_window_as(Expr::cust("ROW_NUMBER()"), window, Alias::new("place"));
    Query::select()
        .columns(key.iter().copied())
        .from_subquery(select, Alias::new("numbered"))
        .and_where(Expr::col(Alias::new("place")).lte(limit))
        .to_owned()
}
