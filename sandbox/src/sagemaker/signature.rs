//! Who calls: the signature (version 4), computed anew from what arrived.

use super::door::{Heard, No};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Access keys: secret, and the session's token.
pub(super) type Keys = BTreeMap<String, (String, Option<String>)>;

/// Who calls, and when by their own clock, in seconds since the epoch.
pub(super) struct Caller {
    pub(super) key: String,
    pub(super) at: i64,
}

pub(super) fn check(heard: &Heard, method: &str, region: &str, keys: &Keys) -> Result<Caller, No> {
    let header = |name: &str| heard.headers.get(name).map(String::as_str).unwrap_or_default();
    let incomplete = |what: &str| No::new(400, "IncompleteSignatureException", what.to_owned());
    let claim = header("authorization").strip_prefix("AWS4-HMAC-SHA256 ").ok_or_else(|| incomplete("no signature"))?;
    let part = |name: &str| claim.split(", ").find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
    let scope = part("Credential").ok_or_else(|| incomplete("no Credential"))?;
    let (key, scope) = scope.split_once('/').ok_or_else(|| incomplete("no scope"))?;
    let signed = part("SignedHeaders").ok_or_else(|| incomplete("no SignedHeaders"))?;
    let date = header("x-amz-date");
    let name = match heard.service {
        "runtime" => "sagemaker",
        other => other,
    };
    if date.len() != 16 || scope != format!("{}/{region}/{name}/aws4_request", &date[..8]) {
        return Err(No::new(
            403,
            "InvalidSignatureException",
            format!("Credential should be scoped to {region}/{name}"),
        ));
    }
    for needed in ["host", "x-amz-date", "x-amz-target", "x-amz-security-token"] {
        if heard.headers.contains_key(needed) && !signed.split(';').any(|one| one == needed) {
            return Err(No::new(403, "InvalidSignatureException", format!("{needed} must be signed")));
        }
    }
    let invalid =
        || No::new(403, "UnrecognizedClientException", "The security token included in the request is invalid.");
    let (secret, token) = keys.get(key).ok_or_else(invalid)?;
    if token.as_deref() != heard.headers.get("x-amz-security-token").map(String::as_str) {
        return Err(invalid());
    }
    if secret.is_empty() {
        return Err(No::new(400, "ExpiredTokenException", "The security token included in the request is expired"));
    }
    let mut canonical = format!("{method}\n{}\n\n", heard.path);
    for one in signed.split(';') {
        canonical.push_str(&format!("{one}:{}\n", header(one).trim()));
    }
    canonical.push_str(&format!("\n{signed}\n{}", hex(&Sha256::digest(&heard.body))));
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hex(&Sha256::digest(canonical)));
    let mut sealed = hmac(format!("AWS4{secret}").as_bytes(), &date[..8]);
    for part in [region, name, "aws4_request", &text] {
        sealed = hmac(&sealed, part);
    }
    if part("Signature") != Some(hex(&sealed).as_str()) {
        let message = "The request signature we calculated does not match the signature you provided.";
        return Err(No::new(403, "InvalidSignatureException", message));
    }
    let at = seconds(date).ok_or_else(|| incomplete("no date"))?;
    Ok(Caller { key: key.to_owned(), at })
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    // Every length of key is fine.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return Vec::new() };
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `20150830T123600Z` in seconds since the epoch.
fn seconds(date: &str) -> Option<i64> {
    let number = |from: usize, to: usize| date.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (number(0, 4)?, number(4, 6)?, number(6, 8)?);
    // Days since the epoch, counted in years that begin in March.
    let shifted = if month <= 2 { year - 1 } else { year };
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let days = shifted * 365 + shifted / 4 - shifted / 100 + shifted / 400 + of_year - 719_468;
    Some(days * 86_400 + number(9, 11)? * 3_600 + number(11, 13)? * 60 + number(13, 15)?)
}

/// The date of a day since the epoch.
pub(super) fn civil(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let of_era = z.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year + era * 400 + i64::from(month <= 2), month, of_year - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_and_written() {
        assert_eq!(seconds("20150830T123600Z"), Some(1_440_938_160));
        assert_eq!(seconds("19700101T000000Z"), Some(0));
        assert_eq!(civil(1_440_938_160 / 86_400), (2015, 8, 30));
        assert_eq!((civil(0), civil(59), civil(789)), ((1970, 1, 1), (1970, 3, 1), (1972, 2, 29)));
    }
}
