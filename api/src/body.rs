//! A request's body, read to a limit.

use bytes::Bytes;
use poem::{Request, error::ReadBodyError, http::header};
use tokio::io::AsyncReadExt as _;

use crate::failure::Failure;

/// A body that is so many times as long as the limit is not even thrown away.
const FAR_OVER: u64 = 4;

/// The length that a request says its body has, in bytes.
pub(crate) fn declared_length(request: &Request) -> Option<u64> {
    request.headers().get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The whole body; `limit` in bytes.
pub(crate) async fn body(request: Request, limit: usize) -> Result<Bytes, Failure> {
    let most = limit as u64;
    if let Some(length) = declared_length(&request).filter(|length| *length > most) {
        // A client reads our answer after it has sent everything. Who is far over is cut off instead.
        if length / FAR_OVER <= most {
            let mut rest = request.into_body().into_async_read().take(length);
            // It may break off; the answer is the same.
            drop(tokio::io::copy(&mut rest, &mut tokio::io::sink()).await);
        }
        return Err(Failure::too_large(most));
    }
    request.into_body().into_bytes_limit(limit).await.map_err(|error| match error {
        ReadBodyError::PayloadTooLarge => Failure::too_large(most),
        _ => Failure::bad_request("The body broke off."),
    })
}
