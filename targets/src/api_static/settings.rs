//! An infrastructure's settings, in the client's spelling, and the nodes that they name.

use std::collections::BTreeSet;

use engine::failure::Failure;
use serde::Deserialize;
use serde_json::{Map, Value};
use url::Url;

use crate::{
    codes,
    http::{BlockList, NodeUrl},
    secret_ref::SecretRef,
    spec::{NamedNode, NodeSpec},
};

/// A blocking call may take so long unless the infrastructure says otherwise, in milliseconds.
const CALL_TIMEOUT_MS: u64 = 600_000;
/// A call whose answer was lost may go on for so long unless the infrastructure says otherwise, in milliseconds.
const SETTLE_MS: u64 = 600_000;

/// The settings as the schema describes them.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[cfg_attr(test, derive(serde::Serialize))]
pub(super) struct Settings {
    pub(super) api_nodes: Vec<ApiNode>,
    pub(super) delivery: Option<Delivery>,
    /// Read by whoever plans updates.
    pub(super) quorum: Option<u32>,
    pub(super) clean_unused_generations: bool,
    pub(super) trust_foreign_generations: bool,
}

/// One API node.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[cfg_attr(test, derive(serde::Serialize))]
pub(super) struct ApiNode {
    pub(super) url: String,
    #[serde(rename = "adminAPIKey")]
    pub(super) admin_api_key: Option<SecretRef>,
    pub(super) graphite_prefix: Option<String>,
    pub(super) name: Option<String>,
    pub(super) trust_all_certificates: bool,
    pub(super) external_url: Option<String>,
    pub(super) delivery: Option<Delivery>,
}

/// How packages reach a node's disk.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[cfg_attr(test, derive(serde::Serialize))]
pub(super) struct Delivery {
    pub(super) mode: Option<Mode>,
    pub(super) folder: Option<String>,
    pub(super) command: Option<String>,
    pub(super) node_path: Option<String>,
    pub(super) url: Option<String>,
    pub(super) key: Option<SecretRef>,
    pub(super) trust_all_certificates: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[cfg_attr(test, derive(serde::Serialize))]
pub(super) enum Mode {
    SharedFolder,
    CopyCommand,
    Agent,
}

impl Settings {
    pub(super) fn read(settings: &Map<String, Value>) -> Result<Self, Failure> {
        serde_json::from_value(Value::Object(settings.clone())).map_err(|error| {
            let message = "The infrastructure's settings are not those of API nodes. Save them again.";
            Failure::new(codes::SETTING_INVALID, message).detail(error.to_string())
        })
    }

    /// The nodes, each a lane of an update.
    pub(super) fn nodes(&self) -> Vec<NamedNode> {
        let named = |node: &ApiNode| NamedNode { name: node.name(), node: node.spec() };
        self.api_nodes.iter().map(named).collect()
    }

    /// The settings of the node that this spec is of, and where they stand.
    pub(super) fn of(&self, spec: &NodeSpec) -> Option<(usize, &ApiNode)> {
        let place = NodeUrl::spelled(&spec.url);
        self.api_nodes.iter().enumerate().find(|(_, node)| NodeUrl::spelled(&node.url) == place)
    }

    /// What is wrong with settings that the schema lets through, by path. What is missing is no problem yet.
    pub(super) fn problems(&self, blocked: &BlockList) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        let mut url = |path: String, text: &str| {
            if !text.trim().is_empty()
                && let Err(error) = NodeUrl::parse(text, blocked)
            {
                problems.push((path, error.to_string()));
            }
        };
        for (at, node) in self.api_nodes.iter().enumerate() {
            url(format!("apiNodes[{at}].url"), &node.url);
            url(format!("apiNodes[{at}].externalUrl"), node.external_url.as_deref().unwrap_or_default());
            let agent = node.delivery.as_ref().and_then(|delivery| delivery.url.as_deref());
            url(format!("apiNodes[{at}].delivery.url"), agent.unwrap_or_default());
        }
        url("delivery.url".to_owned(), self.delivery.as_ref().and_then(|d| d.url.as_deref()).unwrap_or_default());
        let (mut names, mut places) = (BTreeSet::new(), BTreeSet::new());
        for (at, node) in self.api_nodes.iter().enumerate() {
            if !names.insert(node.name()) {
                let path = format!("apiNodes[{at}].name");
                problems
                    .push((path, format!("Another node is called {}, too. Give each a name of its own.", node.name())));
            }
            if !places.insert(NodeUrl::spelled(&node.url)) {
                problems.push((format!("apiNodes[{at}].url"), "Another node has this URL, too.".to_owned()));
            }
        }
        let deliveries =
            self.api_nodes.iter().enumerate().map(|(at, node)| (format!("apiNodes[{at}]."), &node.delivery));
        for (path, delivery) in deliveries.chain([(String::new(), &self.delivery)]) {
            let told = delivery.as_ref().and_then(Delivery::path).filter(|told| !is_plain_path(told));
            if told.is_some() {
                problems.push((format!("{path}delivery.nodePath"), NOT_PLAIN.to_owned()));
            }
        }
        problems
    }
}

/// What a path on a node may be.
pub(super) const NOT_PLAIN: &str =
    "Write an absolute path of letters, digits and . _ + @ -, without \"..\", such as /data/slipway.";

/// Whether a text is an absolute path that no shell, URL or command line reads as anything else.
pub(super) fn is_plain_path(text: &str) -> bool {
    let Some(rest) = text.strip_prefix('/') else { return false };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '+' | '@' | '-');
    rest.split('/').all(|part| !part.is_empty() && !matches!(part, "." | "..") && part.chars().all(plain))
}

impl ApiNode {
    /// Its own name, else its host and port.
    pub(super) fn name(&self) -> String {
        if let Some(name) = self.name.as_ref().filter(|name| !name.is_empty()) {
            return name.clone();
        }
        let place = Url::parse(self.url.trim()).ok();
        let place = place
            .and_then(|url| Some((url.host_str()?.trim_matches(['[', ']']).to_owned(), url.port_or_known_default()?)));
        place.map_or_else(|| "node".to_owned(), |(host, port)| format!("{host}:{port}"))
    }

    fn spec(&self) -> NodeSpec {
        NodeSpec {
            url: NodeUrl::spelled(&self.url),
            key: self.admin_api_key.as_ref().map(|key| key.id.clone()).unwrap_or_default(),
            trust_all_certificates: self.trust_all_certificates,
            webapp_run_as_field: String::new(),
            settle_ms: SETTLE_MS,
            call_timeout_ms: CALL_TIMEOUT_MS,
        }
    }

    /// Where callers reach it.
    pub(super) fn caller_url(&self) -> String {
        let external = self.external_url.as_deref().map(str::trim).filter(|url| !url.is_empty());
        NodeUrl::spelled(external.unwrap_or(&self.url))
    }
}

impl Delivery {
    /// The path on the node, if one is set.
    pub(super) fn path(&self) -> Option<&str> {
        self.node_path.as_deref().map(|path| path.trim_end_matches('/')).filter(|path| !path.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SCHEMA: &str = include_str!("settings.json");

    fn keys(value: &Value) -> BTreeSet<String> {
        value.as_object().unwrap().keys().cloned().collect()
    }

    #[test]
    fn the_schema_and_the_settings_have_the_same_fields() {
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        let of = |value: &Value| keys(&value["properties"]);
        assert_eq!(of(&schema), keys(&json!(Settings::default())));
        let node = &schema["properties"]["apiNodes"]["items"];
        assert_eq!(of(node), keys(&json!(ApiNode::default())));
        let delivery = &schema["properties"]["delivery"];
        assert_eq!(of(delivery), keys(&json!(Delivery::default())));
        assert_eq!(node["properties"]["delivery"]["properties"], delivery["properties"]);
        for object in [&schema, node, delivery] {
            assert_eq!(object["additionalProperties"], false);
            for (name, property) in object["properties"].as_object().unwrap() {
                assert!(property["title"].is_string() && property["description"].is_string(), "{name}");
            }
        }
        assert_eq!(Settings::read(&Map::new()).unwrap(), Settings::default());
    }

    fn settings(value: Value) -> Settings {
        Settings::read(value.as_object().unwrap()).unwrap()
    }

    #[test]
    fn a_node_has_a_name_and_a_key() {
        let read = settings(json!({"apiNodes": [
            {"url": "https://A.example.com/", "adminAPIKey": {"$secret": "k1"}, "graphitePrefix": null},
            {"url": "http://[::1]:12000", "name": ""}, {"url": "http://b:1", "name": "two", "externalUrl": "https://lb/x/"}]}));
        let nodes: Vec<_> = read.nodes().into_iter().map(|one| (one.name, one.node.url, one.node.key)).collect();
        let node = |name: &str, url: &str, key: &str| (name.to_owned(), url.to_owned(), key.to_owned());
        assert_eq!(nodes[0], node("a.example.com:443", "https://a.example.com", "k1"));
        assert_eq!(nodes[1], node("::1:12000", "http://[::1]:12000", ""));
        assert_eq!(nodes[2], node("two", "http://b:1", ""));
        assert_eq!(read.api_nodes[2].caller_url(), "https://lb/x");
        assert!(read.problems(&BlockList::default()).is_empty());
    }

    #[test]
    fn problems_name_their_paths() {
        let read = settings(json!({"apiNodes": [{"url": "ftp://a"}, {"url": "http://b"}, {"url": "http://b:80/"},
            {"url": "http://c", "delivery": {"mode": "AGENT", "url": "agent", "nodePath": "data"}}],
            "delivery": {"nodePath": "/a/../b"}}));
        let paths: Vec<_> = read.problems(&BlockList::default()).into_iter().map(|(path, _)| path).collect();
        let wanted = [
            "apiNodes[0].url",
            "apiNodes[3].delivery.url",
            "apiNodes[2].name",
            "apiNodes[2].url",
            "apiNodes[3].delivery.nodePath",
            "delivery.nodePath",
        ];
        assert_eq!(paths, wanted);
        for path in ["/a b", "a", "/", "//a", "/a/", "/a;b", "/a/$(b)", "/-a/."] {
            assert!(!is_plain_path(path), "{path}");
        }
        assert!(is_plain_path("/data/slip-way_1.2"));
    }
}
