//! The commands of a client: they talk to a Slipway API, and need neither a database nor the server's settings.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{Args, Subcommand};
use clap_complete::Shell;

use super::node::NodeCommand;

const EXIT_CODES: &str = "Exit codes:
  0  done
  1  failed
  2  refused: by the API, or the command line is wrong
  3  timed out waiting; the update goes on
  130, 143  interrupted, terminated; the update goes on unless --cancel-on-interrupt is given";

#[derive(Subcommand)]
pub(crate) enum ClientCommand {
    /// Stores where the API is and a key for it. The key is asked for, or read from standard input: `slipway login URL < key-file`.
    Login(LoginArgs),
    /// Forgets what `login` stored. The key itself goes on working until it is revoked.
    Logout,
    /// Bundles of a published project.
    #[command(subcommand)]
    Bundle(BundleCommand),
    /// Versions of a published API service.
    #[command(subcommand)]
    ServiceVersion(ServiceVersionCommand),
    /// Deployments: which bundle or version on which infrastructure, with which settings.
    #[command(subcommand)]
    Deployment(DeploymentCommand),
    /// Deploys: uploads the bundle or the service's version if it is a file, sets it, and starts an update of the deployment.
    ///
    /// Safe to repeat: an upload of what is there already is fine, and within one attempt of a CI job the same deployment and bundle (or version) mean the
    /// same update.
    #[command(after_help = EXIT_CODES)]
    Deploy(Deploy),
    /// Shows what hooks, steps and node say.
    #[command(after_help = EXIT_CODES)]
    Logs(Logs),
    /// Asks an update to stop. What its steps did so far stands, unless its deployment restores.
    #[command(after_help = EXIT_CODES)]
    Cancel(Cancel),
    /// Puts back what was live before, by an update of its own: what the last successful update before the live one deployed.
    ///
    /// The deployment is set to match, so that its next ordinary update does not undo it.
    #[command(after_help = EXIT_CODES)]
    Restore(Restore),
    /// Nodes that register themselves.
    #[command(subcommand)]
    Node(NodeCommand),
    /// Prints a shell's completions: `source <(slipway completions bash)`.
    Completions {
        /// The shell.
        #[arg(value_enum)]
        shell: Shell,
    },
}

/// Where the API is, and as whom. Without these: what `slipway login` stored. An empty variable, such as a secret that a CI system did not hand
/// out, is none.
#[derive(Args)]
#[command(next_help_heading = "The API")]
pub(crate) struct Connect {
    /// The API's address, such as `https://slipway.example.org`.
    #[arg(long, env = "SLIPWAY_URL", hide_env_values = true, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// A file that holds the API key. The key itself may stand in the variable SLIPWAY_API_KEY, never on the command line.
    #[arg(long, env = "SLIPWAY_API_KEY_FILE", hide_env_values = true, value_name = "FILE")]
    pub(crate) key_file: Option<OsString>,
    /// Certificates in PEM format that are trusted besides those that the system trusts.
    #[arg(long, env = "SLIPWAY_CA_FILE", hide_env_values = true, value_name = "FILE")]
    pub(crate) ca_file: Option<OsString>,
}

#[derive(Args)]
pub(crate) struct LoginArgs {
    /// The API's address; asked for if not given.
    #[arg(env = "SLIPWAY_URL", hide_env_values = true)]
    pub(crate) url: Option<String>,
    /// Certificates in PEM format that are trusted besides those that the system trusts; remembered with the login.
    #[arg(long, env = "SLIPWAY_CA_FILE", hide_env_values = true, value_name = "FILE")]
    pub(crate) ca_file: Option<OsString>,
}

/// How the answer is written.
#[derive(Args, Clone, Copy)]
pub(crate) struct Output {
    /// Writes JSON, one object a line, and nothing else to standard output.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Subcommand)]
pub(crate) enum BundleCommand {
    /// Uploads a bundle. Fine if the same content is there already under its id.
    Upload {
        /// The archive.
        file: PathBuf,
        /// The published project; made if it is not there [default: the project that the bundle was made from].
        #[arg(long, value_name = "KEY")]
        project: Option<String>,
        #[command(flatten)]
        output: Output,
        #[command(flatten)]
        connect: Connect,
    },
    /// Lists a published project's bundles, newest first.
    List {
        /// The published project.
        #[arg(long, value_name = "KEY")]
        project: String,
        #[command(flatten)]
        output: Output,
        #[command(flatten)]
        connect: Connect,
    },
}

#[derive(Subcommand)]
pub(crate) enum ServiceVersionCommand {
    /// Uploads a version. Fine if the same content is there already under its id.
    Upload {
        /// The archive.
        file: PathBuf,
        /// The published service [default: the service that the version was made for].
        #[arg(long, value_name = "ID")]
        service: Option<String>,
        #[command(flatten)]
        output: Output,
        #[command(flatten)]
        connect: Connect,
    },
    /// Lists a published service's versions, newest first.
    List {
        /// The published service.
        #[arg(long, value_name = "ID")]
        service: String,
        #[command(flatten)]
        output: Output,
        #[command(flatten)]
        connect: Connect,
    },
}

#[derive(Subcommand)]
pub(crate) enum DeploymentCommand {
    /// Makes a deployment, of a project (--project, --bundle) or an API service (--service, --service-version). Nothing is deployed by that.
    Create {
        /// Its id.
        id: String,
        /// Where to.
        #[arg(long, value_name = "ID")]
        infrastructure: String,
        /// The published project.
        #[arg(
            long,
            value_name = "KEY",
            requires = "bundle",
            conflicts_with = "service",
            required_unless_present = "service"
        )]
        project: Option<String>,
        /// The bundle's id.
        #[arg(long, value_name = "ID", requires = "project")]
        bundle: Option<String>,
        /// The project key on the node [default: the published project's].
        #[arg(long, value_name = "KEY", requires = "project")]
        deployed_project: Option<String>,
        /// The published service.
        #[arg(long, value_name = "ID", requires = "service_version")]
        service: Option<String>,
        /// Its version.
        #[arg(long, value_name = "ID", requires = "service")]
        service_version: Option<String>,
        /// The service's id on the platform [default: the published service's].
        #[arg(long, value_name = "ID", requires = "service")]
        deployed_service: Option<String>,
        #[command(flatten)]
        settings: SettingsArgs,
        #[command(flatten)]
        output: Output,
        #[command(flatten)]
        connect: Connect,
    },
    /// Changes a deployment's bundle, version or settings: its next update makes it so.
    Update {
        /// Its id.
        id: String,
        /// The id of the bundle, or of the service's version.
        #[arg(long, visible_alias = "service-version", value_name = "ID")]
        bundle: Option<String>,
        /// Refuses if the deployment is not of this version any more: somebody changed it.
        #[arg(long, value_name = "N")]
        expected_version: Option<i64>,
        #[command(flatten)]
        settings: SettingsArgs,
        #[command(flatten)]
        output: Output,
        #[command(flatten)]
        connect: Connect,
    },
    /// Shows a deployment and its newest update.
    Status {
        /// Its id.
        id: String,
        #[command(flatten)]
        output: Output,
        #[command(flatten)]
        connect: Connect,
    },
    /// Lists the deployments that you may see.
    List {
        /// On this infrastructure.
        #[arg(long, value_name = "ID")]
        infrastructure: Option<String>,
        /// Of this published project.
        #[arg(long, value_name = "KEY")]
        project: Option<String>,
        /// On an infrastructure of this stage.
        #[arg(long)]
        stage: Option<String>,
        #[command(flatten)]
        output: Output,
        #[command(flatten)]
        connect: Connect,
    },
}

/// What differs from the defaults.
#[derive(Args)]
pub(crate) struct SettingsArgs {
    /// Settings as JSON, in the shape of DeploymentSettingsInput of the GraphQL schema; `-` reads standard input.
    #[arg(long, value_name = "FILE")]
    pub(crate) settings: Option<PathBuf>,
    /// A connection in the bundle and what it becomes on the node; may be given several times. All together stand in place of those before.
    #[arg(long = "remap", value_name = "SOURCE=TARGET", value_parser = remapping)]
    pub(crate) remap: Vec<(String, String)>,
}

#[derive(Args)]
pub(crate) struct Deploy {
    /// The bundle: a file, which is uploaded, or the id of one that is there.
    #[arg(long, value_name = "FILE or ID", required_unless_present = "service_version")]
    pub(crate) bundle: Option<String>,
    /// For an API service: its version, a file or an id likewise.
    #[arg(long, value_name = "FILE or ID", conflicts_with = "bundle")]
    pub(crate) service_version: Option<String>,
    /// The deployment's id.
    #[arg(long, value_name = "ID")]
    pub(crate) deployment: String,
    /// Makes the deployment on this infrastructure if it is not there.
    #[arg(long, value_name = "ID")]
    pub(crate) infrastructure: Option<String>,
    /// The published project [default: the deployment's, else the one that the bundle was made from].
    #[arg(long, value_name = "KEY", requires = "bundle")]
    pub(crate) project: Option<String>,
    /// The published service [default: the deployment's, else the one that the version was made for].
    #[arg(long, value_name = "ID", requires = "service_version")]
    pub(crate) service: Option<String>,
    #[command(flatten)]
    pub(crate) waiting: Waiting,
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) connect: Connect,
}

/// Whether and how an update is waited for, and what its request is called.
#[derive(Args)]
pub(crate) struct Waiting {
    /// Waits for the update's end, and shows its steps.
    #[arg(long)]
    pub(crate) wait: bool,
    /// Shows what hooks, steps and node say, too.
    #[arg(long, requires = "wait")]
    pub(crate) logs: bool,
    #[command(flatten)]
    pub(crate) patience: Patience,
    /// Cancels the update on Ctrl-C or SIGTERM, and waits until it has stopped.
    #[arg(long, requires = "wait")]
    pub(crate) cancel_on_interrupt: bool,
    /// Names this request: with the same name it is the same update [default: of deployment, bundle, CI run and attempt; without a CI a fresh one].
    #[arg(long, value_name = "TEXT")]
    pub(crate) idempotency_key: Option<String>,
}

/// For how long something is waited for.
#[derive(Args, Clone, Copy)]
pub(crate) struct Patience {
    /// The longest wait: seconds, or with a unit such as 90s, 30m, 2h.
    #[arg(long, default_value = "1h", value_name = "TIME", value_parser = duration)]
    pub(crate) timeout: Duration,
}

#[derive(Args)]
pub(crate) struct Logs {
    /// An update's id, or a deployment's: then its newest update.
    pub(crate) of: String,
    /// Goes on until the update has ended.
    #[arg(long, short)]
    pub(crate) follow: bool,
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) connect: Connect,
}

#[derive(Args)]
pub(crate) struct Cancel {
    /// An update's id, or a deployment's: then the one that is unfinished.
    pub(crate) of: String,
    /// Waits until it has stopped.
    #[arg(long)]
    pub(crate) wait: bool,
    #[command(flatten)]
    pub(crate) patience: Patience,
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) connect: Connect,
}

#[derive(Args)]
pub(crate) struct Restore {
    /// The deployment's id.
    pub(crate) deployment: String,
    /// A successful update of it, whose state is put back [default: what was live before].
    #[arg(long, value_name = "ID")]
    pub(crate) update: Option<String>,
    #[command(flatten)]
    pub(crate) waiting: Waiting,
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) connect: Connect,
}

fn remapping(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=').filter(|(source, target)| !source.is_empty() && !target.is_empty());
    parts.map(|(source, target)| (source.to_owned(), target.to_owned())).ok_or_else(|| "write SOURCE=TARGET".to_owned())
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|each: char| each.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3_600,
        _ => 0,
    };
    let seconds = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    let seconds = seconds.filter(|seconds| (1..=30 * 24 * 3_600).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| "write seconds, or 90s, 30m, 2h: at most 30 days".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        for (text, seconds) in [("90", 90), ("90s", 90), ("30m", 1_800), ("2h", 7_200)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)));
        }
        for wrong in ["", "h", "0", "-1", "1d", "1.5h", "999999999999999999999", "800h"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
