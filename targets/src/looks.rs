//! Looks at nodes, kept for a moment: many questions in a row about one deployment make one look, also when they come at once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use engine::failure::Failure;
use tokio::time::Instant;

use crate::{codes, on_node::OnNode};

/// So long a look is good.
const KEPT: Duration = Duration::from_secs(5);
/// So long one look may take.
const WITHIN: Duration = Duration::from_secs(10);
/// So many deployments are remembered; those whose looks are old are forgotten first.
const MOST: usize = 10_000;

/// What a look came to.
pub type Looked = Result<Arc<OnNode>, Failure>;

/// The looks of one process, by deployment.
#[derive(Default)]
pub struct Looks {
    places: Mutex<HashMap<String, Arc<Place>>>,
}

#[derive(Default)]
struct Place {
    newest: tokio::sync::Mutex<Option<Kept>>,
}

struct Kept {
    at: Instant,
    mark: String,
    looked: Looked,
}

impl Looks {
    /// The newest look at `deployment`, if it is good and was made under the same `mark` (what the caller knows of the deployment); else `look`, which
    /// fails with `NODE_TIMED_OUT` when it takes too long. Who asks meanwhile waits for the same look.
    pub async fn get(
        &self,
        deployment: &str,
        mark: &str,
        look: impl Future<Output = Result<OnNode, Failure>>,
    ) -> Looked {
        let place = self.place(deployment);
        let mut newest = place.newest.lock().await;
        if let Some(kept) = newest.as_ref().filter(|kept| kept.mark == mark && kept.at.elapsed() < KEPT) {
            return kept.looked.clone();
        }
        let looked = match tokio::time::timeout(WITHIN, look).await {
            Ok(looked) => looked.map(Arc::new),
            Err(_) => Err(late()),
        };
        *newest = Some(Kept { at: Instant::now(), mark: mark.to_owned(), looked: looked.clone() });
        looked
    }

    fn place(&self, deployment: &str) -> Arc<Place> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if places.len() >= MOST && !places.contains_key(deployment) {
            // A place that somebody waits at is in use.
            places.retain(|_, place| match place.newest.try_lock() {
                Ok(newest) => newest.as_ref().is_some_and(|kept| kept.at.elapsed() < KEPT),
                Err(_) => true,
            });
        }
        Arc::clone(places.entry(deployment.to_owned()).or_default())
    }
}

fn late() -> Failure {
    let seconds = WITHIN.as_secs();
    Failure::new(
        codes::NODE_TIMED_OUT,
        format!("The node did not tell within {seconds} seconds how what is deployed is."),
    )
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::*;

    async fn look(asked: &AtomicUsize) -> Result<OnNode, Failure> {
        tokio::task::yield_now().await;
        Ok(OnNode { more_scenarios: asked.fetch_add(1, SeqCst), ..OnNode::default() })
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_serves_all_who_ask_for_a_moment() {
        let (looks, asked) = (Looks::default(), AtomicUsize::new(0));
        let get = |deployment: &'static str, mark: &'static str| looks.get(deployment, mark, look(&asked));
        let (one, two) = tokio::join!(get("a", "1"), get("a", "1"));
        assert_eq!((one, asked.load(SeqCst)), (two, 1));
        get("b", "1").await.unwrap();
        get("a", "2").await.unwrap();
        assert_eq!(asked.load(SeqCst), 3);
        tokio::time::advance(KEPT).await;
        get("a", "2").await.unwrap();
        assert_eq!(asked.load(SeqCst), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_that_never_ends_is_a_failure() {
        let failure = Looks::default().get("a", "1", std::future::pending()).await.unwrap_err();
        assert_eq!(failure.code, codes::NODE_TIMED_OUT);
    }

    #[tokio::test(start_paused = true)]
    async fn old_places_are_forgotten() {
        let (looks, asked) = (Looks::default(), AtomicUsize::new(0));
        for number in 0..MOST {
            looks.get(&number.to_string(), "", look(&asked)).await.unwrap();
        }
        tokio::time::advance(KEPT).await;
        looks.get("new", "", look(&asked)).await.unwrap();
        assert_eq!(looks.places.lock().unwrap().len(), 1);
    }
}
