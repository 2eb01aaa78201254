//! No slot in time: a hook before the deployment, and one after it.

use std::fs;

use engine::journal::{Event, Kind};
use sandbox::BundleSpec;
use serde_json::{Value, json};
use tests::{
    Fleet, PATIENCE, Size, history, practice,
    requests::{quoted, step},
    until_true,
};

/// What a wait may take longer than it should: a look every second, and the pace of a machine that runs other tests.
const LATE: i64 = 2_500_000;

/// A hook that says that it runs, and ends when the file `gate` is there.
pub(super) fn long_hook(started: &str, gate: &str) -> Value {
    let code = format!(
        "import os, time\n\
         def execute(**kwargs):\n\
         \x20   open({}, 'a').write('started\\n')\n\
         \x20   while not os.path.exists({}):\n\
         \x20       time.sleep(0.02)\n\
         \x20   return HookResult.success('')\n",
        quoted(started),
        quoted(gate),
    );
    json!({"name": "long", "code": code})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_gets_no_slot_in_time_fails_the_update() {
    let fleet = Fleet::of(Size::Fleet).start().await;
    let node = practice::node().await;
    let api = &fleet.client;
    let (started, gate) = (fleet.scratch().at("started"), fleet.scratch().at("gate"));
    api.bundle(&BundleSpec::new("CHURN", "v1")).await;
    api.infrastructure("long", &node, json!({})).await;
    api.set_hooks("long", "PRE", json!([long_hook(&started, &gate)])).await;
    let short = json!({"name": "short", "code": "def execute(**kwargs):\n    return HookResult.success('')\n"});
    // By the default, ten seconds before; and shorter ones, before and after.
    for (id, phase, settings) in [
        ("default", "PRE", json!({})),
        ("before", "PRE", json!({"preHookWaitMs": 1_500})),
        ("after", "POST", json!({"postHookWaitMs": 1_500})),
    ] {
        api.infrastructure(id, &node, settings).await;
        api.set_hooks(id, phase, json!([short])).await;
        api.deployment(id, id, ("CHURN", "v1"), &format!("P_{}", id.to_uppercase()), json!({})).await;
    }
    let mut holding = Vec::new();
    for number in 1..=3 {
        let id = format!("long-{number}");
        api.deployment(&id, "long", ("CHURN", "v1"), &format!("LONG_{number}"), json!({})).await;
        holding.push(api.start(&id).await);
    }
    until_true("three hooks that hold the pool", PATIENCE, || async {
        fs::read_to_string(&started).is_ok_and(|text| text.lines().count() == 3)
    })
    .await;
    let pool = api.ask("{ hookPool { limit liveHolders slotsHeld } }", json!({})).await;
    assert_eq!(pool, json!({"limit": 3, "liveHolders": 3, "slotsHeld": 3}));

    let mut waiting = Vec::new();
    for id in ["default", "before", "after"] {
        waiting.push((id, api.start(id).await));
    }
    let seen = api
        .until_update(&waiting[0].1, "a wait for a slot", PATIENCE, |update| update["waitingOn"]["kind"] == "SLOT")
        .await;
    assert_eq!((&seen["status"], &seen["waitingOn"]["pool"]), (&json!("WAITING"), &json!("hooks")));
    assert_eq!(seen["waitingOn"]["holders"]["visible"].as_array().map(Vec::len), Some(3));
    let db = fleet.db().await;
    for (id, update) in waiting {
        let (name, wait) = match id {
            "default" => ("pre_hooks/1", 10_000_000),
            "before" => ("pre_hooks/1", 1_500_000),
            _ => ("post_hooks/1", 1_500_000),
        };
        let ended = api.over(&update).await;
        assert_eq!(
            (&ended["status"], &ended["failure"]["code"]),
            (&json!("FAILED"), &json!("SLOT_TIMED_OUT")),
            "{ended:#}"
        );
        let live = ended["failure"]["message"].as_str().unwrap().contains("live");
        assert_eq!(live, name == "post_hooks/1", "{}", ended["failure"]);
        let project = &node.snapshot()["projects"][format!("P_{}", id.to_uppercase())];
        assert_eq!(project["activeBundle"], if live { json!("v1") } else { Value::Null });

        let journal = history::journal(&db, update.parse().unwrap()).await;
        let (waiting, timed_out) = (
            journal.iter().find(|event| matches!(event.kind, Kind::SlotWaiting { .. })).unwrap(),
            journal.iter().find(|event| matches!(event.kind, Kind::SlotTimedOut { .. })).unwrap(),
        );
        let began = |event: &&Event| event.step == waiting.step && event.kind == Kind::StepStarted;
        let waited = timed_out.at - journal.iter().find(began).unwrap().at;
        assert!((wait..=wait + LATE).contains(&waited), "{id} waited {waited} µs, and should {wait}");
        // Who held the slots is told for good.
        let slot = &step(&ended, name)["attempts"][0]["slot"];
        let mut holders: Vec<&str> = slot["holders"]["visible"]
            .as_array()
            .unwrap()
            .iter()
            .map(|holder| holder["updateId"].as_str().unwrap())
            .collect();
        holders.sort_unstable();
        let mut wanted: Vec<&str> = holding.iter().map(String::as_str).collect();
        wanted.sort_unstable();
        assert_eq!(holders, wanted, "{slot:#}");
        assert!(journal.iter().all(|event: &Event| !matches!(event.kind, Kind::SlotGranted { .. })));
    }
    fs::write(&gate, "").unwrap();
    for update in holding {
        assert_eq!(api.over(&update).await["status"], "SUCCEEDED");
    }
    // The slots are free again: what timed out may be tried again.
    api.run("before", "SUCCEEDED").await;
    let pool = api.ask("{ hookPool { liveHolders slotsHeld waiting timeouts } }", json!({})).await;
    assert_eq!(pool, json!({"liveHolders": 0, "slotsHeld": 0, "waiting": 0, "timeouts": 3}));
}
