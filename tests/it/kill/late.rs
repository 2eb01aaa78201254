//! A worker that wakes long after, between two calls to the node: others have moved the node on meanwhile, and it must not move it back.

use engine::journal::Status;
use sandbox::When;
use tests::{Size, until_true};

use super::{
    Case, call, case,
    gate::Gate,
    scene::{PATIENCE, Scene, soon},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn a_worker_that_wakes_late_touches_nothing() {
    let cases = [
        case("before variables are written", "push_bundle", call("GET", "/projects/*/variables", When::After)),
        case("before a run-as user is written", "enforce_run_as", call("GET", "/projects/*/scenarios/*", When::After)),
    ];
    let all = cases.map(|case| tokio::spawn(woken_late(case)));
    let mut failed = Vec::new();
    for (task, case) in all.into_iter().zip(cases) {
        failed.extend(task.await.is_err().then_some(case.name));
    }
    assert!(failed.is_empty(), "{failed:?}");
}

async fn woken_late(case: Case) {
    let mut scene = Scene::new(soon(Size::Fleet), case.post).await;
    let run = scene.request(None).await;
    let gate = Gate::shut(&scene, case.inside).await;
    scene.start_workers(2).await;
    gate.reached(&scene, case.inside).await;
    let (victim, before) = scene.holder(run, case.step).await;
    scene.worker(victim).pause();
    scene.ends(run, Status::Succeeded).await;
    scene.move_to("us").await;
    let second = scene.request(None).await;
    scene.ends(second, Status::Succeeded).await;
    let (moved, asked) = (scene.node.snapshot(), scene.effects().len());
    assert_eq!(moved["projects"]["CHURN"]["variables"]["local"]["region"], "us");

    // What it asked long ago is answered now: the answer lies there when it wakes.
    gate.open(&scene).await;
    until_true("the answer", PATIENCE, || async { scene.node.calls().iter().all(|call| call.end.is_some()) }).await;
    scene.worker(victim).wake();
    scene.registered_anew(&before).await;
    assert_eq!(scene.effects().len(), asked, "{:#?}", scene.effects().split_off(asked));
    assert_eq!(scene.node.snapshot(), moved);
}
