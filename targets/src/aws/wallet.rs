//! Temporary credentials, kept until shortly before their end: many calls, one sign-in.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use engine::{clock, secrets::Secret};

/// So many connections' credentials are remembered; what has ended is forgotten first, then all.
const MOST: usize = 256;
/// Credentials are not used any more so long before their end, in microseconds: a call may take a while to get there.
const MARGIN: i64 = 300_000_000;

/// What signs a call.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    /// The access key's id.
    pub(crate) id: String,
    /// Its secret.
    pub(crate) secret: Secret,
    /// The token of temporary ones.
    pub(crate) token: Option<Secret>,
    /// Their end, in microseconds since the epoch; None when they have none, or none is known.
    pub(crate) expires: Option<i64>,
}

impl Keys {
    fn is_good(&self, now: i64) -> bool {
        self.expires.is_none_or(|end| end.saturating_sub(MARGIN) > now)
    }
}

/// One connection's place. Who signs in holds it, so that others wait for the same sign-in.
pub(super) type Purse = Arc<tokio::sync::Mutex<Option<Keys>>>;

/// The credentials of one process, by what they were got with.
#[derive(Default)]
pub(super) struct Wallet(Mutex<HashMap<String, Purse>>);

impl Wallet {
    /// The place for `name`.
    pub(super) fn purse(&self, name: &str) -> Purse {
        let mut purses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if purses.len() >= MOST && !purses.contains_key(name) {
            let now = clock::now_micros();
            purses.retain(|_, purse| {
                purse.try_lock().is_ok_and(|keys| keys.as_ref().is_some_and(|keys| keys.is_good(now)))
            });
            if purses.len() >= MOST {
                purses.clear();
            }
        }
        Arc::clone(purses.entry(name.to_owned()).or_default())
    }

    /// Forgets what AWS calls ended, unless somebody has signed in anew since.
    pub(super) async fn forget(&self, name: &str, used: &Keys) {
        let purse = self.purse(name);
        let mut kept = purse.lock().await;
        if kept.as_ref().is_some_and(|keys| keys.id == used.id) {
            *kept = None;
        }
    }
}

/// What a purse holds, if it is still good.
pub(super) fn good(kept: &Option<Keys>) -> Option<Keys> {
    kept.clone().filter(|keys| keys.is_good(clock::now_micros()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(id: &str, expires: Option<i64>) -> Keys {
        Keys { id: id.into(), secret: Secret::default(), token: None, expires }
    }

    #[test]
    fn credentials_end_before_their_end() {
        assert!(keys("a", None).is_good(i64::MAX));
        assert!(keys("a", Some(1_000_000_000)).is_good(1_000_000_000 - MARGIN - 1));
        assert!(!keys("a", Some(1_000_000_000)).is_good(1_000_000_000 - MARGIN));
    }

    #[tokio::test]
    async fn only_what_was_used_is_forgotten() {
        let wallet = Wallet::default();
        *wallet.purse("c").lock().await = Some(keys("new", None));
        wallet.forget("c", &keys("old", None)).await;
        assert!(good(&*wallet.purse("c").lock().await).is_some());
        wallet.forget("c", &keys("new", None)).await;
        assert!(good(&*wallet.purse("c").lock().await).is_none());
    }

    #[test]
    fn places_are_bounded() {
        let wallet = Wallet::default();
        for number in 0..=MOST {
            wallet.purse(&number.to_string());
        }
        assert!(wallet.0.lock().unwrap().len() <= MOST);
    }
}
