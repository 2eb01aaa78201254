//! What the schemas of two settings can't say in words, told by path: where queries are logged, and who may call.

use std::net::IpAddr;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Map, Value};
use targets::http::{BlockList, NodeUrl, is_certificates};

use crate::{error::Problems, schema::MASK};

/// The longest folder that the Event Server makes of a routing key.
pub(crate) const LONGEST_FOLDER: usize = 255;
/// The longest name of a topic.
const LONGEST_TOPIC: usize = 249;

/// Notes things that are wrong with a document that came in, each at its path.
struct Noting<'a> {
    document: &'a Map<String, Value>,
    field: &'a str,
    problems: &'a mut Problems,
}

impl<'a> Noting<'a> {
    fn add(&mut self, path: &str, message: impl Into<String>) {
        self.problems.add("SETTING_INVALID", format!("{}.{path}", self.field), message);
    }

    /// What is no text is the schema's to tell.
    fn text(&self, name: &str) -> Option<&'a str> {
        self.document.get(name).and_then(Value::as_str)
    }

    fn is_given(&self, name: &str) -> bool {
        self.text(name).is_some_and(|text| !text.trim().is_empty())
    }
}

/// The folder that the Event Server files a routing key under has so many characters.
pub(crate) fn folder_length(name: &str) -> usize {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let hidden = if name.starts_with('.') { 2 } else { 0 };
    hidden + name.bytes().map(|byte| if plain(byte) { 1 } else { 3 }).sum::<usize>()
}

/// Where queries are to be logged.
pub(crate) fn query_log(document: &Map<String, Value>, field: &str, blocked: &BlockList, problems: &mut Problems) {
    let mut noting = Noting { document, field, problems };
    let kind = noting.text("type").unwrap_or_default();
    if let Some(key) = noting.text("routingKey") {
        if key.chars().any(char::is_control) {
            noting.add("routingKey", "A routing key has no control characters.");
        } else if kind == "EVENT_SERVER" && folder_length(key) > LONGEST_FOLDER {
            noting.add(
                "routingKey",
                "This is too long for the Event Server: 255 characters, of which each byte that is no letter, digit, '-', '_' or '.' takes three.",
            );
        }
    }
    if let Some(variable) = noting.text("keyVariable").filter(|text| !text.is_empty()) {
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if !variable.bytes().all(letter) || variable.starts_with(|c: char| c.is_ascii_digit()) {
            noting
                .add("keyVariable", "A variable is named with letters, digits and _, and does not begin with a digit.");
        }
    }
    match kind {
        "EVENT_SERVER" => {
            if let Some(url) = noting.text("url")
                && let Err(error) = NodeUrl::parse(url, blocked)
            {
                noting.add("url", error.to_string());
            }
        }
        "KAFKA" => kafka(&mut noting, blocked),
        _ => {}
    }
}

fn kafka(noting: &mut Noting<'_>, blocked: &BlockList) {
    let brokers = noting.document.get("brokers").and_then(Value::as_array).into_iter().flatten();
    for (at, broker) in brokers.enumerate() {
        if let Some(wrong) = broker.as_str().and_then(|broker| wrong_broker(broker, blocked)) {
            noting.add(&format!("brokers[{at}]"), wrong);
        }
    }
    if let Some(topic) = noting.text("topic") {
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let length = (1..=LONGEST_TOPIC).contains(&topic.len());
        if !length || !topic.bytes().all(letter) || matches!(topic, "." | "..") {
            noting.add("topic", "A topic has 1 to 249 letters, digits, '.', '_' and '-', and is not . or ..");
        }
    }
    if let Some(text) = noting.text("certificateAuthorities").filter(|text| !text.trim().is_empty())
        && !is_certificates(text.as_bytes())
    {
        noting.add("certificateAuthorities", "This holds no certificate in PEM form.");
    }
    if noting.text("sasl").is_some_and(|sasl| sasl != "NONE") {
        if !noting.is_given("username") {
            noting.add("username", "Whoever signs in with SASL has a user name. Enter it, or set sasl to NONE.");
        }
        if !noting.is_given("password") && !noting.is_given("keyVariable") {
            noting.add("password", "Whoever signs in with SASL has a password. Enter it, or set sasl to NONE.");
        }
    }
}

/// What is wrong with `host:port`.
fn wrong_broker(broker: &str, blocked: &BlockList) -> Option<&'static str> {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let Some((host, port)) = broker.split_once(':').filter(|(host, _)| !host.is_empty() && host.bytes().all(letter))
    else {
        return Some("A broker is a host (a name or an IPv4 address) and a port, such as kafka.example.com:9092.");
    };
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    if !digits || port.parse::<u16>().ok().is_none_or(|port| port == 0) {
        return Some("A broker's port is a number from 1 to 65535.");
    }
    let forbidden = host.parse::<IpAddr>().is_ok_and(|address| blocked.forbids(address));
    forbidden.then_some(
        "This broker is at an address that Slipway must not connect to (link-local, metadata, multicast). An operator can change the list of forbidden networks.",
    )
}

/// Who may call, in place of what versions say.
pub(crate) fn authorization(document: &Map<String, Value>, field: &str, problems: &mut Problems) {
    let mut noting = Noting { document, field, problems };
    match noting.text("method") {
        Some("API_KEYS") => keys(&mut noting),
        Some("OAUTH2") => tokens(&mut noting),
        _ => {}
    }
}

fn keys(noting: &mut Noting<'_>) {
    let keys = noting.document.get("keys").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    for (at, key) in keys.iter().enumerate() {
        let Some(key) = key.as_str().filter(|key| *key != MASK) else { continue };
        let path = format!("keys[{at}]");
        if key.contains(':') {
            noting.add(&path, "A key has no colon: callers send it as a user name, which ends there.");
        } else if key.chars().any(char::is_control) {
            noting.add(&path, "A key has no control characters.");
        } else if key.trim() != key {
            noting.add(&path, "A key neither begins nor ends with a blank.");
        } else if keys[..at].iter().any(|other| other.as_str() == Some(key)) {
            noting.add(&path, "This key is there twice. Keep one of the two.");
        }
    }
}

fn tokens(noting: &mut Noting<'_>) {
    let uri = noting.text("jwksUri");
    let set = noting.document.get("jwks").filter(|set| !set.is_null());
    match (uri, set) {
        (Some(_), Some(_)) => {
            noting.add("jwks", "The keys are either written here or read from jwksUri. Leave one of the two out.");
        }
        (None, None) if !noting.document.contains_key("jwksUri") => {
            noting
                .add("jwksUri", "The issuer's keys are needed: say where they are read from, or write them into jwks.");
        }
        _ => {}
    }
    if let Some(uri) = uri {
        let host = uri.strip_prefix("https://").filter(|rest| !rest.is_empty() && !rest.starts_with(['/', '?', '#']));
        if host.is_none() || uri.chars().any(|c| c.is_whitespace() || c.is_control() || c == '@') {
            noting.add("jwksUri", "This is a URL that begins with https:// and holds neither blanks nor a user name.");
        }
    }
    let Some(keys) = set.and_then(|set| set.get("keys")).and_then(Value::as_array) else { return };
    if keys.is_empty() {
        noting.add("jwks.keys", "One key is needed at least: nobody could sign a token.");
    }
    for (at, key) in keys.iter().enumerate() {
        let needed: &[&str] = match key.get("kty").and_then(Value::as_str) {
            Some("RSA") => &["n", "e"],
            Some("EC") => &["crv", "x", "y"],
            Some("OKP") => &["crv", "x"],
            _ => continue,
        };
        for name in needed {
            let path = format!("jwks.keys[{at}].{name}");
            match key.get(*name) {
                None | Some(Value::Null) => noting.add(&path, "A key of this type needs it."),
                Some(Value::String(text)) if *name != "crv" && !is_number(text) => {
                    noting.add(&path, "This is no number in base64url, without padding.");
                }
                Some(Value::String(text)) if *name == "crv" && text.is_empty() => {
                    noting.add(&path, "A key of this type names its curve, such as P-256.");
                }
                Some(_) => {}
            }
        }
    }
}

fn is_number(text: &str) -> bool {
    BASE64_URL_SAFE_NO_PAD.decode(text).is_ok_and(|bytes| !bytes.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::error::Error;

    fn told(check: impl Fn(&Map<String, Value>, &mut Problems), document: Value) -> Vec<String> {
        let mut problems = Problems::default();
        check(document.as_object().unwrap(), &mut problems);
        match problems.check() {
            Err(Error::Refused(all)) => all.into_iter().map(|one| one.field.unwrap_or_default()).collect(),
            _ => Vec::new(),
        }
    }

    fn log(document: Value) -> Vec<String> {
        told(|document, problems| query_log(document, "q", &BlockList::default(), problems), document)
    }

    fn who(document: Value) -> Vec<String> {
        told(|document, problems| authorization(document, "a", problems), document)
    }

    #[test]
    fn a_log_that_could_not_work_is_refused() {
        let kafka = |more: Value| {
            let mut whole = json!({"type": "KAFKA", "brokers": ["k.example.com:9092"], "topic": "t"});
            whole.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
            log(whole)
        };
        for (more, paths) in [
            (json!({}), &[][..]),
            (json!({"sasl": "NONE"}), &[]),
            (json!({"sasl": "PLAIN"}), &["q.username", "q.password"]),
            (json!({"sasl": "PLAIN", "username": " ", "password": "p"}), &["q.username"]),
            (json!({"sasl": "PLAIN", "username": "u", "password": MASK}), &[]),
            (json!({"sasl": "PLAIN", "username": "u", "keyVariable": "K"}), &[]),
            (
                json!({"brokers": ["a:1", "b:65536", "c", "d:0", "169.254.169.254:9092", "e:+1"]}),
                &["q.brokers[1]", "q.brokers[2]", "q.brokers[3]", "q.brokers[4]", "q.brokers[5]"],
            ),
            (json!({"certificateAuthorities": "no"}), &["q.certificateAuthorities"]),
            (
                json!({"topic": "a\u{7}b", "routingKey": "a\nb", "keyVariable": "a-b"}),
                &["q.routingKey", "q.keyVariable", "q.topic"],
            ),
        ] {
            assert_eq!(kafka(more.clone()), paths, "{more}");
        }
        let server = |more: (&str, Value)| {
            let mut whole = json!({"type": "EVENT_SERVER", "url": "http://e"});
            whole[more.0] = more.1;
            log(whole)
        };
        assert_eq!(server(("routingKey", json!("x".repeat(200)))), [""; 0]);
        assert_eq!(server(("routingKey", json!("ä".repeat(43)))), ["q.routingKey"]);
        for url in ["http://169.254.169.254/", "http://[fe80::1]:1", "http://u@h", "x", "http://h/?a"] {
            assert_eq!(server(("url", json!(url))), ["q.url"], "{url}");
        }
    }

    #[test]
    fn callers_that_could_not_get_in_are_refused() {
        let keys = |keys: Value| who(json!({"method": "API_KEYS", "keys": keys}));
        assert_eq!(keys(json!(["a", "b", MASK, MASK])), [""; 0]);
        let wrong = keys(json!(["a:b", "a\tb", " a", "a ", "x", "x"]));
        assert_eq!(wrong, ["a.keys[0]", "a.keys[1]", "a.keys[2]", "a.keys[3]", "a.keys[5]"]);
        let jwt = |more: Value| {
            let mut whole = json!({"method": "OAUTH2"});
            whole.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
            who(whole)
        };
        let rsa = json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"});
        for (more, paths) in [
            (json!({"jwksUri": "https://i.example.com/keys"}), &[][..]),
            (
                json!({"jwks": {"keys": [rsa, {"kty": "EC", "crv": "P-256", "x": "AQ", "y": "AQ"}, {"kty": "OKP", "crv": "Ed25519", "x": "AQ"}]}}),
                &[],
            ),
            (json!({}), &["a.jwksUri"]),
            (json!({"jwks": {"keys": [rsa]}, "jwksUri": "https://i"}), &["a.jwks"]),
            (json!({"jwksUri": "http://i"}), &["a.jwksUri"]),
            (json!({"jwks": {"keys": []}}), &["a.jwks.keys"]),
            (
                json!({"jwks": {"keys": [{"kty": "RSA", "n": "A+/="}, {"kty": "EC", "crv": "P-256", "x": "AQ"}]}}),
                &["a.jwks.keys[0].n", "a.jwks.keys[0].e", "a.jwks.keys[1].y"],
            ),
        ] {
            assert_eq!(jwt(more.clone()), paths, "{more}");
        }
    }
}
