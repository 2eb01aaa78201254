//! Taking bundles in, and giving them back.

use bytes::Bytes;
use deployer::{
    bundles::{self, upload},
    deployments,
    imports::Imports,
    paging::Page,
    projects, updates,
};
use futures_util::{TryStreamExt as _, stream};
use targets::target::ImportLedger as _;

use crate::deployments::support::{LIMIT, bundle, code, key, problems, viewer, world, zip_of};

#[tokio::test]
async fn an_upload_comes_back_byte_for_byte() {
    let world = world().await;
    let archive = bundle("CHURN", "v2");
    let up = world.upload(&world.root, None, &archive).await.unwrap();
    assert_eq!((up.bundle.size, up.bundle.inferred, up.created_project), (archive.len() as u64, false, false));
    let wanted = [up.bundle.key.clone()];
    let contents = bundles::contents_of(&world.deployer, &world.root, &wanted).await.unwrap();
    assert_eq!(contents[&up.bundle.key].connections[0].name, "sql-dev");
    let manifests = bundles::manifests_of(&world.deployer, &world.root, &wanted).await.unwrap();
    assert!(manifests[&up.bundle.key].is_object());
    assert_eq!(up.bundle.release_notes, "first");
    let (found, stream) = bundles::open(&world.deployer, &world.root, &key("CHURN", "v2")).await.unwrap();
    let bytes: Vec<Bytes> = stream.try_collect().await.unwrap();
    assert_eq!((found, bytes.concat()), (up.bundle, archive));
}

#[tokio::test]
async fn a_missing_project_is_made_and_belongs_to_the_uploader() {
    let world = world().await;
    let designer = world.account("designer").await;
    let up = world.upload(&designer, None, &bundle("FRAUD", "v1")).await.unwrap();
    assert!(up.created_project);
    let project = projects::get(&world.deployer, &designer, "FRAUD").await.unwrap().unwrap();
    assert_eq!((project.owner.as_str(), project.rights.admin), ("designer", true));
    assert!(projects::get(&world.deployer, &viewer("other", &[]), "FRAUD").await.unwrap().is_none());
    let elsewhere = world.upload(&designer, Some("OTHER"), &bundle("FRAUD", "v1")).await.unwrap();
    assert_eq!(elsewhere.bundle.key, key("OTHER", "v1"));
}

#[tokio::test]
async fn what_is_refused_leaves_nothing() {
    let world = world().await;
    let before = world.stored();
    let root = &world.root;
    let good = bundle("NEW", "v1");
    let mut cases: Vec<(&str, Option<&str>, Vec<u8>)> = vec![
        ("BUNDLE_NOT_A_ZIP", None, b"<html>".to_vec()),
        ("BUNDLE_TRUNCATED", None, good[..good.len() - 8].to_vec()),
        ("BUNDLE_NO_PROJECT_KEY", None, zip_of(&[("bundle-manifest.json", br#"{"bundleId": "v1"}"#)])),
        ("BUNDLE_EXISTS", None, bundle("CHURN", "v1")),
        ("BUNDLE_EXISTS", Some("CHURN"), bundle("ELSEWHERE", "v1")),
        ("ID_NOT_AVAILABLE", Some("bundles"), good.clone()),
        ("ID_INVALID", Some("a/b"), good.clone()),
        ("PACKAGE_TOO_LARGE", None, vec![0; LIMIT as usize + 1]),
    ];
    // Another content under an id that exists.
    cases.push((
        "BUNDLE_EXISTS",
        None,
        zip_of(&[("bundle-manifest.json", br#"{"bundleId": "v1", "projectKey": "CHURN"}"#)]),
    ));
    for (expected, project, archive) in cases {
        assert_eq!(code(&world.upload(root, project, &archive).await), expected);
        assert_eq!(world.stored(), before, "{expected}");
    }
    let half = stream::iter([Ok(Bytes::from_static(b"PK")), Err(std::io::Error::other("gone"))]);
    assert_eq!(code(&upload(&world.deployer, root, None, "b.zip", half, LIMIT).await), "UPLOAD_INTERRUPTED");
    assert_eq!(world.stored(), before);
    assert!(projects::get(&world.deployer, root, "NEW").await.unwrap().is_none());
    assert!(projects::get(&world.deployer, root, "ELSEWHERE").await.unwrap().is_none());
}

#[tokio::test]
async fn a_bundle_goes_with_its_bytes_and_its_id_keeps_its_meaning() {
    let world = world().await;
    let (deployer, root) = (&world.deployer, &world.root);
    let before = world.stored();
    let archive = bundle("CHURN", "v2");
    let sha256 = world.upload(root, None, &archive).await.unwrap().bundle.sha256;
    // The same bytes under another project are one package.
    world.upload(root, Some("COPY"), &archive).await.unwrap();
    assert_eq!(world.stored(), before + 1);
    let ledger = Imports::new(deployer.db.clone(), "CHURN");
    ledger.intend("http://node", "CHURN", "v2", &sha256).await.unwrap();
    bundles::delete(deployer, root, &key("CHURN", "v2")).await.unwrap();
    assert_eq!(world.stored(), before + 1);
    bundles::delete(deployer, root, &key("COPY", "v2")).await.unwrap();
    assert_eq!(world.stored(), before);
    assert_eq!(code(&bundles::delete(deployer, root, &key("COPY", "v2")).await), "NOT_FOUND");
    let other = zip_of(&[("bundle-manifest.json", br#"{"bundleId": "v2", "projectKey": "CHURN"}"#)]);
    assert_eq!(problems(world.upload(root, None, &other).await), [("BUNDLE_ID_BOUND", "bundleId".to_owned())]);
    assert_eq!(world.stored(), before);
    world.upload(root, None, &archive).await.unwrap();
}

#[tokio::test]
async fn a_bundle_in_use_stays() {
    let world = world().await;
    let (deployer, root) = (&world.deployer, &world.root);
    world.upload(root, None, &bundle("CHURN", "v2")).await.unwrap();
    let made = world.deployment("d", "CHURN").await;
    assert_eq!(code(&bundles::delete(deployer, root, &key("CHURN", "v1")).await), "IN_USE");
    let run = updates::start(deployer, root, "d", None).await.unwrap().update.id;
    let change =
        deployments::Change { expected_version: made.version, bundle_id: Some("v2".to_owned()), ..Default::default() };
    deployments::update_settings(deployer, root, "d", change).await.unwrap();
    // The deployment wants another one by now, but the update that was asked for needs this one.
    assert_eq!(code(&bundles::delete(deployer, root, &key("CHURN", "v1")).await), "IN_USE");
    updates::cancel(deployer, root, run).await.unwrap();
    bundles::delete(deployer, root, &key("CHURN", "v1")).await.unwrap();
    assert_eq!(problems(updates::retry(deployer, root, run, None).await), [("BUNDLE_UNKNOWN", "id".to_owned())]);
}

#[tokio::test]
async fn two_uploads_of_one_id_at_once_make_one_bundle() {
    let world = world().await;
    let archive = bundle("RACE", "v1");
    let (a, b) = tokio::join!(world.upload(&world.root, None, &archive), world.upload(&world.root, None, &archive));
    let mut codes = [code(&a), code(&b)];
    codes.sort_unstable();
    assert_eq!(codes, ["BUNDLE_EXISTS", "OK"]);
    drop(bundles::open(&world.deployer, &world.root, &key("RACE", "v1")).await.unwrap());
}

#[tokio::test]
async fn bundles_are_listed_newest_first_page_by_page() {
    let world = world().await;
    for id in ["v2", "v3", "v4", "v5"] {
        world.upload(&world.root, None, &bundle("CHURN", id)).await.unwrap();
    }
    let mut seen = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = Page::new(Some(2), after.as_deref()).unwrap();
        let listing = bundles::list(&world.deployer, &world.root, "CHURN", &page).await.unwrap().unwrap();
        seen.extend(listing.items.iter().map(|(_, bundle)| bundle.key.bundle_id.clone()));
        after = listing.items.last().map(|(cursor, _)| cursor.clone());
        if !listing.has_next {
            break;
        }
    }
    assert_eq!(seen, ["v5", "v4", "v3", "v2", "v1"]);
    let foreign = Page::new(None, Some("bm90IG91cnM")).unwrap();
    assert_eq!(code(&bundles::list(&world.deployer, &world.root, "CHURN", &foreign).await), "PAGE_INVALID");
}
