//! What a hook called, in order: on the node, and elsewhere.

use std::fmt;

use sandbox::{Call, OutsideCall};
use serde_json::json;

/// Whom it called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
    pub(super) method: String,
    /// The path on the node; the whole URL elsewhere.
    pub(super) target: String,
    /// What its body was, so that two can be compared.
    pub(super) body: String,
    /// Whether it carries the idempotency key. A node knows none.
    pub(super) keyed: bool,
}

impl Made {
    /// What the node logged. Uploads are compared by their hash.
    pub(super) fn on_node(call: &Call) -> Self {
        let query: Vec<String> = call.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mark = if query.is_empty() { "" } else { "?" };
        Self {
            at: call.start,
            whom: Whom::Node,
            method: call.method.clone(),
            target: format!("{}{mark}{}", call.path, query.join("&")),
            body: json!(call.body).to_string(),
            keyed: false,
        }
    }

    /// What the proxy heard.
    pub(super) fn outside(call: OutsideCall) -> Self {
        let OutsideCall { at, method, url, sha256, mentions } = call;
        Self { at, whom: Whom::Outside, method, target: url, body: sha256, keyed: mentions }
    }

    /// By what it is held back: a node's faults know paths, the proxy whole URLs.
    pub(super) fn place(&self) -> &str {
        match self.whom {
            Whom::Node => self.target.split('?').next().unwrap_or_default(),
            Whom::Outside => &self.target,
        }
    }

    /// Whether it asks for an effect: the other methods are safe (RFC 9110, 9.2.1).
    pub(super) fn asks_for_effect(&self) -> bool {
        !self.is_tunnel() && !matches!(self.method.as_str(), "GET" | "HEAD" | "OPTIONS" | "TRACE")
    }

    /// A tunnel that was refused: nobody knows what it was for.
    pub(super) fn is_tunnel(&self) -> bool {
        self.method == "CONNECT"
    }

    /// Whether it does no harm that this came again, asking for the `same` or not: its receiver can tell by the key, or a repetition is nothing
    /// by its method (RFC 9110, 9.2.2).
    pub(super) fn is_harmless(&self, same: bool) -> bool {
        self.keyed || same && matches!(self.method.as_str(), "PUT" | "DELETE")
    }

    /// Calls of one kind ask for the same, whatever they say of it.
    pub(super) fn kind(&self) -> (Whom, &str, &str) {
        (self.whom, &self.method, &self.target)
    }
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<7} {}", self.method, self.target)?;
        if self.keyed { f.write_str("   (with the idempotency key)") } else { Ok(()) }
    }
}
