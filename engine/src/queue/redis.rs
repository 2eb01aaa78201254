//! The Redis list: one task rings, one reads, each on a connection of its own. Every error is treated alike: connect again, after a pause.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use redis::{RedisResult, aio::MultiplexedConnection};
use tokio::sync::mpsc;

use super::{Away, MOST, Message, Redis, VERSION, connect::probe, seats::Seats};
use crate::ids::RunId;

/// How long Redis may take to answer anything else. Whoever waits longer in vain is told that it is away, and sweeping is as good meanwhile.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);
/// How long one blocking read waits. Short, so that a reader that should end does.
const BLOCK: Duration = Duration::from_secs(2);

/// How often a ringer that has nothing to ring asks whether Redis is there.
const IDLE: Duration = Duration::from_secs(2);

/// A pause that grows from 50 ms to 1 s.
pub(crate) struct Pause(Duration);

impl Pause {
    pub(crate) fn new() -> Self {
        Self(Duration::from_millis(50))
    }

    pub(crate) async fn wait(&mut self) {
        tokio::time::sleep(self.0).await;
        self.0 = (self.0 * 2).min(Duration::from_secs(1));
    }
}

fn note(flag: &AtomicBool, away: bool, error: Option<&redis::RedisError>) {
    if flag.swap(away, Ordering::Relaxed) != away {
        match error {
            Some(error) => tracing::warn!(error = %error, "redis is away; runs are found by sweeping"),
            None => tracing::info!("redis is back"),
        }
    }
}

/// Rings what comes through the channel, and asks every two seconds whether Redis is there. What cannot be rung is dropped.
pub(super) async fn push(server: Redis, key: Arc<str>, mut bells: mpsc::Receiver<RunId>, away: Arc<Away>) {
    let mut pause = Pause::new();
    let mut connection = None;
    let mut batch = Vec::new();
    loop {
        batch.clear();
        // While bells wait, it is worth knowing soon that they were heard.
        let idle = if away.waiting.load(Ordering::Relaxed) > 0 { Duration::from_millis(250) } else { IDLE };
        let received = tokio::time::timeout(idle, bells.recv_many(&mut batch, 256)).await;
        if received == Ok(0) {
            return;
        }
        match ring(&server, &key, &mut connection, &batch).await {
            Ok(()) => {
                if let Some(depth) = depth(connection.as_mut(), &key).await {
                    away.waiting.store(depth, Ordering::Relaxed);
                }
                note(&away.ringer, false, None);
                pause = Pause::new();
            }
            Err(error) => {
                note(&away.ringer, true, Some(&error));
                connection = None;
                pause.wait().await;
            }
        }
    }
}

/// How many bells wait, of all processes; None when nobody says so.
async fn depth(connection: Option<&mut MultiplexedConnection>, key: &str) -> Option<usize> {
    redis::cmd("LLEN").arg(key).query_async(connection?).await.ok()
}

/// A connection that was kept may have died unseen: then a fresh one has its turn. To ring twice does no harm.
async fn ring(server: &Redis, key: &str, slot: &mut Option<MultiplexedConnection>, runs: &[RunId]) -> RedisResult<()> {
    if let Some(mut kept) = slot.take()
        && ring_on(&mut kept, key, runs).await.is_ok()
    {
        *slot = Some(kept);
        return Ok(());
    }
    let mut fresh = server.connect(key, PATIENCE).await?;
    ring_on(&mut fresh, key, runs).await?;
    *slot = Some(fresh);
    Ok(())
}

async fn ring_on(connection: &mut MultiplexedConnection, key: &str, runs: &[RunId]) -> RedisResult<()> {
    if runs.is_empty() {
        return probe(connection, key).await;
    }
    let messages: Vec<String> =
        runs.iter().filter_map(|run| serde_json::to_string(&Message { v: VERSION, run: *run }).ok()).collect();
    // Sent together, so that the list is too long for a moment at most.
    let mut pipe = redis::pipe();
    pipe.cmd("RPUSH").arg(key).arg(messages).ignore().cmd("LTRIM").arg(key).arg(0).arg(MOST - 1).ignore();
    pipe.query_async(connection).await
}

/// Reads jobs into free seats. A blocking read is never given up midway: what it was handed would be lost.
pub(super) async fn read(server: Redis, key: Arc<str>, seats: Seats, away: Arc<Away>) {
    let mut pause = Pause::new();
    while !seats.is_closed() {
        let error = match server.connect(&key, BLOCK + PATIENCE).await {
            Ok(connection) => {
                pause = Pause::new();
                note(&away.reader, false, None);
                match read_from(connection, &key, &seats).await {
                    Ok(()) => return,
                    Err(error) => error,
                }
            }
            Err(error) => error,
        };
        note(&away.reader, true, Some(&error));
        pause.wait().await;
    }
}

/// Ends with Ok when the seats are closed.
async fn read_from(mut connection: MultiplexedConnection, key: &str, seats: &Seats) -> RedisResult<()> {
    while let Some(first) = seats.take().await {
        let mut taken = seats.take_more(31);
        taken.push(first);
        let jobs: Option<(String, Vec<String>)> = redis::cmd("BLMPOP")
            .arg(BLOCK.as_secs())
            .arg(1)
            .arg(key)
            .arg("LEFT")
            .arg("COUNT")
            .arg(taken.len())
            .query_async(&mut connection)
            .await?;
        for message in jobs.map(|(_, messages)| messages).unwrap_or_default() {
            match serde_json::from_str::<Message>(&message) {
                Ok(Message { v: VERSION, run }) => {
                    if let Some(seat) = taken.pop() {
                        seats.fill(run, seat).await;
                    }
                }
                Ok(Message { v, .. }) => {
                    tracing::warn!(version = v, "a job of another version; the sweep will find its run")
                }
                Err(_) => tracing::warn!("something in the queue is no job of ours"),
            }
        }
    }
    Ok(())
}
