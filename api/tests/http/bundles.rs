//! Uploads and downloads.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use futures_util::{StreamExt, stream};
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
    let stalled = StreamExt::chain(stream::iter([start]), stream::pending());
    let (status, answer) =
        upload(&server, "/bundles?projectKey=SALES", &kind, reqwest::Body::wrap_stream(stalled)).await;
    assert_eq!((status, code(&answer)), (408, "UPLOAD_STALLED"));
}

/// A form that never begins its part `file`, in pieces; counts what was taken of it.
fn endless(head: &'static [u8], taken: Arc<AtomicU64>) -> reqwest::Body {
    let piece = vec![b'x'; 32 << 10];
    let pieces = stream::repeat_with(move || {
        taken.fetch_add(piece.len() as u64, Ordering::SeqCst);
        Ok::<_, std::io::Error>(piece.clone())
    });
    // Bounded: a server that takes it all fails the test and does not hang it.
    let head = stream::iter([Ok(head.to_vec())]);
    reqwest::Body::wrap_stream(StreamExt::chain(head, pieces.take(8_000)))
}

#[tokio::test]
async fn what_comes_before_the_file_is_little() {
    let server = start().await;
    let kind = "multipart/form-data; boundary=X";
    let heads: [&[u8]; 3] = [
        b"no boundary at all",
        b"--X\r\nContent-Disposition: form-data; name=\"",
        b"--X\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\n",
    ];
    for head in heads {
        let taken = Arc::new(AtomicU64::new(0));
        let request = server.http.post(server.url("/bundles?projectKey=SALES")).bearer_auth(KEY);
        let request = request.header("content-type", kind).body(endless(head, taken.clone()));
        // The server answers, and reads no more; whether the answer is seen depends on who of the two is quicker.
        if let Ok(answer) = request.send().await {
            assert_eq!(answer.status(), 400);
            if let Ok(answer) = answer.json::<Value>().await {
                assert!(answer["errors"][0]["message"].as_str().unwrap().contains("65536"), "{answer}");
            }
        }
        // What lies in the buffers of two sockets was taken, too.
        assert!(taken.load(Ordering::SeqCst) < 64 << 20, "{taken:?}");
    }
    // Much in one piece, with the file in it, is fine.
    let (kind, body) = form("file", &vec![7; 1 << 20]);
    assert_eq!(upload(&server, "/bundles?projectKey=SALES", &kind, body).await.0, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_follow_one_another_over_one_connection() {
    let server = start_with(api::Settings { upload_limit: 2 << 20, ..api::Settings::default() }).await;
    // One connection: what the server reads at once grows with each upload.
    let client = || reqwest::Client::builder().pool_max_idle_per_host(1).build().unwrap();
    let one = async |http: &reqwest::Client, path: &str, bytes: usize| {
        let (kind, body) = form("file", &vec![7; bytes]);
        // Without a declared length: what is too large is found while it is read.
        let pieces: Vec<_> = body.chunks(300_000).map(|piece| Ok::<_, std::io::Error>(piece.to_vec())).collect();
        let request = http.post(server.url(path)).basic_auth(KEY, Some("")).header("content-type", kind);
        let answer = request.body(reqwest::Body::wrap_stream(stream::iter(pieces))).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    for path in ["/bundles", "/dip/publicapi/project-deployer/projects/bundles"] {
        let stored = if path == "/bundles" { 201 } else { 200 };
        let good = format!("{path}?projectKey=SALES");
        let http = client();
        for n in 0..20 {
            let (status, told) = one(&http, &good, 1 << 20).await;
            assert_eq!(status, stored, "{path}, upload {n}: {told}");
        }
        // What is refused says why. It ends its connection: each has its own, on which others came before.
        for n in 0..5 {
            let other = format!("{path}?projectKey=OTHER");
            for (path, bytes, refused) in [(&other, 100_000, 404), (&good, (2 << 20) + 50_000, 413)] {
                let http = client();
                for _ in 0..2 {
                    let (status, told) = one(&http, &good, 1 << 20).await;
                    assert_eq!(status, stored, "{path}, upload {n}: {told}");
                }
                let (status, told) = one(&http, path, bytes).await;
                assert_eq!(status, refused, "{path}, upload {n}: {told}");
            }
        }
    }
}

#[tokio::test]
async fn so_many_uploads_at_once_and_no_more() {
    let server = start_with(api::Settings { uploads_at_once: 1, ..api::Settings::default() }).await;
    let (kind, body) = form("file", b"zip");
    let (more, rest) = tokio::sync::mpsc::unbounded_channel::<Vec<u8>>();
    let pieces =
        stream::unfold(rest, |mut rest| async move { Some((Ok::<_, std::io::Error>(rest.recv().await?), rest)) });
    // All but the end.
    let (most, end) = body.split_at(body.len() - 10);
    more.send(most.to_vec()).unwrap();
    let first = upload(&server, "/bundles?projectKey=SALES", &kind, reqwest::Body::wrap_stream(pieces));
    let second = async {
        server.toy.0.uploading.notified().await;
        let (status, answer) = upload(&server, "/bundles?projectKey=SALES", &kind, body.clone()).await;
        assert_eq!((status, code(&answer)), (503, "UPLOADS_BUSY"));
        more.send(end.to_vec()).unwrap();
        drop(more);
    };
    assert_eq!(futures_util::future::join(first, second).await.0.0, 201);
    assert_eq!(upload(&server, "/bundles?projectKey=SALES", &kind, body).await.0, 201, "a seat is free again");
}
