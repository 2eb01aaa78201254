//! The practice nodes.

use std::{net::SocketAddr, path::PathBuf};

use clap::Args;

/// The administrator key of a node that nobody gave one.
pub(crate) const PRACTICE_KEY: &str = "practice-admin-key";

#[derive(Args)]
pub(crate) struct Sandbox {
    /// Serves an API node instead: its admin API, its query API and its probe.
    #[arg(long)]
    pub(crate) api_node: bool,
    /// Where to listen [default: 127.0.0.1:11200; an API node, 127.0.0.1:12000].
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) listen: Option<SocketAddr>,
    /// The administrator key that the node accepts.
    #[arg(
        long,
        env = "SLIPWAY_PRACTICE_ADMIN_KEY",
        hide_env_values = true,
        default_value = PRACTICE_KEY,
        value_name = "KEY"
    )]
    pub(crate) admin_key: String,
    /// A folder that an API node may import service versions from. Once for each folder.
    #[arg(long, requires = "api_node", value_name = "FOLDER")]
    pub(crate) packages: Vec<PathBuf>,
    /// A service version that an API node serves from the start, and the part of its service's queries that it answers (all, if not given).
    /// Once for each version.
    #[arg(long = "serve-package", requires = "api_node", value_name = "FILE[:PROBABILITY]", value_parser = served)]
    pub(crate) served: Vec<Served>,
    /// A folder with `deployment.json` and service versions, as images have it: all in it is served from the start.
    #[arg(long, requires = "api_node", conflicts_with = "served", value_name = "FOLDER")]
    pub(crate) serve_folder: Option<PathBuf>,
}

/// A service version, and the part of the queries that it answers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Served {
    pub(crate) file: PathBuf,
    pub(crate) proba: f64,
}

/// What stands after the last colon is a probability if it is a number: a file may have colons in its name, too.
fn served(text: &str) -> Result<Served, String> {
    let (file, proba) = match text.rsplit_once(':').map(|(file, proba)| (file, proba.parse::<f64>())) {
        Some((file, Ok(proba))) => (file, proba),
        _ => (text, 1.0),
    };
    if file.is_empty() {
        return Err("no file is named".to_owned());
    }
    if !(0.0..=1.0).contains(&proba) {
        return Err("a probability is from 0 to 1".to_owned());
    }
    Ok(Served { file: file.into(), proba })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probability_may_follow_the_file() {
        for (text, file, proba) in
            [("/a/v1.zip", "/a/v1.zip", 1.0), ("v1.zip:0.25", "v1.zip", 0.25), ("/a:b/v1.zip", "/a:b/v1.zip", 1.0)]
        {
            assert_eq!(served(text), Ok(Served { file: file.into(), proba }));
        }
        for wrong in ["", ":0.5", "v1.zip:2", "v1.zip:-0.1", "v1.zip:NaN"] {
            assert!(served(wrong).is_err(), "{wrong}");
        }
    }
}
