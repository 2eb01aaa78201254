//! What the credentials may do in a project, as the platform itself says it.

use serde_json::json;

use super::api::Google;
use crate::http::{CallError, Method};

/// Of these permissions, those that are not given in the project.
pub(crate) async fn missing<'a>(
    manager: &Google,
    project: &str,
    needed: &[&'a str],
) -> Result<Vec<&'a str>, CallError> {
    let resource = format!("{project}:testIamPermissions");
    let body = json!({"permissions": needed});
    let doing = "reading the rights of the credentials";
    let answer = manager.call(Method::POST, &["v3", "projects", &resource], &[], body, doing).await?;
    let given = answer["permissions"].as_array().cloned().unwrap_or_default();
    Ok(needed.iter().copied().filter(|one| !given.iter().any(|given| given == one)).collect())
}
