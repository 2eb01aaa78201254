//! What is read outside runs: health, drift, a preview.

use engine::failure::StepError;
use serde_json::{Value, json};

use super::{
    enforce,
    follow::{State, state},
    site::Site,
    validate, verify,
};
use crate::{
    codes,
    on_node::{OnNode, OnService, ServiceTrouble},
    spec::DeploySpec,
    target::{Difference, Preview, Receipt},
};

/// How the service is.
pub(super) async fn observe(site: &Site) -> Result<OnNode, StepError> {
    let found = match site.service().await? {
        Some(service) => {
            service.mark().filter(|mark| mark.deployment == site.goal.mark.deployment).map(|mark| (service, mark))
        }
        None => None,
    };
    let Some((service, mark)) = found else {
        return Ok(OnNode { service: Some(OnService::default()), ..OnNode::default() });
    };
    let image = service.spec.image().unwrap_or_else(|| site.place.image_path(&site.goal.image.name, &mark.tag));
    let instances = service.min_instances.unwrap_or(1);
    let mut troubles = Vec::new();
    // One that dozes answers the next query.
    let enabled = !service.is_suspended() || service.dozes();
    if !service.is_suspended() {
        match state(site, &service, &image, instances).await? {
            State::Ready => {}
            State::Starting(words) => troubles.push(ServiceTrouble {
                is_error: false,
                code: codes::SNOWPARK_SERVICE_NOT_READY,
                message: words,
            }),
            State::Failed { reason, .. } => troubles.push(ServiceTrouble {
                is_error: true,
                code: codes::SNOWPARK_SERVICE_FAILED,
                message: format!("The service does not run: {}", reason.trim_end()),
            }),
        }
    }
    let functions = site.functions().await?;
    if Site::same(&functions, &mark.function).is_none_or(|one| one.mark.is_none()) {
        let message = format!("The function {} is missing.", mark.function.signature(site.within()));
        troubles.push(ServiceTrouble { is_error: true, code: codes::NODE_NOT_FOUND, message });
    }
    Ok(OnNode {
        exists: true,
        active_bundle: mark.versions.first().map(|one| one.version.clone()),
        service: Some(OnService { enabled, versions: mark.versions, urls: site.urls().await?, troubles }),
        ..OnNode::default()
    })
}

/// What is otherwise than the receipt says.
pub(super) async fn drift(site: &Site, spec: &DeploySpec, receipt: &Receipt) -> Result<Vec<Difference>, StepError> {
    let fact = |name: &str| receipt.service.as_ref().and_then(|service| service.facts.get(name)).cloned();
    let digest = fact("digest").and_then(|digest| digest.as_str().map(str::to_owned));
    let now = verify::receipt(site, spec, digest).await?;
    // What the receipt itself told of is no drift.
    Ok(now.differences.into_iter().filter(|one| !receipt.differences.contains(one)).collect())
}

/// What an update would change.
pub(super) async fn preview(site: &Site, spec: &DeploySpec) -> Result<Preview, StepError> {
    let goal = &site.goal;
    let there = site.service().await?;
    let mark = there.as_ref().and_then(super::site::Service::mark).filter(|one| one.deployment == goal.mark.deployment);
    let mut changes = Vec::new();
    let mut differ = |what: &str, found: Value, wanted: Value| {
        if found != wanted {
            changes.push(Difference { what: what.to_owned(), found, wanted });
        }
    };
    let of = |name: &str, value: Value| if mark.is_some() { value } else { json!(name).take() };
    differ("the service", of("", json!(goal.service.as_str())), json!(goal.service.as_str()));
    differ("the image's tag", json!(mark.as_ref().map(|mark| &mark.tag)), json!(goal.image.tag));
    differ("the versions", json!(mark.as_ref().map(|mark| &mark.versions)), json!(goal.mark.versions));
    differ("the settings of the service", json!(mark.as_ref().map(|mark| &mark.content)), json!(goal.mark.content));
    let min = mark.as_ref().and(there.as_ref()).and_then(|service| service.min_instances);
    let max = mark.as_ref().and(there.as_ref()).and_then(|service| service.max_instances);
    differ("the least number of instances", json!(min), json!(goal.min_instances));
    differ("the greatest number of instances", json!(max), json!(goal.max_instances));
    if mark.is_some() && there.as_ref().is_some_and(|service| service.is_suspended() && !service.dozes()) {
        differ("the service's state", json!("SUSPENDED"), json!("RUNNING"));
    }
    let suspend = mark.as_ref().and(there.as_ref()).and_then(|service| service.auto_suspend_secs);
    if suspend.is_some() {
        differ("the seconds until it is suspended", json!(suspend), json!(site.place.settings.auto_suspend_seconds));
    }
    let functions = match site.functions().await {
        // Told among the problems.
        Err(error) if error.is(&codes::NODE_FORBIDDEN) || error.is(&codes::NODE_NOT_FOUND) => Vec::new(),
        found => found?,
    };
    let live = mark.as_ref().map(|mark| &mark.function);
    let before = live.filter(|function| Site::same(&functions, function).is_some_and(|one| one.mark.is_some()));
    let signature = |function: &super::function::Function| function.signature(site.within());
    differ("the function", json!(before.map(signature)), json!(signature(&goal.function)));
    if let Some(before) = before {
        differ("what the function returns", json!(before.returns.sql()), json!(goal.function.returns.sql()));
        differ("the most rows of a batch", json!(before.batch), json!(goal.function.batch));
        for (what, found, wanted) in enforce::otherwise(site, before).await? {
            differ(what, found, wanted);
        }
    }
    Ok(Preview {
        active_bundle: mark.as_ref().and_then(|mark| mark.versions.first()).map(|one| one.version.clone()),
        bundle: spec.package.bundle_id.clone(),
        creates_project: there.is_none(),
        changes,
        problems: validate::problems(site).await?,
        ..Preview::default()
    })
}
