//! Images, pushed to a real registry and judged by other programs: `skopeo` reads them, `umoci` unpacks them.

mod command;
mod fronts;
mod push;
mod troubles;

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use serde_json::Value;
use targets::{
    http::{CallError, Http, HttpSettings, install_crypto_provider},
    image::{
        Platform,
        build::{Build, Changes, Image, Pushed},
        contract::ServedDeployment,
        layer::{Content, Layer, LayerPlan},
        registry::{Access, Login},
    },
};
use tests::{
    registry::{PASSWORD, Registry, USER, run},
    scratch::Scratch,
};

/// What a base image's node is here: enough of an API node for a front.
const NODE: &str = include_str!("images/node.py");
/// More than goes into one piece.
const LARGE: usize = 12 << 20;

/// Bytes that do not compress, the same ones for the same seed.
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

fn umoci(arguments: &[&str]) {
    run(Command::new("umoci").args(arguments));
}

/// A base image in an OCI layout, made by another program: `layout:base`. Its node listens where NODE_PORT says.
pub(crate) fn base_image(scratch: &Scratch, filler: &[u8]) -> String {
    let (layout, bundle) = (scratch.at("base"), scratch.at("base-bundle"));
    let image = format!("{layout}:base");
    umoci(&["init", "--layout", &layout]);
    umoci(&["new", "--image", &image]);
    umoci(&["unpack", "--rootless", "--image", &image, &bundle]);
    let node = Path::new(&bundle).join("rootfs/opt/node");
    fs::create_dir_all(&node).unwrap();
    fs::write(node.join("node.py"), NODE).unwrap();
    fs::write(node.join("filler"), filler).unwrap();
    umoci(&["repack", "--image", &image, &bundle]);
    let config =
        ["--config.entrypoint", "python3", "--config.cmd", "/opt/node/node.py", "--config.user", "10001:10001"];
    umoci(&[&["config", "--image", &image, "--config.env", "KEPT=yes"][..], &config[..]].concat());
    format!("oci:{image}")
}

fn access(registry: &Registry) -> Access {
    Access {
        login: Some(Login { user: USER.to_owned(), password: PASSWORD.to_owned().into() }),
        plain_http: registry.authority().is_none(),
        authorities: registry.authority(),
        part: 8 << 20,
        ..Access::default()
    }
}

/// An image of this registry, with the right login.
fn image(registry: &Registry, name: &str) -> Image {
    Image { reference: format!("{}/{name}", registry.host()).parse().unwrap(), access: access(registry) }
}

/// The layer of a service with one version.
async fn layer(package: Vec<u8>, folder: &Scratch) -> Layer {
    let mut plan = LayerPlan::default();
    let package = Content::Bytes(package.into());
    ServedDeployment::single("churn", "v1").lay(vec![package], &mut plan).unwrap();
    plan.make(folder.path()).await.unwrap()
}

async fn push(base: &Image, target: &Image, layers: &[Layer], changes: &Changes) -> Result<Pushed, CallError> {
    install_crypto_provider();
    let http = Http::new(HttpSettings::default()).unwrap();
    Build { base, target, layers, changes, platform: &Platform::default() }.push(&http, &|_| {}).await
}

/// An image as another program unpacks it.
pub(crate) struct Unpacked {
    pub(crate) root: String,
    /// How a container of it would be run.
    process: Value,
}

impl Unpacked {
    pub(crate) fn of(registry: &Registry, reference: &str, scratch: &Scratch) -> Self {
        let (layout, bundle) = (scratch.at("pulled"), scratch.at("bundle"));
        registry.skopeo(&format!("docker://{reference}"), &format!("oci:{layout}:it"));
        umoci(&["unpack", "--rootless", "--image", &format!("{layout}:it"), &bundle]);
        let config = fs::read(Path::new(&bundle).join("config.json")).unwrap();
        let config: Value = serde_json::from_slice(&config).unwrap();
        Self { root: format!("{bundle}/rootfs"), process: config["process"].clone() }
    }

    pub(crate) fn read(&self, path: &str) -> Vec<u8> {
        fs::read(format!("{}{path}", self.root)).unwrap()
    }

    fn words(&self, key: &str) -> Vec<String> {
        let all = self.process[key].as_array().unwrap();
        all.iter().map(|word| word.as_str().unwrap().to_owned()).collect()
    }

    fn variables(&self) -> BTreeMap<String, String> {
        let pair = |entry: String| entry.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        self.words("env").into_iter().filter_map(pair).collect()
    }
}
