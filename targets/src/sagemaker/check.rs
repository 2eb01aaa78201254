//! "Test the connection" of an infrastructure: whose the credentials are, and which rights are missing, one by one. Every call here reads, so it says nothing of the
//! rights to create, update, delete and pass a role: whoever wants to know those has to use them.

use engine::{clock, failure::Failure};

use super::{
    api::{Config, Endpoint, Model, Thing},
    image,
    session::connection,
    settings::{self, Settings},
};
use crate::{
    aws::{Account, Aws, AwsError, AwsSettings, is_root, judge},
    codes,
    managed::opener::{Opener, told},
    spec::InfrastructureSpec,
    target::{NodeReport, Secrets},
};

pub(super) async fn check(aws: &Aws, place: &InfrastructureSpec, secrets: &dyn Secrets) -> Result<NodeReport, Failure> {
    let settings: Settings = settings::read(&place.settings, "infrastructure")?;
    let mut problems: Vec<String> = Vec::new();
    problems.extend(settings.missing().into_iter().map(|path| {
        format!("{}: the infrastructure's setting {path} is needed, and is not set.", codes::SETTING_MISSING)
    }));
    let wrong =
        |(path, sentence)| format!("{}: the infrastructure's setting {path}: {sentence}", codes::SETTING_INVALID);
    problems.extend(settings.problems().into_iter().map(wrong));
    let connection = connection(place)?;
    let of_connection = AwsSettings::read(connection)?;
    let unusable = of_connection.problems();
    if !unusable.is_empty() {
        problems.extend(unusable.into_iter().map(|problem| problem.to_string()));
        return Ok(report(None, String::new(), problems));
    }
    let account = aws.afresh().account(connection, of_connection.open_with(secrets).await?)?;
    let caller = account.caller().await?;
    rights(&account, &settings, &mut problems).await?;
    let base = image::check_base(&account, &settings, Opener::Look(secrets)).await.map_err(told)?;
    // A right that is missing is named above.
    problems.extend(base.filter(|base| base.code != codes::NODE_FORBIDDEN).map(|base| base.to_string()));
    if let Some(role) = &settings.execution_role_arn
        && role.split(':').nth(4) != Some(caller.account.as_str())
    {
        problems.push(format!(
            "{}: the execution role is of another account than the credentials ({}). SageMaker takes roles of its own account.",
            codes::SETTING_INVALID,
            caller.account
        ));
    }
    Ok(report(Some(caller.account), caller.arn, problems))
}

/// Reads one thing of each kind, of a name that nothing has.
async fn rights(account: &Account, settings: &Settings, problems: &mut Vec<String>) -> Result<(), AwsError> {
    let nothing = format!("slipway-check-{:016x}", clock::random_u64());
    let sagemaker = [
        ("sagemaker:DescribeEndpoint", account.described::<Endpoint>(Thing::Endpoint, &nothing).await.map(drop)),
        ("sagemaker:DescribeEndpointConfig", account.described::<Config>(Thing::Config, &nothing).await.map(drop)),
        ("sagemaker:DescribeModel", account.described::<Model>(Thing::Model, &nothing).await.map(drop)),
        ("sagemaker:ListEndpointConfigs", account.named(Thing::Config, &nothing).await.map(drop)),
        ("sagemaker:ListModels", account.named(Thing::Model, &nothing).await.map(drop)),
        ("ecr:GetAuthorizationToken", account.registry_login().await.map(drop)),
    ];
    for (right, tried) in sagemaker {
        judge(tried, right, problems)?;
    }
    let name = settings.repository();
    let repository = account.repository(name).await;
    if matches!(repository, Ok(None)) && !settings.create_repository {
        problems.push(format!(
            "{}: there is no ECR repository {name}, and none may be created.",
            codes::SAGEMAKER_REPOSITORY_MISSING
        ));
    }
    if matches!(repository, Ok(Some(_))) {
        judge(account.image_digest(name, &nothing).await.map(drop), "ecr:DescribeImages", problems)?;
        judge(account.image_tags(name, &nothing).await.map(drop), "ecr:ListImages", problems)?;
    }
    judge(repository.map(drop), "ecr:DescribeRepositories", problems)
}

fn report(account: Option<String>, identity: String, problems: Vec<String>) -> NodeReport {
    NodeReport {
        node_id: account,
        node_type: Some("SAGEMAKER".to_owned()),
        version: None,
        // The root user alone may do everything, whatever else was tried.
        is_admin: is_root(&identity),
        identity,
        problems,
    }
}
