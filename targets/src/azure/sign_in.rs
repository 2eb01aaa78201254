//! Tokens of Microsoft's identity platform: an app with a secret, or with a token that the machine's platform vouches with.

use std::path::PathBuf;

use async_trait::async_trait;
use engine::{
    failure::{Failure, StepError},
    secrets::Secret,
};
use serde::Deserialize;
use serde_json::Value;

use super::connection::{Authentication, Azure, AzureSettings};
use crate::{
    codes,
    http::{Auth, Body, CallError, Method, Request, Said},
    managed::{
        ambient, names,
        opener::Opener,
        tokens::{self, Fresh},
    },
};

/// What a client's own token is called in the form.
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// Where the platform of a machine says its token lies.
const TOKEN_FILE: &str = "AZURE_FEDERATED_TOKEN_FILE";

/// One way to sign in.
#[derive(Clone)]
pub(super) struct SignIn {
    azure: Azure,
    settings: AzureSettings,
    credential: Secret,
}

#[derive(Deserialize)]
struct Answer {
    access_token: Secret,
    #[serde(default)]
    expires_in: u64,
}

impl SignIn {
    /// Takes out what one signs in with. Talks to nobody.
    pub(super) async fn open(azure: &Azure, settings: &AzureSettings, opener: Opener<'_>) -> Result<Self, StepError> {
        let credential = Self::credential(azure, settings, opener).await?;
        Ok(Self { azure: azure.clone(), settings: settings.clone(), credential })
    }

    async fn credential(azure: &Azure, settings: &AzureSettings, opener: Opener<'_>) -> Result<Secret, StepError> {
        match settings.authentication {
            Authentication::ClientSecret => match &settings.client_secret {
                Some(secret) => opener.open(secret).await,
                None => Err(Failure::new(
                    codes::SETTING_MISSING,
                    "connection.clientSecret: the client secret is missing. Enter it.",
                )
                .permanent()),
            },
            Authentication::WorkloadIdentity => {
                let said = &azure.tools.host.federated_token_file;
                let path = if said.as_os_str().is_empty() {
                    std::env::var_os(TOKEN_FILE).map(PathBuf::from)
                } else {
                    Some(said.clone())
                };
                let path = path.ok_or_else(|| {
                    let message = format!("The machine that Slipway runs on has no identity of its own: {TOKEN_FILE} is not set. Its operator has to look.");
                    Failure::new(codes::AMBIENT_CREDENTIALS_MISSING, message)
                })?;
                let bytes = ambient::file(&path, "The federated token").await?;
                let text = String::from_utf8(bytes).map_err(|_| {
                    Failure::new(
                        codes::AMBIENT_CREDENTIALS_MISSING,
                        "The federated token's file is no text. The operator has to look.",
                    )
                })?;
                Ok(Secret::from(text.trim().to_owned()))
            }
        }
    }
}

#[async_trait]
impl tokens::SignIn for SignIn {
    fn key(&self) -> String {
        let settings = &self.settings;
        let kind = format!("{:?}", settings.authentication);
        let parts = [settings.authority(), &settings.tenant_id, &settings.client_id, settings.audience(), &kind];
        names::hash(parts.iter().map(|part| part.as_bytes()).chain([self.credential.expose().as_bytes()]), 64)
    }

    /// A token for the management API.
    async fn fresh(&self) -> Result<Fresh, CallError> {
        let (settings, doing, credential) = (&self.settings, "signing in", self.credential.clone());
        let text = |text: &str| Secret::from(text.to_owned());
        let mut form = vec![
            ("grant_type", text("client_credentials")),
            ("client_id", text(&settings.client_id)),
            ("scope", text(&format!("{}/.default", settings.audience()))),
        ];
        match settings.authentication {
            Authentication::ClientSecret => form.push(("client_secret", credential.clone())),
            Authentication::WorkloadIdentity => {
                form.push(("client_assertion_type", text(JWT_BEARER)));
                form.push(("client_assertion", credential.clone()));
            }
        }
        let url = self.azure.url(settings.authority()).map_err(CallError::reported)?;
        let node = self.azure.tools.http.platform("Microsoft's identity platform", url, Auth::Signed(vec![credential]));
        let path = [settings.tenant_id.as_str(), "oauth2", "v2.0", "token"];
        let answer =
            node.exchange(Request { body: Body::Form(form), ..Request::new(Method::POST, &path, doing) }).await?;
        if answer.succeeded() {
            let Answer { access_token, expires_in } = answer.json(doing)?;
            return Ok(Fresh { token: access_token, expires_in });
        }
        let said = answer.value().map(|value| Said {
            code: value["error"].as_str().unwrap_or_default().to_owned(),
            message: value["error_description"]
                .as_str()
                .unwrap_or_default()
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned(),
        });
        let said = said.unwrap_or_default();
        let error = answer.refused(doing, &said);
        // OAuth 2.0 says 400 for most of what is wrong with a client.
        let of_client = matches!(
            said.code.as_str(),
            "invalid_client" | "invalid_grant" | "unauthorized_client" | "invalid_request"
        );
        if answer.status == 400 && of_client {
            let message = error.failure.message.clone();
            let failure = Failure::new(
                codes::NODE_KEY_REJECTED,
                format!("{message} Check tenant, client id and secret of the connection."),
            );
            return Err(CallError { failure, ..error });
        }
        Err(error)
    }
}

/// What an answer of this shape says, wherever Azure refuses: `{"error": {"code", "message"}}`.
pub(super) fn said(value: &Value) -> Said {
    let error = &value["error"];
    let text = |key: &str| error[key].as_str().unwrap_or_default().to_owned();
    Said { code: text("code"), message: text("message") }
}
