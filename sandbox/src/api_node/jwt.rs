//! JSON Web Tokens, signed with RS256 or ES256, against a static set of keys.

use super::fields::Fields;
use crate::reply::Refusal;
use crate::request::{Object, text};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey};
use serde_json::{Value, json};

/// The longest token, in bytes.
const LONGEST: usize = 16 * 1024;
/// How far the clocks may be apart, in seconds.
const LEEWAY: i64 = 60;
/// The shortest RSA key, in bytes.
const RSA_LEAST: usize = 256;

/// The keys that sign tokens, and what a token must say.
pub(super) struct KeySet {
    keys: Vec<PublicKey>,
    issuer: Option<String>,
    audience: Option<String>,
    scope: Option<String>,
    /// The claim that lists scopes.
    scope_claim: String,
}

struct PublicKey {
    id: Option<String>,
    material: Material,
}

enum Material {
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    /// A point of P-256, uncompressed.
    Ec(Vec<u8>),
}

impl KeySet {
    /// Reads `{"jwks": {"keys": […]}, "issuer", "audience", "scope", "scopeClaim"}`. Keys for other algorithms are passed over; one must be left.
    pub(super) fn read(fields: &Fields<'_>) -> Result<Self, Refusal> {
        let jwks = fields.object("jwks")?;
        let jwks = jwks.ok_or_else(|| fields.wrong("jwks", "is needed: this node fetches no keys"))?;
        let mut keys = Vec::new();
        for key in Fields::new(jwks, "oauth2.jwks").list("keys")? {
            keys.extend(PublicKey::read(&Fields::of(key, "oauth2.jwks.keys[]")?)?);
        }
        if keys.is_empty() {
            return Err(fields.wrong("jwks", "has no key for RS256 or ES256"));
        }
        let owned = |name: &str| Ok::<_, Refusal>(fields.text(name)?.map(str::to_owned));
        let scope_claim = owned("scopeClaim")?.unwrap_or_else(|| "scope".to_owned());
        Ok(Self { keys, issuer: owned("issuer")?, audience: owned("audience")?, scope: owned("scope")?, scope_claim })
    }

    /// For showing.
    pub(super) fn shown(&self) -> Value {
        let ids: Vec<_> = self.keys.iter().map(|key| &key.id).collect();
        json!({"issuer": self.issuer, "audience": self.audience, "scope": self.scope, "keyIds": ids})
    }

    /// Whether a token is good at `now`, in seconds since the epoch; why not. The words repeat nothing of the token.
    pub(super) fn verify(&self, token: &str, now: i64) -> Result<(), &'static str> {
        if token.len() > LONGEST {
            return Err("it is too long");
        }
        let (signed, signature) = token.rsplit_once('.').ok_or("it is no JSON Web Token")?;
        let (header, payload) = signed.split_once('.').ok_or("it is no JSON Web Token")?;
        let (header, payload) = (object(header)?, object(payload)?);
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| "its signature can't be read")?;
        if header.contains_key("crit") {
            return Err("its header makes a demand that is not known here");
        }
        let id = text(&header, "kid");
        let algorithm = text(&header, "alg").ok_or("its header names no algorithm")?;
        let fits = |key: &&PublicKey| {
            key.algorithm() == algorithm && (id.is_none() || key.id.is_none() || key.id.as_deref() == id)
        };
        if !self.keys.iter().filter(fits).any(|key| key.signed(signed.as_bytes(), &signature)) {
            return Err("no key of the set signed it");
        }
        self.check(&payload, now)
    }

    fn check(&self, payload: &Object, now: i64) -> Result<(), &'static str> {
        let expires = payload.get("exp").and_then(Value::as_f64).ok_or("it has no time of expiry")?;
        #[expect(clippy::cast_precision_loss, reason = "seconds since the epoch are far below 2^53")]
        let (now, leeway) = (now as f64, LEEWAY as f64);
        if expires + leeway <= now {
            return Err("it has expired");
        }
        match payload.get("nbf") {
            None => {}
            Some(begins) if begins.as_f64().is_some_and(|begins| begins <= now + leeway) => {}
            Some(_) => return Err("it is not valid yet"),
        }
        if self.issuer.as_deref().is_some_and(|issuer| text(payload, "iss") != Some(issuer)) {
            return Err("it is from another issuer");
        }
        let is_for = |audience: &str| match payload.get("aud") {
            Some(Value::String(one)) => one == audience,
            Some(Value::Array(all)) => all.iter().any(|one| one == audience),
            _ => false,
        };
        if self.audience.as_deref().is_some_and(|audience| !is_for(audience)) {
            return Err("it is for another audience");
        }
        let scopes = payload.get(&self.scope_claim);
        let allows = |scope: &str| match scopes {
            Some(Value::String(all)) => all.split_whitespace().any(|one| one == scope),
            Some(Value::Array(all)) => all.iter().any(|one| one == scope),
            _ => false,
        };
        if self.scope.as_deref().is_some_and(|scope| !allows(scope)) {
            return Err("it lacks the scope");
        }
        Ok(())
    }
}

fn object(part: &str) -> Result<Object, &'static str> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| "it can't be read")?;
    serde_json::from_slice(&bytes).map_err(|_| "it can't be read")
}

impl PublicKey {
    fn read(fields: &Fields<'_>) -> Result<Option<Self>, Refusal> {
        let number = |name: &str| {
            let bytes =
                URL_SAFE_NO_PAD.decode(fields.needed(name)?).map_err(|_| fields.wrong(name, "is no base64url"))?;
            // A sign's zero byte in front is not part of the number.
            Ok::<_, Refusal>(bytes.into_iter().skip_while(|byte| *byte == 0).collect::<Vec<u8>>())
        };
        if fields.text("use")?.is_some_and(|purpose| purpose != "sig") {
            return Ok(None);
        }
        let material = match (fields.needed("kty")?, fields.text("crv")?) {
            ("RSA", _) => {
                let (modulus, exponent) = (number("n")?, number("e")?);
                if modulus.len() < RSA_LEAST {
                    return Err(fields.wrong("n", "is shorter than 2048 bits"));
                }
                Material::Rsa { modulus, exponent }
            }
            ("EC", Some("P-256")) => {
                let mut point = vec![4];
                for name in ["x", "y"] {
                    let part = number(name)?;
                    let missing = 32_usize.checked_sub(part.len()).ok_or_else(|| fields.wrong(name, "is too long"))?;
                    point.extend(std::iter::repeat_n(0, missing));
                    point.extend(part);
                }
                Material::Ec(point)
            }
            _ => return Ok(None),
        };
        let key = Self { id: fields.text("kid")?.map(str::to_owned), material };
        let wanted = fields.text("alg")?;
        Ok(Some(key).filter(|key| wanted.is_none_or(|wanted| wanted == key.algorithm())))
    }

    fn algorithm(&self) -> &'static str {
        match self.material {
            Material::Rsa { .. } => "RS256",
            Material::Ec(_) => "ES256",
        }
    }

    fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.material {
            Material::Rsa { modulus, exponent } => RsaPublicKeyComponents { n: modulus, e: exponent }
                .verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
                .is_ok(),
            Material::Ec(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature).is_ok()
            }
        }
    }
}

#[cfg(test)]
mod tests;
