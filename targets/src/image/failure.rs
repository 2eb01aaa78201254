//! What goes wrong with a registry, under codes of its own. Whether another attempt is worth it stays as the HTTP client found it.

use engine::failure::Code;
use serde::Deserialize;

use crate::{
    codes,
    http::{CallError, Effect, Exchange, Said, header::WWW_AUTHENTICATE},
};

/// The codes of the HTTP client, and a registry's for the same.
const NAMES: [(Code, Code); 18] = [
    (codes::NODE_UNREACHABLE, codes::REGISTRY_UNREACHABLE),
    (codes::NODE_TLS_FAILED, codes::REGISTRY_TLS_FAILED),
    (codes::NODE_ADDRESS_FORBIDDEN, codes::REGISTRY_ADDRESS_FORBIDDEN),
    (codes::NODE_URL_INVALID, codes::REGISTRY_ANSWER_INVALID),
    (codes::NODE_KEY_REJECTED, codes::REGISTRY_KEY_REJECTED),
    (codes::NODE_FORBIDDEN, codes::REGISTRY_FORBIDDEN),
    (codes::NODE_NOT_FOUND, codes::REGISTRY_REPOSITORY_MISSING),
    (codes::NODE_REFUSED, codes::REGISTRY_REFUSED),
    (codes::NODE_BUSY, codes::REGISTRY_BUSY),
    (codes::NODE_ERROR, codes::REGISTRY_UNAVAILABLE),
    (codes::NODE_UNAVAILABLE, codes::REGISTRY_UNAVAILABLE),
    (codes::NODE_ANSWER_NOT_JSON, codes::REGISTRY_ANSWER_INVALID),
    (codes::NODE_ANSWER_UNEXPECTED, codes::REGISTRY_ANSWER_INVALID),
    (codes::NODE_ANSWER_CUT, codes::REGISTRY_CUT),
    (codes::NODE_ANSWER_TOO_LARGE, codes::IMAGE_TOO_LARGE),
    (codes::NODE_TIMED_OUT, codes::REGISTRY_TIMED_OUT),
    (codes::NODE_REDIRECTED, codes::REGISTRY_ANSWER_INVALID),
    (codes::NODE_REPORT_ERROR, codes::REGISTRY_REFUSED),
];

/// The same failure, as a registry's.
pub(super) fn of_registry(mut error: CallError) -> CallError {
    if let Some((_, ours)) = NAMES.iter().find(|(theirs, _)| error.is(theirs)) {
        error.failure.code = ours.clone();
    }
    error
}

/// The registry's API promises something else.
pub(super) fn strange(doing: &str, problem: &str) -> CallError {
    let message = format!("The registry's answer is not what its API promises ({doing}): {problem}");
    CallError::permanent(codes::REGISTRY_ANSWER_INVALID, message, Effect::Ended)
}

/// A content is not what its digest says.
pub(super) fn mismatch(what: &str) -> CallError {
    let message = format!(
        "What the registry sent as {what} is not what its digest says: it is damaged, or somebody changed it. Nothing was made of it."
    );
    CallError::permanent(codes::IMAGE_DIGEST_MISMATCH, message, Effect::None)
}

/// An image that we can't work with.
pub(super) fn unsound(what: &str, problem: &str) -> CallError {
    let message = format!("The image {what} can't be used: {problem}");
    CallError::permanent(codes::IMAGE_MANIFEST_INVALID, message, Effect::None)
}

/// Larger than we take.
pub(super) fn too_large(what: &str, most: u64) -> CallError {
    let message = format!("{what} is larger than {most} bytes, more than Slipway takes.");
    CallError::permanent(codes::IMAGE_TOO_LARGE, message, Effect::None)
}

/// What a status that is no success means.
pub(super) fn refused(exchange: &Exchange, doing: &str) -> CallError {
    #[derive(Deserialize)]
    struct Errors {
        errors: Vec<One>,
    }
    #[derive(Deserialize)]
    struct One {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let said = serde_json::from_slice::<Errors>(&exchange.body).ok().and_then(|read| read.errors.into_iter().next());
    let said = said.map(|one| Said { code: one.code, message: one.message }).unwrap_or_default();
    let mut error = of_registry(exchange.refused(doing, &said));
    // It knows who we are, and says with the status of a stranger that we may not.
    if exchange.status == 401
        && exchange.header(WWW_AUTHENTICATE).is_some_and(|text| text.contains("insufficient_scope"))
    {
        error.failure.code = codes::REGISTRY_FORBIDDEN;
        error.failure.message = format!("The registry forbids {doing}. Check the login's rights in the repository.");
    }
    error
}
