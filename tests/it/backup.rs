//! Back up and restore, as OPERATIONS.md says, into a place where nothing was.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{fs, path::Path};

use sandbox::BundleSpec;
use serde_json::{Value, json};
use tests::{Client, Fleet, Size, postgres, practice, slipway};

#[tokio::test(flavor = "multi_thread")]
async fn embedded() {
    backed_up(Size::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fleet() {
    backed_up(Size::Fleet).await;
}

async fn backed_up(size: Size) {
    let fleet = Fleet::of(size).start().await;
    let node = practice::node().await;
    node.set_user("analyst", &[], false);
    let api = &fleet.client;
    api.infrastructure("production", &node, json!({})).await;
    let hook = "def execute(**kwargs):\n    print('a hook')\n    return HookResult.success('')\n";
    api.set_hooks("production", "PRE", json!([{"name": "first", "code": hook}])).await;
    let uploaded = api.bundle(&BundleSpec::new("CHURN", "v1")).await;
    api.bundle(&BundleSpec::new("CHURN", "v2")).await;
    for (id, key) in [("churn", "CHURN"), ("late", "LATE")] {
        api.deployment(id, "production", ("CHURN", "v1"), key, json!({"localVariables": {"region": "eu"}})).await;
    }
    let done = api.run("churn", "SUCCEEDED").await;
    let done = done["id"].as_str().unwrap();
    let someone = fleet.user("someone", &["administrators"]);
    let before = all(&someone, done).await;

    // While it runs: the database, then the packages; the master key apart.
    let backup = tempfile::tempdir().unwrap();
    let at = |name: &str| backup.path().join(name).to_str().unwrap().to_owned();
    let home = if size == Size::Embedded { "data/" } else { "" };
    let from = |name: &str| fleet.scratch().at(&format!("{home}{name}"));
    match size {
        Size::Embedded => sqlite_backup(&from("slipway.db"), &at("slipway.backup.db")),
        Size::Fleet => {
            let into = format!("--file={}", at("slipway.dump"));
            postgres::tool("pg_dump", &["--format=custom", &into, fleet.database()]);
        }
    }
    copy(Path::new(&from("packages")), Path::new(&at("packages")));
    fs::copy(from("master.key"), at("master.key")).unwrap();
    // What comes later is not in it.
    api.run("late", "SUCCEEDED").await;
    drop(fleet);

    let folder = backup.path().to_owned();
    let mut restored = Fleet::of(size)
        .workers(0)
        .filled_with(move |database, home| {
            let at = |name: &str| folder.join(name).to_str().unwrap().to_owned();
            match size {
                Size::Embedded => drop(fs::copy(at("slipway.backup.db"), home.join("slipway.db")).unwrap()),
                Size::Fleet => {
                    postgres::tool("pg_restore", &[&format!("--dbname={database}"), &at("slipway.dump")]);
                }
            }
            copy(Path::new(&at("packages")), &home.join("packages"));
            fs::copy(at("master.key"), home.join("master.key")).unwrap();
        })
        .start()
        .await;
    let someone = Client::new(restored.client.url(), someone.key());
    assert_eq!(all(&someone, done).await, before, "everything is there");
    let unfinished = "{ updates(filter: {status: [QUEUED, RUNNING, WAITING, STUCK]}) { nodes { id } } }";
    assert_eq!(someone.ask(unfinished, json!({})).await["nodes"], json!([]));
    let late = someone.ask("{ deployment(id: \"late\") { latestUpdate { id } } }", json!({})).await;
    assert_eq!(late["latestUpdate"], Value::Null);
    let archive = tests::client::http()
        .get(format!("{}/projects/CHURN/bundles/v1", someone.url()))
        .bearer_auth(someone.key())
        .send()
        .await
        .unwrap();
    assert_eq!(archive.content_length().unwrap(), uploaded["size"].as_u64().unwrap());
    assert_eq!(archive.bytes().await.unwrap(), sandbox::sample_bundle(&BundleSpec::new("CHURN", "v1")));
    // Secrets open: the node is reached with its key.
    let preview = "{ previewUpdate(deploymentId: \"churn\") { preview { failure { code } found { activeBundle } } } }";
    let preview = someone.ask(preview, json!({})).await;
    assert_eq!(preview["preview"], json!({"failure": null, "found": {"activeBundle": "v1"}}));

    if size == Size::Fleet {
        restored.start_worker().await;
    }
    someone.change_deployment("churn", json!({"bundleId": "v2"})).await;
    let update = someone.run("churn", "SUCCEEDED").await;
    assert_eq!(update["number"], 2);
    assert_eq!(node.snapshot()["projects"]["CHURN"]["activeBundle"], "v2");
    // The node got this one after the backup; its id is not known to be ours.
    let late = someone.over(&someone.start("late").await).await;
    assert_eq!(late["failure"]["code"], "BUNDLE_ID_FOREIGN", "{late:#}");
}

/// All that people have put in, and all that is known of an update.
async fn all(api: &Client, update: &str) -> Value {
    let lists = [
        "infrastructures(first: 5) { nodes { id stage nodeUrl hasAdminKey version hooks { id name code phase position } permissions { group level }
           settings { deployAsUser runAsScenarios connectionRemapping { source target } permissionsPropagation } } }",
        "publishedProjects(first: 5) { nodes { key name owner bundles(first: 5) { nodes { id sha256 size uploadedAt manifest contents } } } }",
        "users { nodes { login displayName enabled groups createdAt } }",
        "groups { nodes { name description createdAt } }",
        "deployments { nodes { id bundleId deployedProjectKey version settings { localVariables connectionRemapping { source target } } } }",
        "stages { id kind description }",
        "viewer { login groups isAdmin }",
    ];
    let mut found = json!({"update": api.update(update).await});
    for list in lists {
        found[list] = api.ask(&format!("{{ {list} }}"), json!({})).await;
    }
    found["events"] = json!(api.journal(update).await);
    found["log"] = json!(api.lines(update).await);
    found
}

/// With the shell of SQLite, or, where it is not installed, the same function of the library from Python.
fn sqlite_backup(from: &str, to: &str) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&path).any(|folder| folder.join("sqlite3").is_file()) {
        return tool("sqlite3", &[from, &format!(".backup '{to}'")]);
    }
    let code = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).backup(sqlite3.connect(sys.argv[2]))";
    tool(&slipway::python(), &["-c", code, from, to]);
}

fn tool(program: &str, arguments: &[&str]) {
    let done = std::process::Command::new(program).args(arguments).output().unwrap();
    assert!(done.status.success(), "{program}: {}", String::from_utf8_lossy(&done.stderr));
}

fn copy(from: &Path, to: &Path) {
    tool("cp", &["-rp", from.to_str().unwrap(), to.to_str().unwrap()]);
}
