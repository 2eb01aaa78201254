//! What settings may be. All problems at once.

use std::collections::BTreeSet;

use engine::{retry::RetryPolicy, secrets::Secret};
use serde_json::{Map, Value};
use targets::{Targets, spec::Remapping};

use super::{
    nodes,
    settings::{STEP_KINDS, Settings},
};
use crate::{
    error::{Error, Problems},
    kept, text,
};

/// More remappings than any bundle has connections.
const MOST_REMAPPINGS: usize = 1_000;
/// The most that clients may keep in settings, as JSON, in bytes.
pub(crate) const MOST_OTHER: usize = 64 << 10;
/// The longest name of a connection, code env or container configuration, in characters.
const LONGEST_NAME: usize = 200;
/// The longest node key, in characters.
const LONGEST_KEY: usize = 1_000;
const SECOND: u64 = 1_000;
const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;

/// Notes what is wrong with the settings.
pub(super) fn settings(settings: &mut Settings, targets: &Targets, problems: &mut Problems) {
    node_url(&mut settings.node_url, "nodeUrl", targets, problems);
    kept_json(&settings.other, "other", problems);
    fleet_json(&settings.auditing, "auditing", problems);
    fleet_json(&settings.logging, "logging", problems);
    external_url(settings.external_url.as_deref(), "externalUrl", problems);
    nodes::check(settings, targets, problems);
    if let Some(url) = &mut settings.governance_url {
        // We send it a key: the rules are those of a node's URL.
        match targets.node_url(url) {
            Ok(read) => *url = read.as_str().to_owned(),
            Err(error) => problems.add(url_code(&error), "governanceUrl", error.to_string()),
        }
    }
    remappings(&settings.connection_remapping, "connectionRemapping", problems);
    remappings(&settings.code_env_remapping, "codeEnvRemapping", problems);
    remappings(&settings.container_exec_remapping, "containerExecRemapping", problems);
    for (user, field) in [
        (&settings.deploy_as_user, "deployAsUser"),
        (&settings.run_as_scenarios, "runAsScenarios"),
        (&settings.run_as_webapps, "runAsWebapps"),
        (&settings.hooks_user, "hooksUser"),
    ] {
        if let Some(user) = user {
            text::login(user, field, problems);
        }
    }
    let field = &settings.webapp_run_as_field;
    let name = (1..=100).contains(&field.len()) && field.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !name {
        problems.add("TEXT_INVALID", "webappRunAsField", "A field name has 1 to 100 letters, digits and _.");
    }
    for (value, least, most, field) in [
        (settings.settle_ms, 0, DAY, "settleMs"),
        (settings.call_timeout_ms, SECOND, DAY, "callTimeoutMs"),
        (settings.pre_hook_wait_ms, 0, HOUR, "preHookWaitMs"),
        (settings.post_hook_wait_ms, 0, HOUR, "postHookWaitMs"),
    ] {
        duration(value, least, most, field, problems);
    }
    step_policies(settings, problems);
}

/// Notes what is wrong with a node's URL. It is kept as it was written: whoever compares what they set reads that again. None yet is well: it may come
/// later, and go again.
pub(super) fn node_url(url: &mut String, field: &str, targets: &Targets, problems: &mut Problems) {
    *url = url.trim().to_owned();
    if !url.is_empty()
        && let Err(error) = targets.node_url(url)
    {
        problems.add(url_code(&error), field, error.to_string());
    }
}

/// Notes what is wrong with the URL that people open. We never connect to it: a browser does.
pub(super) fn external_url(url: Option<&str>, field: &str, problems: &mut Problems) {
    let Some(url) = url else { return };
    let read = url::Url::parse(url).ok();
    let http = read.as_ref().is_some_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    if read.is_some_and(|url| !url.username().is_empty() || url.password().is_some()) {
        problems.add(
            "URL_INVALID",
            field,
            "Write the URL without a user and password: everybody who sees the infrastructure sees it.",
        );
    } else if !http || url.chars().count() > 1_000 || url.chars().any(|c| c.is_control() || c.is_whitespace()) {
        problems.add("URL_INVALID", field, "Write a whole URL that begins with http:// or https://.");
    }
}

/// Notes what is wrong with what a fleet says of a node's audit or logs.
pub(super) fn fleet_json(kept: &Map<String, Value>, field: &str, problems: &mut Problems) {
    kept_json(kept, field, problems);
    if let Err(Error::Refused(refusals)) = kept::no_secrets(kept) {
        for refusal in refusals {
            problems.add(refusal.code, kept::inside(field, &refusal.field.unwrap_or_default()), refusal.message);
        }
    }
}

/// Notes that somebody keeps too much where we keep what means nothing to us.
fn kept_json(kept: &Map<String, Value>, field: &str, problems: &mut Problems) {
    let size = serde_json::to_vec(kept).map_or(usize::MAX, |json| json.len());
    if size > MOST_OTHER {
        let message = format!("At most {MOST_OTHER} bytes of keys that Slipway does not know.");
        problems.add("SETTINGS_TOO_LARGE", field, message);
    }
}

fn url_code(error: &targets::http::NodeUrlError) -> &'static str {
    match error {
        targets::http::NodeUrlError::Forbidden(_) => "NODE_ADDRESS_FORBIDDEN",
        _ => "NODE_URL_INVALID",
    }
}

/// Notes what is wrong with a list of remappings, of an infrastructure or of a deployment.
pub(crate) fn remappings(list: &[Remapping], field: &str, problems: &mut Problems) {
    if list.len() > MOST_REMAPPINGS {
        problems.add("REMAPPING_INVALID", field, format!("At most {MOST_REMAPPINGS} remappings."));
        return;
    }
    let mut sources = BTreeSet::new();
    for (at, remapping) in list.iter().enumerate() {
        for (name, part) in [(&remapping.source, "source"), (&remapping.target, "target")] {
            text::required_line(name, LONGEST_NAME, &format!("{field}[{at}].{part}"), problems);
        }
        if !sources.insert(&remapping.source) {
            problems.add(
                "REMAPPING_INVALID",
                format!("{field}[{at}].source"),
                "This name is remapped twice. Keep one of the two.",
            );
        }
    }
}

fn duration(value: u64, least: u64, most: u64, field: &str, problems: &mut Problems) {
    if !(least..=most).contains(&value) {
        problems.add("DURATION_INVALID", field, format!("Give {least} to {most} milliseconds."));
    }
}

fn step_policies(settings: &Settings, problems: &mut Problems) {
    for (kind, policy) in &settings.step_policies {
        let field = |part: &str| format!("stepPolicies.{}{part}", kind.escape_debug());
        if !STEP_KINDS.contains(&kind.as_str()) {
            let known = STEP_KINDS.join(", ");
            problems.add("STEP_KIND_UNKNOWN", field(""), format!("There is no such step. There are: {known}."));
            continue;
        }
        if let Some(deadline) = policy.deadline_ms {
            duration(deadline, SECOND, DAY, &field(".deadlineMs"), problems);
        }
        if let Some(RetryPolicy { max_attempts, initial_ms, cap_ms }) = policy.retry {
            if !(1..=50).contains(&max_attempts) {
                problems.add("RETRY_INVALID", field(".maxAttempts"), "Give 1 to 50 attempts.");
            }
            duration(initial_ms, if max_attempts > 1 { 100 } else { 0 }, HOUR, &field(".initialMs"), problems);
            if cap_ms < initial_ms || cap_ms > DAY {
                problems.add(
                    "RETRY_INVALID",
                    field(".capMs"),
                    format!("Give {} to {DAY} milliseconds.", initial_ms.min(HOUR)),
                );
            }
        }
    }
}

/// Notes what is wrong with a key of the node or of the governance source: it goes into a header of requests.
pub(super) fn key(key: &Secret, field: &str, problems: &mut Problems) {
    let text = key.expose();
    if text.is_empty() || text.len() > LONGEST_KEY || !text.bytes().all(|b| b.is_ascii_graphic()) {
        problems.add(
            "ADMIN_KEY_INVALID",
            field,
            "A key has 1 to 1000 ASCII letters, digits and signs, no blanks. Copy it again.",
        );
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use engine::secrets::Secret;
    use targets::http::HttpSettings;

    use super::*;
    use crate::{error::Error, infrastructures::StepOverride};

    fn good() -> Settings {
        Settings { node_url: "https://node.example.com".to_owned(), ..Settings::default() }
    }

    /// Code and field of each problem.
    fn problems(change: impl FnOnce(&mut Settings)) -> Vec<(&'static str, String)> {
        targets::http::install_crypto_provider();
        let targets = Targets::new(HttpSettings::default()).unwrap();
        let mut settings = good();
        change(&mut settings);
        let mut problems = Problems::default();
        super::settings(&mut settings, &targets, &mut problems);
        match problems.check() {
            Ok(()) => Vec::new(),
            Err(Error::Refused(all)) => all.into_iter().map(|r| (r.code, r.field.unwrap_or_default())).collect(),
            Err(fault) => panic!("{fault:?}"),
        }
    }

    fn one(change: impl FnOnce(&mut Settings)) -> (&'static str, String) {
        let all = problems(change);
        assert_eq!(all.len(), 1, "{all:?}");
        all.into_iter().next().unwrap()
    }

    fn remapping(source: &str, target: &str) -> Remapping {
        Remapping { source: source.to_owned(), target: target.to_owned() }
    }

    #[test]
    fn each_field() {
        assert_eq!(problems(|_| {}), []);
        let is = |code: &'static str, field: &str| (code, field.to_owned());
        assert_eq!(one(|s| s.node_url = "ftp://n".to_owned()), is("NODE_URL_INVALID", "nodeUrl"));
        assert_eq!(one(|s| s.node_url = "http://169.254.169.254".to_owned()), is("NODE_ADDRESS_FORBIDDEN", "nodeUrl"));
        assert_eq!(one(|s| s.external_url = Some("javascript:alert(1)".to_owned())), is("URL_INVALID", "externalUrl"));
        for bad in ["ftp://g", "http://me@g", "http://g?x=1", "g"] {
            assert_eq!(one(|s| s.governance_url = Some(bad.to_owned())), is("NODE_URL_INVALID", "governanceUrl"));
        }
        let metadata = "http://169.254.169.254/check".to_owned();
        assert_eq!(one(|s| s.governance_url = Some(metadata)), is("NODE_ADDRESS_FORBIDDEN", "governanceUrl"));
        for bad in ["a b", "ü", "a\nb", &"x".repeat(101)] {
            assert_eq!(one(|s| s.deploy_as_user = Some(bad.to_owned())), is("LOGIN_INVALID", "deployAsUser"));
            assert_eq!(one(|s| s.run_as_scenarios = Some(bad.to_owned())), is("LOGIN_INVALID", "runAsScenarios"));
            assert_eq!(one(|s| s.run_as_webapps = Some(bad.to_owned())), is("LOGIN_INVALID", "runAsWebapps"));
            assert_eq!(one(|s| s.hooks_user = Some(bad.to_owned())), is("LOGIN_INVALID", "hooksUser"));
        }
        assert_eq!(one(|s| s.webapp_run_as_field = "a.b".to_owned()), is("TEXT_INVALID", "webappRunAsField"));
        assert_eq!(one(|s| s.settle_ms = DAY + 1), is("DURATION_INVALID", "settleMs"));
        assert_eq!(one(|s| s.call_timeout_ms = 0), is("DURATION_INVALID", "callTimeoutMs"));
        assert_eq!(one(|s| s.pre_hook_wait_ms = HOUR + 1), is("DURATION_INVALID", "preHookWaitMs"));
        assert_eq!(one(|s| s.post_hook_wait_ms = u64::MAX), is("DURATION_INVALID", "postHookWaitMs"));
    }

    #[test]
    fn remappings_are_unique_and_named() {
        let twice = vec![remapping("a", "b"), remapping("a", "c")];
        assert_eq!(
            one(|s| s.connection_remapping = twice),
            ("REMAPPING_INVALID", "connectionRemapping[1].source".to_owned())
        );
        let blank = vec![remapping("a", " ")];
        assert_eq!(
            one(|s| s.connection_remapping = blank),
            ("TEXT_INVALID", "connectionRemapping[0].target".to_owned())
        );
        let twice = vec![remapping("py", "py39"), remapping("py", "py311")];
        assert_eq!(
            problems(|s| {
                s.code_env_remapping = twice.clone();
                s.container_exec_remapping = twice;
            }),
            ["codeEnvRemapping[1].source", "containerExecRemapping[1].source"]
                .map(|field| ("REMAPPING_INVALID", field.to_owned()))
        );
        let many = (0..=MOST_REMAPPINGS).map(|n| remapping(&n.to_string(), "x")).collect();
        assert_eq!(one(|s| s.connection_remapping = many), ("REMAPPING_INVALID", "connectionRemapping".to_owned()));
    }

    #[test]
    fn step_policies_are_bounded() {
        let with = |kind: &str, max_attempts, initial_ms, cap_ms, deadline_ms| {
            let retry = Some(RetryPolicy { max_attempts, initial_ms, cap_ms });
            BTreeMap::from([(kind.to_owned(), StepOverride { retry, deadline_ms })])
        };
        assert_eq!(problems(|s| s.step_policies = with("activate", 1, 0, 0, None)), []);
        for kind in STEP_KINDS {
            assert_eq!(problems(|s| s.step_policies = with(kind, 5, 1_000, 60_000, Some(60_000))), []);
        }
        for (policies, code, field) in [
            (with("dance", 5, 1_000, 60_000, None), "STEP_KIND_UNKNOWN", "stepPolicies.dance"),
            (with("verify", 0, 1_000, 60_000, None), "RETRY_INVALID", "stepPolicies.verify.maxAttempts"),
            (with("verify", 51, 1_000, 60_000, None), "RETRY_INVALID", "stepPolicies.verify.maxAttempts"),
            (with("verify", 2, 1, 60_000, None), "DURATION_INVALID", "stepPolicies.verify.initialMs"),
            (with("verify", 2, 1_000, 999, None), "RETRY_INVALID", "stepPolicies.verify.capMs"),
            (with("verify", 2, 1_000, 1_000, Some(1)), "DURATION_INVALID", "stepPolicies.verify.deadlineMs"),
        ] {
            assert_eq!(one(|s| s.step_policies = policies), (code, field.to_owned()));
        }
    }

    #[test]
    fn all_problems_at_once() {
        let all = problems(|s| {
            s.node_url = "x".to_owned();
            s.external_url = Some("x".to_owned());
            s.settle_ms = u64::MAX;
        });
        assert_eq!(
            all.iter().map(|(_, field)| field.as_str()).collect::<Vec<_>>(),
            ["nodeUrl", "externalUrl", "settleMs"]
        );
    }

    #[test]
    fn a_key_fits_into_a_header() {
        for (key, good) in [("abc-DEF_123", true), ("", false), ("a b", false), ("a\r\nX-Evil: 1", false), ("ü", false)]
        {
            let mut problems = Problems::default();
            super::key(&Secret::from(key.to_owned()), "adminKey", &mut problems);
            assert_eq!(problems.check().is_ok(), good, "{key:?}");
        }
    }
}
