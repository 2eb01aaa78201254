//! Problems, as one failure.

use std::collections::BTreeSet;

use engine::failure::Failure;

use crate::{codes, target::Problem};

/// A longer list is cut, in bytes.
const LONGEST: usize = 8_000;

/// All problems at once, under their code when they share one of ours.
pub(super) fn failure(problems: &[Problem]) -> Failure {
    let kinds: BTreeSet<&str> = problems.iter().map(|problem| problem.code.as_str()).collect();
    let known = [
        codes::SETTING_MISSING,
        codes::SETTING_INVALID,
        codes::ENDPOINT_NOT_CHOSEN,
        codes::ENDPOINT_MISSING,
        codes::SNOWFLAKE_PRIVILEGE_MISSING,
        codes::PLATFORM_NAME_TAKEN,
    ];
    let only = known.into_iter().find(|code| kinds.len() == 1 && kinds.contains(code.as_str()));
    let one = |problem: &Problem| match kinds.len() {
        1 => problem.message.clone(),
        _ => format!("{}: {}", problem.code, problem.message),
    };
    let (mut lines, mut room) = (Vec::new(), LONGEST);
    for line in problems.iter().map(one) {
        let Some(left) = room.checked_sub(line.len() + 1) else { break };
        room = left;
        lines.push(line);
    }
    if lines.len() < problems.len() {
        lines.push(format!("{} more problems.", problems.len() - lines.len()));
    }
    lines.push("Nothing was changed in Snowflake.".to_owned());
    Failure::new(only.unwrap_or(codes::VALIDATION_FAILED), lines.join(" "))
}
