//! Who runs when, and what befalls them: all drawn from the seed.

use std::{collections::VecDeque, io, sync::Arc};

use engine::{
    bell::News,
    clock::simulated::install,
    ids::{self, RunId},
    runs::Cancel,
};

use super::{
    Outcome, plan,
    process::{Process, Ran},
    profile::Profile,
    world::{BEGIN_US, Given, World},
};
use crate::{
    checker,
    history::Record,
    rows::{Break, Rows},
};

/// So long faults strike and requests come, in microseconds.
const STORMY_US: (i64, i64) = (3_000_000, 9_000_000);
/// A process that is struck rests so many times before, at most, and is polled so many times after that.
const MOST_RESTS: i64 = 8;
/// See [`MOST_RESTS`].
const MOST_POLLS: i64 = 16;
/// How often an API process looks for cancels that no worker sees, in microseconds; from the second look on it does not wait for a worker.
const LOOKS_US: i64 = 1_000_000;
/// So long after that, all must have ended.
const PATIENCE_US: i64 = 90_000_000;

/// One place in which worker processes live, one after the other.
struct Place {
    process: Option<Process>,
    starts_at: i64,
}

/// A message under way.
struct Letter<T> {
    at: i64,
    to: usize,
    what: T,
}

struct Scheduler {
    world: Arc<World>,
    places: Vec<Place>,
    lives: u64,
    /// The Redis list.
    jobs: VecDeque<RunId>,
    late_jobs: Vec<Letter<RunId>>,
    bells: Vec<Letter<News>>,
    away_until: i64,
    /// What people will ask for: when, of which deployment.
    requests: Vec<(i64, String)>,
    runs: Vec<RunId>,
    /// When an API process looks for cancels that no worker sees.
    looks_at: i64,
    /// What it found then.
    unseen: Vec<RunId>,
    stormy: bool,
}

/// One seed, from its first request to the last end. `profile`: instead of the one that is drawn.
pub(super) fn run(seed: u64, broken: Option<Break>, trace: bool, profile: Option<Profile>) -> io::Result<Outcome> {
    let mut rows = Rows::new(plan::POOL, 1, broken);
    rows.set_limit(BEGIN_US, plan::POOL, 1);
    let world = World::new(seed, rows, trace);
    if let Some(profile) = profile {
        world.lock().profile = profile;
    }
    let _installed = install(std::rc::Rc::new(Given(Arc::clone(&world))));
    let (places, requests, deployments, stormy_us) = world.draw(|chance| {
        (chance.between(2, 4), chance.between(3, 8), chance.between(1, 3), chance.between(STORMY_US.0, STORMY_US.1))
    });
    let mut scheduler = Scheduler {
        places: (0..places).map(|_| Place { process: None, starts_at: BEGIN_US }).collect(),
        lives: 0,
        jobs: VecDeque::new(),
        late_jobs: Vec::new(),
        bells: Vec::new(),
        away_until: 0,
        requests: Vec::new(),
        runs: Vec::new(),
        looks_at: BEGIN_US,
        unseen: Vec::new(),
        stormy: true,
        world: Arc::clone(&world),
    };
    let limit = world.draw(|chance| chance.between(1, 2));
    world.at_once(|inner, now| inner.rows.set_limit(now, plan::POOL, limit));
    scheduler.plan_requests(requests, deployments, stormy_us);
    let calm_at = BEGIN_US + stormy_us;
    loop {
        let now = world.lock().round_us;
        if scheduler.stormy && now >= calm_at {
            scheduler.calm(now);
        }
        if !scheduler.stormy && scheduler.is_over() || now >= calm_at + PATIENCE_US {
            break;
        }
        scheduler.round(now)?;
    }
    let virtual_us = world.lock().round_us - BEGIN_US;
    let runs = scheduler.runs.len();
    // Whoever is still there has hooks that are.
    for place in &mut scheduler.places {
        place.process = None;
    }
    world.see_rest_of_hooks();
    let records = world.at_once(|inner, now| {
        let registered = inner.registered.clone();
        inner.rows.see_workers(|worker| {
            let place = registered.iter().position(|(_, other, _)| *other == worker)?;
            let (life, ..) = registered.get(place)?;
            registered.get(place + 1..)?.iter().find(|(later, ..)| later == life).map(|(.., at)| *at)
        });
        inner.rows.seen.push(Record::Closed { at: now, records: None });
        std::mem::take(&mut inner.rows.seen)
    });
    let violations = checker::check(&records, 0);
    Ok(Outcome { seed, runs, virtual_us, violations, trace: world.take_trace(), records })
}

impl Scheduler {
    fn plan_requests(&mut self, requests: i64, deployments: i64, stormy_us: i64) {
        let mut at = BEGIN_US;
        self.requests = self.world.draw(|chance| {
            let mut planned = Vec::new();
            for _ in 0..requests {
                // Some race, at one instant.
                if chance.percent(60) {
                    at = BEGIN_US + chance.between(0, stormy_us * 2 / 3);
                }
                planned.push((at, format!("d{}", chance.between(1, deployments))));
            }
            planned
        });
        self.requests.sort();
    }

    /// All runs that were and will be requested have ended.
    fn is_over(&self) -> bool {
        let inner = self.world.lock();
        self.requests.is_empty() && inner.rows.runs.values().all(|run| run.row.ended_at.is_some())
    }

    fn calm(&mut self, now: i64) {
        self.world.tell(|| "the storm is over");
        self.stormy = false;
        self.world.lock().profile.calm();
        self.away_until = 0;
        for place in &mut self.places {
            place.starts_at = place.starts_at.min(now);
            if let Some(process) = &mut place.process {
                process.put_out();
                process.paused_until = process.paused_until.map(|_| now);
            }
        }
    }

    /// Everybody runs a little, in any order.
    fn round(&mut self, now: i64) -> io::Result<()> {
        let stormy = self.stormy;
        let until =
            now + 1_000 * self.world.draw(|chance| if stormy { chance.between(4, 45) } else { chance.between(20, 60) });
        let mut actors: Vec<usize> = (0..self.places.len() + 2).collect();
        self.world.draw(|chance| chance.shuffle(&mut actors));
        for actor in actors {
            match actor.checked_sub(self.places.len()) {
                None => self.run_place(actor, now, until)?,
                Some(0) => self.people(now),
                Some(_) => {
                    self.world.lock().round_us = until;
                    self.world.supervise();
                    self.world.lock().round_us = now;
                    self.messages(now);
                }
            }
        }
        self.world.lock().round_us = until;
        Ok(())
    }

    fn run_place(&mut self, index: usize, now: i64, until: i64) -> io::Result<()> {
        let (world, Some(place)) = (Arc::clone(&self.world), self.places.get_mut(index)) else { return Ok(()) };
        let Some(process) = &mut place.process else {
            if now >= place.starts_at {
                self.lives += 1;
                place.process = Some(Process::start(&world, index, self.lives)?);
            }
            return Ok(());
        };
        if let Some(paused_until) = process.paused_until {
            if now < paused_until {
                return Ok(());
            }
            world.tell(|| format!("p{index} wakes"));
            process.wake(now);
        }
        process.queue.set_away(now < self.away_until);
        let strike = world.lock().profile.strike;
        if let Some((rests, polls)) = world.draw(|chance| {
            chance.in_a_million(strike).then(|| (chance.between(0, MOST_RESTS), chance.between(1, MOST_POLLS)))
        }) {
            process.light(rests, polls);
        }
        let ran = process.run_until(until);
        match ran {
            Ran::On => self.strike_place(index, until),
            Ran::Struck if world.draw(|chance| chance.percent(50)) => self.pause(index, until),
            _ => {
                world.tell(|| format!("p{index} {ran:?}"));
                place.process = None;
                let down_ms = world.draw(|chance| chance.between(0, 2_500));
                place.starts_at = now + down_ms * 1_000;
            }
        }
        Ok(())
    }

    /// Beyond the lease, or within it.
    fn pause(&mut self, index: usize, now: i64) {
        let ms = self.world.draw(|chance| chance.one_of(&[100, 450, 900, 1_500, 4_000], 900));
        self.world.tell(|| format!("FAULT p{index} is paused for {ms} ms"));
        if let Some(process) = self.places.get_mut(index).and_then(|place| place.process.as_mut()) {
            process.paused_until = Some(now + ms * 1_000);
        }
    }

    /// What befalls a process between two moments.
    fn strike_place(&mut self, index: usize, now: i64) {
        let (pause, drain) = {
            let inner = self.world.lock();
            (inner.profile.pause, inner.profile.drain)
        };
        if self.world.draw(|chance| chance.in_a_million(pause)) {
            self.pause(index, now);
            return;
        }
        let Some(process) = self.places.get_mut(index).and_then(|place| place.process.as_mut()) else { return };
        if self.world.draw(|chance| chance.in_a_million(drain)) {
            let at_once = self.world.draw(|chance| chance.percent(30));
            self.world.tell(|| format!("p{index} is told to drain{}", if at_once { ", at once" } else { "" }));
            if at_once { process.stop_now() } else { process.drain() }
        }
    }

    /// Requests, cancels, a new limit, an operator who clears up.
    fn people(&mut self, now: i64) {
        let world = Arc::clone(&self.world);
        while self.requests.first().is_some_and(|(at, _)| *at <= now) {
            let (_, deployment) = self.requests.remove(0);
            let spec = world.draw(plan::spec);
            let id = ids::fresh();
            let requested = world.at_once(|inner, now| inner.rows.request(now, id, &deployment, &spec));
            world.tell(|| {
                let steps: Vec<&str> = spec.plan.steps.iter().map(|step| step.name.as_str()).collect();
                format!(
                    "run {} requested, {deployment} number {}: {}",
                    requested.run,
                    requested.run_no,
                    steps.join(", ")
                )
            });
            self.runs.push(requested.run);
            self.ring(now, requested.run);
        }
        let (cancel, limit) = {
            let inner = world.lock();
            (inner.profile.cancel, inner.profile.limit)
        };
        if world.draw(|chance| chance.in_a_million(cancel))
            && let Some(run) =
                world.draw(|chance| chance.one_of(&self.runs.iter().copied().map(Some).collect::<Vec<_>>(), None))
        {
            self.cancel(now, run);
        }
        if now >= self.looks_at {
            self.looks_at = now + LOOKS_US;
            self.see_to_cancels(now);
        }
        if world.draw(|chance| chance.in_a_million(limit)) {
            let limit = world.draw(|chance| chance.between(1, 3));
            world.tell(|| format!("the limit is {limit} from now on"));
            world.at_once(|inner, now| inner.rows.set_limit(now, plan::POOL, limit));
        }
        let stuck: Vec<RunId> = {
            let inner = world.lock();
            let stuck = inner.rows.runs.values().filter(|run| run.row.status == "STUCK");
            stuck.map(|run| RunId(run.row.id)).collect()
        };
        for run in stuck {
            if world.draw(|chance| chance.percent(5)) {
                self.decide(now, run);
            }
        }
    }

    /// An operator looks at a stuck run, and gives it up, or has it tried again.
    fn decide(&mut self, now: i64, run: RunId) {
        let world = Arc::clone(&self.world);
        let again = world.draw(|chance| chance.percent(50)).then(ids::fresh);
        world.tell(|| {
            format!("run {run} is given up by an operator{}", if again.is_some() { ", and retried" } else { "" })
        });
        let retried = world.at_once(|inner, now| {
            let loaded = inner.rows.load(run).ok()??;
            inner.rows.abandon(now, run, "operator").ok().filter(|abandoned| *abandoned)?;
            Some(inner.rows.request(now, again?, &loaded.row.deployment_id, &plan::retry(run, &loaded.state)))
        });
        if let Some(retried) = retried {
            self.runs.push(retried.run);
            self.ring(now, retried.run);
        }
    }

    fn cancel(&mut self, now: i64, run: RunId) {
        let answer = self.world.at_once(|inner, now| inner.rows.cancel(now, run, "bob"));
        self.world.tell(|| format!("run {run} is to be cancelled: {answer:?}"));
        match answer {
            Ok(Cancel::Asked) => self.ring(now, run),
            Ok(Cancel::Ended) => self.ring_next(now, run),
            _ => {}
        }
    }

    /// The run that waited behind this one.
    fn ring_next(&mut self, now: i64, run: RunId) {
        let next = {
            let inner = self.world.lock();
            let deployment = inner.rows.runs.get(&run.0).map(|run| run.row.deployment_id.clone());
            deployment.and_then(|name| inner.rows.next_of_deployment(&name))
        };
        if let Some(next) = next {
            self.ring(now, next);
        }
    }

    /// What an API process does for cancels that no worker sees.
    fn see_to_cancels(&mut self, now: i64) {
        let unseen = self.world.at_once(|inner, now| {
            let unseen = inner.rows.unseen_cancels(now);
            if !unseen.is_empty() {
                inner.rows.end_lapsed(now);
            }
            unseen
        });
        for run in &unseen {
            let before = self.unseen.contains(run);
            let ended = self.world.at_once(|inner, now| inner.rows.end_unseen(now, *run, before));
            self.world.tell(|| format!("run {run} is to be cancelled, and nobody has it: {ended:?}"));
            match ended {
                Ok(true) => self.ring_next(now, *run),
                _ if !before => self.ring(now, *run),
                _ => {}
            }
        }
        self.unseen = unseen;
    }

    /// How often, and how late, a message arrives.
    fn fates(&self) -> Vec<i64> {
        let (lost, doubled, delayed) = {
            let profile = &self.world.lock().profile;
            (profile.bell_lost, profile.bell_doubled, profile.bell_delayed)
        };
        self.world.draw(|chance| {
            let copies = if chance.percent(lost) { 0 } else { 1 + i64::from(chance.percent(doubled)) };
            (0..copies).map(|_| if chance.percent(delayed) { chance.between(10, 1_500) } else { 0 } * 1_000).collect()
        })
    }

    fn ring(&mut self, now: i64, run: RunId) {
        if now < self.away_until {
            return;
        }
        for late in self.fates() {
            self.late_jobs.push(Letter { at: now + late, to: 0, what: run });
        }
    }

    /// What Redis does: the list, the bells, and its own troubles.
    fn messages(&mut self, now: i64) {
        let (wipe, away) = {
            let profile = &self.world.lock().profile;
            (profile.wipe, profile.away)
        };
        if self.world.draw(|chance| chance.in_a_million(wipe)) {
            self.world.tell(|| format!("FAULT the queue is wiped, with {} jobs", self.jobs.len()));
            self.jobs.clear();
        }
        if self.world.draw(|chance| chance.in_a_million(away)) {
            let ms = self.world.draw(|chance| chance.between(500, 3_000));
            self.world.tell(|| format!("FAULT the queue is away for {ms} ms"));
            self.away_until = now + ms * 1_000;
        }
        let (mut rung, mut told) = (Vec::new(), Vec::new());
        for (index, place) in self.places.iter_mut().enumerate() {
            let Some(process) = &mut place.process else { continue };
            while let Ok(run) = process.rung.try_recv() {
                rung.push(run);
            }
            while let Ok(news) = process.told.try_recv() {
                told.push((index, news));
            }
        }
        for run in rung {
            self.ring(now, run);
        }
        // Journals' news are for whoever follows a run: no worker listens.
        for (from, news) in told.into_iter().filter(|(_, news)| matches!(news, News::Slots(_))) {
            for to in (0..self.places.len()).filter(|to| *to != from) {
                if now >= self.away_until {
                    for late in self.fates() {
                        self.bells.push(Letter { at: now + late, to, what: news.clone() });
                    }
                }
            }
        }
        let due: Vec<_> = self.late_jobs.extract_if(.., |letter| letter.at <= now).collect();
        self.jobs.extend(due.into_iter().map(|letter| letter.what));
        for letter in self.bells.extract_if(.., |letter| letter.at <= now).collect::<Vec<_>>() {
            if let Some(process) = self.places.get(letter.to).and_then(|place| place.process.as_ref()) {
                process.bell.hear(letter.what);
            }
        }
        self.hand_out(now);
    }

    /// Whoever reads the list gets the next one.
    fn hand_out(&mut self, now: i64) {
        if now < self.away_until {
            return;
        }
        let mut readers: Vec<usize> = (0..self.places.len()).collect();
        self.world.draw(|chance| chance.shuffle(&mut readers));
        for reader in readers {
            let Some(process) = self.places.get(reader).and_then(|place| place.process.as_ref()) else { continue };
            if let Some(run) = self.jobs.front().copied()
                && process.jobs.try_send(run).is_ok()
            {
                self.jobs.pop_front();
            }
        }
    }
}
