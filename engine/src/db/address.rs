//! The address of a database, looked at before a library does: their words may repeat it, and it holds a password.

use url::Url;

/// What is wrong with an address, never its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}. It looks like postgres://USER:PASSWORD@HOST:5432/DATABASE or sqlite://FILE")]
pub struct AddressError(&'static str);

/// Whether this can be the address of a database.
///
/// # Errors
/// What is wrong with it.
pub fn check(address: &str) -> Result<(), AddressError> {
    match address.split_once(':').map(|(scheme, rest)| (scheme, rest.strip_prefix("//"))) {
        Some(("sqlite", Some(file))) if !file.is_empty() && Url::parse(address).is_ok() => Ok(()),
        Some(("sqlite", _)) => Err(AddressError("it names no file of SQLite")),
        Some(("postgres" | "postgresql", Some(_))) => check_postgres(address),
        Some(_) => Err(AddressError("it begins with neither postgres:// nor sqlite://")),
        None => Err(AddressError("it is no URL")),
    }
}

fn check_postgres(address: &str) -> Result<(), AddressError> {
    const ENCODE: &str = "the password or another part has a character that must be percent-encoded: # is %23, / is %2F, ? is %3F, @ is %40, : is %3A";
    // What comes after one of these is not read as a part of the password.
    if address.contains('#') {
        return Err(AddressError(ENCODE));
    }
    let url = Url::parse(address).map_err(|error| {
        AddressError(match error {
            url::ParseError::InvalidPort => {
                "its port is no number up to 65535, or the password has a character that must be percent-encoded (: is %3A, / is %2F, ? is %3F)"
            }
            _ => "its host or port cannot be read",
        })
    })?;
    if url.path().contains('@') || url.path().trim_start_matches('/').contains('/') {
        return Err(AddressError(ENCODE));
    }
    Ok(())
}

/// Whether a text repeats an address or its password.
pub(super) fn is_told(text: &str, address: &str) -> bool {
    let url = Url::parse(address).ok();
    let password = url.as_ref().and_then(Url::password).filter(|password| !password.is_empty());
    text.contains(address) || password.is_some_and(|password| text.contains(password))
}

/// Host and port, for people.
pub(super) fn place(address: &str) -> Option<String> {
    let url = Url::parse(address).ok()?;
    Some(format!("{}:{}", url.host_str().filter(|host| !host.is_empty())?, url.port().unwrap_or(5432)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said_without_the_text() {
        for good in [
            "sqlite://x.db",
            "sqlite:///var/lib/x.db",
            "postgres://slipway:S3cretPw@db/slipway",
            "postgresql://slipway:a%23b@[::1]:5432/slipway?sslmode=verify-full",
            "postgres:///slipway?host=/run/postgresql&user=slipway",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "postgre://slipway:S3cretPw@127.0.0.1/slipway",
            "postgres://slipway:S3#cretPw@127.0.0.1/slipway",
            "postgres://slipway:3#cretPw@127.0.0.1/slipway",
            "postgres://slipway:3/cretPw@127.0.0.1/slipway",
            "postgres://slipway:S3cretPw@127.0.0.1:port/slipway",
            "postgres://slipway:S3cretPw@[127/slipway",
            "postgres:slipway:S3cretPw",
            "sqlite:",
            "sqlite://",
            "S3cretPw",
        ] {
            let said = check(bad).unwrap_err().to_string();
            assert!(!said.contains("cretPw") && said.contains("looks like"), "{bad}: {said}");
        }
    }

    #[test]
    fn a_text_that_repeats_it_is_known() {
        let address = "postgres://slipway:S3cretPw@db:5433/slipway";
        assert!(is_told("cannot use 'postgres://slipway:S3cretPw@db:5433/slipway'", address));
        assert!(is_told("what is S3cretPw", address));
        assert!(!is_told("refused", address));
        assert_eq!(place(address).as_deref(), Some("db:5433"));
    }
}
