//! Queries and mutations over HTTP.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use crate::toy::{KEY, Server, code, start, start_with};

async fn get(server: &Server, query: &str) -> (u16, Value) {
    let answer =
        server.http.get(server.url("/graphql")).query(&[("query", query)]).bearer_auth(KEY).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test]
async fn a_link_changes_nothing() {
    let server = start().await;
    assert_eq!(get(&server, "{ me }").await, (200, json!({"data": {"me": "ada"}})));
    for document in ["mutation { count }", "query A { me } mutation B { count }", "mutation M { count } query Q { me }"]
    {
        let (status, body) = get(&server, document).await;
        assert_eq!((status, code(&body)), (405, "MUTATION_NEEDS_POST"), "{document}");
    }
    let (status, body) = get(&server, "subscription { ticks(to: 3) { seq } }").await;
    assert!(status == 200 && body["errors"][0]["message"].as_str().unwrap().contains("not supported"), "{body}");
    assert_eq!(get(&server, "{ me").await.0, 400);
    assert_eq!(get(&server, "").await.0, 400);
    assert_eq!(server.toy.0.counted.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_form_changes_nothing() {
    let server = start().await;
    let body = json!({"query": "mutation { count }"}).to_string();
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/octet-stream",
        "",
    ] {
        let mut request = server.http.post(server.url("/graphql")).bearer_auth(KEY).body(body.clone());
        if !kind.is_empty() {
            request = request.header("content-type", kind);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 415, "{kind}");
    }
    assert_eq!(server.toy.0.counted.load(Ordering::SeqCst), 0);
    assert_eq!(server.query("mutation { count }").await, (200, json!({"data": {"count": 1}})));
}

#[tokio::test]
async fn bodies_and_batches_are_bounded() {
    let server = start_with(api::Settings { body_limit: 4_096, batch_limit: 3, ..api::Settings::default() }).await;
    let one = json!({"query": "{ me }"});
    let (status, body) = server.post(json!([one, one, one])).await;
    assert_eq!(
        (status, body),
        (200, json!([{"data": {"me": "ada"}}, {"data": {"me": "ada"}}, {"data": {"me": "ada"}}]))
    );
    let (status, body) = server.post(json!([one, one, one, one])).await;
    assert_eq!((status, code(&body)), (400, "BATCH_TOO_LARGE"));
    assert_eq!(server.post(json!([])).await.0, 400);
    assert_eq!(server.post(json!("text")).await.0, 400);
    let (status, body) = server.query(&format!("{{ me }} # {}", "x".repeat(5_000))).await;
    assert_eq!((status, code(&body)), (413, "BODY_TOO_LARGE"));
    // Without a declared length, too.
    let endless = futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b' '; 1_024]));
    let request = server.http.post(server.url("/graphql")).bearer_auth(KEY).header("content-type", "application/json");
    let answer = request.body(reqwest::Body::wrap_stream(endless)).send().await;
    assert!(answer.map_or(true, |answer| answer.status() == 413), "an endless body ends");
}

#[tokio::test]
async fn documents_are_bounded() {
    let server = start().await;
    let refused = async |query: String| {
        let (status, body) = server.query(&query).await;
        assert_eq!(status, 200);
        assert_eq!(body["data"], Value::Null, "{body}");
        body["errors"][0]["message"].as_str().unwrap().to_owned()
    };
    let nested = |n: usize| format!("{{ {} me {} }}", "this {".repeat(n), "}".repeat(n));
    assert_eq!(server.query(&nested(10)).await.1["errors"], Value::Null);
    assert!(refused(nested(25)).await.contains("limit of 20 levels of fields"));
    assert!(refused(nested(5_000)).await.contains("nesting"));
    let aliases: String = (0..60).map(|n| format!("a{n}: me ")).collect();
    assert!(refused(format!("{{ {aliases} }}")).await.contains("aliases"));
    assert!(refused(format!("{{ {} }}", "me ".repeat(3_000))).await.contains("fields"));
    assert!(refused("{ many(n: 40000) { me add(a: 1, b: 2) } }".into()).await.contains("smaller pages"));
    assert!(
        refused(format!("{{ add(a: 1, b: {}1{}) }}", "[".repeat(20_000), "]".repeat(20_000))).await.contains("nesting")
    );
    assert!(refused(format!("{{ me }} # {}", "x".repeat(70_000))).await.contains("bytes"));
    let directives = "@skip(if: false) ".repeat(9);
    assert!(refused(format!("{{ me {directives} }}")).await.contains("directives"));
    let mut bomb = String::from("{ ...F0 }");
    for n in 0..30 {
        bomb.push_str(&format!(" fragment F{n} on Query {{ ...F{} ...F{} }}", n + 1, n + 1));
    }
    let started = std::time::Instant::now();
    assert!(refused(bomb.clone() + " fragment F30 on Query { me }").await.contains("fields"));
    assert!(refused(bomb).await.contains("fields"), "with an unknown fragment at the end");
    assert!(started.elapsed().as_secs() < 5);
}

#[tokio::test]
async fn introspection_of_a_client_fits() {
    let server = start().await;
    let nested = "ofType { kind name ".repeat(9) + &"}".repeat(9);
    let document = format!(
        "query I {{ __schema {{ queryType {{ name }} types {{ ...T }} directives {{ name args {{ ...V }} }} }} }}
         fragment T on __Type {{ kind name fields(includeDeprecated: true) {{ name args {{ ...V }} type {{ ...R }} }} inputFields {{ ...V }}
           interfaces {{ ...R }} enumValues {{ name }} possibleTypes {{ ...R }} }}
         fragment V on __InputValue {{ name type {{ ...R }} defaultValue }}
         fragment R on __Type {{ kind name {nested} }}"
    );
    let (_, body) = server.query(&document).await;
    assert_eq!(body["errors"], Value::Null, "{body}");
}

#[tokio::test]
async fn a_request_does_not_take_for_ever() {
    let server = start_with(api::Settings { request_timeout_s: 1, ..api::Settings::default() }).await;
    let (status, body) = server.query("{ never }").await;
    assert_eq!((status, code(&body)), (504, "TIMEOUT"));
}

#[tokio::test]
async fn request_errors_have_a_status_for_those_who_ask() {
    let server = start().await;
    let ask = |query: &'static str| {
        let request = server
            .http
            .post(server.url("/graphql"))
            .bearer_auth(KEY)
            .header("accept", "application/graphql-response+json");
        request.json(&json!({"query": query})).send()
    };
    let good = ask("{ me }").await.unwrap();
    assert_eq!(good.status(), 200);
    assert_eq!(good.headers()["content-type"], "application/graphql-response+json; charset=utf-8");
    assert_eq!(ask("{ nothing }").await.unwrap().status(), 400);
}
