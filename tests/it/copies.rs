//! A copy command ends with its worker, however the worker ends: the supervisor hears it by the end of its input.

use std::{
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
};

use tests::{PATIENCE, scratch::Scratch, slipway, until, until_true};

/// Writes its own number and a child's, and hangs with it.
const HANGS: &str = "sleep 600 & echo $$ $! > \"$0.new\" && mv \"$0.new\" \"$0\"; wait";

fn supervised(words: &[&str]) -> Command {
    let mut command = Command::new(slipway::binary());
    command.args(["copy-exec", "--"]).args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
    command
}

fn runs(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

#[tokio::test]
async fn a_command_whose_worker_is_gone_ends_with_all_that_it_started() {
    let scratch = Scratch::new("copies");
    let told = scratch.at("pids");
    let mut supervisor = supervised(&["sh", "-c", HANGS, &told]).spawn().unwrap();
    let pids = until("the command", PATIENCE, || async { std::fs::read_to_string(&told).ok() }).await;
    let pids: Vec<_> = pids.split_whitespace().collect();
    assert!(pids.len() == 2 && pids.iter().all(|pid| runs(pid)), "{pids:?}");
    drop(supervisor.stdin.take());
    until_true("the end of all", PATIENCE, || async { pids.iter().all(|pid| !runs(pid)) }).await;
    assert!(!supervisor.wait().unwrap().success());
}

#[test]
fn a_command_ends_as_it_would_alone() {
    let code = |words: &[&str]| {
        let mut supervisor = supervised(words).spawn().unwrap();
        let _held = supervisor.stdin.take();
        supervisor.wait().unwrap().code()
    };
    assert_eq!(code(&["true"]), Some(0));
    assert_eq!(code(&["sh", "-c", "exit 7"]), Some(7));
    assert_eq!(code(&["sh", "-c", "kill -9 $$"]), Some(137));
    assert_eq!(code(&["/no/such/program"]), Some(127));
}
