//! What a platform's look at an API service amounts to.

use targets::on_node::{OnNode, OnService};

use super::{
    super::{
        Health, Message,
        Severity::{Error, Warning},
    },
    Facts, Verdict,
};
use crate::live::{Success, may_have_changed};

/// Shares that differ by no more are the same.
const TOLERANCE: f64 = 0.005;

pub(super) fn of_service(verdict: &mut Verdict, facts: &Facts<'_>, live: &Success, node: Option<&str>, there: &OnNode) {
    // While an update is at it, the service is on its way from one state to the next.
    if facts.standing.unfinished.is_some() {
        return;
    }
    let Some(service) = there.service.as_ref().filter(|_| there.exists) else {
        let said = "The service is not there any more. Start an update: it makes it anew.";
        verdict.add(Health::Error, Message::new(Error, "SERVICE_MISSING", "The service is gone", said));
        return;
    };
    if !service.enabled {
        // Where the platform says what is wrong, that is why.
        if !service.troubles.iter().any(|trouble| trouble.is_error) {
            let said = "The service takes no queries: somebody switched it off there. Start an update.";
            verdict.add(Health::OutOfSync, Message::new(Warning, "DRIFT", "Switched off", said));
        }
    } else if let Some(said) = versions_differ(live, node, service, facts) {
        verdict.add(Health::OutOfSync, Message::new(Warning, "DRIFT", "Changed on the platform", said));
    }
    for trouble in &service.troubles {
        let (health, severity) = if trouble.is_error { (Health::Unhealthy, Error) } else { (Health::Warning, Warning) };
        let message = Message::new(severity, trouble.code.as_str(), "Not all is well", trouble.message.clone());
        verdict.add(health, message);
    }
}

/// What answers queries is otherwise than the last update left it.
fn versions_differ(live: &Success, node: Option<&str>, service: &OnService, facts: &Facts<'_>) -> Option<String> {
    let left = &live.receipt(node)?.service.as_ref()?.versions;
    let same = left.len() == service.versions.len()
        && left.iter().all(|one| {
            let found = service.versions.iter().find(|other| other.version == one.version);
            found.is_some_and(|found| (found.probability - one.probability).abs() <= TOLERANCE)
        });
    // A platform that does not tell its versions is taken at its word.
    if same || service.versions.is_empty() {
        return None;
    }
    let told = |versions: &[targets::target::VersionShare]| {
        let share = |one: &targets::target::VersionShare| format!("{} ({:.0} %)", one.version, one.probability * 100.0);
        versions.iter().map(share).collect::<Vec<_>>().join(", ")
    };
    Some(format!(
        "Queries are answered by {}; the last update that succeeded left {}. {}",
        told(&service.versions),
        told(left),
        // One that ended half-way is told of by itself.
        if facts.standing.last.as_ref().is_some_and(|last| last.row.id != live.run.0 && may_have_changed(&last.state)) {
            "An update after it ended half-way."
        } else {
            "Somebody changed it there."
        }
    ))
}
