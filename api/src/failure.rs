//! What the edge answers when it does not do what it was asked: one shape for GraphQL and REST, never the words of a library.

use poem::{IntoResponse, Response, http::StatusCode};
use serde::Serialize;
use std::borrow::Cow;

/// A refused request: a status and one or more problems.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The HTTP status.
    pub status: StatusCode,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong with a request. `message` and `extensions` are what a GraphQL client reads, `code` and `field` what others do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// A stable code.
    pub code: Cow<'static, str>,
    /// The input that is meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What is wrong, and what to do.
    pub message: String,
}

#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    problem: &'a Problem,
    extensions: Extensions<'a>,
}

#[derive(Serialize)]
struct Extensions<'a> {
    code: &'a str,
}

/// The same for the REST API, as its clients read it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RestBody<'a> {
    error_type: &'a str,
    message: String,
    detailed_message: String,
    errors: &'a [Problem],
}

#[derive(Serialize)]
struct Body<'a> {
    errors: Vec<Shown<'a>>,
}

impl Failure {
    /// One problem.
    pub fn new(status: StatusCode, code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { status, problems: vec![Problem { code: code.into(), field: None, message: message.into() }] }
    }

    /// The same, about one input.
    #[must_use]
    pub fn about(mut self, field: &str) -> Self {
        for problem in &mut self.problems {
            problem.field = Some(field.to_owned());
        }
        self
    }

    /// Nobody, or nobody any more.
    pub fn unauthenticated() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "UNAUTHENTICATED",
            "This needs a valid API key: \"Authorization: Bearer KEY\", or the key as the user name of Basic authentication.",
        )
    }

    /// We failed. Whoever found out has logged why; the client learns the number under which it was logged from the header `x-request-id`.
    pub fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "INTERNAL",
            "Something failed on our side. Try again; if it stays, give an operator the value of the header x-request-id.",
        )
    }

    /// The database is away, or takes no changes. It may pass.
    pub fn unavailable() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "DATABASE_UNAVAILABLE",
            "The database does not answer, or takes no changes right now. Ask again in a moment.",
        )
    }

    pub(crate) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", "There is nothing here that you may see.")
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BAD_REQUEST", message)
    }

    pub(crate) fn too_large(limit: u64) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "BODY_TOO_LARGE", format!("The body is larger than {limit} bytes."))
    }

    /// For a status that a library chose.
    pub(crate) fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::NOT_FOUND => Self::not_found(),
            StatusCode::METHOD_NOT_ALLOWED => {
                Self::new(status, "METHOD_NOT_ALLOWED", "This address does not know this method.")
            }
            _ if status.is_client_error() => Self::new(status, "BAD_REQUEST", "This request cannot be read."),
            _ => Self::internal(),
        }
    }

    /// The answer to a call of the REST API.
    pub(crate) fn into_rest(self) -> Response {
        let told = |problem: &Problem| match &problem.field {
            Some(field) => format!("{field}: {}", problem.message),
            None => problem.message.clone(),
        };
        let text = self.problems.iter().map(told).collect::<Vec<_>>().join(" ");
        let body = RestBody {
            error_type: self.problems.first().map_or("INTERNAL", Problem::code),
            message: text.clone(),
            detailed_message: text,
            errors: &self.problems,
        };
        let body = serde_json::to_vec(&body).unwrap_or_else(|_| b"{}".to_vec());
        let mut response = self.into_response();
        response.set_body(body);
        response
    }

    pub(crate) fn json(&self) -> Vec<u8> {
        let shown = |problem| Shown { extensions: Extensions { code: Problem::code(problem) }, problem };
        let body = Body { errors: self.problems.iter().map(shown).collect() };
        serde_json::to_vec(&body).unwrap_or_else(|_| br#"{"errors":[]}"#.to_vec())
    }
}

impl Problem {
    fn code(&self) -> &str {
        &self.code
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let builder = Response::builder().status(self.status).content_type("application/json; charset=utf-8");
        let builder = if self.status == StatusCode::UNAUTHORIZED {
            // Not Basic: a browser would ask for a password, remember it, and send it with requests that other sites start.
            builder.header("www-authenticate", "Bearer realm=\"slipway\"")
        } else if self.status == StatusCode::TOO_MANY_REQUESTS {
            builder.header("retry-after", "1")
        } else {
            builder
        };
        builder.body(self.json())
    }
}
