//! A registry's API, as the OCI distribution specification and Docker's registry speak it.
//!
//! * [`Access`]: how a registry is reached, and as whom. `token`: how it lets us in.
//! * `manifests`: images by name. `blobs`: contents by digest, and where they may be redirected to. `upload`: sending them.
//!
//! What is pulled is hashed; where a registry sends us is checked; what it has is not sent again.

mod blobs;
mod manifests;
mod token;
mod upload;

use std::{sync::Arc, time::Duration};

use engine::secrets::Secret;
use tokio::sync::Mutex;

use self::token::{Keys, Scope};
pub(super) use self::upload::Source;
use super::{
    failure::{of_registry, refused},
    reference::Reference,
};
use crate::http::{Auth, CallError, Exchange, Http, Method, Node, NodeUrl, Opened, Request, Tls};

/// What it is called in texts.
const WHO: &str = "The registry";

/// How a registry is reached, and as whom.
#[derive(Clone, Debug)]
pub struct Access {
    /// As whom; None for a registry that lets everybody in.
    pub login: Option<Login>,
    /// Without TLS. For a registry on this machine or in a closed network.
    pub plain_http: bool,
    /// Accept any certificate.
    pub trust_all_certificates: bool,
    /// Certificates to trust instead of the machine's, PEM.
    pub authorities: Option<Vec<u8>>,
    /// The longest time for one transfer of a layer or a part of one.
    pub transfer_timeout: Duration,
    /// A larger content is sent in parts of this size, in bytes, each of which can be resumed.
    pub part: u64,
}

/// A user and a password, or what a platform gives out in their place.
#[derive(Clone, Debug)]
pub struct Login {
    /// The user; some platforms have a fixed one, such as `AWS`.
    pub user: String,
    /// The password or token.
    pub password: Secret,
}

impl Default for Access {
    fn default() -> Self {
        Self {
            login: None,
            plain_http: false,
            trust_all_certificates: false,
            authorities: None,
            transfer_timeout: Duration::from_secs(3_600),
            // Not every registry takes parts, and those of the clouds take layers whole.
            part: 4 * 1024 * 1024 * 1024,
        }
    }
}

/// One repository of a registry.
#[derive(Clone)]
pub struct Registry {
    http: Http,
    url: NodeUrl,
    /// As a reference names it.
    host: String,
    repository: String,
    access: Arc<Access>,
    keys: Arc<Mutex<Keys>>,
}

impl Registry {
    /// The repository that a reference names. Nothing is asked yet.
    ///
    /// # Errors
    /// `REGISTRY_ADDRESS_FORBIDDEN`, `REGISTRY_TLS_FAILED`.
    pub fn of(http: &Http, reference: &Reference, access: Access) -> Result<Self, CallError> {
        let scheme = if access.plain_http { "http" } else { "https" };
        let url = NodeUrl::parse(&format!("{scheme}://{}", reference.api_host()), &http.settings().blocked);
        let url = url.map_err(|error| of_registry(CallError::reported(error.into())))?;
        let own = access.trust_all_certificates || access.authorities.is_some();
        let http = if own {
            let tls = Tls {
                trust_all: access.trust_all_certificates,
                authorities: access.authorities.clone(),
                ..Tls::default()
            };
            http.with_tls(&tls).map_err(|failure| of_registry(CallError::reported(failure)))?
        } else {
            http.clone()
        };
        let repository = reference.repository().to_owned();
        let host = reference.registry().to_owned();
        Ok(Self { http, url, host, repository, access: Arc::new(access), keys: Arc::default() })
    }

    /// Its name in the registry.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The same error, and which registry it is of: two may be asked for one image.
    fn named(&self, mut error: CallError) -> CallError {
        if error.failure.message.contains(&self.host) {
            return error;
        }
        let name = format!("he registry {}", self.host);
        error.failure.message = error.failure.message.replacen("he registry", &name, 1);
        error
    }

    /// A path below this repository.
    fn path<'a>(&'a self, rest: &[&'a str]) -> Vec<&'a str> {
        std::iter::once("v2").chain(self.repository.split('/')).chain(rest.iter().copied()).collect()
    }

    fn pull(&self) -> Scope {
        Scope::pull(&self.repository)
    }

    fn push(&self) -> Scope {
        Scope::push(&self.repository)
    }

    fn node(&self, auth: Auth) -> Node {
        self.http.platform(WHO, self.url.clone(), auth)
    }

    /// Makes a call that can be made twice, and reads the whole answer. A key that was not taken is asked for anew, once.
    async fn exchange<'a>(&self, scope: &Scope, request: impl Fn() -> Request<'a>) -> Result<Exchange, CallError> {
        let node = self.let_in(scope).await?;
        let answer = node.exchange(request()).await.map_err(|error| self.named(of_registry(error)))?;
        if answer.status != 401 || !self.challenged(&answer.headers).await {
            return Ok(answer);
        }
        self.let_in(scope).await?.exchange(request()).await.map_err(|error| self.named(of_registry(error)))
    }

    /// The same, where only a success is an answer.
    async fn answered<'a>(&self, scope: &Scope, request: impl Fn() -> Request<'a>) -> Result<Exchange, CallError> {
        let doing = request().doing.to_owned();
        let answer = self.exchange(scope, request).await?;
        if answer.succeeded() { Ok(answer) } else { Err(self.named(refused(&answer, &doing))) }
    }

    /// Makes a call whose answer is read piece by piece.
    async fn open<'a>(&self, scope: &Scope, request: impl Fn() -> Request<'a>) -> Result<Opened, CallError> {
        let node = self.let_in(scope).await?;
        let answer = node.open(request()).await.map_err(|error| self.named(of_registry(error)))?;
        if answer.status != 401 || !self.challenged(&answer.headers).await {
            return Ok(answer);
        }
        self.let_in(scope).await?.open(request()).await.map_err(|error| self.named(of_registry(error)))
    }

    /// Whether the registry can be reached and takes the login, for reading this repository.
    ///
    /// # Errors
    /// What is wrong.
    pub async fn check(&self) -> Result<(), CallError> {
        let doing = "asking the registry whether it is one";
        let answer = self.exchange(&self.pull(), || Request::new(Method::GET, &["v2", ""], doing)).await?;
        if answer.succeeded() { Ok(()) } else { Err(self.named(refused(&answer, doing))) }
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Registry({}/{})", self.url, self.repository)
    }
}
