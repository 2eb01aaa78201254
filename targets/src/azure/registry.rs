//! Logins for Azure Container Registry: a management token is exchanged for the registry's own.

use engine::{
    failure::{Failure, StepError},
    secrets::Secret,
};
use serde::Deserialize;

use super::connection::{Azure, AzureSettings};
use crate::{
    codes,
    http::{Auth, Body, CallError, Exchange, Method, Node, Request, Said},
};

/// The user name under which a registry takes its own refresh token as a password.
const USER: &str = "00000000-0000-0000-0000-000000000000";

/// A registry, signed in.
pub(crate) struct Registry {
    node: Node,
    service: String,
    refresh: Secret,
}

/// What a registry is pushed to with.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    pub(crate) user: String,
    pub(crate) password: Secret,
}

#[derive(Deserialize)]
struct Refresh {
    refresh_token: Secret,
}

#[derive(Deserialize)]
struct Access {
    access_token: Secret,
}

impl Registry {
    pub(super) async fn sign_in(azure: &Azure, settings: &AzureSettings, token: Secret) -> Result<Self, StepError> {
        let doing = "signing in to the registry";
        let url = azure.url(&settings.registry_url())?;
        let text = |text: &str| Secret::from(text.to_owned());
        let form = vec![
            ("grant_type", text("access_token")),
            ("service", text(&settings.registry)),
            ("tenant", text(&settings.tenant_id)),
            ("access_token", token.clone()),
        ];
        let who = "The container registry";
        let node = azure.tools.http.platform(who, url.clone(), Auth::Signed(vec![token]));
        let path = ["oauth2", "exchange"];
        let answer =
            node.exchange(Request { body: Body::Form(form), ..Request::new(Method::POST, &path, doing) }).await?;
        if !answer.succeeded() {
            return Err(refused(&answer, doing).into());
        }
        let Refresh { refresh_token } = answer.json(doing)?;
        let node = azure.tools.http.platform(who, url, Auth::Signed(vec![refresh_token.clone()]));
        Ok(Self { node, service: settings.registry.clone(), refresh: refresh_token })
    }

    /// For pushing.
    pub(crate) fn login(&self) -> Login {
        Login { user: USER.to_owned(), password: self.refresh.clone() }
    }

    /// Of pulling and pushing, what the registry does not give for this repository. It answers a token with less than was asked for.
    pub(crate) async fn missing(&self, repository: &str) -> Result<Vec<&'static str>, CallError> {
        let doing = "asking the registry for the right to push";
        let text = |text: &str| Secret::from(text.to_owned());
        let form = vec![
            ("grant_type", text("refresh_token")),
            ("service", text(&self.service)),
            ("scope", text(&format!("repository:{repository}:pull,push"))),
            ("refresh_token", self.refresh.clone()),
        ];
        let path = ["oauth2", "token"];
        let request = Request { body: Body::Form(form), ..Request::new(Method::POST, &path, doing) };
        let answer = self.node.exchange(request).await?;
        if !answer.succeeded() {
            return Err(refused(&answer, doing));
        }
        let Access { access_token } = answer.json(doing)?;
        let Some(given) = given(access_token.expose(), repository) else { return Ok(Vec::new()) };
        Ok(["pull", "push"].into_iter().filter(|action| !given.iter().any(|one| one == action)).collect())
    }
}

/// The actions that a registry's token gives; None where it does not say. We read what it told us, and trust it with nothing.
fn given(token: &str, repository: &str) -> Option<Vec<String>> {
    use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};

    #[derive(Deserialize)]
    struct Claims {
        access: Vec<Grant>,
    }

    #[derive(Deserialize)]
    struct Grant {
        name: String,
        actions: Vec<String>,
    }

    let claims = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Claims = serde_json::from_slice(&claims).ok()?;
    Some(claims.access.into_iter().filter(|grant| grant.name == repository).flat_map(|grant| grant.actions).collect())
}

/// What a refusal means: `{"errors": [{"code", "message"}]}`.
fn refused(answer: &Exchange, doing: &str) -> CallError {
    let said = answer.value().map(|value| {
        let first = &value["errors"][0];
        let text = |key: &str| first[key].as_str().unwrap_or_default().to_owned();
        Said { code: text("code"), message: text("message") }
    });
    let error = answer.refused(doing, &said.unwrap_or_default());
    if answer.status == 401 {
        let message = format!(
            "{} Check that the credentials may use the registry (AcrPush) and that it takes management tokens.",
            error.failure.message
        );
        return CallError { failure: Failure { message, code: codes::NODE_KEY_REJECTED, ..error.failure }, ..error };
    }
    error
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};

    use super::given;

    #[test]
    fn a_token_says_what_it_gives() {
        let claims = r#"{"access":[{"type":"repository","name":"a/b","actions":["pull"]},{"type":"repository","name":"c","actions":["push"]}]}"#;
        let token = format!("x.{}.y", BASE64_URL_SAFE_NO_PAD.encode(claims));
        assert_eq!(given(&token, "a/b"), Some(vec!["pull".to_owned()]));
        assert_eq!(given(&token, "d"), Some(Vec::new()));
        assert_eq!(given("opaque", "a/b"), None);
    }
}
