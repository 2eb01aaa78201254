//! A practice API node that shares a folder with Slipway, as an infrastructure `nodes` names it, and versions of a service for it.

use std::path::{Path, PathBuf};

use sandbox::{ApiNode, RunningApiNode, ServiceSpec, sample_service};
use serde_json::{Value, json};

use crate::{Client, Fleet, FleetBuilder, Size, scratch::Scratch};

const KEY: &str = "a-key-of-the-node";

async fn start(folder: &Path) -> RunningApiNode {
    let node = ApiNode::builder().admin_key(KEY).packages(folder);
    node.start("127.0.0.1:0".parse().unwrap()).await.unwrap()
}

/// The node, and the folder.
pub struct Models {
    /// The node.
    pub node: RunningApiNode,
    folder: PathBuf,
    scratch: Scratch,
}

impl Models {
    /// Starts a node with an empty folder.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start() -> Self {
        let scratch = Scratch::new("models");
        let folder = scratch.path().join("models");
        std::fs::create_dir(&folder).unwrap();
        let settings = format!("[targets.shared_folders]\nmodels = {:?}\n", folder.display().to_string());
        std::fs::write(scratch.at("slipway.toml"), settings).unwrap();
        Self { node: start(&folder).await, folder, scratch }
    }

    /// Another node that shares the folder.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn another_node(&self) -> RunningApiNode {
        start(&self.folder).await
    }

    /// A fleet that shares the folder.
    pub fn fleet(&self, size: Size) -> FleetBuilder {
        Fleet::of(size).set("SLIPWAY_CONFIG", self.scratch.at("slipway.toml"))
    }

    /// Makes the infrastructure `nodes` of this node, and of those at these addresses besides; `settings` are its others.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn infrastructure(&self, api: &Client, besides: &[&str], mut settings: Value) {
        let own = self.node.url();
        let nodes: Vec<_> = std::iter::once(own.as_str())
            .chain(besides.iter().copied())
            .map(|url| json!({"url": url, "adminAPIKey": KEY}))
            .collect();
        let delivery = json!({"mode": "SHARED_FOLDER", "folder": "models", "nodePath": self.folder});
        settings["platform"]["apiNodes"] = json!(nodes);
        settings["platform"]["delivery"] = delivery;
        let input = json!({"id": "nodes", "kind": "STATIC", "stage": "Test", "settings": settings});
        let document = "mutation($input: CreateInfrastructureInput!) { createInfrastructure(input: $input) { refusals { code field message } } }";
        api.ask(document, json!({"input": input})).await;
    }

    /// A version of a service with an endpoint `score`, and this as its test query.
    pub fn version(service: &str, version: &str, query: &Value) -> Vec<u8> {
        let mut spec = ServiceSpec::new(service, version);
        let endpoint = json!({"id": "score", "type": "STD_PREDICTION", "testQueries": [{"q": query}]});
        spec.more.insert("endpoints".to_owned(), json!([endpoint]));
        sample_service(&spec)
    }
}
