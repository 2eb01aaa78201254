//! Reaches the node and asks who it is, and whom the key belongs to. Changes nothing.

use engine::failure::Failure;
use serde_json::Value;

use super::client::{Api, object};
use crate::{codes, target::NodeReport};

pub(super) async fn check(api: &Api) -> Result<NodeReport, Failure> {
    let doing = "reading the node's name and type";
    let (info, version) = api.get_with_version(&["instance-info"], &[], doing).await?;
    let info = object(info, doing)?;
    let text =
        |key: &str| info.get(key).and_then(Value::as_str).map(|text| api.clean(text)).filter(|text| !text.is_empty());

    let doing = "asking whom the key belongs to";
    let (auth, version_too) = api.get_with_version(&["auth", "info"], &[("withSecrets", "False")], doing).await?;
    let identity = object(auth, doing)?
        .get("authIdentifier")
        .and_then(Value::as_str)
        .map(|text| api.clean(text))
        .unwrap_or_default();

    // Only an administrator may list connections.
    let is_admin = match api.connections().await {
        Ok(_) => true,
        Err(error) if error.is(&codes::NODE_FORBIDDEN) => false,
        Err(error) => return Err(error.into()),
    };
    let node_type = text("nodeType");
    let mut problems = Vec::new();
    match node_type.as_deref() {
        Some("AUTOMATION") => {}
        Some(other) => {
            problems.push(format!("This is a node of type {other}; bundles are deployed to Automation nodes."))
        }
        None => problems
            .push("The node does not say of which type it is; bundles are deployed to Automation nodes.".to_owned()),
    }
    if !is_admin {
        problems.push(format!(
            "The key belongs to {identity}, who is no administrator of the node. Enter an administrator's key."
        ));
    }
    let version = version.or(version_too).or_else(|| text("dssVersion")).or_else(|| text("version"));
    Ok(NodeReport { node_id: text("nodeId"), node_type, version, identity, is_admin, problems })
}
