//! API service versions.

use super::*;

async fn service(manifest: &str) -> Result<ServiceContents, ArchiveError> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), zip_of(&[("service.json", manifest.as_bytes())])).unwrap();
    read_service(file.path(), Limits::default()).await
}

#[tokio::test]
async fn a_service_version_is_read_and_its_keys_stay_secret() {
    let read = service(
        r#"{"formatVersion": 1, "serviceId": "fraud", "generation": "v3", "authMethod": "API_KEYS", "apiKeys": ["hunter2"],
            "endpoints": [{"id": "score", "type": "STD_PREDICTION"}], "codeEnvs": [], "modelRuntime": "python3.11", "later": 1}"#,
    )
    .await
    .unwrap();
    assert_eq!((read.service_id.as_str(), read.generation.as_str()), ("fraud", "v3"));
    assert_eq!(read.manifest.api_keys[0].expose(), "hunter2");
    assert_eq!(read.manifest.endpoints[0].kind.as_deref(), Some("STD_PREDICTION"));
    assert_eq!(read.manifest.extra["later"], 1);
    assert!(!format!("{read:?}").contains("hunter2"));
    assert!(!serde_json::to_string(&read.manifest).unwrap().contains("hunter2"));
}

#[tokio::test]
async fn what_is_wrong_with_a_service_has_its_code() {
    let cases = [
        (r#"{"serviceId": "s"}"#, "SERVICE_ID_INVALID"),
        (r#"{"generation": "v1"}"#, "SERVICE_ID_INVALID"),
        (r#"{"serviceId": "a/b", "generation": "v1"}"#, "SERVICE_ID_INVALID"),
        (r#"{"serviceId": "s", "generation": "v1", "authMethod": "NONE"}"#, "BUNDLE_MANIFEST_INVALID"),
        (r#"{"serviceId": "s", "generation": "v1", "endpoints": [{"id": "a?b"}]}"#, "BUNDLE_MANIFEST_INVALID"),
        (r#"{"serviceId": "s", "generation": "v1", "formatVersion": 9}"#, "BUNDLE_FORMAT_UNSUPPORTED"),
    ];
    for (manifest, code) in cases {
        assert_eq!(service(manifest).await.err().unwrap().code(), code, "{manifest}");
    }
    let error = service(r#"{"serviceId": "s", "generation": "v1", "apiKeys": "hunter2"}"#).await.err().unwrap();
    assert!(
        error.to_string().contains("service.json is not valid at apiKeys") && !error.to_string().contains("hunter2"),
        "{error}"
    );

    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), small()).unwrap();
    assert_eq!(read_service(file.path(), Limits::default()).await.err().unwrap().code(), "SERVICE_MANIFEST_MISSING");
}
