//! The command line: the first start, people and keys at the database, the master key, settings that there are not.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    process::{Command, Output},
};

use sandbox::BundleSpec;
use serde_json::json;
use tests::{Client, Fleet, Size, guard::Program, practice, scratch::Scratch, slipway, until};

/// Runs the binary with these variables and no others of ours.
pub(crate) fn run(scratch: &Scratch, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(slipway::binary());
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("SLIPWAY_") {
            command.env_remove(variable);
        }
    }
    command.args(arguments).envs(variables.iter().copied()).current_dir(scratch.path()).output().unwrap()
}

pub(crate) fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn each_command_explains_itself() {
    let scratch = Scratch::new("help");
    let help = run(&scratch, &["--help"], &[]);
    assert!(help.status.success());
    let help = String::from_utf8(help.stdout).unwrap();
    let commands = [
        "dev",
        "demo",
        "api",
        "worker",
        "worker drain",
        "migrate",
        "admin",
        "admin user",
        "admin user create",
        "admin user enable",
        "admin user disable",
        "admin user delete",
        "admin key",
        "admin key create",
        "admin group",
        "admin group create",
        "admin group delete",
        "admin group add",
        "admin group remove",
        "secrets",
        "secrets generate-key",
        "secrets new-key",
        "secrets rotate",
        "config",
        "schema",
        "sandbox",
        "login",
        "logout",
        "bundle",
        "bundle upload",
        "bundle list",
        "deployment",
        "deployment create",
        "deployment update",
        "deployment status",
        "deployment list",
        "deploy",
        "logs",
        "cancel",
        "restore",
        "node",
        "node token",
        "node enroll",
        "node rotate",
        "node remove",
        "completions",
    ];
    for command in commands {
        let top = command.split(' ').next().unwrap();
        assert!(help.contains(&format!("  {top} ")), "{top} is not in --help:\n{help}");
        let words: Vec<&str> = command.split(' ').chain(["--help"]).collect();
        let told = run(&scratch, &words, &[]);
        assert!(told.status.success() && told.stdout.len() > 50, "{command}: {}", said(&told));
    }
    let config = run(&scratch, &["config"], &[]);
    assert!(config.status.success() && said(&config).contains("[worker.lease]"));
    let schema = run(&scratch, &["schema"], &[]);
    assert_eq!(String::from_utf8(schema.stdout).unwrap(), include_str!("../../../graphql/schema.graphql"));
}

#[test]
fn a_setting_that_there_is_not_is_named() {
    let scratch = Scratch::new("settings");
    let refused = |arguments: &[&str], variables: &[(&str, &str)], parts: &[&str]| {
        let output = run(&scratch, arguments, variables);
        let told = said(&output);
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(parts.iter().all(|part| told.contains(part)), "{parts:?}: {told}");
    };
    refused(&["migrate"], &[("SLIPWAY_WORKER_SEATZ", "3")], &["CONFIG_INVALID", "SLIPWAY_WORKER_SEATZ"]);
    let file = scratch.at("slipway.toml");
    for (text, part) in
        [("[worker]\nseatz = 3", "worker.seatz"), ("[workers]\nseats = 3", "workers"), ("seats = 3", "seats")]
    {
        fs::write(&file, text).unwrap();
        refused(&["--config", &file, "migrate"], &[], &["CONFIG_INVALID", part]);
        refused(&["migrate"], &[("SLIPWAY_CONFIG", &file)], &["CONFIG_INVALID", part]);
    }
    fs::write(&file, "[worker]\nseats = \"three\"").unwrap();
    refused(&["--config", &file, "migrate"], &[], &["CONFIG_INVALID", &file, "`worker.seats` must be a whole number"]);
    refused(&["--config", "nowhere.toml", "migrate"], &[], &["CONFIG_UNREADABLE", "nowhere.toml"]);
    refused(&["migrate"], &[], &["database.url"]);
    refused(&["migrate"], &[("SLIPWAY_WORKER_SEATS", "three")], &["SLIPWAY_WORKER_SEATS", "whole number"]);
    let database = format!("sqlite://{}", scratch.at("a.db"));
    refused(
        &["migrate"],
        &[("SLIPWAY_DATABASE_URL", &database), ("SLIPWAY_ADMIN_KEY", "short")],
        &["ADMIN_KEY_MALFORMED"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_key_is_shown_once() {
    let scratch = Scratch::new("first");
    let dev = |log: &str| {
        let port = tests::guard::free_port();
        let listen = format!("127.0.0.1:{port}");
        let binary = slipway::binary().display().to_string();
        let command = [binary.as_str(), "dev", "--data-dir", "home", "--listen", &listen];
        (Program::new(command, &scratch.path().join(log)).start(), format!("http://{listen}"))
    };
    let (first, url) = dev("first.log");
    let log = until("GraphiQL's address", tests::PATIENCE, || async {
        assert_eq!(first.exit_code(), None, "{}", first.log_tail());
        Some(first.log()).filter(|log| log.contains("/graphiql"))
    })
    .await;
    let keys: Vec<&str> = log.split_whitespace().filter(|word| word.starts_with("slw_") && word.len() > 50).collect();
    let [key] = keys[..] else { panic!("one key: {log}") };
    let ready = |url: String| async move {
        until("an API", tests::PATIENCE, || async {
            let answer = tests::client::http().get(format!("{url}/readyz")).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
    };
    ready(url.clone()).await;
    let viewer = Client::new(&url, key).ask("{ viewer { login groups isAdmin } }", json!({})).await;
    assert_eq!(viewer, json!({"login": "admin", "groups": ["administrators"], "isAdmin": true}));
    let mode = |name: &str| fs::metadata(scratch.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("home/master.key"), 0o600);
    // SIGTERM ends it well, and the next start says nothing of a key.
    first.signal(rustix::process::Signal::TERM);
    assert_eq!(first.exited(tests::PATIENCE).await, 0, "{}", first.log_tail());
    let (second, url) = dev("second.log");
    ready(url.clone()).await;
    assert!(!second.log().contains("slw_"), "{}", second.log());
    assert_eq!(Client::new(&url, key).ask("{ viewer { login } }", json!({})).await["login"], "admin");
}

#[tokio::test(flavor = "multi_thread")]
async fn people_and_keys_at_the_database() {
    for size in [Size::Embedded, Size::Fleet] {
        let fleet = Fleet::of(size).workers(0).start().await;
        let done = |arguments: &[&str]| {
            let output = fleet.run(arguments);
            assert!(output.status.success(), "{arguments:?}: {}", said(&output));
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        };
        let refused = |arguments: &[&str], code: &str| {
            let output = fleet.run(arguments);
            assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", said(&output));
            assert!(said(&output).contains(code), "{arguments:?}: {}", said(&output));
        };
        done(&["admin", "group", "create", "deployers", "--description", "Who may deploy"]);
        done(&["admin", "user", "create", "ann", "--display-name", "Ann", "--group", "deployers"]);
        let key = done(&["admin", "key", "create", "--user", "ann", "--label", "laptop"]);
        let ann = Client::new(fleet.client.url(), &key);
        let viewer = "{ viewer { login displayName groups isAdmin } }";
        let told = json!({"login": "ann", "displayName": "Ann", "groups": ["deployers"], "isAdmin": false});
        assert_eq!(ann.ask(viewer, json!({})).await, told);
        done(&["admin", "group", "add", "administrators", "ann"]);
        assert_eq!(ann.ask("{ viewer { isAdmin } }", json!({})).await["isAdmin"], true);
        done(&["admin", "group", "remove", "administrators", "ann"]);
        assert_eq!(ann.ask("{ viewer { isAdmin } }", json!({})).await["isAdmin"], false);
        // Out, at once, and in again.
        done(&["admin", "user", "disable", "ann"]);
        assert_eq!(ann.raw(viewer, json!({})).await.unwrap().0, 401);
        done(&["admin", "user", "enable", "ann"]);
        assert_eq!(ann.raw(viewer, json!({})).await.unwrap().0, 200);
        refused(&["admin", "user", "create", "ann"], "ID_NOT_AVAILABLE");
        refused(&["admin", "user", "create", "a/b"], "LOGIN_INVALID");
        refused(&["admin", "user", "create", "bob", "--group", "nobody"], "GROUP_UNKNOWN");
        refused(&["admin", "key", "create", "--user", "nobody"], "NOT_FOUND");
        refused(&["admin", "user", "disable", "admin"], "LAST_ADMINISTRATOR");
        refused(&["admin", "group", "delete", "administrators"], "");
        done(&["admin", "group", "delete", "deployers"]);
        done(&["admin", "user", "delete", "ann"]);
        assert_eq!(ann.raw(viewer, json!({})).await.unwrap().0, 401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_master_key_while_everything_runs() {
    let mut fleet = Fleet::of(Size::Embedded).start().await;
    let node = practice::node().await;
    node.set_user("analyst", &[], false);
    fleet.client.infrastructure("production", &node, json!({})).await;
    fleet.client.bundle(&BundleSpec::new("CHURN", "v1")).await;
    fleet.client.deployment("churn", "production", ("CHURN", "v1"), "CHURN", json!({})).await;
    fleet.client.run("churn", "SUCCEEDED").await;
    let master = fleet.scratch().at("data/master.key");
    let old = fs::read_to_string(&master).unwrap();
    // A variable would go before the file: the new key would seal nothing.
    fleet.set("SLIPWAY_MASTER_KEY", old.trim());
    let refused = fleet.run(&["secrets", "new-key"]);
    assert!(!refused.status.success() && said(&refused).contains("SLIPWAY_MASTER_KEY"), "{}", said(&refused));
    assert_eq!(fs::read_to_string(&master).unwrap(), old);
    fleet.set("SLIPWAY_MASTER_KEY", "");
    let made = fleet.run(&["secrets", "new-key"]);
    assert!(made.status.success(), "{}", said(&made));
    let both = fs::read_to_string(&master).unwrap();
    let lines: Vec<&str> = both.lines().collect();
    assert_eq!((lines.len(), lines[1]), (2, old.trim()), "the new one first");
    assert_eq!(fs::metadata(&master).unwrap().permissions().mode() & 0o777, 0o600);
    // The process that runs has the old one, and goes on; a new one knows both, and then all is sealed anew.
    fleet.client.run("churn", "SUCCEEDED").await;
    fleet.workers.clear();
    fleet.start_worker().await;
    let rotated = fleet.run(&["secrets", "rotate"]);
    assert!(rotated.status.success() && said(&rotated).contains("Sealed 1 secret anew"), "{}", said(&rotated));
    fleet.client.run("churn", "SUCCEEDED").await;
    // Without the old line everything still opens.
    fleet.workers.clear();
    fs::write(&master, format!("{}\n", lines[0])).unwrap();
    fleet.start_worker().await;
    fleet.client.run("churn", "SUCCEEDED").await;
    // Without the new one nothing does, and the update tells why.
    fleet.workers.clear();
    fs::write(&master, &old).unwrap();
    fleet.start_worker().await;
    let failed = fleet.client.run("churn", "FAILED").await;
    assert_eq!(failed["failure"]["code"], "SECRET_KEY_UNKNOWN", "{failed:#}");
    assert!(fleet.logs().contains("SECRET_KEY_UNKNOWN"), "{}", fleet.logs());
    let rotated = fleet.run(&["secrets", "rotate"]);
    assert!(!rotated.status.success() && said(&rotated).contains("SECRET_KEY_UNKNOWN"), "{}", said(&rotated));
}
