//! Whether a history keeps the promises. It shares no code with what it judges: it reads records, and knows the promises.
//!
//! * `journal`: every accepted run ends; no gap; no write under a stale epoch or by an ended worker; one driver; no recorded step redone.
//! * `order`: runs of one deployment in order of request, one at a time.
//! * `slots`: never more hooks than the limit; slots in order of tickets.
//! * `stops`: a cancelled run stops; `OUTCOME_UNKNOWN`, `WORKERS_LOST` and `CODE_ENV_UNAVAILABLE` only where they are true.

mod journal;
mod order;
mod slots;
mod stops;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt};

use crate::history::{Event, Record, Step};

/// A promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// Every accepted run ends.
    Ends,
    /// A journal has no gap, no repeat, and goes forward in time.
    Journal,
    /// No write is accepted under a stale epoch, or of an ended worker.
    Epoch,
    /// Who holds a run is at one step at a time, once.
    Alone,
    /// No recorded step is redone, and no call is repeated once its effect shows.
    Recorded,
    /// Runs of one deployment go in order of request, one at a time.
    Order,
    /// Never more hooks than the limit at any instant.
    Limit,
    /// Slots are granted in order of tickets.
    Tickets,
    /// A cancelled run stops.
    Cancel,
    /// A stuck run ends on somebody's word alone.
    Stuck,
    /// `OUTCOME_UNKNOWN` only where an answer was really lost, and nothing can tell what the step did.
    Unknown,
    /// `WORKERS_LOST` only where three workers were really lost.
    Lost,
    /// `CODE_ENV_UNAVAILABLE` only of a hook, and only after it has waited for as long as it may.
    Unavailable,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ends => "every accepted run ends",
            Self::Journal => "a journal has no gap and no repeat",
            Self::Epoch => "no write is accepted from a stale epoch",
            Self::Alone => "a run is driven once at a time",
            Self::Recorded => "no recorded step is redone",
            Self::Order => "runs of one deployment go in order, one at a time",
            Self::Limit => "never more hooks than the limit",
            Self::Tickets => "slots are granted in order of tickets",
            Self::Cancel => "a cancelled run stops",
            Self::Stuck => "a stuck run ends on somebody's word alone",
            Self::Unknown => "OUTCOME_UNKNOWN only where an answer was lost",
            Self::Lost => "WORKERS_LOST only where workers were lost",
            Self::Unavailable => "CODE_ENV_UNAVAILABLE only after the wait",
        })
    }
}

/// A promise that a history breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub rule: Rule,
    /// How: run, step and events by name.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.what)
    }
}

/// A run with all that was seen of it, in order.
struct Run<'a> {
    id: i64,
    deployment: &'a str,
    number: i64,
    steps: &'a [Step],
    retry_of: Option<i64>,
    /// By number; repeats stay side by side.
    events: Vec<&'a Event>,
    /// When somebody asked to cancel it.
    cancelled_at: Option<i64>,
    /// When somebody asked to cancel it, or gave it up.
    words: Vec<i64>,
    calls: Vec<(i64, i64)>,
    effects: Vec<(i64, i64)>,
}

impl Run<'_> {
    fn step(&self, index: Option<i64>) -> Option<&Step> {
        self.steps.get(usize::try_from(index?).ok()?)
    }

    fn name(&self, index: Option<i64>) -> String {
        self.step(index).map_or_else(|| format!("step {index:?}"), |step| step.name.clone())
    }

    fn finished(&self) -> Option<&Event> {
        self.events.iter().copied().find(|event| event.kind == "Finished")
    }

    fn title(&self) -> String {
        format!("run {} ({} number {})", self.id, self.deployment, self.number)
    }
}

/// One act of a hook.
struct Act<'a> {
    run: i64,
    step: i64,
    attempt: i64,
    pool: &'a str,
    from: i64,
    until: i64,
}

/// A history, sorted.
struct Seen<'a> {
    runs: BTreeMap<i64, Run<'a>>,
    workers: BTreeMap<i64, (Option<i64>, Option<i64>)>,
    acts: Vec<Act<'a>>,
    records: &'a [Record],
    closed_at: Option<i64>,
    slack_us: i64,
}

impl<'a> Seen<'a> {
    fn sort(records: &'a [Record], slack_us: i64) -> Self {
        let mut seen = Self {
            runs: BTreeMap::new(),
            workers: BTreeMap::new(),
            acts: Vec::new(),
            records,
            closed_at: None,
            slack_us,
        };
        for record in records {
            if let Record::Accepted { run, deployment, number, steps, retry_of, .. } = record {
                let (events, words, calls, effects) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
                let (id, number, retry_of, cancelled_at) = (*run, *number, *retry_of, None);
                let run = Run { id, deployment, number, steps, retry_of, events, cancelled_at, words, calls, effects };
                seen.runs.insert(id, run);
            }
        }
        for record in records {
            match record {
                Record::Event(event) => seen.of(event.run, |run| run.events.push(event)),
                Record::CancelAsked { run, at } => seen.of(*run, |run| {
                    run.cancelled_at = Some(run.cancelled_at.map_or(*at, |before| before.min(*at)));
                    run.words.push(*at);
                }),
                Record::AbandonAsked { run, at } => seen.of(*run, |run| run.words.push(*at)),
                Record::Call { run, step, at } => seen.of(*run, |run| run.calls.push((*step, *at))),
                Record::Effect { run, step, at } => seen.of(*run, |run| run.effects.push((*step, *at))),
                Record::Worker { worker, ended_at, came_back_at } => {
                    seen.workers.insert(*worker, (*ended_at, *came_back_at));
                }
                Record::Hook { run, step, attempt, pool, from, until } => seen.acts.push(Act {
                    run: *run,
                    step: *step,
                    attempt: *attempt,
                    pool,
                    from: *from,
                    until: until.unwrap_or(i64::MAX),
                }),
                Record::Closed { at, .. } => seen.closed_at = Some(*at),
                Record::Accepted { .. } | Record::Limit { .. } | Record::Grant { .. } | Record::Work { .. } => {}
            }
        }
        for run in seen.runs.values_mut() {
            run.events.sort_by_key(|event| event.seq);
        }
        seen.acts.sort_by_key(|act| (act.from, act.until));
        seen
    }

    fn of(&mut self, run: i64, change: impl FnOnce(&mut Run<'a>)) {
        if let Some(run) = self.runs.get_mut(&run) {
            change(run);
        }
    }
}

/// Each promise that the history breaks, in order of the rules. `slack_us`: the most that clocks of different records can differ.
pub fn check(records: &[Record], slack_us: i64) -> Vec<Violation> {
    let seen = Seen::sort(records, slack_us);
    let mut found = Vec::new();
    journal::check(&seen, &mut found);
    order::check(&seen, &mut found);
    slots::check(&seen, &mut found);
    stops::check(&seen, &mut found);
    found.sort_by_key(|violation| violation.rule);
    found
}
