//! Lists as Relay connections.

use async_graphql::{
    OutputType,
    connection::{Connection, Edge},
};
use deployer::paging::{Listing, Page};

use crate::error::Result;

/// What a list costs beside its items: a nested one is a query of its own.
pub(crate) const LIST_COST: usize = 20;

/// The complexity of a list: as if its page were full.
pub(crate) fn cost(first: Option<i32>, child: usize) -> usize {
    let first = usize::try_from(first.unwrap_or(50)).unwrap_or(0).min(1_000);
    LIST_COST + first * child
}

/// The complexity of a list inside another thing.
pub(crate) fn nested_cost(first: Option<i32>, child: usize) -> usize {
    500 + cost(first, child)
}

/// Reads the arguments of a list.
pub(crate) fn page(first: Option<i32>, after: Option<&str>) -> Result<Page> {
    Ok(Page::new(first, after)?)
}

/// A page as a connection.
pub(crate) fn connection<T, N: OutputType + From<T>>(page: &Page, listing: Listing<T>) -> Connection<String, N> {
    let mut connection = Connection::new(page.after.is_some(), listing.has_next);
    connection.edges.extend(listing.items.into_iter().map(|(cursor, item)| Edge::new(cursor, N::from(item))));
    connection
}
