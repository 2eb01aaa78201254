//! The API node beside the front, over HTTP: connections are kept, answers are bounded, and nothing leads elsewhere.

use std::time::Duration;

use api::front::{Answer, Upstream, UpstreamError};
use bytes::{Bytes, BytesMut};
use engine::secrets::Secret;
use reqwest::{Client, Url, header::CONTENT_TYPE};

use super::settings::Plan;
use crate::failure::Failure;

/// The variable that holds a key for the node, where its service wants one.
pub(super) const KEY_VARIABLE: &str = "SLIPWAY_FRONT_KEY";
/// A node of the same container answers at once, or is not well.
const CONNECT: Duration = Duration::from_secs(2);
const HEALTH: Duration = Duration::from_secs(3);
/// The largest answer that is read, in bytes.
const LARGEST: usize = 64 << 20;

#[derive(Clone)]
pub(super) struct Beside {
    http: Client,
    /// The endpoint, without a verb.
    endpoint: Url,
    health: Url,
    key: Option<Secret>,
}

impl Beside {
    pub(super) fn new(plan: &Plan) -> Result<Self, Failure> {
        let http = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT)
            .timeout(plan.front.timeout)
            .tcp_nodelay(true)
            .build()
            .map_err(Failure::io)?;
        let under = |parts: &[&str]| {
            let mut url = plan.upstream.clone();
            if let Ok(mut path) = url.path_segments_mut() {
                path.pop_if_empty().extend(parts);
            }
            url
        };
        let endpoint = under(&["public", "api", "v1", &plan.service, &plan.endpoint]);
        Ok(Self { http, endpoint, health: under(&["isAlive", ""]), key: plan.key.clone() })
    }
}

impl Upstream for Beside {
    async fn ask(&self, verb: &'static str, body: Bytes) -> Result<Answer, UpstreamError> {
        let mut url = self.endpoint.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.push(verb);
        }
        let mut request = self.http.post(url).header(CONTENT_TYPE, "application/json").body(body);
        if let Some(key) = &self.key {
            request = request.bearer_auth(key.expose());
        }
        let mut response = request.send().await.map_err(broken)?;
        let status = response.status().as_u16();
        let mut body = BytesMut::new();
        while let Some(piece) = response.chunk().await.map_err(broken)? {
            if body.len() + piece.len() > LARGEST {
                return Err(UpstreamError::TooLarge);
            }
            body.extend_from_slice(&piece);
        }
        Ok(Answer { status, body: body.freeze() })
    }

    async fn alive(&self) -> bool {
        let asked = self.http.get(self.health.clone()).timeout(HEALTH).send().await;
        asked.is_ok_and(|response| response.status().is_success())
    }
}

fn broken(error: reqwest::Error) -> UpstreamError {
    if error.is_timeout() { UpstreamError::TimedOut } else { UpstreamError::Away }
}
