//! What holds for every request.

use std::sync::atomic::Ordering;

use crate::toy::{KEY, code, start, start_with};

#[tokio::test]
async fn nobody_gets_in_without_a_key() {
    let server = start().await;
    let ask = |header: Option<&str>| {
        let mut request = server.http.post(server.url("/graphql")).json(&serde_json::json!({"query": "{ me }"}));
        if let Some(header) = header {
            request = request.header("authorization", header);
        }
        request.send()
    };
    for bad in
        [None, Some("Bearer nope"), Some("Bearer "), Some("Token swk_good"), Some("swk_good"), Some("Basic ####")]
    {
        let answer = ask(bad).await.unwrap();
        assert_eq!(answer.status(), 401, "{bad:?}");
        assert_eq!(answer.headers()["www-authenticate"], "Bearer realm=\"slipway\"");
        let body: serde_json::Value = answer.json().await.unwrap();
        assert_eq!(code(&body), "UNAUTHENTICATED");
    }
    for good in [format!("Bearer {KEY}"), "Basic c3drX2dvb2Q6".to_owned()] {
        let answer = ask(Some(&good)).await.unwrap();
        assert_eq!(answer.json::<serde_json::Value>().await.unwrap(), serde_json::json!({"data": {"me": "ada"}}));
    }
    server.toy.0.database_away.store(true, Ordering::SeqCst);
    assert_eq!(ask(Some(&format!("Bearer {KEY}"))).await.unwrap().status(), 500, "not known is not refused");
}

#[tokio::test]
async fn errors_are_json_and_say_nothing_of_the_inside() {
    let server = start().await;
    for (path, status) in
        [("/", 404), ("/nothing?secret=1", 404), ("/graphiql/../../etc/passwd", 404), ("/graphiql/none.js", 404)]
    {
        let answer = server.http.get(server.url(path)).send().await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
        let body: serde_json::Value = answer.json().await.unwrap();
        assert_eq!(code(&body), "NOT_FOUND", "{path}");
    }
    let answer = server.http.post(server.url("/healthz")).send().await.unwrap();
    assert_eq!(answer.status(), 405);
    assert_eq!(code(&answer.json().await.unwrap()), "METHOD_NOT_ALLOWED");
    let answer = server.http.put(server.url("/graphql")).bearer_auth(KEY).send().await.unwrap();
    assert_eq!(answer.status(), 405);

    let (status, body) = server.query("{ panics }").await;
    assert_eq!(status, 500);
    assert_eq!(code(&body), "INTERNAL");
    assert!(!body.to_string().contains("secret"));
    assert_eq!(server.query("{ me }").await.0, 200, "the server lives on");
}

#[tokio::test]
async fn every_answer_has_a_number_and_headers_for_browsers() {
    let server = start().await;
    let ask = |id: &'static str| server.http.get(server.url("/healthz")).header("x-request-id", id).send();
    assert_eq!(ask("ci-42.a_b").await.unwrap().headers()["x-request-id"], "ci-42.a_b");
    let fresh = ask("no good number").await.unwrap();
    assert_eq!(fresh.headers()["x-request-id"].len(), 16);
    assert_eq!(fresh.headers()["x-content-type-options"], "nosniff");
    assert_eq!(fresh.headers()["content-security-policy"], "default-src 'none'; frame-ancestors 'none'");
    assert_eq!(fresh.headers()["cache-control"], "no-store");
}

#[tokio::test]
async fn pages_of_other_origins_are_kept_out() {
    let mut settings = api::Settings::default();
    settings.allowed_origins.push("https://board.test".into());
    let server = crate::toy::start_with(settings).await;
    let ask = |origin: String| {
        server
            .http
            .post(server.url("/graphql"))
            .bearer_auth(KEY)
            .header("origin", origin)
            .json(&serde_json::json!({"query": "{ me }"}))
            .send()
    };
    for bad in ["https://evil.test", "null", "http://127.0.0.1:1", "https://board.test.evil.test"] {
        let answer = ask(bad.into()).await.unwrap();
        assert_eq!(answer.status(), 403, "{bad}");
        assert!(!answer.headers().contains_key("access-control-allow-origin"));
        assert_eq!(code(&answer.json().await.unwrap()), "ORIGIN_NOT_ALLOWED");
    }
    for good in [server.url(""), "https://board.test".into()] {
        let answer = ask(good.clone()).await.unwrap();
        assert_eq!(answer.status(), 200, "{good}");
        assert_eq!(answer.headers()["access-control-allow-origin"], good.as_str());
    }
    let preflight = server
        .http
        .request(reqwest::Method::OPTIONS, server.url("/graphql"))
        .header("origin", "https://board.test")
        .header("access-control-request-method", "POST")
        .send()
        .await
        .unwrap();
    assert_eq!(preflight.status(), 204);
    assert!(preflight.headers()["access-control-allow-headers"].to_str().unwrap().contains("authorization"));
}

#[tokio::test]
async fn health_readiness_and_metrics_need_no_key() {
    let server = start().await;
    let get = |path: &'static str| server.http.get(server.url(path)).send();
    assert_eq!(get("/healthz").await.unwrap().status(), 200);
    server.toy.0.redis_away.store(true, Ordering::SeqCst);
    let ready = get("/readyz").await.unwrap();
    assert_eq!(ready.status(), 200, "Redis away turns nobody down");
    let body: serde_json::Value = ready.json().await.unwrap();
    assert_eq!(body["checks"]["queue"], "degraded: sweeping");
    server.toy.0.database_away.store(true, Ordering::SeqCst);
    assert_eq!(get("/readyz").await.unwrap().status(), 503);
    assert_eq!(get("/healthz").await.unwrap().status(), 200);
    let metrics = get("/metrics").await.unwrap().text().await.unwrap();
    assert!(
        metrics.contains("slipway_http_requests_total{method=\"GET\",route=\"/readyz\",status=\"503\"} 1"),
        "{metrics}"
    );
}

#[tokio::test]
async fn graphiql_comes_from_the_binary() {
    let server = start().await;
    let page = server.http.get(server.url("/graphiql")).send().await.unwrap();
    assert_eq!(page.status(), 200);
    assert!(page.headers()["content-security-policy"].to_str().unwrap().contains("connect-src 'self'"));
    let page = page.text().await.unwrap();
    let parts: Vec<&str> = page.split(['"']).filter(|part| part.starts_with("/graphiql/")).collect();
    assert_eq!(parts.len(), 6, "{page}");
    assert!(!page.contains("http"), "nothing from elsewhere");
    for part in parts {
        let asset = server.http.get(server.url(part)).send().await.unwrap();
        assert_eq!(asset.status(), 200, "{part}");
        assert!(asset.content_length().unwrap() > 100, "{part}");
    }
}

#[tokio::test]
async fn a_shutdown_lets_requests_end() {
    let server = start().await;
    assert_eq!(server.query("{ me }").await.0, 200);
    server.shutdown.cancel();
    drop(server.http);
    tokio::time::timeout(std::time::Duration::from_secs(10), server.done).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn who_asks_too_often_is_told_when_to_come_back() {
    let settings = api::Settings { key_requests_per_second: 1, key_burst: 2, ..api::Settings::default() };
    let server = start_with(settings).await;
    let ask = || {
        server.http.post(server.url("/graphql")).bearer_auth(KEY).json(&serde_json::json!({"query": "{ me }"})).send()
    };
    let mut answer = ask().await.unwrap();
    for _ in 0..2 {
        assert!(matches!(answer.status().as_u16(), 200 | 429));
        answer = ask().await.unwrap();
    }
    assert_eq!((answer.status().as_u16(), answer.headers()["retry-after"].to_str().unwrap()), (429, "1"));
    assert_eq!(code(&answer.json().await.unwrap()), "RATE_LIMITED");
}
