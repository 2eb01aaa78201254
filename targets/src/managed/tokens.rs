//! Access tokens, kept in memory until shortly before they end: signed in once, asked often.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use engine::secrets::Secret;

use crate::http::CallError;

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

/// A way to sign in.
#[async_trait]
pub(crate) trait SignIn: Send + Sync {
    /// What its tokens are kept under, a hash of all that they are asked with: a changed secret is another one.
    fn key(&self) -> String;

    /// Another token.
    async fn fresh(&self) -> Result<Fresh, CallError>;
}

/// Tokens by what they were asked with.
#[derive(Default)]
pub(crate) struct Tokens(Mutex<HashMap<String, (Secret, Instant)>>);

impl Tokens {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, (Secret, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kept(&self, key: &str) -> Option<Secret> {
        self.lock().get(key).filter(|(_, until)| *until > Instant::now()).map(|(token, _)| token.clone())
    }

    /// A token that is kept, or a fresh one.
    pub(crate) async fn get(&self, way: &dyn SignIn) -> Result<Secret, CallError> {
        match self.kept(&way.key()) {
            Some(token) => Ok(token),
            None => self.anew(way).await,
        }
    }

    /// Another token than this one, which the platform refused: one that somebody has got since, or a fresh one.
    pub(crate) async fn instead_of(&self, refused: &Secret, way: &dyn SignIn) -> Result<Secret, CallError> {
        match self.kept(&way.key()).filter(|kept| kept.expose() != refused.expose()) {
            Some(token) => Ok(token),
            None => self.anew(way).await,
        }
    }

    /// A fresh token.
    pub(crate) async fn anew(&self, way: &dyn SignIn) -> Result<Secret, CallError> {
        let key = way.key();
        self.lock().remove(&key);
        let fresh = way.fresh().await?;
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
    use super::*;

    struct Way<'a>(&'a str, &'a str, u64);

    #[async_trait]
    impl SignIn for Way<'_> {
        fn key(&self) -> String {
            self.0.to_owned()
        }

        async fn fresh(&self) -> Result<Fresh, CallError> {
            Ok(Fresh { token: self.1.to_owned().into(), expires_in: self.2 })
        }
    }

    async fn token(tokens: &Tokens, key: &str, fresh: &str, expires_in: u64) -> String {
        tokens.get(&Way(key, fresh, expires_in)).await.unwrap().expose().to_owned()
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

    #[tokio::test]
    async fn a_refused_one_is_replaced_once_for_all() {
        let tokens = Tokens::default();
        let refused = Secret::from(token(&tokens, "a", "1", 3_600).await);
        let instead = tokens.instead_of(&refused, &Way("a", "2", 3_600)).await.unwrap();
        assert_eq!(instead.expose(), "2");
        // Another call that had the refused one takes what is there.
        let instead = tokens.instead_of(&refused, &Way("a", "3", 3_600)).await.unwrap();
        assert_eq!(instead.expose(), "2");
        assert_eq!(token(&tokens, "a", "4", 3_600).await, "2");
        assert_eq!(tokens.anew(&Way("a", "5", 3_600)).await.unwrap().expose(), "5");
    }
}
