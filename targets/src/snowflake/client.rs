//! The account's API: who signs in, how a call is made, what its refusals say.

use std::time::Duration;

use engine::{
    clock,
    failure::{Failure, StepError},
    secrets::Secret,
};
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::{
    key_pair::KeyPair,
    settings::{ConnectionSettings, Method},
    vault::Vault,
};
use crate::{
    codes, connections,
    http::{Auth, Body, CallError, Effect, Exchange, HeaderName, Http, Method as Verb, Node, NodeUrl, Request, Said},
    spec::ConnectionSpec,
};

/// What Snowflake is called in texts.
const WHO: &str = "Snowflake";
/// What it is as a connection.
pub(crate) const KIND: &str = "SNOWFLAKE";
/// An answer that is promised for later is asked for so soon, and then ever later.
const FIRST_LOOK: Duration = Duration::from_millis(100);
const LATEST_LOOK: Duration = Duration::from_secs(3);
const TOKEN_TYPE: HeaderName = HeaderName::from_static("x-snowflake-authorization-token-type");
const ACCEPT: HeaderName = HeaderName::from_static("accept");
const LOCATION: HeaderName = HeaderName::from_static("location");

/// The API of one account, as one user.
pub(crate) struct Api {
    node: Node,
    url: NodeUrl,
    method: Method,
    patience: Duration,
    /// Of the public key, where one signs in with a key pair.
    fingerprint: Option<String>,
}

/// A call of the API.
pub(crate) struct Call<'a> {
    pub(crate) verb: Verb,
    pub(crate) path: &'a [&'a str],
    pub(crate) query: &'a [(&'a str, &'a str)],
    pub(crate) body: Option<Value>,
    pub(crate) doing: &'a str,
}

impl<'a> Call<'a> {
    pub(crate) fn get(path: &'a [&'a str], doing: &'a str) -> Self {
        Self { verb: Verb::GET, path, query: &[], body: None, doing }
    }
}

/// Reads the settings of a connection, and says what of them is not there.
pub(crate) fn settings_of(connection: Option<&ConnectionSpec>) -> Result<ConnectionSettings, Failure> {
    let settings: ConnectionSettings = connections::settings(connections::of_kind(connection, KIND)?)?;
    match settings.missing().as_slice() {
        [] => Ok(settings),
        missing => {
            let message = format!("The Snowflake connection lacks: {}.", missing.join(", "));
            Err(Failure::new(codes::SETTING_MISSING, message))
        }
    }
}

impl Api {
    /// Takes what signs in out of the store. Talks to nobody. A call may take `patience` at most.
    pub(crate) async fn open(
        http: &Http,
        settings: &ConnectionSettings,
        secrets: Vault<'_>,
        patience: Duration,
    ) -> Result<Self, StepError> {
        let url = NodeUrl::parse(&settings.base_url(), &http.settings().blocked).map_err(Failure::from)?;
        let mut fingerprint = None;
        let token = match (settings.method, &settings.private_key, &settings.token) {
            (Method::KeyPair, Some(key), _) => {
                let pem = secrets.open(&key.id).await?;
                let passphrase = match &settings.passphrase {
                    Some(passphrase) => Some(secrets.open(&passphrase.id).await?),
                    None => None,
                };
                let now = clock::now_micros() / 1_000_000;
                let pair = KeyPair::read(&pem, passphrase.as_ref())?;
                fingerprint = Some(pair.fingerprint().to_owned());
                pair.token(&settings.account, &settings.user, now)?
            }
            (Method::Oauth | Method::ProgrammaticAccessToken, _, Some(token)) => secrets.open(&token.id).await?,
            _ => {
                let message = format!("The Snowflake connection lacks: {}.", settings.missing().join(", "));
                return Err(Failure::new(codes::SETTING_MISSING, message).permanent());
            }
        };
        let node = http.platform(WHO, url.clone(), Auth::Bearer(token));
        Ok(Self { node, url, method: settings.method, patience, fingerprint })
    }

    /// The address, for our own records.
    pub(crate) fn url(&self) -> &str {
        self.url.as_str()
    }

    /// How long a call may take.
    pub(crate) fn patience(&self) -> Duration {
        self.patience
    }

    /// Snowflake's words, made harmless.
    pub(crate) fn clean(&self, text: &str, most: usize) -> String {
        self.node.scrubber().clean(text, most)
    }

    /// Makes a call, and hands back what came, whatever its status.
    pub(crate) async fn raw(&self, call: Call<'_>) -> Result<Exchange, CallError> {
        self.request(call, None).await
    }

    async fn request(&self, call: Call<'_>, at: Option<Url>) -> Result<Exchange, CallError> {
        let text = |text: &str| Secret::from(text.to_owned());
        let headers = [(TOKEN_TYPE, text(self.method.token_type())), (ACCEPT, text("application/json"))];
        let request = Request {
            method: call.verb,
            path: call.path,
            at,
            query: call.query,
            headers: &headers,
            acting_as: None,
            body: call.body.map_or(Body::None, Body::Json),
            timeout: Some(self.patience),
            doing: call.doing,
        };
        self.node.exchange(request).await
    }

    /// Makes a call of the REST API, and waits for an answer that is promised for later.
    pub(crate) async fn rest(&self, call: Call<'_>) -> Result<Value, CallError> {
        let doing = call.doing;
        let mut answer = self.raw(call).await?;
        let until = tokio::time::Instant::now() + self.patience;
        let mut pause = FIRST_LOOK;
        while answer.status == 202 {
            let Some(at) = answer.header(LOCATION).and_then(|location| self.result_url(location)) else {
                let message = format!("Snowflake promised an answer for later while {doing}, and did not say where.");
                return Err(CallError::permanent(codes::NODE_ANSWER_UNEXPECTED, message, Effect::Unknown));
            };
            if tokio::time::Instant::now() + pause > until {
                return Err(late(doing));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LATEST_LOOK);
            let empty = Call::get(&[], doing);
            answer = self.request(empty, Some(at)).await?;
        }
        if !answer.succeeded() {
            return Err(refused(&answer, doing));
        }
        if answer.body.is_empty() { Ok(Value::Null) } else { answer.json(doing) }
    }

    /// The same; None where there is no such thing.
    pub(crate) async fn rest_if_there(&self, call: Call<'_>) -> Result<Option<Value>, CallError> {
        match self.rest(call).await {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.is(&codes::NODE_NOT_FOUND) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A rejected key pair, with what Snowflake should know the key by.
    pub(super) fn explained(&self, mut error: CallError) -> CallError {
        if let Some(fingerprint) = self.fingerprint.as_deref().filter(|_| error.is(&codes::NODE_KEY_REJECTED)) {
            let words = format!(
                " Compare account and user, and that RSA_PUBLIC_KEY_FP in DESCRIBE USER (or RSA_PUBLIC_KEY_2_FP) is {fingerprint}."
            );
            error.failure.message.push_str(&words);
        }
        error
    }

    /// A path that Snowflake named, at its own address.
    fn result_url(&self, location: &str) -> Option<Url> {
        let path = location.starts_with('/') && !location.starts_with("//") && location.len() < 2_000;
        let base = Url::parse(self.url.as_str()).ok().filter(|_| path)?;
        base.join(location).ok()
    }
}

/// Snowflake's error object, of either API.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Trouble {
    pub(crate) code: String,
    error_code: String,
    pub(crate) message: String,
    #[serde(rename = "sqlState")]
    pub(crate) sql_state: String,
}

impl Trouble {
    pub(crate) fn of(answer: &Exchange) -> Self {
        answer.value().and_then(|value| serde_json::from_value(value).ok()).unwrap_or_default()
    }

    pub(crate) fn said(&self) -> Said {
        let code = if self.code.is_empty() { &self.error_code } else { &self.code };
        let code =
            if self.sql_state.is_empty() { code.clone() } else { format!("{code}, SQL state {}", self.sql_state) };
        Said { code, message: self.message.clone() }
    }
}

/// What a refusal means.
pub(crate) fn refused(answer: &Exchange, doing: &str) -> CallError {
    answer.refused(doing, &Trouble::of(answer).said())
}

/// It takes longer than a call may.
pub(crate) fn late(doing: &str) -> CallError {
    let message = format!("Snowflake is still at it ({doing}); whoever goes on looks first.");
    CallError::retryable(codes::NODE_TIMED_OUT, message, Effect::Unknown)
}
