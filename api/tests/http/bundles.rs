//! Uploads and downloads.

use futures_util::stream;
use serde_json::{Value, json};

use crate::toy::{KEY, Server, code, start, start_with};

fn form(name: &str, bytes: &[u8]) -> (String, Vec<u8>) {
    let mut body = format!("--X\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nhello\r\n--X\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"b.zip\"\r\nContent-Type: application/zip\r\n\r\n").into_bytes();
    body.extend_from_slice(bytes);
    body.extend_from_slice(b"\r\n--X--\r\n");
    ("multipart/form-data; boundary=X".into(), body)
}

async fn upload(server: &Server, path: &str, kind: &str, body: impl Into<reqwest::Body>) -> (u16, Value) {
    let answer = server
        .http
        .post(server.url(path))
        .bearer_auth(KEY)
        .header("content-type", kind)
        .body(body)
        .send()
        .await
        .unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test]
async fn a_bundle_goes_in_and_out() {
    let server = start().await;
    let bytes: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    let (kind, body) = form("file", &bytes);
    let (status, answer) = upload(&server, "/bundles?projectKey=SALES", &kind, body).await;
    assert_eq!((status, answer), (201, json!({"bundleId": "v1", "size": 3_000_000})));
    let answer = server.http.get(server.url("/projects/SALES/bundles/v%201")).bearer_auth(KEY).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-disposition"], "attachment; filename*=UTF-8''v%201%2Ezip");
    assert_eq!(answer.headers()["etag"], "\"ab12\"");
    assert!(answer.bytes().await.unwrap() == bytes);
}

#[tokio::test]
async fn what_is_no_upload_is_refused() {
    let server = start_with(api::Settings { upload_limit: 10_000, upload_idle_s: 1, ..api::Settings::default() }).await;
    let (kind, body) = form("file", b"zip");
    let answer = server
        .http
        .post(server.url("/bundles?projectKey=SALES"))
        .header("content-type", &kind)
        .body(body.clone())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 401);
    assert_eq!(server.http.get(server.url("/projects/SALES/bundles/v1")).send().await.unwrap().status(), 401);
    let refused = async |path: &str, kind: &str, body: Vec<u8>| {
        let (status, answer) = upload(&server, path, kind, body).await;
        (status, code(&answer).to_owned(), answer["errors"][0]["field"].as_str().map(str::to_owned))
    };
    assert_eq!(refused("/bundles", &kind, body.clone()).await, (404, "NOT_FOUND".into(), Some("projectKey".into())));
    assert_eq!(
        refused("/bundles?projectKey=OTHER", &kind, body.clone()).await,
        (404, "NOT_FOUND".into(), Some("projectKey".into()))
    );
    assert_eq!(
        refused("/bundles?projectKey=SALES", "application/zip", b"PK".to_vec()).await,
        (400, "BAD_REQUEST".into(), None)
    );
    let (_, other) = form("archive", b"zip");
    assert_eq!(
        refused("/bundles?projectKey=SALES", &kind, other).await,
        (400, "BAD_REQUEST".into(), Some("file".into()))
    );
    let cut = body[..body.len() - 12].to_vec();
    assert_eq!(refused("/bundles?projectKey=SALES", &kind, cut).await.0, 400, "without its end");
    let (_, large) = form("file", &[0; 20_000]);
    assert_eq!(refused("/bundles?projectKey=SALES", &kind, large.clone()).await, (413, "BODY_TOO_LARGE".into(), None));
    // Without a declared length, too.
    let chunks =
        stream::iter(large.chunks(1_000).map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec())).collect::<Vec<_>>());
    let (status, answer) =
        upload(&server, "/bundles?projectKey=SALES", &kind, reqwest::Body::wrap_stream(chunks)).await;
    assert_eq!((status, code(&answer)), (413, "BODY_TOO_LARGE"));
    // And one that stalls.
    let start = Ok::<_, std::io::Error>(body[..100].to_vec());
    let stalled = futures_util::StreamExt::chain(stream::iter([start]), stream::pending());
    let (status, answer) =
        upload(&server, "/bundles?projectKey=SALES", &kind, reqwest::Body::wrap_stream(stalled)).await;
    assert_eq!((status, code(&answer)), (408, "UPLOAD_STALLED"));
}
