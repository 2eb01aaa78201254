//! How a registry lets us in: not at all guarded, with a login, or with a token that a service of its choice gives out for a login. Where that service is, the
//! registry says; it is believed only for https, or for its own host where it speaks plain HTTP itself.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use engine::secrets::Secret;
use serde::Deserialize;
use tokio::time::Instant;
use url::Url;

use super::{Registry, WHO};
use crate::{
    http::{
        Auth, CallError, Method, Node, NodeUrl, Request,
        header::{HeaderMap, WWW_AUTHENTICATE},
    },
    image::failure::{of_registry, refused, strange},
};

/// Without another word a token is good for so long.
const USUAL: Duration = Duration::from_secs(60);
/// A token is not used in its last seconds.
const MARGIN: Duration = Duration::from_secs(15);
/// Longer promises are cut to this.
const LONGEST: Duration = Duration::from_secs(3_600);
/// Longer challenges are not read, in bytes.
const MAX_CHALLENGE: usize = 8 * 1024;

/// What a token is to be good for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Scope(Vec<String>);

impl Scope {
    pub(super) fn pull(repository: &str) -> Self {
        Self(vec![format!("repository:{repository}:pull")])
    }

    pub(super) fn push(repository: &str) -> Self {
        Self(vec![format!("repository:{repository}:pull,push")])
    }

    pub(super) fn delete(repository: &str) -> Self {
        Self(vec![format!("repository:{repository}:pull,push,delete")])
    }

    pub(super) fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }
}

/// How the registry lets us in, as far as we know.
#[derive(Default)]
pub(super) struct Keys {
    door: Option<Door>,
    tokens: HashMap<Scope, (Secret, Instant)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Door {
    Open,
    Login,
    Token { realm: Url, service: Option<String> },
}

#[derive(Deserialize)]
struct Given {
    #[serde(default)]
    token: Secret,
    #[serde(default)]
    access_token: Secret,
    expires_in: Option<u64>,
}

impl Registry {
    /// A client with a key for `scope`.
    pub(super) async fn let_in(&self, scope: &Scope) -> Result<Node, CallError> {
        self.signed_in(scope).await.map_err(|error| self.named(error))
    }

    async fn signed_in(&self, scope: &Scope) -> Result<Node, CallError> {
        let mut keys = self.keys.lock().await;
        let door = match &keys.door {
            Some(door) => door.clone(),
            None => keys.door.insert(self.knock().await?).clone(),
        };
        let auth = match (door, &self.access.login) {
            (Door::Login, Some(login)) => Auth::Login(login.user.clone(), login.password.clone()),
            (Door::Open | Door::Login, _) => Auth::None,
            (Door::Token { realm, service }, _) => {
                let now = Instant::now();
                let kept = keys.tokens.get(scope).filter(|(_, until)| *until > now);
                let token = match kept {
                    Some((token, _)) => token.clone(),
                    None => {
                        let (token, good) = self.token(&realm, service.as_deref(), scope).await?;
                        keys.tokens.insert(scope.clone(), (token.clone(), now + good.saturating_sub(MARGIN)));
                        token
                    }
                };
                Auth::Bearer(token)
            }
        };
        Ok(self.node(auth))
    }

    /// Asks without a key how one is let in.
    async fn knock(&self) -> Result<Door, CallError> {
        let doing = "asking the registry how it lets us in";
        let answer = self.node(Auth::None).exchange(Request::new(Method::GET, &["v2", ""], doing)).await;
        let answer = answer.map_err(of_registry)?;
        match answer.status {
            401 => self.door(&answer.headers)?.ok_or_else(|| refused(&answer, doing)),
            _ if answer.succeeded() => Ok(Door::Open),
            404 => Err(strange(doing, "there is no registry at this address.")),
            _ => Err(refused(&answer, doing)),
        }
    }

    /// A key was not taken: forgets those we have. Whether another attempt is worth it.
    pub(super) async fn challenged(&self, headers: &HeaderMap) -> bool {
        let Ok(Some(door)) = self.door(headers) else { return false };
        let mut keys = self.keys.lock().await;
        let news = keys.door.as_ref() != Some(&door) || !keys.tokens.is_empty();
        keys.door = Some(door);
        keys.tokens.clear();
        news
    }

    fn door(&self, headers: &HeaderMap) -> Result<Option<Door>, CallError> {
        let texts = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let challenges: Vec<Challenge> =
            texts.filter(|text| text.len() <= MAX_CHALLENGE).flat_map(challenges).collect();
        let of = |scheme: &str| challenges.iter().find(|each| each.scheme.eq_ignore_ascii_case(scheme));
        if let Some(bearer) = of("bearer") {
            let realm = bearer.parameters.get("realm").map(String::as_str).unwrap_or_default();
            let service = bearer.parameters.get("service").cloned();
            return Ok(Some(Door::Token { realm: self.realm(realm)?, service }));
        }
        Ok(of("basic").map(|_| Door::Login))
    }

    /// The login goes there: only over TLS, or to the registry's own host where that speaks plain HTTP.
    fn realm(&self, text: &str) -> Result<Url, CallError> {
        let doing = "asking the registry how it lets us in";
        let realm = Url::parse(text).map_err(|_| strange(doing, "the address of its token service is no URL."))?;
        let own = Url::parse(self.url.as_str()).ok();
        let same_host = own.as_ref().is_some_and(|own| own.scheme() == "http" && own.host() == realm.host());
        let fine = realm.scheme() == "https" || (realm.scheme() == "http" && same_host);
        if fine && realm.username().is_empty() && realm.password().is_none() {
            Ok(realm)
        } else {
            Err(strange(doing, "its token service is neither behind https nor on the registry's own host."))
        }
    }

    async fn token(&self, realm: &Url, service: Option<&str>, scope: &Scope) -> Result<(Secret, Duration), CallError> {
        let doing = "asking the registry's token service for a token";
        let auth = self.access.login.as_ref();
        let auth = auth.map_or(Auth::None, |login| Auth::Login(login.user.clone(), login.password.clone()));
        let node = self.at(realm, auth)?;
        let service = service.map(|service| ("service", service));
        let query: Vec<(&str, &str)> =
            service.into_iter().chain(scope.0.iter().map(|s| ("scope", s.as_str()))).collect();
        let request = Request { query: &query, at: Some(realm.clone()), ..Request::new(Method::GET, &[], doing) };
        let answer = node.exchange(request).await.map_err(of_registry)?;
        if !answer.succeeded() {
            return Err(refused(&answer, doing));
        }
        let given: Given = answer.json(doing).map_err(of_registry)?;
        let token = if given.token.is_empty() { given.access_token } else { given.token };
        if token.is_empty() {
            return Err(strange(doing, "there is no token in it."));
        }
        Ok((token, given.expires_in.map_or(USUAL, Duration::from_secs).min(LONGEST)))
    }

    /// A client for another place that the registry named. Its address is checked as every other.
    pub(super) fn at(&self, url: &Url, auth: Auth) -> Result<Node, CallError> {
        let origin = url.origin().ascii_serialization();
        let place = NodeUrl::parse(&origin, &self.http.settings().blocked);
        let place = place.map_err(|error| of_registry(CallError::reported(error.into())))?;
        Ok(self.http.platform(WHO, place, auth))
    }
}

struct Challenge {
    scheme: String,
    parameters: BTreeMap<String, String>,
}

/// The challenges of one header: `Bearer realm="…",service="…", Basic realm="…"`.
fn challenges(text: &str) -> Vec<Challenge> {
    let mut found: Vec<Challenge> = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let word = rest.find(|c: char| c.is_whitespace() || matches!(c, '=' | ',')).unwrap_or(rest.len());
        let (name, after) = rest.split_at(word);
        if let Some(value) = after.trim_start().strip_prefix('=') {
            let (value, after) = value_of(value.trim_start());
            if let Some(challenge) = found.last_mut() {
                challenge.parameters.entry(name.to_ascii_lowercase()).or_insert(value);
            }
            rest = after;
        } else {
            if !name.is_empty() {
                found.push(Challenge { scheme: name.to_owned(), parameters: BTreeMap::new() });
            }
            rest = after;
        }
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
    }
    found
}

/// A value, quoted or not, and what follows it.
fn value_of(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_told_apart() {
        let told = |text: &str| {
            let told = challenges(text).into_iter();
            told.map(|each| (each.scheme, each.parameters.into_iter().collect::<Vec<_>>())).collect::<Vec<_>>()
        };
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let bearer = ("Bearer".to_owned(), vec![pair("realm", "https://a/t"), pair("scope", "r:x:pull,push")]);
        assert_eq!(told(r#"Bearer realm="https://a/t",scope="r:x:pull,push""#), std::slice::from_ref(&bearer));
        let basic = ("Basic".to_owned(), vec![pair("realm", "a \"b\"")]);
        assert_eq!(
            told(r#"Bearer realm="https://a/t", scope="r:x:pull,push", Basic Realm = "a \"b\"""#),
            [bearer, basic]
        );
        assert_eq!(told("Basic"), [("Basic".to_owned(), vec![])]);
        for odd in ["", ",", "=", "=x", "\"", "Bearer realm=\"", "Bearer realm=\"a\\", "é=é", "a b c=d e"] {
            // It ends, and does not panic.
            told(odd);
        }
    }
}
