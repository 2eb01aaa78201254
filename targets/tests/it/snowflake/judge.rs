//! What is really sent, judged by Snowflake's own client's models.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use serde_json::json;

use super::world::World;
use crate::support::Step;

const PACKAGES: &str = "snowflake.core==1.14.0 pyjwt==2.15.1 cryptography pyyaml";

/// An interpreter with the packages.
fn python() -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/code-env");
    let folder = concat!(env!("CARGO_TARGET_TMPDIR"), "/snowflake-judge");
    let made = Command::new(script).args([folder, "python3", PACKAGES]).stderr(Stdio::inherit()).output().unwrap();
    assert!(made.status.success(), "scripts/code-env failed; it needs python3, python3-venv and python3-pip");
    String::from_utf8(made.stdout).unwrap().trim().to_owned()
}

#[tokio::test]
async fn snowflakes_own_models_take_what_is_sent() {
    let mut world = World::new().await;
    world.settings().insert("publicEndpoint".into(), json!(true));
    world.settings().insert("memoryLimit".into(), json!("2Gi"));
    world.settings().insert("snowflakeSecrets".into(), json!([{"variable": "TOKEN", "secret": "ml.serving.t"}]));
    world.target().check(&world.spec.infrastructure, &super::world::Vault).await.unwrap();
    world.update().await;
    world.next("v2");
    world.update().await;
    world.step(Step::Restore).await.unwrap();
    for step in [Step::SwitchOff, Step::Activate, Step::Remove] {
        world.new_run();
        world.step(step).await.unwrap();
    }
    let mut judge = Command::new(python())
        .args([
            concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/snowflake/judge.py"),
            concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/snowflake/keys/plain.pem"),
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = judge.stdin.take().unwrap();
    for asked in world.server.asked() {
        let token = asked.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        let line = json!({
            "method": asked.method, "path": format!("/{}", asked.path.join("/")), "query": asked.query,
            "body": asked.json(), "token": token,
        });
        writeln!(input, "{line}").unwrap();
    }
    drop(input);
    let said = judge.wait_with_output().unwrap();
    assert!(
        said.status.success(),
        "{}{}",
        String::from_utf8_lossy(&said.stdout),
        String::from_utf8_lossy(&said.stderr)
    );
}
