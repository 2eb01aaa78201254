//! How many hooks ran at once, and who was let in.

use std::collections::{BTreeMap, BTreeSet};

use super::{Act, Rule, Seen, Violation};
use crate::history::Record;

pub(super) fn check(seen: &Seen<'_>, found: &mut Vec<Violation>) {
    limit(seen, found);
    tickets(seen, found);
}

/// At each beginning of a hook: how many are there. Lowering a limit ends nobody, and whoever was let in before it may still begin: what counts
/// is the highest limit since the oldest of those that are there was let in.
fn limit(seen: &Seen<'_>, found: &mut Vec<Violation>) {
    let mut limits: BTreeMap<&str, Vec<(i64, i64)>> = BTreeMap::new();
    let mut let_in: BTreeMap<(i64, i64, i64), i64> = BTreeMap::new();
    for record in seen.records {
        match record {
            Record::Limit { pool, at, limit } => limits.entry(pool).or_default().push((*at, *limit)),
            Record::Grant { run, step, attempt, at, .. } => {
                let first = let_in.entry((*run, *step, *attempt)).or_insert(*at);
                *first = (*first).min(*at);
            }
            _ => {}
        }
    }
    for limits in limits.values_mut() {
        limits.sort_unstable();
    }
    for (place, act) in seen.acts.iter().enumerate() {
        let there: Vec<&Act<'_>> = seen.acts[..=place]
            .iter()
            .filter(|other| other.pool == act.pool && other.until > act.from + seen.slack_us)
            .collect();
        let since = |act: &Act<'_>| let_in.get(&(act.run, act.step, act.attempt)).copied().unwrap_or(act.from);
        let oldest = there.iter().map(|act| since(act).min(act.from)).min().unwrap_or(act.from) - seen.slack_us;
        let Some(limits) = limits.get(act.pool) else { continue };
        let then = limits.iter().rev().find(|(at, _)| *at <= oldest).or(limits.first());
        let later = limits.iter().filter(|(at, _)| *at > oldest && *at <= act.from + seen.slack_us);
        let most = later.chain(then).map(|(_, limit)| *limit).max().unwrap_or(0);
        if there.len() as i64 > most {
            let who: Vec<String> = there.iter().map(|act| tell(seen, act)).collect();
            found.push(Violation {
                rule: Rule::Limit,
                what: format!(
                    "{} hooks of pool {} ran at {}, where {most} may: {}.",
                    there.len(),
                    act.pool,
                    act.from,
                    who.join(", ")
                ),
            });
        }
    }
}

fn tell(seen: &Seen<'_>, act: &Act<'_>) -> String {
    let step = seen.runs.get(&act.run).map_or_else(|| act.step.to_string(), |run| run.name(Some(act.step)));
    format!("{step} attempt {} of run {} since {}", act.attempt, act.run, act.from)
}

/// Nobody in line is passed over.
fn tickets(seen: &Seen<'_>, found: &mut Vec<Violation>) {
    // Grants of one turn share their instant and their line: whoever was let in with this one was not passed over.
    let mut turns: BTreeMap<(&str, i64), BTreeSet<i64>> = BTreeMap::new();
    for record in seen.records {
        if let Record::Grant { pool, at, ticket, .. } = record {
            turns.entry((pool, *at)).or_default().insert(*ticket);
        }
    }
    for record in seen.records {
        let Record::Grant { pool, at, ticket, run, step, eligible: Some(eligible), .. } = record else { continue };
        let granted = turns.get(&(pool.as_str(), *at));
        let passed = eligible.iter().find(|other| **other < *ticket && !granted.is_some_and(|all| all.contains(other)));
        if let Some(passed) = passed {
            let name = seen.runs.get(run).map_or_else(|| step.to_string(), |run| run.name(Some(*step)));
            found.push(Violation {
                rule: Rule::Tickets,
                what: format!(
                    "{name} of run {run} was let in with ticket {ticket} at {at}, while ticket {passed} stood in line."
                ),
            });
        }
    }
}
