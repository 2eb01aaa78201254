//! What AWS' errors mean. Most come as status 400, so their type says more than the status; some say it in their sentence alone.

use serde_json::Value;

use super::xml;
use crate::{
    codes,
    http::{CallError, Effect, Exchange, HeaderName, Said},
};

/// A call that AWS, or the way there, did not let through.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AwsError {
    /// What kind of no it is.
    pub(crate) kind: Kind,
    /// What to record.
    pub(crate) error: CallError,
    /// What a container behind SageMaker's runtime answered, in the runtime's own frame.
    pub(crate) model: Option<Value>,
}

/// Kinds of no that callers act upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// There is no such thing.
    Missing,
    /// There is such a thing already.
    Exists,
    /// Another change of the same thing is under way.
    InProgress,
    /// The credentials lack the right.
    Denied,
    /// The session has ended.
    Expired,
    /// Our clock and theirs differ.
    Clock,
    /// Anything else.
    Other,
}

impl From<CallError> for AwsError {
    fn from(error: CallError) -> Self {
        Self { kind: Kind::Other, error, model: None }
    }
}

impl From<AwsError> for CallError {
    fn from(error: AwsError) -> Self {
        error.error
    }
}

impl From<AwsError> for engine::failure::StepError {
    fn from(error: AwsError) -> Self {
        error.error.into()
    }
}

impl From<AwsError> for engine::failure::Failure {
    fn from(error: AwsError) -> Self {
        error.error.failure
    }
}

impl AwsError {
    /// Reads an answer that is no success.
    pub(super) fn read(exchange: &Exchange, doing: &str) -> Self {
        let said = said(exchange);
        let (kind, status) = meaning(&said);
        let status = status.unwrap_or(exchange.status);
        let mut error = exchange.refused_as(status, doing, &said);
        match said.code.as_str() {
            "ResourceLimitExceeded" | "LimitExceededException" | "ServiceQuotaExceededException" => {
                let message = format!(
                    "A quota of the AWS account is used up ({doing}). AWS said: {} Free something, or have the quota raised.",
                    exchange.clean(&said.message, 500)
                );
                error = CallError::permanent(codes::AWS_QUOTA_EXCEEDED, message, Effect::None).detail(exchange.seen());
            }
            _ if kind == Kind::InProgress => error.retryable = true,
            _ => {}
        }
        let model = exchange.value().filter(|_| said.code == "ModelError");
        Self { kind, error, model }
    }

    /// `Ok(None)` when there is no such thing.
    #[expect(clippy::result_large_err, reason = "errors are rare, and on their way up at once")]
    pub(crate) fn unless_missing<T>(found: Result<T, Self>) -> Result<Option<T>, Self> {
        match found {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.kind == Kind::Missing => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Type and sentence, wherever this service says them.
fn said(exchange: &Exchange) -> Said {
    let header = exchange.header(HeaderName::from_static("x-amzn-errortype"));
    let value = exchange.value();
    let text = |keys: &[&str]| {
        let value = value.as_ref()?;
        keys.iter().find_map(|key| value.get(key).and_then(Value::as_str)).map(str::to_owned)
    };
    let code = text(&["__type", "code", "Code"])
        .or_else(|| header.map(str::to_owned))
        .or_else(|| xml::text(&exchange.body, "Code"))
        .unwrap_or_default();
    let message = text(&["message", "Message"]).or_else(|| xml::text(&exchange.body, "Message")).unwrap_or_default();
    Said { code: bare(&code).to_owned(), message }
}

/// A type without its namespace before, and without what some services add behind.
fn bare(code: &str) -> &str {
    let code = code.split(':').next().unwrap_or_default();
    code.rsplit('#').next().unwrap_or_default()
}

/// The kind, and the status that would have said the same; None leaves the answer's own.
fn meaning(said: &Said) -> (Kind, Option<u16>) {
    let message = said.message.as_str();
    let has = |words: &str| message.contains(words);
    match said.code.as_str() {
        "ThrottlingException"
        | "Throttling"
        | "ThrottledException"
        | "TooManyRequestsException"
        | "RequestLimitExceeded"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "SlowDown"
        | "PriorRequestNotComplete" => (Kind::Other, Some(429)),
        "ServiceUnavailable"
        | "ServiceUnavailableException"
        | "InternalFailure"
        | "InternalServerError"
        | "InternalServerException"
        | "InternalDependencyException"
        | "ModelNotReadyException"
        | "ServerException"
        | "IDPCommunicationError" => (Kind::Other, Some(503)),
        "RequestTimeTooSkewed" | "RequestExpired" => (Kind::Clock, Some(401)),
        "InvalidSignatureException" | "SignatureDoesNotMatch"
            if has("Signature expired") || has("Signature not yet current") =>
        {
            (Kind::Clock, Some(401))
        }
        "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired" => (Kind::Expired, Some(401)),
        "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "InvalidAccessKeyId"
        | "AuthFailure"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "IncompleteSignature"
        | "IncompleteSignatureException"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "InvalidIdentityToken"
        | "ExpiredIdentityToken" => (Kind::Other, Some(401)),
        "AccessDenied" | "AccessDeniedException" | "UnauthorizedOperation" | "NotAuthorized" | "OptInRequired" => {
            (Kind::Denied, Some(403))
        }
        "ResourceNotFound"
        | "ResourceNotFoundException"
        | "RepositoryNotFoundException"
        | "ImageNotFoundException"
        | "NoSuchEntity" => (Kind::Missing, Some(404)),
        "RepositoryAlreadyExistsException" => (Kind::Exists, None),
        "ResourceInUse" | "ConflictException" => (Kind::InProgress, None),
        "ValidationException" if has("Could not find") || has("does not exist") => (Kind::Missing, Some(404)),
        "ValidationException" if has("already existing") || has("already exists") => (Kind::Exists, None),
        "ValidationException" if has("in-progress") || has("in progress") => (Kind::InProgress, None),
        _ => (Kind::Other, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_and_sentences_have_their_kinds() {
        let of =
            |code: &str, message: &str| meaning(&Said { code: bare(code).to_owned(), message: message.to_owned() });
        for (code, message, kind, status) in [
            ("com.amazonaws.sagemaker#ThrottlingException", "Rate exceeded", Kind::Other, Some(429)),
            ("ValidationException", "Could not find endpoint \"x\".", Kind::Missing, Some(404)),
            ("ValidationException", "Cannot create already existing model \"x\".", Kind::Exists, None),
            ("ValidationException", "Cannot update in-progress endpoint \"x\".", Kind::InProgress, None),
            ("ValidationException", "1 validation error detected", Kind::Other, None),
            ("ValidationException:http://internal.amazon.com/x", "Could not find model", Kind::Missing, Some(404)),
            ("AccessDenied", "not authorized to perform: sts:AssumeRole", Kind::Denied, Some(403)),
            ("InvalidSignatureException", "Signature expired: 20260101T000000Z is now earlier", Kind::Clock, Some(401)),
            ("SignatureDoesNotMatch", "The request signature we calculated does not match", Kind::Other, Some(401)),
            ("ExpiredTokenException", "", Kind::Expired, Some(401)),
            ("InternalFailure", "", Kind::Other, Some(503)),
            ("SomethingNew", "", Kind::Other, None),
        ] {
            assert_eq!(of(code, message), (kind, status), "{code} {message}");
        }
    }
}
