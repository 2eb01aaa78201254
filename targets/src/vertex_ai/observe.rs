//! How a deployed service is, by reading alone; what is otherwise than it was left; what an update would change.

use engine::failure::Failure;
use serde_json::{Value, json};

use super::{
    bodies,
    session::{Session, deployed_models, find},
    validate,
};
use crate::{
    codes,
    gcp::connection::Gcp,
    managed::{
        opener::{Opener, told},
        shares,
    },
    on_node::{OnNode, OnService, ServiceTrouble},
    target::{Difference, Look, Preview, Receipt, VersionShare},
};

pub(super) async fn observe(s: &Session<'_>) -> Result<OnNode, Failure> {
    let Some(endpoint) = s.endpoint().await? else { return Ok(OnNode::default()) };
    let live = bodies::traffic(&endpoint);
    let mut troubles = Vec::new();
    let mut trouble = |is_error, code, message: String| troubles.push(ServiceTrouble { is_error, code, message });
    for id in live.keys() {
        let said = s.google.clean(id, 50);
        match find(&endpoint, id) {
            None => trouble(
                true,
                codes::PLATFORM_RESOURCE_MISSING,
                format!("Deployed model {said} gets traffic and is not there. Update again."),
            ),
            Some(there) => {
                let words = there["status"]["message"].as_str().unwrap_or_default();
                if !words.is_empty() {
                    let message = format!("Vertex AI says of deployed model {said}: {}", s.google.clean(words, 500));
                    let replicas = there["status"]["availableReplicaCount"].as_u64().unwrap_or(1);
                    trouble(replicas == 0, codes::PLATFORM_FAILED, message);
                }
            }
        }
    }
    for there in deployed_models(&endpoint).iter().filter(|there| s.is_our_deployed(there)) {
        let id = there["id"].as_str().unwrap_or_default();
        if !live.contains_key(id) {
            let version = s.google.clean(there["displayName"].as_str().unwrap_or_default(), 100);
            let message = format!(
                "Deployed model {} of version {version} runs, costs, and gets no queries. The next update that succeeds gives it some, or undeploys it.",
                s.google.clean(id, 50)
            );
            trouble(false, codes::PLATFORM_LEFT_RUNNING, message);
        }
    }
    let versions = versions(&endpoint);
    let active_bundle = Some(&versions[..]).filter(|all| all.len() == 1).map(|all| all[0].version.clone());
    let service = OnService { enabled: !live.is_empty(), versions, urls: service_urls(s), troubles };
    Ok(OnNode { exists: true, active_bundle, service: Some(service), ..OnNode::default() })
}

/// The versions that get traffic, by the names for people.
pub(super) fn versions(endpoint: &Value) -> Vec<VersionShare> {
    let mut all: Vec<VersionShare> = Vec::new();
    for (id, percent) in bodies::traffic(endpoint) {
        let named = find(endpoint, &id).and_then(|there| there["displayName"].as_str()).unwrap_or(&id);
        let probability = f64::from(percent) / 100.0;
        match all.iter_mut().find(|one| one.version == named) {
            Some(one) => one.probability += probability,
            None => all.push(VersionShare { version: named.to_owned(), probability }),
        }
    }
    all.sort_by(|a, b| b.probability.total_cmp(&a.probability).then_with(|| a.version.cmp(&b.version)));
    all
}

/// Where it is called.
pub(super) fn service_urls(s: &Session<'_>) -> Vec<String> {
    let base = s.google.base();
    vec![format!("{}{}", base.trim_end_matches('/'), bodies::predict_path(&s.settings, &s.endpoint))]
}

pub(super) async fn drift(s: &Session<'_>, receipt: &Receipt) -> Result<Vec<Difference>, Failure> {
    let Some(left) = &receipt.service else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    let mut differ = |what: String, found_: Value, wanted: Value| {
        if found_ != wanted {
            found.push(Difference { what, found: found_, wanted });
        }
    };
    let Some(endpoint) = s.endpoint().await? else {
        differ("the endpoint".to_owned(), Value::Null, json!(s.endpoint));
        return Ok(found);
    };
    let wanted = left.facts.get("deployedModels").cloned().unwrap_or_default();
    let live = bodies::traffic(&endpoint);
    differ("the traffic".to_owned(), json!(live), wanted);
    for there in deployed_models(&endpoint) {
        let id = there["id"].as_str().unwrap_or_default();
        if !live.contains_key(id) || !s.is_our_deployed(there) {
            continue;
        }
        let version = s.google.clean(there["displayName"].as_str().unwrap_or_default(), 100);
        for (what, seen, wanted) in bodies::otherwise(&s.settings, there) {
            differ(format!("{what} of version {version}"), seen, wanted);
        }
    }
    for (what, seen, wanted) in bodies::endpoint_otherwise(s.spec, &s.settings, &endpoint) {
        differ(what.to_owned(), seen, wanted);
    }
    Ok(found)
}

pub(super) async fn preview(gcp: &Gcp, look: Look<'_>) -> Result<Preview, Failure> {
    let (problems, session) = validate::problems(gcp, look.spec, Opener::Look(look.secrets)).await.map_err(told)?;
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
    let now = endpoint.as_ref().map(versions).unwrap_or_default();
    preview.active_bundle = now.first().map(|one| one.version.clone());
    preview.changes = shares::changes(endpoint.as_ref().map(|_| &*s.endpoint), &s.endpoint, &now, &s.service.versions);
    for (what, found, wanted) in
        endpoint.iter().flat_map(|there| bodies::endpoint_otherwise(s.spec, &s.settings, there))
    {
        preview.changes.push(Difference { what: what.to_owned(), found, wanted });
    }
    let live = endpoint.as_ref().map(bodies::traffic).unwrap_or_default();
    for there in endpoint.as_ref().map(deployed_models).unwrap_or_default() {
        let version = there["displayName"].as_str().unwrap_or_default();
        let stays = s.service.versions.iter().any(|one| bodies::display(&one.version) == version);
        if !stays || !s.is_our_deployed(there) || !there["id"].as_str().is_some_and(|id| live.contains_key(id)) {
            continue;
        }
        let mut all = bodies::otherwise(&s.settings, there);
        let model = there["model"].as_str().and_then(|name| name.rsplit('/').next()).unwrap_or_default();
        let model = model.split('@').next().unwrap_or_default();
        if let Some(model) = s.model(model).await? {
            let repository = format!("{}/{}", s.connection.registry, super::push::repository(&s));
            all.extend(bodies::model_otherwise(s.spec, &s.settings, &model, &repository));
        }
        for (what, found, wanted) in all {
            preview.changes.push(Difference { what: format!("{what} of version {version}"), found, wanted });
        }
    }
    Ok(preview)
}
