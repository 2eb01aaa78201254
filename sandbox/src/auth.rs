//! Who calls: the key, the user acted for, and what they may do with a project.

use crate::reply::Refusal;
use crate::request::{Object, text};
use crate::state::{Project, State};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use poem::Request;
use poem::http::header;
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The header by which an administrator's key acts for a user.
const PROXY_USER: &str = "X-DKU-ProxyUser";

/// The kind of key that a call carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum KeyKind {
    /// A global key with the rights of an administrator.
    Admin,
    /// A user's personal key.
    User,
    /// A key or token of an API service.
    Service,
    /// No key at all.
    None,
    /// A key that the node does not know.
    Unknown,
}

/// The keys of a node, by secret. Never printed.
#[derive(Default, Clone)]
pub(crate) struct Keys(pub(crate) BTreeMap<String, Holder>);

/// Whose key it is.
#[derive(Clone)]
pub(crate) enum Holder {
    /// A global administrator's key, by its label.
    Admin(String),
    /// A user's personal key, by login.
    User(String),
}

/// What a request says of its caller, before any of it is believed.
pub(crate) struct Claim {
    pub(crate) secret: Option<String>,
    /// It came as `Bearer`, not as the user name of `Basic`.
    pub(crate) bearer: bool,
    pub(crate) proxy_user: Option<String>,
}

impl Claim {
    pub(crate) fn of(request: &Request) -> Self {
        let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
        let mut bearer = false;
        let secret = header(header::AUTHORIZATION.as_str()).and_then(|value| {
            let (scheme, rest) = value.split_once(' ')?;
            bearer = scheme.eq_ignore_ascii_case("bearer");
            if bearer {
                return Some(rest.trim().to_owned());
            }
            if !scheme.eq_ignore_ascii_case("basic") {
                return None;
            }
            let pair = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
            // The key is the user name; the password is empty and never looked at.
            pair.split_once(':').map(|(user, _)| user.to_owned())
        });
        Self { secret, bearer, proxy_user: header(PROXY_USER).map(str::to_owned) }
    }

    pub(crate) fn kind(&self, keys: &Keys, state: &State) -> KeyKind {
        match self.secret.as_ref().map(|secret| keys.0.get(secret)) {
            None => KeyKind::None,
            Some(_) if self.secret.as_ref().is_some_and(|secret| state.revoked_keys.contains(secret)) => {
                KeyKind::Unknown
            }
            Some(None) if self.secret.as_ref().is_some_and(|secret| state.personal_keys.contains_key(secret)) => {
                KeyKind::User
            }
            Some(None) => KeyKind::Unknown,
            Some(Some(Holder::Admin(_))) => KeyKind::Admin,
            Some(Some(Holder::User(_))) => KeyKind::User,
        }
    }

    /// Believes the claim, or says why not.
    pub(crate) fn check(&self, keys: &Keys, state: &State) -> Result<Who, Refusal> {
        let secret = self.secret.as_ref().ok_or_else(|| Refusal::unauthenticated("an API key is needed"))?;
        let made = || state.personal_keys.get(secret).cloned().map(Holder::User);
        let holder = keys.0.get(secret).cloned().or_else(made).filter(|_| !state.revoked_keys.contains(secret));
        let holder = holder.ok_or_else(|| Refusal::unauthenticated("invalid API key"))?;
        let own = match &holder {
            Holder::Admin(label) => {
                let identity = format!("api:{label}");
                Who { identity, login: None, groups: BTreeSet::new(), admin: true }
            }
            Holder::User(login) => Who::user(state, login, Refusal::unauthenticated)?,
        };
        match &self.proxy_user {
            None => Ok(own),
            Some(_) if !own.admin => Err(Refusal::forbidden(format!("{PROXY_USER} needs an administrator's key"))),
            Some(login) => Who::user(state, login, Refusal::bad),
        }
    }
}

/// As whom a call acts.
#[derive(Debug, Clone)]
pub(crate) struct Who {
    /// A login, or `api:{label}` of a global key that acts for nobody.
    pub(crate) identity: String,
    /// The login, if it acts as a user.
    pub(crate) login: Option<String>,
    pub(crate) groups: BTreeSet<String>,
    pub(crate) admin: bool,
}

impl Who {
    fn user(state: &State, login: &str, refuse: impl Fn(String) -> Refusal) -> Result<Self, Refusal> {
        let user = state.users.get(login).ok_or_else(|| refuse(format!("there is no user {login} on this node")))?;
        if !user.enabled {
            return Err(Refusal::forbidden(format!("user {login} is disabled")));
        }
        let (identity, admin) = (login.to_owned(), user.admin());
        Ok(Self { login: Some(identity.clone()), identity, groups: user.groups.clone(), admin })
    }

    pub(crate) fn need_admin(&self) -> Result<(), Refusal> {
        if self.admin { Ok(()) } else { Err(Refusal::forbidden("this call needs an administrator")) }
    }
}

/// What a call wants to do with a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    Read,
    Run,
    Write,
    Admin,
}

impl Need {
    /// Whether a permission of the project gives it; more gives less.
    fn given_by(self, permission: &Object) -> bool {
        let has = |name: &str| permission.get(name).and_then(Value::as_bool).unwrap_or(false);
        let (admin, write) = (has("admin"), has("writeProjectContent"));
        match self {
            Self::Admin => admin,
            Self::Write => admin || write,
            Self::Run => admin || write || has("runScenarios"),
            Self::Read => admin || write || has("runScenarios") || has("readProjectContent"),
        }
    }
}

/// Whether a caller may do that with a project: administrators and its owner everything, others by its permissions.
pub(crate) fn may(who: &Who, project: &Project, need: Need) -> bool {
    if who.admin || project.owner() == who.identity {
        return true;
    }
    let permissions = project.access.get("permissions").and_then(Value::as_array);
    permissions.into_iter().flatten().filter_map(Value::as_object).any(|permission| {
        let holds = text(permission, "user").is_some_and(|user| Some(user) == who.login.as_deref())
            || text(permission, "group").is_some_and(|group| who.groups.contains(group));
        holds && need.given_by(permission)
    })
}

impl State {
    /// A project that the caller may use so.
    pub(crate) fn project(&self, who: &Who, key: &str, need: Need) -> Result<&Project, Refusal> {
        let project = self.projects.get(key).ok_or_else(|| no_project(key))?;
        if may(who, project, need) {
            return Ok(project);
        }
        Err(Refusal::forbidden(format!("{} has no {need:?} right on project {key}", who.identity)))
    }

    /// The same, to change it.
    pub(crate) fn project_mut(&mut self, who: &Who, key: &str, need: Need) -> Result<&mut Project, Refusal> {
        self.project(who, key, need)?;
        self.projects.get_mut(key).ok_or_else(|| no_project(key))
    }
}

fn no_project(key: &str) -> Refusal {
    Refusal::missing(format!("there is no project {key}"))
}
