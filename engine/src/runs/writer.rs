//! The writer task: takes all that is ready, commits it together, answers each. What becomes ready meanwhile is the next batch; there is
//! no timer, since lingering only costs.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::sync::{mpsc, oneshot};

use super::{op::Op, sql::Written};
use crate::{
    bell::Bell,
    db::{DbErr, Use, is_refusal},
    ids::RunId,
    store::Store,
};

/// The most writes in one commit; also how many may wait.
const BATCH: usize = 512;
/// How long one commit may take.
const PATIENCE: Duration = Duration::from_secs(8);
/// How often a database that answers may refuse one write before that write is given up.
const TRIES: u32 = 3;

/// What became of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is durable.
    Accepted {
        /// The epoch that it was written under.
        epoch: i64,
        /// The number of its last event.
        seq: i64,
        /// When, by the database's clock.
        at: i64,
        /// Somebody asked to cancel.
        cancel_by: Option<String>,
    },
    /// The run moved on, or is not to be had: whoever wrote this must not write again before it has read the journal anew.
    Refused,
}

/// A handle on the process's one writer.
#[derive(Clone, Debug)]
pub struct Writer {
    queue: mpsc::Sender<(Op, oneshot::Sender<Answer>)>,
}

impl Writer {
    /// Starts the task, on a connection of its own. It ends when the last handle is gone.
    ///
    /// # Errors
    /// The database's error when it cannot be reached.
    pub async fn start(store: &dyn Store, bell: Bell) -> Result<Self, DbErr> {
        let own = store.another(Use::Journal).await?;
        let (queue, ready) = mpsc::channel(BATCH);
        tokio::spawn(work(own, bell, ready));
        Ok(Self { queue })
    }

    /// Writes, and waits until it is durable or refused. While the database is away this waits; whoever holds a lease gives up by itself
    /// when that lapses.
    pub async fn write(&self, op: Op) -> Answer {
        let (answer, answered) = oneshot::channel();
        if self.queue.send((op, answer)).await.is_err() {
            return Answer::Refused;
        }
        answered.await.unwrap_or(Answer::Refused)
    }
}

type Waiting = (Op, oneshot::Sender<Answer>);

async fn work(mut store: Arc<dyn Store>, bell: Bell, mut ready: mpsc::Receiver<Waiting>) {
    let mut batch: Vec<Waiting> = Vec::new();
    let mut later: Vec<Waiting> = Vec::new();
    loop {
        batch.append(&mut later);
        if batch.is_empty() && ready.recv_many(&mut batch, BATCH).await == 0 {
            return;
        }
        while batch.len() < BATCH
            && let Ok(more) = ready.try_recv()
        {
            batch.push(more);
        }
        // A statement moves each run once: a second write to one run is for the next batch.
        let mut seen = BTreeSet::new();
        (batch, later) = batch.into_iter().partition(|(op, _)| seen.insert(op.run));
        // Rows are locked in one order everywhere: two processes that claim the same runs do not wait for each other in a circle.
        batch.sort_unstable_by_key(|(op, _)| op.run);
        let news = commit(&mut store, &mut batch).await;
        bell.ring(&news);
    }
}

/// Commits a batch and answers it; what was accepted is news.
async fn commit(store: &mut Arc<dyn Store>, batch: &mut Vec<Waiting>) -> Vec<(RunId, i64)> {
    let ops: Vec<&Op> = batch.iter().map(|(op, _)| op).collect();
    match in_one(store, &ops).await {
        Ok(rows) => {
            let news = rows.iter().map(|row| (RunId(row.run), row.seq)).collect();
            for (op, answer) in batch.drain(..) {
                let row = rows.iter().find(|row| row.run == op.run);
                // Nobody waits any more when its lease lapsed meanwhile.
                let _ = answer.send(row.map_or(Answer::Refused, accepted));
            }
            news
        }
        Err(error) => {
            tracing::warn!(error = %error, runs = batch.len(), "a batch of journal writes failed; each is tried by itself");
            let mut news = Vec::new();
            for (op, answer) in batch.drain(..) {
                let outcome = alone(store, &op, &answer).await;
                if let Answer::Accepted { seq, .. } = outcome {
                    news.push((op.run(), seq));
                }
                let _ = answer.send(outcome);
            }
            news
        }
    }
}

/// One commit, within [`PATIENCE`]. A connection that hangs is left behind with its pool: whoever holds the other end may be gone for good.
async fn in_one(store: &mut Arc<dyn Store>, ops: &[&Op]) -> Result<Vec<Written>, DbErr> {
    match tokio::time::timeout(PATIENCE, store.commit(ops)).await {
        Ok(result) => result,
        Err(_) => {
            if let Ok(Ok(fresh)) = tokio::time::timeout(PATIENCE, store.another(Use::Journal)).await {
                *store = fresh;
            }
            Err(DbErr::Custom("the database did not answer in time".to_owned()))
        }
    }
}

/// A write whose batch failed. A connection lost in the commit leaves either outcome: reading back tells, never guessing.
async fn alone(store: &mut Arc<dyn Store>, op: &Op, waiting: &oneshot::Sender<Answer>) -> Answer {
    let mut pause = Duration::from_millis(50);
    let mut refusals = 0;
    loop {
        match read_back(&**store, op).await {
            Ok(Some(answer)) => return answer,
            Ok(None) => match in_one(store, &[op]).await {
                Ok(rows) => match rows.first() {
                    Some(row) => return accepted(row),
                    // Refused, or the batch that seemed to fail has gone through meanwhile.
                    None => match read_back(&**store, op).await {
                        Ok(Some(answer)) => return answer,
                        Ok(None) => return Answer::Refused,
                        Err(error) => {
                            tracing::warn!(error = %error, run.id = op.run, "the journal cannot be read; trying again")
                        }
                    },
                },
                Err(error) => {
                    // A database that is away has refused nothing.
                    refusals += u32::from(is_refusal(&error));
                    tracing::warn!(error = %error, run.id = op.run, "a journal write failed; trying again");
                }
            },
            Err(error) => tracing::warn!(error = %error, run.id = op.run, "the journal cannot be read; trying again"),
        }
        if waiting.is_closed() || refusals >= TRIES {
            return Answer::Refused;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}

/// Whether the write is there (accepted), impossible (refused), or not yet made (None).
async fn read_back(store: &dyn Store, op: &Op) -> Result<Option<Answer>, DbErr> {
    let read = tokio::time::timeout(PATIENCE, store.row(op.run())).await;
    let read = read.unwrap_or_else(|_| Err(DbErr::Custom("the database did not answer in time".to_owned())));
    let Some(row) = read? else {
        return Ok(Some(Answer::Refused));
    };
    if row.epoch == op.epoch && row.seq == op.seq {
        return Ok(None);
    }
    let ours = row.epoch == op.epoch + i64::from(op.claim)
        && row.seq == op.seq + op.n
        && (!op.claim || op.release || row.worker_id == op.worker);
    if !ours {
        return Ok(Some(Answer::Refused));
    }
    Ok(Some(Answer::Accepted {
        epoch: row.epoch,
        seq: row.seq,
        at: store.now().await?,
        cancel_by: row.cancel_requested_by,
    }))
}

fn accepted(row: &Written) -> Answer {
    Answer::Accepted { epoch: row.epoch, seq: row.seq, at: row.at, cancel_by: row.cancel_by.clone() }
}
