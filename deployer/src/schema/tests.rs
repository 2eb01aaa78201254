use serde_json::json;

use super::*;
use crate::error::Error;

const SCHEMA: &str = r##"{
    "type": "object", "additionalProperties": false,
    "properties": {
        "replicas": {"type": "integer", "minimum": 0, "maximum": 10},
        "nodes": {"type": "array", "maxItems": 3, "items": {"$ref": "#/$defs/node"}},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "home": {"type": "string", "x-url": true, "default": ""},
        "logs": {"type": "object", "oneOf": [
            {"properties": {"kind": {"const": "A"}, "key": {"type": "string", "writeOnly": true}, "at": {"type": "string", "x-place": true}}},
            {"properties": {"kind": {"const": "B"}}}
        ]},
        "keys": {"type": "array", "items": {"type": "string", "writeOnly": true}},
        "cluster": {"type": "object", "x-home": true, "properties": {
            "url": {"type": "string", "x-place": true}, "access": {"enum": ["A", "B"], "default": "A", "x-place": true},
            "token": {"type": "string", "writeOnly": true},
            "file": {"type": "string", "writeOnly": true, "x-place": true}
        }}
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
    let prepared = super::secrets::prepare(&of(SCHEMA).unwrap(), &map(old), map(new), None, "p", &mut problems);
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
fn nothing_stays_where_everything_moves() {
    let nodes = json!([{"url": "a", "key": {"$secret": "1"}}]);
    let old = json!({"nodes": nodes, "keys": [{"$secret": "2"}], "cluster": {"url": "u", "token": {"$secret": "3"}, "file": {"$secret": "4"}}});
    let new = |cluster: Value| json!({"nodes": [{"url": "a", "key": MASK}], "keys": [MASK], "cluster": cluster});
    // What is the same, or another key for the same place, moves nothing.
    for cluster in [
        json!({"url": "u", "token": MASK, "file": MASK}),
        json!({"url": "u", "token": "new", "file": MASK, "access": "A"}),
        json!({"url": "u", "token": "new", "file": MASK, "access": ""}),
    ] {
        let (kept, problems) = taken(old.clone(), new(cluster));
        assert_eq!((problems, &kept["nodes"]), (vec![], &nodes));
    }
    let all = |more: &[&str]| -> Vec<(&'static str, String)> {
        let fields = more.iter().chain(&["p.keys[0]", "p.nodes[0].key"]);
        fields.map(|field| ("ADMIN_KEY_MASKED", (*field).to_owned())).collect()
    };
    // Another address, another way in, and a file that may name another address.
    for (cluster, more) in [
        (json!({"url": "v", "token": "new", "file": "new"}), &[][..]),
        (json!({"url": "v", "token": MASK, "file": "new"}), &["p.cluster.token"]),
        (json!({"url": "u", "token": "new", "file": "new"}), &[]),
        (json!({"url": "u", "token": "new", "file": MASK, "access": "B"}), &["p.cluster.file"]),
        (json!({}), &[]),
    ] {
        let mut told = taken(old.clone(), new(cluster)).1;
        told.sort_by(|one, other| one.1.cmp(&other.1));
        assert_eq!(told, all(more));
    }
}

#[test]
fn addresses_are_read_and_whole_numbers_are_whole() {
    for home in ["", "https://x.example.com/a", "http://127.0.0.1:9"] {
        let (kept, problems) = taken(json!({}), json!({"home": home, "replicas": 3.0}));
        assert_eq!((problems, &kept["replicas"]), (vec![], &json!(3)), "{home}");
    }
    for home in ["notaurl", "http://u:p@x", "https://x?y=1", "ftp://x"] {
        let (_, problems) = taken(json!({}), json!({"home": home}));
        assert_eq!(problems, [("SETTING_INVALID", "p.home".to_owned())], "{home}");
    }
}

#[test]
fn a_mask_that_stands_for_nothing_is_told_why() {
    let old = json!({
        "nodes": [{"url": "a", "key": {"$secret": "1"}}],
        "logs": {"kind": "A", "at": "x", "key": {"$secret": "2"}}, "keys": [{"$secret": "3"}, {"$secret": "4"}],
    });
    for (new, why) in [
        (json!({"nodes": [{"url": "b", "key": MASK}]}), "The list had no such entry"),
        (json!({"logs": {"kind": "A", "at": "y", "key": MASK}}), "at changed"),
        (json!({"keys": [MASK]}), "The list did more than grow"),
        (json!({"keys": [MASK, MASK, MASK]}), "There is no stored secret."),
    ] {
        let mut problems = Problems::default();
        super::secrets::prepare(&of(SCHEMA).unwrap(), &map(old.clone()), map(new.clone()), None, "p", &mut problems);
        let Err(Error::Refused(told)) = problems.check() else { panic!("{new} is taken") };
        assert!(told.len() == 1 && told[0].message.starts_with(why), "{new}: {told:?}");
        assert!(told[0].message.ends_with(" Enter the secret itself."), "{told:?}");
    }
    // What a form for something new may send by mistake.
    let new = json!({"logs": {"kind": "A", "at": "x", "key": MASK}});
    let mut problems = Problems::default();
    super::secrets::prepare(&of(SCHEMA).unwrap(), &Map::new(), map(new), None, "p", &mut problems);
    let Err(Error::Refused(told)) = problems.check() else { panic!("it is taken") };
    assert!(told.iter().all(|one| one.message.starts_with("There is no stored secret.")), "{told:?}");
}

#[test]
fn secrets_are_found_through_alternatives_and_lists() {
    let old = json!({"logs": {"kind": "A", "at": "x", "key": {"$secret": "1"}}, "keys": [{"$secret": "2"}]});
    let (kept, problems) =
        taken(old.clone(), json!({"logs": {"kind": "A", "at": "x", "key": MASK}, "keys": [MASK, "new"]}));
    assert_eq!(problems, []);
    assert_eq!(kept["logs"]["key"], json!({"$secret": "1"}));
    assert_eq!(kept["keys"], json!([{"$secret": "2"}, {"$secret": "entered"}]));
    // Which of two was taken out, a mask does not say.
    let two = json!({"keys": [{"$secret": "1"}, {"$secret": "2"}]});
    for (list, at) in [(json!([MASK]), 0), (json!([MASK, "new"]), 0), (json!(["new", MASK]), 1)] {
        let (_, problems) = taken(two.clone(), json!({"keys": list}));
        assert_eq!(problems, [("ADMIN_KEY_MASKED", format!("p.keys[{at}]"))], "{list}");
    }
    assert_eq!(taken(two, json!({"keys": [MASK, MASK, "new"]})).1, []);
    let (_, problems) = taken(old.clone(), json!({"logs": {"kind": "A", "at": "y", "key": MASK}}));
    assert_eq!(problems, [("ADMIN_KEY_MASKED", "p.logs.key".to_owned())]);
    let shown = masked(&map(old));
    assert_eq!(Value::Object(shown), json!({"logs": {"kind": "A", "at": "x", "key": MASK}, "keys": [MASK]}));
}
