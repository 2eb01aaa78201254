//! How events are stored.

use serde_json::json;

use super::sim::{Answer, BROKEN, Sim, spec};
use crate::{
    failure::Failure,
    ids::{RunId, WorkerId},
    journal::{Kind, Status, Then},
    plan::OnFailure,
};

fn all() -> Vec<Kind> {
    let pool = || "hooks".to_owned();
    let failure = || Failure::new(BROKEN, "It is broken.").detail("status 500").outcome_unknown();
    let kinds = vec![
        Kind::Requested { spec: Box::new(spec(OnFailure::Restore)) },
        Kind::Claimed { worker: WorkerId(1 << 60), lapsed: true, came_back: vec![WorkerId(3)] },
        Kind::StepStarted,
        Kind::SlotWaiting { pool: pool(), wait_ms: 10_000, holders: vec![RunId(1), RunId(1 << 61)] },
        Kind::SlotGranted { pool: pool(), ticket: 3 },
        Kind::SlotTimedOut { pool: pool(), waited_ms: 10_000, holders: Vec::new() },
        Kind::StepNoted { key: "intent".to_owned(), value: json!({ "a": [1, null, "\u{0}é"] }) },
        Kind::StepSucceeded { output: json!(null), warnings: vec!["Look.".to_owned()] },
        Kind::StepYielded { check_in_us: 5 },
        Kind::StepFailed { failure: failure(), then: Then::Retry },
        Kind::Parked { delay_us: i64::MAX },
        Kind::released("the worker drains".to_owned()),
        Kind::CancelRequested { by: "ada".to_owned() },
        Kind::Stuck { failure: failure() },
        Kind::Abandoned { by: "ada".to_owned() },
        Kind::Finished { status: Status::Succeeded, failure: None },
        Kind::Finished { status: Status::Failed, failure: Some(failure()) },
    ];
    // A kind that is added to the enum must be added here.
    for kind in &kinds {
        match kind {
            Kind::Requested { .. }
            | Kind::Claimed { .. }
            | Kind::StepStarted
            | Kind::SlotWaiting { .. }
            | Kind::SlotGranted { .. }
            | Kind::SlotTimedOut { .. }
            | Kind::StepNoted { .. }
            | Kind::StepSucceeded { .. }
            | Kind::StepYielded { .. }
            | Kind::StepFailed { .. }
            | Kind::Parked { .. }
            | Kind::LeaseReleased { .. }
            | Kind::CancelRequested { .. }
            | Kind::Stuck { .. }
            | Kind::Abandoned { .. }
            | Kind::Finished { .. } => {}
        }
    }
    kinds
}

#[test]
fn every_kind_comes_back_as_it_was() {
    for kind in all() {
        let (name, data) = kind.to_row().unwrap();
        assert_eq!(name, kind.name());
        assert_eq!(Kind::from_row(&name, &data).unwrap(), kind, "{name}");
    }
}

#[test]
fn whole_journals_come_back_as_they_were() {
    for answer in Answer::ALL {
        let sim = Sim::new(spec(OnFailure::Restore)).answer("pre_hooks/1", answer).answer("verify", answer).run();
        for event in sim.journal {
            let (name, data) = event.kind.to_row().unwrap();
            assert_eq!(Kind::from_row(&name, &data).unwrap(), event.kind);
        }
    }
}

#[test]
fn what_is_not_ours_is_refused() {
    for (name, data) in [
        ("Invented", "{}"),
        ("", "{}"),
        ("Claimed", "{}"),
        ("Claimed", "[]"),
        ("Claimed", "no json"),
        ("Finished", r#"{"status":"HAPPY"}"#),
        ("StepFailed", r#"{"failure":{"code":"X","message":"x"},"then":"HOPE"}"#),
    ] {
        assert!(Kind::from_row(name, data).is_err(), "{name} {data}");
    }
}

#[test]
fn statuses_come_back_as_they_were() {
    for status in Status::ALL {
        assert_eq!(status.as_str().parse(), Ok(status));
        assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
    }
    assert!("HAPPY".parse::<Status>().is_err());
}
