//! `slipway node`: nodes that register themselves.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{Args, Subcommand};

use super::client::{Connect, Output, duration};

const TOKEN_EXAMPLE: &str = "Example, on an administrator's machine:
  slipway node token --infrastructure production --expires 30m > token

Exit codes: 0 done, 1 failed, 2 refused.";

const ENROLL_EXAMPLE: &str = "Example, in a node's start-up script:
  export SLIPWAY_ENROLMENT_TOKEN SLIPWAY_NODE_ADMIN_KEY
  slipway node enroll --url https://slipway.example.org --node-id automation-1 \\
    --node-url https://automation-1.example.org --credential-file /var/lib/slipway/credential

Exit codes: 0 done, 1 failed, 2 refused.";

const ROTATE_EXAMPLE: &str = "Example, after the node's administrator key was replaced:
  slipway node rotate --url https://slipway.example.org --node-id automation-1 \\
    --node-url https://automation-1.example.org --admin-key-file new-key \\
    --credential-file /var/lib/slipway/credential

Exit codes: 0 done, 1 failed, 2 refused.";

const REMOVE_EXAMPLE: &str = "Example, when the machine is taken away:
  slipway node remove --url https://slipway.example.org --credential-file /var/lib/slipway/credential

Exit codes: 0 done, 1 failed, 2 refused.";

#[derive(Subcommand)]
pub(crate) enum NodeCommand {
    /// Makes a one-time token with which a node registers itself, and prints it, this once. For an administrator of the infrastructure.
    #[command(after_help = TOKEN_EXAMPLE)]
    Token {
        /// The infrastructure.
        #[arg(long, value_name = "ID")]
        infrastructure: String,
        /// The node that it is for, of a multi-node infrastructure; it need not be there yet [default: as the node calls itself].
        #[arg(long, value_name = "NAME")]
        node: Option<String>,
        /// How long it can be used, in whole minutes: with a unit such as 30m, 2h, at most 7 days.
        #[arg(long, default_value = "60m", value_name = "TIME", value_parser = duration)]
        expires: Duration,
        #[command(flatten)]
        output: Output,
        #[command(flatten)]
        connect: Connect,
    },
    /// Registers the node on which this runs, with a one-time token. Needs no login.
    ///
    /// The node is made, or takes the place of the one of its name, as managed: its connection, auditing and logging are read-only by hand from then
    /// on. With the credential that this writes, the node changes them itself (`rotate`), or leaves (`remove`).
    #[command(after_help = ENROLL_EXAMPLE)]
    Enroll {
        /// A file that holds the one-time token. It may stand in the variable SLIPWAY_ENROLMENT_TOKEN instead, never on the command line.
        #[arg(long, env = "SLIPWAY_ENROLMENT_TOKEN_FILE", hide_env_values = true, value_name = "FILE")]
        token_file: Option<OsString>,
        #[command(flatten)]
        offer: Offer,
        #[command(flatten)]
        door: Door,
        #[command(flatten)]
        output: Output,
    },
    /// Changes what the node said when it registered itself: all of it takes the place of what was there. The credential is replaced, too.
    #[command(after_help = ROTATE_EXAMPLE)]
    Rotate {
        #[command(flatten)]
        offer: Offer,
        #[command(flatten)]
        door: Door,
        #[command(flatten)]
        output: Output,
    },
    /// Takes the node away, with its key. The credential file is deleted.
    #[command(after_help = REMOVE_EXAMPLE)]
    Remove {
        #[command(flatten)]
        door: Door,
        #[command(flatten)]
        output: Output,
    },
}

/// What a node says of itself.
#[derive(Args)]
pub(crate) struct Offer {
    /// The node's name for itself.
    #[arg(long, value_name = "ID")]
    pub(crate) node_id: String,
    /// Where Slipway reaches the node.
    #[arg(long, value_name = "URL")]
    pub(crate) node_url: String,
    /// What people open in a browser [default: the node's URL].
    #[arg(long, value_name = "URL")]
    pub(crate) external_url: Option<String>,
    /// Slipway accepts any certificate of the node.
    #[arg(long)]
    pub(crate) trust_all_certificates: bool,
    /// Where the node sends its audit events: a file with a JSON object, kept as it is [default: left as it was].
    #[arg(long, value_name = "FILE")]
    pub(crate) auditing: Option<PathBuf>,
    /// Where the node sends its logs, likewise.
    #[arg(long, value_name = "FILE")]
    pub(crate) logging: Option<PathBuf>,
    /// A file that holds the key of an administrator of the node. It may stand in the variable SLIPWAY_NODE_ADMIN_KEY instead, never on the command
    /// line.
    #[arg(long, env = "SLIPWAY_NODE_ADMIN_KEY_FILE", hide_env_values = true, value_name = "FILE")]
    pub(crate) admin_key_file: Option<OsString>,
}

/// Where the API is, and where the node keeps its credential for it.
#[derive(Args)]
pub(crate) struct Door {
    /// Where the node keeps its credential: written with mode 0600, replaced whole or not at all.
    #[arg(long, env = "SLIPWAY_NODE_CREDENTIAL_FILE", hide_env_values = true, value_name = "FILE")]
    pub(crate) credential_file: PathBuf,
    /// The API's address, such as `https://slipway.example.org`.
    #[arg(long, env = "SLIPWAY_URL", hide_env_values = true, value_name = "URL", help_heading = "The API")]
    pub(crate) url: String,
    /// Certificates in PEM format that are trusted besides those that the system trusts.
    #[arg(long, env = "SLIPWAY_CA_FILE", hide_env_values = true, value_name = "FILE", help_heading = "The API")]
    pub(crate) ca_file: Option<OsString>,
}
