//! STS: sessions, and whose credentials they are. Its answers are XML.

use super::ACCOUNT;
use super::door::{Heard, No};
use super::signature::Caller;
use super::state::State;
use crate::reply::Finished;
use percent_encoding::percent_decode_str;
use poem::http::StatusCode;

/// A field of a form.
pub(super) fn field(body: &[u8], name: &str) -> Option<String> {
    let body = std::str::from_utf8(body).ok()?;
    let value = body.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    Some(percent_decode_str(&value.replace('+', " ")).decode_utf8_lossy().into_owned())
}

pub(super) fn answer(state: &mut State, heard: &Heard, caller: &Caller) -> Result<Finished, No> {
    let read = |name: &str| field(&heard.body, name);
    if read("Version").as_deref() != Some("2011-06-15") {
        return Err(No::new(400, "InvalidAction", "Could not find operation for this version"));
    }
    match heard.operation.as_str() {
        "GetCallerIdentity" => Ok(xml(
            StatusCode::OK,
            &format!(
                "<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:aws:iam::{ACCOUNT}:user/{}</Arn><Account>{ACCOUNT}</Account></GetCallerIdentityResult></GetCallerIdentityResponse>",
                caller.key
            ),
        )),
        "AssumeRole" => {
            let needed = |name: &str| {
                let short = || No::new(400, "ValidationError", format!("{name} must have at least 2 characters"));
                read(name).filter(|value| value.len() >= 2).ok_or_else(short)
            };
            let role = needed("RoleArn")?;
            needed("RoleSessionName")?;
            if state.external_id.is_some() && state.external_id != read("ExternalId") {
                return Err(No::new(403, "AccessDenied", "not authorized to perform: sts:AssumeRole"));
            }
            let (key, secret, token) = state.new_session(&role);
            Ok(xml(
                StatusCode::OK,
                &format!(
                    "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>{key}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey><SessionToken>{token}</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"
                ),
            ))
        }
        other => Err(No::new(400, "InvalidAction", format!("Could not find operation {other}"))),
    }
}

pub(super) fn refused(status: StatusCode, no: &No) -> Finished {
    let body = format!(
        "<ErrorResponse><Error><Type>Sender</Type><Code>{}</Code><Message>{}</Message></Error></ErrorResponse>",
        no.kind, no.message
    );
    xml(status, &body)
}

fn xml(status: StatusCode, body: &str) -> Finished {
    let headers = vec![("content-type".to_owned(), "text/xml".to_owned())];
    Finished { status, headers, body: body.as_bytes().to_vec() }
}
