//! Google's sign-in: a signed assertion, or a machine's own token, for an access token.

use super::{GoogleSettings, TOKEN, refused};
use crate::clock;
use crate::clouds::door::{Asked, Reply};
use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};
use serde_json::{Value, json};

const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
const AUDIENCE: &str = "https://oauth2.googleapis.com/token";
/// What the exchange gives, for the service account's.
const FEDERATED: &str = "ya29.federated";
/// Clocks may differ by so much, in seconds.
const SKEW: i64 = 60;

fn denied(error: &str, text: &str) -> Reply {
    Reply::json(400, json!({"error": error, "error_description": text}))
}

fn granted(token: &str) -> Reply {
    Reply::json(200, json!({"access_token": token, "expires_in": 3599, "token_type": "Bearer"}))
}

pub(super) fn by_key(settings: &GoogleSettings, key: &str, asked: &Asked) -> Reply {
    if asked.form("grant_type").as_deref() != Some("urn:ietf:params:oauth:grant-type:jwt-bearer") {
        return denied("unsupported_grant_type", "grant_type");
    }
    match claims(key, &asked.form("assertion").unwrap_or_default()) {
        None => denied("invalid_grant", "Invalid JWT Signature."),
        Some(claims) => {
            let (iat, exp) = (claims["iat"].as_i64().unwrap_or_default(), claims["exp"].as_i64().unwrap_or_default());
            let now = clock::now_ms() / 1_000;
            let timely = (iat - now).abs() <= SKEW && exp > now && exp - iat <= 3_600;
            if claims["iss"] != settings.account.as_str() {
                return denied("invalid_grant", "Invalid grant: account not found");
            }
            if !timely || claims["aud"] != AUDIENCE || claims["scope"] != SCOPE {
                return denied("invalid_grant", "Invalid JWT: times, audience or scope.");
            }
            granted(TOKEN)
        }
    }
}

/// The claims, if the account's key signed them.
fn claims(key: &str, assertion: &str) -> Option<Value> {
    let mut parts = assertion.split('.');
    let (header, claims, signature) = (parts.next()?, parts.next()?, parts.next()?);
    let decode = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).ok();
    let read: Value = serde_json::from_slice(&decode(header)?).ok()?;
    if read["alg"] != "RS256" || parts.next().is_some() {
        return None;
    }
    let body: String = key.lines().filter(|line| !line.starts_with("-----")).collect();
    let pair = RsaKeyPair::from_pkcs8(&BASE64_STANDARD.decode(body).ok()?).ok()?;
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public().as_ref());
    public.verify(format!("{header}.{claims}").as_bytes(), &decode(signature)?).ok()?;
    serde_json::from_slice(&decode(claims)?).ok()
}

pub(super) fn exchange(settings: &GoogleSettings, asked: &Asked) -> Reply {
    let wanted = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
        ("scope", SCOPE),
        ("subject_token", &settings.subject),
        ("audience", "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q"),
    ];
    match wanted.iter().find(|(name, value)| asked.form(name).as_deref() != Some(value)) {
        Some((name, _)) => denied("invalid_grant", name),
        None => granted(FEDERATED),
    }
}

pub(super) fn impersonate(asked: &Asked) -> Reply {
    let body = asked.json().unwrap_or_default();
    if asked.bearer() != Some(FEDERATED) || body["scope"] != json!([SCOPE]) {
        return refused(403, "PERMISSION_DENIED", "iam.serviceAccounts.getAccessToken");
    }
    Reply::json(200, json!({"accessToken": TOKEN, "expireTime": "2030-01-01T00:00:00Z"}))
}

pub(super) fn subject(settings: &GoogleSettings, asked: &Asked) -> Reply {
    if asked.header("metadata") != Some("yes") {
        return refused(403, "PERMISSION_DENIED", "Metadata");
    }
    Reply::json(200, json!({"id_token": settings.subject}))
}
