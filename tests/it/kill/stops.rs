//! Processes that are told to stop, an API that dies, and the embedded size.

use std::time::Duration;

use engine::journal::{Event, Kind, Status};
use entities::{run, worker};
use sandbox::When;
use sea_orm::EntityTrait;
use tests::{Size, history::tell, until_true};

use super::{
    ACTIVATE, Case, IMPORT, call, case, check,
    check::Reference,
    gate::{Gate, Inside},
    scene::{AT_ONCE, PATIENCE, STEPS, Scene, holders, soon},
};

/// A process that has nothing to wait for ends within this.
const SOON: Duration = Duration::from_secs(10);

/// Starts an update, and waits until a worker, the place of which is returned, is where the case wants it.
async fn inside(
    scene: &mut Scene,
    case: &Case,
    arguments: &[&str],
) -> (engine::ids::RunId, Gate, usize, worker::Model) {
    let run = scene.request(None).await;
    let gate = Gate::shut(scene, case.inside).await;
    for _ in 0..2 {
        scene.fleet.start_worker_with(arguments).await;
    }
    gate.reached(scene, case.inside).await;
    let (place, row) = scene.holder(run, case.step).await;
    (run, gate, place, row)
}

async fn says(scene: &Scene, place: usize, what: &str) {
    until_true(what, PATIENCE, || async { scene.worker(place).process().log().contains(what) }).await;
}

/// Asked to stop once, a worker ends the step that it is at, gives the run to the other one at the edge, and goes.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_worker_that_drains_hands_over_at_the_edge() {
    let reference = Reference::get().await;
    let case = case("a drain", "push_bundle", call("POST", IMPORT, When::After));
    let mut scene = Scene::new(soon(Size::Fleet), None).await;
    let (run, gate, place, row) = inside(&mut scene, &case, &[]).await;
    scene.worker(place).terminate();
    says(&scene, place, "draining").await;
    gate.open(&scene).await;
    assert_eq!(scene.worker(place).process().exited(SOON).await, 0, "{}", scene.fleet.logs());
    let journal = scene.ends(run, Status::Succeeded).await;

    check::journal(&journal, Status::Succeeded, row.id, false);
    check::node(&scene, reference, None, true);
    check::hooks(&scene, run, &journal);
    let its_own: Vec<&Event> = journal.iter().filter(|event| event.epoch == 1).collect();
    let [.., done, released] = its_own.as_slice() else { panic!("{}", tell(&journal)) };
    let push = STEPS.iter().position(|name| *name == case.step);
    assert!(matches!(done.kind, Kind::StepSucceeded { .. }) && done.step == push, "{}", tell(&journal));
    assert!(matches!(released.kind, Kind::LeaseReleased { .. }), "{}", tell(&journal));
    let row = worker::Entity::find_by_id(row.id).one(scene.db.pool()).await.unwrap().unwrap();
    assert!(row.ended_at.is_some(), "nobody waits for its lease to lapse");
}

/// How a worker that drains is brought to interrupt its step.
#[derive(Clone, Copy, PartialEq)]
enum Hurry {
    /// It is told to stop a second time.
    Told,
    /// Its time to drain runs out.
    Late,
}

/// Asked twice, it ends its hook, or leaves the node's call to itself, and gives the run back at once; likewise when its time to drain is over.
#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn a_worker_in_a_hurry_gives_back_at_once() {
    let cases = [
        case("a hook before", "pre_hooks/1", Inside::PreHook),
        Case { ends: Status::Failed, ..case("a hook after", "post_hooks/1", Inside::PostHook) },
        case("after the activation", "activate", call("POST", ACTIVATE, When::After)),
    ];
    let reference = Reference::get().await;
    for hurry in [Hurry::Told, Hurry::Late] {
        let all = cases.map(|case| tokio::spawn(hurried(case, hurry, reference)));
        let mut failed = Vec::new();
        for (task, case) in all.into_iter().zip(cases) {
            failed.extend(task.await.is_err().then_some(case.name));
        }
        assert!(failed.is_empty(), "{failed:?}");
    }
}

async fn hurried(case: Case, hurry: Hurry, reference: &Reference) {
    let mut scene = Scene::new(soon(Size::Fleet), case.post).await;
    let seconds = if hurry == Hurry::Late { "1" } else { "300" };
    let (run, gate, place, row) = inside(&mut scene, &case, &["--drain-timeout", seconds]).await;
    let interrupted = case.inside.hook(&scene).map(|hook| hook.effects());
    scene.worker(place).terminate();
    says(&scene, place, "draining").await;
    if hurry == Hurry::Told {
        scene.worker(place).terminate();
    }
    assert_eq!(scene.worker(place).process().exited(SOON).await, 0, "{}", scene.fleet.logs());
    for effect in interrupted.into_iter().flatten() {
        assert_eq!(effect.processes(), Vec::<String>::new(), "it went before its worker did");
    }
    scene.taken_over(run, 2).await;
    gate.open(&scene).await;
    let journal = scene.ends(run, case.ends).await;

    check::journal(&journal, case.ends, row.id, false);
    check::node(&scene, reference, None, true);
    check::hooks(&scene, run, &journal);
}

/// A request that was answered is in the database: neither the API nor Redis is needed to find it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_api_is_killed_right_after_it_accepted() {
    let reference = Reference::get().await;
    let mut scene = Scene::new(soon(Size::Fleet).private_redis(), None).await;
    scene.pre.let_go();
    scene.post.let_go();
    let run = scene.request(Some("once")).await;
    scene.fleet.api.take().expect("an API").kill().await;
    scene.fleet.redis.as_ref().expect("a Redis of its own").flush().await;
    scene.start_workers(1).await;
    let journal = scene.ends(run, Status::Succeeded).await;

    assert_eq!(holders(&journal).len(), 1, "{}", tell(&journal));
    check::node(&scene, reference, None, true);
    check::hooks(&scene, run, &journal);
    scene.fleet.start_api().await;
    assert_eq!(scene.request(Some("once")).await, run, "whoever lost the answer asks again without harm");
    assert_eq!(run::Entity::find().all(scene.db.pool()).await.unwrap().len(), 1);
}

/// The embedded size: the one process is killed, started again on the same data, and goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn the_embedded_size_is_killed_and_started_again() {
    let cases = [
        case("a hook before", "pre_hooks/1", Inside::PreHook),
        case("after the import", "push_bundle", call("POST", IMPORT, When::After)),
        case("before the activation", "activate", call("POST", ACTIVATE, When::Before)),
        case("after the activation", "activate", call("POST", ACTIVATE, When::After)),
    ];
    let reference = Reference::get().await;
    let all = cases.map(|case| tokio::spawn(embedded(case, reference)));
    let mut failed = Vec::new();
    for (task, case) in all.into_iter().zip(cases) {
        failed.extend(task.await.is_err().then_some(case.name));
    }
    assert!(failed.is_empty(), "{failed:?}");
}

async fn embedded(case: Case, reference: &Reference) {
    let mut scene = Scene::new(soon(Size::Embedded), case.post).await;
    let gate = Gate::shut(&scene, case.inside).await;
    let run = scene.request(None).await;
    let hook = gate.reached(&scene, case.inside).await;
    let (_, before) = scene.holder(run, case.step).await;
    scene.worker(0).kill().await;
    if let Some(hook) = &hook {
        hook.gone(AT_ONCE).await;
    }
    scene.start_workers(1).await;
    scene.taken_over(run, 2).await;
    gate.open(&scene).await;
    let journal = scene.ends(run, case.ends).await;

    check::journal(&journal, case.ends, before.id, true);
    check::node(&scene, reference, None, true);
    check::hooks(&scene, run, &journal);
}
