//! Bundles with a manifest.

use super::*;

const WHOLE: &str = r#"{"formatVersion": 1, "bundleId": "v12", "projectKey": "CHURN", "projectName": "Churn", "owner": "designer",
 "releaseNotes": "text", "designNodeInfo": {"nodeId": "design", "projectKey": "CHURN", "url": "https://design.example", "installId": "x"},
 "connections": [{"name": "sql-dev", "type": "PostgreSQL", "usedBy": ["dataset customers"], "color": "red"}],
 "scenarios": [{"id": "DAILY", "name": "Daily build", "active": true, "runAsUser": "designer", "markedAsTest": false}],
 "webapps": [{"id": "w1", "name": "App", "runAsUser": "designer"}],
 "permissions": [{"group": "data-team", "readProjectContent": true, "writeProjectContent": true}, {"user": "analyst", "readProjectContent": true}],
 "variables": {"standard": {}}, "codeEnvs": [{"name": "py_prod", "lang": "PYTHON"}], "projectStandardsReport": null, "later": {"a": [1, 2.5, null]}}"#;

#[tokio::test]
async fn a_whole_manifest_is_read_and_keeps_unknown_keys() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), with_manifest(WHOLE)).unwrap();
    let read = read_bundle(file.path(), "other.zip", Limits::default()).await.unwrap();
    assert_eq!((read.bundle_id.as_str(), read.project_key.as_str()), ("v12", "CHURN"));
    assert_eq!(read.project_name.as_deref(), Some("Churn"));
    assert_eq!(read.contents, Contents::Declared);
    assert!(read.warnings.is_empty());

    let mut written: Value = serde_json::from_str(WHOLE).unwrap();
    written.as_object_mut().unwrap().remove("projectStandardsReport");
    assert_eq!(serde_json::to_value(&read.manifest).unwrap(), written);

    let target = read.for_target();
    assert!(!target.inferred);
    assert_eq!(target.connections[0].kind.as_deref(), Some("PostgreSQL"));
    assert_eq!(target.connections[0].used_by, ["dataset customers"]);
    assert!(target.scenarios[0].active);
    assert_eq!(target.webapps[0].id, "w1");
    let permissions = serde_json::to_value(&target.permissions).unwrap();
    assert_eq!(permissions, written["permissions"]);
}

#[test]
fn only_the_ids_are_needed_and_null_is_absent() {
    for manifest in [
        r#"{"bundleId": "v1", "projectKey": "P"}"#,
        "\u{feff} {\"bundleId\": \"v1\", \"projectKey\": \"P\"}\n",
        r#"{"bundleId": "v1", "projectKey": "P", "formatVersion": null, "connections": null, "scenarios": null, "webapps": null,
            "permissions": null, "variables": null, "codeEnvs": null, "projectName": null, "designNodeInfo": null}"#,
    ] {
        let read = read(&with_manifest(manifest)).unwrap();
        assert_eq!(read.manifest, BundleManifest::new("v1".to_owned(), "P".to_owned()), "{manifest}");
    }
}

#[test]
fn a_manifest_elsewhere_is_no_manifest() {
    let elsewhere = zip_of(&[("sub/bundle-manifest.json", br#"{"bundleId": "v1", "projectKey": "P"}"#)]);
    let read = read_named(&elsewhere, "v9.zip", Limits::default()).unwrap();
    assert_eq!((read.contents, read.bundle_id.as_str()), (Contents::Inferred, "v9"));
}

#[test]
fn what_is_wrong_is_named_with_its_path() {
    let cases = [
        ("", "the top level"),
        ("[]", "the top level"),
        ("null", "the top level"),
        ("{", "the top level"),
        (r#"{"bundleId": "v1", "projectKey": "P"} x"#, "the top level"),
        (r#"{"bundleId": 7, "projectKey": "P"}"#, "bundleId"),
        (r#"{"bundleId": "v1", "projectKey": ["P"]}"#, "projectKey"),
        (r#"{"formatVersion": 0, "bundleId": "v1", "projectKey": "P"}"#, "formatVersion"),
        (r#"{"formatVersion": -1, "bundleId": "v1", "projectKey": "P"}"#, "formatVersion"),
        (r#"{"formatVersion": "1", "bundleId": "v1", "projectKey": "P"}"#, "formatVersion"),
        (r#"{"bundleId": "v1", "projectKey": "P", "connections": {}}"#, "connections"),
        (
            r#"{"bundleId": "v1", "projectKey": "P", "connections": [{"name": "a"}, {"name": 1}]}"#,
            "connections[1].name",
        ),
        (r#"{"bundleId": "v1", "projectKey": "P", "connections": [{"type": "S3"}]}"#, "connections[0]"),
        (r#"{"bundleId": "v1", "projectKey": "P", "connections": [{"name": " "}]}"#, "connections[0].name"),
        (r#"{"bundleId": "v1", "projectKey": "P", "scenarios": [{"id": "a/b"}]}"#, "scenarios[0].id"),
        (
            r#"{"bundleId": "v1", "projectKey": "P", "scenarios": [{"id": "a", "active": "yes"}]}"#,
            "scenarios[0].active",
        ),
        (r#"{"bundleId": "v1", "projectKey": "P", "webapps": [{"id": ".."}]}"#, "webapps[0].id"),
        (r#"{"bundleId": "v1", "projectKey": "P", "bundleId": "v2"}"#, "the top level"),
    ];
    for (manifest, path) in cases {
        let error = read(&with_manifest(manifest)).err().unwrap();
        assert_eq!(error.code(), "BUNDLE_MANIFEST_INVALID", "{manifest}: {error}");
        let ArchiveError::ManifestInvalid { path: found, .. } = &error else { unreachable!() };
        assert_eq!(found, path, "{manifest}: {error}");
    }
}

#[test]
fn an_error_repeats_no_value() {
    let error = read(&with_manifest(r#"{"bundleId": "v1", "projectKey": "P", "connections": "hunter2 \" hunter2"}"#))
        .err()
        .unwrap();
    assert!(error.to_string().contains("connections") && !error.to_string().contains("hunter2"), "{error}");
}

#[test]
fn a_later_format_is_refused_by_its_number_before_its_keys() {
    let error = read(&with_manifest(r#"{"bundleId": {"is": "an object now"}, "formatVersion": 2}"#)).err().unwrap();
    assert_eq!(error.code(), "BUNDLE_FORMAT_UNSUPPORTED");
    assert!(error.to_string().contains("version 2") && error.to_string().contains("version 1"), "{error}");
}

#[test]
fn ids_are_checked() {
    let code = |bundle: &str, project: &str| {
        let manifest = serde_json::json!({"bundleId": bundle, "projectKey": project});
        refused(&with_manifest(&manifest.to_string()))
    };
    for project in ["", "  "] {
        assert_eq!(code("v1", project), "BUNDLE_NO_PROJECT_KEY");
    }
    let long = "x".repeat(101);
    for bad in ["a/b", "a?b", "a#b", "..", "a\nb", " a", long.as_str()] {
        assert_eq!(code("v1", bad), "BUNDLE_PROJECT_KEY_INVALID", "{bad:?}");
        assert_eq!(code(bad, "P"), "BUNDLE_ID_INVALID", "{bad:?}");
    }
    assert_eq!(code("", "P"), "BUNDLE_ID_INVALID");
    assert_eq!(code("Version 1.2 (ü)", "P"), "accepted");
    assert_eq!(refused(&with_manifest(r#"{"bundleId": "v1"}"#)), "BUNDLE_NO_PROJECT_KEY");
    assert_eq!(refused(&with_manifest(r#"{"projectKey": "P"}"#)), "BUNDLE_ID_INVALID");
}

#[test]
fn a_permission_for_nobody_is_told() {
    let manifest = r#"{"bundleId": "v1", "projectKey": "P", "permissions": [{"user": "a"}, {"admin": true}]}"#;
    let read = read(&with_manifest(manifest)).unwrap();
    assert_eq!(read.warnings.len(), 1);
    assert!(read.warnings[0].starts_with("permissions[1]"));
}

#[test]
fn a_refusal_is_data_for_the_uploader() {
    let error = crate::error::Error::from(read(b"no zip").err().unwrap());
    let crate::error::Error::Refused(refusals) = error else { unreachable!() };
    assert_eq!(refusals[0].code, "BUNDLE_NOT_A_ZIP");
    assert_eq!(refusals[0].field.as_deref(), Some("file"));
    let missing = bundle(std::path::Path::new("/nonexistent"), "v1.zip", Limits::default()).err().unwrap();
    assert_eq!(missing.code(), "ARCHIVE_READ_FAILED");
    assert!(matches!(crate::error::Error::from(missing), crate::error::Error::Fault(_)));
}
