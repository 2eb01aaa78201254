//! The bell: tells whoever listens that something new is in the database. It may be lost; listeners look by themselves every two seconds.

mod redis;

use serde::{Deserialize, Serialize};
use tokio::sync::{broadcast, mpsc};

use crate::{ids::RunId, queue::Redis};

/// What is new.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum News {
    /// These runs have events up to these numbers (0: look at their logs).
    Runs(Vec<(RunId, i64)>),
    /// These runs were granted a slot.
    Slots(Vec<RunId>),
}

/// A handle for ringing and listening. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Bell {
    here: broadcast::Sender<News>,
    elsewhere: Option<mpsc::Sender<News>>,
}

impl Bell {
    /// The bell of a single process.
    pub fn embedded() -> Self {
        Self { here: broadcast::channel(4_096).0, elsewhere: None }
    }

    /// The bell of a fleet, over Redis pub/sub. Redis need not be there.
    pub fn redis(server: &Redis, prefix: &str) -> Self {
        let (elsewhere, news) = mpsc::channel(4_096);
        let here = broadcast::channel(4_096).0;
        let channel = format!("{{{prefix}}}:bell");
        let origin = crate::clock::random_u64();
        tokio::spawn(redis::publish(server.clone(), channel.clone(), origin, news));
        tokio::spawn(redis::listen(server.clone(), channel, origin, here.clone()));
        Self { here, elsewhere: Some(elsewhere) }
    }

    /// A bell whose wires lie open: what is told here comes out of the channel, and goes nowhere else by itself.
    #[cfg(feature = "simulated")]
    pub fn wired() -> (Self, mpsc::Receiver<News>) {
        let (elsewhere, news) = mpsc::channel(4_096);
        (Self { here: broadcast::channel(4_096).0, elsewhere: Some(elsewhere) }, news)
    }

    /// Something that was told elsewhere arrives here.
    #[cfg(feature = "simulated")]
    pub fn hear(&self, news: News) {
        let _ = self.here.send(news);
    }

    /// Tells of new events. One message, however many runs.
    pub fn ring(&self, runs: &[(RunId, i64)]) {
        if !runs.is_empty() {
            self.tell(News::Runs(runs.to_vec()));
        }
    }

    /// Tells everybody, here and elsewhere. Never waits.
    pub fn tell(&self, news: News) {
        if let Some(elsewhere) = &self.elsewhere {
            // Full means that Redis is away or slow: a lost bell costs one look.
            let _ = elsewhere.try_send(news.clone());
        }
        // An error only says that nobody listens here.
        let _ = self.here.send(news);
    }

    /// Listens from now on. A listener that lags is told so by the channel, and looks for itself.
    pub fn listen(&self) -> broadcast::Receiver<News> {
        self.here.subscribe()
    }
}
