//! What operators watch: each worker's numbers, and the fleet's, at every process.

use std::fs;

use sandbox::{BundleSpec, Fault, FaultKind, When};
use serde_json::json;
use tests::{Fleet, PATIENCE, Size, client, in_time, practice, requests::quoted, until, until_true};

use crate::backlog::metric;

async fn all(port: u16) -> String {
    let answer = client::http().get(format!("http://127.0.0.1:{port}/metrics")).send().await.unwrap();
    answer.text().await.unwrap()
}

/// The value of a line that begins so.
fn value(text: &str, line: &str) -> f64 {
    let found = text.lines().find_map(|each| each.strip_prefix(line)?.strip_prefix(' '));
    found.unwrap_or_else(|| panic!("no {line} in\n{text}")).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fleets_figures_are_at_every_process() {
    let fleet = Fleet::of(Size::Fleet).workers(2).set("SLIPWAY_WORKER_SEATS", 2).start().await;
    let node = practice::node().await;
    let api = &fleet.client;
    let go = fleet.scratch().at("go");
    let code = format!(
        "import os, time\ndef execute(**kwargs):\n    while not os.path.exists({}):\n        time.sleep(0.02)\n    return HookResult.success('')\n",
        quoted(&go)
    );
    api.infrastructure("held", &node, json!({ "preHookWaitMs": 600_000 })).await;
    api.set_hooks("held", "PRE", json!([{ "name": "waits", "code": code }])).await;
    api.infrastructure("test", &node, json!({})).await;
    api.ask("mutation { setHookLimit(limit: 1) { pool { limit } refusals { code } } }", json!({})).await;
    api.bundle(&BundleSpec::new("CHURN", "v1")).await;
    let import =
        Fault::on("POST", "/projects/*/bundles/imported/*/actions/activate", FaultKind::Hold { when: When::After });
    let import = node.arm(import.for_ever()).unwrap();
    for (id, at) in [("hook-1", "held"), ("hook-2", "held"), ("call-1", "test"), ("call-2", "test"), ("late", "test")] {
        api.deployment(id, at, ("CHURN", "v1"), &id.to_uppercase().replace('-', "_"), json!({})).await;
    }
    // Four seats are taken: one hook has the slot, one waits for it, two calls; a fifth update waits for a worker, and a sixth for that one.
    let mut updates = Vec::new();
    for id in ["hook-1", "hook-2", "call-1", "call-2"] {
        updates.push(api.start(id).await);
    }
    in_time("two calls", import.reached_times(2)).await;
    let api_port: u16 = api.url().rsplit(':').next().unwrap().parse().unwrap();
    until_true("a hook in line", PATIENCE, || async {
        let text = all(api_port).await;
        value(&text, "slipway_fleet_slots_waiting{pool=\"hooks\"}") == 1.0
    })
    .await;
    updates.push(api.start("late").await);
    updates.push(api.start("late").await);

    for port in fleet.workers.iter().map(|worker| worker.port).chain([api_port]) {
        let text = until(&format!("the fleet's figures at {port}"), PATIENCE, || async {
            let text = all(port).await;
            (value(&text, "slipway_fleet_updates{status=\"QUEUED\"}") == 2.0).then_some(text)
        })
        .await;
        for (line, wanted) in [
            ("slipway_fleet_updates{status=\"RUNNING\"}", 3.0),
            ("slipway_fleet_updates{status=\"WAITING\"}", 1.0),
            ("slipway_fleet_updates{status=\"STUCK\"}", 0.0),
            ("slipway_fleet_workers", 2.0),
            ("slipway_fleet_workers_draining", 0.0),
            ("slipway_fleet_slots_limit{pool=\"hooks\"}", 1.0),
            ("slipway_fleet_slots_held{pool=\"hooks\"}", 1.0),
        ] {
            assert_eq!(value(&text, line), wanted, "{line} at {port}\n{text}");
        }
        assert!(value(&text, "slipway_fleet_oldest_waiting_seconds") > 0.0);
        assert!(value(&text, "slipway_fleet_figures_age_seconds") < 10.0);
    }
    let (mut running, mut slots) = (0.0, 0.0);
    for worker in &fleet.workers {
        running += metric(worker.port, "slipway_updates_running").await;
        slots += metric(worker.port, "slipway_slots_held").await;
        assert_eq!(metric(worker.port, "slipway_seats").await, 2.0);
        for counter in ["slipway_refused_writes_total", "slipway_updates_parked_total", "slipway_lapses_found_total"] {
            assert_eq!(metric(worker.port, counter).await, 0.0, "{counter}");
        }
    }
    assert_eq!((running, slots), (4.0, 1.0));

    fs::write(&go, "").unwrap();
    import.disarm();
    for update in &updates {
        api.over(update).await;
    }
    until_true("nothing is left", PATIENCE, || async {
        let text = all(api_port).await;
        let left = ["QUEUED", "RUNNING", "WAITING"]
            .map(|status| value(&text, &format!("slipway_fleet_updates{{status=\"{status}\"}}")));
        left == [0.0; 3] && value(&text, "slipway_fleet_oldest_waiting_seconds") == 0.0
    })
    .await;
}

/// Each name in the rules to copy is a number that some process shows.
#[tokio::test(flavor = "multi_thread")]
async fn the_rules_to_copy_name_what_there_is() {
    let fleet = Fleet::of(Size::Fleet).workers(1).start().await;
    let api_port: u16 = fleet.client.url().rsplit(':').next().unwrap().parse().unwrap();
    let shown = format!("{}\n{}", all(api_port).await, all(fleet.workers[0].port).await);
    let rules = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/alerts.yml")).unwrap();
    let names: Vec<&str> = rules
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .flat_map(|line| line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')))
        .filter(|word| word.starts_with("slipway_"))
        .collect();
    assert!(names.len() > 5);
    for name in names {
        let name = name.strip_suffix("_total").unwrap_or(name);
        assert!(shown.contains(&format!("# TYPE {name} ")), "{name} is shown nowhere:\n{shown}");
    }
}
