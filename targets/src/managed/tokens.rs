//! Access tokens, kept in memory until shortly before they end: signed in once, asked often.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use engine::secrets::Secret;

/// So many are kept.
const MOST: usize = 64;
/// A token is not used in its last moments: a call may take some of them.
const MARGIN: Duration = Duration::from_secs(120);
/// Whatever a platform says, a token is not kept longer.
const LONGEST: Duration = Duration::from_secs(3_600);

/// A token as it was handed out.
pub(crate) struct Fresh {
    pub(crate) token: Secret,
    /// In seconds.
    pub(crate) expires_in: u64,
}

/// Tokens by what they were asked with: a changed secret is another one.
#[derive(Default)]
pub(crate) struct Tokens(Mutex<HashMap<String, (Secret, Instant)>>);

impl Tokens {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, (Secret, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The token under `key` (a hash, no secret), or a fresh one.
    pub(crate) async fn get<E>(
        &self,
        key: String,
        sign_in: impl Future<Output = Result<Fresh, E>>,
    ) -> Result<Secret, E> {
        let kept = self.lock().get(&key).filter(|(_, until)| *until > Instant::now()).map(|(token, _)| token.clone());
        if let Some(token) = kept {
            return Ok(token);
        }
        let fresh = sign_in.await?;
        let lasts = Duration::from_secs(fresh.expires_in).min(LONGEST).saturating_sub(MARGIN);
        let mut all = self.lock();
        let now = Instant::now();
        all.retain(|_, (_, until)| *until > now);
        if all.len() >= MOST {
            all.clear();
        }
        all.insert(key, (fresh.token.clone(), now + lasts));
        Ok(fresh.token)
    }
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tokens({})", self.lock().len())
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    async fn token(tokens: &Tokens, key: &str, fresh: &str, expires_in: u64) -> String {
        let made = async { Ok::<_, Infallible>(Fresh { token: fresh.to_owned().into(), expires_in }) };
        tokens.get(key.to_owned(), made).await.unwrap().expose().to_owned()
    }

    #[tokio::test]
    async fn kept_while_it_lasts() {
        let tokens = Tokens::default();
        assert_eq!(token(&tokens, "a", "1", 3_600).await, "1");
        assert_eq!(token(&tokens, "a", "2", 3_600).await, "1");
        assert_eq!(token(&tokens, "b", "3", 3_600).await, "3");
        assert_eq!(token(&tokens, "c", "4", 100).await, "4", "too short to keep");
        assert_eq!(token(&tokens, "c", "5", 3_600).await, "5");
        for n in 0..200 {
            token(&tokens, &n.to_string(), "x", 3_600).await;
        }
        assert!(!format!("{tokens:?}").contains('x'));
        assert!(tokens.lock().len() <= MOST);
    }
}
