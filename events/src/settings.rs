//! What the Event Server allows, and where it files.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use serde::Deserialize;

/// The settings of one process. All sizes are in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where events are filed: a folder or a bucket ([`engine::location`]) that all Event Servers share.
    pub location: String,
    /// With a bucket: the folder where a server notes what it files, on a disk of its own. With a folder it is empty.
    pub state: String,
    /// Keys, each as a line of the keys' file.
    pub keys: Vec<String>,
    /// A file of keys.
    pub keys_file: String,
    /// The most events of one batch.
    pub batch_events: usize,
    /// The largest batch, as JSON, unpacked.
    pub batch_bytes: usize,
    /// The largest event.
    pub event_bytes: usize,
    /// The deepest nesting of an event.
    pub event_depth: usize,
    /// Batches that are being read or wait to be filed may take so much together.
    pub memory: usize,
    /// How long a batch waits for its share of `memory`, in milliseconds, until it is refused.
    pub wait_ms: u64,
    /// At least so many milliseconds lie between the starts of two commits: what comes meanwhile shares the next one.
    pub commit_ms: u64,
    /// With a bucket: an object that a server was putting when it died may appear for so many seconds. Until then batches of that commit are refused.
    pub settle_s: u64,
    /// For so many minutes a batch that is sent again is recognised.
    pub remember_minutes: u64,
    /// The most batches that one process recognises.
    pub remember_batches: usize,
    /// The most connections at once.
    pub connections: usize,
    /// The longest that one request may take, in seconds.
    pub request_timeout_s: u64,
    /// How long requests under way may take at a shutdown, in seconds.
    pub drain_s: u64,
}

/// No setting allows more events in a batch.
pub const MOST_EVENTS: usize = 100_000;

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 8090).into(),
            location: String::new(),
            state: String::new(),
            keys: Vec::new(),
            keys_file: String::new(),
            batch_events: 10_000,
            batch_bytes: 8 << 20,
            event_bytes: 1 << 20,
            event_depth: 64,
            memory: 128 << 20,
            wait_ms: 5_000,
            commit_ms: 100,
            settle_s: 60,
            remember_minutes: 60,
            remember_batches: 200_000,
            connections: 1_024,
            request_timeout_s: 60,
            drain_s: 30,
        }
    }
}

impl Settings {
    /// Which setting is no good, in a sentence.
    ///
    /// # Errors
    /// With that sentence.
    pub fn check(&self) -> Result<(), String> {
        let sound = [
            (!self.location.is_empty(), "location is empty: name the folder or the bucket that events are filed in"),
            ((1..=MOST_EVENTS).contains(&self.batch_events), "batch_events must be from 1 to 100000"),
            ((1..=1 << 30).contains(&self.batch_bytes), "batch_bytes must be from 1 to 1073741824"),
            ((1..=self.batch_bytes).contains(&self.event_bytes), "event_bytes must be from 1 to batch_bytes"),
            ((1..=1_000).contains(&self.event_depth), "event_depth must be from 1 to 1000"),
            (
                (self.batch_bytes.saturating_mul(2)..=1 << 40).contains(&self.memory),
                "memory must be twice batch_bytes at least: a batch and its lines are in it",
            ),
            (self.commit_ms <= 60_000, "commit_ms must be at most 60000"),
            (self.settle_s <= 3_600, "settle_s must be at most 3600"),
            ((1..=1_440).contains(&self.remember_minutes), "remember_minutes must be from 1 to 1440"),
            ((1..=10_000_000).contains(&self.remember_batches), "remember_batches must be from 1 to 10000000"),
            (self.connections > 0, "connections must be 1 or more"),
            (self.request_timeout_s > 0, "request_timeout_s must be 1 or more"),
        ];
        sound.into_iter().find(|(sound, _)| !sound).map_or(Ok(()), |(_, problem)| Err(problem.to_owned()))
    }

    pub(crate) fn wait(&self) -> Duration {
        Duration::from_millis(self.wait_ms)
    }

    pub(crate) fn pace(&self) -> Duration {
        Duration::from_millis(self.commit_ms)
    }

    pub(crate) fn settle(&self) -> Duration {
        Duration::from_secs(self.settle_s)
    }

    pub(crate) fn remember_micros(&self) -> i64 {
        i64::try_from(self.remember_minutes.saturating_mul(60_000_000)).unwrap_or(i64::MAX)
    }
}
