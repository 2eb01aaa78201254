//! The audit's chain: no change without its record, nothing secret in it, and whatever is done to its rows is found.

use deployer::{
    accounts::{groups, users},
    audit::{
        self,
        chain::Head,
        list::{self, Event, Filter},
        verify::{self, Report},
    },
    error::Error,
    infrastructures::{self, InfrastructurePatch, Permission, SettingsPatch},
    keys,
    paging::Page,
    projects,
    rights::Level,
    viewer::{Origin, Via, Viewer},
};
use engine::secrets::Secret;
use serde_json::json;

use crate::identity::support::{House, house, refused, viewer};

async fn events(house: &House, viewer: &Viewer, filter: Filter) -> Vec<Event> {
    let page = Page::new(Some(100), None).unwrap();
    let listing = list::list(&house.deployer, viewer, &filter, &page).await.unwrap();
    listing.items.into_iter().map(|(_, event)| event).collect()
}

async fn check(house: &House, known: Option<&Head>) -> Report {
    verify::verify(&house.deployer.db, Some(&house.deployer.keyring), known).await.unwrap()
}

/// Lets the owner of the tables do what the triggers keep from accidents.
async fn unguard(house: &House) {
    if house.deployer.db.is_sqlite() {
        house.sql("DROP TRIGGER audit_event_stays").await;
        house.sql("DROP TRIGGER audit_event_remains").await;
        house.sql("DROP TRIGGER audit_event_is_new").await;
    } else {
        house.sql("DROP TRIGGER audit_event_stays ON audit_event").await;
    }
}

#[tokio::test]
async fn a_record_says_who_what_from_where_and_what_changed() {
    let house = house().await;
    house.infrastructure("PROD", Level::View).await;
    let origin = Origin {
        via: Via::GraphQl,
        address: Some("192.0.2.7".to_owned()),
        request_id: Some("r1".to_owned()),
        ..Origin::default()
    };
    let admin = Viewer { origin, ..house.admin.clone() };
    let patch = InfrastructurePatch {
        stage: Some("Production".to_owned()),
        admin_key: Some(Some(Secret::from("another-node-key".to_owned()))),
        ..Default::default()
    };
    infrastructures::update(&house.deployer, &admin, "PROD", 1, patch).await.unwrap();
    let event = &events(&house, &admin, Filter::default()).await[0];
    assert_eq!((event.login.as_str(), event.via.as_str()), ("admin", "GRAPHQL"));
    assert_eq!(event.key_id, house.admin.key_id);
    assert_eq!((event.address.as_deref(), event.request_id.as_deref()), (Some("192.0.2.7"), Some("r1")));
    assert_eq!((event.action.as_str(), event.outcome.as_str()), ("updateInfrastructure", "DONE"));
    assert_eq!((event.object_kind.as_str(), event.object_id.as_str()), ("INFRASTRUCTURE", "PROD"));
    assert_eq!(event.before, json!({"stage": "Test", "adminKey": "set"}));
    assert_eq!(event.after, json!({"stage": "Production", "adminKey": "changed"}));
    let all = format!("{:?}", events(&house, &admin, Filter::default()).await);
    assert!(!all.contains("node-key"), "{all}");
    let report = check(&house, None).await;
    assert_eq!((report.findings.as_slice(), report.unsigned), ([].as_slice(), 1), "the first start has no master key");
}

#[tokio::test]
async fn there_is_no_change_without_its_record() {
    let house = house().await;
    house.infrastructure("PROD", Level::View).await;
    let before = infrastructures::get(&house.deployer, &house.admin, "PROD").await.unwrap();
    house.sql("ALTER TABLE audit_event RENAME TO audit_event_away").await;
    let patch = InfrastructurePatch { stage: Some("Production".to_owned()), ..Default::default() };
    let answer = infrastructures::update(&house.deployer, &house.admin, "PROD", 1, patch).await;
    assert!(matches!(answer, Err(Error::Fault(_))), "{answer:?}");
    assert!(matches!(groups::create(&house.deployer, &house.admin, "new", "").await, Err(Error::Fault(_))));
    // A refusal is answered all the same: nothing was to be done.
    let bob = viewer("bob", &[]);
    assert_eq!(refused(groups::create(&house.deployer, &bob, "new", "").await), "FORBIDDEN");
    house.sql("ALTER TABLE audit_event_away RENAME TO audit_event").await;
    assert_eq!(infrastructures::get(&house.deployer, &house.admin, "PROD").await.unwrap(), before);
    assert!(groups::by_names(&house.deployer, &house.admin, &["new".to_owned()]).await.unwrap().is_empty());
    assert_eq!(check(&house, None).await.findings, []);
}

/// A copy of the first record under another number.
fn put_in(seq: i64) -> String {
    let rest = "at, login, key_id, via, address, request_id, action, object_kind, object_id, infrastructure_id, project_key, outcome, \
                codes, old_values, new_values, run_ids, times, prev, hash, signature";
    format!("INSERT INTO audit_event (seq, id, {rest}) SELECT {seq}, 'put-in', {rest} FROM audit_event WHERE seq = 1")
}

#[tokio::test]
async fn a_record_that_was_put_in_below_the_first_is_not_shown() {
    let house = house().await;
    let all = events(&house, &house.admin, Filter::default()).await;
    unguard(&house).await;
    house.sql(&put_in(0)).await;
    assert_eq!(events(&house, &house.admin, Filter::default()).await, all);
}

#[tokio::test]
async fn what_is_done_to_the_rows_is_found() {
    for (sql, what) in [
        ("UPDATE audit_event SET login = 'mallory' WHERE seq = 2", "it was changed"),
        ("UPDATE audit_event SET new_values = '{}' WHERE seq = 2", "it was changed"),
        ("DELETE FROM audit_event WHERE seq = 2", "rows 2 to 2 are missing"),
        ("DELETE FROM audit_event WHERE seq = 4", "the chain ends at row 3, its head at 4: rows were cut off"),
        ("UPDATE audit_event SET signature = NULL WHERE seq = 3", "it is not signed"),
        ("UPDATE audit_head SET sealed_key = NULL", "its signature cannot be checked: the key that signs is not there"),
        ("DELETE FROM audit_head", "the head of the chain is gone"),
        (put_in(0).as_str(), "it was put in: numbers begin at 1"),
        (put_in(-7).as_str(), "it was put in: numbers begin at 1"),
        (put_in(i64::MIN).as_str(), "it was put in: numbers begin at 1"),
    ] {
        let house = house().await;
        assert_eq!(check(&house, None).await.rows, 4);
        unguard(&house).await;
        house.sql(sql).await;
        let report = check(&house, None).await;
        assert!(report.findings.iter().any(|finding| finding.what == what), "{sql}: {report:?}");
    }
}

#[tokio::test]
async fn a_change_by_accident_does_not_get_through() {
    use sea_orm::ConnectionTrait as _;
    let house = house().await;
    let mut slips = vec!["UPDATE audit_event SET login = 'x'".to_owned(), "DELETE FROM audit_event".to_owned()];
    if house.deployer.db.is_sqlite() {
        slips.push(put_in(0));
        slips.push(put_in(2).replace("INSERT", "INSERT OR REPLACE"));
        slips.push(put_in(9).replace("INSERT", "INSERT OR REPLACE").replace("'put-in'", "id"));
    }
    for sql in &slips {
        assert!(house.deployer.db.pool().execute_unprepared(sql).await.is_err(), "{sql}");
    }
    assert_eq!(check(&house, None).await.findings, []);
}

#[tokio::test]
async fn rows_cut_off_with_their_head_are_found_by_who_kept_a_head() {
    let house = house().await;
    let kept = check(&house, None).await.head;
    unguard(&house).await;
    house.sql("UPDATE audit_head SET seq = 3, hash = (SELECT hash FROM audit_event WHERE seq = 3)").await;
    house.sql("DELETE FROM audit_event WHERE seq = 4").await;
    assert_eq!(check(&house, None).await.findings, [], "the database alone can't tell");
    let report = check(&house, Some(&kept)).await;
    assert_eq!(report.findings[0].what, "this row was there once, and is not now: rows were cut off");
    // Others in their place do not hide it.
    groups::create(&house.deployer, &house.admin, "more", "").await.unwrap();
    let report = check(&house, Some(&kept)).await;
    assert_eq!(report.findings[0].what, "it is not the row that was kept: the audit was written anew");
    let text = format!("{}:{}", kept.seq, kept.hash);
    assert_eq!(verify::parse_head(&text).unwrap(), kept);
    assert_eq!(refused(verify::parse_head("4:abc")), "TEXT_INVALID");
    // The first day, and an audit without records.
    for nothing in ["", "0:", "\n"] {
        assert_eq!(verify::parse_head(nothing).unwrap(), Head::default());
    }
}

/// The daily check of docs/AUDIT.md, with a `slipway` that answers so.
#[test]
fn the_daily_check_that_is_documented_keeps_no_head_of_a_broken_audit() {
    use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};
    let text = include_str!("../../../../docs/AUDIT.md");
    let check = text.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let run = |answer: &str| {
        fs::write(at("slipway"), format!("#!/bin/sh\nprintf '%s|' \"$@\" > asked\n{answer}\n")).unwrap();
        fs::set_permissions(at("slipway"), fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
        let done =
            Command::new("sh").args(["-c", check]).current_dir(folder.path()).env("PATH", path).output().unwrap();
        let head = fs::read_to_string(at("audit.head")).unwrap_or_default();
        let told = String::from_utf8(done.stdout).unwrap();
        (done.status.code(), fs::read_to_string(at("asked")).unwrap(), head, told)
    };
    let good = |head: &str| format!("echo Checked; echo 'The head is {head}'");
    // The first day, an empty audit, and the next day.
    let told =
        |code, asked: &str, head: &str, said: &str| (Some(code), asked.to_owned(), head.to_owned(), said.to_owned());
    assert_eq!(run(&good("0:")), told(0, "audit|verify|--head||", "0:\n", ""));
    assert_eq!(run(&good("4:aa")), told(0, "audit|verify|--head|0:|", "4:aa\n", ""));
    // A broken one says what is wrong, and the head that still tells stays.
    let broken = "echo 'Record 2: it was changed.'; exit 1";
    assert_eq!(run(broken), told(1, "audit|verify|--head|4:aa|", "4:aa\n", "Record 2: it was changed.\n"));
}

#[tokio::test]
async fn numbers_have_no_gaps_whoever_writes_at_once() {
    let house = house().await;
    let names: Vec<_> = (0..20).map(|n| format!("g{n}")).collect();
    let all = names.iter().map(|name| groups::create(&house.deployer, &house.admin, name, ""));
    for answer in futures_util::future::join_all(all).await {
        answer.unwrap();
    }
    let report = check(&house, None).await;
    assert_eq!((report.rows, report.head.seq, report.findings), (24, 24, Vec::new()));
}

#[tokio::test]
async fn a_flood_of_refusals_is_a_few_records() {
    let house = house().await;
    let bob = house.user("bob", &["dev"]).await;
    for _ in 0..100 {
        assert_eq!(refused(users::delete(&house.deployer, &bob, "admin").await), "FORBIDDEN");
    }
    for n in 0..100 {
        assert_eq!(refused(users::delete(&house.deployer, &bob, &format!("u{n}")).await), "FORBIDDEN");
    }
    let of_bob = Filter { login: Some("bob".to_owned()), ..Default::default() };
    let records = events(&house, &house.admin, of_bob).await;
    assert_eq!(records.len(), audit::ledger::EACH);
    assert_eq!((records[0].outcome.as_str(), &records[0].codes), ("REFUSED", &vec!["FORBIDDEN".to_owned()]));
}

#[tokio::test]
async fn an_infrastructures_administrators_read_what_concerns_theirs() {
    let house = house().await;
    house.infrastructure("PROD", Level::View).await;
    house.sql("SELECT 1").await;
    let ops = house.user("olga", &["ops"]).await;
    let dev = house.user("dave", &["dev"]).await;
    infrastructures::set_permissions(
        &house.deployer,
        &house.admin,
        "PROD",
        1,
        &[Permission { group: "ops".to_owned(), level: Level::Admin }],
    )
    .await
    .unwrap();
    let seen = events(&house, &ops, Filter::default()).await;
    let actions: Vec<_> = seen.iter().map(|event| event.action.as_str()).collect();
    assert_eq!(actions, ["setInfrastructurePermissions", "createInfrastructure"]);
    assert_eq!((&seen[0].before, &seen[0].after), (&json!({"permissions.dev": "VIEW"}), &json!({})));
    assert!(seen.iter().all(|event| event.chained.is_none()), "a number would count what others did");
    assert_eq!(events(&house, &dev, Filter::default()).await, []);
    // Another infrastructure of the same id: its administrators do not read of the first one.
    infrastructures::delete(&house.deployer, &house.admin, "PROD").await.unwrap();
    assert_eq!(events(&house, &ops, Filter::default()).await, []);
    house.infrastructure("PROD", Level::View).await;
    let seen = events(&house, &ops, Filter::default()).await;
    assert_eq!(seen.iter().map(|event| event.action.as_str()).collect::<Vec<_>>(), ["createInfrastructure"]);
    let foreign = Page { first: 10, after: Some("nothing".to_owned()) };
    assert_eq!(refused(list::list(&house.deployer, &ops, &Filter::default(), &foreign).await), "PAGE_INVALID");
}

#[tokio::test]
async fn others_may_leave_a_record() {
    let house = house().await;
    let data = json!({"ticket": 7, "key\0": "x"});
    audit::custom(&house.deployer, &house.admin, "my-audit", &data).await.unwrap();
    let event = &events(&house, &house.admin, Filter::default()).await[0];
    assert_eq!((event.object_kind.as_str(), event.object_id.as_str(), &event.after), ("CUSTOM", "my-audit", &data));
    let long = json!({"x": "y".repeat(20_000)});
    assert_eq!(refused(audit::custom(&house.deployer, &house.admin, "t", &long).await), "TEXT_INVALID");
    assert_eq!(refused(audit::custom(&house.deployer, &viewer("bob", &[]), "t", &data).await), "FORBIDDEN");
    assert_eq!(refused(audit::custom(&house.deployer, &house.admin, "", &data).await), "ID_INVALID");
}

#[tokio::test]
async fn the_record_of_a_key_names_it_and_keeps_its_secret() {
    let house = house().await;
    let new = keys::NewKey { label: "ci".to_owned(), ..Default::default() };
    let (key, whole) = keys::create(&house.deployer, &house.admin, new).await.unwrap();
    keys::revoke(&house.deployer, &house.admin, &key.id).await.unwrap();
    keys::revoke(&house.deployer, &house.admin, &key.id).await.unwrap();
    let seen = events(&house, &house.admin, Filter { object_id: Some(key.id.clone()), ..Default::default() }).await;
    let told: Vec<_> = seen.iter().map(|event| (event.action.as_str(), &event.before, &event.after)).collect();
    let (no, yes, none) = (json!({"revoked": false}), json!({"revoked": true}), json!({}));
    assert_eq!(told[..2], [("revokeApiKey", &none, &none), ("revokeApiKey", &no, &yes)]);
    assert_eq!((told[2].0, &told[2].2["label"]), ("createApiKey", &json!("ci")));
    assert!(!format!("{seen:?}").contains(&whole.expose()[13..]));
}

/// Whoever adds a transaction decides: a mutation commits by its act, which writes the record. These are none.
#[test]
fn only_acts_commit_mutations() {
    let known = [
        // Their own records.
        ("audit/act.rs", 4),
        // The first start found that there is nothing to do.
        ("bootstrap.rs", 2),
        // The bytes of a bundle whose deletion is recorded.
        ("bundles.rs", 1),
        // A deletion that was overtaken: nothing of the deployment changes.
        ("deployments/removal.rs", 1),
        // Housekeeping of workers, and what was found on nodes.
        ("drift.rs", 1),
        ("drift/store.rs", 2),
        // What a worker notes of a node.
        ("imports.rs", 3),
        // The last use of a key.
        ("keys.rs", 1),
        // Housekeeping.
        ("rotate.rs", 2),
        ("sealed.rs", 1),
        ("updates/idempotency.rs", 1),
        // Cancels that no worker sees: the asking is recorded.
        ("updates/unseen.rs", 2),
    ];
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let times = std::fs::read_to_string(&path).unwrap().matches(".commit().await").count();
            if times > 0 {
                found.push((path.strip_prefix(&root).unwrap().display().to_string(), times));
            }
        }
    }
    found.sort();
    let known: Vec<_> = known.iter().map(|(file, times)| ((*file).to_owned(), *times)).collect();
    assert_eq!(found, known);
}

#[tokio::test]
async fn a_record_says_who_acts_as_somebody_else() {
    let house = house().await;
    house.infrastructure("PROD", Level::View).await;
    house.user("olga", &["ops"]).await;
    let olga = keys::act_for(&house.deployer, &house.admin, "olga").await.unwrap();
    let patch = InfrastructurePatch { stage: Some("Production".to_owned()), ..Default::default() };
    infrastructures::update(&house.deployer, &olga, "PROD", 1, patch).await.unwrap();
    assert_eq!(refused(groups::create(&house.deployer, &olga, "new", "").await), "FORBIDDEN");
    for event in &events(&house, &house.admin, Filter::default()).await[..2] {
        assert_eq!((event.login.as_str(), &event.after["actedBy"]), ("olga", &json!("admin")));
    }
}

#[tokio::test]
async fn no_record_tells_what_clients_keep_nor_a_key() {
    let house = house().await;
    house.infrastructure("PROD", Level::View).await;
    projects::create(&house.deployer, &house.admin, "CHURN", None).await.unwrap();
    let kept = json!({"note": "hush-hush"}).as_object().cloned();
    let change = projects::Change { expected_version: 1, other: kept.clone(), ..Default::default() };
    projects::update(&house.deployer, &house.admin, "CHURN", change).await.unwrap();
    let settings = SettingsPatch { other: kept, ..Default::default() };
    let patch = InfrastructurePatch { settings, ..Default::default() };
    infrastructures::update(&house.deployer, &house.admin, "PROD", 1, patch).await.unwrap();
    let stranger = engine::secrets::ApiKey::generate();
    assert_eq!(refused(keys::revoke(&house.deployer, &house.admin, stranger.expose()).await), "NOT_FOUND");
    let all = events(&house, &house.admin, Filter::default()).await;
    assert_eq!(all[0].object_id, stranger.prefix());
    for event in &all[1..3] {
        assert!(event.after["other"]["sha256"].is_string(), "{event:?}");
    }
    let all = format!("{all:?}");
    assert!(!all.contains("hush-hush") && !all.contains(stranger.expose()), "{all}");
}
