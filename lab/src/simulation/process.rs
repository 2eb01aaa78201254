//! A worker process: a runtime of its own, with a clock of its own, on the one thread that the simulation runs on. Killing it is dropping the
//! runtime: each of its tasks ends at its await. Pausing it is not running it; when it wakes, its clock has gone on.

use std::{
    future::poll_fn,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Poll, Waker},
    time::Duration,
};

use engine::{
    bell::{Bell, News},
    ids::RunId,
    leases::LeaseSettings,
    queue::Queue,
    store::patient,
};
use tokio::{
    runtime::{Builder, Runtime},
    sync::mpsc,
    time::{Instant, sleep_until},
};
use worker::{Worker, WorkerSettings, doer::Doer};

use super::{
    steps::Scripted,
    store::Connection,
    world::{Current, World, now_runs},
};

/// Short, so that much happens in little time.
pub(super) const LEASE: LeaseSettings = LeaseSettings { lease_ms: 1_000, heartbeat_ms: 200, hook_grace_ms: 600 };

/// When a process is stopped in the middle of what it does: at a moment to come, after some of its tasks were polled.
#[derive(Clone, Debug, Default)]
struct Fuse(Arc<Mutex<Option<Burning>>>);

#[derive(Debug)]
struct Burning {
    /// So many more times it has nothing to do but wait.
    rests: i64,
    /// Then so many more polls of its tasks, unless it has nothing to do before.
    polls: i64,
    waker: Option<Waker>,
}

impl Fuse {
    fn lock(&self) -> MutexGuard<'_, Option<Burning>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its tasks have something to do again.
    fn rested(&self) {
        let woken = self.lock().as_mut().and_then(|burning| {
            burning.rests -= 1;
            burning.waker.take_if(|_| burning.rests <= 0)
        });
        if let Some(waker) = woken {
            waker.wake();
        }
    }

    /// Waits until it is burnt down.
    async fn burnt(&self) {
        poll_fn(|context| {
            let mut fuse = self.lock();
            let Some(burning) = fuse.as_mut() else { return Poll::Pending };
            burning.waker = Some(context.waker().clone());
            if burning.rests > 0 {
                return Poll::Pending;
            }
            burning.polls -= 1;
            if burning.polls > 0 {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            *fuse = None;
            Poll::Ready(())
        })
        .await;
    }
}

/// One life of a process: it ends for good, and another begins in its place.
pub(super) struct Process {
    current: Current,
    runtime: Runtime,
    world: Arc<World>,
    pub(super) bell: Bell,
    pub(super) told: mpsc::Receiver<News>,
    pub(super) queue: Queue,
    pub(super) rung: mpsc::Receiver<RunId>,
    pub(super) jobs: mpsc::Sender<RunId>,
    worker: Arc<Mutex<Option<Worker>>>,
    exited: Arc<AtomicBool>,
    fuse: Fuse,
    /// Until when it is paused.
    pub(super) paused_until: Option<i64>,
}

/// What became of a process while it ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ran {
    On,
    /// The fuse burnt down.
    Struck,
    Killed,
    Exited,
}

impl Process {
    /// Starts one, at the world's time.
    pub(super) fn start(world: &Arc<World>, process: usize, life: u64) -> io::Result<Self> {
        let fuse = Fuse::default();
        let rested = fuse.clone();
        // So many polls at most before it looks at its clock, and at the fuse.
        let interval = world.draw(|chance| chance.one_of(&[1, 1, 1, 7, 61], 1));
        let mut builder = Builder::new_current_thread();
        builder.enable_time().start_paused(true).event_interval(interval).on_thread_unpark(move || rested.rested());
        let runtime = builder.build()?;
        let epoch = runtime.block_on(async { Instant::now() });
        let (base_us, clocks_off) = {
            let inner = world.lock();
            (inner.round_us, inner.profile.clocks_off)
        };
        let off_us = world.draw(|chance| if clocks_off { chance.between(-600_000_000, 600_000_000) } else { 0 });
        let seats = world.draw(|chance| chance.between(1, 4)).unsigned_abs() as usize;
        let able = world.draw(|chance| chance.percent(60));
        let current = Current { process, epoch, base_us, off_us };
        let store = Connection { world: Arc::clone(world), life, heartbeat: false };
        let (bell, told) = Bell::wired();
        let (queue, rung, jobs) = Queue::wired();
        let settings = WorkerSettings {
            name: format!("p{process}"),
            seats,
            lease: LEASE,
            sweep_ms: 400,
            drain_ms: 500,
            ..WorkerSettings::default()
        };
        let worker = Arc::new(Mutex::new(None));
        let exited = Arc::new(AtomicBool::new(false));
        let (at, done) = (Arc::clone(&worker), Arc::clone(&exited));
        let (own_queue, own_bell) = (queue.clone(), bell.clone());
        runtime.spawn(async move {
            loop {
                let truth = patient(Arc::new(store.clone()));
                let doer: Arc<dyn Doer> = Arc::new(Scripted { world: Arc::clone(&store.world), store: truth, able });
                let (queue, bell, settings) = (own_queue.clone(), own_bell.clone(), settings.clone());
                if let Ok(made) = Worker::made_of(Arc::new(store.clone()), queue, bell, settings, doer).await {
                    *at.lock().unwrap_or_else(PoisonError::into_inner) = Some(made.clone());
                    made.run_plainly().await;
                    done.store(true, Ordering::Relaxed);
                    return;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        world.tell(|| {
            let has = if able { "has" } else { "lacks" };
            let off = off_us / 1_000_000;
            format!("p{process} starts with {seats} seats, {has} what some hooks need, its clock off by {off} s")
        });
        let world = Arc::clone(world);
        let paused_until = None;
        Ok(Self { current, runtime, world, bell, told, queue, rung, jobs, worker, exited, fuse, paused_until })
    }

    /// Lets it run until the world's clock is here.
    pub(super) fn run_until(&mut self, until_us: i64) -> Ran {
        now_runs(Some(self.current));
        let since = Duration::from_micros((until_us - self.current.base_us).max(0).unsigned_abs());
        let until = self.current.epoch + since;
        let (world, fuse) = (&self.world, &self.fuse);
        let ran = self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = world.kill.notified() => Ran::Killed,
                () = fuse.burnt() => Ran::Struck,
                () = sleep_until(until) => Ran::On,
            }
        });
        now_runs(None);
        if ran == Ran::On && self.exited.load(Ordering::Relaxed) { Ran::Exited } else { ran }
    }

    /// It will be stopped after so many rests, then so many polls of its tasks.
    pub(super) fn light(&self, rests: i64, polls: i64) {
        *self.fuse.lock() = Some(Burning { rests, polls, waker: None });
    }

    /// Nothing will stop it any more.
    pub(super) fn put_out(&self) {
        *self.fuse.lock() = None;
    }

    /// Its clock goes on to here at once: all its timers up to then are due together.
    pub(super) fn wake(&mut self, at_us: i64) {
        now_runs(Some(self.current));
        let current = self.current;
        self.runtime.block_on(async {
            let asleep = at_us - current.now_us();
            if asleep > 0 {
                tokio::time::advance(Duration::from_micros(asleep.unsigned_abs())).await;
            }
        });
        now_runs(None);
        self.paused_until = None;
    }

    /// As SIGTERM does.
    pub(super) fn drain(&self) {
        let _context = self.runtime.enter();
        if let Some(worker) = &*self.worker.lock().unwrap_or_else(PoisonError::into_inner) {
            worker.drain();
        }
    }

    /// As a second SIGTERM does.
    pub(super) fn stop_now(&self) {
        let _context = self.runtime.enter();
        if let Some(worker) = &*self.worker.lock().unwrap_or_else(PoisonError::into_inner) {
            worker.stop_now();
        }
    }
}
