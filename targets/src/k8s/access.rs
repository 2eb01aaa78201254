//! How a cluster is reached, and as whom.

use std::path::PathBuf;

use engine::{
    failure::{Failure, StepError},
    secrets::Secret,
};
use serde_json::{Map, Value};

use super::{
    kubeconfig,
    settings::{Access, Cluster},
};
use crate::{
    codes,
    http::{Auth, Http, NodeUrl, Tls},
    managed::{ambient, opener::Opener},
    target::Entered,
    tools::HostSettings,
};

/// Where a Pod finds its cluster and its service account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Inside {
    pub(super) host: Option<String>,
    pub(super) port: Option<String>,
    pub(super) folder: PathBuf,
}

impl Inside {
    /// As Kubernetes tells every Pod.
    pub(super) fn of_this_process() -> Self {
        let variable = |name| std::env::var(name).ok().filter(|text| !text.is_empty());
        Self {
            host: variable("KUBERNETES_SERVICE_HOST"),
            port: variable("KUBERNETES_SERVICE_PORT"),
            folder: PathBuf::from("/var/run/secrets/kubernetes.io/serviceaccount"),
        }
    }
}

/// An API server, and what is shown to it.
pub(super) struct Reach {
    pub(super) url: String,
    pub(super) auth: Auth,
    pub(super) tls: Tls,
    /// Whose the credentials are, as far as this side knows.
    pub(super) identity: String,
}

/// Puts together what the settings say. Files of a service account are read anew each time: their token is replaced every hour.
pub(super) async fn reach(
    cluster: &Cluster,
    host: &HostSettings,
    inside: &Inside,
    opener: Opener<'_>,
) -> Result<Reach, StepError> {
    let text = |text: &Option<String>| text.clone().filter(|text| !text.trim().is_empty());
    let authorities = text(&cluster.certificate_authority).map(String::into_bytes);
    match cluster.access {
        Access::Token => {
            let url = text(&cluster.api_server).ok_or_else(|| missing("cluster.apiServer"))?;
            let token = cluster.token.as_ref().ok_or_else(|| missing("cluster.token"))?;
            let token = opener.open(token).await?;
            let tls = Tls { trust_all: cluster.trust_all_certificates, authorities, identity: None };
            Ok(Reach { url, auth: Auth::Bearer(trimmed(&token)), tls, identity: "the token's owner".to_owned() })
        }
        Access::Kubeconfig => {
            let config = cluster.kubeconfig.as_ref().ok_or_else(|| missing("cluster.kubeconfig"))?;
            let config = opener.open(config).await?;
            let context = kubeconfig::read(&config, cluster.context.as_deref()).map_err(invalid)?;
            let tls = Tls {
                trust_all: cluster.trust_all_certificates || context.trust_all,
                authorities: authorities.or(context.authorities),
                identity: context.identity,
            };
            let auth = context.token.map_or(Auth::None, Auth::Bearer);
            let identity = format!("user {} of context {}", context.user, context.name);
            Ok(Reach { url: text(&cluster.api_server).unwrap_or(context.server), auth, tls, identity })
        }
        Access::InCluster => {
            ambient::lent(host)?;
            in_cluster(inside).await
        }
    }
}

/// Whether these settings say all that is needed, by path and sentence.
pub(super) fn problems(cluster: &Cluster) -> Vec<(String, String)> {
    let given = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.trim().is_empty());
    let mut problems = Vec::new();
    if cluster.access == Access::InCluster {
        // The worker's own token goes to its own cluster alone.
        let others = [
            ("apiServer", given(&cluster.api_server)),
            ("certificateAuthority", given(&cluster.certificate_authority)),
            ("trustAllCertificates", cluster.trust_all_certificates),
        ];
        let wrong = others.into_iter().filter(|(_, set)| *set).map(|(name, _)| {
            let said = "IN_CLUSTER reaches the cluster that Slipway runs in, and no other: leave this empty.";
            (format!("cluster.{name}"), said.to_owned())
        });
        problems.extend(wrong);
    }
    problems
}

/// Whether a kubeconfig that was just entered can be used, by path and sentence; whoever answers at its server's address is not asked.
pub(super) fn unreadable(http: &Http, settings: &Map<String, Value>, entered: Entered<'_>) -> Vec<(String, String)> {
    let Some(config) = entered.at("/cluster/kubeconfig") else { return Vec::new() };
    let context = settings.get("cluster").and_then(|cluster| cluster.get("context")?.as_str());
    let said = match kubeconfig::read(config, context) {
        Err(said) => vec![said],
        Ok(context) => {
            let server = NodeUrl::parse(&context.server, &http.settings().blocked).err();
            let tls = Tls { trust_all: false, authorities: context.authorities, identity: context.identity };
            let tls = http.with_tls(&tls).err();
            let server = server.map(|error| format!("The server of the kubeconfig: {error}"));
            server.into_iter().chain(tls.map(|failure| failure.message)).collect()
        }
    };
    said.into_iter().map(|said| ("cluster.kubeconfig".to_owned(), said)).collect()
}

async fn in_cluster(inside: &Inside) -> Result<Reach, StepError> {
    let outside = || {
        let message = "cluster.access is IN_CLUSTER, and Slipway does not run in a Pod with a service account. Choose another access.";
        StepError::from(Failure::new(codes::K8S_ACCESS_INVALID, message))
    };
    let (Some(host), Some(port)) = (&inside.host, &inside.port) else { return Err(outside()) };
    let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
    let read = |name: &str| tokio::fs::read_to_string(inside.folder.join(name));
    let token = read("token").await.map_err(|_| outside())?;
    let authorities = read("ca.crt").await.map_err(|_| outside())?;
    Ok(Reach {
        url: format!("https://{host}:{port}"),
        auth: Auth::Bearer(Secret::from(token.trim().to_owned())),
        tls: Tls { trust_all: false, authorities: Some(authorities.into_bytes()), identity: None },
        identity: "the service account that Slipway runs as".to_owned(),
    })
}

fn trimmed(token: &Secret) -> Secret {
    Secret::from(token.expose().trim().to_owned())
}

pub(super) fn missing(path: &str) -> StepError {
    Failure::new(codes::SETTING_MISSING, format!("The infrastructure's settings lack {path}.")).into()
}

fn invalid(message: String) -> StepError {
    Failure::new(codes::K8S_ACCESS_INVALID, message).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_pods_service_account_reaches_its_own_cluster() {
        let folder = tempfile::tempdir().unwrap();
        let inside = |host: Option<&str>| Inside {
            host: host.map(str::to_owned),
            port: Some("443".to_owned()),
            folder: folder.path().to_owned(),
        };
        let outside = in_cluster(&inside(Some("10.0.0.1"))).await;
        assert!(matches!(outside, Err(StepError::Permanent(failure)) if failure.code == codes::K8S_ACCESS_INVALID));
        std::fs::write(folder.path().join("ca.crt"), "CA").unwrap();
        for (host, url) in [("10.0.0.1", "https://10.0.0.1:443"), ("fd00::1", "https://[fd00::1]:443")] {
            // It is replaced while Slipway runs: each look reads it anew.
            std::fs::write(folder.path().join("token"), format!("of-{host}\n")).unwrap();
            let reach = in_cluster(&inside(Some(host))).await.unwrap();
            assert_eq!((reach.url.as_str(), reach.tls.authorities.as_deref()), (url, Some(&b"CA"[..])));
            assert!(!reach.tls.trust_all);
            assert!(matches!(reach.auth, Auth::Bearer(token) if token.expose() == format!("of-{host}")));
        }
        assert!(in_cluster(&inside(None)).await.is_err(), "no Pod");
    }
}
