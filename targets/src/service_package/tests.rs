use std::{
    collections::BTreeMap,
    io::{Cursor, Read as _, Write as _},
    path::PathBuf,
};

use async_trait::async_trait;
use engine::{ids::RunId, secrets::Secret, step::Audience};
use futures_util::stream;
use serde_json::Map;
use zip::{ZipArchive, ZipWriter, write::SimpleFileOptions};

use super::*;
use crate::{
    secret_ref::SecretRef,
    service::{Auditing, Authorization, OAuth2},
};

struct Run;

#[async_trait]
impl StepContext for Run {
    fn run(&self) -> RunId {
        RunId(1)
    }

    fn attempt(&self) -> u32 {
        1
    }

    fn note(&self, _: &str) -> Option<Value> {
        None
    }

    async fn put_note(&self, _: &str, _: Value) -> Result<(), StepError> {
        Ok(())
    }

    async fn log(&self, _: Audience, _: String) {}

    async fn now(&self) -> Result<i64, StepError> {
        Ok(0)
    }

    async fn secret(&self, reference: &str) -> Result<Secret, StepError> {
        Ok(Secret::from(format!("secret-of-{reference}")))
    }
}

fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in entries {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

const MANIFEST: &[u8] =
    br#"{"serviceId": "fraud", "generation": "v3", "authMethod": "API_KEYS", "apiKeys": ["old"], "kept": {"a": 1}}"#;

struct Fixture {
    _folder: tempfile::TempDir,
    scratch: PathBuf,
    packages: PackageStore,
    service: ServiceSpec,
}

impl Fixture {
    async fn new(content: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let packages = PackageStore::open(path("packages").to_str().unwrap(), &path("staging")).unwrap();
        let upload = stream::iter([Ok::<_, io::Error>(bytes::Bytes::copy_from_slice(content))]);
        let staged = packages.stage(upload, 1 << 30).await.unwrap();
        packages.commit(&staged).await.unwrap();
        let version = ServiceVersionSpec {
            version: "v3".to_owned(),
            sha256: staged.sha256().to_owned(),
            size: staged.size(),
            probability: 1.0,
            endpoints: Vec::new(),
            auth_method: None,
            api_keys: Vec::new(),
        };
        let service = ServiceSpec {
            published_service_id: "fraud".to_owned(),
            service_id: "fraud".to_owned(),
            versions: vec![version],
            endpoint: None,
            authorization: None,
            auditing: None,
            settings: Map::new(),
        };
        Self { scratch: path("scratch"), packages, service, _folder: folder }
    }

    async fn prepared(&self) -> Result<ServicePackage, StepError> {
        std::fs::create_dir_all(&self.scratch).unwrap();
        prepare(&self.packages, &Run, &self.service, &self.service.versions[0], &self.scratch).await
    }

    fn left(&self) -> usize {
        std::fs::read_dir(own_folder(&self.scratch)).map_or(0, Iterator::count)
    }
}

async fn content(package: &ServicePackage, offset: u64) -> Vec<u8> {
    let pieces: Vec<_> = package.open_at(offset).await.unwrap().try_collect().await.unwrap();
    pieces.concat()
}

fn entries(bytes: Vec<u8>) -> BTreeMap<String, Vec<u8>> {
    let mut zip = ZipArchive::new(Cursor::new(bytes)).unwrap();
    let names: Vec<_> = zip.file_names().map(|name| name.unwrap().into_owned()).collect();
    let read = |name: String| {
        let mut bytes = Vec::new();
        zip.by_name(&name).unwrap().read_to_end(&mut bytes).unwrap();
        (name, bytes)
    };
    names.into_iter().map(read).collect()
}

#[tokio::test]
async fn with_nothing_to_amend_it_is_the_very_bytes() {
    let bytes = archive(&[("service.json", MANIFEST), ("model.bin", &[7; 600_000])]);
    let fixture = Fixture::new(&bytes).await;
    let package = fixture.prepared().await.unwrap();
    assert_eq!((package.generation.as_str(), package.size), ("v3", bytes.len() as u64));
    assert_eq!(content(&package, 0).await, bytes);
    for offset in [1, 100, bytes.len() as u64] {
        assert_eq!(content(&package, offset).await, bytes[offset as usize..]);
    }
    assert_eq!(std::fs::read(package.file(&fixture.scratch).await.unwrap().path()).unwrap(), bytes);
    assert_eq!(fixture.left(), 0);
}

#[tokio::test]
async fn what_is_amended_is_another_generation_and_all_else_stays() {
    let bytes = archive(&[("a.bin", &[7; 600_000]), ("service.json", MANIFEST), ("z/b.txt", b"text")]);
    let mut fixture = Fixture::new(&bytes).await;
    fixture.service.service_id = "fraud-eu".to_owned();
    fixture.service.authorization = Some(Authorization::ApiKeys { keys: vec![SecretRef { id: "k1".to_owned() }] });
    let auditing = Auditing::EventServer {
        trust_all_certificates: false,
        url: "http://events".to_owned(),
        key: Some(SecretRef { id: "e1".to_owned() }),
        key_variable: None,
        routing_key: "dep".to_owned(),
    };
    fixture.service.auditing = Some(auditing);
    let package = fixture.prepared().await.unwrap();
    let name = generation(&fixture.service, &fixture.service.versions[0]);
    assert_eq!(package.generation, name);
    assert!(name.starts_with("v3~") && name.len() == 11, "{name}");
    assert_eq!(version_of(&fixture.service, &name), "v3");
    let all = content(&package, 0).await;
    assert_eq!((hex(&Sha256::digest(&all)), all.len() as u64), (package.sha256.clone(), package.size));
    assert_eq!(content(&package, 77).await, all[77..]);
    let (was, mut now) = (entries(bytes), entries(all.clone()));
    let manifest: Value = serde_json::from_slice(&now.remove("service.json").unwrap()).unwrap();
    assert_eq!(
        manifest,
        json!({"serviceId": "fraud-eu", "generation": name, "authMethod": "API_KEYS", "apiKeys": ["secret-of-k1"], "kept": {"a": 1},
            "auditing": {"routingKey": "dep", "targets": [{"type": "EVENT_SERVER", "url": "http://events", "authKey": "secret-of-e1"}]}})
    );
    assert_eq!(now, was.into_iter().filter(|(name, _)| name != "service.json").collect());

    // Again: the same bytes. Another setting: another generation.
    assert_eq!(content(&fixture.prepared().await.unwrap(), 0).await, all);
    fixture.service.authorization = Some(Authorization::ApiKeys { keys: vec![SecretRef { id: "k2".to_owned() }] });
    assert_ne!(generation(&fixture.service, &fixture.service.versions[0]), name);
    drop(package);
    assert_eq!(fixture.left(), 0);
}

#[tokio::test]
async fn keys_of_the_version_do_not_outlive_an_override() {
    let mut fixture = Fixture::new(&archive(&[("service.json", MANIFEST)])).await;
    for (authorization, method, oauth2) in [
        (Authorization::Public, "PUBLIC", None),
        (
            Authorization::Oauth2(OAuth2 { issuer: Some("me".to_owned()), ..OAuth2::default() }),
            "OAUTH2",
            Some(json!({"issuer": "me"})),
        ),
    ] {
        fixture.service.authorization = Some(authorization);
        let all = content(&fixture.prepared().await.unwrap(), 0).await;
        let manifest: Map<String, Value> = serde_json::from_slice(&entries(all)["service.json"]).unwrap();
        assert_eq!((manifest["authMethod"].as_str(), manifest.get("apiKeys")), (Some(method), None));
        assert_eq!(manifest.get("oauth2"), oauth2.as_ref());
    }
}

#[tokio::test]
async fn archives_that_cannot_be_amended_are_refused_and_leave_nothing() {
    let bomb = vec![b' '; 17 * 1024 * 1024];
    let other = br#"{"serviceId": "other", "generation": "v3"}"#;
    for (bytes, says) in [
        (b"no zip at all".to_vec(), "read as a zip"),
        (archive(&[("other.json", b"{}")]), "no readable service.json"),
        (archive(&[("service.json", b"[]")]), "no JSON object"),
        (archive(&[("service.json", &bomb)]), "too large"),
        (archive(&[("service.json", other)]), "another service's"),
    ] {
        let mut fixture = Fixture::new(&bytes).await;
        fixture.service.authorization = Some(Authorization::Public);
        let error = fixture.prepared().await.unwrap_err();
        let StepError::Permanent(failure) = error else { panic!("{error:?}") };
        assert!(failure.code == codes::SERVICE_PACKAGE_INVALID && failure.message.contains(says), "{failure:?}");
        assert_eq!(fixture.left(), 0);
    }
}

#[test]
fn a_name_stays_within_its_bounds() {
    let version = ServiceVersionSpec {
        version: "é".repeat(100),
        sha256: "ab".repeat(32),
        size: 1,
        probability: 1.0,
        endpoints: Vec::new(),
        auth_method: None,
        api_keys: Vec::new(),
    };
    let mut service = ServiceSpec {
        published_service_id: "s".to_owned(),
        service_id: "s".to_owned(),
        versions: vec![version.clone()],
        endpoint: None,
        authorization: Some(Authorization::Public),
        auditing: None,
        settings: Map::new(),
    };
    assert_eq!(generation(&service, &version).chars().count(), LONGEST);
    service.authorization = None;
    assert_eq!(generation(&service, &version), version.version);
}
