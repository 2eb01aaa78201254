//! A service account's key: read, and used to sign what is exchanged for a token.

use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use engine::{failure::Failure, secrets::Secret};
use ring::{
    rand::SystemRandom,
    signature::{RSA_PKCS1_SHA256, RsaKeyPair},
};
use serde::Deserialize;
use serde_json::json;
use zeroize::Zeroizing;

use crate::codes;

/// Whom the exchange is for, whatever the key's file says of where it is.
const AUDIENCE: &str = "https://oauth2.googleapis.com/token";
/// What tokens are good for.
pub(super) const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
/// The longest that Google takes, in seconds.
const LASTS: i64 = 3_600;

/// What a key's file says, as far as it matters.
#[derive(Clone, Deserialize)]
pub(super) struct ServiceAccountKey {
    pub(super) client_email: String,
    private_key: Secret,
    #[serde(default)]
    private_key_id: String,
    #[serde(default = "usual")]
    token_uri: String,
}

fn usual() -> String {
    AUDIENCE.to_owned()
}

fn unfit(detail: &str) -> Failure {
    let message = "The service account's key is none: enter the whole JSON file that Google Cloud handed out, of the type service_account.";
    Failure::new(codes::CREDENTIALS_INVALID, message).detail(detail)
}

impl ServiceAccountKey {
    /// Reads a key's file.
    pub(super) fn parse(file: &str) -> Result<Self, Failure> {
        // What the parser says could hold a piece of the key.
        serde_json::from_str(file)
            .map_err(|error| unfit(&format!("no JSON of a key, at line {}, column {}", error.line(), error.column())))
    }

    /// Whether it is a key that can sign.
    pub(super) fn check(&self) -> Result<(), Failure> {
        self.pair().map(drop)
    }

    /// Where it says that tokens are made: https alone.
    pub(super) fn token_uri(&self) -> Result<&str, Failure> {
        if self.token_uri.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://")) {
            return Ok(&self.token_uri);
        }
        let message = "The service account's key names an address for tokens (token_uri) that is not https. Slipway does not send what it signed there.";
        Err(Failure::new(codes::CREDENTIALS_INVALID, message))
    }

    /// What is exchanged for a token.
    pub(super) fn assertion(&self, now_seconds: i64) -> Result<Secret, Failure> {
        let header = json!({"alg": "RS256", "typ": "JWT", "kid": self.private_key_id});
        let claims = json!({
            "iss": self.client_email, "scope": SCOPE, "aud": AUDIENCE, "iat": now_seconds, "exp": now_seconds + LASTS,
        });
        let encode = |value: String| BASE64_URL_SAFE_NO_PAD.encode(value);
        let signed = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        let pair = self.pair()?;
        let mut signature = vec![0; pair.public().modulus_len()];
        let made = pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature);
        made.map_err(|_| unfit("the key does not sign"))?;
        Ok(Secret::from(format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))))
    }

    fn pair(&self) -> Result<RsaKeyPair, Failure> {
        let pem = self.private_key.expose();
        let body = pem
            .split_once("-----BEGIN PRIVATE KEY-----")
            .and_then(|(_, rest)| rest.split_once("-----END PRIVATE KEY-----"))
            .map(|(body, _)| Zeroizing::new(body.split_whitespace().collect::<String>()))
            .ok_or_else(|| unfit("private_key is no PEM of PKCS #8"))?;
        let der = BASE64_STANDARD.decode(body.as_bytes()).map(Zeroizing::new);
        let der = der.map_err(|_| unfit("private_key is no base64"))?;
        RsaKeyPair::from_pkcs8(&der).map_err(|error| unfit(&format!("private_key is no RSA key: {error}")))
    }
}

impl std::fmt::Debug for ServiceAccountKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ServiceAccountKey({})", self.client_email)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_key_is_refused_and_not_told() {
        let pem = |inner: &str| format!("-----BEGIN PRIVATE KEY-----\\n{inner}\\n-----END PRIVATE KEY-----");
        for key in ["hunter2", &pem("hunter2"), &pem("aHVudGVyMg==")] {
            let file = format!(r#"{{"client_email":"a@b","private_key":"{key}"}}"#);
            let key = ServiceAccountKey::parse(&file).unwrap();
            for failure in [key.assertion(0).unwrap_err(), key.check().unwrap_err()] {
                assert_eq!(failure.code, codes::CREDENTIALS_INVALID);
                assert!(!format!("{failure:?}").contains("hunter2"));
            }
        }
        for file in ["hunter2", "{}", r#"{"client_email":"hunter2"}"#, r#"{"private_key":7}"#] {
            let failure = ServiceAccountKey::parse(file).unwrap_err();
            assert!(!format!("{failure:?}").contains("hunter2"));
        }
    }
}
