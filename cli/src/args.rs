//! The command line.

mod agent;
mod client;
mod events;
mod front;
mod image;
mod node;
mod sandbox;

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand};
use serde_json::json;

pub(crate) use self::{agent::*, client::*, events::*, front::*, image::*, node::*, sandbox::*};

/// Slipway deploys data projects: it takes a bundle and makes an infrastructure run it, safely, repeatably and under the identity that
/// policy demands.
#[derive(Parser)]
#[command(name = "slipway", version, about, max_term_width = 100)]
pub(crate) struct Cli {
    /// A file of settings; those that it does not name keep their defaults (see `slipway config`).
    #[arg(long, global = true, env = "SLIPWAY_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Ends the process as the command line's error asks. Whoever asked for JSON reads in JSON what was wrong.
pub(crate) fn refuse(error: &clap::Error) -> ! {
    let asked = std::env::args_os().skip(1).take_while(|each| each != "--").any(|each| each == "--json");
    if asked && error.use_stderr() {
        let text = error.render().to_string();
        let message = text.split("\n\n").next().unwrap_or_default();
        let message = message.trim_start_matches("error: ").split_whitespace().collect::<Vec<_>>().join(" ");
        let exit = error.exit_code();
        let told =
            json!({ "type": "error", "code": "BAD_REQUEST", "message": message, "field": null, "exitCode": exit });
        // Whoever reads it may have gone; what follows goes to standard error.
        drop(crate::commands::say_json(&told));
    }
    error.exit()
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Everything in one process: SQLite, a queue in memory, API and worker. For one team, or to try it out.
    Dev(Dev),
    /// Shows one deployment from end to end on a practice node, then stays up to be played with.
    Demo(Demo),
    /// Serves GraphQL. Any number of these may run behind a load balancer.
    Api(Api),
    /// Runs updates. Start another one, on any machine, and it helps; stop any one, and nothing is lost.
    Worker(WorkerArgs),
    /// Takes query logs from API nodes, and files them by topic, routing key and hour; durable before it answers.
    ///
    /// Several may share one folder. docs/EVENT-SERVER.md says what they take, and what durable means.
    #[command(after_help = EVENTS_EXAMPLE)]
    EventServer(EventServerArgs),
    #[command(flatten)]
    Client(ClientCommand),
    /// Brings the database's schema up to date. Safe from several processes at once.
    Migrate,
    /// Works straight on the database: for the first steps, and for emergencies.
    #[command(subcommand)]
    Admin(Admin),
    /// The master key, and the secrets that it seals.
    #[command(subcommand)]
    Secrets(Secrets),
    /// The audit: every change that was made or refused, chained by hashes.
    #[command(subcommand)]
    Audit(Audit),
    /// Prints all settings with their defaults.
    Config,
    /// Prints the GraphQL schema.
    Schema,
    /// Serves a practice Automation node, or API node, that speaks Dataiku's public API, for trying things out.
    ///
    /// It can be told to fail, and what it was asked can be read: see docs/SANDBOX.md for /sandbox/faults, /sandbox/calls and /sandbox/state.
    Sandbox(Sandbox),
    /// Takes packages beside an API node, whose own API takes no upload: see docs/targets/STATIC.md.
    Agent(AgentArgs),
    /// Kills it, again and again, while it works: real processes, servers and hooks on this machine, updates requested all the while. At the end,
    /// a table of promises and whether they were kept; exit code 1 if one was not. Needs PostgreSQL, Redis and Python. `backlog` and `flood` load
    /// it instead.
    #[cfg(feature = "lab")]
    Soak(Soak),
    /// Proves the engine in virtual time: workers that are killed, paused and cut off, lost bells, a failing database, all drawn from a seed.
    ///
    /// Each seed is one small world: two to four workers, a few runs that share deployments and slots, and faults at any await. The real engine
    /// and the real runner drive the runs, over rows in memory that follow the same rules as the database. An independent checker then judges
    /// the history: every accepted run ended, no recorded step redone, no write from a stale epoch, never more hooks than the limit, slots in
    /// order of tickets, runs of one deployment in order, cancelled runs stop. The same seed gives the same trace. Exit code 1 when a promise
    /// was broken.
    #[cfg(feature = "lab")]
    Simulate(Simulate),
    /// Measures parts of it on this machine.
    #[cfg(feature = "lab")]
    #[command(subcommand)]
    Bench(BenchCommand),
    /// Tries hooks out.
    #[cfg(feature = "lab")]
    #[command(subcommand)]
    Hook(HookCommand),
    /// Images of services: what a deployment to Kubernetes or a cloud builds, by hand.
    #[command(subcommand)]
    Image(ImageCommand),
    /// Speaks a cloud's container contract before an API node: the entrypoint of an image for SageMaker, Vertex AI, Azure ML or Snowflake.
    Front(FrontArgs),
    /// Supervises one hook. Started by a worker, not by people.
    #[command(hide = true)]
    HookExec,
    /// Supervises one copy command. Started by a worker, not by people.
    #[command(hide = true)]
    CopyExec {
        /// The program and its arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
}

#[derive(Args)]
pub(crate) struct Dev {
    /// Where the database, packages and the master key lie; made if it is not there.
    #[arg(long, default_value = "./.slipway", value_name = "FOLDER")]
    pub(crate) data_dir: PathBuf,
    /// Where to listen [default: api.listen, 127.0.0.1:8080].
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) listen: Option<SocketAddr>,
}

#[derive(Args)]
pub(crate) struct Demo {
    /// Ends after the receipt, with exit code 0 if the update succeeded and 1 if not.
    #[arg(long)]
    pub(crate) exit: bool,
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS:PORT")]
    pub(crate) listen: SocketAddr,
}

#[derive(Args)]
pub(crate) struct Api {
    /// Where to listen [default: api.listen, 127.0.0.1:8080].
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) listen: Option<SocketAddr>,
}

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct WorkerArgs {
    /// Where to serve /healthz, /readyz and /metrics [default: worker.listen, 127.0.0.1:8081].
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) listen: Option<SocketAddr>,
    /// How long steps under way may take after SIGTERM, in seconds [default: worker.drain_ms, 300 s].
    #[arg(long, value_name = "SECONDS")]
    pub(crate) drain_timeout: Option<u64>,
    #[command(subcommand)]
    pub(crate) command: Option<WorkerCommand>,
}

#[derive(Subcommand)]
pub(crate) enum WorkerCommand {
    /// Asks a worker that runs somewhere to drain, straight at the database: it takes nothing new, hands its updates over, and ends.
    Drain {
        /// Its name or its id, as `workers` in GraphQL lists them.
        worker: String,
    },
}

#[cfg(feature = "lab")]
#[derive(Args)]
pub(crate) struct Simulate {
    /// How many seeds.
    #[arg(long, default_value_t = 1_000, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1, value_name = "SEED")]
    pub(crate) seed: u64,
    /// Switches one check of the rows off, to see that it is missed: epoch, journal, slots or order.
    #[arg(long = "break", value_name = "CHECK")]
    pub(crate) broken: Option<lab::rows::Break>,
    /// Runs the one seed and prints who did what, at which virtual second.
    #[arg(long, conflicts_with = "seeds")]
    pub(crate) trace: bool,
    /// How many threads [default: one a core].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1_024))]
    pub(crate) threads: Option<u16>,
}

#[cfg(feature = "lab")]
#[derive(Subcommand)]
pub(crate) enum HookCommand {
    /// Runs a hook against a practice node, and shows what it says and whom it calls. A proxy stands for everybody but the node: it answers plain
    /// HTTP calls with `{}`, and refuses https. Clients that heed no `http_proxy` go past it.
    ///
    /// With --crash-between it is killed after each of its effects and run again, as after the loss of a worker, with what it called twice. Exit
    /// code 1 if it did not end well, may not be run again as it is, or not all could be tried.
    Test(HookTest),
}

#[cfg(feature = "lab")]
#[derive(Args)]
pub(crate) struct HookTest {
    /// The hook: Python source with a function `execute`.
    pub(crate) file: PathBuf,
    /// Kills it after each call that asks for an effect, and runs it again, each time in a new world.
    #[arg(long)]
    pub(crate) crash_between: bool,
    /// As a hook of which phase.
    #[arg(long, value_enum, default_value_t = HookPhase::Post)]
    pub(crate) phase: HookPhase,
    /// The bundle that is live on the node, with a manifest [default: a sample project CHURN].
    #[arg(long, value_name = "ZIP")]
    pub(crate) bundle: Option<PathBuf>,
    /// A declared code env, or the path of an interpreter [default: worker.hooks.python].
    #[arg(long, value_name = "NAME or PATH")]
    pub(crate) python: Option<String>,
    /// The most points at which it is killed.
    #[arg(long, default_value_t = 1_000, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) points: u16,
    /// Each run's deadline.
    #[arg(long, default_value_t = 60, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=21_600))]
    pub(crate) deadline: u64,
}

/// When a hook is run.
#[cfg(feature = "lab")]
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum HookPhase {
    /// Before the deployment.
    Pre,
    /// After it.
    Post,
}

#[cfg(feature = "lab")]
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Soak {
    /// For how long faults are made; what was requested then still gets its time to end.
    #[arg(long, default_value_t = 5.0, value_name = "MINUTES", value_parser = minutes)]
    pub(crate) minutes: f64,
    /// What the faults and their order are drawn from; a random one if not given. When they strike depends on the machine, too.
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Worker processes, 2 to 64; the embedded size has one process.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(2..=64))]
    pub(crate) workers: u16,
    /// Updates requested in a second.
    #[arg(long, default_value_t = 1.0, value_parser = rate)]
    pub(crate) rate: f64,
    /// An API, workers, PostgreSQL and Redis; or one process on SQLite.
    #[arg(long, value_enum, default_value_t = SoakSize::Fleet)]
    pub(crate) size: SoakSize,
    /// Writes what was seen to this file, one JSON record a line.
    #[arg(long, value_name = "FILE")]
    pub(crate) history: Option<PathBuf>,
    /// Runs nothing: checks a history that was written before.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["history", "seed", "minutes", "workers", "rate", "size"])]
    pub(crate) check: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Option<SoakCommand>,
}

#[cfg(feature = "lab")]
#[derive(Subcommand)]
pub(crate) enum SoakCommand {
    /// A long line of updates: prints what a look at it, a claim, a sweep and the metrics cost with a short line and with a long one, and what Redis
    /// and the processes keep of it. Exit code 1 if more messages wait than may, if Redis keeps something of what has ended, or if an update is lost.
    Backlog {
        /// How many updates wait.
        #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(i64).range(10..=10_000_000))]
        runs: i64,
        /// Updates that really run, before there is a line, and again with it.
        #[arg(long, default_value_t = 300)]
        updates: usize,
        /// An API, a worker, PostgreSQL and Redis; or one process on SQLite.
        #[arg(long, value_enum, default_value_t = SoakSize::Fleet)]
        size: SoakSize,
    },
    /// A flood of requests for updates: prints how many were accepted and refused, how soon, what memory the processes used, and what became of
    /// those that were accepted. Exit code 1 if one is lost, if an answer is another one than 429, or if memory grew beyond what the bounds allow.
    Flood {
        /// Requests in a second.
        #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        rate: u32,
        /// For so long.
        #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=3_600))]
        seconds: u32,
        /// Worker processes.
        #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
        workers: u16,
        /// An API, workers, PostgreSQL and Redis; or one process on SQLite.
        #[arg(long, value_enum, default_value_t = SoakSize::Fleet)]
        size: SoakSize,
    },
}

#[cfg(feature = "lab")]
fn minutes(text: &str) -> Result<f64, String> {
    within(text, 0.1, 30.0 * 24.0 * 60.0)
}

#[cfg(feature = "lab")]
fn rate(text: &str) -> Result<f64, String> {
    within(text, 0.1, 1_000.0)
}

#[cfg(feature = "lab")]
fn within(text: &str, least: f64, most: f64) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| format!("it must be a number from {least} to {most}"))
}

#[cfg(feature = "lab")]
#[derive(Clone, Copy, clap::ValueEnum)]
pub(crate) enum SoakSize {
    /// One process on SQLite.
    Embedded,
    /// An API, workers, PostgreSQL and Redis.
    Fleet,
}

#[derive(Subcommand)]
pub(crate) enum Admin {
    /// People and technical accounts.
    #[command(subcommand)]
    User(AdminUser),
    /// API keys.
    #[command(subcommand)]
    Key(AdminKey),
    /// Groups: rights are given to groups alone. Members of `administrators` may do everything.
    #[command(subcommand)]
    Group(AdminGroup),
}

#[derive(Subcommand)]
pub(crate) enum AdminUser {
    /// Makes a user.
    Create {
        /// The login; the same on every node.
        login: String,
        /// What people read.
        #[arg(long)]
        display_name: Option<String>,
        /// A group to be in; may be given several times.
        #[arg(long = "group", value_name = "GROUP")]
        groups: Vec<String>,
        /// For a machine, such as a CI system: only global administrators make keys for it.
        #[arg(long)]
        technical: bool,
    },
    /// Lets a user in again.
    Enable {
        /// The login.
        login: String,
    },
    /// Keeps a user out; its keys are dead at once.
    Disable {
        /// The login.
        login: String,
    },
    /// Deletes a user with its keys.
    Delete {
        /// The login.
        login: String,
    },
}

#[derive(Subcommand)]
pub(crate) enum AdminKey {
    /// Makes a key and prints it, this once.
    Create {
        /// Whom it acts as.
        #[arg(long, value_name = "LOGIN")]
        user: String,
        /// What it is for.
        #[arg(long, default_value = "made by slipway admin")]
        label: String,
    },
}

#[derive(Subcommand)]
pub(crate) enum AdminGroup {
    /// Makes a group.
    Create {
        /// Its name.
        name: String,
        /// What it is for.
        #[arg(long, default_value = "")]
        description: String,
    },
    /// Deletes a group.
    Delete {
        /// Its name.
        name: String,
    },
    /// Puts a user into a group.
    Add {
        /// The group.
        group: String,
        /// The login.
        login: String,
    },
    /// Takes a user out of a group.
    Remove {
        /// The group.
        group: String,
        /// The login.
        login: String,
    },
}

#[derive(Subcommand)]
pub(crate) enum Audit {
    /// Checks that no record was changed, removed or put in between, straight at the database. Exit code 1 if one was.
    ///
    /// It prints the newest record's number and hash, the head. The database alone can't tell when records were cut off at the end together with the
    /// head: keep the head elsewhere, and name it at the next check.
    Verify {
        /// A head that was printed before, and must still be there.
        #[arg(long, value_name = "NUMBER:HASH")]
        head: Option<String>,
    },
    /// Prints all records as JSON, one a line, oldest first.
    Export {
        /// Only those after this number.
        #[arg(long, default_value_t = 0, value_name = "NUMBER")]
        after: i64,
    },
}

#[derive(Subcommand)]
pub(crate) enum Secrets {
    /// Makes a master key in a new file of mode 0600.
    GenerateKey {
        /// The file; it must not be there yet.
        file: PathBuf,
    },
    /// Puts a new key first in the master key file; then run `rotate`, and remove the old line when it says so.
    NewKey,
    /// Seals every secret anew with the first key of the master key file.
    Rotate,
}
