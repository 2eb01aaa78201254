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
    aws::{Account, Aws, AwsError, AwsSettings, Caller, Kind, is_root, judge},
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
    rights(&account, &settings, &caller, &mut problems).await?;
    let base = image::check_base(&account, &settings, Opener::Look(secrets)).await.map_err(told)?;
    // A right that is missing is named above.
    problems.extend(base.filter(|base| base.code != codes::NODE_FORBIDDEN).map(|base| base.to_string()));
    problems.extend(elsewhere(&settings, &caller).map(|failure| failure.to_string()));
    Ok(report(Some(caller.account), caller.arn, problems))
}

/// Credentials of another account than everything else is in: SageMaker takes roles of its own account alone, so the role says which that is.
pub(super) fn elsewhere(settings: &Settings, caller: &Caller) -> Option<Failure> {
    let role = settings.execution_role_arn.as_deref()?.split(':').nth(4)?;
    if role == caller.account {
        return None;
    }
    let message = format!(
        "The infrastructure's setting executionRoleArn: the execution role is of account {role}, and the connection's credentials are of account {}. SageMaker takes roles of its own account.",
        caller.account
    );
    Some(Failure::new(codes::SETTING_INVALID, message))
}

/// Reads one thing of each kind, of a name that nothing has.
async fn rights(
    account: &Account,
    settings: &Settings,
    caller: &Caller,
    problems: &mut Vec<String>,
) -> Result<(), AwsError> {
    let nothing = format!("slipway-check-{:016x}", clock::random_u64());
    let partition = caller.arn.split(':').nth(1).unwrap_or("aws");
    let of_nothing = format!("arn:{partition}:sagemaker:{}:{}:endpoint/{nothing}", account.region, caller.account);
    let tags = match account.tags(&of_nothing).await {
        // How SageMaker says that it has no such thing is not documented for tags; whoever may not ask is told so first, and what may pass meets the other calls, too.
        Err(error) if error.kind != Kind::Denied => Ok(()),
        tried => tried.map(drop),
    };
    let sagemaker = [
        ("sagemaker:DescribeEndpoint", account.described::<Endpoint>(Thing::Endpoint, &nothing).await.map(drop)),
        ("sagemaker:DescribeEndpointConfig", account.described::<Config>(Thing::Config, &nothing).await.map(drop)),
        ("sagemaker:DescribeModel", account.described::<Model>(Thing::Model, &nothing).await.map(drop)),
        ("sagemaker:ListEndpointConfigs", account.named(Thing::Config, &nothing).await.map(drop)),
        ("sagemaker:ListModels", account.named(Thing::Model, &nothing).await.map(drop)),
        ("sagemaker:ListTags", tags),
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
