//! Waiting for a state, with a deadline.

use std::time::Duration;

use tokio::time::Instant;

use crate::failure::LabError;

/// Looks until `look` answers something, and returns that; `what` says for what it waits.
///
/// # Errors
/// [`LabError::Late`] when it did not in `patience`.
pub async fn until<T, F>(what: impl AsRef<str>, patience: Duration, mut look: impl FnMut() -> F) -> Result<T, LabError>
where
    F: Future<Output = Option<T>>,
{
    let end = Instant::now() + patience;
    let mut pause = Duration::from_millis(2);
    loop {
        if let Some(found) = look().await {
            return Ok(found);
        }
        if Instant::now() >= end {
            return Err(LabError::Late { what: what.as_ref().to_owned(), seconds: patience.as_secs() });
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}
