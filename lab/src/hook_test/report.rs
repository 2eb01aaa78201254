//! What was made twice, what became of the node, and the verdict.

use std::{collections::BTreeMap, fmt};

use serde_json::Value;
use worker::hooks::{HookOutcome, HookStream};

use super::{bench::Attempt, calls::Made};

/// What came of it; `Display` is the page that the command prints.
pub struct Report {
    alone: Attempt,
    /// What is on the node after the hook alone.
    end: Value,
    /// Whether it was to be killed.
    crash: bool,
    /// Effects after which it was not killed, since there were too many.
    untried: usize,
    crashes: Vec<Crash>,
}

/// After which call to kill: the `nth` of its kind, counted from 1.
#[derive(Clone)]
pub(super) struct Point {
    pub(super) call: Made,
    pub(super) nth: usize,
}

/// One kill, and the attempt that came after it.
struct Crash {
    point: Point,
    /// Whether the first attempt came so far at all.
    reached: bool,
    /// Calls of the second attempt that are too many, each with whether it asks for just what the first one asked.
    again: Vec<(Made, bool)>,
    /// Calls of the hook alone that neither attempt made.
    never: Vec<Made>,
    /// Calls that the hook alone does not make.
    other: Vec<Made>,
    outcome: HookOutcome,
    /// Whether the second attempt ended as the hook alone does.
    same_outcome: bool,
    /// Whether the node ended as after the hook alone.
    same_end: bool,
}

impl Crash {
    fn is_good(&self) -> bool {
        self.reached
            && self.same_outcome
            && self.same_end
            && self.never.is_empty()
            && self.other.is_empty()
            && self.again.iter().all(|(call, same)| call.is_harmless(*same))
    }
}

impl Report {
    pub(super) fn new(alone: Attempt, end: Value, crash: bool) -> Self {
        Self { alone, end, crash, untried: 0, crashes: Vec::new() }
    }

    /// Whether there is something to compare with: the hook alone ends well.
    pub(super) fn alone_is_good(&self) -> bool {
        matches!(self.alone.report.outcome, HookOutcome::Success(_) | HookOutcome::Warning(_))
    }

    /// Whether the hook ends well alone, and may be run again wherever it was killed.
    pub fn is_good(&self) -> bool {
        self.alone_is_good() && (!self.crash || self.all_was_tried() && self.crashes.iter().all(Crash::is_good))
    }

    fn all_was_tried(&self) -> bool {
        self.untried == 0 && !self.alone.calls.iter().any(Made::is_tunnel)
    }

    /// After which calls to kill: each that asks for an effect, the first `most` of them.
    pub(super) fn points(&mut self, most: usize) -> Vec<Point> {
        let mut seen = BTreeMap::new();
        let mut points = Vec::new();
        for call in self.alone.calls.iter().filter(|call| call.asks_for_effect()) {
            let nth = seen.entry((call.whom, call.method.clone(), call.place().to_owned())).or_insert(0);
            *nth += 1;
            points.push(Point { call: call.clone(), nth: *nth });
        }
        self.untried = points.len().saturating_sub(most);
        points.truncate(most);
        points
    }

    pub(super) fn add(&mut self, point: Point, first: Attempt, second: Attempt, end: Value) {
        let reached = first.report.outcome == HookOutcome::Cancelled;
        let effects = |calls: Vec<Made>| calls.into_iter().filter(Made::asks_for_effect).collect::<Vec<_>>();
        let (first, again) = (effects(first.calls), effects(second.calls));
        let wanted: Vec<&Made> = self.alone.calls.iter().filter(|call| call.asks_for_effect()).collect();
        let mut crash = Crash {
            point,
            reached,
            again: Vec::new(),
            never: Vec::new(),
            other: Vec::new(),
            same_outcome: second.report.outcome.code() == self.alone.report.outcome.code(),
            outcome: second.report.outcome,
            same_end: end == self.end,
        };
        // How many of each kind the hook alone makes, and these two did not yet.
        let mut open: BTreeMap<_, usize> = BTreeMap::new();
        for call in &wanted {
            *open.entry(call.kind()).or_default() += 1;
        }
        for (call, is_second) in first.iter().map(|call| (call, false)).chain(again.iter().map(|call| (call, true))) {
            match open.get_mut(&call.kind()) {
                None => crash.other.push(call.clone()),
                Some(0) => {
                    let same = is_second && first.iter().any(|one| one.kind() == call.kind() && one.body == call.body);
                    crash.again.push((call.clone(), same));
                }
                Some(left) => *left -= 1,
            }
        }
        for call in wanted {
            if let Some(left) = open.get_mut(&call.kind()).filter(|left| **left > 0) {
                *left -= 1;
                crash.never.push(call.clone());
            }
        }
        self.crashes.push(crash);
    }
}

impl fmt::Display for Crash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Point { call, nth } = &self.point;
        let which = if *nth > 1 { format!(" (number {nth})") } else { String::new() };
        writeln!(f, "killed after {} {}{which}, run again: {}", call.method, call.target, Ended(&self.outcome))?;
        if !self.reached {
            writeln!(f, "  ! it did not come to that call this time: nothing is known of this point")?;
        }
        if !self.same_outcome {
            writeln!(f, "  ! it does not end as it does alone")?;
        }
        for (call, same) in &self.again {
            let mark = if call.is_harmless(*same) { ' ' } else { '!' };
            let otherwise = if *same { "" } else { "   (with another body)" };
            writeln!(f, "  {mark} twice  {call}{otherwise}")?;
        }
        for call in &self.never {
            writeln!(f, "  ! never  {call}")?;
        }
        for call in &self.other {
            writeln!(f, "  ! other  {call}")?;
        }
        if self.again.is_empty() && self.other.is_empty() {
            writeln!(f, "    nothing was made twice")?;
        }
        if !self.same_end {
            writeln!(f, "  ! the node does not end as it does after the hook alone")?;
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Attempt { calls, lines, report } = &self.alone;
        writeln!(f, "Alone, in {:.1} s: {}", report.duration.as_secs_f64(), Ended(&report.outcome))?;
        for line in lines {
            let mark = if line.stream == HookStream::Stdout { '|' } else { '!' };
            writeln!(f, "  {mark} {}", line.text)?;
        }
        for (call, number) in calls.iter().zip(1..) {
            writeln!(f, "  {number:>3}  {call}")?;
        }
        if report.leftovers > 0 {
            writeln!(f, "  ! processes left behind, and ended: {}. An update would end as WARNING", report.leftovers)?;
        }
        if calls.iter().any(Made::is_tunnel) {
            writeln!(
                f,
                "  ! https was refused; give the hook an address with http, or what it does there is not tried"
            )?;
        }
        if !self.alone_is_good() {
            return f.write_str("verdict: the hook does not end well alone");
        }
        for (crash, number) in self.crashes.iter().zip(1..) {
            write!(f, "\n{number}. {crash}")?;
        }
        if self.untried > 0 {
            writeln!(f, "\n  ! calls after which it was not killed: {}. Raise --points", self.untried)?;
        }
        let again = "\nverdict: it may be run again. It ended well each time, the node ended the same, and what was made twice does no harm: PUT, DELETE, or under the idempotency key.";
        let not = "\nverdict: NOT to be run again as it is; lines with ! say why. Let it look first whether the effect is there, or send idempotency_key along; else give it onInterrupt: FAIL.";
        f.write_str(match (self.crash, self.crashes.is_empty(), self.is_good()) {
            (false, ..) => "verdict: it ends well",
            (true, true, true) => {
                "verdict: it ends well. It asks for no effect that can be seen here, so there is nothing to kill it between."
            }
            (true, false, true) => again,
            (true, _, false) if self.crashes.iter().all(Crash::is_good) => {
                "\nverdict: nothing can be said: not all was tried. Lines with ! say what."
            }
            (true, _, false) => not,
        })
    }
}

/// An outcome in a line.
struct Ended<'a>(&'a HookOutcome);

impl fmt::Display for Ended<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.0.code(), self.0.message())
    }
}
