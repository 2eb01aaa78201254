//! What the edge allows, and for how long. All bounds are settings; the defaults suit one team's server.

use std::time::Duration;

use serde::Deserialize;

/// The bounds of the HTTP edge.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The largest body of a GraphQL request, in bytes.
    pub body_limit: usize,
    /// The largest upload of a bundle, in bytes, with its envelope.
    pub upload_limit: u64,
    /// The most operations in one batch.
    pub batch_limit: usize,
    /// The longest that one request may take, in seconds; subscriptions and uploads apart.
    pub request_timeout_s: u64,
    /// An upload that brings nothing for so long is dropped, in seconds.
    pub upload_idle_s: u64,
    /// An upload that brings fewer bytes a second is dropped: on average, from half a minute on, over the time in which the client was waited for.
    pub upload_pace: u64,
    /// The most uploads that one process takes at once.
    pub uploads_at_once: usize,
    /// The most connections that one process keeps open; whoever comes beyond waits.
    pub connections: usize,
    /// The most GraphQL requests that one process answers at once, streams apart; more wait up to five seconds.
    pub requests_at_once: usize,
    /// GraphQL requests that one process takes a second, on average; 0 is no bound.
    pub requests_per_second: u32,
    /// How many of them may come at once after a quiet time.
    pub burst: u32,
    /// The same for each key; each field of a mutation counts.
    pub key_requests_per_second: u32,
    /// The same for each key.
    pub key_burst: u32,
    /// Origins of other sites whose pages may use this API (`https://board.example.org`). The own origin is always allowed.
    pub allowed_origins: Vec<String>,
    /// How long a WebSocket may take until it says who it is, in seconds.
    pub socket_init_s: u64,
    /// The most operations that run at once on one WebSocket.
    pub socket_operations: usize,
    /// How often a stream that has nothing to say is pinged, in seconds.
    pub ping_s: u64,
    /// How often a stream's key is checked again, in seconds.
    pub recheck_s: u64,
    /// A client that takes nothing for so long is dropped, in seconds.
    pub send_timeout_s: u64,
    /// How long running requests may take at a shutdown, in seconds.
    pub drain_s: u64,
    /// What this installation calls itself towards clients of the REST API.
    pub node_id: String,
    /// What one GraphQL document may ask.
    pub limits: Limits,
}

/// What one GraphQL document may ask.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// The longest document, in bytes.
    pub bytes: usize,
    /// The most words and signs.
    pub tokens: usize,
    /// The deepest nesting of brackets of any kind.
    pub nesting: usize,
    /// The deepest nesting of fields.
    pub depth: usize,
    /// The highest complexity: about the number of fields of the answer if every page is full.
    pub complexity: usize,
    /// The most aliases, counted where fragments are used.
    pub aliases: usize,
    /// The most fields and uses of fragments, counted where fragments are used.
    pub fields: usize,
    /// The most directives on one field.
    pub directives: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            body_limit: 2 << 20,
            upload_limit: 64 << 30,
            batch_limit: 10,
            request_timeout_s: 60,
            upload_idle_s: 60,
            upload_pace: 4 << 10,
            uploads_at_once: 32,
            connections: 4_096,
            requests_at_once: 64,
            requests_per_second: 1_000,
            burst: 5_000,
            key_requests_per_second: 200,
            key_burst: 2_000,
            allowed_origins: Vec::new(),
            socket_init_s: 10,
            socket_operations: 50,
            ping_s: 15,
            recheck_s: 30,
            send_timeout_s: 30,
            drain_s: 30,
            node_id: "slipway".to_owned(),
            limits: Limits::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 64 << 10,
            tokens: 10_000,
            nesting: 64,
            depth: 20,
            complexity: 50_000,
            aliases: 50,
            fields: 2_000,
            directives: 5,
        }
    }
}

impl Settings {
    pub(crate) fn request_timeout(&self) -> Duration {
        Duration::from_secs(self.request_timeout_s)
    }

    pub(crate) fn upload_idle(&self) -> Duration {
        Duration::from_secs(self.upload_idle_s)
    }

    pub(crate) fn socket_init(&self) -> Duration {
        Duration::from_secs(self.socket_init_s)
    }

    pub(crate) fn ping(&self) -> Duration {
        Duration::from_secs(self.ping_s.max(1))
    }

    pub(crate) fn recheck(&self) -> Duration {
        Duration::from_secs(self.recheck_s.max(1))
    }

    pub(crate) fn send_timeout(&self) -> Duration {
        Duration::from_secs(self.send_timeout_s.max(1))
    }
}
