//! What can be followed. Whoever resumes with the number of the last thing seen misses nothing and gets nothing twice. Who asks, and what they may
//! see, is looked up again before each batch; what a slow client has not yet taken is read anew after two seconds.

use std::{collections::VecDeque, sync::Arc};

use async_graphql::{Context, ID, Subscription as GraphqlSubscription};
use deployer::{deployments, updates};
use engine::{ids::RunId, journal::Status};
use futures_util::{Stream, stream};
use tokio::time::Instant;

use crate::{
    error::{ApiError, Result},
    scalars::Long,
    session::{Asked, Session},
    tail::{Changes, Follower, IDLE, LOOK},
    types::{
        deployment::Deployment,
        update::run_id,
        update_event::{LogLine, UpdateEvent},
    },
};

/// How many events or lines are read at once; a slow client holds no more than these.
const BATCH: u64 = 200;

/// How many deployments are read at once.
const FEW: usize = 50;

/// What can be followed.
pub struct Subscription;

/// What can be followed: over WebSocket (`graphql-transport-ws`) or as server-sent events (`Accept: text/event-stream`), both at `/graphql`. A revoked key ends
/// what it opened.
#[GraphqlSubscription]
impl Subscription {
    /// An update's events, in order and each once, from the one after `afterSeq` on; ends when the update has ended. After a broken connection
    /// go on with the `seq` of the last event that came.
    async fn update_events(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The update's id.")] update_id: ID,
        #[graphql(desc = "The seq of the last event seen; from the beginning if not given.")] after_seq: Option<Long>,
    ) -> Result<impl Stream<Item = Result<UpdateEvent>> + use<>> {
        let run = run_id(&update_id).ok_or_else(|| ApiError::not_found("updateId"))?;
        let mut events = Events::open(ctx.session()?, run, after_seq.map_or(0, |seq| seq.0));
        events.fill().await?;
        Ok(stream::unfold(Some(events), |events| async move {
            let mut events = events?;
            match events.next().await {
                Ok(Some(event)) => Some((Ok(event), Some(events))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        }))
    }

    /// What an update's hooks, steps and node say, in order and each line once, from the one after `afterSeq` on; ends when the update has ended and
    /// all was said.
    async fn update_log(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The update's id.")] update_id: ID,
        #[graphql(desc = "The seq of the last line seen; from the beginning if not given.")] after_seq: Option<Long>,
    ) -> Result<impl Stream<Item = Result<LogLine>> + use<>> {
        let run = run_id(&update_id).ok_or_else(|| ApiError::not_found("updateId"))?;
        let mut log = Log::open(ctx.session()?, run, after_seq.map_or(0, |seq| seq.0));
        log.fill().await?;
        Ok(stream::unfold(Some(log), |log| async move {
            let mut log = log?;
            match log.next().await {
                Ok(Some(line)) => Some((Ok(line), Some(log))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        }))
    }

    /// Deployments that are made, whose settings change, or whose updates are asked for, move on or end: as each is then. Of one deployment, first of all
    /// as it is now. A deleted one is not told of; who follows it alone gets NOT_FOUND.
    async fn deployment_changed(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The deployment's id; all that you may see if not given.")] id: Option<ID>,
    ) -> Result<impl Stream<Item = Result<Deployment>> + use<>> {
        let changes = Deployments::open(ctx.session()?, id.map(|id| id.0)).await?;
        Ok(stream::unfold(Some(changes), |changes| async move {
            let mut changes = changes?;
            match changes.next().await {
                Ok(deployment) => Some((Ok(deployment), Some(changes))),
                Err(error) => Some((Err(error), None)),
            }
        }))
    }
}

/// What was read and not yet sent.
struct Read<T> {
    items: VecDeque<T>,
    at: Instant,
    /// More is there.
    full: bool,
}

impl<T> Read<T> {
    fn nothing() -> Self {
        Self { items: VecDeque::new(), at: Instant::now(), full: false }
    }

    fn of(items: Vec<T>, full: bool) -> Self {
        Self { items: items.into(), at: Instant::now(), full }
    }

    /// Rights may be others by now: what is left must not be sent.
    fn is_stale(&self) -> bool {
        !self.items.is_empty() && self.at.elapsed() > LOOK
    }
}

/// One follower of an update's events.
struct Events {
    session: Arc<Session>,
    run: RunId,
    follower: Follower,
    /// The last that was sent.
    after: i64,
    read: Read<updates::UpdateEvent>,
    ended: bool,
}

impl Events {
    fn open(session: &Arc<Session>, run: RunId, after: i64) -> Self {
        // First listen, then read: nothing falls between.
        let follower = session.tail.follow(run);
        Self { session: session.clone(), run, follower, after, read: Read::nothing(), ended: false }
    }

    /// Reads what is new since the last event that was sent. The rights are those of this moment.
    async fn fill(&mut self) -> Result<()> {
        let viewer = self.session.renew().await?;
        let read = updates::events(&self.session.deployer, &viewer, self.run, self.after, BATCH).await?;
        let read = read.ok_or_else(|| ApiError::not_found("updateId"))?;
        self.ended = if read.is_empty() {
            // Nothing new: because it had ended before the client came?
            has_ended(&self.session, self.run, self.after).await?
        } else {
            read.iter().any(|event| event.status.is_some_and(Status::is_final))
        };
        let full = is_full(&read);
        self.read = Read::of(read, full);
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<UpdateEvent>> {
        loop {
            if self.read.is_stale() {
                self.fill().await?;
            }
            if let Some(event) = self.read.items.pop_front() {
                self.after = event.seq;
                return Ok(Some(event.into()));
            }
            if self.ended {
                return Ok(None);
            }
            if !self.read.full {
                self.follower.wait(IDLE).await;
            }
            self.fill().await?;
        }
    }
}

fn is_full<T>(read: &[T]) -> bool {
    u64::try_from(read.len()).is_ok_and(|read| read >= BATCH)
}

/// Whether the update ended with or before this event. Who asks may see it: that was found out just before.
async fn has_ended(session: &Session, run: RunId, seq: i64) -> Result<bool> {
    let newest = updates::tail::newest(&session.deployer, &[run]).await?;
    Ok(newest.first().is_none_or(|(_, newest)| newest.ended && newest.seq <= seq))
}

/// One follower of an update's log.
struct Log {
    session: Arc<Session>,
    run: RunId,
    follower: Follower,
    /// The last that was sent.
    after: i64,
    read: Read<updates::LogLine>,
    /// It has ended. Lines are written a moment behind events: one more look follows.
    ending: bool,
    ended: bool,
}

impl Log {
    fn open(session: &Arc<Session>, run: RunId, after: i64) -> Self {
        let follower = session.tail.follow(run);
        Self { session: session.clone(), run, follower, after, read: Read::nothing(), ending: false, ended: false }
    }

    async fn fill(&mut self) -> Result<()> {
        let viewer = self.session.renew().await?;
        let read = updates::log(&self.session.deployer, &viewer, self.run, self.after, BATCH).await?;
        let read = read.ok_or_else(|| ApiError::not_found("updateId"))?;
        let full = is_full(&read);
        // Asked even with the last lines in hand: nobody rings after them.
        if !full {
            self.ended = self.ending && read.is_empty();
            self.ending = self.ending || has_ended(&self.session, self.run, i64::MAX).await?;
        }
        self.read = Read::of(read, full);
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<LogLine>> {
        loop {
            if self.read.is_stale() {
                self.fill().await?;
            }
            if let Some(line) = self.read.items.pop_front() {
                self.after = line.seq;
                return Ok(Some(line.into()));
            }
            if self.ended {
                return Ok(None);
            }
            if !self.read.full {
                self.follower.wait(if self.ending { LOOK } else { IDLE }).await;
            }
            self.fill().await?;
        }
    }
}

/// One follower of deployments.
struct Deployments {
    session: Arc<Session>,
    only: Option<String>,
    changes: Changes,
    /// Changed, not yet read.
    due: VecDeque<String>,
    read: Read<deployments::Deployment>,
}

impl Deployments {
    /// One deployment is sent as it is; of all of them only what changes from now on.
    async fn open(session: &Arc<Session>, only: Option<String>) -> Result<Self> {
        // First listen, then read: nothing falls between.
        let changes = session.tail.changes().await?;
        let due = only.iter().cloned().collect();
        let mut all = Self { session: session.clone(), only, changes, due, read: Read::nothing() };
        all.fill().await?;
        Ok(all)
    }

    async fn next(&mut self) -> Result<Deployment> {
        loop {
            if self.read.is_stale() {
                let again = self.read.items.drain(..).map(|deployment| deployment.id);
                self.due = again.chain(self.due.drain(..)).collect();
            }
            if let Some(deployment) = self.read.items.pop_front() {
                return Ok(deployment.into());
            }
            if self.due.is_empty() {
                let mut changed = self.changes.next(IDLE).await;
                changed.retain(|id| self.only.as_ref().is_none_or(|only| only == id));
                self.due = changed.into();
                // Others moved.
                if self.due.is_empty() && self.read.at.elapsed() < IDLE {
                    continue;
                }
            }
            self.fill().await?;
        }
    }

    /// Reads the next few of those that changed. The rights are those of this moment.
    async fn fill(&mut self) -> Result<()> {
        let viewer = self.session.renew().await?;
        let few = self.due.len().min(FEW);
        let ids: Vec<String> = self.due.drain(..few).collect();
        let mut found = deployments::by_ids(&self.session.deployer, &viewer, &ids).await?;
        let read: Vec<_> = ids.iter().filter_map(|id| found.remove(id)).collect();
        if let (Some(only), true) = (&self.only, read.is_empty())
            && deployments::get(&self.session.deployer, &viewer, only).await?.is_none()
        {
            return Err(ApiError::not_found("id"));
        }
        self.read = Read::of(read, false);
        Ok(())
    }
}
