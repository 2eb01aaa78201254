//! The login of Azure Container Registry: a management token for a refresh token, that for an access token.

use super::{Azure, TOKEN};
use crate::clouds::door::{Asked, Reply};
use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use serde_json::json;

const REFRESH: &str = "refr3sh-token-of-the-registry";

const USER: &str = "00000000-0000-0000-0000-000000000000";

/// What a client without a token is told; None for one with a token of this registry's.
pub(super) fn gate(asked: &Asked, base: &str) -> Option<Reply> {
    let open = asked.bearer().is_some_and(|token| token.starts_with("e30."));
    let challenge = format!("Bearer realm=\"{base}/oauth2/token\",service=\"{}\"", SERVICE);
    (!open).then(|| Reply::json(401, json!({"errors": [{"code": "UNAUTHORIZED"}]})).with("www-authenticate", challenge))
}

/// The registry's name, wherever it is reached.
const SERVICE: &str = super::REGISTRY;

fn token(azure: &Azure, scope: &str) -> Option<Reply> {
    let mut parts = scope.split(':');
    let (Some("repository"), Some(name), Some(actions)) = (parts.next(), parts.next(), parts.next()) else {
        return None;
    };
    let had = |one: &&str| *one == "delete" || azure.settings.registry_actions.iter().any(|had| had == one);
    let given: Vec<&str> = actions.split(',').filter(had).collect();
    let claims = json!({"access": [{"type": "repository", "name": name, "actions": given}]});
    let token = format!("e30.{}.e30", BASE64_URL_SAFE_NO_PAD.encode(claims.to_string()));
    Some(Reply::json(200, json!({"access_token": token})))
}

/// A client's way in that is no program of ours: user and password at the address that the challenge named.
fn by_login(azure: &Azure, asked: &Asked) -> Option<Reply> {
    let login = asked.header("authorization")?.strip_prefix("Basic ")?;
    if BASE64_STANDARD.decode(login).ok()? != format!("{USER}:{REFRESH}").as_bytes() {
        return None;
    }
    token(azure, asked.parameter("scope")?)
}

pub(super) fn answer(azure: &Azure, asked: &Asked) -> Reply {
    if asked.method == "GET" {
        return by_login(azure, asked)
            .unwrap_or_else(|| Reply::json(401, json!({"errors": [{"code": "UNAUTHORIZED"}]})));
    }
    let field = |name: &str| asked.form(name).unwrap_or_default();
    let refused = |status: u16, message: &str| {
        Reply::json(status, json!({"errors": [{"code": "UNAUTHORIZED", "message": message}]}))
    };
    if field("service") != SERVICE {
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
            token(azure, &field("scope")).unwrap_or_else(|| refused(400, "scope"))
        }
        _ => refused(400, "grant_type"),
    }
}
