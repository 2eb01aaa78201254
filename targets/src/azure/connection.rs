//! A connection to Azure: whose credentials, and where they may be sent.

use std::sync::Arc;

use async_trait::async_trait;
use engine::failure::{Failure, StepError};
use serde::{Deserialize, Serialize};

use super::{arm::Arm, registry::Registry, sign_in::SignIn};
use crate::{
    codes,
    connections::{self, Connection, ConnectionDescription},
    http::NodeUrl,
    managed::{
        ambient,
        opener::{Opener, told},
        problems::Problems,
        signed_in::SignedIn,
        tokens::Tokens,
    },
    spec::{ConnectionSpec, SecretRef},
    target::{NodeReport, Secrets},
    tools::Tools,
};

/// The connection's type.
pub const KIND: &str = "AZURE";

const AUTHORITY: &str = "https://login.microsoftonline.com";
const MANAGEMENT: &str = "https://management.azure.com";
/// The clouds' own domains: where a machine's identity may go. Not `azure.com` and its like, under which anybody can have an
/// address that they answer at themselves; anybody can have a registry under `azurecr.io`, and Microsoft answers there.
const DOMAINS: [&str; 10] = [
    "microsoftonline.com",
    "microsoftonline.us",
    "microsoftonline.cn",
    "login.chinacloudapi.cn",
    "management.azure.com",
    "management.usgovcloudapi.net",
    "management.chinacloudapi.cn",
    "azurecr.io",
    "azurecr.us",
    "azurecr.cn",
];

/// How one signs in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Authentication {
    /// With an app registration's secret.
    #[default]
    ClientSecret,
    /// With the token that the machine's platform lays into a file.
    WorkloadIdentity,
}

/// The settings of a connection, as `connection.json` describes them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct AzureSettings {
    /// How one signs in.
    pub authentication: Authentication,
    /// The directory.
    pub tenant_id: String,
    /// The app.
    pub client_id: String,
    /// Its secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<SecretRef>,
    /// The registry's login server.
    pub registry: String,
    /// Where the registry's API is instead.
    pub registry_endpoint: String,
    /// Where tokens come from instead.
    pub authority_endpoint: String,
    /// Where resources are managed instead.
    pub management_endpoint: String,
    /// Whom management tokens are for instead.
    pub management_audience: String,
}

/// One of the two, whichever is said.
fn or<'a>(said: &'a str, usual: &'a str) -> &'a str {
    if said.is_empty() { usual } else { said.trim_end_matches('/') }
}

impl AzureSettings {
    /// Reads a connection.
    ///
    /// # Errors
    /// `CONNECTION_UNFIT` where it is of another type, or another build's.
    pub fn read(connection: Option<&ConnectionSpec>) -> Result<Self, Failure> {
        connections::settings(connections::of_kind(connection, KIND)?)
    }

    /// What is missing.
    pub(crate) fn problems(&self, problems: &mut Problems) {
        problems.need(&self.tenant_id, "connection.tenantId", "the tenant id");
        problems.need(&self.client_id, "connection.clientId", "the client id");
        problems.need(&self.registry, "connection.registry", "the container registry's login server");
        let secret = self.client_secret.as_ref().map_or("", |secret| &secret.id);
        if self.authentication == Authentication::ClientSecret {
            problems.need(secret, "connection.clientSecret", "the client secret");
        }
    }

    pub(super) fn authority(&self) -> &str {
        or(&self.authority_endpoint, AUTHORITY)
    }

    pub(crate) fn management(&self) -> &str {
        or(&self.management_endpoint, MANAGEMENT)
    }

    pub(super) fn audience(&self) -> &str {
        or(&self.management_audience, MANAGEMENT)
    }

    /// The base URL of the registry's API.
    pub(crate) fn registry_url(&self) -> String {
        if self.registry_endpoint.is_empty() {
            format!("https://{}", self.registry)
        } else {
            self.registry_endpoint.trim_end_matches('/').to_owned()
        }
    }
}

/// What Azure is reached with. Cheap to clone: tokens are kept in one place.
#[derive(Clone, Debug)]
pub(crate) struct Azure {
    pub(crate) tools: Tools,
    pub(super) tokens: Arc<Tokens>,
}

impl Azure {
    pub(crate) fn new(tools: &Tools) -> Self {
        Self { tools: tools.clone(), tokens: Arc::default() }
    }

    /// The same with nothing kept: whoever tests a connection wants to know whether one can sign in now.
    pub(crate) fn afresh(&self) -> Self {
        Self::new(&self.tools)
    }

    pub(crate) fn url(&self, text: &str) -> Result<NodeUrl, Failure> {
        Ok(NodeUrl::parse(text, &self.tools.http.settings().blocked)?)
    }

    /// Signs in to the management API.
    pub(crate) async fn arm(&self, settings: &AzureSettings, opener: Opener<'_>) -> Result<Arm, StepError> {
        let way = Box::new(self.sign_in(settings, opener).await?);
        let url = self.url(settings.management())?;
        Ok(Arm::new(SignedIn::open(&self.tools.http, "Azure", url, &self.tokens, way).await?))
    }

    /// Signs in to the registry. It exchanges a management token for its own, so one that it refuses is got anew once.
    pub(crate) async fn registry(&self, settings: &AzureSettings, opener: Opener<'_>) -> Result<Registry, StepError> {
        let way = self.sign_in(settings, opener).await?;
        let token = self.tokens.get(&way).await?;
        match Registry::sign_in(self, settings, token.clone()).await {
            Err(StepError::Permanent(failure)) if failure.code == codes::NODE_KEY_REJECTED => {
                let token = self.tokens.instead_of(&token, &way).await?;
                Registry::sign_in(self, settings, token).await
            }
            signed_in => signed_in,
        }
    }

    async fn sign_in(&self, settings: &AzureSettings, opener: Opener<'_>) -> Result<SignIn, StepError> {
        if settings.authentication == Authentication::WorkloadIdentity {
            let host = &self.tools.host;
            ambient::lent(host)?;
            for place in [settings.authority(), settings.management(), &settings.registry_url()] {
                ambient::may_go_to(host, place, &DOMAINS)?;
            }
        }
        SignIn::open(self, settings, opener).await
    }
}

/// The type of connection.
#[derive(Clone, Debug)]
pub struct AzureConnection(Azure);

impl AzureConnection {
    /// With the process's tools.
    pub fn new(tools: &Tools) -> Self {
        Self(Azure::new(tools))
    }
}

#[async_trait]
impl Connection for AzureConnection {
    fn describe(&self) -> ConnectionDescription {
        ConnectionDescription { kind: KIND, label: "Azure", settings: include_str!("connection.json") }
    }

    async fn check(&self, connection: &ConnectionSpec, secrets: &dyn Secrets) -> Result<NodeReport, Failure> {
        let settings = AzureSettings::read(Some(connection))?;
        let mut problems = Problems::default();
        settings.problems(&mut problems);
        if problems.0.is_empty() {
            let opener = Opener::Look(secrets);
            let azure = self.0.afresh();
            let arm = azure.arm(&settings, opener).await.map_err(told)?;
            if arm.subscriptions().await?.is_empty() {
                problems.add(
                    &codes::RIGHTS_MISSING,
                    "The app sees no subscription: give it a role on the resource group of the workspace.",
                );
            }
            if let Err(error) = azure.registry(&settings, opener).await {
                problems.take(told(error));
            }
        }
        Ok(NodeReport {
            node_id: Some(settings.tenant_id.clone()).filter(|id| !id.is_empty()),
            node_type: Some(KIND.to_owned()),
            version: None,
            identity: settings.client_id.clone(),
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
        crate::managed::schema::assert_same::<AzureSettings>(
            include_str!("connection.json"),
            &AzureSettings { client_secret: Some(SecretRef { id: "s".to_owned() }), ..AzureSettings::default() },
        );
    }
}
