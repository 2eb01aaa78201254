//! What was made twice, what became of the node, and the verdict.

use std::fmt;

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
    crashes: Vec<Crash>,
}

/// One kill, and the attempt that came after it.
struct Crash {
    point: Made,
    /// Whether the first attempt came so far at all.
    reached: bool,
    /// Calls of the second attempt that ask again for what the first one had, each with whether it asks for just the same.
    again: Vec<(Made, bool)>,
    outcome: HookOutcome,
    /// Whether the second attempt ended as the hook alone does.
    same_outcome: bool,
    /// Whether the node ended as after the hook alone.
    same_end: bool,
}

impl Crash {
    fn is_good(&self) -> bool {
        self.same_outcome && self.same_end && self.again.iter().all(|(call, same)| call.is_harmless(*same))
    }
}

impl Report {
    pub(super) fn new(alone: Attempt, end: Value, crash: bool) -> Self {
        Self { alone, end, crash, crashes: Vec::new() }
    }

    /// Whether there is something to compare with: the hook alone ends well.
    pub(super) fn alone_is_good(&self) -> bool {
        matches!(self.alone.report.outcome, HookOutcome::Success(_) | HookOutcome::Warning(_))
    }

    /// Whether the hook ends well alone, and may be run again wherever it was killed.
    pub fn is_good(&self) -> bool {
        self.alone_is_good() && self.crashes.iter().all(Crash::is_good)
    }

    /// After which calls to kill: each that asks for an effect; if that is too many, as many as may be, spread evenly.
    pub(super) fn points(&self, most: usize) -> Vec<Made> {
        let effects: Vec<&Made> = self.alone.calls.iter().filter(|call| call.asks_for_effect()).collect();
        let count = effects.len().min(most);
        (0..count).map(|point| effects[point * effects.len() / count].clone()).collect()
    }

    pub(super) fn add(&mut self, point: Made, first: Attempt, second: Attempt, end: Value) {
        let mut asked: Vec<Made> = first.calls.into_iter().filter(Made::asks_for_effect).collect();
        let mut again = Vec::new();
        for call in second.calls.into_iter().filter(Made::asks_for_effect) {
            let same = asked.iter().position(|before| before.is_like(&call) && before.body == call.body);
            // Each is counted against one that came before, so that a hook that means to do it twice may.
            if let Some(place) = same.or_else(|| asked.iter().position(|before| before.is_like(&call))) {
                asked.remove(place);
                again.push((call, same.is_some()));
            }
        }
        self.crashes.push(Crash {
            point,
            reached: first.report.outcome == HookOutcome::Cancelled,
            again,
            same_outcome: second.report.outcome.code() == self.alone.report.outcome.code(),
            outcome: second.report.outcome,
            same_end: end == self.end,
        });
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
        if !self.alone_is_good() {
            if calls.iter().any(|call| call.method == "CONNECT") {
                writeln!(f, "  ! https is refused here: for the test, give the hook an address with http")?;
            }
            return f.write_str("verdict: the hook does not end well alone");
        }
        for (crash, number) in self.crashes.iter().zip(1..) {
            write!(f, "\n{number}. killed after {} {}, ", crash.point.method, crash.point.target)?;
            if !crash.reached {
                f.write_str("to which it did not come this time, ")?;
            }
            writeln!(f, "run again: {}", Ended(&crash.outcome))?;
            if !crash.same_outcome {
                writeln!(f, "  ! it does not end as it does alone")?;
            }
            for (call, same) in &crash.again {
                let mark = if call.is_harmless(*same) { ' ' } else { '!' };
                let otherwise = if *same { "" } else { "   (with another body)" };
                writeln!(f, "  {mark} twice  {call}{otherwise}")?;
            }
            if crash.again.is_empty() {
                writeln!(f, "    nothing was made twice")?;
            }
            if !crash.same_end {
                writeln!(f, "  ! the node does not end as it does after the hook alone")?;
            }
        }
        if self.crashes.is_empty() {
            return f.write_str(match self.crash {
                true => "verdict: it ends well; it asks for no effect that can be seen here, so there is nothing to kill it between",
                false => "verdict: it ends well",
            });
        }
        f.write_str("\nverdict: ")?;
        if self.is_good() {
            f.write_str("it may be run again. It ended well each time, the node ended the same, and what was made twice does no harm: PUT, DELETE, or under the idempotency key.")
        } else {
            f.write_str("NOT to be run again as it is; lines with ! say why. Let it look first whether the effect is there, or send idempotency_key along; else give it onInterrupt: FAIL.")
        }
    }
}

/// An outcome in a line.
struct Ended<'a>(&'a HookOutcome);

impl fmt::Display for Ended<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.0.code(), self.0.message())
    }
}
