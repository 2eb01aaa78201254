//! A request's signature (version 4).

use std::time::{Duration, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use engine::{failure::Failure, secrets::Secret};
use url::Url;

use super::wallet::Keys;
use crate::{codes, http::HeaderName};

/// What is signed.
pub(super) struct ToSign<'a> {
    /// The service, in the words of a signature's scope.
    pub(super) service: &'a str,
    pub(super) region: &'a str,
    pub(super) method: &'a str,
    pub(super) url: &'a Url,
    /// Beside the host's, which is signed, too.
    pub(super) headers: &'a [(&'static str, String)],
    pub(super) body: &'a [u8],
    /// When, in microseconds since the epoch.
    pub(super) at: i64,
}

/// The headers that the signature adds: its own, the date, and the session's token.
pub(super) fn signed(keys: &Keys, request: &ToSign<'_>) -> Result<Vec<(HeaderName, Secret)>, Failure> {
    let token = keys.token.as_ref().map(|token| token.expose().to_owned());
    let credentials = Credentials::new(keys.id.clone(), keys.secret.expose(), token, None, "slipway");
    let identity = credentials.into();
    let at = UNIX_EPOCH + Duration::from_micros(u64::try_from(request.at).unwrap_or_default());
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(request.region)
        .name(request.service)
        .time(at)
        .settings(SigningSettings::default())
        .build()
        .map_err(|error| unsigned(&error.to_string()))?;
    let headers = request.headers.iter().map(|(name, value)| (*name, value.as_str()));
    let body = SignableBody::Bytes(request.body);
    let signable = SignableRequest::new(request.method, request.url.as_str(), headers, body)
        .map_err(|error| unsigned(&error.to_string()))?;
    let (instructions, _) = sign(signable, &params.into()).map_err(|error| unsigned(&error.to_string()))?.into_parts();
    let header = |(name, value): (&str, &str)| {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| unsigned(&error.to_string()))?;
        Ok((name, Secret::from(value.to_owned())))
    };
    instructions.headers().map(header).collect()
}

fn unsigned(why: &str) -> Failure {
    let message = "The request to AWS could not be signed. Enter the connection's credentials again.";
    Failure::new(codes::AWS_CREDENTIALS_INVALID, message).detail(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The signature that AWS' documentation derives step by step for this request ("Create a signed AWS API request").
    #[test]
    fn signs_as_the_documentation_does() {
        let keys = Keys {
            id: "AKIDEXAMPLE".into(),
            secret: Secret::from("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned()),
            token: None,
            expires: None,
        };
        let url = Url::parse("https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08").unwrap();
        let headers = [("content-type", "application/x-www-form-urlencoded; charset=utf-8".to_owned())];
        let request = ToSign {
            service: "iam",
            region: "us-east-1",
            method: "GET",
            url: &url,
            headers: &headers,
            body: b"",
            at: 1_440_938_160_000_000,
        };
        let headers = signed(&keys, &request).unwrap();
        let value = |name: &str| headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.expose().to_owned());
        assert_eq!(value("x-amz-date").as_deref(), Some("20150830T123600Z"));
        let authorization = value("authorization").unwrap();
        assert_eq!(
            authorization,
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, SignedHeaders=content-type;host;x-amz-date, Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
        );
        assert_eq!(value("x-amz-security-token"), None);
    }
}
