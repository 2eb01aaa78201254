//! How the deployer's answers become GraphQL's: refusals are data of a mutation's payload, faults are errors without words.

use std::sync::Arc;

use async_graphql::{ErrorExtensions, SimpleObject};
use deployer::error::{Error, Refusal as Refused};

/// The code of an error that is ours to mend.
pub(crate) const INTERNAL: &str = "INTERNAL";
/// The code of an error that mends itself when the database is back.
pub(crate) const UNAVAILABLE: &str = "DATABASE_UNAVAILABLE";

/// The deployer's error on its way to a client.
///
/// It has no `Display`: the library's blanket conversion would send a database's words to the client, and without `Display` the compiler keeps the
/// rule.
#[derive(Clone, Debug)]
pub struct ApiError(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Refused(Arc<[Refused]>),
    /// Logged when it was made.
    Fault,
    /// The same, and it may pass.
    Unavailable,
    Unauthenticated,
}

/// A resolver's answer.
pub(crate) type Result<T, E = ApiError> = std::result::Result<T, E>;

impl ApiError {
    /// The viewer's key died while a subscription ran.
    pub(crate) fn unauthenticated() -> Self {
        Self(Kind::Unauthenticated)
    }

    /// There is nothing that this viewer may see.
    pub(crate) fn not_found(field: &str) -> Self {
        Error::not_found(field).into()
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused(refusals) => Self(Kind::Refused(refusals.into())),
            Error::Fault(fault) => {
                tracing::error!(error.detail = %fault.detail, error.transient = fault.transient, "an operation failed");
                Self(if fault.transient { Kind::Unavailable } else { Kind::Fault })
            }
        }
    }
}

impl From<ApiError> for async_graphql::Error {
    fn from(error: ApiError) -> Self {
        let (message, code, field) = match &error.0 {
            Kind::Refused(refusals) => match refusals.first() {
                Some(refusal) => (refusal.message.as_str(), refusal.code, refusal.field.as_deref()),
                None => ("Refused.", "REFUSED", None),
            },
            Kind::Fault => (
                "Something failed on our side. Try again; if it stays, give an operator the requestId.",
                INTERNAL,
                None,
            ),
            Kind::Unavailable => (
                "The database does not answer, or takes no changes right now. Ask again in a moment. Whether this was done is not known: a \
                 change with the same idempotencyKey is made once.",
                UNAVAILABLE,
                None,
            ),
            Kind::Unauthenticated => ("This needs a valid API key.", "UNAUTHENTICATED", None),
        };
        async_graphql::Error::new(message).extend_with(|_, extensions| {
            extensions.set("code", code);
            if let Some(field) = field {
                extensions.set("field", field);
            }
        })
    }
}

/// One reason why a mutation did nothing. All reasons that can be found at once are answered at once.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct Refusal {
    /// A stable code, such as `NOT_FOUND`, `FORBIDDEN` or `VERSION_CONFLICT`. Each has a page in the documentation (docs/errors).
    code: String,
    /// The input that is meant, such as `nodeUrl` or `hooks[1].code`; null for the request as a whole.
    field: Option<String>,
    /// What is wrong, and what to do.
    message: String,
}

impl From<Refused> for Refusal {
    fn from(refusal: Refused) -> Self {
        Self { code: refusal.code.to_owned(), field: refusal.field, message: refusal.message }
    }
}

/// The object of a payload, or why there is none.
pub(crate) fn settle<T, U: From<T>>(answer: deployer::error::Result<T>) -> Result<(Option<U>, Vec<Refusal>)> {
    match answer {
        Ok(value) => Ok((Some(value.into()), Vec::new())),
        Err(Error::Refused(refusals)) => Ok((None, refusals.into_iter().map(Refusal::from).collect())),
        Err(fault) => Err(fault.into()),
    }
}
