//! The table.

use std::{collections::BTreeMap, fmt};

use sandbox::Call;

use super::{
    calls,
    ends::Pool,
    faults::Log,
    progress::{self, Stood},
    seen::{Open, Seen},
    settings::Settings,
    traffic::{Book, LastRound},
    watch::Act,
};
use crate::checker::{Rule, Violation};

/// What came of a soak.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Requests that were made, the last round's included.
    pub requested: u64,
    /// Requests that were answered with an update.
    pub accepted: u64,
    /// Answers that were lost, and asked for again under the same key.
    pub lost_answers: u64,
    /// Requests that got no answer at all; what became of them is in the outcomes, if anything did.
    pub unanswered: u64,
    /// Requests that were refused, by code.
    pub refused: BTreeMap<String, u64>,
    /// Updates by how they ended.
    pub outcomes: BTreeMap<String, u64>,
    /// Accepted, and neither ended nor stuck.
    pub lost: Vec<i64>,
    /// Recorded steps that were done again.
    pub redone: Vec<String>,
    /// Calls that were made again although the node showed their effect.
    pub repeated: Vec<String>,
    /// Calls that were made again while the first was under way.
    pub repeated_in_flight: u64,
    /// Calls that were made again of which the node shows nothing.
    pub repeated_unseen: u64,
    /// Deployments that are otherwise on the node than their last run says, and undisturbed runs that failed.
    pub differences: Vec<String>,
    /// Attempts at hooks that ran, and those that were ended from outside.
    pub hooks: (u64, u64),
    /// Moments at which too many hooks ran.
    pub over_limit: Vec<String>,
    /// Slots that nobody uses and nobody can have.
    pub leaked: i64,
    /// Grants and time-outs of slots.
    pub slots: (i64, i64),
    /// Updates that wait for a human, with their codes.
    pub stuck: Vec<String>,
    /// From a worker's SIGKILL to the next progress of each of its runs, while the database was up and a worker was there.
    pub after_kills: Spread,
    /// The same, in whose time the database or all workers were away.
    pub after_kills_in_outages: Spread,
    /// From a worker's SIGSTOP to the next progress of each of its runs.
    pub after_pauses: Spread,
    /// The most that is allowed of the first, in microseconds.
    pub bound_us: i64,
    /// Writes of workers that arrived after their leases, and those of them that were refused.
    pub late_writes: (u64, u64),
    /// Requests that were accepted by an API which was killed before it could ring.
    pub bells_lost: u64,
    /// Uploads to a full store that were refused with a code and left nothing behind, and the others.
    pub full: (u64, Vec<String>),
    /// How the store was filled.
    pub disk: &'static str,
    /// What else the checker found.
    pub violations: Vec<String>,
    /// Faults, by how often they were made.
    pub faults: Vec<(&'static str, u32)>,
}

/// Durations, in microseconds.
#[derive(Clone, Debug, Default)]
pub struct Spread(Vec<i64>);

impl Spread {
    pub(crate) fn of(durations: impl Iterator<Item = i64>) -> Self {
        let mut sorted: Vec<i64> = durations.collect();
        sorted.sort_unstable();
        Self(sorted)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The one that so many percent are not above; 0 for none.
    pub fn percentile(&self, percent: usize) -> i64 {
        let place = (self.0.len() * percent).div_ceil(100).max(1) - 1;
        self.0.get(place).copied().unwrap_or(0)
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        let ms = |percent| self.percentile(percent) / 1_000;
        write!(f, "{} runs: p50 {} ms, p99 {} ms, max {} ms", self.count(), ms(50), ms(99), ms(100))
    }
}

/// What a report is drawn from.
pub(super) struct Drawn<'a> {
    pub(super) settings: &'a Settings,
    pub(super) book: &'a Book,
    pub(super) last: LastRound,
    pub(super) open: Open,
    pub(super) seen: &'a Seen,
    pub(super) hooks: &'a [Act],
    pub(super) calls: &'a [Call],
    pub(super) log: &'a Log,
    pub(super) pool: Pool,
    pub(super) violations: Vec<Violation>,
    pub(super) differences: Vec<String>,
}

impl Report {
    pub(super) fn draw(from: Drawn<'_>) -> Self {
        let Drawn { settings, book, last, open, seen, hooks, calls, log, pool, violations, differences } = from;
        let last_count = last.runs.len() as u64;
        let mut report = Self {
            requested: book.requested + last_count,
            accepted: book.accepted.len() as u64 + last_count,
            lost_answers: book.lost_answers,
            unanswered: book.unanswered,
            refused: book.refused.clone(),
            lost: open.unended.into_iter().chain(open.absent).collect(),
            differences: last.failed.into_iter().chain(differences).collect(),
            hooks: (hooks.len() as u64, hooks.iter().filter(|act| !act.ended).count() as u64),
            leaked: pool.leaked + pool.waiting,
            slots: (pool.grants, pool.timeouts),
            bound_us: i64::try_from(settings.times.bound().as_micros()).unwrap_or(i64::MAX),
            disk: log.disk,
            bells_lost: log.bells_lost,
            faults: log.made.iter().map(|(fault, count)| (fault.name(), *count)).collect(),
            ..Self::default()
        };
        for run in seen.runs.values() {
            let code = run.code().map_or(String::new(), |code| format!(" {code}"));
            *report.outcomes.entry(format!("{}{code}", run.row.status)).or_default() += 1;
            if run.row.status == "STUCK" {
                report.stuck.push(format!("update {}{code}", run.row.id));
            }
        }
        let asked = calls::attribute(seen, calls);
        let repeats = calls::repeats(&asked);
        report.repeated = repeats.shown;
        (report.repeated_in_flight, report.repeated_unseen) = (repeats.in_flight, repeats.unseen);
        let (outage, up): (Vec<Stood>, Vec<Stood>) =
            progress::after_kills(seen, log).into_iter().partition(|stood| stood.outage);
        for stood in up.iter().filter(|stood| stood.us > report.bound_us) {
            let (run, worker, ms) = (stood.run, &stood.worker, stood.us / 1_000);
            report.violations.push(format!("update {run} stood still for {ms} ms after {worker} was killed"));
        }
        report.after_kills = Spread::of(up.iter().map(|stood| stood.us));
        report.after_kills_in_outages = Spread::of(outage.iter().map(|stood| stood.us));
        report.after_pauses = Spread::of(progress::after_pauses(seen, log).iter().map(|stood| stood.us));
        let late = progress::late_writes(seen, log);
        report.late_writes = (late.delivered, late.refused);
        for (code, clean) in &log.full {
            if *clean && code.starts_with("PACKAGE_STORE_") {
                report.full.0 += 1;
            } else {
                report.full.1.push(format!("{code}{}", if *clean { "" } else { ", and something was left behind" }));
            }
        }
        for violation in violations {
            let list = match violation.rule {
                Rule::Recorded => &mut report.redone,
                Rule::Limit => &mut report.over_limit,
                _ => &mut report.violations,
            };
            list.push(violation.to_string());
        }
        report
    }

    /// Whether every promise was kept.
    pub fn is_good(&self) -> bool {
        self.broken().is_empty()
    }

    /// Every promise that was broken, in a sentence each.
    pub fn broken(&self) -> Vec<String> {
        let lost = self.lost.iter().map(|run| format!("update {run} was accepted and did not end"));
        let leaked = (self.leaked != 0).then(|| format!("{} slots are leaked", self.leaked));
        let stuck = self.stuck.iter().map(|stuck| format!("{stuck} is stuck"));
        let full = self.full.1.iter().map(|code| format!("an upload to a full store: {code}"));
        let lists = [&self.redone, &self.repeated, &self.differences, &self.over_limit, &self.violations];
        let listed = lists.into_iter().flatten().cloned();
        lost.chain(listed).chain(leaked).chain(stuck).chain(full).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = |counts: &BTreeMap<String, u64>| {
            let all: Vec<String> = counts.iter().map(|(what, count)| format!("{what} {count}")).collect();
            if all.is_empty() { "none".to_owned() } else { all.join(", ") }
        };
        let faults: Vec<String> = self.faults.iter().map(|(name, count)| format!("{name}: {count}")).collect();
        let must = |count: usize| if count == 0 { "0".to_owned() } else { format!("{count}  <-- must be 0") };
        let rows = [
            ("faults", faults.join("\n")),
            ("requested", self.requested.to_string()),
            ("accepted", self.accepted.to_string()),
            ("answers lost, asked for again", self.lost_answers.to_string()),
            ("requests without any answer", self.unanswered.to_string()),
            ("refused", counts(&self.refused)),
            ("ended", counts(&self.outcomes)),
            ("lost", must(self.lost.len())),
            ("recorded steps redone", must(self.redone.len())),
            ("calls repeated though their effect showed", must(self.repeated.len())),
            ("calls repeated while the first was in flight", self.repeated_in_flight.to_string()),
            ("preloads repeated (a node does not show them)", self.repeated_unseen.to_string()),
            ("end states that differ from their spec", must(self.differences.len())),
            ("attempts at hooks (ended from outside)", format!("{} ({})", self.hooks.0, self.hooks.1)),
            ("slots granted, waits given up", format!("{}, {}", self.slots.0, self.slots.1)),
            ("hooks over the limit", must(self.over_limit.len())),
            ("slots leaked", must(usize::try_from(self.leaked).unwrap_or(usize::MAX))),
            ("runs stuck", must(self.stuck.len())),
            ("from a kill to the run's next progress", self.after_kills.to_string()),
            ("  at most", format!("{} ms (lease + sweep + 1 s)", self.bound_us / 1_000)),
            ("  while the database was away (no bound)", self.after_kills_in_outages.to_string()),
            ("from a pause to the run's next progress", self.after_pauses.to_string()),
            ("late writes delivered, refused", format!("{}, {}", self.late_writes.0, self.late_writes.1)),
            ("accepted by an API that died before the bell", self.bells_lost.to_string()),
            ("uploads to a full store refused, nothing left", format!("{}\n{}", self.full.0, self.disk)),
            ("other promises broken", must(self.violations.len())),
        ];
        for (name, value) in rows {
            for (number, line) in value.lines().enumerate() {
                writeln!(f, "{:<46} {line}", if number == 0 { name } else { "" })?;
            }
        }
        let broken = self.broken();
        if broken.is_empty() {
            return f.write_str("Every promise was kept.");
        }
        writeln!(f, "{} promises were broken:", broken.len())?;
        broken.iter().try_for_each(|what| writeln!(f, "  {what}"))
    }
}
