//! What the facts about a deployment amount to. Pure.

use engine::{failure::Failure, journal::Status};
use targets::{
    on_node::{OnNode, Outcome},
    spec::DeploySpec,
    target::Difference,
};

use super::{
    Health, Message,
    Severity::{Error, Info, Warning},
    changes::changes,
};
use crate::{
    error::Result,
    live::{Standing, Success},
    updates::UpdateType,
};

/// So many things are named in one message.
const MOST_NAMED: usize = 20;
/// So many warnings of the last update are repeated.
const MOST_WARNINGS: usize = 20;

/// What is known.
pub(super) struct Facts<'a> {
    pub(super) standing: &'a Standing,
    /// What an update would deploy now.
    pub(super) now: Option<DeploySpec>,
    /// What each node shows, by name; without one where there is one. None when they were not asked.
    pub(super) nodes: Vec<(Option<String>, std::result::Result<OnNode, Failure>)>,
    /// Why no node could be asked, if that is so.
    pub(super) refused: Option<Failure>,
    /// When the node was last compared with the last update, and what was otherwise.
    pub(super) drift: Option<(i64, Vec<Difference>)>,
    /// The deployment is disabled, whatever became of the update that was to do so.
    pub(super) disabled: bool,
    /// The viewer administers the infrastructure.
    pub(super) admin: bool,
}

struct Verdict {
    health: Health,
    messages: Vec<Message>,
}

impl Verdict {
    fn add(&mut self, health: Health, message: Message) {
        self.health = self.health.max(health);
        self.messages.push(message);
    }
}

pub(super) fn judge(facts: &Facts<'_>) -> Result<(Health, Vec<Message>)> {
    let standing = facts.standing;
    let mut verdict = Verdict { health: Health::Healthy, messages: Vec::new() };
    if let Some(run) = standing.unfinished {
        let said = format!("Update {run} of this deployment has not ended. What is said here is of before it.");
        verdict.add(Health::Healthy, Message::new(Info, "UPDATE_UNFINISHED", "An update is under way", said));
    }
    let failed = last_failure(standing);
    if let Some((failure, title)) = &failed {
        verdict.add(Health::Error, Message::of(failure, title, facts.admin));
    }
    match &standing.live {
        None if failed.is_none() => {
            let said = "No update of this deployment has succeeded yet. Start one.";
            verdict.add(Health::Unknown, Message::new(Info, "NEVER_DEPLOYED", "Never deployed", said));
        }
        None => {}
        Some(live) if live.kind == UpdateType::Disable || facts.disabled => {
            let said = if live.kind.deploys() {
                "It takes no updates, but none has switched it off on the node. Disable it again, or enable it to go on."
            } else {
                "Its scenarios are off on the node. Enable it to go on."
            };
            verdict.add(Health::Unknown, Message::new(Info, "DEPLOYMENT_DISABLED", "Disabled", said));
        }
        Some(live) if live.kind == UpdateType::Unknown => {
            let said = "The last update is of a later version of Slipway. Ask there.";
            verdict.add(Health::Unknown, Message::new(Info, "NOT_DEPLOYED", "Not known", said));
        }
        Some(live) if !live.kind.deploys() => {
            let said = "Its project was switched off or deleted on the node. The deployment itself goes in a moment.";
            verdict.add(Health::Unknown, Message::new(Info, "DEPLOYMENT_DELETED", "Deleted", said));
        }
        Some(live) => of_live(&mut verdict, facts, live)?,
    }
    let Verdict { health, mut messages } = verdict;
    messages.sort_by_key(|message| std::cmp::Reverse(message.severity));
    Ok((health, messages))
}

/// Why the last update did not do what it should.
fn last_failure(standing: &Standing) -> Option<(Failure, &'static str)> {
    let state = &standing.last.as_ref()?.state;
    let title = match state.status() {
        Status::Failed => "The last update failed",
        Status::Cancelled => "The last update was cancelled half-way",
        Status::Stuck => "The last update is stuck",
        _ => return None,
    };
    let unknown = || Failure::new(engine::failure::Code::new("CANCELLED"), "It was stopped before its end.");
    Some((state.stopped.clone().unwrap_or_else(unknown), title))
}

fn of_live(verdict: &mut Verdict, facts: &Facts<'_>, live: &Success) -> Result<()> {
    if let Some(now) = &facts.now {
        let changed = changes(&live.body, now)?;
        if !changed.is_empty() {
            let said =
                format!("Set since the last update, and not deployed yet: {}. Start an update.", names(&changed));
            let mut message = Message::new(Warning, "SETTINGS_CHANGED", "Settings changed", said);
            message.details = Some(told(&changed));
            verdict.add(Health::OutOfSync, message);
        }
    }
    if let Some((_, found)) = facts.drift.as_ref().filter(|(_, found)| !found.is_empty()) {
        let said =
            format!("Changed on the node since the last update, as found when it was last compared: {}.", names(found));
        let mut message = Message::new(Warning, "DRIFT", "Changed on the node", said);
        message.details = Some(told(found));
        verdict.add(Health::OutOfSync, message);
    }
    if let Some(refused) = &facts.refused {
        verdict.add(Health::Error, Message::of(refused, "The node can't be asked", facts.admin));
    }
    for (name, looked) in &facts.nodes {
        let mut of_this = Verdict { health: Health::Healthy, messages: Vec::new() };
        match looked {
            Err(failure) => {
                of_this.add(Health::Error, Message::of(failure, "The node can't be asked", facts.admin));
            }
            Ok(there) => of_node(&mut of_this, facts, live, name.as_deref(), there),
        }
        for mut message in of_this.messages {
            if let Some(name) = name {
                message.message = format!("Node {name}: {}", message.message);
            }
            verdict.messages.push(message);
        }
        verdict.health = verdict.health.max(of_this.health);
    }
    for warning in live.warnings.iter().take(MOST_WARNINGS) {
        let message = Message::new(Warning, "UPDATE_WARNED", "The last update warned", warning.clone());
        verdict.add(Health::Warning, message);
    }
    Ok(())
}

fn of_node(verdict: &mut Verdict, facts: &Facts<'_>, live: &Success, node: Option<&str>, there: &OnNode) {
    let receipt = live.receipt(node);
    if receipt.is_none() && node.is_some() {
        let said = "The last update did not deploy here: the node failed and was left out, or is new. Start an update.";
        verdict.add(Health::OutOfSync, Message::new(Warning, "NODE_LEFT_OUT", "Not on all nodes", said));
        return;
    }
    // While an update is at it, the node is on its way from one state to the next.
    if facts.standing.unfinished.is_none() {
        if !there.exists {
            let said = "The project is not on the node any more. Start an update: it makes it anew.";
            verdict.add(Health::Error, Message::new(Error, "PROJECT_MISSING", "The project is gone", said));
            return;
        }
        let wanted = receipt.and_then(|receipt| receipt.bundle.as_deref());
        if let Some(wanted) = wanted.filter(|wanted| there.active_bundle.as_deref() != Some(*wanted)) {
            let found = there.active_bundle.as_deref().unwrap_or("none");
            let said = format!(
                "Active on the node is bundle {found}; the last update left {wanted}. Somebody changed it there."
            );
            verdict.add(Health::OutOfSync, Message::new(Warning, "DRIFT", "Changed on the node", said));
        }
        let ran = |id: &str| {
            let items = receipt.iter().flat_map(|receipt| &receipt.webapps);
            items.into_iter().any(|item| item.id == id && item.active)
        };
        let stopped: Vec<_> = there.webapps.iter().filter(|app| !app.running && ran(&app.id)).collect();
        if !stopped.is_empty() {
            let named = listed(stopped.iter().map(|app| app.id.as_str()));
            let said = format!("The backend ran after the last update and does not run now: {named}. Look at its log.");
            verdict.add(Health::Unhealthy, Message::new(Warning, "WEBAPP_STOPPED", "A web app stopped", said));
        }
    }
    // What ended before the last update says nothing of what it deployed.
    let since = live.ended_at / 1_000;
    let ended = |outcome: Outcome| {
        let mut names: Vec<_> = there
            .scenarios
            .iter()
            .filter(|scenario| scenario.active && !scenario.running)
            .filter(|scenario| {
                scenario.last.is_some_and(|last| last.outcome == outcome && last.started_ms >= Some(since))
            })
            .map(|scenario| scenario.name.as_str())
            .collect();
        names.sort_unstable();
        names
    };
    for (outcome, health, code, title, how) in [
        (Outcome::Failed, Health::Unhealthy, "SCENARIO_FAILED", "A scenario failed", "failed"),
        (Outcome::Aborted, Health::Warning, "SCENARIO_ABORTED", "A scenario was stopped", "was stopped"),
        (Outcome::Warning, Health::Warning, "SCENARIO_WARNED", "A scenario warned", "ended with a warning"),
    ] {
        let names = ended(outcome);
        if !names.is_empty() {
            let said = format!("Its last run since the last update {how}: {}.", listed(names.into_iter()));
            verdict.add(health, Message::new(Warning, code, title, said));
        }
    }
    if there.more_scenarios > 0 {
        let said = format!("{} more scenarios were not looked at.", there.more_scenarios);
        verdict
            .add(Health::Healthy, Message::new(Info, "SCENARIOS_LEFT_OUT", "Not all scenarios were looked at", said));
    }
}

fn names(differences: &[Difference]) -> String {
    listed(differences.iter().map(|one| one.what.as_str()))
}

/// Each difference in words, a line each.
fn told(differences: &[Difference]) -> String {
    let line = |one: &Difference| {
        let mut line = format!("{}: {} → {}", one.what, one.found, one.wanted);
        if line.len() > 300 {
            line = line.chars().take(300).chain(['…']).collect();
        }
        line
    };
    differences.iter().take(MOST_NAMED).map(line).collect::<Vec<_>>().join("\n")
}

fn listed<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let more = names.len().saturating_sub(MOST_NAMED);
    let mut all = names.take(MOST_NAMED).collect::<Vec<_>>().join(", ");
    if more > 0 {
        all.push_str(&format!(" and {more} more"));
    }
    all
}
