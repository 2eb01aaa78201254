//! No process of a hook outlives it, its worker, its lease or its supervisor.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use engine::clock::boottime_nanos;
use rustix::process::Signal;
use worker::hooks::{HookOutcome, orphans, worker_startup};

use crate::support::{Bench, Running, SECOND, alive, parent, signal, until};

/// Waits for ever, deaf to the polite signals, with a daemon of its own session beside it that has neither parent nor environment.
const STUBBORN: &str = r#"import os, signal, sys, time
def daemon():
    if os.fork():
        os.wait()
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    os.execve("{PYTHON}", ["python", "-c", "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65)); signal.pause()", "{MARK}"], {})
def execute(**kwargs):
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
    daemon()
    if kwargs["attempt"] == 2:
        return HookResult.success("left one")
    print("waiting")
    while True:
        time.sleep(1)
"#;

async fn stubborn(change: impl FnOnce(&mut worker::hooks::HookCall)) -> Running {
    let mut running = Bench::new(STUBBORN).with(change).start();
    running.line("waiting").await;
    until("hook and daemon run", || alive(&running.marker).len() == 2).await;
    running
}

#[tokio::test]
async fn a_hook_that_hangs_is_ended_at_its_deadline() {
    let running = stubborn(|call| call.limits.deadline = Duration::from_secs(8)).await;
    let done = running.done().await;
    assert_eq!(done.report.outcome, HookOutcome::DeadlineExceeded);
    assert!(done.report.duration >= Duration::from_secs(8));
    assert!(done.report.duration < Duration::from_secs(30));
    done.assert_gone();
}

#[tokio::test]
async fn a_daemon_is_ended_and_counted_and_the_result_stands() {
    let done =
        Bench::new(STUBBORN).with(|call| drop(call.arguments.extra.insert("attempt".into(), 2.into()))).run().await;
    assert_eq!(done.report.outcome, HookOutcome::Success("left one".to_owned()));
    assert_eq!(done.report.leftovers, 1);
    done.assert_gone();
}

#[tokio::test]
async fn a_fork_bomb_comes_to_an_end() {
    // Thirty that wait, and five that fork without end, each child in a session of its own and forking on.
    let code = "import os, signal
def execute(**kwargs):
    for n in range(35):
        if os.fork() == 0:
            os.setsid()
            if n < 30:
                signal.pause()
            while True:
                if os.fork():
                    os._exit(0)
    return HookResult.success()";
    let done = Bench::new(code).run().await;
    assert_eq!(done.report.outcome, HookOutcome::Success(String::new()));
    assert!(done.report.leftovers >= 30, "{:?}", done.report);
    done.assert_gone();
}

#[tokio::test]
async fn cancelling_ends_it_and_a_cancelled_call_starts_nothing() {
    let running = stubborn(|_| {}).await;
    running.cancel.cancel();
    let done = running.done().await;
    assert_eq!(done.report.outcome, HookOutcome::Cancelled);
    done.assert_gone();

    let bench = Bench::new("raise SystemExit(1)");
    bench.cancel.cancel();
    assert_eq!(bench.run().await.report.outcome, HookOutcome::Cancelled);
}

#[tokio::test]
async fn a_lease_that_is_not_renewed_ends_it_and_one_that_is_does_not() {
    let running = stubborn(|_| {}).await;
    let first = boottime_nanos() + 3 * SECOND;
    running.lease.send(first).unwrap();
    // Renewed again and again, it outlives each single deadline.
    while boottime_nanos() < first + SECOND {
        let so_far = boottime_nanos();
        until("half a second more", || boottime_nanos() > so_far + SECOND / 2).await;
        assert_eq!(alive(&running.marker).len(), 2);
        running.lease.send(boottime_nanos() + 3 * SECOND).unwrap();
    }
    let last = *running.lease.borrow();
    let done = running.done().await;
    assert_eq!(done.report.outcome, HookOutcome::LeaseDeadline);
    assert!(boottime_nanos() >= last);
    done.assert_gone();
}

#[tokio::test]
async fn nothing_starts_under_a_lease_that_lapsed() {
    let bench = Bench::new("print('ran')");
    bench.lease.send_replace(boottime_nanos() - 1);
    let done = bench.run().await;
    assert_eq!(done.report.outcome, HookOutcome::LeaseDeadline);
    assert!(done.lines.is_empty());
    done.assert_gone();
}

#[tokio::test]
async fn a_dropped_future_leaves_nobody() {
    let marker = stubborn(|_| {}).await.drop_future().await;
    until("all ended", || alive(&marker).is_empty()).await;
}

#[tokio::test]
async fn a_killed_supervisor_leaves_nobody() {
    worker_startup().unwrap();
    let (running, neighbour) = (stubborn(|_| {}).await, stubborn(|_| {}).await);
    let hook = alive(&running.marker).into_iter().min().unwrap();
    let supervisor = parent(hook);
    assert!(orphans::own_descendants().unwrap().contains(&supervisor));
    signal(supervisor, Signal::KILL);
    let done = running.done().await;
    assert_eq!(done.report.outcome, HookOutcome::SupervisorDied);
    done.assert_gone();
    assert!(!orphans::own_descendants().unwrap().contains(&hook));
    // Another hook of the same worker is not touched.
    assert_eq!(alive(&neighbour.marker).len(), 2);
    neighbour.cancel.cancel();
    neighbour.done().await.assert_gone();
}

#[tokio::test]
async fn a_stopped_supervisor_is_done_without() {
    worker_startup().unwrap();
    let running = stubborn(|_| {}).await;
    signal(parent(alive(&running.marker).into_iter().min().unwrap()), Signal::STOP);
    running.cancel.cancel();
    let done = running.done().await;
    assert_eq!(done.report.outcome, HookOutcome::Cancelled);
    done.assert_gone();
}

/// Makes [`the_worker_of_the_next_test`] a worker: the file to write its marker to.
const PLAY_WORKER: &str = "SLIPWAY_TEST_PLAY_WORKER";

#[tokio::test]
async fn the_worker_of_the_next_test() {
    let Some(file) = std::env::var_os(PLAY_WORKER) else { return };
    worker_startup().unwrap();
    let running = stubborn(|_| {}).await;
    // A last heartbeat, confirmed for a while.
    running.lease.send(boottime_nanos() + 5 * SECOND).unwrap();
    std::fs::write(file, &running.marker).unwrap();
    running.done().await;
}

#[tokio::test]
async fn a_killed_or_paused_worker_leaves_nobody() {
    for deed in [Signal::KILL, Signal::STOP] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("marker");
        let mut worker = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "processes::the_worker_of_the_next_test"])
            .env(PLAY_WORKER, &file)
            .env("TMPDIR", folder.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut marker = String::new();
        until("the worker runs its hook", || {
            marker = std::fs::read_to_string(&file).unwrap_or_default();
            !marker.is_empty()
        })
        .await;
        assert_eq!(alive(&marker).len(), 2);
        let then = boottime_nanos();
        signal(i32::try_from(worker.id()).unwrap(), deed);
        until("all ended", || alive(&marker).is_empty()).await;
        if deed == Signal::KILL {
            // By the closed socket, well before the lease ended.
            assert!(boottime_nanos() < then + 4 * SECOND);
        }
        worker.kill().unwrap();
        worker.wait().unwrap();
        until("scratch cleared", || !hook_folder_below(folder.path())).await;
    }
}

fn hook_folder_below(folder: &Path) -> bool {
    std::fs::read_dir(folder).into_iter().flatten().flatten().any(|entry| {
        let is_hook = entry.file_name().to_string_lossy().starts_with("hook-");
        is_hook || hook_folder_below(&entry.path())
    })
}
