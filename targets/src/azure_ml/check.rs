//! Whether the platform can be reached, and which rights are missing.

use engine::failure::{Failure, StepError};

use super::{API_VERSION, names, push, settings::Settings};
use crate::{
    azure::{
        arm::Arm,
        connection::{Azure, AzureSettings, KIND},
        rights,
    },
    codes,
    managed::{
        opener::{Opener, told},
        problems::Problems,
    },
    spec::InfrastructureSpec,
    target::{NodeReport, Secrets},
};

/// What every step together needs in the workspace. The page of this platform lists the same.
pub(super) const ACTIONS: [&str; 15] = [
    "Microsoft.MachineLearningServices/workspaces/read",
    "Microsoft.MachineLearningServices/workspaces/environments/read",
    "Microsoft.MachineLearningServices/workspaces/environments/write",
    "Microsoft.MachineLearningServices/workspaces/environments/delete",
    "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/read",
    "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/write",
    "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/delete",
    "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/listKeys/action",
    "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/token/action",
    "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/deployments/read",
    "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/deployments/write",
    "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/deployments/delete",
    "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/deployments/getLogs/action",
    "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/score/action",
    "Microsoft.Authorization/permissions/read",
];

pub(super) async fn check(
    azure: &Azure,
    place: &InfrastructureSpec,
    secrets: &dyn Secrets,
) -> Result<NodeReport, Failure> {
    let settings = Settings::of(&place.settings)?;
    let connection = AzureSettings::read(place.connection.as_ref())?;
    let mut problems = Problems::default();
    settings.missing(&mut problems);
    connection.problems(&mut problems);
    if problems.0.is_empty() {
        let opener = Opener::Look(secrets);
        let azure = &azure.afresh();
        let arm = azure.arm(&connection, opener).await.map_err(told)?;
        let repository = format!("{}/any", settings.repository_prefix);
        rights(azure, &arm, &names::workspace(&settings), &connection, opener, &repository, &mut problems)
            .await
            .map_err(told)?;
        base(azure, &settings, &connection, opener, place.node.call_timeout_ms, &mut problems).await.map_err(told)?;
    }
    Ok(NodeReport {
        node_id: Some(settings.workspace).filter(|name| !name.is_empty()),
        node_type: Some(KIND.to_owned()),
        version: Some(API_VERSION.to_owned()),
        identity: connection.client_id,
        is_admin: false,
        problems: problems.sentences(),
    })
}

/// Adds what is wrong with the base image: that it is not there, or may not be read. What may pass by itself is an error.
pub(super) async fn base(
    azure: &Azure,
    settings: &Settings,
    connection: &AzureSettings,
    opener: Opener<'_>,
    patience_ms: u64,
    problems: &mut Problems,
) -> Result<(), StepError> {
    let found = async {
        let login = azure.registry(connection, opener).await?.login();
        let url = connection.registry_url();
        let named = (url.as_str(), settings.repository_prefix.as_str());
        let place = push::place(azure, (settings, connection), login, named, patience_ms);
        Ok::<_, StepError>(place.check_base().await?)
    };
    match found.await {
        Ok(()) => Ok(()),
        // The registry's own refusal is told already.
        Err(StepError::Permanent(failure)) => {
            if problems.0.is_empty() || failure.code == codes::IMAGE_BASE_NOT_FOUND {
                problems.take(failure);
            }
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Adds what the credentials may not do. What may pass by itself is an error.
pub(super) async fn rights(
    azure: &Azure,
    arm: &Arm,
    workspace: &[&str],
    connection: &AzureSettings,
    opener: Opener<'_>,
    repository: &str,
    problems: &mut Problems,
) -> Result<(), StepError> {
    let name = workspace.last().copied().unwrap_or_default();
    match arm.get(workspace, API_VERSION, "reading the workspace").await {
        Ok(Some(_)) => {}
        Ok(None) => {
            let message =
                format!("There is no workspace {name} in this resource group, or the credentials may not see it.");
            problems.add(&codes::PLATFORM_RESOURCE_MISSING, message);
            return Ok(());
        }
        Err(error) if !error.retryable => {
            problems.take(error.failure);
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    }
    match rights::missing(arm, workspace, &ACTIONS).await {
        Ok(missing) => {
            for action in missing {
                problems.add(&codes::RIGHTS_MISSING, format!("The credentials lack {action} on workspace {name}."));
            }
        }
        Err(error) if !error.retryable => problems.take(error.failure),
        Err(error) => return Err(error.into()),
    }
    let pushable = async {
        let registry = azure.registry(connection, opener).await?;
        Ok::<_, StepError>(registry.missing(repository).await?)
    };
    match pushable.await {
        Ok(missing) => {
            for action in missing {
                let message = format!(
                    "The credentials lack the right to {action} in the registry {} (role AcrPush).",
                    connection.registry
                );
                problems.add(&codes::RIGHTS_MISSING, message);
            }
        }
        Err(StepError::Permanent(failure)) => problems.take(failure),
        Err(error) => return Err(error),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_page_lists_the_same_actions() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/targets/AZURE_ML.md");
        let page = std::fs::read_to_string(page).unwrap_or_default();
        let quoted =
            page.lines().filter_map(|line| line.trim().trim_end_matches(',').strip_prefix('"')?.strip_suffix('"'));
        let role: BTreeSet<_> = quoted.filter(|line| line.starts_with("Microsoft.")).collect();
        assert_eq!(role, ACTIONS.into_iter().collect());
    }
}
