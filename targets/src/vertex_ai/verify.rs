//! Step `verify`: what is live is read back. Then what earlier updates left goes: it costs, and nothing needs it any more.

use engine::{
    failure::{StepOutcome, StepResult},
    step::StepContext,
};
use serde_json::{Value, json};

use super::{
    activate::traffic,
    bodies,
    observe::service_urls,
    off::clear,
    session::{Planned, Session, find},
};
use crate::{
    managed::{
        is_left,
        opener::{internal, told},
        ready,
    },
    target::{Difference, Receipt, ServiceReceipt, VersionShare},
};

pub(super) async fn verify(s: &Session<'_>, run: &dyn StepContext) -> StepResult {
    let plan = s.plan(run)?;
    let endpoint = s.endpoint().await?.unwrap_or_default();
    let differences = differences(&plan, &endpoint);
    let receipt = receipt(s, &plan, differences);
    let mut warnings = receipt.warnings();
    if receipt.differences.is_empty() {
        let keep: Vec<&str> = plan.iter().map(|one| one.deployed_id.as_str()).collect();
        match clear(s, run, &keep).await {
            Ok(flow) => ready!(flow),
            // What is live is right; what is left over only costs.
            Err(error) if is_left(run, &error) => {
                let failure = told(error);
                warnings.push(format!("What an earlier update left could not be undeployed: {}", failure.message));
            }
            Err(error) => return Err(error),
        }
    }
    let output = serde_json::to_value(&receipt).map_err(|error| internal(&error.to_string()).permanent())?;
    Ok(StepOutcome::Done { output, warnings })
}

fn differences(plan: &[Planned<'_>], endpoint: &Value) -> Vec<Difference> {
    let (live, wanted) = (bodies::traffic(endpoint), traffic(plan));
    let mut found = Vec::new();
    if live != wanted {
        found.push(Difference { what: "the traffic".to_owned(), found: json!(live), wanted: json!(wanted) });
    }
    for one in plan {
        // A project's number stands for its id in what the platform answers: ids are compared, not whole names.
        let model = find(endpoint, &one.deployed_id).and_then(|there| there["model"].as_str()).map(last);
        if model != Some(one.model_id.as_str()) {
            let what = format!("version {}", one.version.version);
            found.push(Difference { what, found: json!(model), wanted: json!(one.model_id) });
        }
    }
    found
}

fn last(name: &str) -> &str {
    // A version of the model may follow its id.
    let id = name.rsplit('/').next().unwrap_or_default();
    id.split('@').next().unwrap_or_default()
}

fn receipt(s: &Session<'_>, plan: &[Planned<'_>], differences: Vec<Difference>) -> Receipt {
    let versions = plan
        .iter()
        .map(|one| VersionShare { version: one.version.version.clone(), probability: f64::from(one.percent) / 100.0 });
    let images: serde_json::Map<String, Value> =
        plan.iter().map(|one| (one.version.version.clone(), json!(one.image))).collect();
    let facts = [
        ("endpoint", json!(s.endpoint)),
        ("project", json!(s.settings.project)),
        ("location", json!(s.settings.location)),
        ("images", Value::Object(images)),
        ("deployedModels", json!(traffic(plan))),
    ];
    let service = ServiceReceipt {
        service_id: s.service.service_id.clone(),
        enabled: true,
        versions: versions.collect(),
        urls: service_urls(s),
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
