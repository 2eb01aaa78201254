//! `slipway front`: what runs in an image for a cloud.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, ValueEnum};

const EXAMPLE: &str = "Example, as an image's entrypoint; a platform may add words of its own after the semicolon:
  /opt/slipway/bin/slipway front --platform sagemaker --run /opt/node/start --foreground ';'";

/// Whose contract a front speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FrontPlatform {
    /// Amazon SageMaker: GET /ping, POST /invocations, port 8080.
    Sagemaker,
    /// Google Vertex AI: instances and predictions; AIP_HTTP_PORT, AIP_HEALTH_ROUTE and AIP_PREDICT_ROUTE are heeded.
    Vertex,
    /// Azure Machine Learning: GET /liveness and /readiness, POST /score, port 5001.
    Azure,
    /// Snowflake: rows with numbers, POST /predict, port 8080.
    Snowflake,
}

#[derive(Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct FrontArgs {
    /// Whose contract it speaks.
    #[arg(long, value_enum)]
    pub(crate) platform: FrontPlatform,
    /// What is served: service, endpoint, its type and its arguments, unless they are named here.
    #[arg(long, default_value = "/opt/slipway/service/deployment.json", value_name = "FILE")]
    pub(crate) deployment: PathBuf,
    /// The service's id on the node.
    #[arg(long, value_name = "ID")]
    pub(crate) service: Option<String>,
    /// The endpoint's id.
    #[arg(long, value_name = "ID")]
    pub(crate) endpoint: Option<String>,
    /// The endpoint's type, such as STD_PREDICTION or PY_FUNCTION.
    #[arg(long, value_name = "TYPE")]
    pub(crate) endpoint_type: Option<String>,
    /// The names of arguments that come by place, parted by commas.
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub(crate) arguments: Option<Vec<String>>,
    /// The API node.
    #[arg(long, default_value = "http://127.0.0.1:12000", value_name = "URL")]
    pub(crate) upstream: String,
    /// Where to listen [default: all addresses, the platform's port].
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) listen: Option<SocketAddr>,
    /// Where health is asked [default: the platform's].
    #[arg(long, value_name = "PATH", value_parser = route)]
    pub(crate) health_route: Option<String>,
    /// Where Azure asks whether the front itself runs.
    #[arg(long, value_name = "PATH", value_parser = route)]
    pub(crate) liveness_route: Option<String>,
    /// Where queries come [default: the platform's].
    #[arg(long, value_name = "PATH", value_parser = route)]
    pub(crate) predict_route: Option<String>,
    /// The longest time for one request.
    #[arg(long, default_value_t = 60, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub(crate) timeout: u64,
    /// The largest body that is taken.
    #[arg(long, default_value_t = 32, value_name = "MEBIBYTES", value_parser = clap::value_parser!(u16).range(1..=1_024))]
    pub(crate) body_limit: u16,
    /// Requests at once; more are asked to come back.
    #[arg(long, default_value_t = 256, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(crate) at_once: u16,
    /// How long the node may take until it can be queried.
    #[arg(long, default_value_t = 600, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=7_200))]
    pub(crate) start_timeout: u64,
    /// How long running requests may take after SIGTERM, and the node to end after them.
    #[arg(long, default_value_t = 25, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub(crate) drain_timeout: u64,
    /// How long it goes on at least after SIGTERM, with health at 503, so that the platform notices and sends its queries elsewhere.
    #[arg(long, default_value_t = 5, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(0..=600))]
    pub(crate) notice_timeout: u64,
    /// Starts the node with this command, and ends with it. The command ends at a lone `;`.
    #[arg(long, num_args = 1.., allow_hyphen_values = true, value_terminator = ";", value_name = "COMMAND")]
    pub(crate) run: Vec<String>,
    /// What a platform adds to the command, such as SageMaker's `serve`. It means nothing here.
    #[arg(hide = true)]
    pub(crate) added: Vec<String>,
}

/// A path from the root.
fn route(text: &str) -> Result<String, String> {
    let fine = text.starts_with('/') && text.len() <= 500 && !text.contains(['?', '#']) && text.is_ascii();
    if fine { Ok(text.to_owned()) } else { Err("a path that begins with / and has no query".to_owned()) }
}
