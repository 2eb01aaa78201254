//! What it takes, and what it refuses.

use std::{io::Write as _, process::Command};

use flate2::{Compression, write::GzEncoder};
use reqwest::{Method, header};
use rustix::process::Signal;
use tests::{PATIENCE, in_time};
use tokio::task::JoinSet;

use super::*;

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(text).unwrap();
    packed.finish().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_are_filed_by_topic_routing_key_and_hour() {
    let ground = Ground::new();
    let server = ground.serve().await;
    let sender = Sender::new(&server, &ground.key);
    let body = json!({ "batchId": "one", "events": [event("apinode-query", "churn", 1), event("other", "churn", 2)] });
    let first = sender.send(&body).await.unwrap();
    assert_eq!((first.status, &first.body), (StatusCode::OK, &json!({ "events": 2, "duplicate": false })));
    let again = sender.send(&body).await.unwrap();
    assert_eq!((again.status, &again.body), (StatusCode::OK, &json!({ "events": 2, "duplicate": true })));

    let url = format!("{}/events", sender.url);
    let lines = format!("{}\n{}\n", event("apinode-query", "churn", 3), event("apinode-query", "fraud", 4));
    let post = || sender.http.post(&url);
    let ndjson = post().basic_auth(&ground.key, Some("")).query(&[("batchId", "two")]);
    let ndjson = ndjson.header(header::CONTENT_TYPE, "application/x-ndjson").body(lines.clone());
    let twice = ndjson.try_clone().unwrap();
    assert_eq!(answer(ndjson.send().await.unwrap()).await.unwrap().body["duplicate"], false);
    assert_eq!(answer(twice.send().await.unwrap()).await.unwrap().body["duplicate"], true);
    let packed = post().bearer_auth(&ground.key).header(header::CONTENT_ENCODING, "gzip");
    let packed = packed.header(header::CONTENT_TYPE, "application/json; charset=utf-8");
    let packed = packed.body(gzip(json!({ "events": [event("apinode-query", "churn", 5)] }).to_string().as_bytes()));
    assert_eq!(answer(packed.send().await.unwrap()).await.unwrap().body["events"], 1);

    let filed = ground.filed();
    let of = |start: &str| {
        let folders = filed.iter().filter(|(folder, _)| folder.starts_with(start));
        let mut numbers: Vec<i64> =
            folders.flat_map(|(_, lines)| lines).map(|line| line["clientEvent"]["n"].as_i64().unwrap()).collect();
        numbers.sort_unstable();
        numbers
    };
    assert_eq!(of("apinode-query/churn/"), [1, 3, 5]);
    assert_eq!((of("apinode-query/fraud/"), of("other/churn/")), (vec![4], vec![2]));
    for (folder, lines) in &filed {
        for line in lines {
            // 2020-03-17T19:15:30.609+0000
            let stamp = line["serverTimestamp"].as_str().unwrap();
            let hour = format!("/{}/{}/{}/{}", &stamp[..4], &stamp[5..7], &stamp[8..10], &stamp[11..13]);
            assert!(folder.ends_with(&hour) && stamp.ends_with("+0000") && stamp.len() == 28, "{folder} {line}");
            assert_eq!(line["origAddress"], "127.0.0.1");
            assert_eq!(line.as_object().unwrap().len(), 3);
        }
    }

    assert_eq!(sender.get("/healthz").await.0, StatusCode::OK);
    let (status, ready) = sender.get("/readyz").await;
    assert_eq!((status, ready.contains("\"store\":true")), (StatusCode::OK, true), "{ready}");
    let (_, metrics) = sender.get("/metrics").await;
    for line in [
        "slipway_events_filed_total 5",
        "slipway_events_batches_total{outcome=\"filed\"} 3",
        "slipway_events_batches_total{outcome=\"duplicate\"} 2",
        "slipway_events_known_batches 2",
        "slipway_http_requests_total{method=\"POST\",route=\"/events\",status=\"200\"} 5",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    let log = server.process.log();
    assert!(!log.contains(&ground.key) && log.contains("tests"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_name_what_is_wrong() {
    let ground = Ground::new().set("SLIPWAY_EVENTS_BATCH_BYTES", 100_000).set("SLIPWAY_EVENTS_EVENT_BYTES", 1_000);
    let (narrow, hash) = Keys::generate();
    let keys = format!("{},{hash} narrow topic=apinode-query", ground.slipway.variables["SLIPWAY_EVENTS_KEYS"]);
    let ground = ground.set("SLIPWAY_EVENTS_KEYS", keys);
    let server = ground.serve().await;
    let sender = Sender::new(&server, &ground.key);
    let url = format!("{}/events", sender.url);
    let sound = json!({ "batchId": "one", "events": [event("a", "b", 1)] });
    assert_eq!(sender.send(&sound).await.unwrap().status, StatusCode::OK);

    for (body, status, code, field) in [
        (json!({ "events": [event("a", "b", 1), event("", "b", 1)] }), 400, "EVENT_INVALID", "events[1].topic"),
        (json!({ "events": [event("a", "b\n", 1)] }), 400, "EVENT_INVALID", "events[0].routingKey"),
        (json!({ "events": [{ "topic": "a", "routingKey": "b" }] }), 400, "EVENT_INVALID", "events[0].clientEvent"),
        (json!({ "events": [["a", "b", {}]] }), 400, "EVENT_INVALID", "events[0]"),
        (json!([]), 400, "EVENT_INVALID", "body"),
        (json!({ "events": [] }), 400, "EVENT_INVALID", "events"),
        (
            json!({ "events": [{ "topic": "a", "routingKey": "b", "clientEvent": { "x": "y".repeat(1_000) } }] }),
            413,
            "EVENT_BATCH_TOO_LARGE",
            "events[0].clientEvent",
        ),
        (json!({ "batchId": "one", "events": [event("a", "b", 2)] }), 409, "EVENT_BATCH_MISMATCH", "batchId"),
        (json!({ "events": [], "x": "y".repeat(100_000) }), 413, "BODY_TOO_LARGE", ""),
    ] {
        let answer = sender.send(&body).await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.code(), answer.field()), (status, code, field), "{}", answer.body);
    }
    let bound = Sender { key: narrow.expose().to_owned(), ..sender.clone() };
    let answer_of = bound.send(&json!({ "events": [event("a", "b", 1)] })).await.unwrap();
    assert_eq!(
        (answer_of.status.as_u16(), answer_of.code(), answer_of.field()),
        (403, "EVENT_NOT_ALLOWED", "events[0].topic")
    );
    assert_eq!(
        bound.send(&json!({ "events": [event("apinode-query", "b", 1)] })).await.unwrap().status,
        StatusCode::OK
    );

    let other = Sender { key: "slev_unknown".to_owned(), ..sender.clone() };
    let answer_of = other.send(&sound).await.unwrap();
    assert_eq!((answer_of.status.as_u16(), answer_of.code()), (401, "UNAUTHENTICATED"));
    let json = |request: reqwest::RequestBuilder| request.header(header::CONTENT_TYPE, "application/json");
    let post = || sender.http.post(&url).bearer_auth(&ground.key);
    // A million zeros, packed small.
    let bomb = gzip(&vec![b' '; 1 << 20]);
    let cases = [
        (json(sender.http.post(&url)).body(sound.to_string()), 401, "UNAUTHENTICATED", ""),
        (
            post().header(header::CONTENT_TYPE, "text/plain").body(sound.to_string()),
            415,
            "CONTENT_TYPE_INVALID",
            "Content-Type",
        ),
        (
            json(post()).header(header::CONTENT_ENCODING, "br").body(sound.to_string()),
            415,
            "CONTENT_TYPE_INVALID",
            "Content-Encoding",
        ),
        (json(post()).header(header::CONTENT_ENCODING, "gzip").body("no gzip"), 400, "BAD_REQUEST", "body"),
        (json(post()).header(header::CONTENT_ENCODING, "gzip").body(bomb), 413, "BODY_TOO_LARGE", ""),
        (json(post()).query(&[("batch", "x")]).body(sound.to_string()), 400, "BAD_REQUEST", "batchId"),
        (json(post()).query(&[("batchId", "two")]).body(sound.to_string()), 400, "EVENT_INVALID", "batchId"),
        (sender.http.request(Method::GET, &url).bearer_auth(&ground.key), 405, "METHOD_NOT_ALLOWED", ""),
    ];
    for (request, status, code, field) in cases {
        let answer = answer(request.send().await.unwrap()).await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.code(), answer.field()), (status, code, field), "{}", answer.body);
    }
    let (_, metrics) = sender.get("/metrics").await;
    assert!(metrics.contains("slipway_events_filed_total 2"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_names_become_folders_inside() {
    let ground = Ground::new();
    let server = ground.serve().await;
    let sender = Sender::new(&server, &ground.key);
    let names = ["..", ".", "../../outside", "/etc", "a/b", "%2e%2e", ".slipway-event-server", "ä ö", "C:\\x", "-rf"];
    for (number, name) in names.iter().enumerate() {
        let body = json!({ "events": [event(name, name, number)] });
        assert_eq!(sender.send(&body).await.unwrap().status, StatusCode::OK, "{name}");
    }
    let filed = ground.filed();
    let wanted: Vec<String> = names.iter().map(|name| events::name::folder(name).unwrap()).collect();
    for (number, folder) in wanted.iter().enumerate() {
        let lines: Vec<&Value> = filed
            .iter()
            .filter(|(path, _)| path.starts_with(&format!("{folder}/{folder}/")))
            .flat_map(|(_, lines)| lines)
            .collect();
        assert_eq!(lines.len(), 1, "{folder} in {filed:?}");
        assert_eq!(lines[0]["clientEvent"]["n"], number);
    }
    let beside: Vec<_> = fs::read_dir(ground.scratch.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(beside.len(), 2, "the folder of events and a log: {beside:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_sends_more_than_fits_is_told_to_wait() {
    // The second commit is a minute away, and until then there is room for one more batch.
    let ground = Ground::new()
        .set("SLIPWAY_EVENTS_COMMIT_MS", 60_000)
        .set("SLIPWAY_EVENTS_BATCH_BYTES", 20_000)
        .set("SLIPWAY_EVENTS_EVENT_BYTES", 20_000)
        .set("SLIPWAY_EVENTS_MEMORY", 40_000)
        .set("SLIPWAY_EVENTS_WAIT_MS", 200);
    let server = ground.serve().await;
    let sender = Sender::new(&server, &ground.key);
    let large = |n: usize| {
        let mut event = event("a", "b", n);
        event["clientEvent"]["text"] = "x".repeat(15_000).into();
        json!({ "batchId": n.to_string(), "events": [event] })
    };
    assert_eq!(sender.send(&large(1)).await.unwrap().status, StatusCode::OK);
    let mut sent = JoinSet::new();
    for n in [2, 3] {
        let (sender, body) = (sender.clone(), large(n));
        sent.spawn(async move { sender.send(&body).await.unwrap() });
    }
    let refused = in_time("a refusal", sent.join_next()).await.unwrap().unwrap();
    assert_eq!((refused.status, refused.code()), (StatusCode::TOO_MANY_REQUESTS, "EVENT_SERVER_BUSY"));
    assert!(refused.headers.contains_key(header::RETRY_AFTER));
    // At the end what was taken is filed, and answered.
    server.process.signal(Signal::TERM);
    let taken = in_time("the other answer", sent.join_next()).await.unwrap().unwrap();
    assert_eq!(taken.status, StatusCode::OK, "{}", taken.body);
    assert_eq!(server.process.exited(PATIENCE).await.unwrap(), 0);
    let filed: usize = ground.filed().values().map(Vec::len).sum();
    assert_eq!(filed, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_made_by_the_command_line() {
    let ground = Ground::new();
    let run = |arguments: &[&str]| Command::new(slipway::binary()).args(arguments).output().unwrap();
    let made = run(&["event-server", "key", "--label", "nodes", "--topic", "a b", "--routing-key", "x"]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let text = String::from_utf8(made.stdout).unwrap();
    let (key, line) = text.trim_end().split_once('\n').unwrap();
    assert!(line.ends_with(" nodes topic=a%20b routing-key=x"), "{line}");
    let file = ground.scratch.at("keys");
    fs::write(&file, format!("# ours\n{line}\n")).unwrap();
    let ground = ground.set("SLIPWAY_EVENTS_KEYS", "").set("SLIPWAY_EVENTS_KEYS_FILE", &file);
    let server = ground.serve().await;
    let sender = Sender::new(&server, key);
    assert_eq!(sender.send(&json!({ "events": [event("a b", "x", 1)] })).await.unwrap().status, StatusCode::OK);
    assert_eq!(sender.send(&json!({ "events": [event("a", "x", 1)] })).await.unwrap().code(), "EVENT_NOT_ALLOWED");

    let refused = |variable: &str, value: &str, code: &str| {
        let location = ground.scratch.at("elsewhere");
        let output = Command::new(slipway::binary())
            .args(["event-server", "--listen", "127.0.0.1:0", "--location", &location])
            .env(variable, value)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(code), "{said}");
    };
    refused("SLIPWAY_EVENTS_KEYS", "", "EVENT_KEYS_INVALID");
    refused("SLIPWAY_EVENTS_KEYS", "nonsense", "EVENT_KEYS_INVALID");
    refused("SLIPWAY_EVENTS_MEMORY", "1", "CONFIG_INVALID");
    let help = run(&["event-server", "--help"]);
    assert!(String::from_utf8_lossy(&help.stdout).contains("Example:"));
}
