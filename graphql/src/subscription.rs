//! What can be followed. Whoever resumes with the number of the last thing seen misses nothing and gets nothing twice. Who asks, and what they may
//! see, is looked up again before each batch.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use async_graphql::{Context, ID, Subscription as GraphqlSubscription};
use deployer::{deployments, paging::Page, updates};
use engine::{ids::RunId, journal::Status};
use futures_util::{Stream, stream};

use crate::{
    error::{ApiError, Result},
    scalars::Long,
    session::{Asked, Session},
    tail::{Follower, Move, Moves},
    types::{
        deployment::Deployment,
        update::run_id,
        update_event::{LogLine, UpdateEvent},
    },
};

/// How many events or lines are read at once; a slow client holds no more than these.
const BATCH: u64 = 200;

/// How many deployments a follower of all of them remembers.
const REMEMBERED: usize = 2_000;

/// How many of the newest updates are looked at when the bell may have been missed.
const NEWEST: i32 = 25;

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

    /// Deployments whose updates are asked for, move on or end; of one deployment, also when its settings change, and first of all as it is now.
    async fn deployment_changed(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The deployment's id; all that you may see if not given.")] id: Option<ID>,
    ) -> Result<impl Stream<Item = Result<Deployment>> + use<>> {
        let mut changes = Changes::open(ctx.session()?, id.map(|id| id.0));
        changes.begin().await?;
        Ok(stream::unfold(Some(changes), |changes| async move {
            let mut changes = changes?;
            match changes.next().await {
                Ok(deployment) => Some((Ok(deployment), Some(changes))),
                Err(error) => Some((Err(error), None)),
            }
        }))
    }
}

/// One follower of an update's events.
struct Events {
    session: Arc<Session>,
    run: RunId,
    follower: Follower,
    after: i64,
    waiting: VecDeque<updates::UpdateEvent>,
    ended: bool,
}

impl Events {
    fn open(session: &Arc<Session>, run: RunId, after: i64) -> Self {
        // First listen, then read: nothing falls between.
        let follower = session.tail.follow(run);
        Self { session: session.clone(), run, follower, after, waiting: VecDeque::new(), ended: false }
    }

    /// Reads what is new. The rights are those of this moment.
    async fn fill(&mut self) -> Result<()> {
        let viewer = self.session.renew().await?;
        let read = updates::events(&self.session.deployer, &viewer, self.run, self.after, BATCH).await?;
        let read = read.ok_or_else(|| ApiError::not_found("updateId"))?;
        if let Some(last) = read.last() {
            self.after = last.seq;
            self.ended |= ends(&read);
        } else if !self.ended {
            // Nothing new: because it had ended before the client came?
            self.ended = ended_by(&self.session, self.run, self.after).await?;
        }
        self.waiting.extend(read);
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<UpdateEvent>> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Ok(Some(event.into()));
            }
            if self.ended {
                return Ok(None);
            }
            self.follower.wait().await;
            self.fill().await?;
        }
    }
}

fn ends(events: &[updates::UpdateEvent]) -> bool {
    events.iter().any(|event| event.status.is_some_and(Status::is_final))
}

/// Whether the update ended with or before this event.
async fn ended_by(session: &Session, run: RunId, seq: i64) -> Result<bool> {
    let update = updates::get(&session.deployer, &session.viewer(), run).await?;
    Ok(update.is_some_and(|update| update.status.is_final() && update.last_seq <= seq))
}

/// One follower of an update's log.
struct Log {
    session: Arc<Session>,
    run: RunId,
    follower: Follower,
    after: i64,
    waiting: VecDeque<updates::LogLine>,
    /// The newest event that was looked at, to know when the update has ended.
    event: i64,
    /// It has ended. Lines are written a moment behind events: one more look follows.
    ending: bool,
    ended: bool,
}

impl Log {
    fn open(session: &Arc<Session>, run: RunId, after: i64) -> Self {
        let follower = session.tail.follow(run);
        let session = session.clone();
        Self { session, run, follower, after, waiting: VecDeque::new(), event: 0, ending: false, ended: false }
    }

    async fn fill(&mut self) -> Result<()> {
        let viewer = self.session.renew().await?;
        let read = updates::log(&self.session.deployer, &viewer, self.run, self.after, BATCH).await?;
        let read = read.ok_or_else(|| ApiError::not_found("updateId"))?;
        if let Some(last) = read.last() {
            self.after = last.seq;
        } else if self.ending {
            self.ended = true;
        } else {
            let events = updates::events(&self.session.deployer, &viewer, self.run, self.event, BATCH)
                .await?
                .unwrap_or_default();
            self.event = events.last().map_or(self.event, |event| event.seq);
            self.ending = ends(&events);
        }
        self.waiting.extend(read);
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<LogLine>> {
        loop {
            if let Some(line) = self.waiting.pop_front() {
                return Ok(Some(line.into()));
            }
            if self.ended {
                return Ok(None);
            }
            self.follower.wait().await;
            self.fill().await?;
        }
    }
}

/// What is compared to tell whether a deployment changed: its version, its newest update's number, status and newest event.
type Look = (i64, i64, Option<Status>, i64);

/// One follower of deployments.
struct Changes {
    session: Arc<Session>,
    only: Option<String>,
    moves: Moves,
    seen: HashMap<String, Look>,
    waiting: VecDeque<deployments::Deployment>,
}

impl Changes {
    fn open(session: &Arc<Session>, only: Option<String>) -> Self {
        Self {
            session: session.clone(),
            only,
            moves: session.tail.moves(),
            seen: HashMap::new(),
            waiting: VecDeque::new(),
        }
    }

    /// One deployment is sent as it is; of all of them only what changes from now on.
    async fn begin(&mut self) -> Result<()> {
        self.look().await?;
        if self.only.is_none() {
            self.waiting.clear();
        }
        Ok(())
    }

    async fn next(&mut self) -> Result<Deployment> {
        loop {
            if let Some(deployment) = self.waiting.pop_front() {
                return Ok(deployment.into());
            }
            match self.moves.next().await {
                Move::Runs(runs) => self.moved(&runs).await?,
                Move::Look => self.look().await?,
            }
        }
    }

    /// These runs have something new.
    async fn moved(&mut self, runs: &[RunId]) -> Result<()> {
        let viewer = self.session.renew().await?;
        let moved = updates::by_ids(&self.session.deployer, &viewer, runs).await?;
        let mut ids: Vec<String> = moved.into_values().map(|update| update.deployment_id).collect();
        ids.retain(|id| self.only.as_ref().is_none_or(|only| only == id));
        self.compare(ids).await
    }

    /// Something may have been missed.
    async fn look(&mut self) -> Result<()> {
        let viewer = self.session.renew().await?;
        let ids = match &self.only {
            Some(only) => vec![only.clone()],
            None => {
                let page = Page::new(Some(NEWEST), None)?;
                let newest = updates::list::list(&self.session.deployer, &viewer, &Default::default(), &page).await?;
                newest.items.into_iter().map(|(_, update)| update.deployment_id).collect()
            }
        };
        self.compare(ids).await
    }

    async fn compare(&mut self, mut ids: Vec<String>) -> Result<()> {
        ids.sort_unstable();
        ids.dedup();
        let (deployer, viewer) = (&self.session.deployer, self.session.viewer());
        let mut found = deployments::by_ids(deployer, &viewer, &ids).await?;
        if self.only.is_some() && found.is_empty() {
            return Err(ApiError::not_found("id"));
        }
        let newest = updates::latest_of(deployer, &viewer, &ids).await?;
        for id in ids {
            let Some(deployment) = found.remove(&id) else { continue };
            let update = newest.get(&id);
            let now = (
                deployment.version,
                deployment.last_update_no,
                update.map(|update| update.status),
                update.map_or(0, |update| update.last_seq),
            );
            if self.seen.len() >= REMEMBERED && !self.seen.contains_key(&id) {
                // Forgetting costs at most a repeated deployment.
                self.seen.clear();
            }
            if self.seen.insert(id, now) != Some(now) {
                self.waiting.push_back(deployment);
            }
        }
        Ok(())
    }
}
