//! Every step may be attempted twice at any point: at each call of an update, the answer is lost, the call is reset or refused for a while, or the worker dies.
//! The node ends the same, and what takes effect does so once.

use sandbox::{Fault, FaultKind, When};
use targets::{secret_ref::SecretRef, service::Authorization};

use super::world::{SERVICE, STEPS, World, world};
use crate::support::Step;

/// `v1` answers; `v2` and `v3` are about to, with keys of the deployment.
async fn second_update() -> World {
    let mut world = world().await;
    world.update().await;
    world.new_run();
    world.take(&[("v2", 0.5), ("v3", 0.5)]).await;
    world.service().authorization = Some(Authorization::ApiKeys { keys: vec![SecretRef { id: "caller".into() }] });
    world.node.clear_calls();
    world
}

async fn make(first: bool) -> World {
    if first { world().await } else { second_update().await }
}

fn any(kind: FaultKind, nth: u32) -> Fault {
    Fault { method: None, path: "**".to_owned(), nth, count: Some(1), kind }
}

fn status(status: u16) -> FaultKind {
    FaultKind::Status { status, error_type: None, message: None, retry_after: Some(1) }
}

fn once_each(world: &World, generations: usize, told: &str) {
    assert!(world.effects("POST", "/services") <= 1, "{told}: created again");
    assert_eq!(world.effects("POST", "/importFromArchive"), generations, "{told}: imports");
    assert!(world.effects("POST", "/preload") == generations, "{told}: preloads");
    let switches = world.effects("POST", "/setMapping") + world.effects("POST", "/switchTo/v1");
    assert_eq!(switches, 1, "{told}: switches");
}

async fn disturbed_by(kind: FaultKind, first: bool) {
    let quiet = make(first).await;
    quiet.update().await;
    let (wanted, calls) = (quiet.on_node(), u32::try_from(quiet.node.calls().len()).unwrap());
    let generations = if first { 1 } else { 2 };
    once_each(&quiet, generations, "quiet");
    for nth in 1..=calls {
        let world = make(first).await;
        let fault = world.node.arm(any(kind.clone(), nth)).unwrap();
        world.update().await;
        let call = world.node.calls().get(nth as usize - 1).map(|call| format!("{} {}", call.method, call.path));
        let told = format!("{kind:?} at call {nth}: {call:?}");
        assert_eq!(fault.hits(), 1, "{told}");
        assert_eq!(world.on_node(), wanted, "{told}");
        once_each(&world, generations, &told);
        assert_eq!(world.scratch(), [""; 0], "{told}");
    }
}

#[tokio::test]
async fn answers_lost_in_a_first_update() {
    disturbed_by(FaultKind::LostAnswer, true).await;
}

#[tokio::test]
async fn answers_lost_in_a_second_update() {
    disturbed_by(FaultKind::LostAnswer, false).await;
}

#[tokio::test]
async fn answers_cut() {
    disturbed_by(FaultKind::CutAnswer, false).await;
}

#[tokio::test]
async fn calls_reset() {
    disturbed_by(FaultKind::Reset, false).await;
}

#[tokio::test]
async fn calls_refused_for_a_while() {
    for code in [429, 503] {
        disturbed_by(status(code), true).await;
    }
}

/// The worker dies while a call is held: after its effect, or before it (and the call goes on at the node). Another one goes on with the notes.
async fn killed(when: When) {
    let quiet = second_update().await;
    quiet.update().await;
    let (wanted, calls) = (quiet.on_node(), u32::try_from(quiet.node.calls().len()).unwrap());
    for nth in 1..=calls {
        let world = second_update().await;
        let fault = world.node.arm(any(FaultKind::Hold { when }, nth)).unwrap();
        let mut at = None;
        for step in STEPS {
            tokio::select! {
                done = world.step(step) => { done.unwrap(); }
                () = fault.reached() => { at = Some(step); break; }
            }
        }
        let died = at.unwrap();
        let told = format!("killed {when:?} call {nth}, in {died:?}");
        fault.release();
        // What the dead worker called comes to its end at the node.
        world.node.until_calls(|calls| calls.iter().all(|call| call.end.is_some())).await;
        for step in STEPS.into_iter().skip_while(|step| *step != died) {
            world.step(step).await.unwrap();
        }
        assert_eq!(world.on_node(), wanted, "{told}");
        once_each(&world, 2, &told);
        assert_eq!(world.scratch(), [""; 0], "{told}");
    }
}

#[tokio::test]
async fn workers_killed_after_the_effect() {
    killed(When::After).await;
}

#[tokio::test]
async fn workers_killed_before_the_effect() {
    killed(When::Before).await;
}

/// What each refusal at each call that changes the node means.
#[tokio::test]
async fn refusals_have_their_codes() {
    let table: [(u16, &str, bool); 7] = [
        (401, "NODE_KEY_REJECTED", false),
        (403, "NODE_FORBIDDEN", false),
        (404, "NODE_NOT_FOUND", false),
        (422, "NODE_REFUSED", false),
        (429, "NODE_BUSY", true),
        (500, "NODE_ERROR", true),
        (503, "NODE_UNAVAILABLE", true),
    ];
    let calls = [
        ("POST", "/admin/api/services", Step::Push),
        ("POST", "/admin/api/services/*/generations/actions/importFromArchive", Step::Push),
        ("POST", "/admin/api/services/*/generations/*/preload", Step::Push),
        ("POST", "/admin/api/services/*/actions/switchTo/*", Step::Activate),
    ];
    for (method, path, at) in calls {
        for (code, wanted, retryable) in table {
            let world = world().await;
            for step in STEPS.into_iter().take_while(|step| *step != at) {
                world.step(step).await.unwrap();
            }
            world.node.arm(Fault::on(method, path, status(code))).unwrap();
            let (failure, again) = world.failure(at).await;
            assert_eq!((failure.code.as_str(), again), (wanted, retryable), "{method} {path} {code}");
            // Nothing of it is live, and the next update goes through.
            assert_ne!(world.on_node()[SERVICE]["enabled"], true);
            world.update().await;
        }
    }
}
