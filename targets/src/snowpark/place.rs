//! Where services run, with every name read. What is missing or wrong is told all at once.

use engine::failure::Code;
use serde_json::{Map, Value};

use super::{
    image,
    settings::{self, Settings},
};
use crate::{
    codes,
    snowflake::{
        client::settings_of,
        ident::{Ident, IdentError},
        settings::ConnectionSettings,
        statements::Context,
    },
    spec::ConnectionSpec,
    target::Problem,
};

/// An infrastructure, read.
pub(super) struct Place {
    pub(super) settings: Settings,
    pub(super) connection: ConnectionSettings,
    pub(super) database: Ident,
    pub(super) schema: Ident,
    pub(super) pool: Ident,
    /// Database, schema, name.
    pub(super) repository: [Ident; 3],
    pub(super) warehouse: Option<Ident>,
    pub(super) role: Option<Ident>,
    pub(super) integrations: Vec<Ident>,
    /// Variables and the secrets that they hold.
    pub(super) secrets: Vec<(String, Vec<Ident>)>,
}

/// Collects problems by path.
#[derive(Default)]
pub(super) struct Problems(pub(super) Vec<Problem>);

impl Problems {
    pub(super) fn add(&mut self, code: Code, message: impl Into<String>) {
        self.0.push(Problem { code: code.to_string(), message: message.into() });
    }

    pub(super) fn missing(&mut self, path: &str, what: &str) {
        self.add(codes::SETTING_MISSING, format!("{path}: {what}"));
    }

    pub(super) fn wrong(&mut self, path: &str, what: impl std::fmt::Display) {
        self.add(codes::SETTING_INVALID, format!("{path}: {what}."));
    }

    /// A name that must be there.
    pub(super) fn name(&mut self, path: &str, text: &str, what: &str) -> Option<Ident> {
        if text.trim().is_empty() {
            self.missing(path, what);
            return None;
        }
        self.checked(path, Ident::parse(text))
    }

    /// A name that need not be there.
    pub(super) fn optional(&mut self, path: &str, text: &str) -> Option<Ident> {
        if text.trim().is_empty() { None } else { self.checked(path, Ident::parse(text)) }
    }

    /// What is wrong, by path; what is missing yet is none of it.
    pub(super) fn wrong_by_path(self) -> Vec<(String, String)> {
        let wrong = self.0.into_iter().filter(|one| one.code == codes::SETTING_INVALID.as_str());
        wrong
            .filter_map(|one| one.message.split_once(": ").map(|(path, what)| (path.to_owned(), what.to_owned())))
            .collect()
    }

    pub(super) fn checked<T>(&mut self, path: &str, read: Result<T, IdentError>) -> Option<T> {
        read.map_err(|error| self.wrong(path, error)).ok()
    }
}

impl Place {
    /// Reads an infrastructure; None if something is missing or wrong, which `problems` then says.
    pub(super) fn read(
        entered: &Map<String, Value>,
        connection: Option<&ConnectionSpec>,
        problems: &mut Problems,
    ) -> Option<Self> {
        let before = problems.0.len();
        let connection = match settings_of(connection) {
            Ok(connection) => Some(connection),
            Err(failure) => {
                problems.add(failure.code, failure.message);
                None
            }
        };
        let settings: Settings = match settings::read(entered) {
            Ok(settings) => settings,
            Err(error) => {
                problems.wrong("settings", error);
                return None;
            }
        };
        let database = problems.name("database", &settings.database, "say in which database services are made.");
        let schema = problems.name("schema", &settings.schema, "say in which schema services are made.");
        let pool = problems.name("computePool", &settings.compute_pool, "say on which compute pool containers run.");
        let repository = repository(&settings, database.as_ref(), schema.as_ref(), problems);
        let warehouse = problems.optional("warehouse", &settings.warehouse);
        let role = problems.optional("role", &settings.role);
        let mut integrations = Vec::new();
        for (n, name) in settings.external_access_integrations.iter().enumerate() {
            integrations.extend(problems.name(
                &format!("externalAccessIntegrations[{n}]"),
                name,
                "name an integration, or take the entry away.",
            ));
        }
        let mut secrets = Vec::new();
        for (n, one) in settings.snowflake_secrets.iter().enumerate() {
            let path = format!("snowflakeSecrets[{n}]");
            if one.variable.is_empty() {
                problems.wrong(&format!("{path}.variable"), "name the variable");
            } else if one.variable.to_uppercase().starts_with("SLIPWAY_") {
                problems.wrong(&format!("{path}.variable"), "variables that begin with SLIPWAY_ are Slipway's own");
            } else if settings.environment.contains_key(&one.variable)
                || settings.snowflake_secrets[..n].iter().any(|other| other.variable == one.variable)
            {
                problems.wrong(&format!("{path}.variable"), "this variable is set twice");
            }
            let name = problems.checked(&format!("{path}.secret"), Ident::parse_path(&one.secret, 1, 3));
            secrets.extend(name.map(|name| (one.variable.clone(), name)));
        }
        if settings.base_image.trim().is_empty() {
            problems.missing("baseImage", "say to which image with an API node services are added.");
        } else if let Err(failure) = image::base_reference(&settings.base_image) {
            problems.wrong("baseImage", failure.message.trim_end_matches('.'));
        }
        if !settings.base_image_user.is_empty() && settings.base_image_password.is_none() {
            problems.missing("baseImagePassword", "enter the password of the base image's user.");
        }
        if settings.min_instances == 0 || settings.max_instances < settings.min_instances {
            problems.wrong("maxInstances", "must be at least minInstances, and that at least 1");
        }
        environment("environment", &settings.environment, problems);
        for (n, role) in settings.grant_usage_to.iter().enumerate() {
            if role.trim().is_empty() {
                problems.wrong(&format!("grantUsageTo[{n}]"), "name a role, or take the entry away");
            } else {
                problems.checked(&format!("grantUsageTo[{n}]"), Ident::parse(role));
            }
        }
        for (path, request, limit) in [
            ("cpuLimit", &settings.cpu_request, &settings.cpu_limit),
            ("memoryLimit", &settings.memory_request, &settings.memory_limit),
        ] {
            if let (Some(request), Some(limit)) = (amount(request), amount(limit))
                && limit < request
            {
                problems.wrong(path, "must be at least what is requested");
            }
        }
        if problems.0.len() > before {
            return None;
        }
        Some(Self {
            connection: connection?,
            database: database?,
            schema: schema?,
            pool: pool?,
            repository: repository?,
            warehouse,
            role,
            integrations,
            secrets,
            settings,
        })
    }

    /// In whose name statements run.
    pub(super) fn context(&self) -> Context {
        Context {
            role: self.role.clone(),
            warehouse: self.warehouse.clone(),
            database: Some(self.database.clone()),
            schema: Some(self.schema.clone()),
        }
    }

    /// The path of an image in the repository, as specifications write it.
    pub(super) fn image_path(&self, name: &str, tag: &str) -> String {
        let [database, schema, repository] = &self.repository;
        format!("/{database}/{schema}/{repository}/").to_ascii_lowercase() + &format!("{name}:{tag}")
    }
}

/// What of settings that the schema lets through can't be; what is missing yet is none of it.
pub(super) fn wrong(settings: &Map<String, Value>) -> Vec<(String, String)> {
    let mut problems = Problems::default();
    Place::read(settings, None, &mut problems);
    problems.wrong_by_path()
}

/// Its parts; what is not said is as for services. An image's path has no quotes, so names that need them can't be in it.
fn repository(
    settings: &Settings,
    database: Option<&Ident>,
    schema: Option<&Ident>,
    problems: &mut Problems,
) -> Option<[Ident; 3]> {
    if settings.image_repository.trim().is_empty() {
        problems.missing("imageRepository", "say into which image repository images are pushed.");
        return None;
    }
    let mut parts = problems.checked("imageRepository", Ident::parse_path(&settings.image_repository, 1, 3))?;
    let quoted = "its name, its schema and its database must be names without double quotes";
    if !parts.iter().all(Ident::is_plain) {
        problems.wrong("imageRepository", quoted);
        return None;
    }
    let name = parts.pop()?;
    let in_schema = parts.pop().or_else(|| schema.cloned())?;
    let in_database = parts.pop().or_else(|| database.cloned())?;
    let whole = [in_database, in_schema, name];
    if !whole.iter().all(Ident::is_plain) {
        problems.wrong("imageRepository", quoted);
        return None;
    }
    Some(whole)
}

/// An amount of CPU or memory, as a number to compare; None for what is not set or not read.
fn amount(text: &str) -> Option<f64> {
    const UNITS: [(&str, f64); 8] = [
        ("Ki", 1024.0),
        ("Mi", 1048576.0),
        ("Gi", 1073741824.0),
        ("m", 0.001),
        ("k", 1e3),
        ("K", 1e3),
        ("M", 1e6),
        ("G", 1e9),
    ];
    let unit = UNITS.iter().find(|(unit, _)| text.ends_with(unit));
    let number = unit.map_or(text, |(unit, _)| &text[..text.len() - unit.len()]);
    Some(number.trim().parse::<f64>().ok()? * unit.map_or(1.0, |(_, factor)| *factor))
}

/// The container's variable that holds the hash of its specification.
pub(super) const SPECIFICATION: &str = "SLIPWAY_SPECIFICATION";

/// Variables that somebody may set.
pub(super) fn environment(
    path: &str,
    environment: &std::collections::BTreeMap<String, String>,
    problems: &mut Problems,
) {
    for name in environment.keys().filter(|name| *name == SPECIFICATION) {
        problems.wrong(&format!("{path}.{name}"), "this variable is not yours to set");
    }
}
