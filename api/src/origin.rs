//! Which pages may use this API: those of its own origin, and of the origins that the settings name. A request without an `Origin` comes from
//! no page.

use poem::{
    Request, Response,
    http::{HeaderValue, Method, StatusCode, header},
};

use crate::failure::Failure;

/// Whether the request comes from a page that may not use this API.
pub(crate) fn check(request: &Request, allowed: &[String]) -> Result<(), Failure> {
    let Some(origin) = request.headers().get(header::ORIGIN) else { return Ok(()) };
    let sound = origin.to_str().is_ok_and(|origin| is_own(origin, request) || is_listed(origin, allowed));
    if sound {
        return Ok(());
    }
    Err(Failure::new(
        StatusCode::FORBIDDEN,
        "ORIGIN_NOT_ALLOWED",
        "Pages of this origin may not use this API. An operator can allow it in the setting allowed_origins.",
    ))
}

/// The answer to a browser that asks before it sends.
pub(crate) fn preflight(request: &Request) -> Option<Response> {
    let asks = request.method() == Method::OPTIONS && request.headers().contains_key("access-control-request-method");
    asks.then(|| {
        Response::builder()
            .status(StatusCode::NO_CONTENT)
            .header("access-control-allow-methods", "GET, POST, PUT, DELETE")
            .header("access-control-allow-headers", "authorization, content-type, accept, last-event-id, x-request-id")
            .header("access-control-max-age", "600")
            .finish()
    })
}

/// Lets a page of an allowed origin read the answer.
pub(crate) fn expose(origin: Option<&HeaderValue>, response: &mut Response) {
    if let Some(origin) = origin {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static("x-request-id, content-disposition"),
        );
    }
    response.headers_mut().append(header::VARY, HeaderValue::from_static("origin"));
}

/// Compared without the scheme: behind a proxy that ends TLS it is not known here.
fn is_own(origin: &str, request: &Request) -> bool {
    let host = request
        .headers()
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .or_else(|| request.uri().authority().map(|a| a.as_str()));
    match (origin.split_once("://"), host) {
        (Some(("http" | "https", authority)), Some(host)) => authority.eq_ignore_ascii_case(host),
        _ => false,
    }
}

fn is_listed(origin: &str, allowed: &[String]) -> bool {
    allowed.iter().any(|one| one.trim_end_matches('/').eq_ignore_ascii_case(origin))
}
