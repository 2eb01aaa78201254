//! A machine's own identity: the operator's file says where its token lies, and who exchanges it for one of Google's.

use engine::{failure::Failure, secrets::Secret};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{collections::BTreeMap, path::PathBuf};

use super::{
    api::refused,
    connection::{DOMAINS, Gcp},
    key::SCOPE,
    sign_in::{answer, oauth},
};
use crate::{
    codes,
    http::{Auth, Body, CallError, HeaderName, Method, Request},
    managed::{ambient, tokens::Fresh},
};

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
/// More headers than a source of tokens needs.
const MAX_HEADERS: usize = 10;

/// The file: `{"type": "external_account", …}`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct ExternalAccount {
    pub(super) audience: String,
    subject_token_type: String,
    token_url: String,
    #[serde(default)]
    pub(super) service_account_impersonation_url: Option<String>,
    credential_source: Source,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Source {
    file: Option<PathBuf>,
    url: Option<String>,
    headers: BTreeMap<String, Secret>,
    format: Format,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Format {
    #[serde(rename = "type")]
    kind: String,
    subject_token_field_name: String,
}

fn unfit(problem: &str) -> Failure {
    let message = format!(
        "The credentials of the machine that Slipway runs on can't be used: {problem} Its operator has to look."
    );
    Failure::new(codes::AMBIENT_CREDENTIALS_MISSING, message)
}

impl ExternalAccount {
    /// Reads the file.
    pub(super) fn parse(file: &[u8]) -> Result<Self, Failure> {
        serde_json::from_slice(file)
            .map_err(|error| unfit("the file is no external account.").detail(error.to_string()))
    }

    /// The machine's own token, as its platform gives it.
    pub(super) async fn subject(&self, gcp: &Gcp) -> Result<Secret, CallError> {
        let source = &self.credential_source;
        let bytes = match (&source.file, &source.url) {
            (Some(file), None) => {
                ambient::file(file, "The file with the machine's token").await.map_err(CallError::reported)?
            }
            (None, Some(url)) => self.fetched(gcp, url).await?,
            _ => {
                return Err(CallError::reported(unfit(
                    "its credential_source names neither a file nor a url, or both.",
                )));
            }
        };
        let text =
            String::from_utf8(bytes).map_err(|_| CallError::reported(unfit("the machine's token is no text.")))?;
        let text = Secret::from(text);
        let token = if source.format.kind == "json" {
            let value: Value = serde_json::from_str(text.expose()).unwrap_or_default();
            value[source.format.subject_token_field_name.as_str()].as_str().unwrap_or_default().to_owned()
        } else {
            text.expose().trim().to_owned()
        };
        if token.is_empty() {
            return Err(CallError::reported(unfit("its source has no token.")));
        }
        Ok(Secret::from(token))
    }

    async fn fetched(&self, gcp: &Gcp, url: &str) -> Result<Vec<u8>, CallError> {
        let doing = "asking for the machine's token";
        let url = gcp.url(url).map_err(CallError::reported)?;
        let mut headers = Vec::new();
        for (name, value) in self.credential_source.headers.iter().take(MAX_HEADERS) {
            let name = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| CallError::reported(unfit("a header of its source has no name.")))?;
            headers.push((name, value.clone()));
        }
        let secrets = headers.iter().map(|(_, value)| value.clone()).collect();
        let node = gcp.http().platform("The source of the machine's token", url, Auth::Signed(secrets));
        let got = node.exchange(Request { headers: &headers, ..Request::new(Method::GET, &[], doing) }).await?;
        if got.succeeded() { Ok(got.body.to_vec()) } else { Err(got.refused(doing, &Default::default())) }
    }

    /// Exchanges it for a token of Google's, and that for the service account's where the file names one.
    pub(super) async fn exchange(&self, gcp: &Gcp, subject: Secret) -> Result<Fresh, CallError> {
        let host = &gcp.tools.host;
        let places = [Some(&self.token_url), self.service_account_impersonation_url.as_ref()];
        for place in places.into_iter().flatten() {
            ambient::may_go_to(host, origin(place), &DOMAINS).map_err(CallError::reported)?;
        }
        let text = |text: &str| Secret::from(text.to_owned());
        let form = vec![
            ("grant_type", text(EXCHANGE)),
            ("audience", text(&self.audience)),
            ("scope", text(SCOPE)),
            ("requested_token_type", text(ACCESS_TOKEN)),
            ("subject_token", subject.clone()),
            ("subject_token_type", text(&self.subject_token_type)),
        ];
        let url = gcp.url(&self.token_url).map_err(CallError::reported)?;
        let fresh = oauth(gcp, url, form, subject).await?;
        match &self.service_account_impersonation_url {
            None => Ok(fresh),
            Some(url) => impersonated(gcp, url, fresh.token).await,
        }
    }
}

async fn impersonated(gcp: &Gcp, url: &str, token: Secret) -> Result<Fresh, CallError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Answer {
        access_token: Secret,
    }

    let doing = "taking on the service account's identity";
    let url = gcp.url(url).map_err(CallError::reported)?;
    let node = gcp.http().platform("Google's credentials service", url, Auth::Bearer(token));
    let body = Body::Json(json!({"scope": [SCOPE], "lifetime": "3600s"}));
    let got = node.exchange(Request { body, ..Request::new(Method::POST, &[], doing) }).await?;
    if !got.succeeded() {
        return Err(refused(&got, doing));
    }
    let Answer { access_token } = answer(&got, doing)?;
    Ok(Fresh { token: access_token, expires_in: 3_600 })
}

/// `scheme://host[:port]` of a URL.
fn origin(url: &str) -> &str {
    let after = url.find("://").map_or(0, |at| at + 3);
    url[after..].find('/').map_or(url, |at| &url[..after + at])
}

#[cfg(test)]
mod tests {
    use super::origin;

    #[test]
    fn origins() {
        for (url, wanted) in [("https://a.b/c/d", "https://a.b"), ("http://a:1", "http://a:1"), ("x", "x")] {
            assert_eq!(origin(url), wanted);
        }
    }
}
