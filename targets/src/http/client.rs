//! The clients, and how a request is sent.

use std::{sync::Arc, time::Duration};

use bytes::BytesMut;
use engine::{packages::PackageStream, secrets::Secret};
use futures_util::TryStreamExt as _;
use reqwest::{
    header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER},
    multipart::{Form, Part},
};
use serde_json::Value;

use super::{
    address::{AddressForbidden, BlockList, CheckedResolver},
    answer::{self, Answer},
    text::Scrubber,
    trouble::{CallError, Effect, SendingFailed, forbidden, transport},
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
        Node { client, settings, url, auth: Auth::Basic(key.clone()), scrubber: Scrubber::new(key) }
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
        Node { client: self.strict.clone(), settings: Arc::new(settings), url, auth, scrubber }
    }
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
}

/// How a key is sent.
#[derive(Clone)]
enum Auth {
    /// As user name, without a password: nodes.
    Basic(Secret),
    /// As a bearer token.
    Bearer(Secret),
    /// There is none.
    None,
}

pub(crate) use reqwest::Method;

/// One call.
pub(crate) struct Request<'a> {
    pub(crate) method: Method,
    /// Under the node's URL; each is escaped. An empty last one makes a slash at the end.
    pub(crate) path: &'a [&'a str],
    pub(crate) query: &'a [(&'a str, &'a str)],
    /// The login as whom the call is made, with an administrator's key.
    pub(crate) acting_as: Option<&'a str>,
    pub(crate) body: Body,
    /// For blocking calls; else the client's own.
    pub(crate) timeout: Option<Duration>,
    /// For texts: "listing the projects".
    pub(crate) doing: &'a str,
}

/// What a call carries.
pub(crate) enum Body {
    None,
    Json(Value),
    Upload(Upload),
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

    async fn send(&self, request: Request<'_>) -> Result<Answer, CallError> {
        let doing = request.doing;
        let broken = |error| transport(error, doing, &self.scrubber);
        let mut response = self.built(request)?.send().await.map_err(broken)?;
        let header = |name: HeaderName| response.headers().get(name).and_then(|value| value.to_str().ok());
        let mut answer = Answer {
            status: response.status().as_u16(),
            html: header(CONTENT_TYPE)
                .is_some_and(|kind| kind.trim_start().to_ascii_lowercase().starts_with("text/html")),
            retry_after: answer::retry_after(header(RETRY_AFTER)),
            version: header(HeaderName::from_static("dss-version")).map(|text| self.scrubber.clean(text, 60)),
            body: Default::default(),
        };
        let success = response.status().is_success();
        let mut body = BytesMut::new();
        while let Some(piece) = match response.chunk().await {
            // The status of a refusal says enough; its words may be cut.
            Err(_) if !success => None,
            piece => piece.map_err(broken)?,
        } {
            if body.len().saturating_add(piece.len()) > self.settings.answer_limit {
                if !success {
                    break;
                }
                return Err(self.too_large(doing));
            }
            body.extend_from_slice(&piece);
        }
        answer.body = body.freeze();
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
        let url = self.url.join(request.path).ok_or_else(unwritable)?;
        // A literal address is not resolved, so the resolver does not see it.
        let literal = match url.host() {
            Some(url::Host::Ipv4(v4)) => Some(v4.into()),
            Some(url::Host::Ipv6(v6)) => Some(v6.into()),
            _ => None,
        };
        if literal.is_some_and(|address| self.settings.blocked.forbids(address)) {
            return Err(forbidden(doing).detail(AddressForbidden.to_string()));
        }
        let bare = matches!(request.body, Body::None) && request.method != Method::GET;
        let builder = self.client.request(request.method, url);
        let builder = match &self.auth {
            Auth::Basic(key) => builder.basic_auth(key.expose(), Some("")),
            Auth::Bearer(key) => builder.bearer_auth(key.expose()),
            Auth::None => builder,
        };
        let mut builder = builder.timeout(request.timeout.unwrap_or(self.settings.call_timeout));
        if !request.query.is_empty() {
            builder = builder.query(request.query);
        }
        if let Some(login) = request.acting_as {
            let login = HeaderValue::from_bytes(login.as_bytes()).map_err(|_| unwritable())?;
            builder = builder.header("X-DKU-ProxyUser", login);
        }
        Ok(match request.body {
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

    fn too_large(&self, doing: &str) -> CallError {
        CallError::permanent(
            codes::NODE_ANSWER_TOO_LARGE,
            format!(
                "The node's answer is larger than {} bytes ({doing}), more than Slipway reads.",
                self.settings.answer_limit
            ),
            Effect::Ended,
        )
    }
}
