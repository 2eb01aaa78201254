//! Step `verify`: reads back what the node shows, asks each generation, and cleans up what earlier versions left on the node's disk.

use std::collections::BTreeMap;

use engine::{
    failure::{Failure, StepError, StepOutcome, StepResult},
    secrets::Secret,
};
use serde_json::json;

use super::{
    activate::{now, shows},
    deliver,
    notes::Prior,
    probe::{self, Shown},
    session::{Place, Session},
};
use crate::{
    caller, codes,
    managed::opener::Opener,
    service::{EndpointSpec, ServiceVersionSpec},
    service_package,
    target::{Difference, Receipt, ServiceReceipt, VersionShare},
};

/// What a [`Difference`] calls the generations that answer.
pub(super) const MAPPING: &str = "the generations that answer";

pub(super) async fn verify(session: &Session<'_>) -> StepResult {
    let (place, goal) = (&session.place, session.place.goal());
    if !place.api.is_alive().await? {
        let message = "The API node says that it is not alive (isAlive). Look at the node.";
        return Err(Failure::new(codes::API_NODE_NOT_ALIVE, message).retryable(None));
    }
    let found = now(session).await?;
    if !found.exists {
        let message =
            format!("The service {} is not on the node any more. Somebody deleted it; update again.", place.id());
        return Err(Failure::new(codes::SERVICE_MISSING, message).permanent());
    }
    let mut warnings = Vec::new();
    match shows(&found, &goal) {
        Some(true) => {}
        Some(false) => {
            let message = "Other generations answer queries than this update switched to, or the service was disabled. Somebody else changed the node; update again.";
            return Err(Failure::new(codes::GENERATIONS_DIFFER, message).permanent());
        }
        None => warnings
            .push("The node does not tell which generations answer: it was told, and was not read back.".to_owned()),
    }
    let key = caller::key(place.service, Opener::Run(session.run())).await?;
    for version in &place.service.versions {
        let Some(endpoint) = probe::harmless(version) else { continue };
        warnings.extend(answers(session, version, endpoint, key.as_ref()).await?);
    }
    warnings.extend(clean_up(session).await?);
    Ok(StepOutcome::Done { output: json!(receipt(place, &found)), warnings })
}

/// Asks a generation for an answer, with a key where one is known. Answers what could not be found out.
async fn answers(
    session: &Session<'_>,
    version: &ServiceVersionSpec,
    endpoint: &EndpointSpec,
    key: Option<&Secret>,
) -> Result<Option<String>, StepError> {
    let (place, name) = (&session.place, &version.version);
    let broken = |message: String| Err(Failure::new(codes::SERVICE_NOT_ANSWERING, message).retryable(None));
    let silent = |status: u16| {
        let said = probe::said(status);
        broken(format!("The node does not answer queries of version {name} ({said}). Look at the node's log."))
    };
    match probe::probe(place, version, endpoint, key).await? {
        Shown::Answers | Shown::Refuses => return Ok(None),
        Shown::Silent(status) => return silent(status),
        Shown::Fails => {}
    }
    // Its code may be unable to do without features: that is no proof that it can do with them.
    let Some(query) = probe::test_query(session.work, place, version, endpoint).await? else {
        return Ok(Some(format!(
            "On node {}, endpoint {} of version {name} failed (status 500) when it was asked without features, and the version brings no test queries: whether it answers was not seen.",
            place.node.name(),
            endpoint.id
        )));
    };
    match probe::put(place, version, endpoint, query, key).await? {
        Shown::Answers | Shown::Refuses => Ok(None),
        Shown::Silent(status) => silent(status),
        Shown::Fails => broken(format!(
            "On node {}, endpoint {} of version {name} fails (status 500) at the first test query that the version brings along. Look at the node's log.",
            place.node.name(),
            endpoint.id
        )),
    }
}

/// What there is now, and how it differs from the spec.
pub(super) fn receipt(place: &Place<'_>, now: &Prior) -> Receipt {
    let goal = place.goal();
    let facts = BTreeMap::from([
        ("node".to_owned(), json!(place.node.name())),
        (
            "generations".to_owned(),
            json!(now.mapping.iter().flatten().map(|one| place.api.clean(&one.generation)).collect::<Vec<_>>()),
        ),
    ]);
    let service = ServiceReceipt {
        service_id: place.id().to_owned(),
        enabled: now.exists && now.enabled,
        versions: versions(place, now),
        urls: vec![place.node.caller_url()],
        facts,
    };
    let mut receipt = Receipt { project_key: place.spec.deployed_project_key.clone(), ..Receipt::default() };
    receipt.bundle =
        service.versions.iter().max_by(|a, b| a.probability.total_cmp(&b.probability)).map(|one| one.version.clone());
    if shows(now, &goal) == Some(false) {
        receipt.differences.push(difference(place, now, &goal));
    }
    receipt.service = Some(service);
    receipt
}

/// The versions that answer, in the words of the spec; without shares where the node does not tell them, equal ones.
pub(super) fn versions(place: &Place<'_>, now: &Prior) -> Vec<VersionShare> {
    let shares = now.mapping.as_deref().unwrap_or_default();
    // A node that tells who answers, and not how often, was told by us, or by nobody that we know.
    let told: BTreeMap<_, _> = place.goal().into_iter().collect();
    let (mapping, _) = super::activate::mapping(shares);
    let share = |(name, equal): (String, f64)| {
        let known = shares.iter().find(|one| one.generation == name).and_then(|one| one.proba);
        VersionShare {
            version: place.api.clean(&service_package::version_of(place.service, &name)),
            probability: known.or_else(|| told.get(&name).copied()).unwrap_or(equal),
        }
    };
    mapping.into_iter().map(share).collect()
}

/// The mapping as it is and should be.
pub(super) fn difference(place: &Place<'_>, now: &Prior, goal: &[(String, f64)]) -> Difference {
    let found = match &now.mapping {
        _ if !now.exists => json!("not there"),
        _ if !now.enabled => json!("disabled"),
        Some(shares) => {
            let shown = |one: &super::notes::Share| (place.api.clean(&one.generation), json!(one.proba));
            serde_json::Value::Object(shares.iter().map(shown).collect())
        }
        None => serde_json::Value::Null,
    };
    let wanted = serde_json::Value::Object(goal.iter().map(|(name, share)| (name.clone(), json!(share))).collect());
    Difference { what: MAPPING.to_owned(), found, wanted }
}

/// What earlier updates brought to the node's disk goes: their generations are in the node, or were cleaned up there. That it could not is no failure.
async fn clean_up(session: &Session<'_>) -> Result<Option<String>, StepError> {
    let spec = session.work.spec;
    let service = session.place.service;
    let keep: Vec<_> = service.versions.iter().map(|version| deliver::file_name(spec, service, version)).collect();
    let removed = match session.way().await {
        Ok(way) => way.remove(&deliver::prefix(spec), &keep).await,
        Err(error) => Err(error),
    };
    match removed {
        Err(stop @ (StepError::LeaseLost | StepError::Cancelled)) => Err(stop),
        Err(_) => Ok(Some(
            "Packages of earlier versions could not be removed from the node's disk; the next update tries again."
                .to_owned(),
        )),
        Ok(left) => Ok(left),
    }
}
