//! What a request is answered: JSON, nothing, or a refusal as the error object of the wire contract.

use poem::http::{StatusCode, header};
use poem::{Body, Response};
use serde_json::{Value, json};

/// A good answer. Calls whose answer clients ignore get an empty body, so that a client that wants JSON there fails.
pub(crate) enum Reply {
    Json(Value),
    Empty,
}

/// A refusal: a status of 400 or more, and the error object `{errorType, message, detailedMessage}`.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) kind: String,
    pub(crate) message: String,
}

pub(crate) type Answer = Result<Reply, Refusal>;

impl Refusal {
    pub(crate) fn new(status: StatusCode, kind: &str, message: impl Into<String>) -> Self {
        Self { status, kind: kind.to_owned(), message: message.into() }
    }

    /// 400: the request is wrong, or what it wants can't be.
    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "IllegalArgumentException", message)
    }

    /// 401: no key, or one that the node does not know.
    pub(crate) fn unauthenticated(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "NotAuthenticatedException", message)
    }

    /// 403: a known key or user without the right.
    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "UnauthorizedException", message)
    }

    /// 404: no such thing.
    pub(crate) fn missing(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFoundException", message)
    }

    /// 413: a body over the limit.
    pub(crate) fn too_large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "PayloadTooLargeException", message)
    }

    /// 415: a body of a type that the call does not take.
    pub(crate) fn media(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaTypeException", message)
    }

    /// 500: the node's own trouble (its disk, for instance).
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "IOException", message)
    }

    pub(crate) fn object(&self) -> Value {
        json!({"errorType": self.kind, "message": self.message, "detailedMessage": self.message})
    }
}

/// A finished answer before it is put on the wire: faults change it here.
pub(crate) struct Finished {
    pub(crate) status: StatusCode,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Finished {
    pub(crate) fn json(status: StatusCode, value: &Value) -> Self {
        let headers = vec![(header::CONTENT_TYPE.to_string(), "application/json;charset=utf-8".to_owned())];
        Self { status, headers, body: value.to_string().into_bytes() }
    }

    pub(crate) fn html(status: StatusCode, text: &str) -> Self {
        let headers = vec![(header::CONTENT_TYPE.to_string(), "text/html;charset=utf-8".to_owned())];
        Self { status, headers, body: text.as_bytes().to_vec() }
    }

    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// The answer with the body that is really sent, which may not be `self.body`.
    pub(crate) fn response(self, body: Body) -> Response {
        let mut builder = Response::builder().status(self.status);
        for (name, value) in self.headers {
            builder = builder.header(name, value);
        }
        builder.body(body)
    }

    pub(crate) fn whole(mut self) -> Response {
        let body = std::mem::take(&mut self.body);
        self.response(Body::from(body))
    }
}

impl From<Answer> for Finished {
    fn from(answer: Answer) -> Self {
        match answer {
            Ok(Reply::Json(value)) => Self::json(StatusCode::OK, &value),
            Ok(Reply::Empty) => Self { status: StatusCode::OK, headers: Vec::new(), body: Vec::new() },
            Err(refusal) => Self::json(refusal.status, &refusal.object()),
        }
    }
}
