//! Sending events to event servers: `POST {url}/events`, several at once, as they come. At best effort: what an event
//! server does not take is counted, and gone.

use super::ApiCore;
use super::version::EventServer;
use poem::http::Uri;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// The most events of one call.
const BATCH: usize = 100;
/// The longest a call may take.
const LONGEST: Duration = Duration::from_secs(10);
/// The longest status line that is read, in bytes.
const LINE: u64 = 1024;

/// Sends what comes, for ever.
pub(super) async fn run(core: Arc<ApiCore>) {
    let mut sender = Sender::default();
    loop {
        let (server, events) = core.events.next(BATCH).await;
        let count = events.len();
        let outcome = tokio::time::timeout(LONGEST, sender.post(&server, &events)).await;
        let outcome =
            outcome.unwrap_or_else(|_| Err(io::Error::new(ErrorKind::TimedOut, "there was no answer in time")));
        if let Err(error) = &outcome {
            tracing::warn!(%error, server.url, count, "an event server did not take events");
        }
        core.events.delivered(count, outcome.is_ok());
    }
}

/// Makes calls; what TLS needs is read when it is first needed.
#[derive(Default)]
struct Sender {
    tls: Option<TlsConnector>,
}

impl Sender {
    async fn post(&mut self, server: &EventServer, events: &[Value]) -> io::Result<()> {
        let wrong = |_| io::Error::new(ErrorKind::InvalidInput, "that is no address");
        let uri: Uri = format!("{}/events", server.url).parse().map_err(|_| wrong(()))?;
        let authority = uri.authority().ok_or(()).map_err(wrong)?;
        let body = json!({"events": events}).to_string();
        let mut head = format!("POST {} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n", uri.path());
        head.push_str(&format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()));
        if let Some(key) = &server.key {
            head.push_str(&format!("Authorization: Bearer {key}\r\n"));
        }
        head.push_str("\r\n");
        let message = [head, body].concat();
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let secure = uri.scheme_str() == Some("https");
        let stream = TcpStream::connect((host, authority.port_u16().unwrap_or(if secure { 443 } else { 80 }))).await?;
        if !secure {
            return exchange(stream, &message).await;
        }
        let tls = match &self.tls {
            Some(tls) => tls,
            None => self.tls.insert(connector()?),
        };
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        exchange(tls.connect(name, stream).await?, &message).await
    }
}

/// Trusts whom this machine trusts.
fn connector() -> io::Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "a certificate of this machine can't be read");
    }
    roots.add_parsable_certificates(found.certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(io::Error::other)?.with_root_certificates(roots).with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Sends a message and reads the status of its answer.
async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, message: &str) -> io::Result<()> {
    stream.write_all(message.as_bytes()).await?;
    stream.flush().await?;
    let mut line = Vec::new();
    BufReader::new(stream).take(LINE).read_until(b'\n', &mut line).await?;
    let line = String::from_utf8_lossy(&line);
    match line.split(' ').nth(1).filter(|_| line.starts_with("HTTP/1.")) {
        Some(status) if status.len() == 3 && status.starts_with('2') => Ok(()),
        Some(status) => Err(io::Error::other(format!("it answered {}", status.escape_debug()))),
        None => Err(io::Error::new(ErrorKind::InvalidData, "its answer is no HTTP")),
    }
}
