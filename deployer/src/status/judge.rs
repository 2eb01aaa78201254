//! What the facts about a deployment amount to. Pure. `service`: what of it is an API service's own.

mod service;

use engine::{failure::Failure, journal::Status};
use targets::{
    on_node::{OnNode, Outcome},
    spec::DeploySpec,
    target::{ACTIVE_BUNDLE, Difference},
};

use super::{
    Health, Message,
    Severity::{Error, Info, Warning},
    changes::changes,
};
use crate::{
    drift,
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
    /// The newest successes, if a web app does not run: who stopped since one of them is named until somebody starts it.
    pub(super) earlier: Vec<Success>,
    /// The deployment is disabled, whatever became of the update that was to do so.
    pub(super) disabled: bool,
    /// Since it was switched off, an update that was to deploy began with its work, and did not come to its end.
    pub(super) half_enabled: bool,
    /// It is live, and its next update switches it off.
    pub(super) pending_off: bool,
    /// The viewer administers the infrastructure.
    pub(super) admin: bool,
    /// The infrastructure's settings that say how its platform is reached.
    pub(super) reach: Vec<String>,
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
            let said = match (facts.disabled, facts.half_enabled) {
                (false, true) => {
                    "It is enabled, but no update has succeeded since it was switched off on the node: what is there is as the last one left it. Retry that one, or start a new one."
                }
                (false, false) => {
                    "It is enabled, but what it deploys is still switched off on the node: no update has succeeded since. Retry the one that was to enable it, or start a new one."
                }
                (true, _) if live.kind.deploys() => {
                    "It takes no updates, but none has switched it off on the node. Disable it again, or enable it to go on."
                }
                (true, _) => "It is switched off on the node, if an update ever brought it there. Enable it to go on.",
            };
            verdict.add(Health::Unknown, Message::new(Info, "DEPLOYMENT_DISABLED", "Disabled", said));
            if !live.kind.deploys() {
                warned(&mut verdict, live);
            }
        }
        Some(live) if live.kind == UpdateType::Unknown => {
            let said = "The last update is of a later version of Slipway. Ask there.";
            verdict.add(Health::Unknown, Message::new(Info, "NOT_DEPLOYED", "Not known", said));
        }
        Some(live) if !live.kind.deploys() => {
            let said =
                "What it deployed was switched off or deleted on the node. The deployment itself goes in a moment.";
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
        let mut changed = changes(&live.body, now, &facts.reach)?;
        if facts.pending_off {
            let what = "that it takes queries".to_owned();
            changed.push(Difference { what, found: true.into(), wanted: false.into() });
        }
        if !changed.is_empty() {
            let said =
                format!("Set since the last update, and not deployed yet: {}. Start an update.", names(&changed));
            let mut message = Message::new(Warning, "SETTINGS_CHANGED", "Settings changed", said);
            message.details = Some(told(&changed));
            verdict.add(Health::OutOfSync, message);
        }
    }
    let found: Vec<_> =
        facts.drift.iter().flat_map(|(_, found)| found).filter(|one| !seen_now(facts, one)).cloned().collect();
    if !found.is_empty() {
        let said = format!(
            "Changed on the node since the last update, as found when it was last compared: {}.",
            names(&found)
        );
        let mut message = Message::new(Warning, "DRIFT", "Changed on the node", said);
        message.details = Some(told(&turned(found)));
        verdict.add(Health::OutOfSync, message);
    }
    if let Some(refused) = &facts.refused {
        verdict.add(Health::Error, Message::of(refused, "The node can't be asked", facts.admin));
    }
    for (name, looked) in &facts.nodes {
        let mut of_this = Verdict { health: Health::Healthy, messages: Vec::new() };
        match looked {
            // That it still can't be asked is why it was left out: what to do is the same.
            Err(failure) if is_left_out(live, name.as_deref()) => left_out(&mut of_this, Some((failure, facts.admin))),
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
    warned(verdict, live);
    Ok(())
}

fn warned(verdict: &mut Verdict, live: &Success) {
    for warning in live.warnings.iter().take(MOST_WARNINGS) {
        let message = Message::new(Warning, "UPDATE_WARNED", "The last update warned", warning.clone());
        verdict.add(Health::Warning, message);
    }
}

/// Whether the last update did not get to one of several nodes.
fn is_left_out(live: &Success, node: Option<&str>) -> bool {
    node.is_some() && live.receipt(node).is_none()
}

fn left_out(verdict: &mut Verdict, still: Option<(&Failure, bool)>) {
    let said = "The last update did not deploy here: the node failed and was left out, or is new. Start an update.";
    let mut message = Message::new(Warning, "NODE_LEFT_OUT", "Not on all nodes", said);
    if let Some((failure, admin)) = still {
        let now = Message::of(failure, "", admin);
        message.message = format!("{said} It can't be asked now: {}", now.message);
        message.details = now.details;
    }
    verdict.add(Health::OutOfSync, message);
}

fn of_node(verdict: &mut Verdict, facts: &Facts<'_>, live: &Success, node: Option<&str>, there: &OnNode) {
    let receipt = live.receipt(node);
    if is_left_out(live, node) {
        return left_out(verdict, None);
    }
    if live.body.service.is_some() {
        return service::of_service(verdict, facts, live, node, there);
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
        // An update leaves a stopped one stopped, and its receipt says so: that makes it none that should be.
        let ran = |id: &str| {
            let earlier = facts.earlier.iter().filter_map(|success| success.receipt(node));
            let items = receipt.into_iter().chain(earlier).flat_map(|receipt| &receipt.webapps);
            items.into_iter().any(|item| item.id == id && item.active)
        };
        let stopped: Vec<_> = there.webapps.iter().filter(|app| !app.running && ran(&app.id)).collect();
        if !stopped.is_empty() {
            let named = listed(stopped.iter().map(|app| app.id.as_str()));
            let said = format!(
                "The backend ran after an update and does not run now: {named}. Look at its log, and start it on the node: an update leaves it as it is."
            );
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

/// Whether the look of this moment tells it better: which bundle is active.
fn seen_now(facts: &Facts<'_>, one: &Difference) -> bool {
    facts.standing.unfinished.is_none()
        && facts.nodes.iter().any(|(name, looked)| {
            let what = drift::on(name.as_deref(), ACTIVE_BUNDLE.to_owned());
            looked.is_ok() && one.what == what
        })
}

/// From what an update left to what is there: as [`told`] writes it.
fn turned(differences: Vec<Difference>) -> Vec<Difference> {
    differences.into_iter().map(|one| Difference { found: one.wanted, wanted: one.found, ..one }).collect()
}

fn names(differences: &[Difference]) -> String {
    let mut told = std::collections::BTreeSet::new();
    let names: Vec<_> = differences.iter().map(|one| one.what.as_str()).filter(|what| told.insert(*what)).collect();
    listed(names.into_iter())
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

#[cfg(test)]
mod tests {
    use engine::ids::RunId;
    use serde_json::{Value, json};
    use targets::{on_node::WebAppOnNode, target::Receipt};

    use super::*;

    fn success(number: i64, ran: bool) -> Success {
        let node = json!({"url": "http://n", "key": "k", "webapp_run_as_field": "runAsUser", "settle_ms": 0, "call_timeout_ms": 0});
        let body = json!({
            "deployment": "d",
            "infrastructure": {"id": "i", "node": node, "permissions_propagation": "NONE"},
            "package": {"project_key": "P", "bundle_id": "v1", "sha256": "", "size": 0},
            "deployed_project_key": "P",
            "acting_user": "a",
        });
        let receipt: Receipt = serde_json::from_value(json!({
            "project_key": "P", "bundle": "v1", "connections": [], "scenarios": [], "differences": [],
            "webapps": [{"id": "W", "run_as": null, "active": ran}],
        }))
        .unwrap();
        Success {
            run: RunId(number),
            number,
            kind: UpdateType::Update,
            requester: "a".to_owned(),
            requested_at: 0,
            ended_at: 0,
            body: serde_json::from_value(body).unwrap(),
            receipts: vec![(None, receipt)],
            warnings: Vec::new(),
        }
    }

    fn codes(ran: &[bool], runs: bool, active: &str, drift: &[(&str, Value, Value)]) -> Vec<(String, Option<String>)> {
        let all: Vec<_> =
            (1..).zip(ran).map(|(number, ran)| success(number, *ran)).collect::<Vec<_>>().into_iter().rev().collect();
        let standing = Standing { unfinished: None, last: None, live: all.first().cloned() };
        let webapps = vec![WebAppOnNode { id: "W".to_owned(), running: runs }];
        let there = OnNode { exists: true, active_bundle: Some(active.to_owned()), webapps, ..OnNode::default() };
        let difference = |(what, found, wanted): &(&str, Value, Value)| Difference {
            what: (*what).to_owned(),
            found: found.clone(),
            wanted: wanted.clone(),
        };
        let facts = Facts {
            standing: &standing,
            now: None,
            nodes: vec![(None, Ok(there))],
            refused: None,
            drift: Some((0, drift.iter().map(difference).collect())),
            earlier: all,
            disabled: false,
            half_enabled: false,
            pending_off: false,
            admin: true,
            reach: Vec::new(),
        };
        judge(&facts).unwrap().1.into_iter().map(|message| (message.code, message.details)).collect()
    }

    #[test]
    fn a_node_that_was_left_out_and_is_still_away_is_out_of_sync() {
        let away = || Err(Failure::new(targets::codes::NODE_UNREACHABLE, "It could not be reached."));
        let judged = |left_out: bool| {
            let mut live = success(1, false);
            live.receipts[0].0 = Some("one".to_owned());
            if !left_out {
                live.receipts.push((Some("two".to_owned()), live.receipts[0].1.clone()));
            }
            let standing = Standing { unfinished: None, last: None, live: Some(live) };
            let there = OnNode { exists: true, active_bundle: Some("v1".to_owned()), ..OnNode::default() };
            let facts = Facts {
                standing: &standing,
                now: None,
                nodes: vec![(Some("one".to_owned()), Ok(there)), (Some("two".to_owned()), away())],
                refused: None,
                drift: None,
                earlier: Vec::new(),
                disabled: false,
                half_enabled: false,
                pending_off: false,
                admin: true,
                reach: Vec::new(),
            };
            let (health, messages) = judge(&facts).unwrap();
            (health, messages.into_iter().map(|message| message.code).collect::<Vec<_>>())
        };
        assert_eq!(judged(true), (Health::OutOfSync, vec!["NODE_LEFT_OUT".to_owned()]));
        assert_eq!(judged(false), (Health::Error, vec!["NODE_UNREACHABLE".to_owned()]));
    }

    #[test]
    fn a_web_app_that_stopped_is_told_of_until_it_runs() {
        let stopped = vec![("WEBAPP_STOPPED".to_owned(), None)];
        assert_eq!(codes(&[true], false, "v1", &[]), stopped);
        // The update after it left it stopped, and its receipt says so.
        assert_eq!(codes(&[true, false, false], false, "v1", &[]), stopped);
        assert_eq!(codes(&[true, false], true, "v1", &[]), []);
        // One that never ran is nobody's loss.
        assert_eq!(codes(&[false, false], false, "v1", &[]), []);
    }

    #[test]
    fn drift_is_told_once_and_from_what_was_left_to_what_is_there() {
        let switch = ("the switch of scenario S", json!("off"), json!("on"));
        let bundle = ("the active bundle", json!("v2"), json!("v1"));
        let told = codes(&[true], true, "v2", &[bundle.clone(), switch]);
        let details: Vec<_> = told.iter().map(|(code, details)| (code.as_str(), details.as_deref())).collect();
        assert_eq!(details, [("DRIFT", Some("the switch of scenario S: \"on\" → \"off\"")), ("DRIFT", None)]);
        assert_eq!(codes(&[true], true, "v2", std::slice::from_ref(&bundle)).len(), 1);
        // Somebody put it back since it was compared.
        assert_eq!(codes(&[true], true, "v1", &[bundle]), []);
    }
}
