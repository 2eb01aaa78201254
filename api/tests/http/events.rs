//! Subscriptions as server-sent events.

use std::{sync::atomic::Ordering, time::Duration};

use api::Settings;
use serde_json::json;

use crate::toy::{KEY, Server, start, start_with};

async fn open(server: &Server, query: &str, last: Option<&str>) -> reqwest::Response {
    let mut request = server.http.post(server.url("/graphql")).bearer_auth(KEY).header("accept", "text/event-stream");
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    let answer = request.json(&json!({"query": query})).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "text/event-stream; charset=utf-8");
    answer
}

/// Reads until the text holds `what`.
async fn read_until(answer: &mut reqwest::Response, what: &str) -> String {
    let mut text = String::new();
    let reading = async {
        while !text.contains(what) {
            let Some(chunk) = answer.chunk().await.unwrap() else { break };
            text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    };
    tokio::time::timeout(Duration::from_secs(20), reading).await.unwrap_or_else(|_| panic!("no {what}"));
    assert!(text.contains(what), "{what} is not in {text}");
    text
}

#[tokio::test]
async fn events_carry_their_seq_and_end_with_complete() {
    let server = start().await;
    let text = open(&server, "subscription { ticks(to: 2) { seq } }", None).await.text().await.unwrap();
    let expected = "event: next\nid: 1\ndata: {\"data\":{\"ticks\":{\"seq\":1}}}\n\n\
                    event: next\nid: 2\ndata: {\"data\":{\"ticks\":{\"seq\":2}}}\n\n\
                    event: complete\ndata:\n\n";
    assert_eq!(text, expected);
}

#[tokio::test]
async fn last_event_id_goes_on_without_gap_or_repeat() {
    let server = start().await;
    let document = "subscription S($afterSeq: Int) { ticks(afterSeq: $afterSeq, to: 5) { seq } }";
    let text = open(&server, document, Some("3")).await.text().await.unwrap();
    let ids: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("id: ")).collect();
    assert_eq!(ids, ["4", "5"], "{text}");
}

#[tokio::test]
async fn an_event_source_asks_with_get() {
    let server = start().await;
    let ask = |query: &'static str| {
        let request = server.http.get(server.url("/graphql")).query(&[("query", query)]).bearer_auth(KEY);
        request.header("accept", "text/event-stream").send()
    };
    let text = ask("subscription { ticks(to: 1) { seq } }").await.unwrap().text().await.unwrap();
    assert!(text.ends_with("event: complete\ndata:\n\n"), "{text}");
    assert_eq!(ask("mutation { count }").await.unwrap().status(), 405);
    assert_eq!(server.toy.0.counted.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn queries_and_errors_come_as_events_too() {
    let server = start().await;
    let text = open(&server, "{ me }", None).await.text().await.unwrap();
    assert_eq!(text, "event: next\ndata: {\"data\":{\"me\":\"ada\"}}\n\nevent: complete\ndata:\n\n");
    let text = open(&server, "{ nothing }", None).await.text().await.unwrap();
    assert!(
        text.starts_with("event: next\ndata: {\"data\":null,\"errors\"")
            && text.ends_with("event: complete\ndata:\n\n"),
        "{text}"
    );
    let batch = server.http.post(server.url("/graphql")).bearer_auth(KEY).header("accept", "text/event-stream");
    assert_eq!(batch.json(&json!([{"query": "{ me }"}])).send().await.unwrap().status(), 400);
}

#[tokio::test]
async fn a_quiet_stream_is_pinged_and_a_revoked_key_ends_it() {
    let server = start().await;
    let mut answer = open(&server, "subscription { ticks(to: 0) { seq } }", None).await;
    read_until(&mut answer, ":\n\n").await;
    server.toy.0.revoked.store(true, Ordering::SeqCst);
    let text = read_until(&mut answer, "event: complete").await;
    assert!(text.contains("UNAUTHENTICATED"), "{text}");
}

#[tokio::test]
async fn a_shutdown_ends_streams() {
    let server = start().await;
    let mut answer = open(&server, "subscription { ticks(to: 0) { seq } }", None).await;
    server.shutdown.cancel();
    let end =
        tokio::time::timeout(Duration::from_secs(10), async { while let Ok(Some(_)) = answer.chunk().await {} }).await;
    assert!(end.is_ok());
}

#[tokio::test]
async fn a_query_over_a_stream_has_the_time_of_a_request() {
    let server = start_with(Settings { request_timeout_s: 1, ..Settings::default() }).await;
    let text = open(&server, "{ never }", None).await.text().await.unwrap();
    assert!(text.contains("\"TIMEOUT\"") && text.ends_with("event: complete\ndata:\n\n"), "{text}");
    // A subscription has all the time it wants.
    let mut following = open(&server, "subscription { ticks(to: 0) { seq } }", None).await;
    let more = tokio::time::timeout(Duration::from_millis(1_500), read_until(&mut following, "TIMEOUT")).await;
    assert!(more.is_err(), "it goes on");
}
