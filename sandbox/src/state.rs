//! What the node knows. All of it is behind one lock, which is never held across a wait.

use crate::clock::now_ms;
use crate::manifest::Manifest;
use crate::reply::Refusal;
use crate::request::{Object, text};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The id of the root folder.
pub(crate) const ROOT: &str = "ROOT";
/// The group whose members are administrators.
pub(crate) const ADMINISTRATORS: &str = "administrators";

#[derive(Default)]
pub(crate) struct State {
    pub(crate) users: BTreeMap<String, User>,
    /// Logins by the secrets of personal keys that were made by calls.
    pub(crate) personal_keys: BTreeMap<String, String>,
    /// Secrets of keys that are good no more.
    pub(crate) revoked_keys: BTreeSet<String>,
    pub(crate) groups: BTreeSet<String>,
    pub(crate) connections: BTreeMap<String, Connection>,
    pub(crate) code_envs: BTreeSet<String>,
    pub(crate) projects: BTreeMap<String, Project>,
    pub(crate) folders: BTreeMap<String, Folder>,
    pub(crate) futures: BTreeMap<String, Value>,
    /// The outcome that a scenario's next runs get, by project and scenario; SUCCESS when absent.
    pub(crate) outcomes: BTreeMap<(String, String), String>,
    last_number: u64,
}

pub(crate) struct User {
    pub(crate) groups: BTreeSet<String>,
    pub(crate) enabled: bool,
}

impl User {
    pub(crate) fn admin(&self) -> bool {
        self.groups.contains(ADMINISTRATORS)
    }
}

pub(crate) struct Connection {
    pub(crate) kind: String,
    /// The groups that may use it; everybody when absent.
    pub(crate) allowed: Option<BTreeSet<String>>,
}

pub(crate) struct Folder {
    pub(crate) name: Option<String>,
    pub(crate) parent: Option<String>,
}

pub(crate) struct Project {
    pub(crate) key: String,
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    pub(crate) tags: Value,
    pub(crate) folder: String,
    pub(crate) created_by: String,
    pub(crate) created_on: i64,
    /// The whole permissions object: `owner`, `permissions`, and whatever else was put.
    pub(crate) access: Object,
    /// The whole settings object.
    pub(crate) settings: Object,
    pub(crate) standard: Object,
    pub(crate) local: Object,
    /// In the order of import.
    pub(crate) bundles: Vec<Bundle>,
    pub(crate) active: Option<ActiveBundle>,
    pub(crate) scenarios: BTreeMap<String, Scenario>,
    pub(crate) webapps: BTreeMap<String, Webapp>,
}

pub(crate) struct ActiveBundle {
    pub(crate) id: String,
    pub(crate) by: String,
    pub(crate) on: i64,
}

pub(crate) struct Bundle {
    pub(crate) manifest: Manifest,
    pub(crate) sha256: String,
    pub(crate) size: u64,
    pub(crate) imported_by: String,
    pub(crate) imported_on: i64,
    pub(crate) preloaded: bool,
}

pub(crate) struct Scenario {
    /// The whole definition, `active` and the run-as user in it.
    pub(crate) definition: Object,
    pub(crate) script: String,
    /// Made on this node, not by a bundle.
    pub(crate) local: bool,
    /// Every user as whom it could have run, because it was active with that user.
    pub(crate) armed_as: BTreeSet<String>,
    pub(crate) runs: Vec<Run>,
}

pub(crate) struct Run {
    pub(crate) id: String,
    pub(crate) trigger: Value,
    pub(crate) trigger_run: String,
    pub(crate) run_as: String,
    pub(crate) outcome: String,
    /// What was active when it began.
    pub(crate) bundle: Option<String>,
    pub(crate) at: i64,
    /// The first question about a run's trigger finds it not started.
    pub(crate) asked: bool,
}

/// The outcome of a run that goes on.
pub(crate) const RUNNING: &str = "RUNNING";

impl Run {
    pub(crate) fn has_ended(&self) -> bool {
        self.outcome != RUNNING
    }
}

pub(crate) struct Webapp {
    pub(crate) definition: Object,
    pub(crate) local: bool,
    pub(crate) backend: Option<Backend>,
}

/// A backend that was started; it keeps its user until it is restarted.
pub(crate) struct Backend {
    pub(crate) alive: bool,
    pub(crate) run_as: String,
    pub(crate) job: String,
}

impl State {
    /// A number that was never given before.
    pub(crate) fn number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// Keeps the result of a finished job for those who poll it; the oldest are forgotten.
    pub(crate) fn future(&mut self, result: Value) -> String {
        let job = format!("job-{:08}", self.number());
        while self.futures.len() >= 1000 {
            self.futures.pop_first();
        }
        self.futures.insert(job.clone(), result);
        job
    }

    /// Refuses a run-as user that is not on the node.
    pub(crate) fn check_user(&self, login: &str) -> Result<(), Refusal> {
        if self.users.contains_key(login) {
            return Ok(());
        }
        Err(Refusal::bad(format!("there is no user {login} on this node")))
    }

    /// Whether the user or group that a permission names is on the node; the name if not.
    pub(crate) fn absent_holder<'a>(&self, permission: &'a Object) -> Option<&'a str> {
        let user = text(permission, "user").filter(|user| !self.users.contains_key(*user));
        user.or_else(|| text(permission, "group").filter(|group| !self.groups.contains(*group)))
    }
}

impl Project {
    pub(crate) fn new(key: &str, name: &str, owner: &str, by: &str, folder: &str) -> Self {
        let mut access = Object::new();
        access.insert("owner".into(), json!(owner));
        access.insert("permissions".into(), json!([]));
        access.insert("additionalDashboardUsers".into(), json!({"users": []}));
        Self {
            key: key.to_owned(),
            name: name.to_owned(),
            description: None,
            tags: json!([]),
            folder: folder.to_owned(),
            created_by: by.to_owned(),
            created_on: now_ms(),
            access,
            settings: fresh_settings(),
            standard: Object::new(),
            local: Object::new(),
            bundles: Vec::new(),
            active: None,
            scenarios: BTreeMap::new(),
            webapps: BTreeMap::new(),
        }
    }

    pub(crate) fn owner(&self) -> &str {
        text(&self.access, "owner").unwrap_or_default()
    }

    pub(crate) fn bundle(&self, id: &str) -> Result<&Bundle, Refusal> {
        let found = self.bundles.iter().find(|bundle| bundle.manifest.bundle_id == id);
        found.ok_or_else(|| Refusal::missing(format!("bundle {id} is not imported into project {}", self.key)))
    }
}

/// The settings of a project that nobody has touched: no `bundleContainerSettings` yet, and keys that no document
/// explains, which a client must put back as it found them.
fn fresh_settings() -> Object {
    let settings = json!({
        "settings": {
            "codeEnvs": {
                "python": {"mode": "INHERIT", "useBuiltinEnv": true, "preventOverride": false},
                "r": {"mode": "INHERIT", "useBuiltinEnv": true, "preventOverride": false},
            },
            "container": {"containerMode": "INHERIT"},
            "cluster": {"mode": "INHERIT"},
            "k8sCluster": {"mode": "INHERIT"},
            "flowDisplay": {"zonesGraphRenderingAlgorithm": "DOT", "opacity": 0.25},
        },
        "exposedObjects": {"objects": []},
        "nodeNotes": {"serial": 9_007_199_254_740_993_i64, "ratio": 0.1, "nothing": null, "text": "größer ✓"},
    });
    match settings {
        Value::Object(object) => object,
        _ => Object::new(),
    }
}

/// As whom a definition runs: its run-as user, else its last editor, else its creator.
pub(crate) fn run_as(definition: &Object, field: &str) -> String {
    let editor = |tag: &str| definition.get(tag)?.get("lastModifiedBy")?.get("login")?.as_str();
    let user = text(definition, field).filter(|user| !user.is_empty());
    user.or_else(|| editor("versionTag")).or_else(|| editor("creationTag")).unwrap_or_default().to_owned()
}

/// A version tag after an edit by `login`.
pub(crate) fn edited(before: Option<&Value>, login: &str) -> Value {
    let version = before.and_then(|tag| tag["versionNumber"].as_u64()).map_or(0, |number| number.saturating_add(1));
    json!({"versionNumber": version, "lastModifiedBy": {"login": login}, "lastModifiedOn": now_ms()})
}

/// Puts a client's definition in the place of the node's: whole, but the node keeps its own ids and tags, only
/// administrators change the run-as user, and only to one that is on the node.
pub(crate) fn replace_definition(
    old: &Object,
    new: &Object,
    id: &str,
    run_as_field: &str,
    who: &crate::auth::Who,
    known: impl Fn(&str) -> Result<(), Refusal>,
) -> Result<Object, Refusal> {
    if text(new, "id").is_some_and(|given| given != id) {
        return Err(Refusal::bad(format!("the id in the body is not {id}")));
    }
    let wanted = new.get(run_as_field).unwrap_or(&Value::Null);
    if wanted != old.get(run_as_field).unwrap_or(&Value::Null) {
        if !who.admin {
            return Err(Refusal::forbidden(format!("only administrators may set {run_as_field}")));
        }
        match wanted {
            Value::Null => {}
            Value::String(login) => known(login)?,
            _ => return Err(Refusal::bad(format!("{run_as_field} is no login"))),
        }
    }
    let mut definition = new.clone();
    for kept in ["id", "projectKey", "creationTag"] {
        match old.get(kept) {
            Some(value) => definition.insert(kept.to_owned(), value.clone()),
            None => definition.remove(kept),
        };
    }
    definition.insert("versionTag".into(), edited(old.get("versionTag"), &who.identity));
    Ok(definition)
}
