//! What a node asks for itself, with its token instead of a user's key.

use reqwest::Method;
use serde_json::Value;

use super::{Client, answer};
use crate::failure::Failure;

impl Client {
    /// Asks once: what gets no answer may have been done.
    pub(crate) async fn fleet(&self, method: Method, body: &Value) -> Result<Value, Failure> {
        let request = self.http.request(method, self.url("/fleet/nodes"));
        let request = if body.is_null() { request } else { request.json(body) };
        let answer = answer::json(self.send(request).await?).await?;
        match answer["errors"].get(0) {
            Some(error) => Err(answer::refusal(error)),
            None => Ok(answer),
        }
    }
}
