//! `slipway sandbox`: a practice node by itself.

mod image;

use std::net::SocketAddr;

use super::{cannot_listen, say, signals::Signals};
use crate::{
    args::{PRACTICE_KEY, Sandbox},
    failure::Failure,
};

/// Where an Automation node listens, and an API node, when nothing else is said.
const AUTOMATION: ([u8; 4], u16) = ([127, 0, 0, 1], 11200);
const API: ([u8; 4], u16) = ([127, 0, 0, 1], 12000);

pub(crate) async fn run(args: Sandbox) -> Result<(), Failure> {
    // A key that somebody chose is a secret.
    let key = if args.admin_key == PRACTICE_KEY { PRACTICE_KEY } else { "the one that it was given" };
    if args.api_node {
        let listen: SocketAddr = args.listen.unwrap_or(API.into());
        let node = api_node(&args)?.start(listen).await;
        let node = node.map_err(|error| cannot_listen(listen, "--listen", &error))?;
        say(format!("Practice API node at {}; its administrator key is {key}", node.url()))?;
        Signals::listen()?.next().await;
        node.stop().await;
        return Ok(());
    }
    let listen: SocketAddr = args.listen.unwrap_or(AUTOMATION.into());
    let node = practice(&args.admin_key).start(listen).await;
    let node = node.map_err(|error| cannot_listen(listen, "--listen", &error))?;
    say(format!("Practice Automation node at {}; its administrator key is {key}", node.url()))?;
    Signals::listen()?.next().await;
    node.stop().await;
    Ok(())
}

/// An Automation node with a few users, groups and connections.
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

/// An API node that serves what it was told to serve.
fn api_node(args: &Sandbox) -> Result<sandbox::ApiNode, Failure> {
    let builder = sandbox::ApiNode::builder().admin_key(&args.admin_key);
    let builder = args.packages.iter().fold(builder, |builder, folder| builder.packages(folder));
    let node =
        builder.build().map_err(|error| Failure::refused("IO_FAILED", error.to_string()).about(Some("packages")))?;
    let refused = |about: &'static str| move |error| Failure::refused("SERVICE_NOT_SERVED", error).about(Some(about));
    if let Some(folder) = &args.serve_folder {
        let packages = image::packages(folder, |name| std::env::var(name).ok()).map_err(refused("serve-folder"))?;
        node.serve(&packages).map_err(refused("serve-folder"))?;
    }
    let served: Vec<_> = args.served.iter().map(|one| (&one.file, one.proba).into()).collect();
    node.serve(&served).map_err(refused("serve-package"))?;
    Ok(node)
}
