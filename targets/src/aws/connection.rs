//! Testing the connection.

use async_trait::async_trait;
use engine::failure::Failure;

use super::{Account, Aws, AwsError, AwsSettings, KIND, Kind, settings::SCHEMA};
use crate::{
    connections::{Connection, ConnectionDescription},
    spec::ConnectionSpec,
    target::{NodeReport, Secrets},
    tools::Tools,
};

/// The connection `AWS`.
#[derive(Clone)]
pub struct AwsConnection {
    aws: Aws,
}

impl AwsConnection {
    /// With what the process gives its targets.
    pub fn new(tools: &Tools) -> Self {
        Self { aws: Aws::new(tools) }
    }
}

#[async_trait]
impl Connection for AwsConnection {
    fn describe(&self) -> ConnectionDescription {
        ConnectionDescription { kind: KIND, label: "Amazon Web Services", settings: SCHEMA }
    }

    async fn check(&self, connection: &ConnectionSpec, secrets: &dyn Secrets) -> Result<NodeReport, Failure> {
        let settings = AwsSettings::read(connection)?;
        let problems = settings.problems();
        if !problems.is_empty() {
            let problems = problems.into_iter().map(|problem| problem.message).collect();
            return Ok(report(None, String::new(), problems));
        }
        let account = self.aws.afresh().account(connection, settings.open_with(secrets).await?)?;
        let caller = account.caller().await?;
        let problems = missing_for_all(&account).await?;
        Ok(report(Some(caller.account), caller.arn, problems))
    }
}

/// Whether this is the account's root user, who may do everything. What others may do, their rights say.
pub(crate) fn is_root(arn: &str) -> bool {
    arn.ends_with(":root")
}

/// The rights that every deployment needs, whatever its infrastructure says. An infrastructure's own check asks for more.
async fn missing_for_all(account: &Account) -> Result<Vec<String>, AwsError> {
    let mut problems = Vec::new();
    judge(account.registry_login().await.map(drop), "ecr:GetAuthorizationToken", &mut problems)?;
    judge(account.some_endpoint().await, "sagemaker:ListEndpoints", &mut problems)?;
    Ok(problems)
}

/// A right that turned out to be missing is a problem to tell; everything else that goes wrong ends the check.
#[expect(clippy::result_large_err, reason = "errors are rare, and on their way up at once")]
pub(crate) fn judge(tried: Result<(), AwsError>, right: &str, problems: &mut Vec<String>) -> Result<(), AwsError> {
    match tried {
        Err(error) if error.kind == Kind::Denied => {
            problems.push(format!("The right {right} is missing."));
            Ok(())
        }
        Err(error) if error.kind != Kind::Missing => Err(error),
        _ => Ok(()),
    }
}

fn report(account: Option<String>, identity: String, problems: Vec<String>) -> NodeReport {
    NodeReport {
        node_id: account,
        node_type: Some(KIND.to_owned()),
        version: None,
        is_admin: is_root(&identity),
        identity,
        problems,
    }
}
