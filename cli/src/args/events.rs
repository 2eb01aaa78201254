//! The Event Server, and its measure.

use std::net::SocketAddr;
#[cfg(feature = "lab")]
use std::path::PathBuf;

use clap::{Args, Subcommand};

pub(crate) const EVENTS_EXAMPLE: &str = "Example:
  slipway event-server key --label api-nodes > key.txt     # line 1: the key, line 2: what the server is told
  tail -n 1 key.txt > event-keys
  SLIPWAY_EVENTS_KEYS_FILE=event-keys slipway event-server --location ./events
  curl -H \"Authorization: Bearer $(head -n 1 key.txt)\" -H 'Content-Type: application/json' http://127.0.0.1:8090/events -d \\
    '{\"batchId\": \"1\", \"events\": [{\"topic\": \"apinode-query\", \"routingKey\": \"churn\", \"clientEvent\": {\"msgType\": \"prediction-query\"}}]}'";

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct EventServerArgs {
    /// Where to listen [default: events.listen, 127.0.0.1:8090].
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) listen: Option<SocketAddr>,
    /// The folder that events are filed in, or the bucket: s3://BUCKET/PREFIX, az://CONTAINER/PREFIX, gs://BUCKET/PREFIX [default: events.location].
    #[arg(long, value_name = "LOCATION")]
    pub(crate) location: Option<String>,
    /// With a bucket: the folder on this machine's disk where the server notes what it files [default: events.state].
    #[arg(long, value_name = "FOLDER")]
    pub(crate) state: Option<String>,
    #[command(subcommand)]
    pub(crate) command: Option<EventServerCommand>,
}

#[derive(Subcommand)]
pub(crate) enum EventServerCommand {
    /// Makes a key: prints it, this once, and below it the line that goes into events.keys or the file of keys.
    Key {
        /// What the key is called in logs; no two keys may have the same.
        #[arg(long, default_value = "events", value_parser = label)]
        label: String,
        /// Binds it to a topic; may be given several times.
        #[arg(long = "topic", value_name = "TOPIC", value_parser = folder)]
        topics: Vec<String>,
        /// Binds it to a routing key; may be given several times.
        #[arg(long = "routing-key", value_name = "KEY", value_parser = folder)]
        routing_keys: Vec<String>,
    },
}

fn label(text: &str) -> Result<String, String> {
    let sound = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'=' && byte != b',');
    if sound {
        Ok(text.to_owned())
    } else {
        Err("it must have visible ASCII characters alone, without '=' and ','".to_owned())
    }
}

fn folder(text: &str) -> Result<String, String> {
    events::name::folder(text).map_err(str::to_owned)
}

#[cfg(feature = "lab")]
#[derive(Subcommand)]
pub(crate) enum BenchCommand {
    /// How many events a second the Event Server files: a process of its own, clients that send one batch after the other, batches of 1, 10 and 100
    /// events. Beside each, in the same minute, the same bytes appended to one file and confirmed by the disk batch by batch.
    Events {
        /// Clients at once.
        #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1_000))]
        clients: u16,
        /// For so long, each measure.
        #[arg(long, default_value_t = 5, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=600))]
        seconds: u32,
        /// Milliseconds between the starts of two commits; may be given several times [default: 0 and 100].
        #[arg(long = "commit-ms", value_name = "MS", value_parser = clap::value_parser!(u64).range(0..=60_000))]
        paces: Vec<u64>,
        /// Where events are filed: the disk that is measured [default: the system's temporary folder].
        #[arg(long, value_name = "FOLDER")]
        folder: Option<PathBuf>,
    },
}
