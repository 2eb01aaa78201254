//! `POST /events`: a batch for the Event Server, as JSON or one event a line, perhaps packed with gzip.

use std::{io::Read as _, sync::Arc};

use bytes::Bytes;
use engine::clock;
use events::{Batch, EventError, EventServer, Format, Grant, Place, Receipt, batch::Arrived};
use flate2::read::MultiGzDecoder;
use poem::{
    Endpoint, IntoResponse, Request, Response, Result,
    http::{HeaderValue, Method, StatusCode, header},
};
use serde_json::json;

use crate::{
    auth,
    body::{body, declared_length},
    edge::Login,
    failure::Failure,
    rest::late,
};

/// The address.
pub(crate) const PATH: &str = "/events";
/// Smaller bodies are read where they arrive; in bytes.
const SMALL: usize = 64 << 10;

/// The endpoint.
pub(crate) struct Events(pub(crate) Arc<EventServer>);

impl Endpoint for Events {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        let timeout = std::time::Duration::from_secs(self.0.settings().request_timeout_s);
        let mut login = None;
        let answer = late(timeout, self.answer(request, &mut login)).await;
        let mut response = match answer {
            Ok(Receipt { events, duplicate }) => {
                let said = json!({ "events": events, "duplicate": duplicate }).to_string();
                Response::builder().content_type("application/json; charset=utf-8").body(said)
            }
            Err(failure) => refused(failure),
        };
        if let Some(login) = login {
            response.set_data(login);
        }
        Ok(response)
    }
}

impl Events {
    async fn answer(&self, request: Request, login: &mut Option<Login>) -> Result<Receipt, Failure> {
        if request.method() != Method::POST {
            return Err(Failure::of_status(StatusCode::METHOD_NOT_ALLOWED));
        }
        let auth::Claim::Key(key) = auth::claim(&request) else { return Err(Failure::unauthenticated()) };
        let grant = self.0.keys().find(key.expose()).ok_or_else(Failure::unauthenticated)?;
        *login = Some(Login(grant.label().into()));
        let format = format(&request)?;
        let packed = packed(&request)?;
        let address = auth::arrival(&request).address;
        let address = address.as_deref().unwrap_or("unknown");
        let batch_id = batch_id(&request)?;
        let limit = self.0.settings().batch_bytes;
        // Nothing is read before there is room for all that may come.
        let length = declared_length(&request).and_then(|length| usize::try_from(length).ok()).filter(|_| !packed);
        let place = self.0.place(length.unwrap_or(limit)).await.map_err(failure)?;
        let body = body(request, limit).await?;
        let arrived = Who { grant, address: address.to_owned(), batch_id, at: clock::now_micros() };
        let server = Arc::clone(&self.0);
        let read = move || read(&server, body, packed, format, &arrived, place);
        // Much JSON would keep others waiting.
        let read = if length.is_some_and(|length| length <= SMALL) {
            read()
        } else {
            tokio::task::spawn_blocking(read).await.map_err(|_| Failure::internal())?
        };
        let (batch, place) = read.inspect_err(|_| self.0.refused())?;
        self.0.file(batch, place).await.map_err(failure)
    }
}

/// As [`Arrived`], on its own.
struct Who {
    grant: Arc<Grant>,
    address: String,
    batch_id: Option<String>,
    at: i64,
}

fn read(
    server: &EventServer,
    body: Bytes,
    packed: bool,
    format: Format,
    who: &Who,
    place: Place,
) -> Result<(Batch, Place), Failure> {
    let body = if packed { unpacked(&body, server.settings().batch_bytes)? } else { body };
    let batch_id = who.batch_id.as_deref();
    let arrived = Arrived { grant: &who.grant, address: &who.address, batch_id, at: who.at };
    let batch = Batch::read(&body, format, &arrived, server.settings()).map_err(failure)?;
    let place = place.shrunk_to(batch.bytes().max(body.len()));
    Ok((batch, place))
}

fn unpacked(body: &[u8], limit: usize) -> Result<Bytes, Failure> {
    let mut unpacked = Vec::new();
    let most = (limit as u64).saturating_add(1);
    MultiGzDecoder::new(body)
        .take(most)
        .read_to_end(&mut unpacked)
        .map_err(|_| Failure::bad_request("The body is no gzip, or broke off.").about("body"))?;
    if unpacked.len() > limit {
        return Err(Failure::too_large(limit as u64));
    }
    Ok(unpacked.into())
}

fn format(request: &Request) -> Result<Format, Failure> {
    let kind = request.content_type().and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
    match kind.to_ascii_lowercase().as_str() {
        "application/json" => Ok(Format::Json),
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" | "application/x-jsonlines" => {
            Ok(Format::Lines)
        }
        _ => {
            let wanted = "Send application/json, or application/x-ndjson with one event a line.";
            Err(Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "CONTENT_TYPE_INVALID", wanted).about("Content-Type"))
        }
    }
}

fn packed(request: &Request) -> Result<bool, Failure> {
    match request.headers().get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes) {
        None => Ok(false),
        Some(value) if value.eq_ignore_ascii_case(b"identity") => Ok(false),
        Some(value) if value.eq_ignore_ascii_case(b"gzip") => Ok(true),
        Some(_) => {
            let wanted = "Send the body as it is, or packed with gzip.";
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            Err(Failure::new(status, "CONTENT_TYPE_INVALID", wanted).about("Content-Encoding"))
        }
    }
}

/// The id that stands in the address: `?batchId=…`, for bodies that have no place for it.
fn batch_id(request: &Request) -> Result<Option<String>, Failure> {
    let unknown = || Failure::bad_request("Only ?batchId=… may stand in this address, once.").about("batchId");
    let mut query = request.params::<Vec<(String, String)>>().map_err(|_| unknown())?;
    match (query.pop(), query.is_empty()) {
        (None, _) => Ok(None),
        (Some((name, id)), true) if name == "batchId" => Ok(Some(id)),
        _ => Err(unknown()),
    }
}

/// An error of the Event Server with its status. What the sender cannot mend was logged where it happened.
fn failure(error: EventError) -> Failure {
    let status = match &error {
        EventError::Invalid { .. } => StatusCode::BAD_REQUEST,
        EventError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        EventError::NotAllowed { .. } => StatusCode::FORBIDDEN,
        EventError::Mismatch => StatusCode::CONFLICT,
        EventError::Busy => StatusCode::TOO_MANY_REQUESTS,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    let failure = Failure::new(status, error.code().as_str().to_owned(), error.to_string());
    match error.field() {
        Some(field) => failure.about(field),
        None => failure,
    }
}

/// Whoever is asked to come again is told when.
fn refused(failure: Failure) -> Response {
    let again = failure.status == StatusCode::SERVICE_UNAVAILABLE;
    let mut response = failure.into_response();
    if again {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
    }
    response
}
