//! The rules of the house that a machine can hold: which crate may know which, which file may name which package, a page for each code.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use tests::slipway;

/// What each of our crates may depend on. In tests, the schema and the practice node besides.
const CORRIDOR: &[(&str, &[&str])] = &[
    ("entities", &[]),
    ("migration", &[]),
    ("sandbox", &[]),
    ("engine", &["entities"]),
    ("events", &["engine"]),
    ("targets", &["entities", "engine"]),
    ("deployer", &["entities", "engine", "targets"]),
    ("graphql", &["entities", "engine", "targets", "deployer"]),
    ("rest", &["entities", "engine", "targets", "deployer"]),
    ("api", &["entities", "engine", "events", "targets", "deployer", "graphql"]),
    ("worker", &["entities", "engine", "targets", "deployer"]),
    ("lab", &["entities", "migration", "engine", "events", "targets", "deployer", "api", "worker", "sandbox"]),
    (
        "slipway",
        &[
            "entities",
            "migration",
            "engine",
            "events",
            "targets",
            "deployer",
            "graphql",
            "rest",
            "api",
            "worker",
            "sandbox",
            "lab",
        ],
    ),
    (
        "tests",
        &[
            "entities",
            "migration",
            "engine",
            "events",
            "targets",
            "deployer",
            "graphql",
            "api",
            "worker",
            "sandbox",
            "lab",
        ],
    ),
];
const ALSO_IN_TESTS: [&str; 2] = ["migration", "sandbox"];

/// Only these crates may depend on these packages, tests apart.
const PACKAGES: &[(&str, &[&str])] = &[
    ("poem", &["api", "sandbox"]),
    // The command line joins the schema and the edge: it passes the request's data from one to the other.
    ("async-graphql", &["graphql", "api", "slipway"]),
    ("apalis", &["engine", "worker"]),
    ("apalis-core", &["engine", "worker"]),
    ("redis", &["engine"]),
    // The engine has it for the TLS of buckets, and calls nobody with it.
    ("reqwest", &["engine", "targets", "slipway", "lab"]),
    ("sea-orm", &["entities", "engine", "deployer", "lab"]),
    ("sea-orm-migration", &["migration"]),
    ("clap", &["slipway"]),
];

/// Within our sources, only files whose path begins so may hold this text, tests apart.
const TEXTS: &[(&str, &[&str])] = &[
    ("apalis", &["engine/src/queue", "worker/src/"]),
    ("redis::", &["engine/src/queue", "engine/src/bell", "lab/src/"]),
    ("reqwest", &["targets/src/http/", "cli/src/", "lab/src/"]),
    (
        "sea_orm",
        &[
            "entities/src/",
            "migration/src/",
            "deployer/src/",
            "lab/src/",
            "engine/src/db.rs",
            "engine/src/leases",
            "engine/src/runs",
            "engine/src/slots",
        ],
    ),
    ("poem::", &["api/src/", "sandbox/src/"]),
    ("process::Command", &["worker/src/hooks/", "worker/src/hook_exec/", "lab/src/"]),
    // The node in a front's container; what copies a package to an API node's disk.
    (
        "process::{Child, Command}",
        &["cli/src/commands/front/", "targets/src/api_static/deliver/command.rs", "worker/src/hooks/"],
    ),
    ("SystemTime::now", &["engine/src/clock.rs", "sandbox/src/clock.rs"]),
    ("getrandom", &["engine/src/clock.rs"]),
    ("println!", &["cli/src/"]),
];

/// Texts in capitals with an underscore that are no failure codes of ours.
const NO_CODES: &[&str] = &[
    // Values of enumerations.
    "API_KEYS",
    "AUTOMATION_NODE",
    "AUTOMATION_SINGLE",
    "FULL_DESIGNER",
    "PERSONAL_API_KEY",
    "READ_ONLY",
    "API_KEY",
    "COMMAND_LINE",
    "DELETE_PROJECT",
    "DO_NOTHING",
    "FAIL_IF_MISS",
    "INSTALL_IF_MISS",
    "NOT_APPLICABLE",
    "OUT_OF_SYNC",
    "PUBLISHED_PROJECT",
    "RUN_ERROR",
    "RUN_SUCCESS",
    "SWITCH_OFF",
    "SCREAMING_SNAKE_CASE",
    // Types of endpoints, and of what logs queries.
    "DATASETS_LOOKUP",
    "EVENT_SERVER",
    "AS_PACKAGED",
    "LOG_FILES",
    "PY_FUNCTION",
    "R_FUNCTION",
    "SQL_QUERY",
    "STD_CAUSAL_PREDICTION",
    "STD_CLUSTERING",
    "STD_FORECAST",
    // What `slipway agent` says to a worker: docs/targets/STATIC.md.
    "CHECKSUM_DIFFERS",
    "CHECKSUM_INVALID",
    "DISK_FAILED",
    "DISK_FULL",
    "FILE_BUSY",
    "FILE_MISSING",
    "FILE_TOO_LARGE",
    "KEY_REJECTED",
    "NAME_INVALID",
    "NO_SUCH_CALL",
    "RANGE_DIFFERS",
    "RANGE_INVALID",
    "TOO_MUCH",
    // Environment variables.
    "SSH_AUTH_SOCK",
    "AIP_HEALTH_ROUTE",
    "AIP_HTTP_PORT",
    "AIP_PREDICT_ROUTE",
    "DOCKER_CONFIG",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_FILE",
    "OUT_DIR",
    // Kinds of the practice node's faults.
    "CUT_ANSWER",
    "LOST_ANSWER",
    // Ends of a hook that are no failures of its step.
    "HOOK_CANCELLED",
    "HOOK_LEASE_LOST",
    "HOOK_SUCCEEDED",
    "HOOK_WARNING",
    // Variables of machines in a cloud.
    "AWS_ACCESS_KEY_ID",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_EC2_METADATA_DISABLED",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AZURE_FEDERATED_TOKEN_FILE",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "KUBERNETES_SERVICE_HOST",
    "KUBERNETES_SERVICE_PORT",
    // Words of the clouds and of Kafka.
    "ALL_AT_ONCE",
    "ALREADY_EXISTS",
    "CAPACITY_PERCENT",
    "COMPUTE_POOL",
    "DATA_LOSS",
    "DEADLINE_EXCEEDED",
    "FAILED_PRECONDITION",
    "IMAGE_REPOSITORY",
    "INSTANCE_COUNT",
    "INTERNAL_ERROR",
    "INVALID_ARGUMENT",
    "KEYPAIR_JWT",
    "MULTI_GENERATION",
    "OUT_OF_RANGE",
    "PERMISSION_DENIED",
    "PROGRAMMATIC_ACCESS_TOKEN",
    "PUBLISHED_SERVICE",
    "RESOURCE_EXHAUSTED",
    "SCRAM_SHA_256",
    "SCRAM_SHA_512",
    "SERVICE_VERSION",
    "SINGLE_GENERATION",
    "TIMESTAMP_LTZ",
    "TIMESTAMP_NTZ",
    "TIMESTAMP_TZ",
];
/// Messages of a deployment's health that are no failures: docs/HEALTH.md is their page.
const HEALTH_MESSAGES: &[&str] = &[
    "NEVER_DEPLOYED",
    "NODE_LEFT_OUT",
    "SCENARIOS_LEFT_OUT",
    "SCENARIO_ABORTED",
    "SCENARIO_FAILED",
    "SCENARIO_WARNED",
    "SETTINGS_CHANGED",
    "UPDATE_UNFINISHED",
    "UPDATE_WARNED",
    "WEBAPP_STOPPED",
];
const NO_CODE_PREFIXES: &[&str] = &[
    "SLIPWAY_",
    "CAP_",
    "CARGO_",
    "ERR_",
    "XDG_",
    // Variables of CI systems.
    "BITBUCKET_",
    "BUILDKITE_",
    "BUILD_",
    "CIRCLE_",
    "CI_",
    "CODEBUILD_",
    "GITHUB_",
    "GITLAB_",
    "JENKINS_",
    "SYSTEM_JOB",
    "TF_BUILD",
];
/// Codes of one word: nothing tells them from other words.
const SHORT_CODES: &[&str] =
    &["ABANDONED", "CANCELLED", "FORBIDDEN", "INTERNAL", "INTERRUPTED", "TIMEOUT", "UNAUTHENTICATED"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

/// All our files with one of these endings, by path from the root.
fn files(endings: &[&str]) -> BTreeMap<String, String> {
    let root = root();
    let mut found = BTreeMap::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            let hidden = name.starts_with('.') && name != ".ci";
            if hidden || (folder == root && name == "target") || name == "vendor" {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if endings.iter().any(|ending| name.ends_with(ending))
                && let Ok(text) = fs::read_to_string(&path)
            {
                found.insert(path.strip_prefix(&root).unwrap().display().to_string(), text);
            }
        }
    }
    assert!(!found.is_empty());
    found
}

/// Sources that are in the product: no tests.
fn sources() -> BTreeMap<String, String> {
    let mut sources = files(&[".rs"]);
    sources.retain(|path, _| path.contains("/src/") && !path.contains("/tests/") && !path.ends_with("/tests.rs"));
    for text in sources.values_mut() {
        // By custom the tests of a file are its last part.
        if let Some((code, _)) = text.split_once("#[cfg(test)]\nmod tests {") {
            *text = code.to_owned();
        }
    }
    sources
}

fn metadata() -> Value {
    let output = slipway::cargo()
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Each crate's dependencies, with whether it is for tests alone.
fn dependencies() -> BTreeMap<String, Vec<(String, bool)>> {
    let metadata = metadata();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let of = |package: &Value| {
        let all = package["dependencies"].as_array().unwrap().iter();
        all.map(|dependency| (text(&dependency["name"]), dependency["kind"] == "dev")).collect()
    };
    metadata["packages"].as_array().unwrap().iter().map(|package| (text(&package["name"]), of(package))).collect()
}

fn complain(rule: &str, broken: &[String]) {
    assert!(broken.is_empty(), "{rule}\n{}", broken.join("\n"));
}

#[test]
fn dependencies_run_one_way() {
    let dependencies = dependencies();
    let ours: BTreeSet<&str> = dependencies.keys().map(String::as_str).collect();
    let known: BTreeSet<&str> = CORRIDOR.iter().map(|(name, _)| *name).collect();
    assert_eq!(ours, known, "each crate has its place in the corridor");
    let mut broken = Vec::new();
    for (name, allowed) in CORRIDOR {
        for (other, test) in dependencies[*name].iter().filter(|(other, _)| ours.contains(other.as_str())) {
            let fine = allowed.contains(&other.as_str()) || (*test && ALSO_IN_TESTS.contains(&other.as_str()));
            if !fine {
                broken.push(format!("{name} depends on {other}"));
            }
        }
    }
    complain("Dependencies run one way.", &broken);
}

#[test]
fn packages_stay_in_their_rooms() {
    let mut broken = Vec::new();
    for (name, dependencies) in dependencies() {
        for (package, test) in dependencies {
            let rooms = PACKAGES.iter().find(|(known, _)| *known == package).map(|(_, rooms)| *rooms);
            if !test && name != "tests" && rooms.is_some_and(|rooms| !rooms.contains(&name.as_str())) {
                broken.push(format!("{name} depends on {package}"));
            }
        }
    }
    for (path, text) in sources() {
        for (wanted, rooms) in TEXTS {
            let named = text.lines().enumerate().find(|(_, line)| {
                let code = line.trim_start();
                !code.starts_with("//") && code.contains(wanted)
            });
            if let Some((number, _)) = named
                && !rooms.iter().any(|room| path.starts_with(room))
            {
                broken.push(format!("{path}:{} names {wanted}", number + 1));
            }
        }
    }
    complain("Only some rooms may name some packages.", &broken);
}

/// Whether a text could be a code: capitals, digits and at least one underscore.
fn looks_like_a_code(text: &str) -> bool {
    text.contains('_')
        && text.starts_with(|first: char| first.is_ascii_uppercase())
        && text.ends_with(|last: char| last.is_ascii_uppercase() || last.is_ascii_digit())
        && text.chars().all(|each| each.is_ascii_uppercase() || each.is_ascii_digit() || each == '_')
}

/// The codes in our sources, each with the files that have it: texts in quotes, and the list that `targets` makes its constants of.
fn codes() -> BTreeMap<String, BTreeSet<String>> {
    let mut codes = BTreeMap::<String, BTreeSet<String>>::new();
    // The practice node's codes are its own.
    for (path, text) in sources().into_iter().filter(|(path, _)| !path.starts_with("sandbox/")) {
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        for line in code.clone() {
            for quoted in line.split('"').skip(1).step_by(2).filter(|quoted| {
                SHORT_CODES.contains(quoted)
                    || (looks_like_a_code(quoted)
                        && !NO_CODES.contains(quoted)
                        && !HEALTH_MESSAGES.contains(quoted)
                        && !NO_CODE_PREFIXES.iter().any(|prefix| quoted.starts_with(prefix)))
            }) {
                codes.entry(quoted.to_owned()).or_default().insert(path.clone());
            }
        }
        if path == "targets/src/codes.rs" {
            for name in code.filter_map(|line| line.trim().strip_suffix(',')).filter(|name| looks_like_a_code(name)) {
                codes.entry(name.to_owned()).or_default().insert(path.clone());
            }
        }
    }
    codes
}

#[test]
fn each_code_has_its_page_and_each_page_its_code() {
    let codes = codes();
    assert!(codes.len() > 100, "only {} codes were found", codes.len());
    let pages: BTreeMap<String, String> = files(&[".md"])
        .into_iter()
        .filter_map(|(path, text)| {
            let name = path.strip_prefix("docs/errors/")?.strip_suffix(".md")?.to_owned();
            (name != "README").then_some((name, text))
        })
        .collect();
    let mut broken: Vec<String> = codes
        .iter()
        .filter(|(code, _)| !pages.contains_key(*code))
        .map(|(code, paths)| format!("{code} of {paths:?} has no page docs/errors/{code}.md"))
        .collect();
    for (name, text) in &pages {
        if !codes.contains_key(name) {
            broken.push(format!("docs/errors/{name}.md is about a code that nothing answers"));
        }
        if !text.starts_with(&format!("# {name}\n")) {
            broken.push(format!("docs/errors/{name}.md does not begin with its code"));
        }
    }
    complain("A page per code.", &broken);
}

#[test]
fn each_message_of_health_is_explained() {
    let (_, page) = files(&[".md"]).into_iter().find(|(path, _)| path == "docs/HEALTH.md").unwrap();
    let broken: Vec<_> = HEALTH_MESSAGES.iter().filter(|code| !page.contains(&format!("`{code}`"))).collect();
    assert!(broken.is_empty(), "docs/HEALTH.md does not name {broken:?}");
}

#[test]
fn operators_are_told_what_to_do_for_each_failure() {
    let (_, operations) = files(&[".md"]).into_iter().find(|(path, _)| path == "docs/OPERATIONS.md").unwrap();
    let fails =
        |path: &String| ["worker/src/", "targets/src/", "engine/src/"].iter().any(|room| path.starts_with(room));
    let is_failure = |code: &str, paths: &BTreeSet<String>| code.starts_with("POLICY_") || paths.iter().any(fails);
    let codes = codes().into_iter().filter(|(code, paths)| is_failure(code, paths));
    let broken = codes.filter(|(code, _)| !operations.contains(&format!("`{code}`"))).map(|(code, _)| code);
    complain("docs/OPERATIONS.md names each code that an update fails with.", &broken.collect::<Vec<_>>());
}

#[test]
fn files_are_short() {
    let broken: Vec<String> = files(&[".rs", ".py", ".sql", ".sh"])
        .into_iter()
        .map(|(path, text)| (path, text.lines().count()))
        .filter(|(_, lines)| *lines > 600)
        .map(|(path, lines)| format!("{path} has {lines} lines"))
        .collect();
    complain("A file has at most 600 lines.", &broken);
}

#[test]
fn no_file_names_a_machines_path() {
    // Written apart, so that this file does not break its own rule.
    let paths = ["work", "root", "home"].map(|folder| format!("/{folder}/"));
    let mut broken = Vec::new();
    for (path, text) in files(&[".rs", ".py", ".sql", ".sh", ".md", ".toml", ".yml", ".graphql", "run", "test"]) {
        for (number, line) in text.lines().enumerate() {
            // In a web address it is no path of a machine.
            let named = paths.iter().any(|wanted| {
                line.match_indices(wanted.as_str()).any(|(at, _)| {
                    let before = line[..at].chars().next_back();
                    before.is_none_or(|before| !before.is_alphanumeric() && !".}".contains(before))
                })
            });
            if named {
                broken.push(format!("{path}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    complain("No file names a path of a machine.", &broken);
}
