//! `slipway image`: base images, and images built by hand.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::front::FrontPlatform;

const BASE_EXAMPLE: &str = "Example, beside a copy of the slipway binary:
  slipway image base > Dockerfile
  docker build -t registry.example.com/slipway/practice-api-node:1 .";

const BUILD_EXAMPLE: &str = "Example:
  slipway image build --base registry.example.com/slipway/practice-api-node:1 \\
    --service v1.zip --to registry.example.com/team/churn

The login for the registry to push to may stand in SLIPWAY_REGISTRY_USER and SLIPWAY_REGISTRY_PASSWORD. Every other login is
taken from Docker's file of logins, as `docker login` and `skopeo login` write it.";

#[derive(Subcommand)]
pub(crate) enum ImageCommand {
    /// Prints a Dockerfile that makes a base image around the practice API node.
    #[command(after_help = BASE_EXAMPLE)]
    Base {
        /// The image below it.
        #[arg(long, default_value = "debian:bookworm-slim", value_name = "IMAGE")]
        from: String,
    },
    /// Builds an image of a base image and a service's package, without a container engine, and pushes it.
    #[command(after_help = BUILD_EXAMPLE)]
    Build(Box<ImageBuild>),
}

#[derive(Args)]
pub(crate) struct ImageBuild {
    /// The base image: registry, repository, and a tag or digest.
    #[arg(long, value_name = "IMAGE")]
    pub(crate) base: String,
    /// Where the image goes. Without a tag it gets one from its content.
    #[arg(long, value_name = "IMAGE")]
    pub(crate) to: String,
    /// The service's package.
    #[arg(long, value_name = "ZIP")]
    pub(crate) service: PathBuf,
    /// The service that the package must be of [default: whichever it is].
    #[arg(long, value_name = "ID")]
    pub(crate) service_id: Option<String>,
    /// What the node calls the version [default: what the package calls it].
    #[arg(long, value_name = "ID")]
    pub(crate) generation: Option<String>,
    /// Adds a front that speaks this platform's contract, and makes it the image's entrypoint.
    #[arg(long, value_enum, requires = "endpoint")]
    pub(crate) front: Option<FrontPlatform>,
    /// The endpoint behind the front.
    #[arg(long, value_name = "ID")]
    pub(crate) endpoint: Option<String>,
    /// Its type, such as STD_PREDICTION or PY_FUNCTION [default: what the package says].
    #[arg(long, value_name = "TYPE")]
    pub(crate) endpoint_type: Option<String>,
    /// The names of arguments that come by place (Snowflake), parted by commas.
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub(crate) arguments: Vec<String>,
    /// The program that the front is, for the image's platform [default: this one].
    #[arg(long, value_name = "FILE")]
    pub(crate) binary: Option<PathBuf>,
    /// Which of the base image's platforms.
    #[arg(long, default_value = "linux/amd64", value_name = "OS/ARCH")]
    pub(crate) platform: String,
    /// Docker's file of logins [default: config.json in $DOCKER_CONFIG, else in ~/.docker].
    #[arg(long, value_name = "FILE")]
    pub(crate) docker_config: Option<PathBuf>,
    /// Certificates in PEM format that are trusted instead of the machine's.
    #[arg(long, env = "SLIPWAY_CA_FILE", hide_env_values = true, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// Speaks HTTP without TLS to both registries.
    #[arg(long)]
    pub(crate) plain_http: bool,
    /// Writes JSON, and nothing else to standard output.
    #[arg(long)]
    pub(crate) json: bool,
}
