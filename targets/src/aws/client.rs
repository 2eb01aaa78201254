//! Calls to AWS: signed, and made once more where the first was refused for an ended session or a wrong clock.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};
use std::time::Duration;

use bytes::Bytes;
use engine::{clock, failure::Failure, secrets::Secret};
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use url::Url;

use super::{
    machine::Machine,
    place::Service,
    settings::{Authentication, AwsSettings, Opened},
    sign::{ToSign, signed},
    sts,
    wallet::{self, Keys, Wallet},
    words::{AwsError, Kind},
};
use crate::{
    codes,
    http::{Auth, Body, CallError, Effect, Exchange, HeaderName, Http, Method, Node, NodeUrl, Request, Scrubber},
    spec::ConnectionSpec,
    tools::{HostSettings, Tools},
};

const JSON: &str = "application/x-amz-json-1.1";
pub(super) const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";
/// A clock that differs more is not followed, in microseconds: whoever says so may want a signature that is good tomorrow.
const MOST_SKEW: i64 = 12 * 3_600 * 1_000_000;

/// AWS, for one process: its HTTP client, the credentials that it keeps, and by how much the clocks differ.
#[derive(Clone)]
pub(crate) struct Aws {
    pub(crate) http: Http,
    /// What the operator says.
    pub(crate) host: Arc<HostSettings>,
    pub(super) machine: Machine,
    wallet: Arc<Wallet>,
    /// What is added to this machine's clock, in microseconds.
    skew: Arc<AtomicI64>,
}

/// One call.
pub(crate) struct Ask<'a> {
    pub(crate) service: Service,
    pub(crate) path: &'a [&'a str],
    /// Signed, beside host and content type.
    pub(crate) headers: &'a [(&'static str, String)],
    pub(crate) content_type: &'static str,
    pub(crate) body: Bytes,
    pub(crate) timeout: Option<Duration>,
    pub(crate) doing: &'a str,
}

impl Aws {
    /// With what the process gives its targets.
    pub(crate) fn new(tools: &Tools) -> Self {
        let machine = Machine::new(tools.host.ambient_cloud_credentials);
        let (http, host) = (tools.http.clone(), Arc::clone(&tools.host));
        Self { http, host, machine, wallet: Arc::default(), skew: Arc::default() }
    }

    /// The same with nothing kept: whoever tests a connection wants to know whether one can sign in now.
    pub(crate) fn afresh(&self) -> Self {
        Self { wallet: Arc::default(), ..self.clone() }
    }

    /// The account behind a connection. Talks to nobody.
    ///
    /// # Errors
    /// What is missing in its settings, the first of it; `AWS_IDENTITY_NOT_LENT` and `AMBIENT_CREDENTIALS_OFF` where they want the machine's identity, or want it sent
    /// where it must not go.
    pub(crate) fn account(&self, connection: &ConnectionSpec, secrets: Opened) -> Result<Account, Failure> {
        let settings = AwsSettings::read(connection)?;
        if let Some(problem) = settings.problems().into_iter().next() {
            return Err(problem);
        }
        if settings.authentication != Authentication::Keys {
            self.machine.must_be_lent()?;
            settings.may_lend(&self.host)?;
        }
        let region = settings.region.clone().unwrap_or_default();
        // The references of secrets are in it, and change with them.
        let text = serde_json::to_vec(&connection.settings).unwrap_or_default();
        let purse = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Account { aws: self.clone(), settings, region, secrets, purse })
    }
}

/// One account in one region, with one connection's credentials.
pub(crate) struct Account {
    pub(crate) aws: Aws,
    pub(super) settings: AwsSettings,
    pub(crate) region: String,
    secrets: Opened,
    purse: String,
}

impl Account {
    /// Calls an operation of a service that speaks JSON 1.1.
    pub(crate) async fn json<T: DeserializeOwned>(
        &self,
        service: Service,
        operation: &str,
        body: &Value,
        doing: &str,
    ) -> Result<T, AwsError> {
        let exchange = self.said(service, operation, body, doing).await?;
        Ok(exchange.json(doing)?)
    }

    /// The same where the answer of a success says nothing that we read.
    pub(crate) async fn said(
        &self,
        service: Service,
        operation: &str,
        body: &Value,
        doing: &str,
    ) -> Result<Exchange, AwsError> {
        let headers = [("x-amz-target", format!("{}.{operation}", service.target()))];
        let body = Bytes::from(body.to_string());
        let ask = Ask { service, path: &[], headers: &headers, content_type: JSON, body, timeout: None, doing };
        self.call(&ask).await
    }

    /// Makes a call; its answer is a success.
    pub(crate) async fn call(&self, ask: &Ask<'_>) -> Result<Exchange, AwsError> {
        let keys = self.keys().await?;
        match self.call_with(ask, &keys).await {
            // Ended before the time that was told: a new session may have what this one lost.
            Err(error) if error.kind == Kind::Expired && keys.token.is_some() => {
                self.aws.wallet.forget(&self.purse, &keys).await;
                let keys = self.keys().await?;
                self.call_with(ask, &keys).await
            }
            called => called,
        }
    }

    /// Makes a call with these keys; its answer is a success.
    pub(super) async fn call_with(&self, ask: &Ask<'_>, keys: &Keys) -> Result<Exchange, AwsError> {
        let exchange = self.send(ask, keys).await?;
        if exchange.succeeded() {
            return Ok(exchange);
        }
        let error = AwsError::read(&exchange, ask.doing);
        if error.kind != Kind::Clock || !self.aws.set_clock(&exchange) {
            return Err(error);
        }
        let again = self.send(ask, keys).await?;
        if again.succeeded() { Ok(again) } else { Err(AwsError::read(&again, ask.doing)) }
    }

    /// The URL that stands in for a service's own.
    pub(crate) fn endpoint(&self, service: Service) -> Option<&str> {
        self.settings.endpoint(service)
    }

    /// AWS' words in an answer, made harmless.
    pub(crate) fn clean(&self, text: &str, most: usize) -> String {
        let secrets: Vec<_> = self.secrets.values().cloned().collect();
        Scrubber::of(&secrets).clean(text, most)
    }

    async fn send(&self, ask: &Ask<'_>, keys: &Keys) -> Result<Exchange, CallError> {
        let secrets = [Some(&keys.secret), keys.token.as_ref()].into_iter().flatten().cloned().collect();
        let node = self.node(ask.service, secrets)?;
        let url = under(&node, ask.path)?;
        let mut headers = vec![("content-type", ask.content_type.to_owned())];
        headers.extend_from_slice(ask.headers);
        let to_sign = ToSign {
            service: ask.service.signing_name(),
            region: &self.region,
            method: "POST",
            url: &url,
            headers: &headers,
            body: &ask.body,
            at: self.aws.now(),
        };
        let mut sent = signed(keys, &to_sign).map_err(permanent)?;
        for (name, value) in ask.headers {
            sent.push((HeaderName::from_static(name), Secret::from(value.clone())));
        }
        let request = Request {
            at: Some(url),
            headers: &sent,
            body: Body::Bytes(ask.content_type, ask.body.clone()),
            timeout: ask.timeout,
            ..Request::new(Method::POST, &[], ask.doing)
        };
        node.exchange(request).await
    }

    /// Where a service is reached, with what must not be seen in its answers.
    pub(super) fn node(&self, service: Service, secrets: Vec<Secret>) -> Result<Node, CallError> {
        let url = match self.settings.endpoint(service) {
            Some(url) => url.to_owned(),
            None => service.url(&self.region),
        };
        let blocked = &self.aws.http.settings().blocked;
        let url = NodeUrl::parse(&url, blocked).map_err(|error| permanent(error.into()))?;
        Ok(self.aws.http.platform(service.who(), url, Auth::Signed(secrets)))
    }

    /// What signs: the connection's own, or those of a session that it got with them.
    async fn keys(&self) -> Result<Keys, AwsError> {
        let purse = self.aws.wallet.purse(&self.purse);
        let mut kept = purse.lock().await;
        if let Some(keys) = wallet::good(&kept) {
            return Ok(keys);
        }
        let own = match self.settings.authentication {
            Authentication::Keys => self.entered()?,
            Authentication::Profile => {
                self.aws.machine.profile(self.settings.profile.as_deref().unwrap_or("default")).await?
            }
            Authentication::WorkloadIdentity => self.aws.machine.workload(self).await?,
        };
        let keys = match &self.settings.role_arn {
            Some(role) => sts::assume_role(self, role, &own).await?,
            None => own,
        };
        *kept = Some(keys.clone());
        Ok(keys)
    }

    /// Those that were typed in.
    fn entered(&self) -> Result<Keys, CallError> {
        let open = |reference: &Option<crate::secret_ref::SecretRef>| {
            reference.as_ref().and_then(|reference| self.secrets.get(&reference.id)).cloned()
        };
        let (Some(id), Some(secret)) = (&self.settings.access_key_id, open(&self.settings.secret_access_key)) else {
            let message = "The connection has no access key. Enter its id and its secret.";
            return Err(permanent(Failure::new(codes::SETTING_MISSING, message)));
        };
        Ok(Keys { id: id.clone(), secret, token: open(&self.settings.session_token), expires: None })
    }
}

impl Aws {
    /// The time by AWS' clock, as far as we know it.
    pub(super) fn now(&self) -> i64 {
        clock::now_micros().saturating_add(self.skew.load(Ordering::Relaxed))
    }

    /// Follows the clock of whoever answered; false if it doesn't tell, or tells what nobody should follow.
    fn set_clock(&self, exchange: &Exchange) -> bool {
        let date = exchange.header(HeaderName::from_static("date"));
        let Some(theirs) = date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok()) else { return false };
        let skew = theirs.timestamp().as_microsecond().saturating_sub(clock::now_micros());
        if skew.abs() > MOST_SKEW {
            return false;
        }
        self.skew.store(skew, Ordering::Relaxed);
        true
    }
}

/// The URL of `path` at a node: what is signed is what is sent.
fn under(node: &Node, path: &[&str]) -> Result<Url, CallError> {
    let invalid = || {
        let message = "A name in the address of a call to AWS can't stand in a URL.";
        CallError::permanent(codes::NODE_URL_INVALID, message, Effect::None)
    };
    let mut url = Url::parse(node.url().as_str()).map_err(|_| invalid())?;
    if path.iter().any(|segment| matches!(*segment, "" | "." | "..")) {
        return Err(invalid());
    }
    url.path_segments_mut().map_err(|()| invalid())?.pop_if_empty().extend(path);
    Ok(url)
}

pub(super) fn permanent(failure: Failure) -> CallError {
    CallError { failure, retryable: false, retry_after: None, effect: Effect::None }
}
