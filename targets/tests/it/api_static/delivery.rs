//! How packages reach the node's disk: shared folders and copy commands, and what becomes of those that fail or hang.

use std::{collections::BTreeMap, os::unix::fs::PermissionsExt as _, path::Path, time::Duration};

use serde_json::json;

use super::world::{SERVICE, World};
use crate::support::Step;

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

async fn with_command(name: &str, command: &[&str]) -> World {
    with_commands(name, [(name, words(command))].into()).await
}

async fn with_commands(name: &str, commands: BTreeMap<&str, Vec<String>>) -> World {
    let declared = commands.into_iter().map(|(name, words)| (name.to_owned(), words)).collect();
    let mut world = World::on(declared).await;
    let there = world.there();
    world.settings().insert("delivery".into(), json!({"mode": "COPY_COMMAND", "command": name, "nodePath": there}));
    world
}

#[tokio::test]
async fn a_copy_command_brings_packages_and_takes_them_away() {
    let shell = "test \"$1\" = 127.0.0.1 && rm -f \"$2\"*.zip";
    let commands = [
        ("scp", words(&["cp", "--", "{file}", "{target}"])),
        ("scp.remove", words(&["sh", "-c", shell, "sh", "{host}", "{target}"])),
    ];
    let mut world = with_commands("scp", commands.into()).await;
    world.update().await;
    assert_eq!(world.on_node()[SERVICE]["enabled"], true);
    assert_eq!((World::files(&world.there()).len(), world.scratch()), (1, Vec::new()));
    world.new_run();
    world.step(Step::Remove).await.unwrap();
    assert_eq!(World::files(&world.there()), [""; 0]);

    // Without the second command, what stays is told.
    let mut world = with_command("scp", &["cp", "--", "{file}", "{target}"]).await;
    world.update().await;
    world.new_run();
    let (_, warnings) = world.step(Step::Remove).await.unwrap();
    assert!(warnings.len() == 1 && warnings[0].contains("\"scp.remove\""), "{warnings:?}");
}

#[tokio::test]
async fn a_copy_command_that_fails_tells_what_it_said_to_administrators() {
    let world = with_command("broken", &["sh", "-c", "echo no route to \"$0\" >&2; exit 3", "{host}"]).await;
    world.step(Step::Validate).await.unwrap();
    let (failure, retryable) = world.failure(Step::Push).await;
    assert_eq!((failure.code.as_str(), retryable), ("DELIVERY_FAILED", true));
    assert!(!failure.message.contains("no route") && failure.detail.unwrap().contains("no route to 127.0.0.1"));
    assert_eq!((world.effects("POST", "importFromArchive"), world.scratch()), (0, Vec::new()));
}

#[tokio::test]
async fn a_copy_command_gets_no_secret_of_the_worker_and_no_shell() {
    let world = with_command("env", &["sh", "-c", "env; exit 1"]).await;
    let (failure, _) = world.failure(Step::Push).await;
    let said = failure.detail.unwrap();
    assert!(said.contains("PATH=") && !said.contains("CARGO"), "{said}");
    let world = with_command("plain", &["false", "$(touch /tmp/never)", "{file};{host}"]).await;
    assert_eq!(world.failure(Step::Push).await.0.code.as_str(), "DELIVERY_FAILED");
    let world = with_command("absent", &["/no/such/program"]).await;
    let (failure, retryable) = world.failure(Step::Validate).await;
    assert_eq!((failure.code.as_str(), retryable), ("DELIVERY_FAILED", false));
    let mut world = with_command("here", &["true"]).await;
    let there = world.there();
    world
        .settings()
        .insert("delivery".into(), json!({"mode": "COPY_COMMAND", "command": "elsewhere", "nodePath": there}));
    for step in [Step::Validate, Step::Push] {
        assert_eq!(world.failure(step).await.0.code.as_str(), "DELIVERY_NOT_DECLARED");
    }
}

/// Whether a process is there that is not only waiting to be reaped.
fn runs(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

async fn until(mut what: impl FnMut() -> bool) {
    let all = async {
        while !what() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), all).await.unwrap();
}

fn pids(file: &Path) -> Vec<String> {
    std::fs::read_to_string(file).unwrap_or_default().split_whitespace().map(str::to_owned).collect()
}

/// Writes its own number and a child's, and hangs with it.
const HANGS: &str = "sleep 600 & echo $$ $! > \"$0.new\" && mv \"$0.new\" \"$0\"; wait";

#[tokio::test]
async fn a_copy_command_that_hangs_is_ended_with_all_that_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let told = folder.path().join("pids");
    // In time.
    let mut world = with_command("hangs", &["sh", "-c", HANGS, told.to_str().unwrap()]).await;
    world.spec.infrastructure.node.call_timeout_ms = 1_000;
    let (failure, retryable) = world.failure(Step::Push).await;
    assert_eq!((failure.code.as_str(), retryable), ("DELIVERY_TIMED_OUT", true));
    let ended = pids(&told);
    assert_eq!(ended.len(), 2);
    until(|| ended.iter().all(|pid| !runs(pid))).await;
    // And when the step is given up: a cancel, or a worker that ends.
    std::fs::remove_file(&told).unwrap();
    world.spec.infrastructure.node.call_timeout_ms = 600_000;
    tokio::select! {
        done = world.attempt(Step::Push) => panic!("{done:?}"),
        () = until(|| told.exists()) => {}
    }
    let ended = pids(&told);
    assert_eq!(ended.len(), 2);
    until(|| ended.iter().all(|pid| !runs(pid))).await;
    assert_eq!(world.scratch(), [""; 0]);
}

#[tokio::test]
async fn a_shared_folder_holds_whole_packages_alone() {
    let world = super::world::world().await;
    world.update().await;
    let there = world.there();
    let name = World::files(&there).remove(0);
    assert_eq!(std::fs::metadata(there.join(&name)).unwrap().permissions().mode() & 0o007, 0, "not for everybody");
    // A file of that name that is damaged is replaced when it is needed again.
    world.step(Step::Remove).await.unwrap();
    std::fs::write(there.join(&name), "damaged").unwrap();
    std::fs::write(there.join(format!("{name}.0123.part")), "half").unwrap();
    world.run.notes.lock().unwrap().clear();
    world.update().await;
    assert_eq!(World::files(&there), [name], "and what a dead worker left is gone");
}

#[tokio::test]
async fn a_shared_folder_that_is_gone_is_told() {
    let world = super::world::world().await;
    std::fs::remove_dir(world.there()).unwrap();
    let (failure, _) = world.failure(Step::Validate).await;
    assert_eq!(failure.code.as_str(), "DELIVERY_FAILED");
    let (failure, retryable) = world.failure(Step::Push).await;
    assert_eq!((failure.code.as_str(), retryable), ("DELIVERY_FAILED", true));
    assert!(!failure.message.contains(world.there().to_str().unwrap()), "{failure:?}");
}
