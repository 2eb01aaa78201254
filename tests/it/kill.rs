//! Whoever dies, or sleeps too long: the run ends as if nothing had been, no recorded step is done again, and no hook outlives its worker.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod cancels;
mod check;
mod drains;
mod gate;
pub(crate) mod hook;
mod late;
mod poison;
mod scene;
mod skew;
mod stops;
mod watchdog;

use std::time::Duration;

use engine::journal::Status;
use futures_util::StreamExt;
use sandbox::When;
use tests::{Size, history};

use check::Reference;
use gate::{Gate, Inside};
use scene::{AT_ONCE, GRACE, Scene, holders, soon};

/// So many fleets at once.
const AT_ONCE_FLEETS: usize = 4;

/// Where a worker is hurt, and how the run ends.
#[derive(Clone, Copy, Debug)]
struct Case {
    name: &'static str,
    step: &'static str,
    inside: Inside,
    /// What an interrupted post-deployment hook does; None is its default.
    post: Option<&'static str>,
    ends: Status,
    /// The end of the path of a call that is made again: the node shows nothing of it, or the worker's end cut it short.
    again: Option<&'static str>,
}

const fn case(name: &'static str, step: &'static str, inside: Inside) -> Case {
    Case { name, step, inside, post: None, ends: Status::Succeeded, again: None }
}

const fn call(method: &'static str, path: &'static str, when: When) -> Inside {
    Inside::Call { method, path, nth: 1, when }
}

const IMPORT: &str = "/projectsFromBundle";
const ACTIVATE: &str = "/projects/*/bundles/imported/*/actions/activate";
const PRELOAD: &str = "/projects/*/bundles/imported/*/actions/preload";
const CONNECTIONS: &str = "/admin/connections";

const CASES: [Case; 13] = [
    case("check_policy", "check_policy", Inside::Table("bundle")),
    case("a hook before", "pre_hooks/1", Inside::PreHook),
    case("validate_remap", "validate_remap", call("GET", CONNECTIONS, When::Before)),
    Case { again: Some(IMPORT), ..case("before the import", "push_bundle", call("POST", IMPORT, When::Before)) },
    case("after the import", "push_bundle", call("POST", IMPORT, When::After)),
    Case { again: Some("/preload"), ..case("after the preload", "push_bundle", call("POST", PRELOAD, When::After)) },
    case("before the activation", "activate", call("POST", ACTIVATE, When::Before)),
    case("after the activation", "activate", call("POST", ACTIVATE, When::After)),
    case("a scenario's user", "enforce_run_as", call("PUT", "/projects/*/scenarios/*", When::After)),
    case(
        "a web app's restart",
        "enforce_run_as",
        call("PUT", "/projects/*/webapps/*/backend/actions/restart", When::After),
    ),
    // The first time it is asked is validate_remap's.
    case("verify", "verify", Inside::Call { method: "GET", path: CONNECTIONS, nth: 2, when: When::Before }),
    Case { ends: Status::Failed, ..case("a hook after", "post_hooks/1", Inside::PostHook) },
    Case { post: Some("RERUN"), ..case("a hook after that may run again", "post_hooks/1", Inside::PostHook) },
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Violence {
    /// SIGKILL.
    Kill,
    /// SIGSTOP until another one has taken over, then SIGCONT.
    Pause,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn a_worker_is_killed_inside_each_step() {
    each(Violence::Kill).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn a_worker_is_paused_past_its_lease_inside_each_step() {
    each(Violence::Pause).await;
}

async fn each(violence: Violence) {
    let reference = Reference::get().await;
    let one = |case: Case| async move {
        let done = tokio::spawn(disturbed(case, violence, reference)).await;
        done.is_err().then_some(case.name)
    };
    let failed = futures_util::stream::iter(CASES).map(one).buffer_unordered(AT_ONCE_FLEETS);
    let failed: Vec<_> = failed.filter_map(|name| async move { name }).collect().await;
    assert!(failed.is_empty(), "{violence:?}: {failed:?}");
}

async fn disturbed(case: Case, violence: Violence, reference: &Reference) {
    let mut scene = Scene::new(soon(Size::Fleet), case.post).await;
    let run = scene.request(None).await;
    let gate = Gate::shut(&scene, case.inside).await;
    scene.start_workers(2).await;
    let hook = gate.reached(&scene, case.inside).await;
    let (victim, before) = scene.holder(run, case.step).await;
    let outlives = match violence {
        Violence::Kill => {
            scene.worker(victim).kill().await;
            AT_ONCE
        }
        Violence::Pause => {
            scene.worker(victim).pause();
            GRACE + Duration::from_secs(1)
        }
    };
    if let Some(hook) = &hook {
        hook.gone(outlives).await;
    }
    scene.taken_over(run, 2).await;
    gate.open(&scene).await;
    if violence == Violence::Pause {
        scene.worker(victim).wake();
    }
    let journal = scene.ends(run, case.ends).await;

    check::journal(&journal, case.ends, before.id, true);
    check::node(&scene, reference, case.again, violence == Violence::Kill);
    check::hooks(&scene, run, &journal);
    if let Some(hook) = case.inside.hook(&scene) {
        assert_eq!(hook.effects().len(), if case.ends == Status::Succeeded { 2 } else { 1 }, "run again or not");
    }
    if violence == Violence::Pause {
        let anew = scene.registered_anew(&before).await;
        let other = 1 - victim;
        scene.worker(other).kill().await;
        let next = scene.request(None).await;
        let helped = scene.ends(next, Status::Succeeded).await;
        assert_eq!(holders(&helped), [anew], "{}", history::tell(&helped));
        assert_eq!(history::journal(&scene.db, run).await, journal, "nothing was added later");
    }
}
