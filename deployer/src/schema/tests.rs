use serde_json::json;

use super::*;
use crate::error::Error;

const SCHEMA: &str = r##"{
    "type": "object", "additionalProperties": false,
    "properties": {
        "replicas": {"type": "integer", "minimum": 0, "maximum": 10},
        "nodes": {"type": "array", "maxItems": 3, "items": {"$ref": "#/$defs/node"}},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "logs": {"type": "object", "oneOf": [
            {"properties": {"kind": {"const": "A"}, "key": {"type": "string", "writeOnly": true}, "at": {"type": "string", "x-place": true}}},
            {"properties": {"kind": {"const": "B"}}}
        ]},
        "keys": {"type": "array", "items": {"type": "string", "writeOnly": true}}
    },
    "$defs": {"node": {"type": "object", "additionalProperties": false, "required": ["url"], "properties": {
        "url": {"type": "string", "x-place": true}, "key": {"type": "string", "writeOnly": true}, "title": {"type": "string"}
    }}}
}"##;

fn told(problems: Problems) -> Vec<(&'static str, String)> {
    match problems.check() {
        Err(Error::Refused(all)) => all.into_iter().map(|one| (one.code, one.field.unwrap_or_default())).collect(),
        _ => Vec::new(),
    }
}

fn map(value: Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap()
}

#[test]
fn each_problem_names_its_path_and_no_value() {
    let schema = of(SCHEMA).unwrap();
    let mut problems = Problems::default();
    let document = json!({
        "replicas": "s3cret-number", "nodes": [{"url": "u"}, {"title": 3}], "labels": {"a": 1}, "other": 1
    });
    check(&schema, &map(document), "platform", &mut problems);
    let Err(Error::Refused(all)) = problems.check() else { panic!() };
    let mut fields: Vec<_> = all.iter().map(|one| one.field.clone().unwrap()).collect();
    fields.sort();
    let expected = [
        "platform.labels.a",
        "platform.nodes[1].title",
        "platform.nodes[1].url",
        "platform.other",
        "platform.replicas",
    ];
    assert_eq!(fields, expected);
    assert!(all.iter().all(|one| one.code == "SETTING_INVALID" && !one.message.contains("s3cret")), "{all:?}");
    let mut problems = Problems::default();
    check(&schema, &map(json!({"labels": {"a": "x".repeat(MOST)}})), "platform", &mut problems);
    assert_eq!(told(problems), [("SETTINGS_TOO_LARGE", "platform".to_owned())]);
}

fn taken(old: Value, new: Value) -> (Map<String, Value>, Vec<(&'static str, String)>) {
    let mut problems = Problems::default();
    let prepared = super::secrets::prepare(&of(SCHEMA).unwrap(), &map(old), map(new), "p", &mut problems);
    (prepared.draft(), told(problems))
}

#[test]
fn a_secret_stays_where_it_was_entered_for() {
    let old = json!({"nodes": [{"url": "a", "key": {"$secret": "1"}}, {"url": "b", "key": {"$secret": "2"}}]});
    // Another order, another title: the same places.
    let new = json!({"nodes": [{"url": "b", "key": MASK, "title": "B"}, {"url": "a", "key": MASK}]});
    let (kept, problems) = taken(old.clone(), new);
    assert_eq!(problems, []);
    assert_eq!(
        kept["nodes"],
        json!([{"url": "b", "key": {"$secret": "2"}, "title": "B"}, {"url": "a", "key": {"$secret": "1"}}])
    );
    // Another place.
    let (_, problems) = taken(old.clone(), json!({"nodes": [{"url": "c", "key": MASK}]}));
    assert_eq!(problems, [("ADMIN_KEY_MASKED", "p.nodes[0].key".to_owned())]);
    // A reference is nothing that somebody can send, but for the one that is there.
    let (_, problems) = taken(old.clone(), json!({"nodes": [{"url": "a", "key": {"$secret": "2"}}]}));
    assert_eq!(problems, [("SETTING_INVALID", "p.nodes[0].key".to_owned())]);
    // Taken away.
    for none in [
        json!({"nodes": [{"url": "a"}]}),
        json!({"nodes": [{"url": "a", "key": ""}]}),
        json!({"nodes": [{"url": "a", "key": null}]}),
    ] {
        let (kept, problems) = taken(old.clone(), none);
        assert_eq!((kept["nodes"].clone(), problems), (json!([{"url": "a"}]), vec![]));
    }
}

#[test]
fn secrets_are_found_through_alternatives_and_lists() {
    let old = json!({"logs": {"kind": "A", "at": "x", "key": {"$secret": "1"}}, "keys": [{"$secret": "2"}]});
    let (kept, problems) =
        taken(old.clone(), json!({"logs": {"kind": "A", "at": "x", "key": MASK}, "keys": [MASK, "new"]}));
    assert_eq!(problems, []);
    assert_eq!(kept["logs"]["key"], json!({"$secret": "1"}));
    assert_eq!(kept["keys"], json!([{"$secret": "2"}, {"$secret": "entered"}]));
    let (_, problems) = taken(old.clone(), json!({"logs": {"kind": "A", "at": "y", "key": MASK}}));
    assert_eq!(problems, [("ADMIN_KEY_MASKED", "p.logs.key".to_owned())]);
    let shown = masked(&map(old));
    assert_eq!(Value::Object(shown), json!({"logs": {"kind": "A", "at": "x", "key": MASK}, "keys": [MASK]}));
}
