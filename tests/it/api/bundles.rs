//! Bundles that are none.

use std::{fs, path::Path};

use sandbox::{BundleSpec, sample_bundle};
use serde_json::{Value, json};
use tests::{Fleet, Size, client, until_true};

const LARGEST: usize = 300_000;

#[tokio::test(flavor = "multi_thread")]
async fn each_has_its_code_and_leaves_nothing() {
    let fleet = Fleet::of(Size::Embedded).set("SLIPWAY_PACKAGES_LARGEST", LARGEST).start().await;
    let api = &fleet.client;
    let good = sample_bundle(&BundleSpec::new("CHURN", "v1"));
    let cases = [
        ("no zip", b"PK, but no zip".to_vec(), 400, "BUNDLE_NOT_A_ZIP"),
        ("nothing", Vec::new(), 400, "BUNDLE_NOT_A_ZIP"),
        ("truncated", good[..good.len() / 2].to_vec(), 400, "BUNDLE_TRUNCATED"),
        ("encrypted", encrypted(&good), 400, "BUNDLE_ENCRYPTED"),
        ("a bomb", bomb(), 413, "BUNDLE_TOO_LARGE"),
        ("no project key", zip(&[("bundle-manifest.json", br#"{"bundleId": "v1"}"#)]), 400, "BUNDLE_NO_PROJECT_KEY"),
        ("no bundle id", zip(&[("bundle-manifest.json", br#"{"projectKey": "CHURN"}"#)]), 400, "BUNDLE_ID_INVALID"),
        (
            "a bad bundle id",
            zip(&[("bundle-manifest.json", br#"{"projectKey": "CHURN", "bundleId": "a/b"}"#)]),
            400,
            "BUNDLE_ID_INVALID",
        ),
        ("a manifest that is none", zip(&[("bundle-manifest.json", b"{")]), 400, "BUNDLE_MANIFEST_INVALID"),
        ("too large", noise(LARGEST + 1), 413, "PACKAGE_TOO_LARGE"),
    ];
    for (name, archive, status, code) in cases {
        let (found, answer) = api.try_upload(None, archive).await.unwrap();
        assert_eq!((found.as_u16(), &answer["errors"][0]["code"]), (status, &json!(code)), "{name}: {answer:#}");
        assert_eq!(answer["errors"].as_array().map(Vec::len), Some(1), "{name}: {answer:#}");
        assert_eq!(answer["errors"][0]["message"].as_str().map(str::is_empty), Some(false), "{name}");
        nothing(&fleet, name).await;
    }
    // Reserved, or no key at all.
    for (key, code) in [("stages", "ID_NOT_AVAILABLE"), ("a/b", "ID_INVALID"), (" ", "ID_INVALID")] {
        let (_, answer) = api.try_upload(Some(key), good.clone()).await.unwrap();
        assert_eq!(answer["errors"][0]["code"], code, "{key}: {answer:#}");
        nothing(&fleet, key).await;
    }
    let form = reqwest::multipart::Form::new().text("other", "x");
    let without = client::http()
        .post(format!("{}/bundles", api.url()))
        .bearer_auth(api.key())
        .multipart(form)
        .send()
        .await
        .unwrap();
    assert_eq!(without.status(), 400);
    let without: Value = without.json().await.unwrap();
    assert_eq!(
        (&without["errors"][0]["code"], &without["errors"][0]["field"]),
        (&json!("BAD_REQUEST"), &json!("file"))
    );
    let stranger = client::http().post(format!("{}/bundles", api.url())).body(good.clone()).send().await.unwrap();
    assert_eq!(stranger.status(), 401);
    nothing(&fleet, "a form without the file, and a stranger").await;

    // A second one of the same id, with the same content or another.
    api.upload(good.clone()).await;
    let other = sample_bundle(&BundleSpec { release_notes: "other".to_owned(), ..BundleSpec::new("CHURN", "v1") });
    for archive in [good.clone(), other] {
        let (status, answer) = api.try_upload(None, archive).await.unwrap();
        assert_eq!((status.as_u16(), &answer["errors"][0]["code"]), (409, &json!("BUNDLE_EXISTS")), "{answer:#}");
    }
    assert_eq!(packages(&fleet).len(), 1);
    let outsider = fleet.user("outsider", &[]);
    let (status, answer) = outsider.try_upload(None, sample_bundle(&BundleSpec::new("CHURN", "v2"))).await.unwrap();
    assert_eq!((status.as_u16(), &answer["errors"][0]["code"]), (409, &json!("ID_NOT_AVAILABLE")));
    let absent =
        |key: &str| client::http().get(format!("{}/projects/{key}/bundles/v1", api.url())).bearer_auth(outsider.key());
    let (hidden, never) = (absent("CHURN").send().await.unwrap(), absent("NEVER").send().await.unwrap());
    assert_eq!((hidden.status().as_u16(), hidden.text().await.unwrap()), (404, never.text().await.unwrap()));
    assert_eq!(packages(&fleet).len(), 1);
    // Deleted, it leaves nothing either.
    api.tell("deleteBundle(projectKey: \"CHURN\", id: \"v1\")", "deletedId").await;
    assert_eq!(packages(&fleet), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_breaks_off_leaves_nothing() {
    let fleet = Fleet::of(Size::Embedded).start().await;
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Vec<u8>, std::io::Error>>(1);
    let body =
        futures_util::stream::unfold(receiver, |mut receiver| async { Some((receiver.recv().await?, receiver)) });
    let api = fleet.client.clone();
    let upload = tokio::spawn(async move { api.try_upload(None, reqwest::Body::wrap_stream(body)).await });
    sender.send(Ok(sample_bundle(&BundleSpec::new("CHURN", "v1"))[..500].to_vec())).await.unwrap();
    let staged = || files(Path::new(&fleet.scratch().at("data/staging")));
    until_true("a staged upload", tests::PATIENCE, || async { !staged().is_empty() }).await;
    sender.send(Err(std::io::ErrorKind::ConnectionAborted.into())).await.unwrap();
    assert!(upload.await.unwrap().is_err(), "the connection is gone");
    until_true("an empty staging folder", tests::PATIENCE, || async { staged().is_empty() }).await;
    nothing(&fleet, "an upload that broke off").await;
}

/// No row, no package, nothing half taken in.
async fn nothing(fleet: &Fleet, after: &str) {
    let projects = fleet.client.ask("{ publishedProjects { nodes { key } } }", json!({})).await;
    assert_eq!(projects["nodes"], json!([]), "{after}");
    assert_eq!(packages(fleet), Vec::<String>::new(), "{after}");
    assert_eq!(files(Path::new(&fleet.scratch().at("data/staging"))), Vec::<String>::new(), "{after}");
}

fn packages(fleet: &Fleet) -> Vec<String> {
    files(Path::new(&fleet.scratch().at("data/packages")))
}

fn files(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let of = |path: std::path::PathBuf| if path.is_dir() { files(&path) } else { vec![path.display().to_string()] };
    entries.flat_map(|entry| of(entry.unwrap().path())).filter(|path| !path.ends_with("/.lock")).collect()
}

/// A zip archive without compression, written by hand: a header and the bytes for each file, then the directory. `flags` and `unpacked` can lie.
fn archive(files: &[(&str, &[u8])], method: u16, flags: u16, unpacked: Option<u32>) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in files {
        let size = unpacked.unwrap_or(content.len() as u32);
        let mut common = Vec::new();
        for part in [20, flags, method, 0, 0x21] {
            common.extend_from_slice(&u16::to_le_bytes(part));
        }
        for part in [crc(content), content.len() as u32, size] {
            common.extend_from_slice(&part.to_le_bytes());
        }
        common.extend_from_slice(&(name.len() as u16).to_le_bytes());
        common.extend_from_slice(&[0, 0]);
        directory.extend_from_slice(b"PK\x01\x02\x14\x00");
        directory.extend_from_slice(&common);
        directory.extend_from_slice(&[0; 10]);
        directory.extend_from_slice(&(out.len() as u32).to_le_bytes());
        directory.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"PK\x03\x04");
        out.extend_from_slice(&common);
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(content);
    }
    let (at, count) = (out.len() as u32, files.len() as u16);
    out.extend_from_slice(&directory);
    out.extend_from_slice(b"PK\x05\x06\x00\x00\x00\x00");
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(&(directory.len() as u32).to_le_bytes());
    out.extend_from_slice(&at.to_le_bytes());
    out.extend_from_slice(&[0, 0]);
    out
}

fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    archive(files, 0, 0, None)
}

/// It says that it unpacks to four gigabytes, of a few bytes.
fn bomb() -> Vec<u8> {
    archive(&[("bundle-manifest.json", &[0x4b, 0x4c, 0x04, 0x00])], 8, 0, Some(u32::MAX - 1))
}

/// The flag of each entry says that it needs a password.
fn encrypted(good: &[u8]) -> Vec<u8> {
    let mut archive = good.to_vec();
    for (signature, flag) in [(b"PK\x03\x04", 6), (b"PK\x01\x02", 8)] {
        let places: Vec<usize> =
            archive.windows(4).enumerate().filter(|(_, window)| window == signature).map(|(at, _)| at).collect();
        assert!(!places.is_empty());
        for at in places {
            archive[at + flag] |= 1;
        }
    }
    archive
}

/// Bytes without a pattern.
fn noise(size: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    (0..size).map(|_| next()).collect()
}

fn crc(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    };
    !bytes.iter().fold(u32::MAX, step)
}
