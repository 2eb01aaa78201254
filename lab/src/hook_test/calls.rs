//! What a hook called, in order: on the node, and elsewhere.

use std::fmt;

use sandbox::{Call, OutsideCall};
use serde_json::json;

/// Whom it called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whom {
    /// The practice node.
    Node,
    /// Anybody else.
    Outside,
}

/// One call.
#[derive(Clone, Debug)]
pub(super) struct Made {
    /// When it arrived, in microseconds since the epoch.
    pub(super) at: i64,
    pub(super) whom: Whom,
    /// The first, second, … call of this run to `whom`.
    pub(super) nth: usize,
    pub(super) method: String,
    /// The path on the node; the whole URL elsewhere.
    pub(super) target: String,
    pub(super) body: Vec<u8>,
    /// Whether it carries the idempotency key, wherever.
    pub(super) keyed: bool,
}

impl Made {
    /// What the node logged. Uploads are compared by their hash.
    pub(super) fn on_node(call: &Call, nth: usize, key: &str) -> Self {
        let query: Vec<String> = call.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mark = if query.is_empty() { "" } else { "?" };
        let body = json!(call.body).to_string();
        Self {
            at: call.start,
            whom: Whom::Node,
            nth,
            method: call.method.clone(),
            target: format!("{}{mark}{}", call.path, query.join("&")),
            keyed: body.contains(key) || query.iter().any(|one| one.contains(key)),
            body: body.into_bytes(),
        }
    }

    /// What the proxy heard.
    pub(super) fn outside(call: OutsideCall, nth: usize, key: &str) -> Self {
        let has = |text: &[u8]| text.windows(key.len()).any(|part| part == key.as_bytes());
        let keyed = has(call.url.as_bytes()) || has(&call.body) || call.headers.iter().any(|value| has(value));
        Self { at: call.at, whom: Whom::Outside, nth, method: call.method, target: call.url, body: call.body, keyed }
    }

    /// Whether it asks for an effect: the other methods are safe (RFC 9110, 9.2.1). A tunnel that was refused had none.
    pub(super) fn asks_for_effect(&self) -> bool {
        !matches!(self.method.as_str(), "GET" | "HEAD" | "OPTIONS" | "TRACE" | "CONNECT")
    }

    /// Whether it does no harm that this came again, asking for the `same` or not: its receiver can tell by the key, or a repetition is nothing
    /// by its method (RFC 9110, 9.2.2).
    pub(super) fn is_harmless(&self, same: bool) -> bool {
        self.keyed || same && matches!(self.method.as_str(), "PUT" | "DELETE")
    }

    /// Whether the other one asks for the same, whatever it says of it.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        (self.whom, &self.method, &self.target) == (other.whom, &other.method, &other.target)
    }
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<7} {}", self.method, self.target)?;
        if self.keyed { f.write_str("   (with the idempotency key)") } else { Ok(()) }
    }
}
