//! A worker that is asked to drain, from the command line and through the API: as SIGTERM, with what is left told meanwhile.

use engine::journal::{Kind, Status};
use sandbox::When;
use serde_json::{Value, json};
use tests::{Size, history::tell, until};

use super::{
    IMPORT, call, case, check,
    check::Reference,
    gate::Gate,
    scene::{PATIENCE, Scene, soon},
};

const WORKERS: &str =
    "{ workers { id name startedAt heardOf draining drainingSince running left { updateId deploymentId step } } }";

async fn workers(scene: &Scene) -> Vec<Value> {
    scene.fleet.client.graphql(WORKERS, json!({})).await["workers"].as_array().unwrap().clone()
}

/// The row of a worker of this name, once it is as wanted.
async fn until_worker(scene: &Scene, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    until(&format!("{name} as wanted"), PATIENCE, || async {
        workers(scene).await.into_iter().find(|worker| worker["name"] == name && wanted(worker))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_worker_is_asked_to_drain() {
    let reference = Reference::get().await;
    let case = case("a drain", "push_bundle", call("POST", IMPORT, When::After));
    let mut scene = Scene::new(soon(Size::Fleet), None).await;
    let run = scene.request(None).await;
    let gate = Gate::shut(&scene, case.inside).await;
    scene.start_workers(2).await;
    gate.reached(&scene, case.inside).await;
    let (place, row) = scene.holder(run, case.step).await;
    let before = until_worker(&scene, &row.name, |worker| worker["running"] == 1).await;
    assert_eq!((&before["draining"], &before["drainingSince"]), (&json!(false), &Value::Null));
    assert_eq!(before["left"], json!([{ "updateId": run.to_string(), "deploymentId": "churn", "step": 3 }]));

    let none = scene.fleet.run(&["worker", "drain", "nobody"]);
    assert!(!none.status.success() && String::from_utf8_lossy(&none.stderr).contains("NOT_FOUND"));
    let asked = scene.fleet.run(&["worker", "drain", &row.name]);
    let said = String::from_utf8(asked.stdout).unwrap();
    assert!(asked.status.success() && said.contains(&row.name) && said.contains("1 updates"), "{said}");
    until("the worker sees it", PATIENCE, || async {
        scene.worker(place).process().log().contains("asked to drain").then_some(())
    })
    .await;
    // It ends its step first, and says what is left and since when.
    let during = until_worker(&scene, &row.name, |worker| worker["draining"] == true).await;
    assert!(during["drainingSince"].is_string() && during["left"] == before["left"], "{during:#}");
    assert_eq!(scene.worker(place).process().exit_code(), None);
    gate.open(&scene).await;
    assert_eq!(scene.worker(place).process().exited(PATIENCE).await, 0, "{}", scene.fleet.logs());
    let journal = scene.ends(run, Status::Succeeded).await;
    check::journal(&journal, Status::Succeeded, row.id, false);
    check::node(&scene, reference, None, true);
    check::hooks(&scene, run, &journal);
    let its_own: Vec<_> = journal.iter().filter(|event| event.epoch == 1).collect();
    let [.., done, released] = its_own.as_slice() else { panic!("{}", tell(&journal)) };
    assert!(matches!(done.kind, Kind::StepSucceeded { .. }) && done.step == Some(3), "{}", tell(&journal));
    assert!(matches!(released.kind, Kind::LeaseReleased { .. }), "{}", tell(&journal));

    // The other one through the API, by administrators alone.
    let other = workers(&scene).await;
    let [other] = other.as_slice() else { panic!("one is left: {other:#?}") };
    let drain = format!(
        "mutation {{ drainWorker(id: \"{}\") {{ worker {{ draining running }} refusals {{ code field message }} }} }}",
        other["id"].as_str().unwrap()
    );
    let bob = scene.fleet.user("bob", &[]);
    assert_eq!(bob.refused(&drain, json!({})).await[0].0, "FORBIDDEN");
    let drained = scene.fleet.client.ask(&drain, json!({})).await;
    assert_eq!(drained["worker"], json!({ "draining": true, "running": 0 }));
    assert_eq!(scene.worker(1 - place).process().exited(PATIENCE).await, 0, "{}", scene.fleet.logs());
    assert!(workers(&scene).await.is_empty());
    assert_eq!(scene.fleet.client.refused(&drain, json!({})).await[0].0, "NOT_FOUND");
}
