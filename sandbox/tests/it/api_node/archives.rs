//! Importing: what is taken twice, and what is not taken at all.

use super::client::scene;
use reqwest::{Method, StatusCode};
use sandbox::{Package, ServiceSpec, sample_service};
use serde_json::json;
use std::io::Write;
use std::path::Path;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

fn zipped(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in entries {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// An archive whose two entries were given one name afterwards.
fn doubled() -> Vec<u8> {
    let manifest = ServiceSpec::new("fraud", "v1").manifest().to_string();
    let bytes = zipped(&[("service.json", manifest.as_bytes()), ("service.jsom", b"{}")]);
    let (from, to) = (b"service.jsom", b"service.json");
    let mut changed = bytes.clone();
    for at in 0..bytes.len() - from.len() {
        if &bytes[at..at + from.len()] == from {
            changed[at..at + to.len()].copy_from_slice(to);
        }
    }
    changed
}

#[tokio::test]
async fn hostile_archives_are_refused_and_leave_nothing() {
    let scene = scene().await;
    scene.client.post("/admin/api/services/", Some(&json!({"serviceId": "fraud"}))).await;
    let spec = || ServiceSpec::new("fraud", "v1");
    let whole = sample_service(&spec());
    let huge = vec![b' '; 17 * 1024 * 1024];
    for (name, bytes, says) in [
        ("text.zip", b"hello".to_vec(), "no readable zip archive"),
        ("empty.zip", Vec::new(), "no readable zip archive"),
        ("half.zip", whole[..whole.len() / 2].to_vec(), "no readable zip archive"),
        ("none.zip", zipped(&[("README.md", b"hello")]), "no service.json in it"),
        ("above.zip", zipped(&[("../service.json", b"{}")]), "no service.json in it"),
        ("doubled.zip", doubled(), "two entries of one name"),
        ("huge.zip", zipped(&[("service.json", &huge)]), "larger than"),
        ("list.zip", zipped(&[("service.json", b"[]")]), "no JSON object"),
        ("other.zip", sample_service(&ServiceSpec::new("churn", "v1")), "holds service churn, not fraud"),
        ("newer.zip", sample_service(&spec().with("formatVersion", json!(2))), "formatVersion 2"),
        ("slash.zip", sample_service(&ServiceSpec::new("fraud", "../v1")), "generation is no valid id"),
        ("type.zip", sample_service(&spec().endpoint("x", "MAGIC")), "endpoints[].type"),
        ("twice.zip", sample_service(&spec().endpoint("score", "PY_FUNCTION")), "endpoints has two of one id"),
        ("auth.zip", sample_service(&spec().with("authMethod", json!("NONE"))), "authMethod"),
        ("tokens.zip", sample_service(&spec().with("authMethod", json!("OAUTH2"))), "oauth2 is needed"),
    ] {
        let path = scene.write(name, &bytes);
        let (status, error) = scene.client.import("fraud", &path).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{name}: {error}");
        assert!(error["message"].as_str().unwrap().contains(says), "{name}: {error}");
        assert!(error["errorType"].is_string() && error["detailedMessage"].is_string());
    }
    assert_eq!(scene.node.snapshot()["services"]["fraud"]["generations"], json!([]));
}

#[tokio::test]
async fn only_what_lies_in_the_folder_is_imported() {
    let scene = scene().await;
    scene.client.post("/admin/api/services/", Some(&json!({"serviceId": "fraud"}))).await;
    let outside = tempfile::tempdir().unwrap();
    let hidden = outside.path().join("v1.zip");
    std::fs::write(&hidden, sample_service(&ServiceSpec::new("fraud", "v1"))).unwrap();
    let link = scene.folder.path().join("link.zip");
    std::os::unix::fs::symlink(&hidden, &link).unwrap();
    let dotted = scene.folder.path().join("..").join(outside.path().file_name().unwrap()).join("v1.zip");
    let missing = scene.folder.path().join("missing.zip");
    for (path, wanted) in [
        (hidden.as_path(), StatusCode::FORBIDDEN),
        (link.as_path(), StatusCode::FORBIDDEN),
        (Path::new("/nowhere/v1.zip"), StatusCode::FORBIDDEN),
        (dotted.as_path(), StatusCode::BAD_REQUEST),
        (Path::new("v1.zip"), StatusCode::BAD_REQUEST),
        (missing.as_path(), StatusCode::BAD_REQUEST),
        (scene.folder.path(), StatusCode::BAD_REQUEST),
    ] {
        let (status, error) = scene.client.import("fraud", path).await;
        assert_eq!(status, wanted, "{}: {error}", path.display());
    }
    let call = "/admin/api/services/fraud/generations/actions/importFromArchive";
    assert_eq!(scene.client.send(Method::POST, call, None).await.0, StatusCode::BAD_REQUEST, "filePath is needed");
    let inner = scene.folder.path().join("a/b");
    std::fs::create_dir_all(&inner).unwrap();
    let deep = inner.join("v 1+ü.zip");
    std::fs::copy(&hidden, &deep).unwrap();
    assert_eq!(scene.client.import("fraud", &deep).await.0, StatusCode::OK);
    assert_eq!(scene.client.import("churn", &deep).await.0, StatusCode::NOT_FOUND, "there is no such service");
}

#[tokio::test]
async fn a_generation_is_imported_again_only_with_the_same_content() {
    let scene = scene().await;
    let spec = ServiceSpec::new("fraud", "v1");
    scene.import(&spec).await;
    scene.import(&spec).await;
    let other = scene.write("other.zip", &sample_service(&spec.endpoint("more", "PY_FUNCTION")));
    let (status, error) = scene.client.import("fraud", &other).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(error["message"].as_str().unwrap().contains("other content"), "{error}");
    assert_eq!(scene.node.snapshot()["services"]["fraud"]["generations"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn packages_are_served_from_the_start_all_or_none() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, spec: &ServiceSpec| {
        let path = folder.path().join(name);
        std::fs::write(&path, sample_service(spec)).unwrap();
        path
    };
    let one = write("one.zip", &ServiceSpec::new("fraud", "v1"));
    let two = write("two.zip", &ServiceSpec::new("fraud", "v2"));
    let other = write("other.zip", &ServiceSpec::new("churn", "v7"));
    let node = super::client::builder().build().unwrap();
    let nothing = node.snapshot();
    for (packages, says) in [
        (vec![(other.as_path(), 1.0), (one.as_path(), 0.5)], "sum to 0.5"),
        (vec![(other.as_path(), 1.0), (one.as_path(), 0.5), (one.as_path(), 0.5)], "v1 twice"),
        (vec![(other.as_path(), 1.0), (Path::new("/nowhere.zip"), 1.0)], "/nowhere.zip"),
        (vec![(other.as_path(), f64::NAN)], "not from 0 to 1"),
    ] {
        let error = node.serve(&served(&packages)).unwrap_err();
        assert!(error.contains(says), "{error}");
        assert_eq!(node.snapshot(), nothing);
    }
    node.serve(&served(&[(&one, 0.25), (&other, 1.0), (&two, 0.75)])).unwrap();
    let services = node.snapshot()["services"].clone();
    let mapping = json!([{"generation": "v1", "proba": 0.25}, {"generation": "v2", "proba": 0.75}]);
    assert_eq!(services["fraud"]["mapping"], mapping);
    assert_eq!(
        (&services["churn"]["enabled"], &services["churn"]["generations"][0]["preloaded"]),
        (&json!(true), &json!(true))
    );
    assert!(node.serve(&served(&[(&one, 1.0)])).is_err(), "the service is there");
}

fn served(packages: &[(&Path, f64)]) -> Vec<Package> {
    packages.iter().map(|(file, proba)| (*file, *proba).into()).collect()
}

#[tokio::test]
async fn fields_of_an_archive_can_be_amended() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("one.zip");
    std::fs::write(&file, sandbox::sample_service(&ServiceSpec::new("fraud", "v1"))).unwrap();
    let node = super::client::builder().build().unwrap();
    let amended =
        json!({"serviceId": "there", "generation": "v1-a", "authMethod": "API_KEYS", "apiKeys": ["good-key"]});
    let amended = amended.as_object().unwrap().clone();
    node.serve(&[Package { file, proba: 1.0, amended }]).unwrap();
    let services = node.snapshot()["services"].clone();
    assert_eq!(services["there"]["mapping"], json!([{"generation": "v1-a", "proba": 1.0}]));
    assert!(!node.snapshot().to_string().contains("good-key"));
}
