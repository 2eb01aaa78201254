//! A worker process: its lease, its seats, its sweeper, and how it stops.
//!
//! The process outlives its lease: a worker that was given up while it was paused registers anew, as another worker, and goes on.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::Duration,
};

use apalis::prelude::{Data, WorkerBuilder};
use deployer::Deployer;
use engine::db::DbErr;
use engine::{
    bell::Bell,
    ids::{RunId, WorkerId},
    leases::Lease,
    queue::{
        Queue,
        backend::{Envelope, SeatsBackend},
        seats::Seats,
    },
    runs::{LogWriter, Writer},
    slots::Slots,
    store::{Store, patient},
};
use serde_json::{Value, json};
use tokio::{sync::Notify, task::JoinHandle};

use crate::{
    attend,
    doer::Doer,
    held::Held,
    hooks::Supervisor,
    metrics::Metrics,
    runner::{Runner, Stop},
    settings::WorkerSettings,
    steps::Steps,
    sweeper,
};

/// A worker process. Cheap to clone.
#[derive(Clone)]
pub struct Worker {
    pub(crate) shared: Arc<Shared>,
}

/// What all tasks of the process share.
pub(crate) struct Shared {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) queue: Queue,
    pub(crate) doer: Arc<dyn Doer>,
    pub(crate) bell: Bell,
    pub(crate) writer: Writer,
    pub(crate) log: LogWriter,
    pub(crate) metrics: Metrics,
    pub(crate) settings: WorkerSettings,
    pub(crate) seats: Seats,
    pub(crate) stop: Stop,
    session: RwLock<Option<Arc<Session>>>,
    /// The worker that this process is, or was when it had a lease.
    life: Mutex<Option<WorkerId>>,
    /// The runs that are driven now.
    held: Mutex<BTreeMap<RunId, Arc<Held>>>,
    /// Looks at runs that are under way: between a claim and its place in the list above, and after it.
    attending: Mutex<Vec<RunId>>,
    /// Those of them that may still end in a claim.
    claiming: Mutex<BTreeSet<RunId>>,
    rested: Notify,
}

/// A look at a run that is under way.
pub(crate) struct Attending(Arc<Shared>, RunId);

impl Drop for Attending {
    fn drop(&mut self) {
        let mut attending = self.0.attending();
        if let Some(place) = attending.iter().position(|run| *run == self.1) {
            attending.swap_remove(place);
        }
        drop(attending);
        self.0.rested.notify_waiters();
    }
}

/// A look at a run that may end in a claim.
pub(crate) struct Claiming(Arc<Shared>, RunId);

impl Drop for Claiming {
    fn drop(&mut self) {
        self.0.claiming().remove(&self.1);
    }
}

/// One lease's life.
pub(crate) struct Session {
    pub(crate) lease: Lease,
    pub(crate) runner: Runner,
}

/// What a worker process looks like from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerState {
    /// The current lease's worker; None while it has none.
    pub worker: Option<engine::ids::WorkerId>,
    /// Runs that are driven now.
    pub running: usize,
    /// Free seats.
    pub free_seats: usize,
    /// No new runs are taken.
    pub draining: bool,
}

impl Worker {
    /// Makes a worker; nothing runs yet.
    ///
    /// # Errors
    /// The database's error.
    pub async fn new(
        deployer: Deployer,
        bell: Bell,
        settings: WorkerSettings,
        supervisor: Supervisor,
    ) -> Result<Self, DbErr> {
        let (store, queue) = (deployer.db.clone().into(), deployer.queue.clone());
        let (hooks, retention, drift) = (settings.hooks.clone(), settings.retention, settings.drift);
        let steps = Steps { deployer, hooks, supervisor, retention, drift };
        Self::made_of(store, queue, bell, settings, Arc::new(steps)).await
    }

    /// Makes a worker of other parts.
    ///
    /// # Errors
    /// The database's error.
    pub async fn made_of(
        store: Arc<dyn Store>,
        queue: Queue,
        bell: Bell,
        settings: WorkerSettings,
        doer: Arc<dyn Doer>,
    ) -> Result<Self, DbErr> {
        let store = patient(store);
        let writer = Writer::start(&*store, bell.clone()).await?;
        let metrics = Metrics::default();
        metrics.seats.set(i64::try_from(settings.seats.max(1)).unwrap_or(i64::MAX));
        let log = LogWriter::start(Arc::clone(&store), bell.clone());
        let shared = Shared {
            store,
            queue,
            doer,
            bell,
            writer,
            log,
            metrics,
            seats: Seats::new(settings.seats.max(1)),
            settings,
            stop: Stop::default(),
            session: RwLock::default(),
            life: Mutex::default(),
            held: Mutex::default(),
            attending: Mutex::default(),
            claiming: Mutex::default(),
            rested: Notify::new(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Works until it is stopped: see [`Worker::drain`].
    pub async fn run(&self) {
        self.shared.queue.feed(&self.shared.seats);
        let apalis = WorkerBuilder::new("slipway")
            .backend(SeatsBackend::new(&self.shared.seats))
            .data(Arc::clone(&self.shared))
            .build(handle);
        let apalis = tokio::spawn(async move {
            if let Err(error) = apalis.run().await {
                tracing::error!(error = %error, "the job consumer ended; runs are found by sweeping");
            }
        });
        self.work(apalis).await;
    }

    /// As [`Worker::run`], with a plain consumer in the place of apalis: nothing here depends on chance.
    #[cfg(feature = "simulated")]
    pub async fn run_plainly(&self) {
        self.shared.queue.feed(&self.shared.seats);
        let (jobs, shared) = (self.shared.seats.jobs(), Arc::clone(&self.shared));
        let consumer = tokio::spawn(async move {
            let Some(mut jobs) = jobs else { return };
            while let Some(job) = jobs.recv().await {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    attend::attend(&shared, job.run).await;
                    drop(job);
                });
            }
        });
        self.work(consumer).await;
    }

    async fn work(&self, consumer: JoinHandle<()>) {
        while !self.shared.stop.drain.is_cancelled() && !consumer.is_finished() {
            self.one_lease(&consumer).await;
        }
        consumer.abort();
        // What the last hooks said.
        self.shared.log.flush().await;
    }

    /// Takes no new runs; steps under way get the drain time, then are interrupted and handed over. [`Worker::run`] then returns.
    pub fn drain(&self) {
        if self.shared.stop.drain.is_cancelled() {
            return;
        }
        self.shared.stop.drain.cancel();
        self.shared.metrics.draining.set(1);
        self.shared.seats.close();
        let (now, patience) = (self.shared.stop.now.clone(), Duration::from_millis(self.shared.settings.drain_ms));
        tokio::spawn(async move {
            tokio::select! { biased; () = now.cancelled() => {}, () = tokio::time::sleep(patience) => now.cancel() }
        });
    }

    /// Interrupts steps under way: their hooks are ended, their runs given back.
    pub fn stop_now(&self) {
        self.drain();
        self.shared.stop.now.cancel();
    }

    /// Its numbers, for a registry.
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// What it does right now.
    pub fn state(&self) -> WorkerState {
        WorkerState {
            worker: self.shared.session().map(|session| session.lease.worker),
            running: self.shared.held().len(),
            free_seats: self.shared.seats.free(),
            draining: self.shared.stop.drain.is_cancelled(),
        }
    }

    /// Waits until nothing is driven here any more. That this worker drains stands in its row meanwhile, whoever asked for it.
    async fn drained(&self, lease: &Lease) {
        let said = lease.clone();
        tokio::spawn(async move {
            if let Err(error) = said.drains().await {
                tracing::debug!(error = %error, "the worker's row does not say that it drains");
            }
        });
        self.shared.all_rested(lease).await;
    }

    /// Registers, and works under that lease until it is lost or the worker has drained.
    async fn one_lease(&self, consumer: &JoinHandle<()>) {
        let shared = &self.shared;
        let settings = &shared.settings;
        let name = if settings.name.is_empty() { host_and_process() } else { settings.name.clone() };
        let facts = facts(settings, &shared.doer.plan_versions());
        let before = *shared.life();
        let registered = tokio::select! {
            biased;
            registered = Lease::register(&*shared.store, before, &name, &facts, &settings.lease) => registered,
            () = shared.stop.drain.cancelled() => return,
        };
        let lease = match registered {
            Ok(lease) => lease,
            Err(error) => {
                tracing::warn!(error = %error, "no lease yet; trying again");
                tokio::select! {
                    biased;
                    () = tokio::time::sleep(Duration::from_secs(1)) => {}
                    () = shared.stop.drain.cancelled() => {}
                }
                return;
            }
        };
        shared.metrics.leases.inc();
        *shared.life() = Some(lease.worker);
        tracing::info!(worker.id = %lease.worker, worker.name = name, seats = settings.seats, "registered");
        let slots = Slots::start(Arc::clone(&shared.store), shared.bell.clone(), lease.worker, settings.lease.clone());
        let (store, doer) = (Arc::clone(&shared.store), Arc::clone(&shared.doer));
        let slots_held = shared.metrics.slots_held.clone();
        let runner = Runner { store, doer, slots, stop: shared.stop.clone(), slots_held };
        let session = Arc::new(Session { lease: lease.clone(), runner });
        shared.replace_session(Some(session));
        let sweep = tokio::spawn(sweeper::sweep(Arc::clone(shared), lease.clone()));
        tokio::select! {
            biased;
            () = lease.lost.cancelled() => {}
            () = shared.stop.drain.cancelled() => self.drained(&lease).await,
            () = lease.drain.cancelled() => {
                tracing::info!("asked to drain: no new runs");
                self.drain();
                self.drained(&lease).await;
            }
            // Without a consumer this process would hold a lease and do nothing: it ends, and says so.
            () = finished(consumer) => tracing::error!("the job consumer ended; this worker ends with it"),
        }
        shared.replace_session(None);
        // Not awaited: it may be inside a query that nobody answers.
        sweep.abort();
        if !lease.lost.is_cancelled()
            && let Err(error) = lease.end().await
        {
            tracing::warn!(error = %error, "the lease could not be ended; it lapses by itself");
        }
    }
}

impl Shared {
    pub(crate) fn session(&self) -> Option<Arc<Session>> {
        self.session.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn life(&self) -> MutexGuard<'_, Option<WorkerId>> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn replace_session(&self, session: Option<Arc<Session>>) {
        *self.session.write().unwrap_or_else(PoisonError::into_inner) = session;
    }

    pub(crate) fn held(&self) -> MutexGuard<'_, BTreeMap<RunId, Arc<Held>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A run rests. Under a newer lease this process may hold it again already: that one stays.
    pub(crate) fn rest(&self, rested: &Arc<Held>) {
        let mut held = self.held();
        if held.get(&rested.run).is_some_and(|now| Arc::ptr_eq(now, rested)) {
            held.remove(&rested.run);
        }
        drop(held);
        self.metrics.running.dec();
    }

    /// A look at a run begins; it ends when the answer is dropped.
    pub(crate) fn attend(self: &Arc<Self>, run: RunId) -> Attending {
        self.attending().push(run);
        Attending(Arc::clone(self), run)
    }

    /// The runs that are looked at now, whether or not they are held already. One that is claimed, and of whose claim no answer has come yet,
    /// is among these alone.
    pub(crate) fn attending(&self) -> MutexGuard<'_, Vec<RunId>> {
        self.attending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn claiming(&self) -> MutexGuard<'_, BTreeSet<RunId>> {
        self.claiming.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Until the answer is dropped, nothing else in this process claims the run; None when something does already.
    pub(crate) fn begin_claim(self: &Arc<Self>, run: RunId) -> Option<Claiming> {
        let first = self.claiming().insert(run);
        first.then(|| Claiming(Arc::clone(self), run))
    }

    /// Waits until nothing is looked at or driven any more, or the lease is lost.
    async fn all_rested(&self, lease: &Lease) {
        loop {
            let rested = self.rested.notified();
            if self.attending().is_empty() {
                return;
            }
            tokio::select! {
                biased;
                () = lease.lost.cancelled() => return,
                () = rested => {}
            }
        }
    }
}

/// The apalis handler: a job says which run to look at. It never fails: what goes wrong with a run is in its journal.
async fn handle(envelope: Envelope, shared: Data<Arc<Shared>>) {
    let job = envelope.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(job) = job {
        let shared = Arc::clone(&shared);
        // A task of its own: a panic here must not take the other runs of this process along.
        if tokio::spawn(async move { attend::attend(&shared, job.run).await }).await.is_err() {
            tracing::error!("looking at a run panicked; the sweeper gives it back");
        }
    }
}

async fn finished(task: &JoinHandle<()>) {
    while !task.is_finished() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// What this worker can run; published with its row.
fn facts(settings: &WorkerSettings, plan_versions: &RangeInclusive<u32>) -> Value {
    json!({
        "codeEnvs": settings.hooks.code_envs.keys().collect::<Vec<_>>(),
        "osUsers": settings.hooks.os_users,
        "planVersions": plan_versions.clone().collect::<Vec<_>>(),
        "leaseMs": settings.lease.lease_ms,
        "version": env!("CARGO_PKG_VERSION"),
    })
}

fn host_and_process() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{host}/{}", std::process::id())
}
