//! The Security Token Service: sessions, and whose credentials they are.

use bytes::Bytes;
use engine::secrets::Secret;

use super::{
    client::{Account, Ask, FORM},
    place::Service,
    wallet::Keys,
    words::AwsError,
    xml,
};
use crate::{
    codes,
    http::{Body, CallError, Effect, Exchange, Method, Request},
};

const VERSION: &str = "2011-06-15";

/// Whose credentials they are.
pub(crate) struct Caller {
    pub(crate) account: String,
    pub(crate) arn: String,
}

/// A session of a role, got with other credentials.
pub(super) async fn assume_role(account: &Account, role: &str, own: &Keys) -> Result<Keys, AwsError> {
    let settings = &account.settings;
    let seconds = settings.role_seconds.unwrap_or(3_600).to_string();
    let mut fields = vec![
        ("Action", "AssumeRole"),
        ("Version", VERSION),
        ("RoleArn", role),
        ("RoleSessionName", settings.role_session_name.as_deref().unwrap_or("slipway")),
        ("DurationSeconds", &seconds),
    ];
    if let Some(external) = &settings.external_id {
        fields.push(("ExternalId", external));
    }
    let doing = "assuming the connection's role";
    let answer = account.call_with(&ask(&fields, doing), own).await?;
    Ok(session(&answer, doing)?)
}

/// A session of a role, got with a token that somebody else made for this machine. Such a call is not signed.
pub(super) async fn with_web_identity(
    account: &Account,
    role: &str,
    name: &str,
    token: Secret,
) -> Result<Keys, AwsError> {
    let doing = "exchanging the machine's web identity token";
    let node = account.node(Service::Sts, vec![token.clone()])?;
    let plain = |text: &str| Secret::from(text.to_owned());
    let fields = vec![
        ("Action", plain("AssumeRoleWithWebIdentity")),
        ("Version", plain(VERSION)),
        ("RoleArn", plain(role)),
        ("RoleSessionName", plain(name)),
        ("WebIdentityToken", token),
    ];
    let request = Request { body: Body::Form(fields), ..Request::new(Method::POST, &[], doing) };
    let answer = node.exchange(request).await?;
    if !answer.succeeded() {
        return Err(AwsError::read(&answer, doing));
    }
    Ok(session(&answer, doing)?)
}

impl Account {
    /// Whose credentials these are. Needs no right.
    pub(crate) async fn caller(&self) -> Result<Caller, AwsError> {
        let doing = "asking whose the credentials are";
        let fields = [("Action", "GetCallerIdentity"), ("Version", VERSION)];
        let answer = self.call(&ask(&fields, doing)).await?;
        let read = |name: &str| xml::text(&answer.body, name).map(|text| answer.clean(&text, 300));
        match (read("Account"), read("Arn")) {
            (Some(account), Some(arn)) => Ok(Caller { account, arn }),
            _ => Err(unexpected(&answer, doing).into()),
        }
    }
}

fn ask<'a>(fields: &[(&str, &str)], doing: &'a str) -> Ask<'a> {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(fields);
    let body = Bytes::from(form.finish());
    Ask { service: Service::Sts, path: &[], headers: &[], content_type: FORM, body, timeout: None, doing }
}

fn session(answer: &Exchange, doing: &str) -> Result<Keys, CallError> {
    let read = |name: &str| xml::text(&answer.body, name).filter(|text| !text.is_empty());
    let expires = read("Expiration").and_then(|end| end.parse::<jiff::Timestamp>().ok());
    match (read("AccessKeyId"), read("SecretAccessKey"), read("SessionToken"), expires) {
        (Some(id), Some(secret), Some(token), Some(end)) => Ok(Keys {
            id,
            secret: Secret::from(secret),
            token: Some(Secret::from(token)),
            expires: Some(end.as_microsecond()),
        }),
        _ => Err(unexpected(answer, doing)),
    }
}

/// Never with the answer's words: they may hold half a session.
fn unexpected(answer: &Exchange, doing: &str) -> CallError {
    let message = format!("The answer of AWS STS does not have the shape that its API promises ({doing}).");
    let detail = format!("status {}, {} bytes", answer.status, answer.body.len());
    CallError::permanent(codes::NODE_ANSWER_UNEXPECTED, message, Effect::Ended).detail(detail)
}
