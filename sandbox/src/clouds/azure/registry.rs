//! The login of Azure Container Registry: a management token for a refresh token, that for an access token.

use super::{Azure, TOKEN};
use crate::clouds::door::{Asked, Reply};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::json;

const REFRESH: &str = "refr3sh-token-of-the-registry";

pub(super) fn answer(azure: &Azure, asked: &Asked) -> Reply {
    let field = |name: &str| asked.form(name).unwrap_or_default();
    let refused = |status: u16, message: &str| {
        Reply::json(status, json!({"errors": [{"code": "UNAUTHORIZED", "message": message}]}))
    };
    if field("service") != azure.settings.registry {
        return refused(401, "service");
    }
    match (asked.path.last().map(String::as_str), field("grant_type").as_str()) {
        (Some("exchange"), "access_token") => {
            if field("access_token") != TOKEN || field("tenant") != azure.settings.tenant {
                return refused(401, "authentication required");
            }
            if azure.settings.registry_actions.is_empty() {
                return refused(401, "access to the requested resource is denied");
            }
            Reply::json(200, json!({"refresh_token": REFRESH}))
        }
        (Some("token"), "refresh_token") => {
            if field("refresh_token") != REFRESH {
                return refused(401, "authentication required");
            }
            let scope = field("scope");
            let mut parts = scope.split(':');
            let (Some("repository"), Some(name), Some(actions)) = (parts.next(), parts.next(), parts.next()) else {
                return refused(400, "scope");
            };
            let given: Vec<&str> =
                actions.split(',').filter(|one| azure.settings.registry_actions.iter().any(|had| had == one)).collect();
            let claims = json!({"access": [{"type": "repository", "name": name, "actions": given}]});
            let token = format!("e30.{}.e30", BASE64_URL_SAFE_NO_PAD.encode(claims.to_string()));
            Reply::json(200, json!({"access_token": token}))
        }
        _ => refused(400, "grant_type"),
    }
}
