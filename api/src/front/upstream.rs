//! The API node beside the front.

use bytes::Bytes;

/// An API node, asked about one endpoint.
pub trait Upstream: Send + Sync + 'static {
    /// Asks for `verb`, such as `predict`, with a JSON body. Bounded in time and size.
    fn ask(&self, verb: &'static str, body: Bytes) -> impl Future<Output = Result<Answer, UpstreamError>> + Send;

    /// Whether the node can be asked. Quick.
    fn alive(&self) -> impl Future<Output = bool> + Send;
}

/// What the node said, whatever its status.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// All of the body.
    pub body: Bytes,
}

/// There is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamError {
    /// No connection, or it broke off.
    Away,
    /// Not in time.
    TimedOut,
    /// More than is read of one answer.
    TooLarge,
}
