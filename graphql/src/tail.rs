//! The one tail of a process. It listens to the bell, and looks every two seconds by itself: at how far the runs have come that somebody follows, and,
//! while somebody follows deployments, at where those stand. One look is for all; what is new each subscription then reads for itself, with the
//! rights of its own viewer.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use deployer::{
    Deployer,
    updates::tail::{self, Newest},
};
use engine::{
    bell::{Bell, News},
    ids::RunId,
};
use tokio::{
    sync::{broadcast, watch},
    time::Instant,
};

use crate::{board::Board, error::Result};

/// How long the tail waits for the bell before it looks by itself.
pub(crate) const LOOK: Duration = Duration::from_secs(2);

/// How long a subscription waits for news before it looks by itself: whether it may still see what it follows.
pub(crate) const IDLE: Duration = Duration::from_secs(30);

/// A handle on the tail. Cheap to clone; the task ends with the last one.
#[derive(Clone)]
pub struct Tail(Arc<Inner>);

struct Inner {
    deployer: Deployer,
    followed: Mutex<HashMap<RunId, watch::Sender<Option<Newest>>>>,
    board: Mutex<Board>,
    /// The number of the board's newest change.
    changes: watch::Sender<u64>,
    /// One look after another: an older one must not overtake.
    looking: tokio::sync::Mutex<()>,
}

impl Tail {
    /// Starts the tail.
    pub fn start(deployer: &Deployer, bell: &Bell) -> Self {
        let inner = Arc::new(Inner {
            deployer: deployer.clone(),
            followed: Mutex::default(),
            board: Mutex::default(),
            changes: watch::channel(0).0,
            looking: tokio::sync::Mutex::default(),
        });
        tokio::spawn(run(bell.listen(), Arc::downgrade(&inner)));
        Self(inner)
    }

    /// Follows one run.
    pub(crate) fn follow(&self, run: RunId) -> Follower {
        let news = lock(&self.0.followed).entry(run).or_insert_with(|| watch::channel(None).0).subscribe();
        Follower { run, news: Some(news), tail: self.0.clone() }
    }

    /// Follows deployments, from now on.
    ///
    /// # Errors
    /// The first look's.
    pub(crate) async fn changes(&self) -> Result<Changes> {
        let numbers = self.0.changes.subscribe();
        // With nobody to follow them, nobody looked.
        if !lock(&self.0.board).is_fresh(2 * LOOK) {
            self.0.look_at_board(None).await?;
        }
        let after = lock(&self.0.board).newest();
        Ok(Changes { after, numbers, tail: self.0.clone() })
    }
}

/// One subscription that follows a run.
pub(crate) struct Follower {
    run: RunId,
    news: Option<watch::Receiver<Option<Newest>>>,
    tail: Arc<Inner>,
}

impl Follower {
    /// Waits until there may be something new, or for so long.
    pub(crate) async fn wait(&mut self, most: Duration) {
        let Some(news) = &mut self.news else { return };
        // The sender lives as long as a receiver does; an end would only mean: look.
        drop(tokio::time::timeout(most, news.changed()).await);
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut followed = lock(&self.tail.followed);
        self.news = None;
        if followed.get(&self.run).is_some_and(|sender| sender.receiver_count() == 0) {
            followed.remove(&self.run);
        }
    }
}

/// One subscription that follows deployments.
pub(crate) struct Changes {
    after: u64,
    numbers: watch::Receiver<u64>,
    tail: Arc<Inner>,
}

impl Changes {
    /// The ids of deployments that changed since the last call: waits for the first, or for so long. However long the caller was away, none is
    /// missed; one that changed often is named once.
    pub(crate) async fn next(&mut self, most: Duration) -> Vec<String> {
        drop(tokio::time::timeout(most, self.numbers.changed()).await);
        let board = lock(&self.tail.board);
        let ids = board.since(self.after);
        self.after = board.newest();
        ids
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Listens and looks until the last handle is gone.
async fn run(news: broadcast::Receiver<News>, inner: Weak<Inner>) {
    let mut news = Some(news);
    let mut due = Instant::now() + LOOK;
    loop {
        let mut moved = Vec::new();
        let mut all = !heard(&mut news, due, &mut moved).await;
        let Some(inner) = inner.upgrade() else { return };
        if all || Instant::now() >= due {
            all = true;
            due = Instant::now() + LOOK;
        }
        // A failure was logged; the next look sees what this one did not.
        drop(inner.look(if all { None } else { Some(&moved) }).await);
    }
}

/// Waits for the bell and collects what it tells, until `due` at the latest. False if everything must be looked at.
async fn heard(news: &mut Option<broadcast::Receiver<News>>, due: Instant, moved: &mut Vec<RunId>) -> bool {
    let Some(bell) = news else {
        tokio::time::sleep_until(due).await;
        return false;
    };
    let mut first = match tokio::time::timeout_at(due, bell.recv()).await {
        Ok(Ok(news)) => Some(news),
        Ok(Err(broadcast::error::RecvError::Closed)) => {
            *news = None;
            return true;
        }
        Ok(Err(broadcast::error::RecvError::Lagged(_))) | Err(_) => return false,
    };
    loop {
        // What else rings is for workers; a slot that was granted becomes an event.
        if let Some(News::Runs(runs)) = first.take() {
            moved.extend(runs.into_iter().map(|(run, _)| run));
        }
        match bell.try_recv() {
            Ok(more) => first = Some(more),
            Err(broadcast::error::TryRecvError::Lagged(_)) => return false,
            Err(_) => return true,
        }
    }
}

impl Inner {
    /// Looks at these runs, or at all that is followed.
    async fn look(&self, moved: Option<&[RunId]>) -> Result<()> {
        let watched: Vec<RunId> = {
            let followed = lock(&self.followed);
            match moved {
                Some(moved) => moved.iter().filter(|run| followed.contains_key(run)).copied().collect(),
                None => followed.keys().copied().collect(),
            }
        };
        if !watched.is_empty() {
            let found: HashMap<_, _> = tail::newest(&self.deployer, &watched).await?.into_iter().collect();
            let followed = lock(&self.followed);
            for run in &watched {
                let now = found.get(run).copied();
                if let Some(sender) = followed.get(run) {
                    // A run that is not there is news, too: whoever followed it is told that it is gone.
                    sender.send_if_modified(|before| {
                        let news = *before != now || now.is_none();
                        *before = now;
                        news
                    });
                }
            }
        }
        if self.changes.receiver_count() > 0 && moved.is_none_or(|moved| !moved.is_empty()) {
            self.look_at_board(moved).await?;
        }
        Ok(())
    }

    async fn look_at_board(&self, moved: Option<&[RunId]>) -> Result<()> {
        let _turn = self.looking.lock().await;
        let standings = tail::standings(&self.deployer, moved).await?;
        let newest = {
            let mut board = lock(&self.board);
            board.take(standings, moved.is_none());
            board.newest()
        };
        self.changes.send_if_modified(|number| std::mem::replace(number, newest) != newest);
        Ok(())
    }
}
