//! To a topic of Kafka: each event a record whose key is the routing key, all of a routing key on one partition.
//!
//! Kafka does not know batches by an id: a batch whose answer was lost is there twice. Brokers may name others to talk to, and names may lead anywhere: all
//! connections go through `guard`.

mod guard;

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use engine::{clock, failure::Failure, secrets::Secret};
use rskafka::{
    BackoffConfig,
    chrono::DateTime,
    client::{
        ClientBuilder, Credentials, SaslConfig,
        error::{Error, ProtocolError},
        partition::{Compression, PartitionClient, UnknownTopicHandling},
    },
    record::Record,
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use self::guard::Guard;
use super::{Batch, Outlet, Undelivered, outlet::invalid};
use crate::{
    codes,
    http::{BlockList, Scrubber},
    service::Sasl,
};

/// One batch, with all that has to be set up for it, takes this long at most.
const PATIENCE: Duration = Duration::from_secs(30);
/// Brokers say no more at once than this, in bytes.
const LONGEST_ANSWER: usize = 16 << 20;
const MOST_BROKERS: usize = 50;
const LONGEST_TOPIC: usize = 249;
/// Of what a broker says, so many characters are kept.
const DETAIL_CHARS: usize = 1_000;

/// How one signs in.
pub(super) struct Login {
    pub(super) sasl: Sasl,
    pub(super) username: String,
    pub(super) password: Secret,
}

/// A topic.
pub(super) struct Kafka {
    brokers: Vec<String>,
    topic: String,
    tls: Option<Arc<ClientConfig>>,
    login: Option<Login>,
    blocked: Arc<BlockList>,
    open: Option<Open>,
}

struct Open {
    guard: Guard,
    partition: PartitionClient,
}

impl Kafka {
    /// `tls`: not at all, with the certificates that this machine trusts, or with these (PEM) instead.
    pub(super) fn new(
        brokers: &[String],
        topic: &str,
        tls: Option<Option<&str>>,
        login: Option<Login>,
        blocked: &BlockList,
    ) -> Result<Self, Failure> {
        if brokers.is_empty() || brokers.len() > MOST_BROKERS {
            return Err(invalid("auditing.brokers", "1 to 50 brokers are wanted"));
        }
        for broker in brokers {
            check_broker(broker, blocked)?;
        }
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let sound =
            (1..=LONGEST_TOPIC).contains(&topic.len()) && topic.bytes().all(letter) && !matches!(topic, "." | "..");
        if !sound {
            return Err(invalid("auditing.topic", "1 to 249 letters, digits, '.', '_' and '-' are wanted"));
        }
        let (brokers, topic) = (brokers.to_vec(), topic.to_owned());
        let tls = tls.map(trusting).transpose()?.map(Arc::new);
        Ok(Self { brokers, topic, tls, login, blocked: Arc::new(blocked.clone()), open: None })
    }

    async fn connect(&self, guard: &Guard, routing_key: &str) -> Result<PartitionClient, Undelivered> {
        let backoff =
            BackoffConfig { deadline: Some(PATIENCE / 2), max_backoff: Duration::from_secs(2), ..Default::default() };
        let mut builder = ClientBuilder::new(self.brokers.clone())
            .client_id("slipway")
            .max_message_size(LONGEST_ANSWER)
            .backoff_config(backoff)
            .socks5_proxy(guard.address());
        if let Some(tls) = &self.tls {
            builder = builder.tls_config(Arc::clone(tls));
        }
        if let Some(Login { sasl, username, password }) = &self.login {
            let credentials = Credentials::new(username.clone(), password.expose().to_owned());
            builder = builder.sasl_config(match sasl {
                Sasl::ScramSha512 => SaslConfig::ScramSha512(credentials),
                Sasl::ScramSha256 => SaslConfig::ScramSha256(credentials),
                Sasl::Plain | Sasl::None => SaslConfig::Plain(credentials),
            });
        }
        let client = builder.build().await.map_err(|error| self.failed(&error))?;
        let topics = client.list_topics().await.map_err(|error| self.failed(&error))?;
        let partitions = topics.into_iter().find(|topic| topic.name == self.topic).map(|topic| topic.partitions);
        let partitions: Vec<i32> = partitions.unwrap_or_default().into_iter().collect();
        // FNV-1a: the same in every process and version.
        let hash = routing_key
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let chosen = hash.checked_rem(partitions.len() as u64).and_then(|at| usize::try_from(at).ok());
        let Some(&partition) = chosen.and_then(|at| partitions.get(at)) else {
            let message = "Kafka has no such topic, or does not show it to this user. Make the topic first.";
            return Err(Undelivered::passing(Failure::new(codes::QUERY_LOG_UNREACHABLE, message)));
        };
        let client = client.partition_client(&self.topic, partition, UnknownTopicHandling::Error).await;
        client.map_err(|error| self.failed(&error))
    }

    async fn deliver(&mut self, batch: &Batch) -> Result<(), Undelivered> {
        if self.open.is_none() {
            let guard = Guard::start(Arc::clone(&self.blocked)).await.map_err(|error| {
                let message = "No connection to Kafka could be prepared on this machine.";
                Undelivered::passing(Failure::new(codes::QUERY_LOG_UNREACHABLE, message).detail(error.to_string()))
            })?;
            let connected = tokio::select! {
                connected = self.connect(&guard, &batch.routing_key) => connected,
                () = guard.forbade() => Err(forbidden()),
            };
            self.open = Some(Open { partition: connected?, guard });
        }
        let Some(Open { guard, partition }) = &self.open else { return Ok(()) };
        let timestamp = DateTime::from_timestamp_micros(clock::now_micros()).unwrap_or_default();
        let headers = BTreeMap::from([("batchId".to_owned(), batch.id.clone().into_bytes())]);
        let record = |event: String| Record {
            key: Some(batch.routing_key.clone().into_bytes()),
            value: Some(event.into_bytes()),
            headers: headers.clone(),
            timestamp,
        };
        let records = batch.told().map(record).collect();
        tokio::select! {
            produced = partition.produce(records, Compression::NoCompression) => {
                produced.map_err(|error| self.failed(&error))?;
                Ok(())
            }
            () = guard.forbade() => Err(forbidden()),
        }
    }

    /// What a broker said, without what must not be seen.
    fn failed(&self, error: &Error) -> Undelivered {
        let detail = match &self.login {
            Some(login) => Scrubber::new(&login.password).clean(&error.to_string(), DETAIL_CHARS),
            None => Scrubber::new(&Secret::default()).clean(&error.to_string(), DETAIL_CHARS),
        };
        let refused = match error {
            Error::ServerError { protocol_error, .. } => matches!(
                protocol_error,
                ProtocolError::MessageTooLarge
                    | ProtocolError::RecordListTooLarge
                    | ProtocolError::InvalidRecord
                    | ProtocolError::InvalidTopicException
                    | ProtocolError::TopicAuthorizationFailed
                    | ProtocolError::ClusterAuthorizationFailed
                    | ProtocolError::PolicyViolation
            ),
            _ => false,
        };
        if refused {
            let message = "Kafka refused the query events. Check the topic, and what this user may do.";
            return Undelivered::permanent(Failure::new(codes::QUERY_LOG_REFUSED, message).detail(detail));
        }
        let message = "Kafka could not be reached, did not let us in, or did not take the query events in time.";
        Undelivered::passing(Failure::new(codes::QUERY_LOG_UNREACHABLE, message).detail(detail))
    }
}

#[async_trait]
impl Outlet for Kafka {
    async fn send(&mut self, batch: &Batch) -> Result<(), Undelivered> {
        let delivered = tokio::time::timeout(PATIENCE, self.deliver(batch)).await.unwrap_or_else(|_| {
            let message = "Kafka did not take the query events in time.";
            Err(Undelivered::passing(Failure::new(codes::QUERY_LOG_UNREACHABLE, message)))
        });
        if delivered.is_err() {
            // The next attempt begins with what is there then.
            self.open = None;
        }
        delivered
    }
}

fn forbidden() -> Undelivered {
    let message = "A broker of Kafka is at an address that Slipway must not connect to (link-local, metadata, multicast). Correct the brokers, or what they say of themselves; or ask an operator to change the list of forbidden networks.";
    Undelivered::permanent(Failure::new(codes::NODE_ADDRESS_FORBIDDEN, message))
}

/// `host:port`, by name or IPv4 address.
fn check_broker(broker: &str, blocked: &BlockList) -> Result<(), Failure> {
    let wrong = |problem| invalid("auditing.brokers", problem);
    let (host, port) =
        broker.split_once(':').ok_or_else(|| wrong("each is a host and a port, such as kafka.example.org:9092"))?;
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if host.is_empty() || host.len() > 253 || !host.bytes().all(letter) {
        return Err(wrong("a host is a name or an IPv4 address"));
    }
    if port.parse::<u16>().ok().is_none_or(|port| port == 0) {
        return Err(wrong("a port is a number from 1 to 65535"));
    }
    if host.parse::<IpAddr>().is_ok_and(|address| blocked.forbids(address)) {
        return Err(forbidden().failure);
    }
    Ok(())
}

fn trusting(authorities: Option<&str>) -> Result<ClientConfig, Failure> {
    let mut roots = RootCertStore::empty();
    match authorities.filter(|text| !text.trim().is_empty()) {
        None => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
        }
        Some(text) => {
            let wrong = || invalid("auditing.certificateAuthorities", "certificates in PEM are wanted");
            for certificate in CertificateDer::pem_slice_iter(text.as_bytes()) {
                roots.add(certificate.map_err(|_| wrong())?).map_err(|_| wrong())?;
            }
            if roots.is_empty() {
                return Err(wrong());
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| invalid("auditing.tls", &error.to_string()))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(brokers: &[&str], topic: &str, tls: Option<Option<&str>>) -> Result<Kafka, Failure> {
        let brokers: Vec<String> = brokers.iter().map(|broker| (*broker).to_owned()).collect();
        Kafka::new(&brokers, topic, tls, None, &BlockList::default())
    }

    #[test]
    fn what_is_wrong_is_named_before_anything_is_connected_to() {
        assert!(made(&["kafka.example.org:9092", "10.0.0.1:9093"], "queries", Some(None)).is_ok());
        for (brokers, topic, tls, named) in [
            (&[][..], "t", None, "auditing.brokers"),
            (&["host"], "t", None, "auditing.brokers"),
            (&["host:0"], "t", None, "auditing.brokers"),
            (&["host:x"], "t", None, "auditing.brokers"),
            (&["[::1]:9092"], "t", None, "auditing.brokers"),
            (&["http://host:9092"], "t", None, "auditing.brokers"),
            (&["169.254.169.254:80"], "t", None, "must not connect to"),
            (&["host:9092"], "", None, "auditing.topic"),
            (&["host:9092"], "..", None, "auditing.topic"),
            (&["host:9092"], "a b", None, "auditing.topic"),
            (&["host:9092"], "t", Some(Some("nonsense")), "auditing.certificateAuthorities"),
        ] {
            let failure = made(brokers, topic, tls).err().unwrap();
            assert!(failure.message.contains(named), "{brokers:?} {topic}: {failure}");
        }
    }
}
