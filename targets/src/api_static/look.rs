//! Looks outside a run: the check of an infrastructure, previews, health, drift. They change nothing.

use std::{net::SocketAddr, time::Duration};

use engine::failure::{Failure, StepError};
use serde_json::{Value, json};
use url::Url;

use super::{
    activate::shows,
    client::Api,
    notes::Prior,
    session::{Place, node, of_look},
    settings::Settings,
    validate, verify,
};
use crate::{
    codes,
    managed::opener::Opener,
    on_node::{OnNode, OnService, ServiceTrouble},
    service_package,
    spec::InfrastructureSpec,
    target::{Difference, Look, NodeReport, Preview, Receipt, Secrets},
    tools::Tools,
};

/// A name that is not resolved within this leads nowhere.
const RESOLVING: Duration = Duration::from_secs(2);

/// Reaches the node, proves its key, and asks the agent beside it, if there is one.
pub(super) async fn check(
    tools: &Tools,
    place: &InfrastructureSpec,
    secrets: &dyn Secrets,
) -> Result<NodeReport, Failure> {
    let opener = Opener::Look(secrets);
    let settings = Settings::read(&place.settings)?;
    let (api, at, of_node) = node(tools, &settings, &place.node, opener).await.map_err(of_look)?;
    let mut problems = Vec::new();
    if !api.is_alive().await? {
        problems
            .push("The node says that it is not alive (isAlive): a load balancer would send it no queries.".to_owned());
    }
    let (_, version) = api.services().await?;
    let (path, delivery) = match &of_node.delivery {
        Some(own) if own.mode.is_some() => (format!("apiNodes[{at}].delivery"), Some(own)),
        _ => ("delivery".to_owned(), settings.delivery.as_ref()),
    };
    let way = super::deliver::Way::open(tools, delivery, &path, &of_node.url, api.blocking(), opener).await;
    match way {
        Ok(way) => {
            let found = way.problems(0, false).await.map_err(of_look)?;
            problems.extend(found.into_iter().map(|problem| problem.message));
        }
        Err(error) => problems.push(of_look(error).message),
    }
    problems.extend(other_names(tools, &settings, at, &api, opener).await);
    if settings.quorum.is_some_and(|quorum| quorum as usize > settings.api_nodes.len()) {
        problems.push("The quorum is more than there are nodes: no node may fail.".to_owned());
    }
    let identity = "an administrator key of the API node".to_owned();
    Ok(NodeReport { node_id: None, node_type: Some("API".to_owned()), version, identity, is_admin: true, problems })
}

/// Nodes before this one in the settings that seem to be the same node under another URL: at the same address and port, with the same services.
async fn other_names(tools: &Tools, settings: &Settings, at: usize, api: &Api, opener: Opener<'_>) -> Vec<String> {
    let mut found = Vec::new();
    let Some(mine) = settings.api_nodes.get(at) else { return found };
    let here = addresses(&mine.url).await;
    for (named, other) in settings.nodes().into_iter().zip(&settings.api_nodes).take(at) {
        let shared = addresses(&other.url).await.into_iter().find(|address| here.contains(address));
        let Some(shared) = shared else { continue };
        let there = async { node(tools, settings, &named.node, opener).await.ok()?.0.services().await.ok() };
        if let (Ok((mine, _)), Some((theirs, _))) = (api.services().await, there.await)
            && mine == theirs
        {
            found.push(format!(
                "This node and node {} seem to be one node under two URLs: both are at {shared}, with the same services. Take one of them out, unless a proxy tells them apart by name or path.",
                named.name
            ));
        }
    }
    found
}

/// Where a URL leads; nowhere if that can't be found out in time.
async fn addresses(url: &str) -> Vec<SocketAddr> {
    let url = Url::parse(url.trim()).ok();
    let place =
        url.as_ref().and_then(|url| Some((url.host_str()?.trim_matches(['[', ']']), url.port_or_known_default()?)));
    let Some(place) = place else { return Vec::new() };
    match tokio::time::timeout(RESOLVING, tokio::net::lookup_host(place)).await {
        Ok(Ok(found)) => found.collect(),
        _ => Vec::new(),
    }
}

async fn place<'a>(tools: &'a Tools, look: Look<'a>) -> Result<Place<'a>, StepError> {
    Place::open(tools, look.spec, Opener::Look(look.secrets)).await
}

async fn now(place: &Place<'_>) -> Result<Prior, Failure> {
    let Some(enabled) = place.api.service(place.id()).await? else { return Ok(Prior::default()) };
    let mapping = place.api.generations(place.id()).await?.map_or(Some(Vec::new()), |all| all.mapping());
    Ok(Prior { exists: true, enabled, mapping })
}

/// What an update would change.
pub(super) async fn preview(tools: &Tools, look: Look<'_>) -> Result<Preview, Failure> {
    let place = match place(tools, look).await {
        Ok(place) => place,
        Err(StepError::Permanent(failure)) if failure.code == codes::SETTING_MISSING => {
            let problem = super::deliver::problem_of(&failure.code, failure.message);
            let bundle = look.spec.package.bundle_id.clone();
            return Ok(Preview { bundle, problems: vec![problem], ..Preview::default() });
        }
        Err(other) => return Err(of_look(other)),
    };
    let (found, goal) = (now(&place).await?, place.goal());
    let mut changes = Vec::new();
    if shows(&found, &goal) != Some(true) {
        changes.push(verify::difference(&place, &found, &goal));
    }
    let there = place.api.generations(place.id()).await?.unwrap_or_default();
    for version in &place.service.versions {
        let name = service_package::generation(place.service, version);
        if there.find(&name).is_none() {
            let what = format!("generation {name}");
            changes.push(Difference { what, found: Value::Null, wanted: json!(version.version) });
        }
    }
    let active = verify::receipt(&place, &found).bundle;
    let problems =
        validate::problems(&place, Opener::Look(look.secrets), look.imports, false).await.map_err(of_look)?;
    Ok(Preview {
        active_bundle: active,
        bundle: look.spec.package.bundle_id.clone(),
        creates_project: !found.exists,
        changes,
        problems,
        ..Preview::default()
    })
}

/// How the service is.
pub(super) async fn observe(tools: &Tools, look: Look<'_>) -> Result<OnNode, Failure> {
    let place = place(tools, look).await.map_err(of_look)?;
    let mut troubles = Vec::new();
    let mut trouble = |code, message: String| troubles.push(ServiceTrouble { is_error: true, code, message });
    if !place.api.is_alive().await? {
        let message = "The API node says that it is not alive (isAlive): a load balancer sends it no queries.";
        trouble(codes::API_NODE_NOT_ALIVE, message.to_owned());
    }
    let found = now(&place).await?;
    if found.exists && found.enabled && found.mapping.as_ref().is_some_and(Vec::is_empty) {
        trouble(codes::SERVICE_NOT_ANSWERING, "The service is enabled and no generation of it is active.".to_owned());
    }
    let service = OnService {
        enabled: found.exists && found.enabled,
        versions: verify::versions(&place, &found),
        urls: vec![place.node.caller_url()],
        troubles,
    };
    let active = verify::receipt(&place, &found).bundle;
    Ok(OnNode { exists: found.exists, active_bundle: active, service: Some(service), ..OnNode::default() })
}

/// What is otherwise than the receipt says.
pub(super) async fn drift(tools: &Tools, look: Look<'_>, receipt: &Receipt) -> Result<Vec<Difference>, Failure> {
    let place = place(tools, look).await.map_err(of_look)?;
    let found = now(&place).await?;
    let Some(then) = &receipt.service else { return Ok(Vec::new()) };
    let mut differences = Vec::new();
    if !found.exists {
        let what = format!("service {}", then.service_id);
        return Ok(vec![Difference { what, found: "not there".into(), wanted: "there".into() }]);
    }
    if found.enabled != then.enabled {
        let what = format!("service {}", then.service_id);
        let word = |enabled: bool| Value::from(if enabled { "enabled" } else { "disabled" });
        differences.push(Difference { what, found: word(found.enabled), wanted: word(then.enabled) });
    }
    // Shares that a node does not tell are those of the spec: they can't drift.
    let now = verify::versions(&place, &found);
    let same = now.len() == then.versions.len()
        && now.iter().all(|one| {
            let was = then.versions.iter().find(|was| was.version == one.version);
            was.is_some_and(|was| (was.probability - one.probability).abs() <= 1e-3)
        });
    if found.mapping.is_some() && !same {
        let shown = |versions: &[crate::target::VersionShare]| -> Value {
            versions
                .iter()
                .map(|one| (one.version.clone(), json!(one.probability)))
                .collect::<serde_json::Map<_, _>>()
                .into()
        };
        let what = verify::MAPPING.to_owned();
        differences.push(Difference { what, found: shown(&now), wanted: shown(&then.versions) });
    }
    Ok(differences)
}
