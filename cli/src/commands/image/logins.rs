//! Logins for registries: from the environment for the one that is pushed to, else from Docker's file. Helpers that keep logins elsewhere are programs of others
//! and are not run.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use engine::secrets::Secret;
use serde::Deserialize;
use targets::image::registry::Login;

use crate::failure::Failure;

const USER: &str = "SLIPWAY_REGISTRY_USER";
const PASSWORD: &str = "SLIPWAY_REGISTRY_PASSWORD";
/// The longest file of logins, in bytes.
const LARGEST: u64 = 1 << 20;
/// What Docker calls its own registry.
const DOCKER_HUB: [&str; 2] = ["docker.io", "https://index.docker.io/v1/"];

/// No `Debug`: it holds passwords.
pub(super) struct Logins {
    given: Option<Login>,
    file: BTreeMap<String, Login>,
}

#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, Auth>,
}

#[derive(Deserialize)]
struct Auth {
    #[serde(default)]
    auth: Secret,
    username: Option<String>,
    #[serde(default)]
    password: Secret,
}

impl Logins {
    /// `variable` reads the environment.
    pub(super) fn read(file: Option<&Path>, variable: impl Fn(&str) -> Option<String>) -> Result<Self, Failure> {
        let said = |name: &str| variable(name).filter(|text| !text.is_empty());
        let given = match (said(USER), said(PASSWORD)) {
            (Some(user), Some(password)) => Some(Login { user, password: Secret::from(password) }),
            (None, None) => None,
            _ => {
                let message = format!("{USER} and {PASSWORD} belong together: set both or none.");
                return Err(Failure::refused("FIELD_INVALID", message));
            }
        };
        let named = file.is_some();
        let usual = || {
            let folder = said("DOCKER_CONFIG").map(PathBuf::from);
            let folder = folder.or_else(|| said("HOME").map(|home| PathBuf::from(home).join(".docker")));
            folder.map(|folder| folder.join("config.json"))
        };
        let Some(path) = file.map(Path::to_owned).or_else(usual) else {
            return Ok(Self { given, file: BTreeMap::new() });
        };
        if !named && !path.exists() {
            return Ok(Self { given, file: BTreeMap::new() });
        }
        let unreadable = |problem: &str| {
            Failure::refused("CONFIG_UNREADABLE", format!("{}: {problem}", path.display()))
                .about(Some("--docker-config"))
        };
        let text = crate::login::read(&path, LARGEST).map_err(|problem| unreadable(&problem))?;
        // Not the error's own words: they may hold a part of a login.
        let read: DockerConfig = serde_json::from_slice(&text).map_err(|_| unreadable("it is no file of logins."))?;
        let file = read.auths.into_iter().filter_map(|(host, auth)| Some((host, login(auth)?))).collect();
        Ok(Self { given, file })
    }

    /// The login for a registry; the given one only for the registry that is pushed to.
    pub(super) fn of(&self, registry: &str, pushed: bool) -> Option<Login> {
        let given = self.given.as_ref().filter(|_| pushed);
        let hub = DOCKER_HUB[1];
        let other = if registry == DOCKER_HUB[0] { self.file.get(hub) } else { None };
        let https = || self.file.get(&format!("https://{registry}"));
        given.or_else(|| self.file.get(registry)).or(other).or_else(https).cloned()
    }
}

/// `auth` is user and password with a colon between, in base 64.
fn login(auth: Auth) -> Option<Login> {
    if let Some(user) = auth.username.filter(|_| !auth.password.is_empty()) {
        return Some(Login { user, password: auth.password });
    }
    let pair = BASE64_STANDARD.decode(auth.auth.expose().trim()).ok().and_then(|pair| String::from_utf8(pair).ok())?;
    let (user, password) = pair.split_once(':')?;
    Some(Login { user: user.to_owned(), password: Secret::from(password.trim_end_matches('\0').to_owned()) })
}
