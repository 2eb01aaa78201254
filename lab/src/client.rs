//! A client of the GraphQL API that expects the worst: an answer may be lost.

use std::time::Duration;

use reqwest::{
    StatusCode,
    multipart::{Form, Part},
};
use serde_json::{Value, json};

use crate::{failure::LabError, servers::slipway::http};

/// A client with a key, at one address.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    url: String,
    key: String,
}

/// Why there is no good answer.
#[derive(Clone, Debug)]
pub enum Trouble {
    /// Nobody knows whether it was done: ask again.
    Lost(String),
    /// It was not done, for this reason.
    Refused {
        /// The code.
        code: String,
        /// The sentence.
        message: String,
    },
}

impl From<reqwest::Error> for Trouble {
    fn from(error: reqwest::Error) -> Self {
        Self::Lost(error.to_string())
    }
}

impl From<Trouble> for LabError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Lost(said) => Self::failed("a request", said),
            Trouble::Refused { code, message } => Self::Refused { code, message },
        }
    }
}

impl Client {
    /// A client of the API at `url`; no answer may take longer than `patience`.
    ///
    /// # Errors
    /// Never, once TLS is there.
    pub fn new(url: &str, key: &str, patience: Duration) -> Result<Self, LabError> {
        Ok(Self { http: http(patience)?, url: url.to_owned(), key: key.to_owned() })
    }

    /// Where the API is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Status and answer, whatever they say.
    ///
    /// # Errors
    /// When there is none.
    pub async fn raw(&self, document: &str, variables: Value) -> reqwest::Result<(StatusCode, Value)> {
        let body = json!({ "query": document, "variables": variables });
        let answer = self.http.post(format!("{}/graphql", self.url)).bearer_auth(&self.key).json(&body).send().await?;
        Ok((answer.status(), answer.json().await?))
    }

    /// The one field of a document's answer, which was not refused.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn ask(&self, document: &str, variables: Value) -> Result<Value, Trouble> {
        let (_, mut answer) = self.raw(document, variables).await?;
        if let Some(error) = answer["errors"].get(0) {
            return Err(faulty(&error["extensions"]["code"], &error["message"]));
        }
        let field = answer["data"].as_object_mut().and_then(|data| data.values_mut().next()).map(Value::take);
        let field = field.ok_or_else(|| Trouble::Lost("an answer without data".to_owned()))?;
        match field["refusals"].get(0) {
            Some(refusal) => Err(Trouble::Refused { code: text(&refusal["code"]), message: text(&refusal["message"]) }),
            None => Ok(field),
        }
    }

    /// Uploads a bundle.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn upload(&self, archive: Vec<u8>) -> Result<Value, Trouble> {
        let form = Form::new().part("file", Part::bytes(archive).file_name("bundle.zip"));
        let request = self.http.post(format!("{}/bundles", self.url)).bearer_auth(&self.key).multipart(form);
        let answer: Value = request.send().await?.json().await?;
        match answer["errors"].get(0) {
            Some(error) => Err(Trouble::Refused { code: text(&error["code"]), message: text(&error["message"]) }),
            None => Ok(answer),
        }
    }
}

/// An error of the API: a fault of its own leaves open what was done.
fn faulty(code: &Value, message: &Value) -> Trouble {
    match code.as_str() {
        Some("INTERNAL" | "TIMEOUT" | "DATABASE_UNAVAILABLE" | "RATE_LIMITED") | None => Trouble::Lost(text(message)),
        Some(code) => Trouble::Refused { code: code.to_owned(), message: text(message) },
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
