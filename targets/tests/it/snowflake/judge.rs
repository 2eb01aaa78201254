//! What is really sent, judged by Snowflake's own client's models.

use std::{
    collections::BTreeSet,
    io::Write as _,
    process::{Command, Stdio},
};

use serde_json::json;

use super::{account::Account, world::World};
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

/// Those that the check asks for one by one (`each_privilege_by_its_name`).
#[test]
fn the_page_grants_the_same_privileges() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/targets/SNOWPARK.md");
    let page = std::fs::read_to_string(page).unwrap();
    let granted: BTreeSet<_> = page
        .lines()
        .filter_map(|line| line.strip_prefix("GRANT ")?.split_once(" ON "))
        .map(|(privilege, on)| {
            let kind: Vec<_> = on.split(' ').take_while(|word| word.chars().all(|c| c.is_ascii_uppercase())).collect();
            (privilege.to_owned(), kind.join("_").trim_end_matches("_TO_ROLE").trim_end_matches("_TO").to_owned())
        })
        .filter(|(privilege, kind)| (privilege.as_str(), kind.as_str()) != ("READ", "SECRET"))
        .collect();
    let asked: BTreeSet<_> = Account::default()
        .state()
        .privileges
        .iter()
        .flat_map(|(privilege, kind, _)| match privilege.as_str() {
            // Who owns the repository may do both.
            "OWNERSHIP" => {
                vec!["READ", "WRITE"].into_iter().map(|one| (one.to_owned(), "IMAGE_REPOSITORY".to_owned())).collect()
            }
            _ => vec![(privilege.clone(), kind.clone())],
        })
        .collect();
    assert_eq!(granted, asked);
}
