//! Waiting for a state, with a deadline. Nothing in the tests waits for a time.

use std::time::Duration;

/// Long enough for a slow machine, short enough for whoever waits for a failed test.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Looks until `look` answers something, and returns that.
///
/// # Panics
/// When it did not in `patience`; `what` says for what.
pub async fn until<T, F>(what: &str, patience: Duration, look: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    lab::until::until(what, patience, look).await.unwrap_or_else(|late| panic!("{late}"))
}

/// Looks until `look` answers true.
///
/// # Panics
/// As [`until`].
pub async fn until_true<F>(what: &str, patience: Duration, mut look: impl FnMut() -> F)
where
    F: Future<Output = bool>,
{
    until(what, patience, || {
        let seen = look();
        async { seen.await.then_some(()) }
    })
    .await;
}

/// What this future brings, which must not take longer than [`PATIENCE`].
///
/// # Panics
/// When it does; `what` says what was awaited.
pub async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(brought) => brought,
        Err(_) => panic!("waited {} s for {what}", PATIENCE.as_secs_f32()),
    }
}
