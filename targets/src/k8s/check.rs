//! Reaches the API server, and asks one by one for the rights that are needed. Changes nothing.

use engine::failure::{Failure, StepError};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{K8s, api::failure, offered::Offered, place, problems, push, rights, settings::Settings, validate};
use crate::{
    codes,
    managed::opener::Opener,
    spec::InfrastructureSpec,
    target::{NodeReport, Secrets},
};

/// Stands for a service's image: its registry is asked, and nothing of this name is made.
const CHECKED_IMAGE: &str = "slipway-check";
/// So many questions are under way at once.
const AT_ONCE: usize = 8;

pub(super) async fn check(
    k8s: &K8s,
    infrastructure: &InfrastructureSpec,
    secrets: &dyn Secrets,
) -> Result<NodeReport, Failure> {
    asked(k8s, infrastructure, secrets).await.map_err(failure)
}

async fn asked(k8s: &K8s, infrastructure: &InfrastructureSpec, secrets: &dyn Secrets) -> Result<NodeReport, StepError> {
    let settings = Settings::read(&infrastructure.settings).map_err(|error| {
        Failure::new(codes::SETTING_INVALID, "The settings are not as the platform's schema says them.").detail(error)
    })?;
    let mut said: Vec<_> = problems::missing(&settings);
    said.extend(problems::of_settings(&infrastructure.settings, &k8s.http.settings().blocked));
    let mut all: Vec<_> = said.into_iter().map(|(path, problem)| format!("{path}: {problem}")).collect();
    let node_type = Some("KUBERNETES".to_owned());
    if !problems::can_reach(&settings) {
        let identity = String::new();
        return Ok(NodeReport { node_id: None, node_type, version: None, identity, is_admin: false, problems: all });
    }
    if all.is_empty() {
        let of_registry = push::of_registry(k8s, &settings, CHECKED_IMAGE, Opener::Look(secrets)).await?;
        all.extend(of_registry.into_iter().map(|failure| failure.message));
    }
    let api = place::api(k8s, &settings, Opener::Look(secrets)).await?;
    if api.lacks_namespace().await? {
        all.push(format!("k8sNamespace: the cluster has no namespace {}.", api.namespace));
    }
    let version = api.version().await?;
    let offered = Offered::new(api.group_versions().await?);
    let identity = api.whoami().await?.unwrap_or_else(|| api.identity.clone());
    let asked = rights::of_settings(&settings).into_iter().map(|right| {
        let api = &api;
        async move { Ok::<_, StepError>((right, api.may(right.verb, right.group, right.resource).await?)) }
    });
    let answers: Vec<(rights::Right, bool)> = stream::iter(asked).buffered(AT_ONCE).try_collect().await?;
    let denied: Vec<_> = answers.iter().filter(|(_, may)| !may).map(|(right, _)| right).collect();
    let is_admin = denied.is_empty();
    all.extend(
        denied.into_iter().map(|right| format!("The credentials may not {right} in namespace {}.", api.namespace)),
    );
    let account = settings.workload.service_account_name.as_deref();
    let absent = validate::absent(&api, account, &settings.image_pull_secrets).await?;
    all.extend(absent.into_iter().map(|id| format!("The {id} is not in namespace {}.", api.namespace)));
    for version in ["apps/v1", "authorization.k8s.io/v1"] {
        if !offered.has(version) {
            all.push(format!("The cluster does not offer {version}."));
        }
    }
    if offered.policy().is_none() {
        all.push("The cluster offers no API for disruption budgets.".to_owned());
    }
    Ok(NodeReport {
        node_id: Some(api.namespace.clone()),
        node_type,
        version: Some(version),
        identity,
        is_admin,
        problems: all,
    })
}
