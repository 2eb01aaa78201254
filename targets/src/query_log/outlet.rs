//! Where batches go, and what may go wrong there.

use std::{path::Path, time::Duration};

use async_trait::async_trait;
use engine::{failure::Failure, secrets::Secret};

use super::{TOPIC, event_server::EventServer, files::LogFiles, kafka::Kafka};
use crate::{
    codes,
    http::{CallError, Http},
    secret_ref::SecretRef,
    service::Auditing,
};

/// Events that are sent together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Random, and the same at each attempt.
    pub id: String,
    /// The routing key of all of them.
    pub routing_key: String,
    /// Each a JSON object on one line: what the client tells.
    pub events: Vec<String>,
}

impl Batch {
    /// Each event with its topic and routing key, as the Event Server takes it: a JSON object on one line.
    pub(super) fn told(&self) -> impl Iterator<Item = String> {
        let key = serde_json::Value::from(self.routing_key.as_str());
        self.events
            .iter()
            .map(move |event| format!(r#"{{"topic":"{TOPIC}","routingKey":{key},"clientEvent":{event}}}"#))
    }
}

/// A batch that did not arrive, or nobody knows.
#[derive(Clone, Debug, PartialEq)]
pub struct Undelivered {
    /// Why, for the log.
    pub failure: Failure,
    /// Worth another attempt.
    pub retryable: bool,
    /// At least this long, when the other side said so.
    pub retry_after: Option<Duration>,
}

impl Undelivered {
    pub(super) fn passing(failure: Failure) -> Self {
        Self { failure, retryable: true, retry_after: None }
    }

    pub(super) fn permanent(failure: Failure) -> Self {
        Self { failure, retryable: false, retry_after: None }
    }
}

impl From<CallError> for Undelivered {
    fn from(error: CallError) -> Self {
        Self { failure: error.failure, retryable: error.retryable, retry_after: error.retry_after }
    }
}

/// A place for query logs.
#[async_trait]
pub trait Outlet: Send {
    /// Sends a batch. Sent again after an error, an event may be there twice, unless the place knows the batch by its id.
    async fn send(&mut self, batch: &Batch) -> Result<(), Undelivered>;
}

/// What an outlet needs besides its settings.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// The HTTP client, and where nobody may be connected to.
    pub http: &'a Http,
    /// Where log files lie.
    pub logs: &'a Path,
}

impl Surroundings<'_> {
    /// The outlet that settings name, with its routing key. `secret` opens what they refer to.
    ///
    /// # Errors
    /// `QUERY_LOG_INVALID`, or the failure of a URL, with the setting that is wrong; nothing was connected to.
    pub fn open(
        &self,
        auditing: &Auditing,
        secret: impl Fn(&SecretRef) -> Option<Secret>,
    ) -> Result<(Box<dyn Outlet>, String), Failure> {
        let opened = |reference: &Option<SecretRef>, field: &str| {
            reference
                .as_ref()
                .map(|reference| secret(reference).ok_or_else(|| invalid(field, "its secret is not here")))
                .transpose()
        };
        Ok(match auditing {
            Auditing::None => return Err(invalid("auditing.type", "it logs nowhere")),
            Auditing::EventServer { url, key, routing_key, trust_all_certificates, .. } => {
                let key = opened(key, "auditing.key")?;
                let outlet = EventServer::new(self.http, url, key, *trust_all_certificates)?;
                (Box::new(outlet), routing_key.clone())
            }
            Auditing::Kafka {
                brokers,
                topic,
                tls,
                sasl,
                username,
                password,
                routing_key,
                certificate_authorities,
                ..
            } => {
                let password = opened(password, "auditing.password")?;
                let login = kafka_login(*sasl, username.as_deref(), password)?;
                let blocked = &self.http.settings().blocked;
                let authorities = certificate_authorities.as_deref();
                let outlet = Kafka::new(brokers, topic, tls.then_some(authorities), login, blocked)?;
                (Box::new(outlet), routing_key.clone())
            }
            Auditing::LogFiles { routing_key } => {
                (Box::new(LogFiles::new(self.logs, routing_key)?), routing_key.clone())
            }
        })
    }
}

fn kafka_login(
    sasl: crate::service::Sasl,
    username: Option<&str>,
    password: Option<Secret>,
) -> Result<Option<super::kafka::Login>, Failure> {
    if sasl == crate::service::Sasl::None {
        return Ok(None);
    }
    let username =
        username.filter(|name| !name.is_empty()).ok_or_else(|| invalid("auditing.username", "it is missing"))?;
    let password = password.ok_or_else(|| invalid("auditing.password", "it is missing"))?;
    Ok(Some(super::kafka::Login { sasl, username: username.to_owned(), password }))
}

/// A setting that is no good.
pub(super) fn invalid(field: &str, problem: &str) -> Failure {
    Failure::new(codes::QUERY_LOG_INVALID, format!("Queries cannot be logged as the settings say: {field}: {problem}."))
}
