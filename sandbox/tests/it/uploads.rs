//! Uploads: the log of them, large ones, bad ones.

use crate::client::{Client, builder, start};
use reqwest::multipart::{Form, Part};
use reqwest::{Method, StatusCode};
use sandbox::{BundleSpec, CallBody, sample_bundle, write_big_bundle};

#[tokio::test]
async fn a_large_upload_is_streamed_and_logged() {
    let node = start(builder()).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("big.zip");
    let written = write_big_bundle(&BundleSpec::new("BIG", "v1"), &path, 32 * 1024 * 1024).unwrap();
    assert!(written.size > 32 * 1024 * 1024, "incompressible");
    let file = tokio::fs::File::open(&path).await.unwrap();
    let part = Part::stream_with_length(reqwest::Body::wrap_stream(pieces(file)), written.size).file_name("big.zip");
    let request =
        Client::new(&node).request(Method::POST, "/projectsFromBundle/").multipart(Form::new().part("file", part));
    assert_eq!(request.send().await.unwrap().status(), StatusCode::OK);
    let bundle = node.snapshot()["projects"]["BIG"]["bundles"][0].clone();
    assert_eq!(
        (bundle["sha256"].as_str(), bundle["size"].as_u64()),
        (Some(written.sha256.as_str()), Some(written.size))
    );
    let wanted = CallBody::Upload { file: "big.zip".to_owned(), size: written.size, sha256: written.sha256 };
    assert_eq!(node.calls()[0].body, wanted);
}

fn pieces(file: tokio::fs::File) -> impl futures_util::Stream<Item = std::io::Result<bytes::Bytes>> {
    use tokio::io::AsyncReadExt;
    futures_util::stream::try_unfold(file, |mut file| async move {
        let mut piece = vec![0; 64 * 1024];
        let read = file.read(&mut piece).await?;
        piece.truncate(read);
        Ok((read > 0).then(|| (bytes::Bytes::from(piece), file)))
    })
}

#[tokio::test]
async fn bad_uploads_are_refused_and_leave_nothing() {
    let node = start(builder().max_upload(1024 * 1024)).await;
    let client = Client::new(&node);
    let whole = sample_bundle(&BundleSpec::default());
    let mut newer = BundleSpec::default().manifest();
    newer["formatVersion"] = 2.into();
    for (what, bytes, wanted) in [
        ("no zip", b"hello".to_vec(), StatusCode::BAD_REQUEST),
        ("truncated", whole[..whole.len() / 2].to_vec(), StatusCode::BAD_REQUEST),
        ("bad key", sample_bundle(&BundleSpec::new("A/B", "v1")), StatusCode::BAD_REQUEST),
        ("bad id", sample_bundle(&BundleSpec::new("AB", "")), StatusCode::BAD_REQUEST),
        ("too large", vec![0; 2 * 1024 * 1024], StatusCode::PAYLOAD_TOO_LARGE),
    ] {
        let (status, error) = client.upload("/projectsFromBundle/", bytes).await;
        assert_eq!(status, wanted, "{what}: {error}");
        assert!(error["errorType"].is_string());
    }
    let form = Form::new().part("archive", Part::bytes(whole));
    let response = client.request(Method::POST, "/projectsFromBundle/").multipart(form).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::BAD_REQUEST, "the part is named file");
    let response = client.request(Method::POST, "/projectsFromBundle/").body("{}").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert!(node.snapshot()["projects"].as_object().unwrap().is_empty());
}
