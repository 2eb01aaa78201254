//! Published projects, bundles, deployments and updates on a real SQLite database.

mod bundles;
mod changes;
mod governance;
mod imports;
mod lists;
mod live;
mod policy;
mod previews;
mod remapping;
mod rights;
mod setups;
mod support;
mod unseen;
mod updates;
mod waiting;
