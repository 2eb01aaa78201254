//! A run driven by its journal alone. It loads, claims, does, and commits exactly as a worker does; a crash loses all but the stored events.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

use crate::{
    failure::{Code, Failure, StepError, StepOutcome, StepResult},
    ids::{RunId, WorkerId},
    journal::{
        Event, Kind, NewEvent, Next, Phase, State, follow,
        outcome::{self, Settled},
    },
    plan::{OnFailure, OnInterrupt, Plan, PlannedStep, SlotDemand, StepPolicy},
    retry::RetryPolicy,
    spec::{Inherited, RunSpec},
};

pub(super) const BROKEN: Code = Code::new("BROKEN");
pub(super) const POST_HOOK: &str = "post_hooks/1";
pub(super) const RESTORE: &str = "restore";
pub(super) const STEPS: [&str; 8] =
    ["check_policy", "pre_hooks/1", "validate_remap", "push_bundle", "activate", "enforce_run_as", "verify", POST_HOOK];

fn step(name: &str) -> PlannedStep {
    let hook = name.contains("hooks/");
    let (kind, lane) = match name.split_once('/') {
        Some((kind, lane)) if !hook => (kind, Some(lane.to_owned())),
        _ => (name, None),
    };
    let retry = RetryPolicy { max_attempts: 3, initial_ms: 1_000, cap_ms: 10_000 };
    PlannedStep {
        name: name.to_owned(),
        kind: if hook { "hook" } else { kind }.to_owned(),
        policy: StepPolicy { retry: if hook { RetryPolicy::NEVER } else { retry }, deadline_ms: 60_000 },
        params: Value::Null,
        restorable: ["activate", "enforce_run_as", "verify"].contains(&kind),
        only_after_failure: kind == RESTORE,
        slot: hook.then(|| SlotDemand { pool: "hooks".to_owned(), wait_ms: 10_000 }),
        on_interrupt: if name == POST_HOOK { OnInterrupt::Fail } else { OnInterrupt::Rerun },
        failure_warns: name == POST_HOOK,
        lane,
    }
}

pub(super) fn spec(on_failure: OnFailure) -> RunSpec {
    let restore = (on_failure == OnFailure::Restore).then_some(RESTORE);
    of_steps(STEPS.into_iter().chain(restore), on_failure)
}

/// A plan of these steps, by their names; what follows a slash is a lane.
pub(super) fn of_steps<'a>(steps: impl Iterator<Item = &'a str>, on_failure: OnFailure) -> RunSpec {
    let plan = Plan::new(steps.map(step).collect(), on_failure);
    RunSpec { plan, requester: "ada".to_owned(), body: json!({ "bundle": "v1" }), inherited: None }
}

/// What a step answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Done,
    Warned,
    NotYetOnce,
    /// Six attempts look once, and are told to come again later at the next look.
    RefusedBetweenLooks,
    /// Every attempt looks once and fails then.
    BrokenBetweenLooks,
    RetryableOnce,
    RetryableForEver,
    Permanent,
    Unknown,
    SlotTimeout,
}

impl Answer {
    pub(super) const ALL: [Self; 8] = [
        Self::Done,
        Self::Warned,
        Self::NotYetOnce,
        Self::RetryableOnce,
        Self::RetryableForEver,
        Self::Permanent,
        Self::Unknown,
        Self::SlotTimeout,
    ];
}

/// When the worker dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Crash {
    /// What was done is lost: the commit with this number, from 0, is never made.
    Before(usize),
    /// The commit is made, and nobody hears of it.
    After(usize),
}

/// The worker died.
#[derive(Debug)]
pub(super) struct Died;

pub(super) struct Sim {
    pub(super) journal: Vec<Event>,
    /// By name; [`Answer::Done`] if not named.
    pub(super) answers: BTreeMap<&'static str, Answer>,
    pub(super) crash: Option<Crash>,
    /// Somebody asks to cancel after this many commits.
    pub(super) cancel_after: Option<usize>,
    /// How often each step acted.
    pub(super) acted: BTreeMap<String, u32>,
    pub(super) commits: usize,
    now: i64,
    crashed_while: Option<(String, bool)>,
}

impl Sim {
    pub(super) fn new(spec: RunSpec) -> Self {
        let first = NewEvent::run(Kind::Requested { spec: Box::new(spec) }).dated(1, 0, 1);
        Self {
            journal: vec![first],
            answers: BTreeMap::new(),
            crash: None,
            cancel_after: None,
            acted: BTreeMap::new(),
            commits: 0,
            now: 1,
            crashed_while: None,
        }
    }

    pub(super) fn inheriting(mut self, inherited: Inherited) -> Self {
        let Kind::Requested { spec } = &mut self.journal[0].kind else { unreachable!("the first event") };
        spec.inherited = Some(inherited);
        self
    }

    pub(super) fn answer(mut self, step: &'static str, answer: Answer) -> Self {
        self.answers.insert(step, answer);
        self
    }

    pub(super) fn state(&self) -> State {
        State::fold(&self.journal).expect("a journal that folds")
    }

    /// The journal up to the beginning of this step's first attempt.
    pub(super) fn until_started(mut self, step: &str) -> Self {
        let index = self.state().spec.plan.steps.iter().position(|planned| planned.name == step);
        let quiet = Self { answers: self.answers.clone(), ..Self::new((*self.state().spec).clone()) }.run();
        let starts = |event: &Event| event.step == index && event.kind == Kind::StepStarted;
        let until = quiet.journal.iter().position(starts).expect("the step begins");
        self.journal = quiet.journal[..=until].to_vec();
        self
    }

    /// Somebody took the run and has not given it back.
    fn is_held(&self) -> bool {
        let last = self.journal.iter().rev().find_map(|event| match event.kind {
            Kind::Claimed { .. } => Some(true),
            Kind::Parked { .. }
            | Kind::StepYielded { .. }
            | Kind::LeaseReleased { .. }
            | Kind::Stuck { .. }
            | Kind::Finished { .. } => Some(false),
            _ => None,
        });
        last == Some(true)
    }

    /// The step under way when the worker died, and whether it may have acted.
    pub(super) fn crashed_while(&self) -> Option<(&str, bool)> {
        self.crashed_while.as_ref().map(|(step, acts)| (step.as_str(), *acts))
    }

    /// Workers come and go until the run has ended or is stuck.
    pub(super) fn run(mut self) -> Self {
        for _ in 0..100 {
            if matches!(self.state().phase, Phase::Ended { .. } | Phase::Stuck) {
                self.check();
                return self;
            }
            if self.one_claim().is_err() {
                let state = self.state();
                self.crashed_while = state
                    .under_way()
                    .map(|(step, attempt)| (state.spec.plan.steps[step].name.clone(), attempt.acts))
                    .or_else(|| Some((String::new(), false)));
            }
        }
        panic!("the run does not end: {:#?}", self.journal);
    }

    /// One worker's time with the run: from its claim until the run rests.
    pub(super) fn one_claim(&mut self) -> Result<(), Died> {
        let mut state = self.state();
        let claimed = vec![NewEvent::run(Kind::claimed(WorkerId(7), self.is_held()))];
        let asked = self.cancel_asked(&state);
        let events = follow::edge(&state, state.epoch + 1, claimed, asked, None);
        self.commit(&mut state, events, 1)?;
        loop {
            let (Next::Resume { step, attempt } | Next::Start { step, attempt }) = state.next() else { return Ok(()) };
            if state.under_way().is_none() {
                return Ok(());
            }
            let result = self.attempt(&mut state, step, attempt)?;
            let events = match outcome::settle(&state, step, attempt, result, 0.5) {
                Settled::Events(events) => events,
                Settled::GivesUp(failure) => outcome::given_up(&state, step, attempt, failure),
                Settled::Lost => return Ok(()),
            };
            let asked = self.cancel_asked(&state);
            let events = follow::edge(&state, state.epoch, events, asked, None);
            let rests = events.iter().any(|event| {
                matches!(event.kind, Kind::LeaseReleased { .. } | Kind::Parked { .. } | Kind::StepYielded { .. })
            });
            self.commit(&mut state, events, 0)?;
            if rests {
                return Ok(());
            }
        }
    }

    fn cancel_asked(&self, state: &State) -> Option<&'static str> {
        let asked = self.cancel_after.is_some_and(|after| self.commits >= after);
        (asked && state.cancelled_by.is_none()).then_some("eve")
    }

    fn attempt(&mut self, state: &mut State, step: usize, attempt: u32) -> Result<StepResult, Died> {
        let planned = state.spec.plan.steps[step].clone();
        let answer = self.answers.get(planned.name.as_str()).copied().unwrap_or(Answer::Done);
        // A step that is asked to stop does; a restore must come to its end.
        let asked = |sim: &Self, state: &State| {
            !planned.only_after_failure && (sim.cancel_asked(state).is_some() || state.cancelled_by.is_some())
        };
        if let Some(slot) = &planned.slot {
            let pool = slot.pool.clone();
            if answer != Answer::Done {
                let kind = Kind::SlotWaiting { pool: pool.clone(), wait_ms: slot.wait_ms, holders: vec![RunId(9)] };
                self.commit(state, vec![NewEvent::step(step, attempt, kind)], 0)?;
            }
            if asked(self, state) {
                return Ok(Err(StepError::Cancelled));
            }
            if answer == Answer::SlotTimeout {
                let waited = Duration::from_millis(slot.wait_ms);
                return Ok(Err(StepError::SlotTimeout { pool, waited, holders: vec![9] }));
            }
            self.commit(state, vec![NewEvent::step(step, attempt, Kind::SlotGranted { pool, ticket: 1 })], 0)?;
        }
        if asked(self, state) {
            return Ok(Err(StepError::Cancelled));
        }
        assert!(state.steps[step].output.is_none(), "{} is recorded, and done again", planned.name);
        *self.acted.entry(planned.name.clone()).or_default() += 1;
        let note = Kind::StepNoted { key: format!("{}.seen", planned.name), value: json!(attempt) };
        self.commit(state, vec![NewEvent::step(step, attempt, note)], 0)?;
        let yields = |event: &&Event| event.step == Some(step) && matches!(event.kind, Kind::StepYielded { .. });
        let yielded = self.journal.iter().any(|event| yields(&event));
        let looked = self.journal.iter().any(|event| yields(&event) && event.attempt == Some(attempt));
        let broken = || Failure::new(BROKEN, "It is broken.");
        Ok(match answer {
            Answer::RefusedBetweenLooks | Answer::BrokenBetweenLooks if !looked => {
                Ok(StepOutcome::NotYet { check_in: Duration::from_secs(5) })
            }
            Answer::RefusedBetweenLooks if attempt <= 6 => Err(broken().retryable(Some(Duration::ZERO))),
            Answer::BrokenBetweenLooks => Err(broken().retryable(None)),
            Answer::NotYetOnce if !yielded => Ok(StepOutcome::NotYet { check_in: Duration::from_secs(5) }),
            Answer::RetryableOnce if attempt == 1 => Err(broken().retryable(None)),
            Answer::RetryableForEver => Err(broken().retryable(Some(Duration::from_secs(2)))),
            Answer::Permanent => Err(broken().permanent()),
            Answer::Unknown => Err(broken().outcome_unknown().permanent()),
            Answer::Warned => Ok(StepOutcome::Done { output: json!(planned.name), warnings: vec!["Look.".to_owned()] }),
            _ => Ok(StepOutcome::output(json!(planned.name))),
        })
    }

    /// Stores events as one commit. What a worker does next follows from its own fold, and that must equal one of the stored list.
    fn commit(&mut self, state: &mut State, events: Vec<NewEvent>, claims: i64) -> Result<(), Died> {
        let number = self.commits;
        self.commits += 1;
        if self.crash == Some(Crash::Before(number)) {
            return Err(Died);
        }
        let epoch = state.epoch + claims;
        for event in events {
            self.now += 1;
            let event = event.dated(state.seq + 1, epoch, self.now);
            state.apply(&event).unwrap_or_else(|error| panic!("{error}: {event:?} after {:#?}", self.journal));
            self.journal.push(event);
        }
        assert_eq!(*state, self.state(), "a fold from the list differs from the one that was added to");
        if self.crash == Some(Crash::After(number)) {
            return Err(Died);
        }
        Ok(())
    }

    /// What holds for every journal.
    fn check(&self) {
        for (index, planned) in self.state().spec.plan.steps.iter().enumerate() {
            let ends = |event: &&Event| event.step == Some(index) && matches!(event.kind, Kind::StepSucceeded { .. });
            let ends = self.journal.iter().filter(ends).count();
            assert!(ends <= 1, "{} is recorded {ends} times", planned.name);
        }
        for length in 1..=self.journal.len() {
            let state = State::fold(&self.journal[..length]).expect("every beginning of a journal folds");
            let _ = (state.next(), state.status(), state.position(), state.is_live());
        }
    }
}
