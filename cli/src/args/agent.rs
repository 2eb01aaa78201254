//! The agent beside an API node.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Subcommand};

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct AgentArgs {
    /// Where packages lie: a folder that the API node can read. It must be there.
    #[arg(long, env = "SLIPWAY_AGENT_FOLDER", value_name = "FOLDER", required = true)]
    pub(crate) folder: Option<PathBuf>,
    /// SHA-256 of the key that workers send, as `slipway agent new-key` prints it.
    #[arg(long, env = "SLIPWAY_AGENT_KEY_SHA256", hide_env_values = true, value_name = "HEX", required = true)]
    pub(crate) key_sha256: Option<String>,
    /// Where to listen.
    #[arg(long, env = "SLIPWAY_AGENT_LISTEN", default_value = "127.0.0.1:12500", value_name = "ADDRESS:PORT")]
    pub(crate) listen: SocketAddr,
    /// Listens elsewhere than on this machine's own addresses although the agent speaks plain HTTP: who is on the way can read the key and the packages.
    #[arg(long)]
    pub(crate) plain_http: bool,
    /// The largest package, in mebibytes.
    #[arg(long, default_value_t = 16_384, value_name = "MIB")]
    pub(crate) largest: u64,
    /// So much of the disk is left free, in mebibytes.
    #[arg(long, default_value_t = 1_024, value_name = "MIB")]
    pub(crate) keep_free: u64,
    #[command(subcommand)]
    pub(crate) command: Option<AgentCommand>,
}

#[derive(Subcommand)]
pub(crate) enum AgentCommand {
    /// Makes a key: prints it, for the infrastructure's settings, and its SHA-256, for the agent.
    NewKey,
}
