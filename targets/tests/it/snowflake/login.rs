//! Who signs in: tokens as Snowflake checks them.

use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use ring::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};
use serde_json::Value;

use crate::wire::Asked;

/// The user's public key, as it was registered.
pub(crate) const FINGERPRINT: &str = "SHA256:giquQIYb5H5Bq+LJjQ4If3lw2ul1RPyEnrsyMjBvs2k=";
pub(crate) const ACCOUNT: &str = "acme-test.eu";
pub(crate) const USER: &str = "deployer";
/// A programmatic access token, and the password of the image repository.
pub(crate) const PAT: &str = "pat-0123456789abcdef";

/// The reason of a 401, if it is one.
pub(crate) fn check(asked: &Asked) -> Result<(), String> {
    let token =
        asked.header("authorization").and_then(|value| value.strip_prefix("Bearer ")).ok_or("no bearer token")?;
    match asked.header("x-snowflake-authorization-token-type") {
        Some("KEYPAIR_JWT") => jwt(token),
        Some("OAUTH" | "PROGRAMMATIC_ACCESS_TOKEN") if token == PAT => Ok(()),
        Some(other) => Err(format!("no token of type {other}")),
        None => Err("no type of token".to_owned()),
    }
}

fn jwt(token: &str) -> Result<(), String> {
    let parts: Vec<&str> = token.split('.').collect();
    let [header, claims, signature] = parts.as_slice() else { return Err("no JWT".to_owned()) };
    let decoded = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|error| error.to_string());
    let header: Value = serde_json::from_slice(&decoded(header)?).map_err(|error| error.to_string())?;
    if header["alg"] != "RS256" {
        return Err(format!("alg {}", header["alg"]));
    }
    let pem: String = include_str!("keys/plain.pem").lines().filter(|line| !line.starts_with('-')).collect();
    let key = RsaKeyPair::from_pkcs8(&BASE64_STANDARD.decode(pem).unwrap()).unwrap();
    let signed = token.rsplit_once('.').unwrap().0;
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public_key().as_ref())
        .verify(signed.as_bytes(), &decoded(signature)?)
        .map_err(|_| "JWT token is invalid: signature")?;
    let claims: Value = serde_json::from_slice(&decoded(claims)?).map_err(|error| error.to_string())?;
    let subject = "ACME-TEST.DEPLOYER";
    if claims["sub"] != subject || claims["iss"] != format!("{subject}.{FINGERPRINT}") {
        return Err(format!("JWT token is invalid: iss {} sub {}", claims["iss"], claims["sub"]));
    }
    let (from, until) = (claims["iat"].as_i64().unwrap_or(0), claims["exp"].as_i64().unwrap_or(0));
    let now = engine::clock::now_micros() / 1_000_000;
    if until - from > 3_600 || until <= now || from > now + 60 {
        return Err(format!("JWT token is invalid: iat {from} exp {until}"));
    }
    Ok(())
}
