//! What `bundleContainerSettings` of a project on the node says: how names in a bundle become names there, and how code envs are imported.
//! Every other key in it stays as it was.

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::spec::{CodeEnvsBehavior, DeploySpec, EnvImportSpecificationMode, ImportTimeMode, Remapping};

/// The key of all of it in the project's settings.
const CONTAINER: &str = "bundleContainerSettings";
const REMAPPING: &str = "remapping";
/// How code envs are imported.
const BEHAVIOR: &str = "codeEnvsBehavior";
const IMPORT_TIME: &str = "importTimeMode";
const SPECIFICATION: &str = "envImportSpecificationMode";
/// The lists of remappings.
const CONNECTIONS: &str = "connections";
const CODE_ENVS: &str = "codeEnvs";
const CONTAINER_EXECS: &str = "containerExecs";

/// What should be there. None leaves the node's alone.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Container {
    pub(super) connections: Vec<Remapping>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) code_envs: Option<Vec<Remapping>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) container_execs: Option<Vec<Remapping>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) behavior: Option<CodeEnvsBehavior>,
}

/// What is there.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Found {
    pub(super) connections: Vec<Remapping>,
    pub(super) code_envs: Vec<Remapping>,
    pub(super) container_execs: Vec<Remapping>,
    /// As the node has it: words of a later version are none of ours.
    behavior: [Option<String>; 2],
}

/// A thing that is found, and wanted otherwise.
pub(super) type Differ<'a> = dyn FnMut(String, Value, Value) + Send + 'a;

impl Container {
    /// What an update wants.
    pub(super) fn of(spec: &DeploySpec) -> Self {
        Self {
            connections: spec.connection_remapping.clone(),
            code_envs: spec.code_env_remapping.clone(),
            container_execs: spec.container_exec_remapping.clone(),
            behavior: spec.code_envs_behavior,
        }
    }

    /// What a restore wants: as noted, where the update may have written.
    pub(super) fn noted(spec: &DeploySpec, connections: Option<&Value>, noted: Option<&Value>) -> Self {
        let list = |key: &str, written: bool| {
            let noted = noted.filter(|_| written)?;
            Some(read_remapping(noted.pointer(&format!("/{REMAPPING}/{key}")).unwrap_or(&Value::Null)))
        };
        Self {
            connections: connections.map(read_remapping).unwrap_or_default(),
            code_envs: list(CODE_ENVS, spec.code_env_remapping.is_some()),
            container_execs: list(CONTAINER_EXECS, spec.container_exec_remapping.is_some()),
            behavior: None,
        }
    }

    /// For the identity of a call: an activation under other settings is another one. Of connections alone it has the form of earlier versions.
    pub(super) fn identity(&self) -> Value {
        match self {
            Self { connections, code_envs: None, container_execs: None, behavior: None } => json!(connections),
            all => json!(all),
        }
    }

    fn lists(&self) -> [(&'static str, Option<&Vec<Remapping>>); 3] {
        [
            (CONNECTIONS, Some(&self.connections)),
            (CODE_ENVS, self.code_envs.as_ref()),
            (CONTAINER_EXECS, self.container_execs.as_ref()),
        ]
    }

    /// Whether a project's settings say so.
    pub(super) fn holds(&self, settings: &Map<String, Value>) -> bool {
        let mut same = true;
        self.compare(&Found::read(settings), &mut |_, _, _| same = false);
        same
    }

    /// Tells each thing that is otherwise.
    pub(super) fn compare(&self, found: &Found, differ: &mut Differ<'_>) {
        for (key, wanted) in self.lists() {
            let Some(wanted) = wanted else { continue };
            let (there, kind) = match key {
                CODE_ENVS => (&found.code_envs, "code env"),
                CONTAINER_EXECS => (&found.container_execs, "container configuration"),
                _ => (&found.connections, "connection"),
            };
            compare_list(there, wanted, kind, differ);
        }
        if let Some(behavior) = self.behavior {
            let whats = ["what happens to a missing code env", "the description of imported code envs"];
            for ((what, found), wanted) in whats.into_iter().zip(&found.behavior).zip(words(behavior)) {
                if found.as_deref() != Some(wanted) {
                    differ(what.to_owned(), json!(found), json!(wanted));
                }
            }
        }
    }

    /// Makes settings say so. Entries that stay keep whatever else the node keeps in them.
    pub(super) fn write(&self, settings: &mut Map<String, Value>) {
        let mut container = take(settings, CONTAINER);
        let mut remapping = take(&mut container, REMAPPING);
        for (key, wanted) in self.lists() {
            if let Some(wanted) = wanted {
                let entries = with_unknown_keys(remapping.get(key), wanted);
                remapping.insert(key.to_owned(), entries);
            }
        }
        container.insert(REMAPPING.to_owned(), remapping.into());
        if let Some(behavior) = self.behavior {
            let mut there = take(&mut container, BEHAVIOR);
            for (key, word) in [IMPORT_TIME, SPECIFICATION].into_iter().zip(words(behavior)) {
                there.insert(key.to_owned(), word.into());
            }
            container.insert(BEHAVIOR.to_owned(), there.into());
        }
        settings.insert(CONTAINER.to_owned(), container.into());
    }
}

impl Found {
    /// Of a project's settings.
    pub(super) fn read(settings: &Map<String, Value>) -> Self {
        let container = settings.get(CONTAINER).unwrap_or(&Value::Null);
        let list = |key: &str| read_remapping(&container[REMAPPING][key]);
        let word = |key: &str| container[BEHAVIOR][key].as_str().map(str::to_owned);
        Self {
            connections: list(CONNECTIONS),
            code_envs: list(CODE_ENVS),
            container_execs: list(CONTAINER_EXECS),
            behavior: [word(IMPORT_TIME), word(SPECIFICATION)],
        }
    }
}

/// The node's list of connection remappings, if it has one.
pub(super) fn connections(settings: &Map<String, Value>) -> Option<&Value> {
    settings.get(CONTAINER)?.get(REMAPPING)?.get(CONNECTIONS).filter(|value| !value.is_null())
}

/// The parts that an update may write, but for connections, as they are: for a note.
pub(super) fn written(settings: &Map<String, Value>) -> Value {
    let container = settings.get(CONTAINER).unwrap_or(&Value::Null);
    let remapping = &container[REMAPPING];
    let lists = json!({CODE_ENVS: remapping[CODE_ENVS], CONTAINER_EXECS: remapping[CONTAINER_EXECS]});
    json!({REMAPPING: lists, BEHAVIOR: container[BEHAVIOR]})
}

/// Puts back what was noted, where the update may have written: null was none.
pub(super) fn put_back(
    settings: &mut Map<String, Value>,
    spec: &DeploySpec,
    connections: Option<&Value>,
    noted: Option<&Value>,
) {
    let mut container = take(settings, CONTAINER);
    let mut remapping = take(&mut container, REMAPPING);
    let empty = json!([]);
    put(&mut remapping, CONNECTIONS, connections.unwrap_or(&empty), &empty);
    if let Some(noted) = noted {
        for (key, written) in
            [(CODE_ENVS, spec.code_env_remapping.is_some()), (CONTAINER_EXECS, spec.container_exec_remapping.is_some())]
        {
            if written {
                put(&mut remapping, key, &noted[REMAPPING][key], &empty);
            }
        }
        if spec.code_envs_behavior.is_some() {
            put(&mut container, BEHAVIOR, &noted[BEHAVIOR], &Value::Null);
        }
    }
    container.insert(REMAPPING.to_owned(), remapping.into());
    settings.insert(CONTAINER.to_owned(), container.into());
}

/// Puts a value where there was one; where there was none, `none`, unless it is none still. A `none` of null takes the key away.
fn put(parent: &mut Map<String, Value>, key: &str, value: &Value, none: &Value) {
    match (value.is_null(), none.is_null()) {
        (true, true) => drop(parent.remove(key)),
        (true, false) if parent.get(key).is_none_or(Value::is_null) => {}
        (true, false) => drop(parent.insert(key.to_owned(), none.clone())),
        (false, _) => drop(parent.insert(key.to_owned(), value.clone())),
    }
}

/// A node's list of remappings.
pub(super) fn read_remapping(list: &Value) -> Vec<Remapping> {
    let text = |item: &Value, key: &str| item.get(key).and_then(Value::as_str).map(str::to_owned);
    let read = |item: &Value| Some(Remapping { source: text(item, "source")?, target: text(item, "target")? });
    list.as_array().into_iter().flatten().filter_map(read).collect()
}

/// The name on the node. The first entry wins, as it does there.
pub(super) fn remapped<'a>(remapping: &'a [Remapping], source: &'a str) -> &'a str {
    remapping.iter().find(|entry| entry.source == source).map_or(source, |entry| &entry.target)
}

fn compare_list(there: &[Remapping], wanted: &[Remapping], kind: &str, differ: &mut Differ<'_>) {
    let target = |list: &[Remapping], source: &str| {
        list.iter().find(|entry| entry.source == source).map(|entry| entry.target.clone())
    };
    for entry in wanted {
        let found = target(there, &entry.source);
        if found.as_ref() != Some(&entry.target) {
            differ(format!("the remapping of {kind} {}", entry.source), json!(found), json!(entry.target));
        }
    }
    for entry in there.iter().filter(|entry| target(wanted, &entry.source).is_none()) {
        differ(format!("the remapping of {kind} {}", entry.source), json!(entry.target), Value::Null);
    }
}

fn with_unknown_keys(there: Option<&Value>, wanted: &[Remapping]) -> Value {
    let there = there.and_then(Value::as_array).cloned().unwrap_or_default();
    let entry = |wanted: &Remapping| {
        let same = |item: &&Value| item["source"] == wanted.source && item["target"] == wanted.target;
        there.iter().find(same).cloned().unwrap_or_else(|| json!({"source": wanted.source, "target": wanted.target}))
    };
    wanted.iter().map(entry).collect()
}

/// The object under `key`; an empty one if there is none.
fn take(parent: &mut Map<String, Value>, key: &str) -> Map<String, Value> {
    match parent.remove(key) {
        Some(Value::Object(map)) => map,
        _ => Map::new(),
    }
}

/// The node's words.
fn words(behavior: CodeEnvsBehavior) -> [&'static str; 2] {
    let import_time = match behavior.import_time_mode {
        ImportTimeMode::InstallIfMiss => "INSTALL_IF_MISS",
        ImportTimeMode::FailIfMiss => "FAIL_IF_MISS",
        ImportTimeMode::DoNothing => "DO_NOTHING",
    };
    let specification = match behavior.env_import_specification_mode {
        EnvImportSpecificationMode::Specified => "SPECIFIED",
        EnvImportSpecificationMode::Actual => "ACTUAL",
    };
    [import_time, specification]
}
