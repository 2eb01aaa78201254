//! GraphiQL, from the binary: it needs no other site.

use poem::{
    Endpoint, IntoResponse, Request, Response, Result,
    http::{Method, StatusCode},
};

use crate::failure::Failure;

/// Scripts and requests of this site alone. Styles are written into elements by the editor, fonts and marks lie in the style sheet.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

macro_rules! asset {
    ($name:literal, $kind:literal) => {
        ($name, $kind, include_bytes!(concat!("../assets/graphiql/", $name)))
    };
}

const PAGE: &[u8] = include_bytes!("../assets/graphiql/index.html");

const ASSETS: [(&str, &str, &[u8]); 6] = [
    asset!("app.js", "text/javascript; charset=utf-8"),
    asset!("app.css", "text/css; charset=utf-8"),
    asset!("graphiql.min.js", "text/javascript; charset=utf-8"),
    asset!("graphiql.min.css", "text/css; charset=utf-8"),
    asset!("react.production.min.js", "text/javascript; charset=utf-8"),
    asset!("react-dom.production.min.js", "text/javascript; charset=utf-8"),
];

/// The page and its parts.
pub(crate) struct Graphiql;

impl Endpoint for Graphiql {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return Ok(Failure::of_status(StatusCode::METHOD_NOT_ALLOWED).into_response());
        }
        let path = request.original_uri().path();
        let name = path.strip_prefix("/graphiql").unwrap_or(path).trim_start_matches('/');
        if name.is_empty() {
            return Ok(Response::builder()
                .content_type("text/html; charset=utf-8")
                .header("content-security-policy", POLICY)
                .body(PAGE));
        }
        let Some((_, kind, bytes)) = ASSETS.iter().find(|(one, ..)| *one == name) else {
            return Ok(Failure::not_found().into_response());
        };
        Ok(Response::builder().content_type(kind).header("cache-control", "public, max-age=3600").body(*bytes))
    }
}
