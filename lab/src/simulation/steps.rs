//! Scripted steps on a simulated node, and scripted hooks under simulated supervisors.

use std::{panic::resume_unwind, sync::Arc, time::Duration};

use async_trait::async_trait;
use engine::{
    failure::{Code, Failure, StepError, StepOutcome, StepResult},
    leases::Lease,
    plan::PlannedStep,
    slots::{Demand, Slots},
    step::StepContext,
    store::Store,
};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use worker::{Lost, context::Context, doer::Doer};

use super::{
    plan::NEEDED,
    store::pause,
    world::{Act, ActEnd, Script, World},
};
use crate::history::Record;

/// A call's effect shows this late at most, whether or not somebody still waits for it.
const LONGEST_CALL_MS: i64 = 600;
/// Longer than any attempt may take.
const STALL_MS: i64 = 6_000;
/// So long after a call was noted, one whose effect does not show did not happen.
const SETTLED_US: i64 = 2_000_000;
/// A note this old, when it is written at last, says too little about when the call is made.
const FRESH_US: i64 = 300_000;
/// How often a hook's supervisor is fed, in milliseconds.
const FEED: Duration = Duration::from_millis(40);
/// How soon a supervisor ends a hook.
const REAP_US: i64 = 8_000;

const TROUBLE: Code = Code::new("SCRIPTED");

/// One process's steps.
pub(super) struct Scripted {
    pub(super) world: Arc<World>,
    pub(super) store: Arc<dyn Store>,
    /// It has what some hooks need.
    pub(super) able: bool,
}

impl World {
    /// What the script says of a step; drawn when it is asked for the first time.
    fn script(&self, key: (i64, i64)) -> Script {
        if let Some(script) = self.lock().scripts.get(&key) {
            return script.clone();
        }
        let (trouble, panic) = {
            let inner = self.lock();
            (inner.profile.trouble, inner.profile.panic)
        };
        let script = self.draw(|chance| {
            let mut some = |most| if chance.percent(trouble) { chance.between(0, most) } else { 0 };
            Script {
                fails: some(3),
                not_yet: some(2),
                lost: some(2),
                stalls: (some(9) - 7).max(0),
                permanent: some(9) > 7,
                warns: some(9) > 7,
                takes_ms: chance.between(1, LONGEST_CALL_MS),
                panics: chance.percent(panic),
                unknown: chance.percent(50),
            }
        });
        self.lock().scripts.insert(key, script.clone());
        script
    }

    fn rewrite(&self, key: (i64, i64), change: impl FnOnce(&mut Script)) {
        if let Some(script) = self.lock().scripts.get_mut(&key) {
            change(script);
        }
    }

    fn shows(&self, key: (i64, i64)) -> bool {
        self.at_once(|inner, _| inner.effects.contains_key(&key))
    }

    /// What the supervisors do until now: ends hooks that are at their end, past their deadline, or to be ended.
    pub(super) fn supervise(&self) {
        let (ended, now): (Vec<(Act, ActEnd)>, i64) = self.at_once(|inner, now| {
            // Whatever comes first.
            let end_of = |act: &Act| {
                let ends = [
                    (act.ends_at, ActEnd::ByItself),
                    (act.deadline, ActEnd::AtDeadline),
                    (act.ordered_at.map_or(i64::MAX, |at| at + REAP_US), ActEnd::Ordered),
                ];
                ends.into_iter().filter(|(at, _)| *at <= now).min_by_key(|(at, _)| *at).map(|(_, end)| end)
            };
            let over: Vec<(u64, ActEnd)> =
                inner.acts.iter().filter_map(|(id, act)| end_of(act).map(|end| (*id, end))).collect();
            let ended = over.into_iter().filter_map(|(id, end)| inner.acts.remove(&id).map(|act| (act, end))).collect();
            (ended, now)
        });
        for (mut act, end) in ended {
            self.see_hook(&act, Some(now));
            self.tell(|| format!("hook {:?} ended: {end:?}", act.key));
            if let Some(told) = act.told.take() {
                let _ = told.send(end);
            }
        }
    }

    fn see_hook(&self, act: &Act, until: Option<i64>) {
        let (run, step, attempt) = act.key;
        let pool = super::plan::POOL.to_owned();
        self.lock().rows.seen.push(Record::Hook { run, step, attempt, pool, from: act.from, until });
    }

    /// Hooks that are there at the end of the watch.
    pub(super) fn see_rest_of_hooks(&self) {
        let acts = std::mem::take(&mut self.lock().acts);
        for act in acts.values() {
            self.see_hook(act, None);
        }
    }

    fn change_act(&self, id: u64, change: impl FnOnce(&mut Act, i64)) {
        self.at_once(|inner, now| {
            if let Some(act) = inner.acts.get_mut(&id) {
                change(act, now);
            }
        });
    }
}

/// Somebody is at a step, until this is dropped.
struct Work<'a> {
    world: &'a World,
    run: i64,
    epoch: i64,
    step: i64,
    from: i64,
}

impl<'a> Work<'a> {
    fn begin(world: &'a World, context: &Context) -> Self {
        let (run, epoch, step) = (context.run().0, context.state().epoch, context.step() as i64);
        Self { world, run, epoch, step, from: world.at_once(|_, now| now) }
    }
}

impl Drop for Work<'_> {
    fn drop(&mut self) {
        let (run, epoch, step, from) = (self.run, self.epoch, self.step, self.from);
        self.world.at_once(|inner, until| inner.rows.seen.push(Record::Work { run, epoch, step, from, until }));
    }
}

/// The control socket of one hook: closed when it is dropped.
struct Socket<'a>(&'a World, u64);

impl Drop for Socket<'_> {
    fn drop(&mut self) {
        self.0.change_act(self.1, |act, now| {
            act.ordered_at.get_or_insert(now);
        });
    }
}

fn failure() -> Failure {
    Failure::new(TROUBLE, "The script says no.")
}

/// What a step is for, as the node sees it: the same for a run and those that retry it.
fn key(context: &Context) -> (i64, i64) {
    (context.state().spec.body.as_i64().unwrap_or(context.run().0), context.step() as i64)
}

impl Scripted {
    /// Something is asked of the node: late, lost, or at the cost of the process.
    async fn travel(&self, what: &str, when: &str) -> Result<(), StepError> {
        let fate = self.world.fate(false);
        pause(fate.before_ms).await;
        let struck = self.world.strike(fate.fault_before.or(fate.fault_after), what, when).await;
        struck.map_err(|()| failure().retryable(None))
    }

    async fn now(&self) -> Result<i64, StepError> {
        self.store.now().await.map_err(|_| failure().retryable(None))
    }

    /// Looks, acts, looks again.
    async fn call(&self, context: &Context, script: &Script) -> StepResult {
        let key = key(context);
        let note = format!("intent/{}", key.1);
        self.travel("look", "at").await?;
        if self.world.shows(key) {
            return Ok(StepOutcome::output(json!({ "shown": true })));
        }
        if let Some(noted) = context.note(&note).and_then(|at| at.as_i64())
            && self.now().await? < noted + SETTLED_US
        {
            return Ok(StepOutcome::NotYet { check_in: Duration::from_millis(200) });
        }
        if self.world.shows(key) {
            return Ok(StepOutcome::output(json!({ "shown": true })));
        }
        loop {
            let now = self.now().await?;
            context.put_note(&note, Value::from(now)).await?;
            if self.now().await? < now + FRESH_US {
                break;
            }
        }
        self.world.tell(|| format!("calls the node for {key:?}"));
        self.world.at_once(|inner, now| {
            inner.coming.push((now + script.takes_ms * 1_000, key));
            inner.rows.seen.push(Record::Call { run: key.0, step: key.1, at: now });
        });
        pause(script.takes_ms).await;
        if script.lost > 0 {
            self.world.rewrite(key, |script| script.lost -= 1);
            return Err(failure().retryable(None));
        }
        self.travel("answer", "of").await?;
        match self.world.shows(key) {
            true => Ok(StepOutcome::output(json!({ "shown": true }))),
            false => Ok(StepOutcome::NotYet { check_in: Duration::from_millis(100) }),
        }
    }

    /// A hook under its supervisor, until that one says that no process is left.
    async fn supervised(
        &self,
        context: &Context,
        stop: &CancellationToken,
        takes_ms: i64,
        panics: bool,
    ) -> Option<ActEnd> {
        let lease: &Lease = context.lease();
        let deadline = || *lease.hooks_until.borrow() / 1_000;
        let (told, mut ended) = oneshot::channel();
        let key = (context.run().0, context.step() as i64, i64::from(context.attempt()));
        let first = deadline();
        let id = self.world.at_once(|inner, now| {
            // Compared again immediately before it begins.
            if first <= now {
                return None;
            }
            inner.next_act += 1;
            let ends_at = now + takes_ms * 1_000;
            let act = Act { key, from: now, ends_at, deadline: first, ordered_at: None, told: Some(told) };
            inner.acts.insert(inner.next_act, act);
            Some(inner.next_act)
        })?;
        self.world.tell(|| format!("hook {key:?} begins"));
        let _socket = Socket(&self.world, id);
        if panics {
            self.world.rewrite(self::key(context), |script| script.panics = false);
            pause(5).await;
            self.world.tell(|| format!("FAULT the driver of hook {key:?} panics"));
            resume_unwind(Box::new("scripted"));
        }
        loop {
            tokio::select! {
                biased;
                end = &mut ended => return end.ok(),
                () = stop.cancelled() => break,
                () = tokio::time::sleep(FEED) => {
                    let newest = deadline();
                    self.world.change_act(id, |act, _| act.deadline = newest);
                }
            }
        }
        self.world.change_act(id, |act, now| {
            act.ordered_at.get_or_insert(now);
        });
        ended.await.ok()
    }
}

#[async_trait]
impl Doer for Scripted {
    async fn perform(&self, context: &Context, planned: &PlannedStep) -> StepResult {
        let _work = Work::begin(&self.world, context);
        let key = key(context);
        let script = self.world.script(key);
        self.travel("step", "in").await?;
        if script.not_yet > 0 {
            self.world.rewrite(key, |script| script.not_yet -= 1);
            return Ok(StepOutcome::NotYet { check_in: Duration::from_millis(150) });
        }
        if script.fails > 0 {
            self.world.rewrite(key, |script| script.fails -= 1);
            return Err(failure().retryable(None));
        }
        if script.permanent && script.unknown && planned.kind == "call" {
            self.world.rewrite(key, |script| script.permanent = false);
            return Err(failure().outcome_unknown().permanent());
        }
        if script.permanent {
            return Err(failure().permanent());
        }
        if script.stalls > 0 {
            self.world.rewrite(key, |script| script.stalls -= 1);
            pause(STALL_MS).await;
        }
        match planned.kind.as_str() {
            "call" => self.call(context, &script).await,
            _ => {
                pause(script.takes_ms / 4).await;
                let warnings = if script.warns { vec!["careful".to_owned()] } else { Vec::new() };
                Ok(StepOutcome::Done { output: Value::from(1), warnings })
            }
        }
    }

    async fn hook(
        &self,
        context: &Context,
        _: &PlannedStep,
        slots: &Slots,
        demand: &Demand,
        stop: CancellationToken,
    ) -> StepResult {
        let _work = Work::begin(&self.world, context);
        let script = self.world.script(key(context));
        match slots.holds(demand).await {
            Ok(true) => {}
            Ok(false) => return Err(StepError::LeaseLost),
            Err(_) => return Ok(StepOutcome::NotYet { check_in: Duration::from_millis(500) }),
        }
        if stop.is_cancelled() {
            return Err(StepError::Cancelled);
        }
        match self.supervised(context, &stop, script.takes_ms, script.panics).await {
            Some(ActEnd::ByItself) if script.permanent => Err(failure().permanent()),
            Some(ActEnd::ByItself) => Ok(StepOutcome::output(Value::from(1))),
            Some(ActEnd::Ordered) => Err(StepError::Cancelled),
            Some(ActEnd::AtDeadline) | None => Err(StepError::LeaseLost),
        }
    }

    async fn leave_safe(&self, _: &Context) -> Result<Option<String>, Lost> {
        pause(self.world.draw(|chance| chance.between(0, 300))).await;
        Ok(None)
    }

    fn is_in_flight(&self, context: &Context) -> bool {
        context.note(&format!("intent/{}", context.step())).is_some()
    }

    fn lacks(&self, planned: &PlannedStep) -> Option<String> {
        (!self.able && planned.params == NEEDED).then(|| NEEDED.to_owned())
    }

    async fn forget_old(&self) {}
}
