//! What clients keep in settings and Slipway does not know: it is stored, shown and given back as it is, and so must not hold secrets.

use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// How the names of secrets end, as letters in lower case.
const SECRETS: [&str; 7] = ["apikey", "adminkey", "governancekey", "password", "secret", "token", "privatekey"];

/// Refuses what looks like a secret.
///
/// # Errors
/// `FIELD_INVALID`, with the path of the field.
pub fn no_secrets(kept: &Map<String, Value>) -> Result<()> {
    for (key, value) in kept {
        let letters: String = key.chars().filter(char::is_ascii_alphabetic).map(|c| c.to_ascii_lowercase()).collect();
        if SECRETS.iter().any(|secret| letters.ends_with(secret)) {
            let message = "This looks like a secret, and Slipway knows no such field: it would be kept in the clear. Check the name, or leave it out.";
            return Err(Error::field("FIELD_INVALID", key.escape_debug().to_string(), message));
        }
        no_secrets_in(value).map_err(|error| below(error, &key.escape_debug().to_string()))?;
    }
    Ok(())
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

/// The same error of a field inside `outer`.
pub fn below(error: Error, outer: &str) -> Error {
    let Error::Refused(mut refusals) = error else { return error };
    for field in refusals.iter_mut().filter_map(|refusal| refusal.field.as_mut()) {
        *field = if field.starts_with('[') { format!("{outer}{field}") } else { format!("{outer}.{field}") };
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
        ] {
            let Error::Refused(refusals) = no_secrets(kept.as_object().unwrap()).unwrap_err() else { panic!() };
            assert_eq!((refusals[0].code, refusals[0].field.as_deref()), ("FIELD_INVALID", Some(field)));
        }
        let fine = json!({"tokens": 1, "secretary": "x", "keyboard": {"apiKeys": []}, "projectKey": "P"});
        no_secrets(fine.as_object().unwrap()).unwrap();
    }
}
