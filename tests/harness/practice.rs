//! The practice node that everything is deployed to.

use std::net::{Ipv4Addr, SocketAddr};

use sandbox::{Builder, Node, RunningNode};

/// The administrator key that practice nodes accept.
pub const NODE_KEY: &str = "practice-admin-key-0f3b";

/// A node with users (`deployer`, `runner`, and an administrator `admin`), groups and connections to remap to.
pub fn builder() -> Builder {
    Node::builder()
        .user("admin", &["administrators"], true)
        .user("deployer", &["deployers"], false)
        .user("runner", &["runners"], false)
        .group("data-team")
        .connection("sql-prod", "PostgreSQL")
        .connection("files-prod", "Filesystem")
        .admin_key(NODE_KEY)
}

/// Such a node, listening on a free port.
///
/// # Panics
/// When it can't listen.
pub async fn node() -> RunningNode {
    listen(builder()).await
}

/// This node, listening on a free port.
///
/// # Panics
/// When it can't listen.
pub async fn listen(builder: Builder) -> RunningNode {
    builder.start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.expect("a practice node")
}
