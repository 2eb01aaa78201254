//! Whether the platform can be reached, and which rights are missing.

use engine::failure::{Failure, StepError};

use super::{push, settings::Settings};
use crate::{
    codes,
    gcp::{
        connection::{Gcp, GcpSettings, KIND},
        rights,
    },
    managed::{
        opener::{Opener, told},
        problems::Problems,
    },
    spec::InfrastructureSpec,
    target::{NodeReport, Secrets},
};

/// What every step together needs in the project. The page of this platform lists the same.
pub(super) const PERMISSIONS: [&str; 14] = [
    "aiplatform.endpoints.create",
    "aiplatform.endpoints.delete",
    "aiplatform.endpoints.deploy",
    "aiplatform.endpoints.get",
    "aiplatform.endpoints.predict",
    "aiplatform.endpoints.undeploy",
    "aiplatform.endpoints.update",
    "aiplatform.models.delete",
    "aiplatform.models.get",
    "aiplatform.models.list",
    "aiplatform.models.upload",
    "artifactregistry.repositories.downloadArtifacts",
    "artifactregistry.repositories.get",
    "artifactregistry.repositories.uploadArtifacts",
];
/// What a service account of its own needs on top.
pub(super) const ACT_AS: &str = "iam.serviceAccounts.actAs";

pub(super) async fn check(gcp: &Gcp, place: &InfrastructureSpec, secrets: &dyn Secrets) -> Result<NodeReport, Failure> {
    let settings = Settings::of(&place.settings)?;
    let connection = GcpSettings::read(place.connection.as_ref())?;
    let mut problems = Problems::default();
    settings.missing(&mut problems);
    connection.problems(&mut problems);
    let mut identity = String::new();
    if problems.0.is_empty() {
        let opener = Opener::Look(secrets);
        let gcp = &gcp.afresh();
        let vertex = gcp.vertex(&connection, &settings.location, opener).await.map_err(told)?;
        let path = ["v1", "projects", &settings.project, "locations", &settings.location, "models"];
        vertex.list(&path, Some("labels.slipway-owner=none"), "models", "listing the models").await?;
        identity = gcp.identity(&connection, opener).await.map_err(told)?;
        rights(gcp, &settings, &connection, opener, &mut problems).await.map_err(told)?;
        base(gcp, &settings, &connection, opener, place.node.call_timeout_ms, &mut problems).await.map_err(told)?;
    }
    Ok(NodeReport {
        node_id: Some(settings.project).filter(|name| !name.is_empty()),
        node_type: Some(KIND.to_owned()),
        version: None,
        identity,
        is_admin: false,
        problems: problems.sentences(),
    })
}

/// Adds what is wrong with the base image: that it is not there, or may not be read. What may pass by itself is an error.
pub(super) async fn base(
    gcp: &Gcp,
    settings: &Settings,
    connection: &GcpSettings,
    opener: Opener<'_>,
    patience_ms: u64,
    problems: &mut Problems,
) -> Result<(), StepError> {
    let found = async {
        let login = gcp.registry_login(connection, opener).await?;
        let url = connection.registry_url();
        let named = (url.as_str(), settings.repository.as_str());
        let place = push::place(gcp, (settings, connection), login, named, patience_ms);
        Ok::<_, StepError>(place.check_base().await?)
    };
    match found.await {
        Ok(()) => Ok(()),
        Err(StepError::Permanent(failure)) => {
            problems.take(failure);
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Adds what the credentials may not do. What may pass by itself is an error.
pub(super) async fn rights(
    gcp: &Gcp,
    settings: &Settings,
    connection: &GcpSettings,
    opener: Opener<'_>,
    problems: &mut Problems,
) -> Result<(), StepError> {
    let manager = match gcp.resource_manager(connection, opener).await {
        Ok(manager) => manager,
        Err(StepError::Permanent(failure)) => {
            problems.take(failure);
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let mut needed = PERMISSIONS.to_vec();
    if !settings.service_account.is_empty() {
        needed.push(ACT_AS);
    }
    match rights::missing(&manager, &settings.project, &needed).await {
        Ok(missing) => {
            for permission in missing {
                problems.add(
                    &codes::RIGHTS_MISSING,
                    format!("The credentials lack {permission} in project {}.", settings.project),
                );
            }
            Ok(())
        }
        Err(error) if !error.retryable => {
            problems.take(error.failure);
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_lists_the_same_permissions() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/targets/VERTEX_AI.md");
        let page = std::fs::read_to_string(page).unwrap_or_default();
        let role: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("  - ")).collect();
        assert_eq!(role, PERMISSIONS);
    }
}
