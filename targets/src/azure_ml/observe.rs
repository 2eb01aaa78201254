//! How a deployed service is, by reading alone; what is otherwise than it was left; what an update would change.

use engine::failure::Failure;
use serde_json::{Value, json};

use super::{
    bodies,
    change::{State, state},
    names,
    session::Session,
    validate,
};
use crate::{
    azure::connection::Azure,
    codes,
    managed::shares,
    on_node::{OnNode, OnService, ServiceTrouble},
    target::{Difference, Look, Preview, Receipt, VersionShare},
};

pub(super) async fn observe(s: &Session<'_>) -> Result<OnNode, Failure> {
    let Some(endpoint) = s.endpoint().await? else { return Ok(OnNode::default()) };
    let deployments = s.deployments().await?;
    let versions = versions(&endpoint, &deployments);
    let live = bodies::traffic(&endpoint);
    let mut troubles = Vec::new();
    let mut trouble = |is_error, code, message: String| troubles.push(ServiceTrouble { is_error, code, message });
    match state(&endpoint) {
        State::Ready => {}
        State::AtWork => trouble(false, codes::SERVICE_STARTING, "Azure is changing the endpoint.".to_owned()),
        State::Failed => {
            trouble(true, codes::PLATFORM_FAILED, "Azure failed at the endpoint. Update again.".to_owned())
        }
    }
    for name in live.keys() {
        let there = deployments.iter().find(|there| there["name"] == name.as_str());
        let said = s.arm.clean(name, 100);
        match there.map(state) {
            Some(State::Ready) => {}
            Some(State::AtWork) => {
                trouble(false, codes::SERVICE_STARTING, format!("Azure is changing deployment {said}."))
            }
            Some(State::Failed) => {
                trouble(true, codes::PLATFORM_FAILED, format!("Azure failed at deployment {said}. Update again."))
            }
            None => trouble(
                true,
                codes::PLATFORM_RESOURCE_MISSING,
                format!("Deployment {said} gets traffic and is not there. Update again."),
            ),
        }
    }
    for there in deployments.iter().filter(|there| s.is_ours(there)) {
        let name = there["name"].as_str().unwrap_or_default();
        if !live.contains_key(name) {
            let version = s.arm.clean(there["tags"][names::VERSION].as_str().unwrap_or_default(), 100);
            let message = format!(
                "Deployment {} of version {version} is there, costs, and gets no queries. The next update that succeeds gives it some, or deletes it.",
                s.arm.clean(name, 100)
            );
            trouble(false, codes::PLATFORM_LEFT_RUNNING, message);
        }
    }
    let service = OnService { enabled: !live.is_empty(), versions, urls: service_urls(&endpoint), troubles };
    let active_bundle = Some(&service.versions[..]).filter(|all| all.len() == 1).map(|all| all[0].version.clone());
    Ok(OnNode { exists: true, active_bundle, service: Some(service), ..OnNode::default() })
}

/// The versions that get traffic, by their marks; what others made is named by its own name.
pub(super) fn versions(endpoint: &Value, deployments: &[Value]) -> Vec<VersionShare> {
    let named = |name: &str| {
        let there = deployments.iter().find(|there| there["name"] == name);
        there.and_then(|there| there["tags"][names::VERSION].as_str()).unwrap_or(name).to_owned()
    };
    let mut all: Vec<VersionShare> = Vec::new();
    for (name, percent) in bodies::traffic(endpoint) {
        let (version, probability) = (named(&name), f64::from(percent) / 100.0);
        match all.iter_mut().find(|one| one.version == version) {
            Some(one) => one.probability += probability,
            None => all.push(VersionShare { version, probability }),
        }
    }
    all.sort_by(|a, b| b.probability.total_cmp(&a.probability).then_with(|| a.version.cmp(&b.version)));
    all
}

/// Where it is called.
pub(super) fn service_urls(endpoint: &Value) -> Vec<String> {
    let uri = endpoint["properties"]["scoringUri"].as_str().and_then(|uri| url::Url::parse(uri).ok());
    uri.filter(|uri| uri.has_host()).map(String::from).into_iter().collect()
}

pub(super) async fn drift(s: &Session<'_>, receipt: &Receipt) -> Result<Vec<Difference>, Failure> {
    let Some(left) = &receipt.service else { return Ok(Vec::new()) };
    let endpoint = s.endpoint().await?;
    let mut found = Vec::new();
    let mut differ = |what: &str, found_: Value, wanted: Value| {
        if found_ != wanted {
            found.push(Difference { what: what.to_owned(), found: found_, wanted });
        }
    };
    let Some(endpoint) = endpoint else {
        differ("the endpoint", Value::Null, json!(s.endpoint));
        return Ok(found);
    };
    let wanted = left.facts.get("deployments").cloned().unwrap_or_default();
    differ("the traffic", json!(bodies::traffic(&endpoint)), wanted);
    for (what, seen, wanted) in bodies::endpoint_otherwise(s.spec, &s.settings, &endpoint) {
        differ(what, seen, wanted);
    }
    for there in s.deployments().await? {
        let name = there["name"].as_str().unwrap_or_default();
        if !bodies::traffic(&endpoint).contains_key(name) {
            continue;
        }
        differ(&format!("deployment {name}"), there["properties"]["provisioningState"].clone(), json!("Succeeded"));
        if !s.is_ours(&there) {
            continue;
        }
        // Which environment it was left with; earlier receipts do not say.
        let environment = left.facts.get("environments").and_then(|all| all.get(name)).and_then(Value::as_str);
        for (what, seen, wanted) in otherwise(s, &there, environment) {
            differ(&format!("{what} of deployment {name}"), seen, wanted);
        }
    }
    Ok(found)
}

/// What of one of our deployments is not as the settings say; its environment stays as it is, or is `environment`.
fn otherwise(s: &Session<'_>, there: &Value, environment: Option<&str>) -> Vec<(&'static str, Value, Value)> {
    let version = there["tags"][names::VERSION].as_str().unwrap_or_default();
    let environment = environment.or(there["properties"]["environmentId"].as_str()).unwrap_or_default();
    bodies::otherwise(there, &bodies::deployment(s.spec, &s.settings, version, environment))
}

pub(super) async fn preview(azure: &Azure, look: Look<'_>) -> Result<Preview, Failure> {
    let (problems, session) = validate::problems(azure, look.spec, crate::managed::opener::Opener::Look(look.secrets))
        .await
        .map_err(crate::managed::opener::told)?;
    let mut preview =
        Preview { bundle: look.spec.package.bundle_id.clone(), problems: problems.0, ..Preview::default() };
    let Some(s) = session else { return Ok(preview) };
    let endpoint = match s.endpoint().await {
        Ok(endpoint) => endpoint,
        // It is somebody else's: named among the problems.
        Err(error) if error.is(&codes::PLATFORM_NAME_TAKEN) => return Ok(preview),
        Err(error) => return Err(error.into()),
    };
    preview.creates_project = endpoint.is_none();
    let deployments = if endpoint.is_some() { s.deployments().await? } else { Vec::new() };
    let now = endpoint.as_ref().map(|endpoint| versions(endpoint, &deployments)).unwrap_or_default();
    preview.active_bundle = now.first().map(|one| one.version.clone());
    preview.changes = shares::changes(endpoint.as_ref().map(|_| &*s.endpoint), &s.endpoint, &now, &s.service.versions);
    for (what, found, wanted) in
        endpoint.iter().flat_map(|there| bodies::endpoint_otherwise(s.spec, &s.settings, there))
    {
        preview.changes.push(Difference { what: what.to_owned(), found, wanted });
    }
    let live = endpoint.as_ref().map(bodies::traffic).unwrap_or_default();
    for there in &deployments {
        let version = there["tags"][names::VERSION].as_str().unwrap_or_default();
        let stays = s.service.versions.iter().any(|one| one.version == version);
        if !stays || !s.is_ours(there) || !there["name"].as_str().is_some_and(|name| live.contains_key(name)) {
            continue;
        }
        let told = otherwise(&s, there, None);
        // Its name says its content: whatever else is set otherwise is told of as one.
        let environment = there["properties"]["environmentId"].as_str().unwrap_or_default();
        // Azure may write ids in its own case.
        let last = environment.rsplit('/').next().unwrap_or_default();
        let environment = format!("/{}", s.environment_path(last).join("/"));
        let content = bodies::deployment(s.spec, &s.settings, version, &environment);
        if told.is_empty() && there["name"] != names::deployment(&content).as_str() {
            let what = format!("the settings of version {version}");
            preview.changes.push(Difference { what, found: json!("as deployed"), wanted: json!("as set now") });
        }
        for (what, found, wanted) in told {
            preview.changes.push(Difference { what: format!("{what} of version {version}"), found, wanted });
        }
    }
    Ok(preview)
}
