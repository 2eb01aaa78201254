//! Packages in and out: `POST /bundles?projectKey=KEY` and `POST /service-versions?serviceId=ID` as a form with the part `file`, `GET /projects/KEY/bundles/ID` and
//! `GET /services/ID/versions/VERSION`. All are streams: a package never lies in memory as a whole.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use poem::{
    Body, Endpoint, FromRequest, IntoResponse, Request, RequestBody, Response, Result,
    http::{Method, StatusCode},
    web::Multipart,
};
use serde::Deserialize;
use tokio::{sync::Semaphore, time::Instant};
use tokio_util::io::ReaderStream;

use crate::{
    auth,
    body::declared_length,
    edge::Login,
    failure::Failure,
    house::{self, ByteStream, House},
    settings::Settings,
};

/// The most that may come before a part begins: the form's reader keeps all that it cannot yet make sense of.
const PREAMBLE: u64 = 64 << 10;

/// The most parts before the part `file`.
const OTHER_PARTS: usize = 100;

/// A client's pace is judged from this on: a slow start is no slow upload.
const PACE_FROM: Duration = Duration::from_secs(30);

/// Where uploads come in, whatever their address: so many at once.
pub(crate) struct Intake {
    settings: Arc<Settings>,
    seats: Semaphore,
}

impl Intake {
    pub(crate) fn new(settings: Arc<Settings>) -> Self {
        let seats = Semaphore::new(settings.uploads_at_once.min(Semaphore::MAX_PERMITS));
        Self { settings, seats }
    }

    /// Hands the part `file` of a form to whoever stores it: its name, and its content as a stream.
    pub(crate) async fn take<T, F>(
        &self,
        request: Request,
        store: impl FnOnce(String, ByteStream) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let limit = self.settings.upload_limit;
        if declared_length(&request).is_some_and(|length| length > limit) {
            return Err(Failure::too_large(limit));
        }
        let _seat = self.seats.try_acquire().map_err(|_| {
            Failure::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "UPLOADS_BUSY",
                "As many uploads as this server takes at once are under way. Try again in a minute.",
            )
        })?;
        let (request, mut body) = request.split();
        let trouble = Trouble::default();
        let body = body.take().map_err(|_| Failure::bad_request("There is no body."))?;
        let (idle, pace) = (self.settings.upload_idle(), self.settings.upload_pace);
        let bounds =
            Bounds { limit, idle, pace, so_far: Arc::default(), parsed: Arc::default(), begun: Arc::default() };
        let seen = bounds.clone();
        let body = watched(body, bounds, trouble.clone());
        let mut form = Multipart::from_request(&request, &mut RequestBody::new(body)).await.map_err(|_| no_form())?;
        let mut others = 0;
        let stored = loop {
            match form.next_field().await {
                Ok(Some(field)) if field.name() == Some("file") => {
                    seen.begun.store(true, Ordering::Relaxed);
                    let file_name = field.file_name().unwrap_or("file").to_owned();
                    let content: ByteStream = ReaderStream::with_capacity(field.into_async_read(), 64 << 10).boxed();
                    break store(file_name, content).await;
                }
                Ok(Some(_)) if others == OTHER_PARTS => break Err(no_form().about("file")),
                Ok(Some(_)) => {
                    others += 1;
                    seen.parsed.store(seen.so_far.load(Ordering::Relaxed), Ordering::Relaxed);
                }
                Ok(None) => break Err(no_form().about("file")),
                Err(_) => break Err(no_form()),
            }
        };
        // A body that broke off looks like a broken archive to whoever read it; say what really happened.
        stored.map_err(|failure| trouble.failure(limit).unwrap_or(failure))
    }
}

/// The uploads' endpoint.
pub(crate) struct Upload<H> {
    pub(crate) house: Arc<H>,
    pub(crate) intake: Arc<Intake>,
    pub(crate) kind: Kind,
}

/// The downloads' endpoint.
pub(crate) struct Download<H> {
    pub(crate) house: Arc<H>,
    pub(crate) kind: Kind,
}

/// Which packages an address is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Bundles of published projects.
    Bundles,
    /// Versions of published API services.
    Versions,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Target {
    project_key: Option<String>,
    service_id: Option<String>,
}

impl<H: House> Endpoint for Upload<H> {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        Ok(self.answer(request).await.unwrap_or_else(IntoResponse::into_response))
    }
}

impl<H: House> Upload<H> {
    async fn answer(&self, request: Request) -> Result<Response, Failure> {
        if request.method() != Method::POST {
            return Err(Failure::of_status(StatusCode::METHOD_NOT_ALLOWED));
        }
        let pass = auth::enter(&*self.house, &request).await?;
        let target: Target = request.params().map_err(|_| match self.kind {
            Kind::Bundles => {
                Failure::bad_request("Name the published project: POST /bundles?projectKey=KEY.").about("projectKey")
            }
            Kind::Versions => Failure::bad_request("Name the published service: POST /service-versions?serviceId=ID.")
                .about("serviceId"),
        })?;
        let parent = match self.kind {
            Kind::Bundles => house::Parent::Project(target.project_key.as_deref()),
            Kind::Versions => house::Parent::Service(target.service_id.as_deref()),
        };
        let stored = self.intake.take(request, |file_name, content| async {
            let file_name = file_name;
            self.house.upload(&pass.viewer, parent, &file_name, content).await
        });
        let stored = stored.await?;
        let json = serde_json::to_vec(&stored).map_err(|_| Failure::internal())?;
        let mut response =
            Response::builder().status(StatusCode::CREATED).content_type("application/json; charset=utf-8").body(json);
        response.set_data(Login(self.house.login(&pass.viewer).into()));
        Ok(response)
    }
}

fn no_form() -> Failure {
    Failure::bad_request("Send the package as multipart/form-data, in a part named file.")
}

/// What went wrong with a body while somebody read it.
#[derive(Clone, Default)]
struct Trouble(Arc<AtomicU8>);

impl Trouble {
    const TOO_LARGE: u8 = 1;
    const IDLE: u8 = 2;
    const CUT: u8 = 3;
    const PREAMBLE: u8 = 4;
    const SLOW: u8 = 5;

    fn note(&self, what: u8) {
        self.0.store(what, Ordering::Relaxed);
    }

    fn failure(&self, limit: u64) -> Option<Failure> {
        match self.0.load(Ordering::Relaxed) {
            Self::TOO_LARGE => Some(Failure::too_large(limit)),
            Self::IDLE => Some(Failure::new(
                StatusCode::REQUEST_TIMEOUT,
                "UPLOAD_STALLED",
                "The upload stalled and was dropped. Nothing was stored.",
            )),
            Self::CUT => {
                Some(Failure::new(StatusCode::BAD_REQUEST, "UPLOAD_CUT", "The upload broke off. Nothing was stored."))
            }
            Self::PREAMBLE => Some(Failure::bad_request(format!(
                "More than {PREAMBLE} bytes came before the part named file. Send that part first."
            ))),
            Self::SLOW => Some(Failure::new(
                StatusCode::REQUEST_TIMEOUT,
                "UPLOAD_STALLED",
                "The upload was too slow and was dropped. Nothing was stored.",
            )),
            _ => None,
        }
    }
}

/// What one upload may do.
#[derive(Clone)]
struct Bounds {
    /// The most bytes.
    limit: u64,
    /// The longest pause.
    idle: Duration,
    /// The fewest bytes a second, on average over the time in which the client was waited for.
    pace: u64,
    /// So many bytes came.
    so_far: Arc<AtomicU64>,
    /// So many had come when the last part began.
    parsed: Arc<AtomicU64>,
    /// The part `file` has begun.
    begun: Arc<AtomicBool>,
}

impl Bounds {
    /// Why nothing more is read, of a body whose last piece had so many bytes.
    fn passed(&self, last: u64, waited: Duration) -> Option<(u8, io::ErrorKind)> {
        let so_far = self.so_far.load(Ordering::Relaxed);
        // The form's reader may ask for the next piece before it looks at the last one.
        let looked_at = so_far.saturating_sub(last).saturating_sub(self.parsed.load(Ordering::Relaxed));
        if looked_at > PREAMBLE && !self.begun.load(Ordering::Relaxed) {
            return Some((Trouble::PREAMBLE, io::ErrorKind::InvalidData));
        }
        let slow = waited > PACE_FROM && so_far < self.pace.saturating_mul(waited.as_secs());
        slow.then_some((Trouble::SLOW, io::ErrorKind::TimedOut))
    }
}

/// The body within its bounds.
fn watched(body: Body, bounds: Bounds, trouble: Trouble) -> Body {
    let chunks = body.into_bytes_stream().boxed();
    let watched = stream::unfold(Some((chunks, 0u64, Duration::ZERO)), move |state| {
        let (bounds, trouble) = (bounds.clone(), trouble.clone());
        async move {
            let (mut chunks, last, waited) = state?;
            // The form's reader takes whatever is ready before it looks at any of it: it gets one piece at a time.
            tokio::task::yield_now().await;
            if let Some((what, kind)) = bounds.passed(last, waited) {
                trouble.note(what);
                return Some((Err(kind.into()), None));
            }
            let since = Instant::now();
            let chunk: Bytes = match tokio::time::timeout(bounds.idle, chunks.next()).await {
                Ok(None) => return None,
                Ok(Some(Ok(chunk))) => chunk,
                Ok(Some(Err(error))) => {
                    trouble.note(Trouble::CUT);
                    return Some((Err(error), None));
                }
                Err(_) => {
                    trouble.note(Trouble::IDLE);
                    return Some((Err(io::ErrorKind::TimedOut.into()), None));
                }
            };
            let last = chunk.len() as u64;
            let before = bounds.so_far.fetch_add(last, Ordering::Relaxed);
            if before.saturating_add(last) > bounds.limit {
                trouble.note(Trouble::TOO_LARGE);
                return Some((Err(io::ErrorKind::FileTooLarge.into()), None));
            }
            Some((Ok(chunk), Some((chunks, last, waited + since.elapsed()))))
        }
    });
    Body::from_bytes_stream(watched)
}

impl<H: House> Endpoint for Download<H> {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        Ok(self.answer(request).await.unwrap_or_else(IntoResponse::into_response))
    }
}

impl<H: House> Download<H> {
    async fn answer(&self, request: Request) -> Result<Response, Failure> {
        if request.method() != Method::GET {
            return Err(Failure::of_status(StatusCode::METHOD_NOT_ALLOWED));
        }
        let pass = auth::enter(&*self.house, &request).await?;
        let (key, id): (String, String) = request.path_params().map_err(|_| Failure::not_found())?;
        let package = match self.kind {
            Kind::Bundles => house::Package::Bundle(&key, &id),
            Kind::Versions => house::Package::Version(&key, &id),
        };
        let mut response = archive(self.house.download(&pass.viewer, package).await?);
        response.set_data(Login(self.house.login(&pass.viewer).into()));
        Ok(response)
    }
}

/// A package as an answer.
pub(crate) fn archive(bundle: house::Download) -> Response {
    let name = utf8_percent_encode(&bundle.file_name, NON_ALPHANUMERIC);
    Response::builder()
        .content_type("application/zip")
        .header("content-length", bundle.size)
        .header("content-disposition", format!("attachment; filename*=UTF-8''{name}"))
        .header("etag", format!("\"{}\"", bundle.sha256))
        .body(Body::from_bytes_stream(bundle.content))
}
