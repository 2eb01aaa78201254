//! What a kind of practice node brings along; the door, the log, the faults and the controls are the same for all.

use crate::auth::{Claim, KeyKind};
use crate::desk::Desk;
use crate::reply::{Answer, Refusal};
use crate::request::{Asked, Json, Place};
use poem::{Body, Request};
use serde_json::Value;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// All of a node but its connections.
pub(crate) trait Practice: Sized + Send + Sync + 'static {
    /// The page at the root, for people who open the node in a browser.
    const PAGE: &'static str;

    /// Log and faults.
    fn desk(&self) -> &Desk;

    /// The version that the node claims to be.
    fn version(&self) -> &str;

    /// The most bytes of an upload.
    fn max_upload(&self) -> u64;

    /// Where a path leads.
    fn place(path: &str) -> Place;

    /// A path as the log has it: without secrets.
    fn logged(&self, segments: &[String]) -> String {
        format!("/{}", segments.join("/"))
    }

    /// The kind of key that a call to this path carries, and under which name it acts.
    fn caller(&self, claim: &Claim, segments: &[String]) -> (KeyKind, Option<String>);

    /// Whether a call may use the controls.
    fn may_control(&self, claim: &Claim) -> bool {
        self.caller(claim, &[]).0 == KeyKind::Admin
    }

    /// Does what a call asks. `body` is there if it is an upload, and is taken if it is read.
    fn answer(
        asked: &Asked<'_, Self>,
        claim: &Claim,
        request: Request,
        body: &mut Option<Body>,
    ) -> impl Future<Output = Answer> + Send;

    /// The end state, for comparing.
    fn snapshot(&self) -> Value;

    /// A control of this kind of node alone.
    fn control(&self, _method: &str, _segments: &[&str], _json: &Json) -> Answer {
        Err(Refusal::missing("no such control call"))
    }

    /// Work beside the calls, for as long as the node listens.
    fn background(self: &Arc<Self>, _stop: &CancellationToken) {}
}
