//! `slipway sandbox`: the practice Automation node by itself.

use super::{cannot_listen, say, signals::Signals};
use crate::{args::Sandbox, failure::Failure};

pub(crate) async fn run(args: Sandbox) -> Result<(), Failure> {
    let node = practice(&args.admin_key).start(args.listen).await;
    let node = node.map_err(|error| cannot_listen(args.listen, "--listen", &error))?;
    say(format!("Practice Automation node at {}; its administrator key is {}", node.url(), args.admin_key))?;
    Signals::listen()?.next().await;
    node.stop().await;
    Ok(())
}

/// A node with a few users, groups and connections.
pub(crate) fn practice(admin_key: &str) -> sandbox::Builder {
    sandbox::Node::builder()
        .node_id("practice-automation")
        .user("admin", &["administrators"], true)
        .user("svc_deploy", &["deployers"], false)
        .user("svc_run", &["runners"], false)
        .user("analyst", &["data-team"], false)
        .group("data-team")
        .connection("sql-prod", "PostgreSQL")
        .connection("files", "Filesystem")
        .admin_key(admin_key)
}
