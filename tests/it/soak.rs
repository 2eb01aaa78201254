//! The real thing under traffic, each fault once: the promises hold, and the history says so, too.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{fs::OpenOptions, io::Write, process::Command, sync::Arc, time::Duration};

use lab::soak::{self, Plan, Settings, Size, Times};
use serde_json::json;
use tests::{scratch::Scratch, slipway};

async fn soak(size: Size, seed: u64) {
    let scratch = Scratch::new("history");
    let history = scratch.path().join("history.jsonl");
    let settings = Settings {
        binary: slipway::binary(),
        size,
        // A bound: each fault is made once, and that takes about a minute.
        lasts: Duration::from_secs(240),
        seed,
        workers: 2,
        rate: 1.5,
        plan: Plan::Each,
        history: Some(history.clone()),
        times: Times::default(),
    };
    let report = soak::run(&settings, Arc::new(tell)).await.unwrap();
    tell(&report.to_string());
    assert_eq!(report.broken(), Vec::<String>::new());
    assert!(report.faults.iter().all(|(_, count)| *count == 1));
    assert!(report.accepted > 10 && report.outcomes["SUCCEEDED"] > 10, "it was asked for something");
    assert!(report.after_kills.count() > 0, "a worker was killed at its work");
    assert!(report.after_kills.percentile(100) <= report.bound_us);
    assert_eq!(report.full.0, 1, "an upload to a full store is refused");
    assert!(report.repeated_in_flight > 0, "a killed worker's activation arrived when it was made again");
    let (late, refused) = report.late_writes;
    assert!(size == Size::Embedded || late > 0, "what a worker wrote was delivered after its lease");
    assert_eq!(late, refused);

    let check = || {
        let mut check = Command::new(slipway::binary());
        check.arg("soak").arg("--check").arg(&history).output().unwrap()
    };
    let checked = check();
    let said = [checked.stdout, checked.stderr].concat();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&said));
    // The check has teeth: four hooks at once are one too many.
    let mut file = OpenOptions::new().append(true).open(&history).unwrap();
    for run in 1..=4 {
        let hook = json!({"record": "hook", "run": run, "step": 1, "attempt": 1, "pool": "hooks", "from": 1, "until": 900_000});
        writeln!(file, "{hook}").unwrap();
    }
    let checked = check();
    assert_eq!(checked.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&checked.stdout).contains("never more hooks than the limit"));
}

#[expect(clippy::print_stdout, reason = "whoever reads the failed test needs what was done when")]
fn tell(line: &str) {
    println!("{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_fleet_is_killed_part_after_part() {
    soak(Size::Fleet, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_single_process_is_killed_again_and_again() {
    soak(Size::Embedded, 1).await;
}
