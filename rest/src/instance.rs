//! Who asks, and who answers.

use deployer::{audit, error::Result};
use serde_json::{Value, json};

use crate::{Context, call::Call};

/// What this installation calls itself.
#[derive(Clone, Debug)]
pub struct Instance {
    /// Its id and name.
    pub node_id: String,
}

pub(crate) fn auth_info(context: &Context<'_>, call: &Call) -> Result<Value> {
    let viewer = context.viewer;
    let mut info = json!({
        "authIdentifier": viewer.login,
        "associatedDSSUser": viewer.login,
        "userForImpersonation": viewer.login,
        "displayName": viewer.display_name,
        "groups": viewer.groups,
        "isAdmin": viewer.is_admin(),
        "authSource": "PERSONAL_API_KEY",
        "via": [],
    });
    if call.flag("withSecrets")?.unwrap_or(false) {
        // Users have none here.
        info["secrets"] = json!([]);
    }
    Ok(info)
}

pub(crate) fn info(context: &Context<'_>) -> Value {
    json!({
        "nodeId": context.instance.node_id,
        "nodeName": context.instance.node_id,
        "nodeType": "DEPLOYER",
        "product": "slipway",
        "version": env!("CARGO_PKG_VERSION"),
    })
}

/// Keeps a record of the client's own.
pub(crate) async fn audit(context: &Context<'_>, kind: &str, data: Value) -> Result<Value> {
    audit::custom(context.deployer, context.viewer, kind, &data).await.map(|()| json!({}))
}
