//! A client of the API over HTTP: one request and its answer. What is asked for stands in [`crate::requests`].

use std::{sync::LazyLock, time::Duration};

use reqwest::{
    StatusCode,
    multipart::{Form, Part},
};
use serde_json::{Value, json};

/// An HTTP client without proxies. Made anew for each test: a connection belongs to its test's runtime.
///
/// # Panics
/// Never, once TLS is there.
pub fn http() -> reqwest::Client {
    static TLS: LazyLock<()> = LazyLock::new(targets::http::install_crypto_provider);
    LazyLock::force(&TLS);
    reqwest::Client::builder().no_proxy().read_timeout(Duration::from_secs(60)).build().expect("an HTTP client")
}

/// A client with a key.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    url: String,
    key: String,
}

impl Client {
    /// A client of the API at `url`.
    pub fn new(url: &str, key: &str) -> Self {
        Self { http: http(), url: url.to_owned(), key: key.to_owned() }
    }

    /// Where the API is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The API is somewhere else now.
    pub fn move_to(&mut self, url: &str) {
        url.clone_into(&mut self.url);
    }

    /// A GraphQL request: status and the whole answer.
    ///
    /// # Errors
    /// When there is none.
    pub async fn raw(&self, document: &str, variables: Value) -> reqwest::Result<(StatusCode, Value)> {
        let body = json!({ "query": document, "variables": variables });
        let answer = self.http.post(format!("{}/graphql", self.url)).bearer_auth(&self.key).json(&body).send().await?;
        Ok((answer.status(), answer.json().await?))
    }

    /// The data of a GraphQL request.
    ///
    /// # Panics
    /// When there is an error.
    pub async fn graphql(&self, document: &str, variables: Value) -> Value {
        let (status, mut answer) = self.raw(document, variables).await.expect("an answer");
        assert!(status.is_success() && answer.get("errors").is_none(), "{status}: {answer:#}\n{document}");
        answer["data"].take()
    }

    /// Uploads a bundle: status and the whole answer.
    ///
    /// # Errors
    /// When there is none.
    pub async fn try_upload(
        &self,
        project: Option<&str>,
        archive: impl Into<reqwest::Body>,
    ) -> reqwest::Result<(StatusCode, Value)> {
        let project = project.map(|project| ("projectKey", project));
        self.send("bundles", project, archive).await
    }

    async fn send(
        &self,
        path: &str,
        query: Option<(&str, &str)>,
        archive: impl Into<reqwest::Body>,
    ) -> reqwest::Result<(StatusCode, Value)> {
        let form = Form::new().part("file", Part::stream(archive).file_name("archive.zip"));
        let request = self.http.post(format!("{}/{path}", self.url)).bearer_auth(&self.key).multipart(form);
        let answer = request.query(query.as_slice()).send().await?;
        Ok((answer.status(), answer.json().await?))
    }

    /// Uploads a version of a published service.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn upload_version(&self, archive: impl Into<reqwest::Body>) -> Value {
        let (status, answer) = self.send("service-versions", None, archive).await.expect("an answer");
        assert!(status.is_success(), "{status}: {answer:#}");
        answer
    }

    /// Uploads a bundle.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn upload(&self, archive: impl Into<reqwest::Body>) -> Value {
        let (status, answer) = self.try_upload(None, archive).await.expect("an answer");
        assert!(status.is_success(), "{status}: {answer:#}");
        answer
    }
}
