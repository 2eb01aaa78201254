//! A connection to Google Cloud: whose credentials, and where they may be sent.

use std::sync::Arc;

use async_trait::async_trait;
use engine::failure::{Failure, StepError};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    api::Google,
    key::ServiceAccountKey,
    sign_in::{self, SignIn},
};
use crate::{
    codes,
    connections::{self, Connection, ConnectionDescription},
    http::{Auth, Http, Method, NodeUrl, Request, Said},
    image::registry::Login,
    managed::{
        ambient,
        opener::{Opener, told},
        problems::Problems,
        signed_in::SignedIn,
        tokens::Tokens,
    },
    spec::{ConnectionSpec, SecretRef},
    target::{Entered, NodeReport, Secrets},
    tools::Tools,
};

/// The connection's type.
pub const KIND: &str = "GCP";

const RESOURCE_MANAGER: &str = "https://cloudresourcemanager.googleapis.com";
/// The cloud's own domains: where a machine's identity may go.
pub(super) const DOMAINS: [&str; 3] = ["googleapis.com", "pkg.dev", "gcr.io"];

/// How one signs in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Authentication {
    /// With a service account's key.
    #[default]
    ServiceAccountKey,
    /// With what the operator laid onto the machine.
    Machine,
}

/// The settings of a connection, as `connection.json` describes them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct GcpSettings {
    /// How one signs in.
    pub authentication: Authentication,
    /// The key's file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account_key: Option<SecretRef>,
    /// The registry's host.
    pub registry: String,
    /// Where the registry's API is instead.
    pub registry_endpoint: String,
    /// Where tokens come from instead.
    pub token_endpoint: String,
    /// Where rights are asked about instead.
    pub resource_manager_endpoint: String,
    /// Where Vertex AI is instead.
    pub vertex_endpoint: String,
}

impl GcpSettings {
    /// Reads a connection.
    ///
    /// # Errors
    /// `CONNECTION_UNFIT` where it is of another type, or another build's.
    pub fn read(connection: Option<&ConnectionSpec>) -> Result<Self, Failure> {
        connections::settings(connections::of_kind(connection, KIND)?)
    }

    /// What is missing.
    pub(crate) fn problems(&self, problems: &mut Problems) {
        problems.need(&self.registry, "connection.registry", "the container registry's host");
        let key = self.service_account_key.as_ref().map_or("", |key| &key.id);
        if self.authentication == Authentication::ServiceAccountKey {
            problems.need(key, "connection.serviceAccountKey", "the service account's key");
        }
    }

    /// The base URL of the registry's API.
    pub(crate) fn registry_url(&self) -> String {
        if self.registry_endpoint.is_empty() {
            format!("https://{}", self.registry)
        } else {
            self.registry_endpoint.trim_end_matches('/').to_owned()
        }
    }

    fn resource_manager(&self) -> &str {
        if self.resource_manager_endpoint.is_empty() { RESOURCE_MANAGER } else { &self.resource_manager_endpoint }
    }

    fn vertex(&self, location: &str) -> String {
        if self.vertex_endpoint.is_empty() {
            format!("https://{location}-aiplatform.googleapis.com")
        } else {
            self.vertex_endpoint.clone()
        }
    }
}

/// What Google Cloud is reached with. Cheap to clone: tokens are kept in one place.
#[derive(Clone, Debug)]
pub(crate) struct Gcp {
    pub(crate) tools: Tools,
    pub(super) tokens: Arc<Tokens>,
}

impl Gcp {
    pub(crate) fn new(tools: &Tools) -> Self {
        Self { tools: tools.clone(), tokens: Arc::default() }
    }

    /// The same with nothing kept: whoever tests a connection wants to know whether one can sign in now.
    pub(crate) fn afresh(&self) -> Self {
        Self::new(&self.tools)
    }

    pub(super) fn http(&self) -> &Http {
        &self.tools.http
    }

    pub(super) fn url(&self, text: &str) -> Result<NodeUrl, Failure> {
        Ok(NodeUrl::parse(text, &self.tools.http.settings().blocked)?)
    }

    /// Vertex AI in a region, signed in.
    pub(crate) async fn vertex(
        &self,
        settings: &GcpSettings,
        location: &str,
        opener: Opener<'_>,
    ) -> Result<Google, StepError> {
        self.api("Vertex AI", settings, &settings.vertex(location), opener).await
    }

    /// The resource manager, signed in.
    pub(crate) async fn resource_manager(
        &self,
        settings: &GcpSettings,
        opener: Opener<'_>,
    ) -> Result<Google, StepError> {
        self.api("Google Cloud's resource manager", settings, settings.resource_manager(), opener).await
    }

    async fn api(
        &self,
        who: &'static str,
        settings: &GcpSettings,
        base: &str,
        opener: Opener<'_>,
    ) -> Result<Google, StepError> {
        self.may_go(settings, base)?;
        let way = Box::new(SignIn::open(self, settings, opener).await?);
        Ok(Google::new(SignedIn::open(self.http(), who, self.url(base)?, &self.tokens, way).await?))
    }

    /// User name and password for the registry. The password is a token, and always a fresh one: a transfer can take as long as a token lasts.
    pub(crate) async fn registry_login(&self, settings: &GcpSettings, opener: Opener<'_>) -> Result<Login, StepError> {
        self.may_go(settings, &settings.registry_url())?;
        let way = SignIn::open(self, settings, opener).await?;
        Ok(Login { user: "oauth2accesstoken".to_owned(), password: self.tokens.anew(&way).await? })
    }

    /// Whether a registry answers where the connection says: with a challenge, as nobody signs in.
    async fn registry_answers(&self, settings: &GcpSettings) -> Result<(), StepError> {
        self.may_go(settings, &settings.registry_url())?;
        let url = self.url(&settings.registry_url())?;
        let registry = self.http().platform("The container registry", url, Auth::None);
        let doing = "asking whether it is there";
        let got = registry.exchange(Request::new(Method::GET, &["v2", ""], doing)).await?;
        match got.status {
            401 => Ok(()),
            404 => {
                let message = "There is no container registry at the address that the connection names.";
                Err(Failure::new(codes::NODE_NOT_FOUND, message).permanent())
            }
            _ if got.succeeded() => Ok(()),
            _ => Err(got.refused(doing, &Said::default()).into()),
        }
    }

    /// Whether Vertex AI answers where the connection says; its own address is of a region, which infrastructures name.
    async fn vertex_answers(&self, settings: &GcpSettings, opener: Opener<'_>) -> Result<(), StepError> {
        if settings.vertex_endpoint.is_empty() {
            return Ok(());
        }
        Ok(self.vertex(settings, "", opener).await?.answers().await?)
    }

    /// Who signs in.
    pub(crate) async fn identity(&self, settings: &GcpSettings, opener: Opener<'_>) -> Result<String, StepError> {
        sign_in::identity(self, settings, opener).await
    }

    /// A machine's identity goes to the cloud alone.
    fn may_go(&self, settings: &GcpSettings, base: &str) -> Result<(), Failure> {
        match settings.authentication {
            Authentication::ServiceAccountKey => Ok(()),
            Authentication::Machine => {
                ambient::lent(&self.tools.host)?;
                ambient::may_go_to(&self.tools.host, base, &DOMAINS)
            }
        }
    }
}

/// The type of connection.
#[derive(Clone, Debug)]
pub struct GcpConnection(Gcp);

impl GcpConnection {
    /// With the process's tools.
    pub fn new(tools: &Tools) -> Self {
        Self(Gcp::new(tools))
    }
}

#[async_trait]
impl Connection for GcpConnection {
    fn describe(&self) -> ConnectionDescription {
        ConnectionDescription { kind: KIND, label: "Google Cloud", settings: include_str!("connection.json") }
    }

    fn unreadable(&self, settings: &Map<String, Value>, entered: Entered<'_>) -> Vec<(String, String)> {
        let Some(file) = entered.at("/serviceAccountKey") else { return Vec::new() };
        let elsewhere = settings.get("tokenEndpoint").and_then(Value::as_str).is_some_and(|url| !url.is_empty());
        let read = ServiceAccountKey::parse(file.expose()).and_then(|key| {
            key.check()?;
            if elsewhere { Ok(()) } else { key.token_uri().map(drop) }
        });
        let told = |failure: Failure| match failure.detail {
            Some(detail) => format!("{} ({detail})", failure.message),
            None => failure.message,
        };
        read.err().map(|failure| ("serviceAccountKey".to_owned(), told(failure))).into_iter().collect()
    }

    async fn check(&self, connection: &ConnectionSpec, secrets: &dyn Secrets) -> Result<NodeReport, Failure> {
        let settings = GcpSettings::read(Some(connection))?;
        let mut problems = Problems::default();
        settings.problems(&mut problems);
        let mut identity = String::new();
        if problems.0.is_empty() {
            let opener = Opener::Look(secrets);
            let gcp = self.0.afresh();
            // What it may do is a matter of projects, which infrastructures name.
            let manager = gcp.resource_manager(&settings, opener).await.map_err(told)?;
            identity = gcp.identity(&settings, opener).await.map_err(told)?;
            let (manager, vertex, registry) =
                tokio::join!(manager.answers(), gcp.vertex_answers(&settings, opener), gcp.registry_answers(&settings));
            for error in [manager.err().map(StepError::from), vertex.err(), registry.err()].into_iter().flatten() {
                problems.take(told(error));
            }
        }
        Ok(NodeReport {
            node_id: None,
            node_type: Some(KIND.to_owned()),
            version: None,
            identity,
            is_admin: false,
            problems: problems.sentences(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_and_schema_name_the_same() {
        crate::managed::schema::assert_same::<GcpSettings>(
            include_str!("connection.json"),
            &GcpSettings { service_account_key: Some(SecretRef { id: "s".to_owned() }), ..GcpSettings::default() },
        );
    }
}
