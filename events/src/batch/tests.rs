use serde_json::{Value, json};

use super::*;

/// 2020-03-17T19:15:30.609Z.
const AT: i64 = 1_584_472_530_609_000;

fn small() -> Settings {
    Settings { batch_events: 3, event_bytes: 60, event_depth: 3, ..Settings::default() }
}

fn read_as(body: &str, format: Format, grant: &Grant, beside: Option<&str>) -> Result<Batch, EventError> {
    let arrived = Arrived { grant, address: "127.0.0.1", batch_id: beside, at: AT };
    Batch::read(&Bytes::copy_from_slice(body.as_bytes()), format, &arrived, &small())
}

fn read(body: &Value) -> Result<Batch, EventError> {
    read_as(&body.to_string(), Format::Json, &Grant::all("any"), None)
}

fn event(topic: &str, routing_key: &str) -> Value {
    json!({ "topic": topic, "routingKey": routing_key, "clientEvent": { "msgType": "prediction-query" } })
}

#[test]
fn the_envelope_is_the_products() {
    let body =
        r#"{"events": [{"routingKey": "churn", "topic": "apinode-query", "clientEvent": {"z": 1.0, "a": [ 2 ]}}]}"#;
    let batch = read_as(body, Format::Json, &Grant::all("any"), None).unwrap();
    let (folder, lines) = batch.files.first_key_value().unwrap();
    assert_eq!(folder, "apinode-query/churn/2020/03/17/19");
    assert_eq!(
        String::from_utf8_lossy(lines),
        "{\"clientEvent\":{\"z\":1.0,\"a\":[2]},\"origAddress\":\"127.0.0.1\",\"serverTimestamp\":\"2020-03-17T19:15:30.609+0000\"}\n"
    );
}

#[test]
fn events_are_sorted_into_folders_and_stay_in_order() {
    let body = json!({ "events": [event("a", "x"), event("..", "x/../y"), event("a", "x")] });
    let batch = read(&body).unwrap();
    let folders: Vec<(&str, usize)> =
        batch.files.iter().map(|(folder, lines)| (folder.as_str(), lines.split(|b| *b == b'\n').count() - 1)).collect();
    assert_eq!(folders, [("%2E./x%2F..%2Fy/2020/03/17/19", 1), ("a/x/2020/03/17/19", 2)]);
    assert_eq!((batch.events(), batch.id), (3, None));
}

#[test]
fn lines_are_read_as_well() {
    let body = format!("{}\r\n\n{}\n", event("a", "x"), event("b", "x"));
    let batch = read_as(&body, Format::Lines, &Grant::all("any"), Some("one")).unwrap();
    assert_eq!(batch.events(), 2);
    assert!(batch.id.is_some());
}

#[test]
fn refusals_name_the_input() {
    let deep = json!({ "a": { "b": { "c": { "d": 1 } } } });
    let with = |key: &str, value: Value| {
        let mut wrong = event("a", "x");
        wrong[key] = value;
        json!({ "events": [event("a", "x"), wrong] })
    };
    let mut without = event("a", "x");
    without.as_object_mut().unwrap().remove("routingKey");
    for (body, code, field) in [
        (json!([]), "EVENT_INVALID", "body"),
        (json!({}), "EVENT_INVALID", "events"),
        (json!({ "events": [] }), "EVENT_INVALID", "events"),
        (json!({ "events": {} }), "EVENT_INVALID", "body"),
        (json!({ "events": [], "more": 1 }), "EVENT_INVALID", "body"),
        (json!({ "events": [3] }), "EVENT_INVALID", "events[0]"),
        (json!({ "events": [without] }), "EVENT_INVALID", "events[0].routingKey"),
        (with("topic", json!(3)), "EVENT_INVALID", "events[1].topic"),
        (with("topic", json!("")), "EVENT_INVALID", "events[1].topic"),
        (with("routingKey", json!("a\u{0}")), "EVENT_INVALID", "events[1].routingKey"),
        (with("routingKey", json!("/".repeat(200))), "EVENT_INVALID", "events[1].routingKey"),
        (with("clientEvent", json!([])), "EVENT_INVALID", "events[1].clientEvent"),
        (with("clientEvent", Value::Null), "EVENT_INVALID", "events[1].clientEvent"),
        (with("other", json!(1)), "EVENT_INVALID", "events[1]"),
        (with("clientEvent", deep), "EVENT_BATCH_TOO_LARGE", "events[1].clientEvent"),
        (with("clientEvent", json!({ "a": "x".repeat(60) })), "EVENT_BATCH_TOO_LARGE", "events[1].clientEvent"),
        (json!({ "events": vec![event("a", "x"); 4] }), "EVENT_BATCH_TOO_LARGE", "events"),
        (json!({ "batchId": 3, "events": [event("a", "x")] }), "EVENT_INVALID", "batchId"),
        (json!({ "batchId": "", "events": [event("a", "x")] }), "EVENT_INVALID", "batchId"),
        (json!({ "batchId": "x".repeat(201), "events": [event("a", "x")] }), "EVENT_INVALID", "batchId"),
    ] {
        let error = read(&body).expect_err(&body.to_string());
        assert_eq!((error.code().as_str(), error.field()), (code, Some(field)), "{body}: {error}");
    }
    for body in
        ["", "{", "{\"events\": [{\"topic\": \"a\"", "\u{feff}{}", "{\"events\":[]} x", "{\"events\":[],\"events\":[]}"]
    {
        let error = read_as(body, Format::Json, &Grant::all("any"), None).unwrap_err();
        assert_eq!(error.code().as_str(), "EVENT_INVALID", "{body}");
    }
    let error = read_as("{}\nx", Format::Lines, &Grant::all("any"), None).unwrap_err();
    assert_eq!(error.field(), Some("events[0].topic"));
    let nested = format!("{{\"events\":[{{\"clientEvent\":{}}}]}}", "[".repeat(100_000));
    assert!(read_as(&nested, Format::Json, &Grant::all("any"), None).is_err());
}

#[test]
fn a_key_sends_only_what_it_is_bound_to() {
    let grant = Grant::parse(&format!("{} nodes topic=a routing-key=x routing-key=y%2Fz", "ab".repeat(32))).unwrap().1;
    let read = |topic: &str, key: &str| {
        read_as(&json!({ "events": [event(topic, key)] }).to_string(), Format::Json, &grant, None)
    };
    assert!(read("a", "x").is_ok() && read("a", "y/z").is_ok());
    assert_eq!(read("b", "x").unwrap_err().field(), Some("events[0].topic"));
    assert_eq!(read("a", "y").unwrap_err().field(), Some("events[0].routingKey"));
}

#[test]
fn an_id_stands_for_its_events_and_its_key() {
    let id = |body: &Value, grant: &Grant| read_as(&body.to_string(), Format::Json, grant, None).unwrap().id.unwrap();
    let (one, other) = (Grant::all("one"), Grant::all("other"));
    let body = json!({ "batchId": "b", "events": [event("a", "x")] });
    let more = json!({ "batchId": "b", "events": [event("a", "y")] });
    assert_eq!(id(&body, &one), id(&body, &one));
    assert_eq!(id(&body, &one).0, id(&more, &one).0);
    assert_ne!(id(&body, &one).1, id(&more, &one).1);
    assert_ne!(id(&body, &one).0, id(&body, &other).0);
    let beside = |id| read_as(&body.to_string(), Format::Json, &one, Some(id)).map(|batch| batch.id.unwrap());
    assert_eq!(beside("b").unwrap(), id(&body, &one));
    assert_eq!(beside("c").unwrap_err().field(), Some("batchId"));
}
