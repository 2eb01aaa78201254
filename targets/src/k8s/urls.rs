//! Where a service is called: base URLs, without the API's path.

use engine::failure::StepError;
use serde_json::Value;

use super::{
    manifests::{PORT, ingress},
    objects::Id,
    own_yaml::Hints,
    place::{Place, invalid, kind},
    settings::{Exposition, ExpositionType},
};

/// As the cluster shows it. Empty while a load balancer or an Ingress has no address yet.
pub(super) async fn of(place: &Place<'_>) -> Result<Vec<String>, StepError> {
    let goal = &place.goal;
    let base = &goal.names.base;
    let found = match goal.exposition.kind {
        ExpositionType::Ingress => {
            let (host, path) = ingress::host_and_path(goal).map_err(invalid)?;
            let live = place.owned(&ingress_id(base)).await?;
            let secure = goal.exposition.params.tls_secret_name.as_deref().is_some_and(|name| !name.is_empty());
            of_ingress(live.as_ref(), host, secure, &path)
        }
        ExpositionType::Yaml => {
            let (_, hints) = goal.exposing().map_err(invalid)?;
            of_hints(place, &hints).await?
        }
        _ => {
            let live = place.owned(&service_id(base)).await?;
            let pods = if goal.exposition.kind == ExpositionType::NodePort { place.pods().await? } else { Vec::new() };
            live.and_then(|live| of_service(&live, goal.namespace(), &goal.exposition, &pods))
        }
    };
    Ok(found.into_iter().map(|url| place.api.clean(&url)).collect())
}

/// The Service that an exposition puts in front of the Pods; None where own YAML does not say which.
pub(super) fn exposed_service(place: &Place<'_>) -> Result<Option<Id>, StepError> {
    Ok(match place.goal.exposition.kind {
        ExpositionType::Yaml => {
            let (manifests, hints) = place.goal.exposing().map_err(invalid)?;
            let named =
                |id: &Id| id.kind.name == "Service" && hints.service.as_ref().is_none_or(|name| *name == id.name);
            manifests.into_iter().map(|manifest| manifest.id).find(named)
        }
        _ => Some(service_id(&place.goal.names.base)),
    })
}

pub(super) fn service_id(name: &str) -> Id {
    kind("v1", "Service").named(name)
}

fn ingress_id(name: &str) -> Id {
    kind("networking.k8s.io/v1", "Ingress").named(name)
}

async fn of_hints(place: &Place<'_>, hints: &Hints) -> Result<Option<String>, StepError> {
    if let Some(url) = &hints.forced_url {
        return Ok(Some(url.trim_end_matches('/').to_owned()));
    }
    let scheme = hints.scheme.as_deref();
    let path = hints.path.as_deref().unwrap_or_default();
    let behind = |url: String| {
        let url = match (scheme, url.split_once("://")) {
            (Some(scheme), Some((_, rest))) => format!("{scheme}://{rest}"),
            _ => url,
        };
        format!("{}{}", url.trim_end_matches('/'), path.trim_end_matches('/'))
    };
    if let Some(name) = &hints.ingress {
        let live = place.owned(&ingress_id(name)).await?;
        let rule = live.as_ref().and_then(|live| live.pointer("/spec/rules/0/host")).and_then(Value::as_str);
        let secure = live.as_ref().is_some_and(|live| live.pointer("/spec/tls/0").is_some());
        return Ok(of_ingress(live.as_ref(), rule.map(str::to_owned), secure, "/").map(behind));
    }
    let Some(id) = exposed_service(place)? else { return Ok(None) };
    let Some(live) = place.owned(&id).await? else { return Ok(None) };
    let kind = match live.pointer("/spec/type").and_then(Value::as_str) {
        Some("NodePort") => ExpositionType::NodePort,
        Some("LoadBalancer") => ExpositionType::LoadBalancer,
        _ => ExpositionType::ClusterIp,
    };
    let pods = if kind == ExpositionType::NodePort { place.pods().await? } else { Vec::new() };
    Ok(of_service(&live, place.goal.namespace(), &Exposition { kind, ..Exposition::default() }, &pods).map(behind))
}

fn of_service(live: &Value, namespace: &str, exposition: &Exposition, pods: &[Value]) -> Option<String> {
    let name = live.pointer("/metadata/name")?.as_str()?;
    let port = live.pointer("/spec/ports/0/port").and_then(Value::as_u64).unwrap_or(PORT.into());
    match exposition.kind {
        ExpositionType::LoadBalancer => {
            let host = balancer(live)?;
            Some(format!("http://{}:{port}", bracketed(&host)))
        }
        ExpositionType::NodePort => {
            let node_port = live.pointer("/spec/ports/0/nodePort")?.as_u64()?;
            let given = exposition.params.node_address.clone().filter(|address| !address.is_empty());
            // The address of a node that runs a Pod needs no right to read nodes.
            let seen = || pods.iter().find_map(|pod| pod.pointer("/status/hostIP")?.as_str().map(str::to_owned));
            Some(format!("http://{}:{node_port}", bracketed(&given.or_else(seen)?)))
        }
        _ => Some(format!("http://{name}.{namespace}.svc:{port}")),
    }
}

fn of_ingress(live: Option<&Value>, host: Option<String>, secure: bool, path: &str) -> Option<String> {
    let live = live?;
    // An Ingress for every host, or for any below one, has no name of its own.
    let host = host.filter(|host| !host.is_empty() && !host.contains('*')).or_else(|| balancer(live))?;
    let scheme = if secure { "https" } else { "http" };
    Some(format!("{scheme}://{}{}", bracketed(&host), path.trim_end_matches('/')))
}

/// The address that the cluster's load balancer, or its Ingress controller, has given.
fn balancer(live: &Value) -> Option<String> {
    let first = live.pointer("/status/loadBalancer/ingress/0")?;
    let text = |key: &str| first.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
    text("hostname").or_else(|| text("ip"))
}

fn bracketed(host: &str) -> String {
    if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_exposition_has_its_url() {
        let live = json!({
            "metadata": {"name": "s"}, "spec": {"ports": [{"port": 80, "nodePort": 30_000}]},
            "status": {"loadBalancer": {"ingress": [{"ip": "fd00::1"}]}},
        });
        let pods = [json!({"status": {}}), json!({"status": {"hostIP": "10.0.0.7"}})];
        let url = |kind, address: Option<&str>| {
            let mut exposition = Exposition { kind, ..Exposition::default() };
            exposition.params.node_address = address.map(str::to_owned);
            of_service(&live, "n", &exposition, &pods)
        };
        assert_eq!(url(ExpositionType::ClusterIp, None).unwrap(), "http://s.n.svc:80");
        assert_eq!(url(ExpositionType::NodePort, None).unwrap(), "http://10.0.0.7:30000");
        assert_eq!(url(ExpositionType::NodePort, Some("node.example.com")).unwrap(), "http://node.example.com:30000");
        assert_eq!(url(ExpositionType::LoadBalancer, None).unwrap(), "http://[fd00::1]:80");
        let ingress = |host: Option<&str>, secure| of_ingress(Some(&live), host.map(str::to_owned), secure, "/a/");
        assert_eq!(ingress(Some("h.example.com"), true).unwrap(), "https://h.example.com/a");
        assert_eq!(ingress(Some("*.example.com"), false).unwrap(), "http://[fd00::1]/a");
        assert_eq!(of_ingress(Some(&json!({})), None, false, "/"), None);
    }
}
