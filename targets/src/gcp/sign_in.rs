//! Tokens of Google's.

use std::path::PathBuf;

use async_trait::async_trait;
use engine::{
    failure::{Failure, StepError},
    secrets::Secret,
};
use serde::{Deserialize, de::DeserializeOwned};

use super::{
    connection::{Authentication, Gcp, GcpSettings},
    external::ExternalAccount,
    key::ServiceAccountKey,
};
use crate::{
    codes,
    http::{Auth, Body, CallError, Exchange, Method, NodeUrl, Request, Said},
    managed::{
        ambient, names,
        opener::Opener,
        tokens::{self, Fresh},
    },
};

const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// Where a machine's credentials lie, unless the operator says otherwise.
const CREDENTIALS: &str = "GOOGLE_APPLICATION_CREDENTIALS";

#[derive(Deserialize)]
struct Answer {
    access_token: Secret,
    #[serde(default)]
    expires_in: u64,
}

/// What one signs in with.
enum Credentials {
    Key(Box<ServiceAccountKey>),
    External(Box<ExternalAccount>),
}

/// One way to sign in, for all of Google's APIs.
pub(super) struct SignIn {
    gcp: Gcp,
    file: Secret,
    way: Way,
}

enum Way {
    Key { key: Box<ServiceAccountKey>, url: NodeUrl },
    External { account: Box<ExternalAccount>, subject: Secret },
}

impl SignIn {
    /// Takes out what one signs in with, and asks the machine's platform for its word where that is needed.
    pub(super) async fn open(gcp: &Gcp, settings: &GcpSettings, opener: Opener<'_>) -> Result<Self, StepError> {
        let (credentials, file) = credentials(gcp, settings, opener).await?;
        let way = match credentials {
            Credentials::Key(key) => Way::Key { url: token_url(gcp, settings, &key)?, key },
            Credentials::External(account) => Way::External { subject: account.subject(gcp).await?, account },
        };
        Ok(Self { gcp: gcp.clone(), file, way })
    }
}

#[async_trait]
impl tokens::SignIn for SignIn {
    fn key(&self) -> String {
        let (kind, more): (&[u8], _) = match &self.way {
            Way::Key { url, .. } => (b"key", url.as_str().as_bytes()),
            Way::External { subject, .. } => (b"external", subject.expose().as_bytes()),
        };
        names::hash([kind, self.file.expose().as_bytes(), more], 64)
    }

    async fn fresh(&self) -> Result<Fresh, CallError> {
        match &self.way {
            Way::Key { key, url } => by_key(&self.gcp, url.clone(), key).await,
            Way::External { account, subject } => account.exchange(&self.gcp, subject.clone()).await,
        }
    }
}

/// Who signs in.
pub(super) async fn identity(gcp: &Gcp, settings: &GcpSettings, opener: Opener<'_>) -> Result<String, StepError> {
    Ok(match credentials(gcp, settings, opener).await?.0 {
        Credentials::Key(key) => key.client_email,
        Credentials::External(account) => account.service_account_impersonation_url.unwrap_or(account.audience),
    })
}

async fn credentials(
    gcp: &Gcp,
    settings: &GcpSettings,
    opener: Opener<'_>,
) -> Result<(Credentials, Secret), StepError> {
    let file = match settings.authentication {
        Authentication::ServiceAccountKey => match &settings.service_account_key {
            Some(key) => opener.open(key).await?,
            None => {
                let message = "connection.serviceAccountKey: the service account's key is missing. Enter it.";
                return Err(Failure::new(codes::SETTING_MISSING, message).permanent());
            }
        },
        Authentication::Machine => machine(gcp).await?,
    };
    #[derive(Deserialize)]
    struct Kind {
        #[serde(rename = "type", default)]
        kind: String,
    }
    let kind = serde_json::from_str::<Kind>(file.expose()).map(|read| read.kind).unwrap_or_default();
    let credentials = match (settings.authentication, kind.as_str()) {
        // What an administrator typed never names a file or an address of this machine.
        (Authentication::Machine, "external_account") => {
            Credentials::External(Box::new(ExternalAccount::parse(file.expose().as_bytes())?))
        }
        _ => Credentials::Key(Box::new(ServiceAccountKey::parse(file.expose())?)),
    };
    Ok((credentials, file))
}

async fn machine(gcp: &Gcp) -> Result<Secret, Failure> {
    ambient::lent(&gcp.tools.host)?;
    let said = &gcp.tools.host.google_credentials_file;
    let path =
        if said.as_os_str().is_empty() { std::env::var_os(CREDENTIALS).map(PathBuf::from) } else { Some(said.clone()) };
    let path = path.ok_or_else(|| {
        let message = format!("The machine that Slipway runs on has no identity of its own: {CREDENTIALS} is not set. Its operator has to look.");
        Failure::new(codes::AMBIENT_CREDENTIALS_MISSING, message)
    })?;
    let bytes = ambient::file(&path, "The file with Google's credentials").await?;
    let text = String::from_utf8(bytes);
    text.map(Secret::from).map_err(|_| {
        Failure::new(
            codes::AMBIENT_CREDENTIALS_MISSING,
            "The file with Google's credentials is no text. The operator has to look.",
        )
    })
}

/// Where the key is exchanged: what the connection says, else what the key's file says, over https.
fn token_url(gcp: &Gcp, settings: &GcpSettings, key: &ServiceAccountKey) -> Result<NodeUrl, Failure> {
    if !settings.token_endpoint.is_empty() {
        if settings.authentication == Authentication::Machine {
            ambient::may_go_to(&gcp.tools.host, &settings.token_endpoint, &super::connection::DOMAINS)?;
        }
        return gcp.url(&settings.token_endpoint);
    }
    gcp.url(key.token_uri()?)
}

async fn by_key(gcp: &Gcp, url: NodeUrl, key: &ServiceAccountKey) -> Result<Fresh, CallError> {
    let now = engine::clock::now_micros() / 1_000_000;
    let assertion = key.assertion(now).map_err(CallError::reported)?;
    let form = vec![("grant_type", Secret::from(JWT_BEARER.to_owned())), ("assertion", assertion.clone())];
    oauth(gcp, url, form, assertion).await
}

/// One exchange of OAuth 2.0.
pub(super) async fn oauth(
    gcp: &Gcp,
    url: NodeUrl,
    form: Vec<(&'static str, Secret)>,
    secret: Secret,
) -> Result<Fresh, CallError> {
    let doing = "signing in";
    let node = gcp.http().platform("Google's token service", url, Auth::Signed(vec![secret]));
    let got = node.exchange(Request { body: Body::Form(form), ..Request::new(Method::POST, &[], doing) }).await?;
    if got.succeeded() {
        let Answer { access_token, expires_in } = answer(&got, doing)?;
        return Ok(Fresh { token: access_token, expires_in });
    }
    let text = |value: &serde_json::Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let said =
        got.value().map(|value| Said { code: text(&value, "error"), message: text(&value, "error_description") });
    let said = said.unwrap_or_default();
    let error = got.refused(doing, &said);
    // OAuth 2.0 says 400 for most of what is wrong with a client.
    if got.status == 400 && matches!(said.code.as_str(), "invalid_grant" | "invalid_client" | "unauthorized_client") {
        let message = format!("{} Enter the connection's key again.", error.failure.message);
        return Err(CallError { failure: Failure::new(codes::NODE_KEY_REJECTED, message), ..error });
    }
    Err(error)
}

/// The body of a success. What a parser says of one could hold a token.
pub(super) fn answer<T: DeserializeOwned>(got: &Exchange, doing: &str) -> Result<T, CallError> {
    serde_json::from_slice(&got.body).map_err(|_| {
        let message = format!("Google's answer does not have the shape that its API promises ({doing}).");
        CallError::reported(Failure::new(codes::NODE_ANSWER_UNEXPECTED, message))
    })
}
