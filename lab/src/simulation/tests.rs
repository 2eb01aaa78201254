//! What the simulator must find, and must not.

use std::{collections::BTreeMap, thread::available_parallelism};

use super::{profile::Profile, run, scheduler, simulate};
use crate::{checker::Rule, history::Record, rows::Break};

/// As many as CI has time for.
const SEEDS: u64 = 2_000;

fn threads() -> usize {
    available_parallelism().map_or(1, Into::into)
}

fn with_trace(seed: u64, broken: Option<Break>) -> String {
    let outcome = run(seed, broken, true).unwrap();
    let broken: Vec<String> = outcome.violations.iter().map(ToString::to_string).collect();
    format!("seed {seed}\n{}\n{}", broken.join("\n"), outcome.trace.join("\n"))
}

#[test]
fn all_promises_are_kept() {
    let verdict = simulate(1, SEEDS, None, threads()).unwrap();
    if let Some((seed, _)) = verdict.failed {
        panic!("{}", with_trace(seed, None));
    }
    assert_eq!(verdict.seeds, SEEDS);
}

#[track_caller]
fn is_found(broken: Break, rules: &[Rule]) {
    let verdict = simulate(1, 1_000, Some(broken), threads()).unwrap();
    let (seed, violations) = verdict.failed.unwrap_or_else(|| panic!("nobody misses the check of {broken}"));
    let found = violations.iter().any(|violation| rules.contains(&violation.rule));
    assert!(found, "{}", with_trace(seed, Some(broken)));
}

#[test]
fn a_missing_check_of_the_epoch_is_found() {
    is_found(Break::Epoch, &[Rule::Epoch]);
}

#[test]
fn a_missing_check_of_the_journal_is_found() {
    is_found(Break::Journal, &[Rule::Recorded, Rule::Journal]);
}

#[test]
fn a_missing_check_of_the_slots_is_found() {
    is_found(Break::Slots, &[Rule::Limit]);
}

#[test]
fn a_missing_check_of_the_order_is_found() {
    is_found(Break::Order, &[Rule::Order]);
}

#[test]
fn the_same_seed_gives_the_same_history() {
    for seed in 1..=20 {
        let (first, second) = (run(seed, None, true).unwrap(), run(seed, None, true).unwrap());
        let differs = first.trace.iter().zip(&second.trace).position(|(one, other)| one != other);
        assert_eq!(differs.map(|line| (&first.trace[line], &second.trace[line])), None, "seed {seed}");
        assert_eq!(first.trace.len(), second.trace.len(), "seed {seed}");
        assert_eq!(first.records, second.records, "seed {seed}");
        // Whoever watches changes nothing.
        assert_eq!(run(seed, None, false).unwrap().records, first.records, "seed {seed}");
    }
}

/// What a simulation that has become too tame would no longer meet.
#[test]
fn much_goes_wrong() {
    let mut seen = BTreeMap::new();
    for seed in 1..=200 {
        for record in run(seed, None, false).unwrap().records {
            let what = match record {
                Record::Event(event) if event.facts.lost => format!("{} after a loss", event.kind),
                Record::Event(event) => match (event.facts.code, event.facts.status) {
                    (Some(code), _) => format!("{} {code}", event.kind),
                    (None, Some(status)) => format!("{} {status}", event.kind),
                    (None, None) => event.kind,
                },
                Record::Worker { ended_at: Some(_), came_back_at: Some(_), .. } => "worker came back".to_owned(),
                Record::Grant { eligible: Some(line), .. } if line.len() > 1 => "grant in a line".to_owned(),
                Record::Accepted { retry_of: Some(_), .. } => "retried".to_owned(),
                _ => continue,
            };
            *seen.entry(what).or_insert(0u32) += 1;
        }
    }
    for wanted in [
        "Claimed after a loss",
        "LeaseReleased after a loss",
        "StepFailed OUTCOME_UNKNOWN",
        "StepFailed SLOT_TIMED_OUT",
        "StepFailed STEP_DEADLINE_EXCEEDED",
        "StepFailed CODE_ENV_UNAVAILABLE",
        "StepFailed CANCELLED",
        "Finished CANCELLED",
        "Finished SUCCEEDED",
        "Parked",
        "StepYielded",
        "SlotWaiting",
        "CancelRequested",
        "LeaseReleased",
        "worker came back",
        "retried",
        "grant in a line",
    ] {
        assert!(seen.get(wanted).is_some_and(|times| *times >= 3), "{wanted} is too rare: {seen:#?}");
    }
}

/// Seeds that know one kind of trouble alone.
fn only(profile: &Profile, seeds: u64) -> Vec<Record> {
    let mut records = Vec::new();
    for seed in 1..=seeds {
        let outcome = scheduler::run(seed, None, true, Some(profile.clone())).unwrap();
        assert!(outcome.violations.is_empty(), "seed {seed}: {:?}\n{}", outcome.violations, outcome.trace.join("\n"));
        records.extend(outcome.records);
    }
    records
}

#[test]
fn a_worker_that_drains_leaves_nothing_behind() {
    // Claims take their time, so that many are under way when the order comes.
    let records = only(&Profile { drain: 60_000, slow: 300_000, ..Profile::default() }, 80);
    let lost = |record: &&Record| matches!(record, Record::Event(event) if event.facts.lost);
    assert_eq!(records.iter().find(lost), None, "nobody vanished");
    let released = |record: &&Record| matches!(record, Record::Event(event) if event.kind == "LeaseReleased");
    assert!(records.iter().filter(released).count() > 20, "many were given back");
}

#[test]
fn workers_that_wake_again_are_not_lost() {
    let records = only(&Profile { pause: 30_000, ..Profile::default() }, 200);
    // How many attempts lost three workers, whether or not these came back.
    let (mut lost, mut often) = (BTreeMap::new(), 0);
    for record in &records {
        let Record::Event(event) = record else { continue };
        let lost = lost.entry(event.run).or_insert(0);
        match event.kind.as_str() {
            "StepStarted" => *lost = 0,
            "Claimed" if event.facts.lost => {
                *lost += 1;
                often += u32::from(*lost == 3);
            }
            _ => {}
        }
    }
    assert!(often >= 5, "only {often} attempts lost three workers");
}

#[test]
fn a_process_that_is_struck_in_the_middle_of_anything_costs_nothing_else() {
    let records = only(&Profile { strike: 40_000, ..Profile::default() }, 120);
    let taken_over =
        |record: &&Record| matches!(record, Record::Event(event) if event.kind == "Claimed" && event.facts.lost);
    assert!(records.iter().filter(taken_over).count() > 200, "many were lost in the middle of a run");
}

#[test]
fn a_hook_whose_driver_panics_keeps_its_slot_until_it_is_gone() {
    let records = only(&Profile { panic: 60, ..Profile::default() }, 80);
    let gave_back =
        |record: &&Record| matches!(record, Record::Event(event) if event.kind == "LeaseReleased" && event.facts.lost);
    assert!(records.iter().filter(gave_back).count() > 50, "many panicked");
}

#[test]
fn a_database_that_never_answers_holds_up_nobody_for_ever() {
    only(&Profile { hang: 20_000, ..Profile::default() }, 40);
}

#[test]
fn a_bell_that_rings_twice_begins_nothing_twice() {
    // Two looks at one run in one process, and both lose the answers to their claims.
    only(&Profile { error: 400_000, bell_doubled: 100, ..Profile::default() }, 100);
}

#[test]
fn a_database_that_often_fails_costs_no_worker() {
    let records = only(&Profile { error: 300_000, heartbeats_too: true, ..Profile::default() }, 80);
    let gave_back =
        |record: &&Record| matches!(record, Record::Event(event) if event.kind == "LeaseReleased" && event.facts.lost);
    assert_eq!(records.iter().find(gave_back), None, "no run is to blame");
}
