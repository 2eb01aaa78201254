//! Runs of one deployment.

use std::collections::BTreeMap;

use super::{Rule, Run, Seen, Violation};

pub(super) fn check(seen: &Seen<'_>, found: &mut Vec<Violation>) {
    let mut deployments: BTreeMap<&str, Vec<&Run<'_>>> = BTreeMap::new();
    for run in seen.runs.values() {
        deployments.entry(run.deployment).or_default().push(run);
    }
    for runs in deployments.values_mut() {
        runs.sort_by_key(|run| run.number);
        for pair in runs.windows(2) {
            if pair[0].number == pair[1].number {
                let what = format!("{} and {} have one number.", pair[0].title(), pair[1].title());
                found.push(Violation { rule: Rule::Order, what });
            }
        }
        for (place, run) in runs.iter().enumerate() {
            for claim in run.events.iter().filter(|event| event.kind == "Claimed") {
                let ahead = runs[..place].iter().find(|earlier| {
                    earlier.finished().is_none_or(|end| end.at > claim.at + seen.slack_us)
                        && earlier.number < run.number
                });
                if let Some(earlier) = ahead {
                    let end = earlier.finished().map_or_else(
                        || "has not ended at all".to_owned(),
                        |end| format!("ended {} µs later", end.at - claim.at),
                    );
                    let what =
                        format!("{} was claimed by event {}, while {} {end}.", run.title(), claim.seq, earlier.title());
                    found.push(Violation { rule: Rule::Order, what });
                    break;
                }
            }
        }
    }
}
