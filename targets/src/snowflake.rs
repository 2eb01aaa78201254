//! Snowflake, as a connection: an account, a user, and how that user signs in.
//!
//! * `settings`: what a connection says. `key_pair`: the token that is signed with a private key.
//! * `client`: the account's API; its refusals. `statements`: the SQL API. `ident`: names and texts inside SQL and URLs.
//! * `grants`: what a role may do. `who`: who signs in. `vault`: what opens secrets.

pub(crate) mod client;
pub(crate) mod grants;
pub(crate) mod ident;
pub(crate) mod key_pair;
pub(crate) mod settings;
pub(crate) mod statements;
pub(crate) mod vault;
pub(crate) mod who;

use async_trait::async_trait;
use engine::failure::Failure;
use serde_json::{Map, Value};

use self::{
    client::{Api, KIND, settings_of},
    statements::Context,
    vault::Vault,
};
use crate::{
    codes,
    connections::{Connection, ConnectionDescription},
    http::Http,
    spec::ConnectionSpec,
    target::{Entered, NodeReport, Secrets},
    tools::Tools,
};

/// The type of connection.
#[derive(Clone, Debug)]
pub struct Snowflake {
    http: Http,
}

impl Snowflake {
    /// With the process's HTTP client.
    pub fn new(tools: &Tools) -> Self {
        Self { http: tools.http.clone() }
    }
}

#[async_trait]
impl Connection for Snowflake {
    fn describe(&self) -> ConnectionDescription {
        ConnectionDescription { kind: KIND, label: "Snowflake", settings: include_str!("snowflake/connection.json") }
    }

    fn unreadable(&self, settings: &Map<String, Value>, entered: Entered<'_>) -> Vec<(String, String)> {
        let Some(pem) = entered.at("/privateKey") else { return Vec::new() };
        let passphrase = settings.contains_key("passphrase");
        let failure = key_pair::unreadable(pem, passphrase);
        failure.map(|failure| ("privateKey".to_owned(), failure.message)).into_iter().collect()
    }

    async fn check(&self, connection: &ConnectionSpec, secrets: &dyn Secrets) -> Result<NodeReport, Failure> {
        let settings = settings_of(Some(connection))?;
        let api = Api::open(&self.http, &settings, Vault::Look(secrets), self.http.settings().call_timeout)
            .await
            .map_err(vault::failure)?;
        let who = api.whoami(&Context::default()).await?;
        if who.user.is_empty() {
            let message = "What answers at the account's address does not say who signs in, so it may be no Snowflake. Check account and accountUrl.";
            return Err(Failure::new(codes::NODE_ANSWER_UNEXPECTED, message));
        }
        let mut problems = Vec::new();
        if who.role.is_empty() {
            problems.push(format!("The user {} has no default role, as which the REST API runs.", who.user));
        }
        if settings.registry_secret().is_none() {
            problems.push(
                "registryPassword: the image repository takes a password or a programmatic access token, and none is entered. Images can't be pushed."
                    .to_owned(),
            );
        }
        let is_admin = matches!(who.role.as_str(), "ACCOUNTADMIN" | "SECURITYADMIN" | "SYSADMIN");
        let identity = if who.role.is_empty() { who.user } else { format!("{} as {}", who.user, who.role) };
        Ok(NodeReport {
            node_id: Some(who.account).filter(|name| !name.is_empty()),
            node_type: Some(KIND.to_owned()),
            version: Some(who.version).filter(|version| !version.is_empty()),
            identity,
            is_admin,
            problems,
        })
    }
}
