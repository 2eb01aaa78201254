//! A key pair, and the token that is signed with it.

use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use engine::{failure::Failure, secrets::Secret};
use pkcs8::{
    EncryptedPrivateKeyInfoRef, SecretDocument,
    pkcs5::{EncryptionScheme, pbes2::Kdf},
};
use ring::{
    rand::SystemRandom,
    signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair},
};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::codes;

/// So long a token is good, in seconds; Snowflake takes an hour at most.
const GOOD_FOR: i64 = 55 * 60;
/// A longer text is no key.
const LONGEST: usize = 64 * 1024;
/// A passphrase that is stretched further than this keeps us longer than it protects.
const MOST_ROUNDS: u32 = 1_000_000;
/// The same for scrypt, whose memory is 128 bytes times this.
const MOST_SCRYPT: u64 = 1 << 20;

/// The label of a key that is encrypted.
const ENCRYPTED: &str = "ENCRYPTED PRIVATE KEY";
/// Of a key that is encrypted in another way.
const UNREADABLE: &str = "its encryption is none that Slipway reads: PBES2 with AES, and PBKDF2 (a million rounds at most) or scrypt, as openssl pkcs8 -topk8 -v2 aes256 makes it";

/// An RSA key pair.
pub(crate) struct KeyPair {
    key: RsaKeyPair,
    fingerprint: String,
}

impl KeyPair {
    /// Reads a private key: PEM, PKCS#8 (with or without a passphrase) or PKCS#1.
    pub(crate) fn read(pem: &Secret, passphrase: Option<&Secret>) -> Result<Self, Failure> {
        let text = pem.expose().trim();
        if text.len() > LONGEST {
            return Err(invalid("it is longer than any key"));
        }
        let (label, document) = SecretDocument::from_pem(text).map_err(|_| invalid("it is no PEM text"))?;
        let key = match label {
            "PRIVATE KEY" => RsaKeyPair::from_pkcs8(document.as_bytes()),
            "RSA PRIVATE KEY" => RsaKeyPair::from_der(document.as_bytes()),
            ENCRYPTED => {
                let passphrase = passphrase.ok_or_else(|| invalid("it needs a passphrase, and none was entered"))?;
                RsaKeyPair::from_pkcs8(decrypted(document.as_bytes(), passphrase)?.as_bytes())
            }
            _ => return Err(invalid("it is no private key; Snowflake takes RSA keys in PKCS#8")),
        };
        let key = key.map_err(|why| invalid(&format!("it is no RSA key of 2048 bits or more ({why})")))?;
        let fingerprint = format!("SHA256:{}", BASE64_STANDARD.encode(Sha256::digest(public_key(&key))));
        Ok(Self { key, fingerprint })
    }

    /// What Snowflake knows the public key by: `RSA_PUBLIC_KEY_FP` of `DESCRIBE USER`.
    pub(crate) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// A token for this user of this account, from `now` (seconds since the epoch) on.
    pub(crate) fn token(&self, account: &str, user: &str, now: i64) -> Result<Secret, Failure> {
        let subject = format!("{}.{}", in_tokens(account), user.to_uppercase());
        let header = json!({"alg": "RS256", "typ": "JWT"});
        let claims = json!({
            "iss": format!("{subject}.{}", self.fingerprint),
            "sub": subject,
            "iat": now,
            "exp": now.saturating_add(GOOD_FOR),
        });
        let part = |value: serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .map_err(|_| invalid("nothing can be signed with it"))?;
        Ok(Secret::from(format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))))
    }
}

/// An account as tokens name it: a locator without its region; of a replicated account, what comes before the dash. Source: Snowflake's documentation of key-pair
/// authentication for its SQL API.
fn in_tokens(account: &str) -> String {
    let end = if account.to_lowercase().contains(".global") { account.find('-') } else { account.find('.') };
    account[..end.unwrap_or(account.len())].to_uppercase()
}

/// What is wrong with a private key that was just entered. One that is encrypted is not opened here: that takes long on purpose.
pub(crate) fn unreadable(pem: &Secret, passphrase: bool) -> Option<Failure> {
    match SecretDocument::from_pem(pem.expose().trim()) {
        Ok((ENCRYPTED, document)) if passphrase => encrypted(document.as_bytes()).err(),
        _ => KeyPair::read(pem, None).err(),
    }
}

fn decrypted(document: &[u8], passphrase: &Secret) -> Result<SecretDocument, Failure> {
    let info = encrypted(document)?;
    info.decrypt(passphrase.expose()).map_err(|_| invalid("the passphrase does not open it"))
}

/// A key that is encrypted in a way that is read here.
fn encrypted(document: &[u8]) -> Result<EncryptedPrivateKeyInfoRef<'_>, Failure> {
    let info = EncryptedPrivateKeyInfoRef::try_from(document).map_err(|_| invalid(UNREADABLE))?;
    let modest = match &info.encryption_algorithm {
        EncryptionScheme::Pbes2(scheme) => match &scheme.kdf {
            Kdf::Pbkdf2(kdf) => kdf.iteration_count <= MOST_ROUNDS,
            Kdf::Scrypt(kdf) => {
                kdf.cost_parameter
                    .saturating_mul(u64::from(kdf.block_size))
                    .saturating_mul(u64::from(kdf.parallelization))
                    <= MOST_SCRYPT
            }
            _ => false,
        },
        _ => false,
    };
    if modest { Ok(info) } else { Err(invalid(UNREADABLE)) }
}

fn invalid(why: &str) -> Failure {
    let message = format!(
        "The private key of the Snowflake connection can't be used: {why}. Enter the key, or its passphrase, again."
    );
    Failure::new(codes::SNOWFLAKE_KEY_INVALID, message)
}

/// The public key's SubjectPublicKeyInfo, DER: the algorithm rsaEncryption, then the key itself as a bit string.
fn public_key(key: &RsaKeyPair) -> Vec<u8> {
    const ALGORITHM: [u8; 15] =
        [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
    let mut bits = vec![0];
    bits.extend_from_slice(key.public_key().as_ref());
    let mut inside = ALGORITHM.to_vec();
    inside.extend(tagged(0x03, &bits));
    tagged(0x30, &inside)
}

fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let significant: Vec<u8> = length.into_iter().skip_while(|byte| *byte == 0).collect();
    let mut out = vec![tag];
    match content.len() {
        short @ 0..0x80 => out.push(u8::try_from(short).unwrap_or_default()),
        _ => {
            out.push(0x80 | u8::try_from(significant.len()).unwrap_or_default());
            out.extend(significant);
        }
    }
    out.extend_from_slice(content);
    out
}

impl std::fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyPair({})", self.fingerprint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_as_tokens_name_them() {
        for (account, named) in [
            ("org-acct", "ORG-ACCT"),
            ("xy12345.eu-central-1", "XY12345"),
            ("acct-a1b2.global", "ACCT"),
            ("xy12345", "XY12345"),
        ] {
            assert_eq!(in_tokens(account), named);
        }
    }
}
