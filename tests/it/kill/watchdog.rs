//! One slot, and hooks whose descendants hide in sessions of their own. A worker is killed, or stands still, in the middle of one: nobody else's
//! hook begins while any descendant of the first is left, and in the end none is.

use std::{
    collections::BTreeSet,
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use engine::journal::Status;
use sandbox::BundleSpec;
use sea_orm::EntityTrait;
use serde_json::{Value, json};
use tests::{Size, history, practice, requests::quoted, until, until_true};

use super::scene::{PATIENCE, soon};

/// The hooks that processes on this machine belong to.
fn alive() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
        let is_process = entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit());
        let Ok(environment) = fs::read(entry.path().join("environ")) else { continue };
        let marks = environment.split(|byte| *byte == 0).filter_map(|variable| variable.strip_prefix(b"SLIPWAY_HOOK="));
        found.extend(marks.filter(|_| is_process).map(|mark| String::from_utf8_lossy(mark).into_owned()));
    }
    found
}

/// What the attempts wrote down: deployment, mark, and whose processes were there when it began.
fn effects(path: &str) -> Vec<(String, String, Vec<Value>)> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let read = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        let text = |field: &str| line[field].as_str().unwrap().to_owned();
        (text("deployment"), text("mark"), line["alive"].as_array().unwrap().clone())
    };
    whole.lines().map(read).collect()
}

fn hook(effects: &str, go: &str) -> String {
    format!(
        r#"
import json, os, subprocess, time

EFFECTS, GO = {}, {}

def marks():
    found = set()
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try:
            with open('/proc/%s/environ' % pid, 'rb') as file:
                variables = file.read().split(b'\0')
        except OSError:
            continue
        found.update(each[13:].decode() for each in variables if each.startswith(b'SLIPWAY_HOOK='))
    return found

def execute(deployment_id, **kwargs):
    mine = os.environ['SLIPWAY_HOOK']
    earlier = set()
    if os.path.exists(EFFECTS):
        with open(EFFECTS) as file:
            earlier = set(json.loads(line)['mark'] for line in file) - {{mine}}
    alive = sorted(earlier & marks())
    # A grandchild in a session of its own, whose parent is gone.
    subprocess.run(['sh', '-c', 'setsid sleep 600 >/dev/null 2>&1 </dev/null &'])
    with open(EFFECTS, 'a') as file:
        file.write(json.dumps({{'deployment': deployment_id, 'mark': mine, 'alive': alive}}) + '\n')
    while not os.path.exists(GO):
        time.sleep(0.02)
    return HookResult.success('')
"#,
        quoted(effects),
        quoted(go)
    )
}

async fn watched(pauses: bool) {
    let mut fleet = soon(Size::Fleet).workers(2).start().await;
    let node = practice::node().await;
    let api = fleet.client.clone();
    let (written, go) = (fleet.scratch().at("effects"), fleet.scratch().at("go"));
    api.infrastructure("test", &node, json!({ "preHookWaitMs": 600_000 })).await;
    api.set_hooks("test", "PRE", json!([{ "name": "hides", "code": hook(&written, &go) }])).await;
    api.ask("mutation { setHookLimit(limit: 1) { pool { limit } refusals { code } } }", json!({})).await;
    api.bundle(&BundleSpec::new("CHURN", "v1")).await;
    let mut runs = Vec::new();
    for id in ["first", "second", "third"] {
        api.deployment(id, "test", ("CHURN", "v1"), &id.to_uppercase(), json!({})).await;
    }
    runs.push(api.start("first").await);
    let (_, mark, _) = until("the first hook", PATIENCE, || async { effects(&written).first().cloned() }).await;
    for id in ["second", "third"] {
        runs.push(api.start(id).await);
    }
    let db = fleet.db().await;
    until_true("two in line", PATIENCE, || async { history::pool(&db, "hooks").await.2.len() == 2 }).await;
    assert!(alive().contains(&mark));

    // Somebody outside looks all the time whose processes are there.
    let (stop, most) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let looker = std::thread::spawn({
        let (stop, most, written) = (Arc::clone(&stop), Arc::clone(&most), written.clone());
        move || {
            while !stop.load(Ordering::Relaxed) {
                let there = alive();
                let ours = effects(&written).iter().filter(|(_, mark, _)| there.contains(mark)).count();
                most.fetch_max(ours, Ordering::Relaxed);
                std::thread::yield_now();
            }
        }
    });
    let run = runs[0].parse().unwrap();
    let holder = history::load(&db, run).await.row.worker_id.expect("a worker");
    let rows = entities::worker::Entity::find_by_id(holder);
    let row = rows.one(db.pool()).await.unwrap().expect("its row");
    let place: usize = row.name.strip_prefix("worker-").unwrap().parse::<usize>().unwrap() - 1;
    if pauses {
        fleet.workers[place].pause();
    } else {
        fleet.workers[place].kill().await;
    }
    // Another hook begins, once the lease has lapsed.
    until_true("the next hook", PATIENCE, || async { effects(&written).len() >= 2 }).await;
    fs::write(&go, "").unwrap();
    for run in &runs {
        let ended = history::until_over(&db, run.parse().unwrap(), PATIENCE).await;
        // What a hook leaves behind is ended, and warned of.
        assert_eq!(ended.state.status(), Status::Warning, "{}", fleet.logs());
    }
    if pauses {
        fleet.workers[place].wake();
        until_true("the one that stood still registers anew", PATIENCE, || async {
            fleet.workers[place].process().log().matches("registered").count() >= 2
        })
        .await;
    }
    stop.store(true, Ordering::Relaxed);
    looker.join().unwrap();
    assert_eq!(most.load(Ordering::Relaxed), 1, "hooks beyond the limit");
    let effects = effects(&written);
    assert!(effects.len() >= 4, "the interrupted one is run again: {effects:?}");
    assert!(effects.iter().all(|(_, _, alive)| alive.is_empty()), "{effects:?}");
    until_true("none survives", Duration::from_secs(2), || async {
        let there = alive();
        effects.iter().all(|(_, mark, _)| !there.contains(mark))
    })
    .await;
    fleet.workers.clear();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_worker_is_killed_inside_a_hook_that_hides() {
    watched(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_worker_stands_still_inside_a_hook_that_hides() {
    watched(true).await;
}
