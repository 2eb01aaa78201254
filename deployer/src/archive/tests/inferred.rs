//! Bundles without a manifest.

use super::*;

fn project(more: &[(&str, &[u8])]) -> Vec<u8> {
    let mut files: Vec<(&str, &[u8])> =
        vec![("project_config/params.json", br#"{"projectKey": "CHURN", "name": "Churn"}"#)];
    files.extend_from_slice(more);
    zip_of(&files)
}

#[test]
fn datasets_and_scenarios_are_found() {
    let archive = project(&[
        (
            "project_config/datasets/customers.json",
            br#"{"type": "PostgreSQL", "params": {"connection": "sql-dev", "table": "t"}}"#,
        ),
        (
            "project_config/datasets/orders.json",
            br#"{"name": "all_orders", "type": "PostgreSQL", "params": {"connection": "sql-dev"}}"#,
        ),
        ("project_config/datasets/files.json", br#"{"type": "S3", "params": {"connection": "bucket"}}"#),
        ("project_config/datasets/inline.json", br#"{"type": "Inline", "params": {}}"#),
        (
            "scenarios/DAILY.json",
            br#"{"type": "step_based", "name": "Daily build", "active": true, "runAsUser": "designer"}"#,
        ),
        ("scenarios/other.json", br#"{"id": "WEEKLY", "type": "later_kind", "active": false}"#),
        ("recipes/join.json", br#"{"type": "join", "active": true}"#),
        ("notes.json", b"[1, 2]"),
        ("broken.json", b"{"),
        ("readme.txt", br#"{"type": "PostgreSQL", "params": {"connection": "not-json"}}"#),
    ]);
    let read = read_named(&archive, "exports\\v12.ZIP", Limits::default()).unwrap();
    assert_eq!(read.contents, Contents::Inferred);
    assert_eq!((read.bundle_id.as_str(), read.project_key.as_str()), ("v12", "CHURN"));
    let target = read.for_target();
    assert!(target.inferred);
    let connections: Vec<_> =
        target.connections.iter().map(|c| (c.name.as_str(), c.kind.as_deref(), c.used_by.join(", "))).collect();
    assert_eq!(
        connections,
        [
            ("bucket", None, "dataset files".to_owned()),
            ("sql-dev", Some("PostgreSQL"), "dataset customers, dataset all_orders".to_owned()),
        ]
    );
    let scenarios: Vec<_> = target.scenarios.iter().map(|s| (s.id.as_str(), s.active)).collect();
    assert_eq!(scenarios, [("DAILY", true), ("WEEKLY", false)]);
    assert_eq!(read.warnings.len(), 2, "{:?}", read.warnings);
    assert!(read.warnings[1].starts_with("2 files"), "{:?}", read.warnings);
}

#[test]
fn the_project_key_is_what_the_files_nearest_to_the_root_agree_on() {
    let key = |files: &[(&str, &[u8])]| read_named(&zip_of(files), "v1.zip", Limits::default());
    let (a, b) = (br#"{"projectKey": "A"}"#, br#"{"projectKey": "B"}"#);
    assert_eq!(key(&[("x/y/1.json", b), ("x/y/2.json", b), ("p.json", a)]).unwrap().project_key, "A");
    assert_eq!(key(&[("1.json", b), ("2.json", b), ("p.json", a)]).unwrap().project_key, "B");
    for nobody_knows in [
        &[("1.json", &b[..]), ("2.json", &a[..])][..],
        &[("1.json", b"{}")],
        &[("1.json", br#"{"projectKey": "a/b"}"#)],
        &[],
    ] {
        assert_eq!(key(nobody_knows).err().unwrap().code(), "BUNDLE_NO_PROJECT_KEY");
    }
}

#[test]
fn the_file_name_must_give_an_id() {
    for (name, id) in [("v1.zip", "v1"), ("a/b/v1.zip", "v1"), ("v1", "v1"), ("v1.2.zip", "v1.2"), ("été.zip", "été")]
    {
        assert_eq!(read_named(&project(&[]), name, Limits::default()).unwrap().bundle_id, id);
    }
    let long = format!("{}.zip", "x".repeat(101));
    for name in ["", ".zip", "  .zip", "a#b.zip", "a/", "...zip", long.as_str()] {
        assert_eq!(
            read_named(&project(&[]), name, Limits::default()).err().unwrap().code(),
            "BUNDLE_ID_INVALID",
            "{name:?}"
        );
    }
}

#[test]
fn what_is_too_large_or_too_much_is_passed_over_and_told() {
    let dataset = br#"{"type": "PostgreSQL", "params": {"connection": "sql-dev"}}"#;
    let archive = project(&[("d/1.json", dataset), ("d/2.json", dataset)]);
    for limits in [
        Limits { scanned_entries: 1, ..Limits::default() },
        Limits { scanned: 50, ..Limits::default() },
        Limits { scanned_entry: 50, ..Limits::default() },
    ] {
        let read = read_named(&archive, "v1.zip", limits).unwrap();
        assert!(read.manifest.connections.is_empty());
        assert!(read.warnings[1].starts_with("2 JSON files"), "{:?}", read.warnings);
    }
}

#[test]
fn a_hostile_definition_finds_nothing() {
    let long = format!(r#"{{"type": "PostgreSQL", "params": {{"connection": "{}"}}}}"#, "x".repeat(500));
    let deep = format!(r#"{{"type": "PostgreSQL", "params": {}{}}}"#, "[".repeat(5000), "]".repeat(5000));
    let many =
        format!(r#"{{"type": "PostgreSQL", "params": {{"connection": "c"}}, "x": [{}1]}}"#, "1,".repeat(200_000));
    let archive = project(&[
        ("1.json", long.as_bytes()),
        ("2.json", deep.as_bytes()),
        ("3.json", many.as_bytes()),
        ("4.json", br#"{"type": 5, "params": {"connection": "c"}}"#),
        ("5.json", br#"{"type": "x", "params": {"connection": ["c"]}}"#),
        ("6.json", br#"{"type": "x", "params": "connection"}"#),
        ("7.json", br#"{"type": "step_based", "id": "../x", "active": true}"#),
    ]);
    let read = read_named(&archive, "v1.zip", Limits::default()).unwrap();
    assert!(read.manifest.connections.is_empty() && read.manifest.scenarios.is_empty(), "{:?}", read.manifest);
}

#[test]
fn a_damaged_definition_refuses_the_archive() {
    let mut archive = stored(&[("p.json", br#"{"projectKey": "CHURN"}"#)]);
    patch(&mut archive, b"CHURN", b"CHURM");
    assert_eq!(refused(&archive), "BUNDLE_CORRUPT");
}
