//! The configuration: the commented defaults in the binary, then a file, then the environment. An unknown key is refused by name.

use std::{net::SocketAddr, path::Path, time::Duration};

use deployer::drift::DriftSettings;
use engine::{
    queue::{Redis, RedisTls},
    runs::retain::Retention,
};
use serde::Deserialize;
use targets::{
    http::{BlockList, HttpSettings},
    tools::HostSettings,
};
use toml::{Table, Value};
use worker::WorkerSettings;

use crate::failure::Failure;

/// The defaults, with their comments.
pub(crate) const DEFAULTS: &str = include_str!("../../config.default.toml");

/// Variables of their own that are no settings.
const OTHERS: &[&str] = &[
    "SLIPWAY_CONFIG",
    "SLIPWAY_MASTER_KEY",
    "SLIPWAY_ADMIN_KEY",
    "SLIPWAY_KEY",
    // Of a client's commands.
    "SLIPWAY_URL",
    "SLIPWAY_API_KEY",
    "SLIPWAY_API_KEY_FILE",
    "SLIPWAY_CA_FILE",
    // Of the practice nodes.
    "SLIPWAY_PRACTICE_ADMIN_KEY",
    // Of a service's container.
    "SLIPWAY_SERVICE_KEYS",
    "SLIPWAY_AUDIT_KEY",
    // The agent beside an API node, which reads no settings.
    "SLIPWAY_AGENT_FOLDER",
    "SLIPWAY_AGENT_KEY_SHA256",
    "SLIPWAY_AGENT_LISTEN",
];

// No `Debug`: the addresses of the database and the queue hold passwords.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) database: Database,
    pub(crate) queue: Queue,
    pub(crate) packages: Packages,
    pub(crate) secrets: Secrets,
    pub(crate) nodes: Nodes,
    pub(crate) targets: HostSettings,
    pub(crate) api: Listen,
    pub(crate) http: api::Settings,
    pub(crate) worker: WorkerTable,
    pub(crate) events: events::Settings,
    pub(crate) retention: Retention,
    pub(crate) drift: DriftSettings,
    pub(crate) log: Log,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Database {
    pub(crate) url: String,
    pub(crate) connections: u32,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Queue {
    pub(crate) redis_url: String,
    pub(crate) ca_file: String,
    pub(crate) client_certificate_file: String,
    pub(crate) client_key_file: String,
    pub(crate) prefix: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Packages {
    pub(crate) location: String,
    pub(crate) staging: String,
    pub(crate) largest: u64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Secrets {
    pub(crate) master_key_file: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nodes {
    blocked: Vec<String>,
    connect_timeout_ms: u64,
    call_timeout_ms: u64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Listen {
    pub(crate) listen: SocketAddr,
}

/// The worker's table: its settings, and where it serves its health.
#[derive(Clone, Debug)]
pub(crate) struct WorkerTable {
    pub(crate) listen: SocketAddr,
    pub(crate) settings: WorkerSettings,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Log {
    pub(crate) format: LogFormat,
    pub(crate) filter: String,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    Text,
    Json,
}

impl<'de> Deserialize<'de> for WorkerTable {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let mut table = Table::deserialize(deserializer)?;
        let listen = table.remove("listen").ok_or_else(|| D::Error::missing_field("listen"))?;
        let listen = listen
            .try_into()
            .map_err(|_| D::Error::custom("listen must be an address with a port, such as 127.0.0.1:8081"))?;
        // Hooks get a variable only when it says something.
        if let Some(Value::Table(hooks)) = table.get_mut("hooks") {
            hooks.retain(|key, value| !(key.ends_with("_proxy") || key == "ca_bundle") || value.as_str() != Some(""));
        }
        let settings = serde_path_to_error::deserialize(Value::Table(table)).map_err(|error| {
            let (path, problem) = (error.path().to_string(), error.into_inner());
            D::Error::custom(format!("{path}: {}", problem.message()))
        })?;
        Ok(Self { listen, settings })
    }
}

impl Config {
    /// Reads the defaults, then `file`, then `environment`.
    pub(crate) fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Failure> {
        let mut table: Table =
            DEFAULTS.parse().map_err(|error| Failure::new("CONFIG_INVALID", format!("the defaults: {error}")))?;
        let defaults = table.clone();
        if let Some(path) = file {
            let name = path.display();
            let text = std::fs::read_to_string(path)
                .map_err(|error| Failure::new("CONFIG_UNREADABLE", format!("{name}: {error}")))?;
            let over: Table = text.parse().map_err(|error: toml::de::Error| {
                // Where and what, not the line itself: it may hold a password.
                let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].lines().count().max(1));
                Failure::new("CONFIG_INVALID", format!("{name}, line {line}: {}", error.message()))
            })?;
            merge(&mut table, over, &defaults, "")
                .and_then(|()| typed(&table).map(drop))
                .map_err(|problem| Failure::new("CONFIG_INVALID", format!("{name}: {problem}")))?;
        }
        for (variable, value) in environment {
            if variable.starts_with("SLIPWAY_") && !OTHERS.contains(&variable.as_str()) {
                set(&mut table, &variable, &value)?;
                typed(&table).map_err(|problem| Failure::new("CONFIG_INVALID", format!("{variable}: {problem}")))?;
            }
        }
        let config = typed(&table).map_err(|problem| Failure::new("CONFIG_INVALID", problem))?;
        config.check()?;
        Ok(config)
    }

    /// What the types do not say. All of it is looked at before anything is made.
    fn check(&self) -> Result<(), Failure> {
        let invalid = |problem: &str| Err(Failure::new("CONFIG_INVALID", problem));
        let worker = &self.worker.settings;
        if worker.seats == 0 {
            return invalid("worker.seats must be 1 or more: a worker without seats runs nothing.");
        }
        if worker.sweep_ms == 0 {
            return invalid("worker.sweep_ms must be 1 or more.");
        }
        if !worker.lease.is_sound() {
            return invalid(
                "worker.lease: twice heartbeat_ms must be below hook_grace_ms, and hook_grace_ms below lease_ms. A heartbeat may be late once, and a \
                 hook must be dead before its slot is given away.",
            );
        }
        let url = &worker.hooks.deployer_url;
        if !url.is_empty() && crate::login::address(url).is_err() {
            return invalid(
                "worker.hooks.deployer_url must be where hooks reach the API: http or https, a host, nothing after the path, no user and no \
                 password. Such as \"https://slipway.example.org\".",
            );
        }
        self.nodes.http().map(drop)
    }
}

/// A table as settings, or which key is wrong and how.
fn typed(table: &Table) -> Result<Config, String> {
    serde_path_to_error::deserialize(Value::Table(table.clone())).map_err(|error| {
        let (path, problem) = (error.path().to_string(), error.into_inner());
        format!("{path}: {}", problem.message())
    })
}

/// What a value like this default must be, if `value` is not.
fn wanted(default: Option<&Value>, value: &Value) -> Option<&'static str> {
    match (default, value) {
        (Some(Value::Integer(_)), Value::Integer(0..))
        | (Some(Value::Boolean(_)), Value::Boolean(_))
        | (Some(Value::String(_)) | None, Value::String(_)) => None,
        (Some(Value::Array(_)), Value::Array(items)) if items.iter().all(Value::is_str) => None,
        (Some(Value::Integer(_)), _) => Some("a whole number, 0 or more"),
        (Some(Value::Boolean(_)), _) => Some("true or false"),
        (Some(Value::Array(_)), _) => Some("a list of texts, such as [\"one\", \"two\"]"),
        _ => Some("a text in quotes"),
    }
}

impl Queue {
    /// Where Redis is, and its certificates; None when the queue lives in the process.
    pub(crate) fn redis(&self) -> Result<Option<Redis>, Failure> {
        let wrong = |problem: String| Failure::new("CONFIG_INVALID", problem);
        if self.redis_url.is_empty() {
            return Ok(None);
        }
        let read = |setting: &str, file: &str| {
            if file.is_empty() {
                return Ok(None);
            }
            let read = std::fs::read(file);
            read.map(Some)
                .map_err(|error| Failure::new("CONFIG_UNREADABLE", format!("queue.{setting}: {file}: {error}")))
        };
        let ca = read("ca_file", &self.ca_file)?;
        let certificate = read("client_certificate_file", &self.client_certificate_file)?;
        let client = match (certificate, read("client_key_file", &self.client_key_file)?) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => {
                let both = "queue.client_certificate_file and queue.client_key_file go together: one of them is empty.";
                return Err(wrong(both.to_owned()));
            }
        };
        Redis::new(&self.redis_url, &RedisTls { ca, client }).map(Some).map_err(|error| wrong(error.to_string()))
    }
}

impl Nodes {
    pub(crate) fn http(&self) -> Result<HttpSettings, Failure> {
        let blocked = BlockList::parse(self.blocked.iter().map(String::as_str))
            .map_err(|error| Failure::new("CONFIG_INVALID", format!("nodes.blocked: {error}")))?;
        Ok(HttpSettings {
            blocked,
            connect_timeout: Duration::from_millis(self.connect_timeout_ms),
            call_timeout: Duration::from_millis(self.call_timeout_ms),
            ..HttpSettings::default()
        })
    }
}

/// Tables whose keys an operator chooses.
const FREE: [&str; 3] = ["worker.hooks.code_envs", "targets.copy_commands", "targets.shared_folders"];

/// Lays `over` onto `base`; a key that the defaults do not have is a problem, but for free tables.
fn merge(base: &mut Table, over: Table, defaults: &Table, path: &str) -> Result<(), String> {
    for (key, value) in over {
        let name = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let free = FREE.contains(&path);
        let lists = path == "targets.copy_commands";
        match (defaults.get(&key), value) {
            (None, _) if !free => {
                return Err(format!("there is no setting `{name}`; config.default.toml has them all"));
            }
            (Some(Value::Table(inside)), Value::Table(over)) => {
                let target = base.entry(key).or_insert_with(|| Value::Table(Table::new()));
                if let Value::Table(target) = target {
                    merge(target, over, inside, &name)?;
                }
            }
            (Some(Value::Table(_)), _) => {
                return Err(format!("`{name}` is a table: write [{name}], and its keys below"));
            }
            (None, Value::Array(items)) if lists && items.iter().all(Value::is_str) => {
                base.insert(key, Value::Array(items));
            }
            (None, _) if lists => return Err(format!("`{name}` must be a program and its arguments, a list of texts")),
            (default, value) => {
                if let Some(wanted) = wanted(default, &value) {
                    return Err(format!("`{name}` must be {wanted}"));
                }
                base.insert(key, value);
            }
        }
    }
    Ok(())
}

/// Sets what a variable names: the path of a setting, joined by underscores.
fn set(table: &mut Table, variable: &str, text: &str) -> Result<(), Failure> {
    let wanted = variable.trim_start_matches("SLIPWAY_").to_lowercase();
    let Some(slot) = find(table, &wanted) else {
        let problem = format!("there is no setting for the variable {variable}; config.default.toml has them all");
        return Err(Failure::new("CONFIG_INVALID", problem));
    };
    let invalid = |kind: &str| Failure::new("CONFIG_INVALID", format!("{variable} must be {kind}"));
    *slot = match slot {
        Value::Integer(_) => Value::Integer(
            text.trim()
                .parse()
                .ok()
                .filter(|number| *number >= 0)
                .ok_or_else(|| invalid("a whole number, 0 or more"))?,
        ),
        Value::Boolean(_) => Value::Boolean(text.trim().parse().map_err(|_| invalid("true or false"))?),
        Value::Array(_) => Value::Array(
            text.split(',')
                .map(str::trim)
                .filter(|part| !part.is_empty())
                .map(|part| Value::String(part.to_owned()))
                .collect(),
        ),
        _ => Value::String(text.to_owned()),
    };
    Ok(())
}

fn find<'a>(table: &'a mut Table, wanted: &str) -> Option<&'a mut Value> {
    table.iter_mut().find_map(|(key, value)| match value {
        Value::Table(inside) => find(inside, wanted.strip_prefix(key.as_str())?.strip_prefix('_')?),
        value => (key == wanted).then_some(value),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(variables: &[(&str, &str)]) -> Result<Config, Failure> {
        Config::load(None, variables.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn the_defaults_are_whole() {
        let config = with(&[]).unwrap();
        assert_eq!(config.worker.settings, WorkerSettings::default());
        assert_eq!(config.events, events::Settings::default());
        assert_eq!(config.nodes.http().unwrap().blocked, BlockList::default());
    }

    #[test]
    fn the_environment_reaches_every_depth() {
        let config = with(&[
            ("SLIPWAY_DATABASE_URL", "sqlite://x.db"),
            ("SLIPWAY_WORKER_LEASE_LEASE_MS", "15000"),
            ("SLIPWAY_HTTP_ALLOWED_ORIGINS", "https://a.example, https://b.example"),
            ("HOME", "/"),
        ])
        .unwrap();
        assert_eq!(config.database.url, "sqlite://x.db");
        assert_eq!(config.worker.settings.lease.lease_ms, 15_000);
        assert_eq!(config.http.allowed_origins.len(), 2);
    }

    #[test]
    fn what_is_unknown_or_wrong_is_named() {
        let refused = |variables: &[(&str, &str)]| with(variables).err().unwrap().to_string();
        assert!(refused(&[("SLIPWAY_WORKER_SEAT", "3")]).contains("SLIPWAY_WORKER_SEAT"));
        assert!(refused(&[("SLIPWAY_WORKER_SEATS", "three")]).contains("SLIPWAY_WORKER_SEATS must be a whole number"));
        assert!(refused(&[("SLIPWAY_LOG_FORMAT", "xml")]).contains("format"));
        let mut table = DEFAULTS.parse::<Table>().unwrap();
        let defaults = table.clone();
        let over = "[worker.lease]\nlease = 3".parse().unwrap();
        assert!(merge(&mut table, over, &defaults, "").unwrap_err().contains("worker.lease.lease"));
        assert!(refused(&[("SLIPWAY_WORKER_SEATS", "0")]).contains("worker.seats"));
        assert!(refused(&[("SLIPWAY_WORKER_SEATS", "-1")]).contains("SLIPWAY_WORKER_SEATS must be a whole number"));
        assert!(refused(&[("SLIPWAY_API_LISTEN", "here")]).contains("SLIPWAY_API_LISTEN"));
        for (text, wanted) in [
            ("[worker]\nseats = \"three\"", "`worker.seats` must be a whole number, 0 or more"),
            ("[database]\nurl = 3", "`database.url` must be a text in quotes"),
            ("[nodes]\nblocked = [1]", "`nodes.blocked` must be a list of texts"),
            ("[worker.hooks.code_envs]\npy = 3", "`worker.hooks.code_envs.py` must be a text in quotes"),
            ("worker = 3", "`worker` is a table"),
        ] {
            let problem = merge(&mut table, text.parse().unwrap(), &defaults, "").unwrap_err();
            assert!(problem.starts_with(wanted), "{problem}");
        }
    }
}
