//! Where a client's commands find the API and the key.
//!
//! Either both are given (`--url` or `SLIPWAY_URL`; `--key-file`, `SLIPWAY_API_KEY_FILE` or `SLIPWAY_API_KEY`), or both come from what
//! `slipway login` stored. They are never mixed: a stored key goes to the address that it was stored for alone, and a given one to a given address.

use std::{
    env,
    ffi::OsString,
    fs,
    io::{Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use url::{Host, Url};

use crate::{args::Connect, failure::Failure};

/// The longest key file that is read, in bytes.
const LONGEST: u64 = 64 << 10;

/// An address and a key for it.
// No `Debug`: it would show the key.
#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Login {
    pub(crate) url: String,
    pub(crate) key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ca_file: Option<PathBuf>,
}

impl Login {
    /// What this command works with.
    pub(crate) fn find(connect: &Connect) -> Result<Self, Failure> {
        let given = given_key(file(connect.key_file.as_ref()))?;
        let url = connect.url.as_deref().filter(|url| !url.trim().is_empty()).map(address).transpose()?;
        let mut login = match (given, url) {
            (Some(key), Some(url)) => Self { url, key, ca_file: None },
            (Some(_), None) => {
                let message = "A key is given, but no address for it. Set SLIPWAY_URL, or use --url.";
                return Err(Failure::refused("NOT_LOGGED_IN", message));
            }
            (None, url) => {
                let stored = stored()?;
                if url.is_some_and(|url| url != stored.url) {
                    let message = "The stored key is for another address. Give a key for this one (SLIPWAY_API_KEY or --key-file), or log in there.";
                    return Err(Failure::refused("NOT_LOGGED_IN", message));
                }
                stored
            }
        };
        if let Some(file) = file(connect.ca_file.as_ref()) {
            login.ca_file = Some(file.to_owned());
        }
        Ok(login)
    }

    /// Writes it to its file, mode 0600, whole or not at all.
    pub(crate) fn store(&self) -> Result<PathBuf, Failure> {
        let file = place()?;
        let broken = |error: std::io::Error| Failure::io(format!("{}: {error}", file.display()));
        let folder = file.parent().unwrap_or(Path::new("."));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(broken)?;
        let text = toml::to_string(self).map_err(|error| Failure::new("INTERNAL", error.to_string()))?;
        // Made with mode 0600 from the first moment.
        let mut fresh = tempfile::NamedTempFile::new_in(folder).map_err(broken)?;
        fresh.write_all(text.as_bytes()).map_err(broken)?;
        fresh.as_file().sync_all().map_err(broken)?;
        fresh.persist(&file).map_err(|error| broken(error.error))?;
        Ok(file)
    }

    /// Removes what is stored; the address that it was for, if there was one.
    pub(crate) fn forget() -> Result<Option<String>, Failure> {
        let file = place()?;
        let url = stored().ok().map(|login| login.url);
        match fs::remove_file(&file) {
            Ok(()) => Ok(Some(url.unwrap_or_else(|| file.display().to_string()))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Failure::io(format!("{}: {error}", file.display()))),
        }
    }
}

/// A file that was named.
pub(crate) fn file(named: Option<&OsString>) -> Option<&Path> {
    named.filter(|name| !name.is_empty()).map(Path::new)
}

/// An address of an API: `http` or `https`, and nothing secret in it.
pub(crate) fn address(text: &str) -> Result<String, Failure> {
    let wrong =
        |problem: &str| Failure::refused("URL_INVALID", format!("The API's address {problem}")).about(Some("url"));
    let url = Url::parse(text.trim()).map_err(|_| wrong("is no URL, such as https://slipway.example.org."))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(wrong("begins with https:// or http://, and names a host."));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("holds a user name or a password. Leave them out: the key says who you are."));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("ends with the path: without ? and #."));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// Whether a key would cross a network in the clear.
pub(crate) fn is_in_the_clear(url: &str) -> bool {
    let Ok(url) = Url::parse(url) else { return false };
    let here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    url.scheme() == "http" && !here
}

/// A key as a header can carry it.
pub(crate) fn key(text: &str, from: &str) -> Result<String, Failure> {
    let key = text.trim();
    if key.is_empty() || key.len() > 1_000 || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        let message = format!(
            "{from} holds no API key: one line of letters, digits and signs, as it was shown when it was made."
        );
        return Err(Failure::refused("NOT_LOGGED_IN", message));
    }
    Ok(key.to_owned())
}

/// The key of the environment, or of a file that it or the command line names.
fn given_key(file: Option<&Path>) -> Result<Option<String>, Failure> {
    if let Some(file) = file {
        return key(&contents(file)?, "The key file").map(Some);
    }
    match env::var("SLIPWAY_API_KEY") {
        Ok(text) if !text.trim().is_empty() => key(&text, "SLIPWAY_API_KEY").map(Some),
        // A secret that a CI system did not hand out is an empty variable.
        _ => Ok(None),
    }
}

/// Reads a whole file, or what a shell gives for one (`<(command)`), of at most so many bytes: a device may have no end.
pub(crate) fn read(file: &Path, longest: u64) -> Result<Vec<u8>, String> {
    let mut content = Vec::new();
    let open = fs::File::open(file).map_err(|error| error.to_string())?;
    open.take(longest + 1).read_to_end(&mut content).map_err(|error| error.to_string())?;
    if u64::try_from(content.len()).is_ok_and(|length| length <= longest) {
        Ok(content)
    } else {
        Err(format!("it is longer than {longest} bytes."))
    }
}

/// A secret that must be given: in a file, else in a variable. `what` says which one it is, and how it is given.
pub(crate) fn given_secret(file: Option<&Path>, variable: &str, what: &str) -> Result<String, Failure> {
    let text = match file {
        Some(file) => contents(file)?,
        None => Some(variable).filter(|name| !name.is_empty()).and_then(|name| env::var(name).ok()).unwrap_or_default(),
    };
    let secret = text.trim();
    if secret.is_empty() || secret.len() > 1_000 || !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
        let message = format!("This needs {what}: one line of letters, digits and signs, as it was shown.");
        return Err(Failure::refused("NOT_LOGGED_IN", message));
    }
    Ok(secret.to_owned())
}

/// A file that holds one secret.
fn contents(file: &Path) -> Result<String, Failure> {
    let unreadable =
        |problem: &str| Failure::refused("CONFIG_UNREADABLE", format!("the key file {}: {problem}", file.display()));
    let text = read(file, LONGEST).map_err(|problem| unreadable(&problem))?;
    String::from_utf8(text).map_err(|_| unreadable("it is no text."))
}

fn stored() -> Result<Login, Failure> {
    let file = place()?;
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let message =
                "You are not logged in. Run `slipway login`; in a CI job, set SLIPWAY_URL and SLIPWAY_API_KEY.";
            return Err(Failure::refused("NOT_LOGGED_IN", message));
        }
        Err(error) => return Err(Failure::refused("CONFIG_UNREADABLE", format!("{}: {error}", file.display()))),
    };
    let mode = fs::metadata(&file)?.permissions().mode();
    if mode & 0o077 != 0 {
        let message =
            format!("{0} can be read by others. Run `chmod 600 {0}`, and think of a new key.", file.display());
        return Err(Failure::refused("CONFIG_UNREADABLE", message));
    }
    // The text itself is not repeated: it holds a key.
    let broken =
        |_| Failure::refused("CONFIG_UNREADABLE", format!("{} is not what `slipway login` writes.", file.display()));
    let login: Login = toml::from_str(&text).map_err(broken)?;
    Ok(Login { url: address(&login.url)?, key: key(&login.key, "The stored login")?, ca_file: login.ca_file })
}

/// `slipway/login.toml` in the folder for configuration, as the XDG rules name it.
fn place() -> Result<PathBuf, Failure> {
    let absolute = |variable| env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")));
    folder.map(|folder| folder.join("slipway").join("login.toml")).ok_or_else(|| {
        Failure::refused(
            "NOT_LOGGED_IN",
            "There is neither XDG_CONFIG_HOME nor HOME: set SLIPWAY_URL and SLIPWAY_API_KEY.",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_whole_and_holds_no_secret() {
        assert_eq!(address(" https://slipway.example.org/ ").unwrap(), "https://slipway.example.org");
        assert_eq!(address("http://127.0.0.1:8080/slipway/").unwrap(), "http://127.0.0.1:8080/slipway");
        for wrong in [
            "",
            "slipway",
            "ftp://a",
            "https://ann:hunter2@a.example",
            "https://a.example/?x",
            "https://a.example/#x",
            "file:///etc",
        ] {
            let failure = address(wrong).unwrap_err();
            assert_eq!(failure.code(), "URL_INVALID", "{wrong}");
            assert!(!failure.to_string().contains("hunter2"), "{failure}");
        }
    }

    #[test]
    fn a_key_in_the_clear_is_noticed() {
        for (url, clear) in [
            ("http://slipway.example.org", true),
            ("http://10.0.0.1", true),
            ("https://slipway.example.org", false),
            ("http://localhost:8080", false),
            ("http://127.0.0.1:8080", false),
            ("http://[::1]:8080", false),
        ] {
            assert_eq!(is_in_the_clear(url), clear, "{url}");
        }
    }

    #[test]
    fn a_key_fits_into_a_header() {
        assert_eq!(key("slw_abc\n", "x").unwrap(), "slw_abc");
        for wrong in ["", "  ", "two words", "line\nbreak", "é"] {
            assert!(key(wrong, "x").is_err(), "{wrong:?}");
        }
    }
}
