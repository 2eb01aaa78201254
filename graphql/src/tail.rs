//! The one tail of a process: it listens to the bell and wakes the subscriptions that follow a run. What is new each of them reads for itself, with
//! its own viewer's rights; without a bell it looks every two seconds.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use engine::{
    bell::{Bell, News},
    ids::RunId,
};
use tokio::sync::{broadcast, watch};

/// How long a subscription waits for the bell before it looks by itself.
const LOOK: Duration = Duration::from_secs(2);

/// How many moves a slow follower of all deployments may lag behind before it is told to look for itself.
const MOVES: usize = 256;

/// A handle on the tail. Cheap to clone; the task ends with the last one.
#[derive(Clone)]
pub struct Tail(Arc<Inner>);

struct Inner {
    followed: Mutex<HashMap<RunId, watch::Sender<()>>>,
    moves: broadcast::Sender<Arc<[RunId]>>,
}

impl Tail {
    /// Starts the tail.
    pub fn start(bell: &Bell) -> Self {
        let inner = Arc::new(Inner { followed: Mutex::default(), moves: broadcast::channel(MOVES).0 });
        tokio::spawn(listen(bell.listen(), Arc::downgrade(&inner)));
        Self(inner)
    }

    /// Follows one run.
    pub(crate) fn follow(&self, run: RunId) -> Follower {
        let mut followed = self.0.followed.lock().unwrap_or_else(PoisonError::into_inner);
        let news = followed.entry(run).or_insert_with(|| watch::channel(()).0).subscribe();
        Follower { run, news: Some(news), tail: self.0.clone() }
    }

    /// Follows whatever moves.
    pub(crate) fn moves(&self) -> Moves {
        Moves(self.0.moves.subscribe())
    }
}

/// One subscription that follows a run.
pub(crate) struct Follower {
    run: RunId,
    news: Option<watch::Receiver<()>>,
    tail: Arc<Inner>,
}

impl Follower {
    /// Waits until there may be something new: the bell rang since the last call, or it is time to look.
    pub(crate) async fn wait(&mut self) {
        let Some(news) = &mut self.news else { return };
        // The sender lives as long as a receiver does; an end would only mean: look.
        drop(tokio::time::timeout(LOOK, news.changed()).await);
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut followed = self.tail.followed.lock().unwrap_or_else(PoisonError::into_inner);
        self.news = None;
        if followed.get(&self.run).is_some_and(|sender| sender.receiver_count() == 0) {
            followed.remove(&self.run);
        }
    }
}

/// What a follower of everything is told.
pub(crate) enum Move {
    /// These runs have something new.
    Runs(Arc<[RunId]>),
    /// Look for yourself.
    Look,
}

/// One subscription that follows everything.
pub(crate) struct Moves(broadcast::Receiver<Arc<[RunId]>>);

impl Moves {
    /// Waits for the next move, at most until it is time to look.
    pub(crate) async fn next(&mut self) -> Move {
        match tokio::time::timeout(LOOK, self.0.recv()).await {
            Ok(Ok(runs)) => Move::Runs(runs),
            Ok(Err(_)) | Err(_) => Move::Look,
        }
    }
}

async fn listen(mut news: broadcast::Receiver<News>, inner: Weak<Inner>) {
    loop {
        let heard = tokio::time::timeout(LOOK, news.recv()).await;
        let Some(inner) = inner.upgrade() else { return };
        match heard {
            Ok(Ok(News::Runs(runs))) => inner.tell(runs.into_iter().map(|(run, _)| run).collect()),
            // What else rings is for workers; a slot that was granted becomes an event.
            Ok(Ok(_)) => {}
            Ok(Err(broadcast::error::RecvError::Lagged(_))) => inner.tell_all(),
            // Everybody looks by itself then.
            Ok(Err(broadcast::error::RecvError::Closed)) => return,
            Err(_) => {}
        }
    }
}

impl Inner {
    fn tell(&self, runs: Arc<[RunId]>) {
        let followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        for run in runs.iter() {
            if let Some(sender) = followed.get(run) {
                sender.send_replace(());
            }
        }
        drop(followed);
        // An error only says that nobody follows everything.
        drop(self.moves.send(runs));
    }

    fn tell_all(&self) {
        for sender in self.followed.lock().unwrap_or_else(PoisonError::into_inner).values() {
            sender.send_replace(());
        }
    }
}
