//! Lists as Relay connections.

use async_graphql::{
    OutputType,
    connection::{Connection, Edge},
};
use deployer::paging::{Listing, Page};

use crate::error::Result;

/// What a list costs beside its items.
const LIST_COST: usize = 20;

/// What it costs to read a journal and to fold it.
pub(crate) const FOLD_COST: usize = 50;

/// What it costs to ask a node: dozens of calls, each of which may take a minute. One document asks two at most.
pub(crate) const NODE_COST: usize = 20_000;

/// The complexity of a list: as if its page were full. Lists inside of many things of a kind are read together.
pub(crate) fn cost(first: Option<i32>, child: usize) -> usize {
    let first = usize::try_from(first.unwrap_or(50)).unwrap_or(0).min(1_000);
    LIST_COST + first * child
}

/// The complexity of a window of a journal or a log: a hundred entries if nobody says how many.
pub(crate) fn journal_cost(first: Option<i32>, child: usize) -> usize {
    cost(first.or(Some(100)), child)
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

/// A page of a list inside of something; empty if the right to see it was taken away meanwhile.
pub(crate) fn nested<T, N: OutputType + From<T>>(page: &Page, listing: Option<Listing<T>>) -> Connection<String, N> {
    match listing {
        Some(listing) => connection(page, listing),
        None => Connection::new(page.after.is_some(), false),
    }
}
