//! Step `verify`: what is live is read back. Then what earlier updates left goes: it costs, and nothing needs it any more.

use engine::{
    failure::{StepError, StepOutcome, StepResult},
    step::{Audience, StepContext},
};
use serde_json::{Value, json};

use super::{
    activate::traffic,
    bodies,
    change::{Resource, State, away, state},
    observe::service_urls,
    session::{Planned, Session},
};
use crate::{
    managed::{
        Flow, is_left,
        opener::{internal, told},
        ready,
    },
    target::{Difference, Receipt, ServiceReceipt, VersionShare},
};

pub(super) async fn verify(s: &Session<'_>, run: &dyn StepContext) -> StepResult {
    let plan = s.plan(run)?;
    let endpoint = s.endpoint().await?;
    let deployments = s.deployments().await?;
    let differences = differences(&plan, endpoint.as_ref(), &deployments);
    let receipt = receipt(s, &plan, endpoint.as_ref(), differences);
    let mut warnings = receipt.warnings();
    if receipt.differences.is_empty() {
        let keep: Vec<&str> = plan.iter().map(|one| one.name.as_str()).collect();
        match clear(s, run, endpoint.as_ref(), &deployments, &keep).await {
            Ok(flow) => ready!(flow),
            // What is live is right; what is left over only costs.
            Err(error) if is_left(run, &error) => {
                let failure = told(error);
                warnings.push(format!("What an earlier update left could not be deleted: {}", failure.message));
            }
            Err(error) => return Err(error),
        }
    }
    let output = serde_json::to_value(&receipt).map_err(|error| internal(&error.to_string()).permanent())?;
    Ok(StepOutcome::Done { output, warnings })
}

fn differences(plan: &[Planned<'_>], endpoint: Option<&Value>, deployments: &[Value]) -> Vec<Difference> {
    let mut found = Vec::new();
    let wanted = traffic(plan);
    let live = endpoint.map(bodies::traffic).unwrap_or_default();
    if live != wanted {
        found.push(Difference { what: "the traffic".to_owned(), found: json!(live), wanted: json!(wanted) });
    }
    for one in plan {
        let there = deployments.iter().find(|there| there["name"] == one.name.as_str());
        let seen = there.map_or(json!(null), |there| there["properties"]["provisioningState"].clone());
        if there.is_none_or(|there| state(there) != State::Ready) {
            let what = format!("version {}", one.version.version);
            found.push(Difference { what, found: seen, wanted: json!("Succeeded") });
        }
        for (what, seen, wanted) in there.map(|there| bodies::otherwise(there, &one.body)).unwrap_or_default() {
            let what = format!("{what} of version {}", one.version.version);
            found.push(Difference { what, found: seen, wanted });
        }
    }
    found
}

fn receipt(s: &Session<'_>, plan: &[Planned<'_>], endpoint: Option<&Value>, differences: Vec<Difference>) -> Receipt {
    let versions = plan
        .iter()
        .map(|one| VersionShare { version: one.version.version.clone(), probability: f64::from(one.percent) / 100.0 });
    let images: serde_json::Map<String, Value> =
        plan.iter().map(|one| (one.version.version.clone(), json!(one.image))).collect();
    let environment = |one: &Planned<'_>| (one.name.clone(), one.body["properties"]["environmentId"].clone());
    let environments: serde_json::Map<String, Value> = plan.iter().map(environment).collect();
    let facts = [
        ("endpoint", json!(s.endpoint)),
        ("workspace", json!(s.settings.workspace)),
        ("images", Value::Object(images)),
        ("deployments", json!(traffic(plan))),
        ("environments", Value::Object(environments)),
    ];
    let service = ServiceReceipt {
        service_id: s.service.service_id.clone(),
        enabled: true,
        versions: versions.collect(),
        urls: endpoint.map(service_urls).unwrap_or_default(),
        facts: facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
    };
    Receipt {
        project_key: s.spec.deployed_project_key.clone(),
        bundle: s.service.versions.first().map(|version| version.version.clone()),
        service: Some(service),
        differences,
        ..Receipt::default()
    }
}

/// Deletes the deployments that we made, that are not to stay, and that get no traffic.
pub(super) async fn clear(
    s: &Session<'_>,
    run: &dyn StepContext,
    endpoint: Option<&Value>,
    deployments: &[Value],
    keep: &[&str],
) -> Result<Flow, StepError> {
    let live = endpoint.map(bodies::traffic).unwrap_or_default();
    let mut waits = Vec::new();
    for there in deployments.iter().filter(|there| s.is_ours(there)) {
        let Some(name) = there["name"].as_str().filter(|name| !keep.contains(name)) else { continue };
        if live.contains_key(name) {
            run.log(Audience::Everyone, format!("Deployment {name} still gets traffic, and stays.")).await;
            continue;
        }
        if let Flow::Wait(wait) = away(s, run, &Resource::deployment(s, name)).await? {
            waits.push(wait);
        }
    }
    Ok(waits.into_iter().min().map_or(Flow::Ready(()), Flow::Wait))
}
