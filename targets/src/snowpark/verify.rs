//! Step `verify`: everything is read back, and what is otherwise is told.

use std::collections::{BTreeMap, BTreeSet};

use engine::failure::{StepError, StepOutcome, StepResult};
use serde_json::{Value, json};

use super::{
    enforce,
    follow::{State, state},
    goal::sorted,
    notes::{self, Pushed},
    session::Session,
    site::Site,
};
use crate::{
    snowflake::ident::Ident,
    spec::DeploySpec,
    target::{Difference, Receipt, ServiceReceipt},
};

/// The receipt of an update; its differences are warnings.
pub(super) async fn verify(session: &Session<'_>) -> StepResult {
    let pushed: Option<Pushed> = notes::read(session.run(), notes::PUSHED);
    let receipt = receipt(&session.site, session.work.spec, pushed.and_then(|pushed| pushed.digest)).await?;
    Ok(done(&receipt))
}

fn told_name(name: Option<Ident>) -> Value {
    json!(name.as_ref().map(Ident::as_str))
}

/// A receipt as a step's output.
pub(super) fn done(receipt: &Receipt) -> StepOutcome {
    StepOutcome::Done { output: json!(receipt), warnings: receipt.warnings() }
}

/// What is there, with what of it is not as the spec wants it.
pub(super) async fn receipt(site: &Site, spec: &DeploySpec, digest: Option<String>) -> Result<Receipt, StepError> {
    let goal = &site.goal;
    let mut receipt = Receipt { project_key: spec.deployed_project_key.clone(), ..Receipt::default() };
    let service_id = spec.service.as_ref().map(|service| service.service_id.clone()).unwrap_or_default();
    let mut told = ServiceReceipt { service_id, ..ServiceReceipt::default() };
    let mut differ = |what: &str, found: Value, wanted: Value| {
        if found != wanted {
            receipt.differences.push(Difference { what: what.to_owned(), found, wanted });
        }
    };
    let found = match site.service().await? {
        Some(service) => {
            service.mark().filter(|mark| mark.deployment == goal.mark.deployment).map(|mark| (service, mark))
        }
        None => None,
    };
    let Some((service, mark)) = found else {
        differ("the service", Value::Null, json!(goal.service.as_str()));
        receipt.service = Some(told);
        return Ok(receipt);
    };
    differ("the image's tag", json!(mark.tag), json!(goal.image.tag));
    differ("the settings of the service", json!(mark.content), json!(goal.mark.content));
    differ("the query warehouse", told_name(service.warehouse()), told_name(site.place.warehouse.clone()));
    let integrations = |names: Vec<Ident>| json!(names.iter().map(Ident::as_str).collect::<Vec<_>>());
    let wanted = sorted(&site.place.integrations);
    differ("the external access integrations", integrations(service.integrations()), integrations(wanted));
    let specification = &service.spec.spec_text;
    let hash = json!(goal.specification_hash);
    if !specification.is_empty() && mark.content == goal.mark.content {
        let found = if specification.contains(&goal.specification_hash) { hash.clone() } else { json!("another") };
        differ("the specification of the service", found, hash);
    }
    differ("the least number of instances", json!(service.min_instances), json!(goal.min_instances));
    differ("the greatest number of instances", json!(service.max_instances), json!(goal.max_instances));
    if let Some(seconds) = service.auto_suspend_secs {
        differ("the seconds until it is suspended", json!(seconds), json!(site.place.settings.auto_suspend_seconds));
    }
    let live = site.place.image_path(&goal.image.name, &mark.tag);
    let state = state(site, &service, &live, goal.min_instances).await?;
    let how = match &state {
        State::Ready => json!("READY"),
        State::Starting(words) | State::Failed { reason: words, .. } => json!(words),
    };
    let dozes = service.dozes();
    if !dozes {
        differ("the containers", how, json!("READY"));
    }
    if let Some(digest) = digest {
        let digests: BTreeSet<String> = site
            .containers()
            .await?
            .into_iter()
            .map(|one| site.api.clean(&one.image_digest, 100))
            .filter(|digest| !digest.is_empty())
            .collect();
        if !digests.is_empty() {
            differ("the image's digest", json!(digests), json!([digest]));
        }
        told.facts.insert("digest".to_owned(), json!(digest));
    }
    let functions = site.functions().await?;
    let function = Site::same(&functions, &goal.function).and_then(|one| one.mark.as_ref());
    let signature = goal.function.signature(site.within());
    differ("the function", json!(function.map(|_| &signature)), json!(signature));
    if let Some(function) = function {
        differ("the settings of the function", json!(function.content), json!(goal.mark.content));
        for (what, found, wanted) in enforce::otherwise(site, &goal.function).await? {
            differ(what, found, wanted);
        }
    }
    told.enabled = state == State::Ready || dozes;
    told.versions = mark.versions.clone();
    told.urls = site.urls().await?;
    let facts = BTreeMap::from([
        ("service", json!(goal.service_path(&site.place))),
        ("function", json!(signature)),
        ("image", json!(live)),
        ("computePool", json!(site.place.pool.as_str())),
        ("content", json!(mark.content)),
    ]);
    told.facts.extend(facts.into_iter().map(|(name, value)| (name.to_owned(), value)));
    receipt.bundle = mark.versions.first().map(|one| one.version.clone());
    receipt.service = Some(told);
    Ok(receipt)
}
