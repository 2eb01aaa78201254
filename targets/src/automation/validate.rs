//! Step `validate_remap`: every connection that the bundle uses is on the node, under its remapped name and of the same type, and the users that matter are
//! there. All problems at once; nothing changes.

use std::collections::{BTreeMap, BTreeSet};

use engine::failure::{Code, Failure, StepOutcome, StepResult};
use serde_json::json;

use super::{calls::User, client::Api, container::remapped, folders, session::Session};
use crate::{
    codes,
    http::CallError,
    spec::{BundleContents, CodeEnvsBehavior, DeploySpec, ImportTimeMode},
    target::{CodeEnvPreview, ConnectionPreview, Problem},
};

/// So many problems are named; the rest is counted.
const MAX_NAMED: usize = 100;
/// A message is no longer than this, in bytes, but for its last sentences.
const LONGEST_MESSAGE: usize = 8 * 1024;

/// What was found, without changing anything.
pub(super) struct Findings {
    pub(super) connections: Vec<ConnectionPreview>,
    pub(super) code_envs: Vec<CodeEnvPreview>,
    pub(super) problems: Vec<Problem>,
}

pub(super) async fn validate(session: &Session<'_>) -> StepResult {
    let contents = session.work.contents;
    let found = look(&session.api, session.spec(), contents).await?;
    if let Some(failure) = failure(&found.problems) {
        return Err(failure.permanent());
    }
    let warnings = if contents.inferred {
        vec![
            "The bundle has no manifest: its connections were read by inference, and some may not have been checked."
                .to_owned(),
        ]
    } else {
        Vec::new()
    };
    Ok(StepOutcome::Done { output: json!({"connections": found.connections, "code_envs": found.code_envs}), warnings })
}

/// Looks at connections, code envs, users and the folder.
pub(super) async fn look(api: &Api, spec: &DeploySpec, contents: &BundleContents) -> Result<Findings, CallError> {
    let on_node = api.connections().await?;
    let users = api.users().await?;
    let (connections, mut problems) = compare(&on_node, spec, contents, api);
    let code_envs = code_envs(api, spec, contents).await?;
    problems.extend(code_envs.iter().filter_map(code_env_problem));
    problems.extend(user_problems(&users, spec));
    problems.extend(folder_problem(api, spec).await?);
    Ok(Findings { connections, code_envs, problems })
}

/// Each connection of the bundle, with its name and type on the node.
pub(super) fn previews(
    on_node: &BTreeMap<String, String>,
    remapping: &[crate::spec::ConnectionRemapping],
    contents: &BundleContents,
    api: &Api,
) -> Vec<ConnectionPreview> {
    let preview = |connection: &crate::spec::BundleConnection| {
        let target = remapped(remapping, &connection.name);
        ConnectionPreview {
            source: connection.name.clone(),
            target: target.to_owned(),
            wanted_type: connection.kind.clone(),
            found_type: on_node.get(target).map(|kind| api.clean(kind)),
        }
    };
    contents.connections.iter().map(preview).collect()
}

fn compare(
    on_node: &BTreeMap<String, String>,
    spec: &DeploySpec,
    contents: &BundleContents,
    api: &Api,
) -> (Vec<ConnectionPreview>, Vec<Problem>) {
    let connections = previews(on_node, &spec.connection_remapping, contents, api);
    let problem = |(preview, used_by): (&ConnectionPreview, &Vec<String>)| {
        let named = match (preview.source == preview.target, preview.wanted_type.as_deref()) {
            (true, None) => format!("connection {}", preview.source),
            (true, Some(kind)) => format!("connection {} of type {kind}", preview.source),
            (false, None) => format!("connection {}, remapped to {}", preview.source, preview.target),
            (false, Some(kind)) => {
                format!("connection {} of type {kind}, remapped to {}", preview.source, preview.target)
            }
        };
        let used = if used_by.is_empty() { String::new() } else { format!(" (used by {})", shortened(used_by)) };
        match (&preview.wanted_type, &preview.found_type) {
            (_, None) => Some(Problem {
                code: codes::CONNECTION_MISSING.to_string(),
                message: format!("The bundle needs {named}{used}, but the node has no connection {}.", preview.target),
            }),
            (Some(wanted), Some(found)) if wanted != found => Some(Problem {
                code: codes::CONNECTION_TYPE_DIFFERS.to_string(),
                message: format!(
                    "The bundle needs {named}{used}, but {} on the node is of type {found}.",
                    preview.target
                ),
            }),
            _ => None,
        }
    };
    let used_by = contents.connections.iter().map(|connection| &connection.used_by);
    let problems = connections.iter().zip(used_by).filter_map(problem).collect();
    (connections, problems)
}

fn shortened(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let more = names.len().saturating_sub(SHOWN);
    let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}

/// Each code env of the bundle. One that is remapped must be on the node, since the bundle does not describe it; the others when the deployment says
/// that a missing one fails the import. Else the node makes it, or goes its own way.
async fn code_envs(api: &Api, spec: &DeploySpec, contents: &BundleContents) -> Result<Vec<CodeEnvPreview>, CallError> {
    let remapping = spec.code_env_remapping.as_deref().unwrap_or_default();
    let fail =
        matches!(spec.code_envs_behavior, Some(CodeEnvsBehavior { import_time_mode: ImportTimeMode::FailIfMiss, .. }));
    let must_exist = |source: &str| fail || remapping.iter().any(|entry| entry.source == source);
    let there = if contents.code_envs.iter().any(|source| must_exist(source)) {
        api.code_envs().await?
    } else {
        BTreeSet::new()
    };
    let preview = |source: &String| {
        let target = remapped(remapping, source);
        let found = must_exist(source).then(|| there.contains(target));
        CodeEnvPreview { source: source.clone(), target: target.to_owned(), found }
    };
    Ok(contents.code_envs.iter().map(preview).collect())
}

fn code_env_problem(env: &CodeEnvPreview) -> Option<Problem> {
    let CodeEnvPreview { source, target, found: Some(false) } = env else { return None };
    let named = if source == target { String::new() } else { format!(", remapped to {target}") };
    let message = format!("The bundle needs code env {source}{named}, but the node has no code env {target}.");
    Some(Problem { code: codes::CODE_ENV_MISSING.to_string(), message })
}

fn user_problems(users: &[User], spec: &DeploySpec) -> Vec<Problem> {
    let infrastructure = &spec.infrastructure;
    let mut wanted = vec![(Some(&spec.acting_user), codes::ACTING_USER_MISSING, "as whom changes are made")];
    wanted.push((infrastructure.run_as_scenarios.as_ref(), codes::RUN_AS_USER_MISSING, "as whom scenarios run"));
    wanted.push((infrastructure.run_as_webapps.as_ref(), codes::RUN_AS_USER_MISSING, "as whom web apps run"));
    let problem = |(login, code, role): (Option<&String>, Code, &str)| {
        let login = login?;
        let wrong = match users.iter().find(|user| user.login == *login) {
            None => "does not exist on the node",
            Some(user) if !user.enabled => "is disabled on the node",
            Some(_) => return None,
        };
        Some(Problem { code: code.to_string(), message: format!("The user {login}, {role}, {wrong}.") })
    };
    wanted.into_iter().filter_map(problem).collect()
}

/// The folder that the project is to lie in must be there: it is asked for when the bundle is there already.
async fn folder_problem(api: &Api, spec: &DeploySpec) -> Result<Option<Problem>, CallError> {
    let Some(folder) = spec.project_folder.as_deref() else { return Ok(None) };
    if folders::exists(api, folder).await? {
        return Ok(None);
    }
    let message = format!("The project is to lie in folder {}, which is not on the node.", api.clean(folder));
    Ok(Some(Problem { code: codes::PROJECT_FOLDER_MISSING.to_string(), message }))
}

/// All problems as one failure: under their code when they share it.
fn failure(problems: &[Problem]) -> Option<Failure> {
    let kinds: BTreeSet<&str> = problems.iter().map(|problem| problem.code.as_str()).collect();
    let known = [
        codes::CONNECTION_MISSING,
        codes::CONNECTION_TYPE_DIFFERS,
        codes::CODE_ENV_MISSING,
        codes::PROJECT_FOLDER_MISSING,
        codes::ACTING_USER_MISSING,
        codes::RUN_AS_USER_MISSING,
    ];
    let mut of_kind = known.into_iter().filter(|code| kinds.contains(code.as_str()));
    let code = match (of_kind.next(), of_kind.next()) {
        (None, _) => return None,
        (Some(only), None) => only,
        _ if kinds.iter().all(|kind| kind.starts_with("CONNECTION_")) => codes::CONNECTIONS_INVALID,
        _ => codes::VALIDATION_FAILED,
    };
    let one = |problem: &Problem| {
        if kinds.len() == 1 { problem.message.clone() } else { format!("{}: {}", problem.code, problem.message) }
    };
    let mut room = LONGEST_MESSAGE;
    let mut lines: Vec<_> = problems
        .iter()
        .take(MAX_NAMED)
        .map(one)
        .take_while(|line| {
            let fits = line.len() < room;
            room = room.saturating_sub(line.len() + 1);
            fits
        })
        .collect();
    let more = problems.len() - lines.len();
    if more > 0 {
        lines.push(format!("{more} more problems of this kind."));
    }
    lines.push("Nothing was changed on the node.".to_owned());
    Some(Failure::new(code, lines.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_bounded_and_counts_what_it_leaves_out() {
        let problem = |n: usize| Problem {
            code: codes::CONNECTION_MISSING.to_string(),
            message: format!("{n}: {}.", "x".repeat(1_000)),
        };
        let problems: Vec<_> = (0..150).map(problem).collect();
        let message = failure(&problems).map(|failure| failure.message).unwrap_or_default();
        assert!(message.len() < LONGEST_MESSAGE + 200, "{}", message.len());
        assert!(message.starts_with("0: ") && message.contains(" 142 more problems of this kind."), "{message}");
    }
}
