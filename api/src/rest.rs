//! The REST API that Dataiku's client speaks, under both of its bases. What there is below them is the house's business.
//!
//! Clients vary what they send: doubled and trailing slashes, JSON without a content type. All of it is taken here, before any route is looked for.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use percent_encoding::percent_decode_str;
use poem::{Endpoint, IntoResponse, Request, Response, Result, http::StatusCode};

use crate::{
    auth,
    body::body,
    bundles::{Intake, archive},
    edge::Login,
    failure::Failure,
    graphql::LATE,
    house::{ByteStream, House, Pass, RestAnswer, RestCall},
    rate::Rates,
    settings::Settings,
};

/// Where the API lies: as the client asks, and as the documentation writes.
const BASES: [[&str; 2]; 2] = [["dip", "publicapi"], ["public", "api"]];
/// As whom an administrator acts.
const ACT_FOR: &str = "x-dku-proxyuser";

/// The parts of a path below a base, as they came; None for other paths.
fn below(path: &str) -> Option<impl Iterator<Item = &str>> {
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    let base = [parts.next()?, parts.next()?];
    BASES.contains(&base).then_some(parts)
}

/// Whether a path is one of this API's.
pub(crate) fn is_below(path: &str) -> bool {
    below(path).is_some()
}

/// A name for log and metrics; few of them, whatever people ask for.
pub(crate) fn name(path: &str) -> Option<&'static str> {
    Some(match below(path)?.next() {
        Some("project-deployer") => "/dip/publicapi/project-deployer",
        Some("api-deployer") => "/dip/publicapi/api-deployer",
        Some("futures") => "/dip/publicapi/futures",
        _ => "/dip/publicapi",
    })
}

/// This API for its paths, and what was there before for others.
pub(crate) struct Fork<R, I> {
    pub(crate) rest: R,
    pub(crate) others: I,
}

impl<R: Endpoint<Output = Response>, I: Endpoint> Endpoint for Fork<R, I> {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        if is_below(request.uri().path()) {
            self.rest.call(request).await
        } else {
            self.others.call(request).await.map(IntoResponse::into_response)
        }
    }
}

/// The endpoint.
pub(crate) struct Rest<H> {
    pub(crate) house: Arc<H>,
    pub(crate) rates: Arc<Rates>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) intake: Arc<Intake>,
}

impl<H: House> Endpoint for Rest<H> {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        Ok(self.answer(request).await.unwrap_or_else(Failure::into_rest))
    }
}

impl<H: House> Rest<H> {
    async fn answer(&self, request: Request) -> Result<Response, Failure> {
        // Whoever asks too often is refused before the database is asked who that is.
        let claim = auth::claim(&request);
        let key = if let auth::Claim::Key(key) = &claim { Some(key) } else { None };
        let place = self.rates.enter(key).await?;
        let pass = self.enter(&request).await?;
        let call = call(&request)?;
        let login = Login(self.house.login(&pass.viewer).into());
        let timeout = self.settings.request_timeout();
        let answer = if is_form(&request) {
            // Uploads have bounds of their own.
            drop(place);
            self.intake.take(request, |name, content| self.upload(&pass, call, name, content)).await?
        } else {
            let body = late(timeout, body(request, self.settings.body_limit)).await?;
            let call = RestCall { body, ..call };
            if self.house.is_patient(&call) {
                drop(place);
                self.house.rest(&pass.viewer, call).await?
            } else {
                late(timeout, self.house.rest(&pass.viewer, call)).await?
            }
        };
        let mut response = match answer {
            RestAnswer::Json(document) => {
                let json = serde_json::to_vec(&document).map_err(|_| Failure::internal())?;
                Response::builder().content_type("application/json; charset=utf-8").body(json)
            }
            RestAnswer::Package(package) => archive(package),
        };
        response.set_data(login);
        Ok(response)
    }

    async fn upload(
        &self,
        pass: &Pass<H::Viewer>,
        call: RestCall,
        file_name: String,
        content: ByteStream,
    ) -> Result<RestAnswer, Failure> {
        self.house.rest_upload(&pass.viewer, call, &file_name, content).await
    }

    /// Who asks, or as whom an administrator asks.
    async fn enter(&self, request: &Request) -> Result<Pass<H::Viewer>, Failure> {
        let Pass { viewer, key, from } = auth::enter(&*self.house, request).await?;
        let viewer = match request.headers().get(ACT_FOR) {
            None => viewer,
            Some(login) => {
                let login = login.to_str().map_err(|_| {
                    Failure::new(StatusCode::BAD_REQUEST, "LOGIN_INVALID", "This is no login.").about("X-DKU-ProxyUser")
                })?;
                self.house.act_for(&viewer, login).await.map_err(|failure| failure.about("X-DKU-ProxyUser"))?
            }
        };
        Ok(Pass { viewer, key, from })
    }
}

pub(crate) async fn late<T>(timeout: Duration, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let answer = tokio::time::timeout(timeout, work).await;
    answer.map_err(|_| Failure::new(StatusCode::GATEWAY_TIMEOUT, "TIMEOUT", LATE))?
}

fn is_form(request: &Request) -> bool {
    let kind = request.content_type().and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("multipart/form-data")
}

/// The call, without its body.
fn call(request: &Request) -> Result<RestCall, Failure> {
    let unreadable = || Failure::bad_request("The address is not UTF-8.");
    let decoded = |part: &str| percent_decode_str(part).decode_utf8().map(|text| text.into_owned());
    let path = below(request.uri().path()).into_iter().flatten().map(decoded).collect::<Result<_, _>>();
    Ok(RestCall {
        method: request.method().as_str().to_owned(),
        path: path.map_err(|_| unreadable())?,
        query: request.params().map_err(|_| unreadable())?,
        body: Bytes::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_bases_are_found_however_they_are_written() {
        let found = |path: &str| below(path).map(|parts| parts.map(str::to_owned).collect::<Vec<_>>());
        for path in ["/dip/publicapi/futures/1", "//dip/publicapi//futures/1/", "/public/api/futures/1"] {
            assert_eq!(found(path), Some(vec!["futures".to_owned(), "1".to_owned()]), "{path}");
        }
        assert_eq!(found("/dip/publicapi"), Some(Vec::new()));
        for path in ["/", "/graphql", "/dip", "/dip/api/x", "/public/publicapi/x", "/x/dip/publicapi"] {
            assert_eq!(found(path), None, "{path}");
        }
    }

    #[test]
    fn names_are_few() {
        assert_eq!(name("/dip/publicapi/project-deployer/projects/SECRET"), Some("/dip/publicapi/project-deployer"));
        assert_eq!(name("/public/api/whatever"), Some("/dip/publicapi"));
        assert_eq!(name("/whatever"), None);
    }
}
