//! How commands begin: what they refuse, what they say, and what they leave alone.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use serde_json::json;
use tests::{
    Fleet, PATIENCE, Size,
    guard::{Program, free_port},
    practice,
    scratch::Scratch,
    slipway, until, until_true,
};

use super::commands::{run, said};

/// What each refusal says; it never says the password.
fn refused(scratch: &Scratch, arguments: &[&str], variables: &[(&str, &str)], parts: &[&str]) {
    let output = run(scratch, arguments, variables);
    let told = said(&output);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {told}");
    assert!(parts.iter().all(|part| told.contains(part)), "{arguments:?}: {parts:?}: {told}");
    assert!(!told.contains("cretPw") && !told.contains("panicked"), "{arguments:?}: {told}");
}

#[test]
fn no_error_tells_the_databases_password() {
    let scratch = Scratch::new("password");
    let keys = scratch.at("master.key");
    assert!(run(&scratch, &["secrets", "generate-key", &keys], &[]).status.success());
    for url in [
        "postgre://slipway:S3cretPw@127.0.0.1/slipway",
        "postgres://slipway:S3#cretPw@127.0.0.1/slipway",
        "postgres://slipway:3#cretPw@127.0.0.1/slipway",
        "postgres://slipway:S3cretPw@127.0.0.1:port/slipway",
    ] {
        for command in ["migrate", "worker", "api"] {
            let variables = [
                ("SLIPWAY_DATABASE_URL", url),
                ("SLIPWAY_SECRETS_MASTER_KEY_FILE", &keys),
                ("SLIPWAY_LOG_FILTER", "trace"),
            ];
            refused(&scratch, &[command], &variables, &["CONFIG_INVALID", "database.url"]);
        }
    }
    let place = format!("127.0.0.1:{}", free_port());
    let url = format!("postgres://slipway:S3cretPw@{place}/slipway");
    let variables = [("SLIPWAY_DATABASE_URL", url.as_str()), ("SLIPWAY_LOG_FILTER", "trace")];
    refused(&scratch, &["migrate"], &variables, &["DATABASE_UNAVAILABLE", &place, "refused"]);
    let wrong = "postgres://slipway:S3cretPw@127.0.0.1/slipway?sslmode=S3cretPw";
    refused(&scratch, &["migrate"], &[("SLIPWAY_DATABASE_URL", wrong)], &["DATABASE_UNAVAILABLE"]);
}

#[test]
fn several_migrate_a_new_file_at_once() {
    let scratch = Scratch::new("migrate");
    let database = format!("sqlite://{}", scratch.at("new.db"));
    let told: Vec<String> = thread::scope(|scope| {
        let runs: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| run(&scratch, &["migrate"], &[("SLIPWAY_DATABASE_URL", &database)])))
            .collect();
        let outputs = runs.into_iter().map(|run| run.join().unwrap());
        outputs
            .inspect(|output| assert!(output.status.success(), "{}", said(output)))
            .map(|output| said(&output))
            .collect()
    });
    let count = |part: &str| told.iter().filter(|told| told.contains(part)).count();
    assert_eq!(count("Applied ") + count("The schema is up to date."), 4, "{told:#?}");
    assert_eq!((count("Applied"), count("slw_")), (1, 1), "one does it, one tells the key: {told:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_at_a_time_without_redis() {
    let scratch = Scratch::new("alone");
    let binary = slipway::binary().display().to_string();
    let dev = |log: &str| {
        let command = [binary.as_str(), "dev", "--data-dir", "home", "--listen", "127.0.0.1:0"];
        Program::new(command, &scratch.path().join(log)).start()
    };
    // Two at the same moment in a new folder: one runs, the other says why not.
    let both = [dev("one.log"), dev("two.log")];
    until("one that is refused", PATIENCE, || async {
        both.iter().find(|process| process.exit_code() == Some(1)).map(|process| process.log())
    })
    .await;
    let (gone, runs) = if both[0].exit_code().is_some() { (&both[0], &both[1]) } else { (&both[1], &both[0]) };
    assert!(gone.log().contains("DATA_IN_USE") && gone.log().contains("--data-dir"), "{}", gone.log());
    until_true("the other serves", PATIENCE, || async { runs.log().contains("/graphiql") }).await;
    let database = format!("sqlite://{}", scratch.at("home/slipway.db"));
    let (keys, packages) = (scratch.at("home/master.key"), scratch.at("home/packages"));
    let variables = [
        ("SLIPWAY_DATABASE_URL", database.as_str()),
        ("SLIPWAY_SECRETS_MASTER_KEY_FILE", &keys),
        ("SLIPWAY_PACKAGES_LOCATION", &packages),
    ];
    for command in ["api", "worker"] {
        refused(&scratch, &[command], &variables, &["DATA_IN_USE", "slipway.db"]);
    }
    let made = run(&scratch, &["admin", "user", "create", "ann"], &variables);
    assert!(made.status.success(), "{}", said(&made));
    // Killed, it leaves nothing that would keep another one out.
    runs.kill().await;
    let again = dev("three.log");
    until_true("another one serves", PATIENCE, || async { again.log().contains("/graphiql") }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_master_key_is_not_replaced() {
    let mut fleet = Fleet::of(Size::Embedded).start().await;
    let node = practice::node().await;
    fleet.client.infrastructure("production", &node, json!({})).await;
    fleet.workers.clear();
    let master = fleet.scratch().at("data/master.key");
    let old = fs::read_to_string(&master).unwrap();
    let (id, _) = old.split_once(':').unwrap();
    fs::remove_file(&master).unwrap();
    let data = fleet.scratch().at("data");
    let refused = fleet.run(&["dev", "--data-dir", &data, "--listen", "127.0.0.1:0"]);
    let told = said(&refused);
    assert_eq!(refused.status.code(), Some(1), "{told}");
    assert!(["SECRET_KEY_UNKNOWN", id, "master.key", "generate-key"].iter().all(|part| told.contains(part)), "{told}");
    assert!(!Path::new(&master).exists());
    // Lost for good: another one, made on purpose. What the old one sealed says so.
    assert!(fleet.run(&["secrets", "generate-key", &master]).status.success());
    fleet.start_worker().await;
    assert!(fleet.logs().contains("SECRET_KEY_UNKNOWN"), "{}", fleet.logs());
    let check = "mutation { checkInfrastructure(id: \"production\") { refusals { code message } } }";
    let answer = fleet.client.graphql(check, json!({})).await;
    let refusal = &answer["checkInfrastructure"]["refusals"][0];
    assert_eq!(refusal["code"], "SECRET_KEY_UNKNOWN", "{refusal}");
    assert!(refusal["message"].as_str().unwrap().contains(id), "{refusal}");
}

#[test]
fn what_must_be_there_first_is_said() {
    let scratch = Scratch::new("first-things");
    let keys = scratch.at("master.key");
    assert!(run(&scratch, &["secrets", "generate-key", &keys], &[]).status.success());
    let database = format!("sqlite://{}", scratch.at("new.db"));
    let packages = scratch.at("packages");
    let variables = [
        ("SLIPWAY_DATABASE_URL", database.as_str()),
        ("SLIPWAY_SECRETS_MASTER_KEY_FILE", &keys),
        ("SLIPWAY_PACKAGES_LOCATION", &packages),
    ];
    for command in [&["api"][..], &["worker"], &["admin", "user", "create", "ann"], &["secrets", "rotate"]] {
        refused(&scratch, command, &variables, &["DATABASE_NOT_MIGRATED", "slipway migrate"]);
    }
    let away = scratch.at("nowhere/master.key");
    refused(&scratch, &["secrets", "generate-key", &away], &[], &["MASTER_KEY_UNREADABLE", "folder does not exist"]);
    fs::write(scratch.at("file"), "").unwrap();
    refused(&scratch, &["dev", "--data-dir", "file/data"], &[], &["IO_FAILED", "file/data", "--data-dir"]);
    // A port that is taken, before anything is made.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    refused(&scratch, &["sandbox", "--listen", &taken], &[], &["ADDRESS_IN_USE", &taken, "--listen"]);
    refused(
        &scratch,
        &["dev", "--data-dir", "data", "--listen", &taken],
        &[],
        &["ADDRESS_IN_USE", &taken, "api.listen"],
    );
    // A setting that is wrong, before a key is made that nobody would see.
    let wrong = ("SLIPWAY_WORKER_LEASE_LEASE_MS", "1");
    refused(&scratch, &["dev", "--data-dir", "data"], &[wrong], &["CONFIG_INVALID", "worker.lease"]);
    assert!(!Path::new(&scratch.at("data/slipway.db")).exists());
    assert!(run(&scratch, &["migrate"], &variables).status.success());
    for (command, setting) in [("api", "SLIPWAY_API_LISTEN"), ("worker", "SLIPWAY_WORKER_LISTEN")] {
        let variables: Vec<_> = variables.into_iter().chain([(setting, taken.as_str())]).collect();
        refused(&scratch, &[command], &variables, &["ADDRESS_IN_USE", &taken, &format!("{command}.listen")]);
    }
}

#[test]
fn a_reader_that_goes_away_is_no_accident() {
    let into = |output: &str| {
        let shell = format!("\"$0\" config {output}");
        let output = Command::new("bash").args(["-c", &shell]).arg(slipway::binary()).stderr(Stdio::piped()).output();
        let output = output.unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = Command::new(slipway::binary()).arg("config").stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
    let output = output.wait_with_output().unwrap();
    assert_eq!((output.status.code(), said(&output).as_str()), (Some(141), ""));
    let (code, told) = into("> /dev/full");
    assert_eq!(code, Some(1));
    assert!(told.contains("IO_FAILED") && !told.contains("panicked"), "{told}");
    let (code, told) = into("> /dev/full 2>&1");
    assert_eq!((code, told.as_str()), (Some(1), ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demo_that_is_stopped_early_leaves_nothing() {
    let scratch = Scratch::new("demo");
    let folder = scratch.path().join("tmp");
    fs::create_dir(&folder).unwrap();
    let inside = || fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<PathBuf>>();
    let binary = slipway::binary().display().to_string();
    let command = [binary.as_str(), "demo", "--listen", "127.0.0.1:0"];
    let demo = Program::new(command, &scratch.path().join("demo.log"));
    let demo = demo.with([("TMPDIR", folder.display().to_string())]).start();
    let made = until("its folder", PATIENCE, || async {
        assert_eq!(demo.exit_code(), None, "{}", demo.log());
        inside().into_iter().next()
    })
    .await;
    assert_eq!(fs::metadata(made).unwrap().permissions().mode() & 0o777, 0o700);
    demo.signal(rustix::process::Signal::TERM);
    assert_eq!(demo.exited(PATIENCE).await, 1, "{}", demo.log());
    assert!(demo.log().contains("INTERRUPTED"), "{}", demo.log());
    assert_eq!(inside(), Vec::<PathBuf>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_documents_say_of_people_works_as_typed() {
    let fleet = Fleet::of(Size::Embedded).workers(0).start().await;
    let text = include_str!("../../../docs/OPERATIONS.md");
    let block = text.split("```sh\n").find(|block| block.starts_with("slipway admin ")).unwrap();
    let block = block.split("```").next().unwrap();
    for line in block.lines() {
        let shell = line.replacen("slipway", "\"$0\"", 1);
        let output = fleet.shell(&shell);
        assert!(output.status.success(), "{line}: {}", said(&output));
    }
    assert!(block.lines().count() >= 5);
}
