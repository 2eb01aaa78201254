//! What can be done to the stage. Each fault is whole: when it returns, what it took away is there again.

use std::{collections::BTreeMap, time::Duration};

use engine::clock::now_micros;
use rustix::process::Signal;
use sandbox::{Fault as NodeFault, FaultKind};

use super::{
    Tell,
    dice::Dice,
    settings::{Settings, Size},
    stage::{Member, Stage},
    traffic::Traffic,
};
use crate::{client::Trouble, failure::LabError, furniture};

/// A part of each write to a journal by whoever holds the run.
const APPEND: &[u8] = b"\"claim\":false";
/// Whatever worker it is gets a run and writes in this time.
const PAST_A_WRITE: Duration = Duration::from_secs(15);

/// What can be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    KillWorker,
    PauseWorker,
    RollWorkers,
    KillApi,
    LoseBell,
    RestartRedis,
    EmptyRedis,
    FlushRedis,
    CutRedis,
    HoleRedis,
    CutPostgres,
    DelayPostgres,
    RefusePostgres,
    LateWrites,
    StopPostgres,
    CrashPostgres,
    FillDisk,
    CutNode,
    DelayNode,
    LoseAnswer,
    LateCall,
}

impl Fault {
    /// All that a size has.
    pub(super) fn of(size: Size) -> Vec<Self> {
        use Fault as F;
        let both = [
            F::KillWorker,
            F::PauseWorker,
            F::RollWorkers,
            F::FillDisk,
            F::CutNode,
            F::DelayNode,
            F::LoseAnswer,
            F::LateCall,
        ];
        let fleet = [
            F::KillApi,
            F::LoseBell,
            F::RestartRedis,
            F::EmptyRedis,
            F::FlushRedis,
            F::CutRedis,
            F::HoleRedis,
            F::CutPostgres,
            F::DelayPostgres,
            F::RefusePostgres,
            F::LateWrites,
            F::StopPostgres,
            F::CrashPostgres,
        ];
        both.into_iter().chain(fleet.into_iter().filter(|_| size == Size::Fleet)).collect()
    }

    /// A worker may be lost over it.
    pub(super) fn loses_workers(self) -> bool {
        use Fault as F;
        matches!(
            self,
            F::KillWorker
                | F::PauseWorker
                | F::LateWrites
                | F::LateCall
                | F::RefusePostgres
                | F::StopPostgres
                | F::CrashPostgres
        )
    }

    /// It says little of a worker that has nothing to do.
    pub(super) fn wants_busy(self) -> bool {
        matches!(self, Self::KillWorker | Self::PauseWorker | Self::LateWrites)
    }

    /// For the table.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::KillWorker => "SIGKILL a worker",
            Self::PauseWorker => "SIGSTOP a worker past its lease, and wake it",
            Self::RollWorkers => "SIGTERM the workers one after another",
            Self::KillApi => "SIGKILL the API",
            Self::LoseBell => "SIGKILL the API between commit and bell",
            Self::RestartRedis => "SIGKILL Redis, start it with its data",
            Self::EmptyRedis => "SIGKILL Redis, start it without its data",
            Self::FlushRedis => "FLUSHALL",
            Self::CutRedis => "reset all connections to Redis",
            Self::HoleRedis => "black-hole a worker's Redis",
            Self::CutPostgres => "reset a process's connections to PostgreSQL",
            Self::DelayPostgres => "delay a worker's PostgreSQL",
            Self::RefusePostgres => "reset and refuse a worker's connections to PostgreSQL",
            Self::LateWrites => "hold a worker's writes past its lease, then deliver them",
            Self::StopPostgres => "stop PostgreSQL, start it",
            Self::CrashPostgres => "crash PostgreSQL, start it",
            Self::FillDisk => "fill the disk of the package store",
            Self::CutNode => "reset all connections to the node",
            Self::DelayNode => "delay the node",
            Self::LoseAnswer => "lose the node's answer to an activation",
            Self::LateCall => "SIGKILL a worker while its activation is under way",
        }
    }
}

/// What was done, when.
pub(super) struct Log {
    tell: Tell,
    began: i64,
    /// How often each fault was made.
    pub(super) made: BTreeMap<Fault, u32>,
    /// Which process was killed, and when.
    pub(super) kills: Vec<(String, i64)>,
    /// Which process stood still, from when to when.
    pub(super) pauses: Vec<(String, i64, i64)>,
    /// PostgreSQL was not there, or no worker, from when to when.
    pub(super) outages: Vec<(i64, i64)>,
    /// What clients said to PostgreSQL that arrived late, and since when it could.
    pub(super) late: Vec<(i64, Vec<u8>)>,
    /// Uploads to a full store: code, and whether they left nothing behind.
    pub(super) full: Vec<(String, bool)>,
    pub(super) disk: &'static str,
    /// Requests that were answered right before the API was killed.
    pub(super) bells_lost: u64,
}

impl Log {
    pub(super) fn new(tell: Tell) -> Self {
        Self {
            tell,
            began: now_micros(),
            made: BTreeMap::new(),
            kills: Vec::new(),
            pauses: Vec::new(),
            outages: Vec::new(),
            late: Vec::new(),
            full: Vec::new(),
            disk: "",
            bells_lost: 0,
        }
    }

    /// A line of progress, with its time.
    pub(super) fn say(&self, what: &str) {
        let tenths = (now_micros() - self.began) / 100_000;
        (self.tell)(&format!("{:>5}.{} s  {what}", tenths / 10, tenths % 10));
    }

    pub(super) fn calm(&self) {
        self.say("all faults are off");
    }
}

/// What a fault works with.
pub(super) struct Hand<'a> {
    pub(super) settings: &'a Settings,
    pub(super) stage: &'a mut Stage,
    pub(super) traffic: &'a Traffic,
    pub(super) dice: &'a mut Dice,
    pub(super) log: &'a mut Log,
    /// A worker that holds runs, if that matters.
    pub(super) busy: Option<String>,
}

impl Hand<'_> {
    /// Does it, and undoes it.
    pub(super) async fn make(&mut self, fault: Fault) -> Result<(), LabError> {
        *self.log.made.entry(fault).or_default() += 1;
        let drawn = self.dice.below(self.stage.workers.len());
        let busy = self.stage.workers.iter().position(|member| Some(&member.name) == self.busy.as_ref());
        let victim = busy.unwrap_or(drawn);
        let short = self.dice.within(500..2_500);
        match fault {
            Fault::KillWorker => self.kill_worker(victim).await,
            Fault::PauseWorker => self.pause(victim).await,
            Fault::RollWorkers => self.roll().await,
            Fault::KillApi => self.kill_api().await,
            Fault::LoseBell => self.lose_bell().await,
            Fault::RestartRedis | Fault::EmptyRedis => self.restart_redis(fault == Fault::EmptyRedis, short).await,
            Fault::FlushRedis => {
                self.log.say("FLUSHALL");
                match &self.stage.redis {
                    Some(redis) => redis.flush().await,
                    None => Ok(()),
                }
            }
            Fault::CutRedis => {
                self.log.say("all connections to Redis are reset");
                let members = self.stage.api.iter().chain(&self.stage.workers);
                members.filter_map(|member| member.redis.as_ref()).for_each(crate::proxy::Proxy::cut);
                Ok(())
            }
            Fault::HoleRedis => {
                self.with_worker(victim, "Redis is a black hole", short * 2, |member| {
                    member.redis.iter().for_each(crate::proxy::Proxy::black_hole);
                })
                .await
            }
            Fault::CutPostgres => self.cut_postgres(),
            Fault::DelayPostgres => {
                let by = self.dice.within(20..150);
                let what = format!("PostgreSQL is {} ms away", by.as_millis());
                self.with_worker(victim, &what, short * 2, |member| {
                    member.postgres.iter().for_each(|proxy| proxy.delay(by));
                })
                .await
            }
            Fault::RefusePostgres => {
                self.with_worker(victim, "PostgreSQL refuses", short, |member| {
                    if let Some(proxy) = &member.postgres {
                        proxy.refuse();
                        proxy.cut();
                    }
                })
                .await
            }
            Fault::LateWrites => self.late_writes(victim).await,
            Fault::StopPostgres => self.stop_postgres(Signal::INT, short).await,
            Fault::CrashPostgres => self.stop_postgres(Signal::QUIT, short).await,
            Fault::FillDisk => self.fill_disk(short).await,
            Fault::CutNode => {
                self.log.say("all connections to the node are reset");
                self.stage.node_proxy.cut();
                Ok(())
            }
            Fault::DelayNode => {
                self.log.say("the node is 150 ms away");
                self.stage.node_proxy.delay(Duration::from_millis(150));
                tokio::time::sleep(short * 2).await;
                self.stage.node_proxy.pass();
                Ok(())
            }
            Fault::LoseAnswer => {
                self.log.say("the node's answer to the next activation is lost");
                let activate = "/projects/*/bundles/imported/*/actions/activate";
                let armed = self.stage.node.arm(NodeFault::on("POST", activate, FaultKind::LostAnswer));
                armed.map(drop).map_err(|said| LabError::failed("a fault of the node", said))
            }
            Fault::LateCall => self.late_call().await,
        }
    }

    fn member(&self, place: usize) -> Result<&Member, LabError> {
        self.stage.workers.get(place).ok_or_else(|| LabError::failed("the schedule", "there is no worker"))
    }

    pub(super) async fn kill_worker(&mut self, victim: usize) -> Result<(), LabError> {
        let name = self.member(victim)?.name.clone();
        self.log.say(&format!("SIGKILL {name}"));
        if let Some(member) = self.stage.workers.get_mut(victim) {
            member.kill().await?;
        }
        self.log.kills.push((name, now_micros()));
        // One process alone must come back at once: nobody else is there.
        if self.stage.size == Size::Fleet {
            tokio::time::sleep(self.dice.within(100..2_000)).await;
        }
        self.stage.start_worker(victim).await
    }

    async fn pause(&mut self, victim: usize) -> Result<(), LabError> {
        let past = Duration::from_millis(self.settings.times.lease.lease_ms) + self.dice.within(800..2_500);
        let member = self.member(victim)?;
        let name = member.name.clone();
        member.signal(Signal::STOP);
        let from = now_micros();
        self.log.say(&format!("SIGSTOP {name} for {} ms", past.as_millis()));
        tokio::time::sleep(past).await;
        self.member(victim)?.signal(Signal::CONT);
        self.log.say(&format!("{name} wakes"));
        self.nobody_since(from);
        self.log.pauses.push((name, from, now_micros()));
        Ok(())
    }

    /// In the embedded size there is no other worker.
    fn nobody_since(&mut self, from: i64) {
        if self.stage.size == Size::Embedded {
            self.log.outages.push((from, now_micros()));
        }
    }

    async fn roll(&mut self) -> Result<(), LabError> {
        let from = now_micros();
        for place in 0..self.stage.workers.len() {
            self.log.say(&format!("SIGTERM {}", self.member(place)?.name));
            self.stage.roll(place).await?;
        }
        self.nobody_since(from);
        Ok(())
    }

    async fn kill_api(&mut self) -> Result<(), LabError> {
        self.log.say("SIGKILL the API");
        if let Some(api) = &mut self.stage.api {
            api.kill().await?;
        }
        self.stage.start_api().await
    }

    /// Its bells go into a black hole, and it dies right after its answer: what rings is certainly lost.
    async fn lose_bell(&mut self) -> Result<(), LabError> {
        self.log.say("the API's Redis is a black hole; the API is killed right after its next answer");
        let redis = |stage: &Stage, act: fn(&crate::proxy::Proxy)| {
            stage.api.iter().filter_map(|api| api.redis.as_ref()).for_each(act);
        };
        redis(self.stage, crate::proxy::Proxy::black_hole);
        let place = self.dice.below(1_000);
        if self.traffic.request(place).await.is_some() {
            self.log.bells_lost += 1;
        }
        if let Some(api) = &mut self.stage.api {
            api.kill().await?;
        }
        redis(self.stage, crate::proxy::Proxy::cut);
        redis(self.stage, crate::proxy::Proxy::pass);
        self.stage.start_api().await
    }

    async fn restart_redis(&mut self, empty: bool, away: Duration) -> Result<(), LabError> {
        let Some(redis) = &mut self.stage.redis else { return Ok(()) };
        let what = if empty { "without its data" } else { "with its data" };
        self.log.say(&format!("SIGKILL Redis; in {} ms it starts {what}", away.as_millis()));
        redis.stop().await?;
        if empty {
            redis.forget()?;
        }
        tokio::time::sleep(away).await;
        redis.start().await
    }

    /// A worker's proxies misbehave for a while.
    async fn with_worker(
        &mut self,
        victim: usize,
        what: &str,
        lasts: Duration,
        act: impl Fn(&Member),
    ) -> Result<(), LabError> {
        let member = self.member(victim)?;
        act(member);
        self.log.say(&format!("for {}, {what} for {} ms", member.name, lasts.as_millis()));
        tokio::time::sleep(lasts).await;
        for proxy in self.member(victim)?.postgres.iter().chain(&self.member(victim)?.redis) {
            proxy.pass();
        }
        Ok(())
    }

    fn cut_postgres(&mut self) -> Result<(), LabError> {
        let all: Vec<&Member> = self.stage.api.iter().chain(&self.stage.workers).collect();
        let Some(member) = all.get(self.dice.below(all.len())) else { return Ok(()) };
        self.log.say(&format!("{}'s connections to PostgreSQL are reset", member.name));
        member.postgres.iter().for_each(crate::proxy::Proxy::cut);
        Ok(())
    }

    async fn late_writes(&mut self, victim: usize) -> Result<(), LabError> {
        let past = Duration::from_millis(self.settings.times.lease.lease_ms) + self.dice.within(800..2_000);
        let member = self.member(victim)?;
        let (name, proxy) = (member.name.clone(), member.postgres.as_ref());
        let Some(proxy) = proxy else { return Ok(()) };
        proxy.take_late();
        proxy.trap(APPEND);
        // Without any requests it has nothing to write: then it is held all the same.
        if tokio::time::timeout(PAST_A_WRITE, proxy.sprung()).await.is_err() {
            proxy.black_hole();
        }
        self.log.say(&format!("what {name} says to PostgreSQL is held for {} ms", past.as_millis()));
        tokio::time::sleep(past).await;
        let from = now_micros();
        proxy.pass();
        // Whatever was kept goes at once; this is long enough for it to arrive.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let late = proxy.take_late();
        self.log.say(&format!("{} late bytes of {name} were delivered", late.len()));
        self.log.late.push((from, late));
        Ok(())
    }

    async fn stop_postgres(&mut self, signal: Signal, away: Duration) -> Result<(), LabError> {
        let Some(postgres) = &mut self.stage.postgres else { return Ok(()) };
        let how = if signal == Signal::QUIT { "crashes" } else { "stops" };
        self.log.say(&format!("PostgreSQL {how}, for {} ms at least", away.as_millis()));
        let from = now_micros();
        postgres.stop(signal).await?;
        tokio::time::sleep(away).await;
        postgres.start().await?;
        self.log.outages.push((from, now_micros()));
        self.log.say("PostgreSQL is back");
        Ok(())
    }

    /// An upload to a full disk is refused and leaves nothing behind; with room again it is taken.
    async fn fill_disk(&mut self, lasts: Duration) -> Result<(), LabError> {
        self.log.disk = self.stage.disk.told();
        let bundle = format!("full-{}", self.log.full.len() + 1);
        let client = self.stage.client.clone();
        let before = self.stage.disk.files();
        self.stage.disk.fill()?;
        self.log.say(self.log.disk);
        let refused = client.upload(furniture::bundle_of("FULL", &bundle)).await;
        let left = self.stage.disk.files();
        tokio::time::sleep(lasts).await;
        self.stage.disk.free()?;
        let code = match refused {
            Err(Trouble::Refused { code, .. }) => code,
            Err(Trouble::Lost(said)) => format!("no answer: {said}"),
            Ok(_) => "accepted".to_owned(),
        };
        self.log.say(&format!("an upload to it was answered {code}; it has room again"));
        let clean = left.is_subset(&before);
        self.log.full.push((code, clean));
        let taken = client.upload(furniture::bundle_of("FULL", &bundle)).await;
        if let Err(trouble) = taken {
            self.log.full.push((format!("with room again: {}", LabError::from(trouble)), false));
        }
        Ok(())
    }
}
