//! The clients, and how a request is sent.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use engine::{failure::Failure, packages::PackageStream, secrets::Secret};
use futures_util::TryStreamExt as _;
use reqwest::{
    Certificate, Identity,
    header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER},
    multipart::{Form, Part},
};
use serde_json::Value;
use url::Url;

use super::{
    address::{AddressForbidden, BlockList, CheckedResolver},
    answer::{self, Answer},
    text::Scrubber,
    trouble::{CallError, Effect, SendingFailed, Who, forbidden, transport},
    url::NodeUrl,
};
use crate::codes;

/// Makes ring the TLS cryptography of this process. Any number of calls is fine; clients call it themselves.
pub fn install_crypto_provider() {
    // Refused when one is installed already, which is what we want.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// How the client behaves. The same for every node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpSettings {
    /// Where no node may be.
    pub blocked: BlockList,
    /// At most this long for a connection.
    pub connect_timeout: Duration,
    /// At most this long for a call that reads or writes settings; blocking calls bring their own limit.
    pub call_timeout: Duration,
    /// At most this many bytes of one answer are read.
    pub answer_limit: usize,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            blocked: BlockList::default(),
            connect_timeout: Duration::from_secs(10),
            call_timeout: Duration::from_secs(60),
            answer_limit: 32 * 1024 * 1024,
        }
    }
}

/// No HTTP client could be made.
#[derive(Debug, thiserror::Error)]
#[error("no HTTP client could be made: {0}")]
pub struct SetupError(#[source] reqwest::Error);

/// The one HTTP client, in its two kinds: one that checks certificates and one that accepts any. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Http {
    strict: reqwest::Client,
    trusting: reqwest::Client,
    settings: Arc<HttpSettings>,
}

/// The certificates of a text in PEM form; None when it holds none that can be read.
fn certificates(pem: &[u8]) -> Option<Vec<Certificate>> {
    Certificate::from_pem_bundle(pem).ok().filter(|all| !all.is_empty())
}

/// Whether a text is a certificate in PEM form, or several of them.
pub fn is_certificates(pem: &[u8]) -> bool {
    certificates(pem).is_some()
}

impl Http {
    /// Makes the clients.
    ///
    /// # Errors
    /// [`SetupError`] when TLS can't be set up.
    pub fn new(settings: HttpSettings) -> Result<Self, SetupError> {
        install_crypto_provider();
        let strict = match client(&settings, false).build() {
            Ok(client) => client,
            // A machine without any certificates can still speak HTTP; HTTPS then fails as NODE_TLS_FAILED.
            Err(error) => {
                tracing::warn!(error = %error, "no trusted certificates on this machine: nodes behind https will not be trusted");
                client(&settings, false).tls_certs_only([]).build().map_err(SetupError)?
            }
        };
        let trusting = client(&settings, true).build().map_err(SetupError)?;
        Ok(Self { strict, trusting, settings: Arc::new(settings) })
    }

    /// What it was made with.
    pub fn settings(&self) -> &HttpSettings {
        &self.settings
    }

    /// The client for one node with one key.
    pub(crate) fn node(&self, url: NodeUrl, key: &Secret, trust_all_certificates: bool) -> Node {
        let client = if trust_all_certificates { &self.trusting } else { &self.strict };
        let (client, settings) = (client.clone(), Arc::clone(&self.settings));
        Node { client, settings, url, auth: Auth::Basic(key.clone()), scrubber: Scrubber::new(key), who: Who::NODE }
    }

    /// The client for a platform's API at one address. What it is called in texts: "Amazon SageMaker".
    pub(crate) fn platform(&self, who: &'static str, url: NodeUrl, auth: Auth) -> Node {
        let scrubber = Scrubber::of(auth.secrets());
        let (client, settings) = (self.strict.clone(), Arc::clone(&self.settings));
        Node { client, settings, url, auth, scrubber, who: Who(who) }
    }

    /// The client for a node's other door: where its callers come in, with what they have.
    pub(crate) fn caller(&self, url: NodeUrl, auth: Auth, trust_all_certificates: bool) -> Node {
        let client = if trust_all_certificates { &self.trusting } else { &self.strict };
        let scrubber = Scrubber::of(auth.secrets());
        let (client, settings) = (client.clone(), Arc::clone(&self.settings));
        Node { client, settings, url, auth, scrubber, who: Who::NODE }
    }

    /// The same with certificates of its own: those that it trusts instead of the machine's, and the client's own.
    ///
    /// # Errors
    /// `NODE_TLS_FAILED` when one of them is none.
    pub(crate) fn with_tls(&self, tls: &Tls) -> Result<Self, Failure> {
        let invalid = |what: &str, error: reqwest::Error| {
            let message = format!("The {what} is none that Slipway can read: PEM is wanted.");
            Failure::new(codes::NODE_TLS_FAILED, message).detail(error.without_url().to_string())
        };
        if tls.authorities.is_none() && tls.identity.is_none() {
            // Nothing of its own: a client that is there keeps its connections, and reads no certificates again.
            let known = if tls.trust_all { &self.trusting } else { &self.strict };
            return Ok(Self { strict: known.clone(), trusting: known.clone(), settings: Arc::clone(&self.settings) });
        }
        let mut builder = client(&self.settings, tls.trust_all);
        if let Some(authorities) = &tls.authorities {
            let read = certificates(authorities).ok_or_else(|| {
                let message = "The certificate authority is none that Slipway can read: PEM is wanted.";
                Failure::new(codes::NODE_TLS_FAILED, message)
            })?;
            builder = builder.tls_certs_only(read);
        }
        if let Some(identity) = &tls.identity {
            let read = Identity::from_pem(identity.expose().as_bytes());
            builder = builder.identity(read.map_err(|e| invalid("client certificate", e))?);
        }
        let strict = builder.build().map_err(|error| invalid("set of certificates", error))?;
        Ok(Self { trusting: strict.clone(), strict, settings: Arc::clone(&self.settings) })
    }

    /// The client for one address that is no node, such as a governance source: small answers, in time.
    pub(crate) fn endpoint(&self, url: NodeUrl, key: Option<&Secret>, patience: Duration) -> Node {
        let settings = HttpSettings {
            call_timeout: self.settings.call_timeout.min(patience),
            answer_limit: self.settings.answer_limit.min(ENDPOINT_ANSWER),
            ..HttpSettings::clone(&self.settings)
        };
        let auth = key.map_or(Auth::None, |key| Auth::Bearer(key.clone()));
        let scrubber = Scrubber::new(key.unwrap_or(&Secret::default()));
        Node { client: self.strict.clone(), settings: Arc::new(settings), url, auth, scrubber, who: Who::NODE }
    }
}

/// Certificates of one platform.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tls {
    /// Accept any certificate.
    pub(crate) trust_all: bool,
    /// Certificates to trust instead of the machine's, PEM.
    pub(crate) authorities: Option<Vec<u8>>,
    /// The client's own certificate and private key, PEM.
    pub(crate) identity: Option<Secret>,
}

const IDLE: Duration = Duration::from_secs(10);
/// An endpoint that is no node says no more than this, in bytes.
const ENDPOINT_ANSWER: usize = 1024 * 1024;

fn client(settings: &HttpSettings, trusting: bool) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .user_agent(concat!("slipway/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .referer(false)
        // What was tried with nodes and platforms. The store's library brings HTTP/2 along.
        .http1_only()
        .connect_timeout(settings.connect_timeout)
        // Shorter than servers keep idle connections, so that none is used while it is being closed.
        .pool_idle_timeout(IDLE)
        .dns_resolver(CheckedResolver(Arc::new(settings.blocked.clone())))
        .tls_danger_accept_invalid_certs(trusting)
}

/// One node, reached with one key.
#[derive(Clone)]
pub(crate) struct Node {
    client: reqwest::Client,
    settings: Arc<HttpSettings>,
    url: NodeUrl,
    auth: Auth,
    scrubber: Scrubber,
    who: Who,
}

/// How a key is sent.
#[derive(Clone)]
pub(crate) enum Auth {
    /// As user name, without a password: nodes.
    Basic(Secret),
    /// A user name with its password: registries.
    Login(String, Secret),
    /// As a bearer token.
    Bearer(Secret),
    /// There is none, or each request brings its own in its headers; these are never shown.
    Signed(Vec<Secret>),
    /// There is none.
    None,
}

impl Auth {
    fn secrets(&self) -> &[Secret] {
        match self {
            Self::Basic(one) | Self::Login(_, one) | Self::Bearer(one) => std::slice::from_ref(one),
            Self::Signed(all) => all,
            Self::None => &[],
        }
    }
}

pub(crate) use reqwest::{Method, header};

/// One call.
pub(crate) struct Request<'a> {
    pub(crate) method: Method,
    /// Under the node's URL; each is escaped. An empty last one makes a slash at the end.
    pub(crate) path: &'a [&'a str],
    /// Instead of a path: a whole URL that the other side named. On its own scheme, host and port alone.
    pub(crate) at: Option<Url>,
    pub(crate) query: &'a [(&'a str, &'a str)],
    /// Beside what the client itself sends.
    pub(crate) headers: &'a [(HeaderName, Secret)],
    /// The login as whom the call is made, with an administrator's key.
    pub(crate) acting_as: Option<&'a str>,
    pub(crate) body: Body,
    /// For blocking calls; else the client's own.
    pub(crate) timeout: Option<Duration>,
    /// For texts: "listing the projects".
    pub(crate) doing: &'a str,
}

impl<'a> Request<'a> {
    /// A call without anything but a method and a path.
    pub(crate) fn new(method: Method, path: &'a [&'a str], doing: &'a str) -> Self {
        let body = Body::None;
        Self { method, path, at: None, query: &[], headers: &[], acting_as: None, body, timeout: None, doing }
    }
}

/// What a call carries.
pub(crate) enum Body {
    None,
    Json(Value),
    Upload(Upload),
    /// Name and value, as a form. A value may be a secret.
    Form(Vec<(&'static str, Secret)>),
    /// These bytes, of this content type.
    Bytes(&'static str, Bytes),
    /// So many bytes of this content type, streamed.
    Stream(&'static str, u64, PackageStream),
}

/// A file, streamed as the multipart part `file`.
pub(crate) struct Upload {
    pub(crate) name: String,
    pub(crate) size: u64,
    pub(crate) content: PackageStream,
}

impl Node {
    pub(crate) fn url(&self) -> &NodeUrl {
        &self.url
    }

    pub(crate) fn scrubber(&self) -> &Scrubber {
        &self.scrubber
    }

    /// Makes a call whose answer must be JSON.
    pub(crate) async fn json(&self, request: Request<'_>) -> Result<Value, CallError> {
        let doing = request.doing;
        self.send(request).await?.json(doing, &self.scrubber)
    }

    /// Makes a call whose answer must be JSON, and answers what it says of the node's version, too.
    pub(crate) async fn json_and_version(&self, request: Request<'_>) -> Result<(Value, Option<String>), CallError> {
        let doing = request.doing;
        let answer = self.send(request).await?;
        Ok((answer.json(doing, &self.scrubber)?, answer.version))
    }

    /// Makes a call whose answer need not say anything beyond success. A page of HTML is no success; JSON is handed on.
    pub(crate) async fn any(&self, request: Request<'_>) -> Result<Option<Value>, CallError> {
        Ok(self.send(request).await?.maybe_json())
    }

    /// What it is called in texts.
    pub(crate) fn who(&self) -> Who {
        self.who
    }

    /// Makes a call, and answers what came, whatever its status; its body follows.
    pub(super) async fn response(&self, request: Request<'_>) -> Result<reqwest::Response, CallError> {
        let doing = request.doing;
        let broken = |error| transport(error, doing, &self.scrubber, self.who);
        self.built(request)?.send().await.map_err(broken)
    }

    /// A body, bounded.
    pub(super) async fn whole(&self, mut response: reqwest::Response, doing: &str) -> Result<Bytes, CallError> {
        let success = response.status().is_success();
        let mut body = BytesMut::new();
        while let Some(piece) = match response.chunk().await {
            // The status of a refusal says enough; its words may be cut.
            Err(_) if !success => None,
            piece => piece.map_err(|error| transport(error, doing, &self.scrubber, self.who))?,
        } {
            if body.len().saturating_add(piece.len()) > self.settings.answer_limit {
                if !success {
                    break;
                }
                return Err(self.too_large(doing));
            }
            body.extend_from_slice(&piece);
        }
        Ok(body.freeze())
    }

    async fn send(&self, request: Request<'_>) -> Result<Answer, CallError> {
        let doing = request.doing;
        let response = self.response(request).await?;
        let header = |name: HeaderName| response.headers().get(name).and_then(|value| value.to_str().ok());
        let mut answer = Answer {
            status: response.status().as_u16(),
            html: header(CONTENT_TYPE)
                .is_some_and(|kind| kind.trim_start().to_ascii_lowercase().starts_with("text/html")),
            retry_after: answer::retry_after(header(RETRY_AFTER)),
            version: header(HeaderName::from_static("dss-version")).map(|text| self.scrubber.clean(text, 60)),
            body: Default::default(),
        };
        answer.body = self.whole(response, doing).await?;
        answer.checked(doing, &self.scrubber)
    }

    fn built(&self, request: Request<'_>) -> Result<reqwest::RequestBuilder, CallError> {
        let doing = request.doing;
        let unwritable = || {
            CallError::permanent(
                codes::NODE_REFUSED,
                format!("The request for {doing} could not be written: a name in it can't stand in a URL or a header."),
                Effect::None,
            )
        };
        let url = match request.at {
            // A key that is meant for one place is sent to no other.
            Some(url) if !self.url.is_same_place(&url) => return Err(self.elsewhere(doing)),
            Some(url) => url,
            None => self.url.join(request.path).ok_or_else(unwritable)?,
        };
        // A literal address is not resolved, so the resolver does not see it.
        let literal = match url.host() {
            Some(url::Host::Ipv4(v4)) => Some(v4.into()),
            Some(url::Host::Ipv6(v6)) => Some(v6.into()),
            _ => None,
        };
        if literal.is_some_and(|address| self.settings.blocked.forbids(address)) {
            return Err(forbidden(doing, self.who).detail(AddressForbidden.to_string()));
        }
        let bare = matches!(request.body, Body::None) && request.method != Method::GET;
        let builder = self.client.request(request.method, url);
        let builder = match &self.auth {
            Auth::Basic(key) => builder.basic_auth(key.expose(), Some("")),
            Auth::Login(user, password) => builder.basic_auth(user, Some(password.expose())),
            Auth::Bearer(key) => builder.bearer_auth(key.expose()),
            Auth::Signed(_) | Auth::None => builder,
        };
        let mut builder = builder.timeout(request.timeout.unwrap_or(self.settings.call_timeout));
        if !request.query.is_empty() {
            builder = builder.query(request.query);
        }
        if let Some(login) = request.acting_as {
            let login = HeaderValue::from_bytes(login.as_bytes()).map_err(|_| unwritable())?;
            builder = builder.header("X-DKU-ProxyUser", login);
        }
        for (name, value) in request.headers {
            let mut value = HeaderValue::from_bytes(value.expose().as_bytes()).map_err(|_| unwritable())?;
            value.set_sensitive(true);
            builder = builder.header(name.clone(), value);
        }
        Ok(match request.body {
            Body::Form(fields) => {
                let mut form = url::form_urlencoded::Serializer::new(String::new());
                form.extend_pairs(fields.iter().map(|(name, value)| (name, value.expose())));
                builder.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form.finish())
            }
            Body::Bytes(kind, bytes) => builder.header(CONTENT_TYPE, kind).body(bytes),
            Body::Stream(kind, size, content) => {
                let content = reqwest::Body::wrap_stream(content.map_err(SendingFailed));
                builder.header(CONTENT_TYPE, kind).header(CONTENT_LENGTH, size).body(content)
            }
            Body::None if bare => builder.header(CONTENT_LENGTH, "0"),
            Body::None => builder,
            Body::Json(value) => builder.json(&value),
            Body::Upload(upload) => {
                let content = reqwest::Body::wrap_stream(upload.content.map_err(SendingFailed));
                let part = Part::stream_with_length(content, upload.size).file_name(upload.name);
                builder.multipart(Form::new().part("file", part))
            }
        })
    }

    fn elsewhere(&self, doing: &str) -> CallError {
        let who = self.who;
        let message =
            format!("{who} sent Slipway to another address while {doing}, and Slipway follows to none but its own.");
        CallError::permanent(codes::NODE_REDIRECTED, message, Effect::Unknown)
    }

    fn too_large(&self, doing: &str) -> CallError {
        CallError::permanent(
            codes::NODE_ANSWER_TOO_LARGE,
            format!(
                "The answer is larger than {} bytes ({doing}), more than Slipway reads.",
                self.settings.answer_limit
            ),
            Effect::Ended,
        )
    }
}
