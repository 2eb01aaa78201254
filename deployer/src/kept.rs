//! What clients keep in settings and Slipway does not know: it is stored, shown and given back as it is, and so must not hold secrets.

use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// How the names of secrets end, as letters in lower case.
const ENDINGS: [&str; 7] = ["password", "passwd", "passphrase", "secret", "token", "credential", "credentials"];
/// What stands before `key` where it is a secret: others, such as a project's, are names.
const KEYS: [&str; 16] = [
    "access",
    "account",
    "admin",
    "api",
    "auth",
    "encryption",
    "governance",
    "hmac",
    "license",
    "master",
    "private",
    "secret",
    "shared",
    "signing",
    "ssh",
    "storage",
];
/// Short words that say it where they stand for themselves.
const WORDS: [&str; 3] = ["pat", "psk", "pwd"];

/// Refuses what looks like a secret.
///
/// # Errors
/// `FIELD_INVALID`, with the path of the field.
pub fn no_secrets(kept: &Map<String, Value>) -> Result<()> {
    for (key, value) in kept {
        if is_secret(key) || (holds_text(value) && key.strip_suffix(['s', 'S']).is_some_and(is_secret)) {
            let message = "This looks like a secret, and Slipway knows no such field: it would be kept in the clear. Check the name, or leave it out.";
            return Err(Error::field("FIELD_INVALID", key.escape_debug().to_string(), message));
        }
        no_secrets_in(value).map_err(|error| below(error, &key.escape_debug().to_string()))?;
    }
    Ok(())
}

/// Whether what has this name is a secret.
fn is_secret(name: &str) -> bool {
    let letters: String = name.chars().filter(char::is_ascii_alphabetic).map(|c| c.to_ascii_lowercase()).collect();
    let is_key = letters.strip_suffix("key").is_some_and(|rest| KEYS.iter().any(|word| rest.ends_with(word)));
    is_key || ENDINGS.iter().any(|ending| letters.ends_with(ending)) || WORDS.contains(&last_word(name).as_str())
}

/// The last word of a name, in lower case: `githubPAT` and `github_pat_2` end with `pat`.
fn last_word(name: &str) -> String {
    let name = name.trim_end_matches(|c: char| !c.is_ascii_alphabetic());
    let mut word = String::new();
    for c in name.chars().rev() {
        // Letters of one case belong together; a capital may begin a word of small ones.
        let before = word.chars().next_back();
        let ends = !c.is_ascii_alphabetic() || before.is_some_and(|b| b.is_ascii_uppercase() && c.is_ascii_lowercase());
        if ends {
            break;
        }
        word.push(c);
        if c.is_ascii_uppercase() && before.is_some_and(|b| b.is_ascii_lowercase()) {
            break;
        }
    }
    word.chars().rev().map(|c| c.to_ascii_lowercase()).collect()
}

/// Of many (tokens, keys), a number says how many, and a text may be one.
fn holds_text(value: &Value) -> bool {
    match value {
        Value::String(_) => true,
        Value::Array(list) => list.iter().any(Value::is_string),
        _ => false,
    }
}

fn no_secrets_in(value: &Value) -> Result<()> {
    match value {
        Value::Object(object) => no_secrets(object),
        Value::Array(list) => {
            let mut numbered = list.iter().enumerate();
            numbered.try_for_each(|(at, value)| no_secrets_in(value).map_err(|error| below(error, &format!("[{at}]"))))
        }
        _ => Ok(()),
    }
}

/// A path inside `outer`; the empty one is `outer` itself.
pub(crate) fn inside(outer: &str, path: &str) -> String {
    if path.is_empty() || path.starts_with('[') { format!("{outer}{path}") } else { format!("{outer}.{path}") }
}

/// The same error of a field inside `outer`.
pub fn below(error: Error, outer: &str) -> Error {
    let Error::Refused(mut refusals) = error else { return error };
    for field in refusals.iter_mut().filter_map(|refusal| refusal.field.as_mut()) {
        *field = inside(outer, field);
    }
    Error::Refused(refusals)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_looks_like_a_secret_is_not_kept() {
        for (kept, field) in [
            (json!({"adminAPIKey": "x"}), "adminAPIKey"),
            (json!({"admin_key": "x"}), "admin_key"),
            (json!({"a": [{}, {"node": {"Admin-Api-Key": "x"}}]}), "a[1].node.Admin-Api-Key"),
            (json!({"a": {"dbPassword2": ""}}), "a.dbPassword2"),
            (json!({"secretAccessKey": "x"}), "secretAccessKey"),
            (json!({"awsSecretAccessKey": "x"}), "awsSecretAccessKey"),
            (json!({"serviceAccountKey": {}}), "serviceAccountKey"),
            (json!({"passphrase": "x"}), "passphrase"),
            (json!({"access_key": "x"}), "access_key"),
            (json!({"secretkey": "x"}), "secretkey"),
            (json!({"credentials": {"user": "x"}}), "credentials"),
            (json!({"pat": "x"}), "pat"),
            (json!({"githubPAT": "x"}), "githubPAT"),
            (json!({"GITHUB_PAT_2": "x"}), "GITHUB_PAT_2"),
            (json!({"myPat": "x"}), "myPat"),
            (json!({"tokens": ["x"]}), "tokens"),
            (json!({"apiKeys": "x"}), "apiKeys"),
        ] {
            let Error::Refused(refusals) = no_secrets(kept.as_object().unwrap()).unwrap_err() else { panic!() };
            assert_eq!((refusals[0].code, refusals[0].field.as_deref()), ("FIELD_INVALID", Some(field)));
        }
        let fine = json!({"tokens": 1, "secretary": "x", "keyboard": {"apiKeys": []}, "projectKey": "P",
            "compat": "x", "accessKeyId": "AKIA", "publicKey": "x", "primaryKey": "id", "path": "/"});
        no_secrets(fine.as_object().unwrap()).unwrap();
    }
}
