//! What hooks and nodes say, line by line, beside the journal. Written in batches, fenced like the journal.

use std::{sync::Arc, time::Duration};

use sea_orm::{ConnectionTrait, DbErr};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use crate::{
    bell::Bell,
    db::{Db, clock_sql, sql_with},
    ids::RunId,
    store::Store,
};

/// The longest line that is kept, in bytes.
pub const LONGEST: usize = 8 * 1024;

/// A stored line.
pub type LogLine = entities::run_log::Model;

/// A line that is yet to be written.
#[derive(Clone, Debug, Serialize)]
pub struct NewLogLine {
    /// The run.
    pub run: RunId,
    /// The writer's epoch.
    pub epoch: i64,
    /// Its number under that epoch, from 1.
    pub number: i64,
    /// The step.
    pub step: Option<usize>,
    /// The attempt.
    pub attempt: Option<u32>,
    /// STEP, STDOUT, STDERR or TRACEBACK.
    pub stream: &'static str,
    /// For infrastructure administrators alone.
    pub admins_only: bool,
    /// The text, masked.
    pub line: String,
}

/// A handle on the process's log writer.
#[derive(Clone, Debug)]
pub struct LogWriter {
    queue: mpsc::Sender<Entry>,
}

#[derive(Debug)]
enum Entry {
    Line(NewLogLine),
    /// Answered once all before it are written.
    Barrier(oneshot::Sender<()>),
}

impl LogWriter {
    /// Starts the task. It ends when the last handle is gone.
    pub fn start(store: impl Into<Arc<dyn Store>>, bell: Bell) -> Self {
        let (queue, entries) = mpsc::channel(4_096);
        tokio::spawn(work(store.into(), bell, entries));
        Self { queue }
    }

    /// Hands a line over; waits while the queue is full, so that a flood slows its source down instead of filling memory.
    pub async fn write(&self, mut line: NewLogLine) {
        if line.line.len() > LONGEST {
            let mut end = LONGEST;
            while !line.line.is_char_boundary(end) {
                end -= 1;
            }
            line.line.truncate(end);
        }
        if self.queue.send(Entry::Line(line)).await.is_err() {
            tracing::warn!("a log line came after the log writer had ended");
        }
    }

    /// Waits until all lines that were handed over are in the database, or were given up.
    pub async fn flush(&self) {
        let (passed, passing) = oneshot::channel();
        if self.queue.send(Entry::Barrier(passed)).await.is_ok() {
            // An error says that the writer ended: there is nothing left to wait for.
            let _ = passing.await;
        }
    }
}

async fn work(store: Arc<dyn Store>, bell: Bell, mut entries: mpsc::Receiver<Entry>) {
    let mut ready = Vec::new();
    while entries.recv_many(&mut ready, 1_024).await > 0 {
        let (mut batch, mut barriers) = (Vec::new(), Vec::new());
        for entry in ready.drain(..) {
            match entry {
                Entry::Line(line) => batch.push(line),
                Entry::Barrier(barrier) => barriers.push(barrier),
            }
        }
        if !batch.is_empty() {
            write(&*store, &bell, &batch).await;
        }
        for barrier in barriers {
            let _ = barrier.send(());
        }
    }
}

async fn write(store: &dyn Store, bell: &Bell, batch: &[NewLogLine]) {
    let mut pause = Duration::from_millis(100);
    // A log that cannot be written holds its writers up for as long as their lease may last, then it is dropped and said.
    while let Err(error) = store.log(batch).await {
        if pause > Duration::from_secs(2) {
            tracing::error!(error = %error, lines = batch.len(), "log lines were lost");
            break;
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
    let mut runs: Vec<_> = batch.iter().map(|line| (line.run, 0)).collect();
    runs.dedup();
    bell.ring(&runs);
}

pub(crate) async fn insert(db: &Db, batch: &[NewLogLine]) -> Result<(), DbErr> {
    let document = serde_json::to_string(batch).map_err(|error| DbErr::Json(error.to_string()))?;
    // NUL is valid in JSON and in Rust, but not in PostgreSQL's text.
    let document = document.replace("\\u0000", "\\ufffd");
    let fields = ["run", "epoch", "number", "step", "attempt", "stream", "admins_only", "line"];
    let source = if db.is_sqlite() {
        let fields = fields.map(|name| format!("json_extract(value, '$.{name}') AS {name}"));
        format!("(SELECT {} FROM json_each($1)) AS i", fields.join(", "))
    } else {
        "jsonb_to_recordset($1::jsonb) AS i(run bigint, epoch bigint, number bigint, step bigint, attempt bigint, stream text, \
         admins_only boolean, line text)"
            .to_owned()
    };
    let tx = db.begin().await?;
    let clock = clock_sql(tx.get_database_backend());
    // Lines of a later epoch come after those of an earlier one, whoever was slower.
    let sql = format!(
        "INSERT INTO run_log (run_id, seq, at, step, attempt, stream, admins_only, line)
SELECT i.run, i.epoch * 4294967296 + i.number, {clock}, i.step, i.attempt, i.stream, i.admins_only, i.line
FROM {source} JOIN run ON run.id = i.run AND run.epoch = i.epoch
WHERE true ON CONFLICT (run_id, seq) DO NOTHING"
    );
    tx.execute_raw(sql_with(&*tx, sql, [document.into()])).await?;
    tx.commit().await
}
