//! One attempt at one step, or one look: the account, the settings, and the spec at hand.

use std::time::Duration;

use engine::{
    failure::{Failure, StepError},
    step::{Audience, StepContext},
};
use serde_json::Value;

use super::{
    api::{Endpoint, Thing},
    names::Names,
    notes::internal,
    settings::{self, Overrides, Settings},
};
use crate::{
    aws::{self, Account, Aws, AwsError, AwsSettings},
    codes, connections,
    managed::opener::Opener,
    spec::{ConnectionSpec, DeploySpec, InfrastructureSpec, ServiceSpec, ServiceVersionSpec},
    target::{Look, Secrets, Work},
};

/// A call to AWS does not go on for longer than this after its answer was lost.
const SETTLED: Duration = Duration::from_secs(60);

/// What reading works with.
pub(super) struct Place<'a> {
    pub(super) account: Account,
    pub(super) settings: Settings,
    pub(super) overrides: Overrides,
    pub(super) spec: &'a DeploySpec,
    pub(super) service: &'a ServiceSpec,
    pub(super) names: Names,
    pub(super) opener: Opener<'a>,
}

/// What a step works with.
pub(super) struct Session<'a> {
    pub(super) place: Place<'a>,
    pub(super) work: &'a Work<'a>,
}

impl<'a> std::ops::Deref for Session<'a> {
    type Target = Place<'a>;

    fn deref(&self) -> &Place<'a> {
        &self.place
    }
}

/// The connection of an infrastructure.
pub(super) fn connection(infrastructure: &InfrastructureSpec) -> Result<&ConnectionSpec, Failure> {
    connections::of_kind(infrastructure.connection.as_ref(), aws::KIND)
}

/// The account of an infrastructure, for a look.
pub(super) async fn account(
    aws: &Aws,
    infrastructure: &InfrastructureSpec,
    secrets: &dyn Secrets,
) -> Result<Account, Failure> {
    let connection = connection(infrastructure)?;
    aws.account(connection, AwsSettings::read(connection)?.open_with(secrets).await?)
}

impl<'a> Place<'a> {
    /// For a look.
    pub(super) async fn look(aws: &Aws, look: Look<'a>) -> Result<Self, Failure> {
        let account = account(aws, &look.spec.infrastructure, look.secrets).await?;
        Self::new(account, look.spec, Opener::Look(look.secrets))
    }

    fn new(account: Account, spec: &'a DeploySpec, opener: Opener<'a>) -> Result<Self, Failure> {
        let Some(service) = spec.service.as_deref() else {
            return Err(internal("a spec for SageMaker without a service".to_owned()));
        };
        let settings = settings::read(&spec.infrastructure.settings, "infrastructure")?;
        let overrides = settings::read(&service.settings, "deployment")?;
        let names = Names::of(spec, service, &overrides);
        Ok(Self { account, settings, overrides, spec, service, names, opener })
    }

    /// The endpoint, if it is there.
    pub(super) async fn endpoint(&self) -> Result<Option<Endpoint>, AwsError> {
        self.account.described(Thing::Endpoint, &self.names.endpoint).await
    }

    /// Refuses what is not this deployment's.
    pub(super) async fn own(&self, what: &str, arn: &str) -> Result<(), StepError> {
        if self.names.own(&self.account.tags(arn).await?) {
            return Ok(());
        }
        Err(self.taken(what).permanent())
    }

    /// A name that somebody else has.
    pub(super) fn taken(&self, what: &str) -> Failure {
        let message = format!(
            "There is already {what} in the AWS account, and it is not this deployment's. Choose another name, or delete that one."
        );
        Failure::new(codes::SAGEMAKER_NAME_TAKEN, message)
    }

    /// The tag of a version's image: another package, endpoint or base image is another tag.
    pub(super) fn image_tag(&self, version: &ServiceVersionSpec) -> String {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let (base, endpoint) = (text(&self.settings.base_image), text(&self.service.endpoint));
        self.names.image_tag(&[&base, &self.service.service_id, &version.version, &version.sha256, &endpoint])
    }

    /// The platform's words, made harmless.
    pub(super) fn clean(&self, text: &str) -> String {
        self.account.clean(text, 500)
    }

    /// The same of all texts in a value.
    pub(super) fn clean_all(&self, value: Value) -> Value {
        match value {
            Value::String(text) => self.clean(&text).into(),
            Value::Array(items) => items.into_iter().map(|item| self.clean_all(item)).collect(),
            Value::Object(fields) => {
                fields.into_iter().map(|(name, value)| (self.clean(&name), self.clean_all(value))).collect()
            }
            plain => plain,
        }
    }

    /// Those of the endpoint.
    pub(super) fn endpoint_tags(&self) -> Value {
        self.tags(&[(super::names::SERVICE, &self.service.published_service_id)])
    }

    /// Tags of something of ours.
    pub(super) fn tags(&self, more: &[(&str, &str)]) -> Value {
        self.names.tags(&self.settings, &self.overrides, more)
    }
}

impl<'a> Session<'a> {
    /// Takes the connection's secrets out of the store. Talks to nobody.
    pub(super) async fn open(aws: &Aws, work: &'a Work<'a>) -> Result<Self, StepError> {
        let connection = connection(&work.spec.infrastructure)?;
        let secrets = AwsSettings::read(connection)?.open_in(work.run).await?;
        let account = aws.account(connection, secrets)?;
        Ok(Self { place: Place::new(account, work.spec, Opener::Run(work.run))?, work })
    }

    pub(super) fn run(&self) -> &'a dyn StepContext {
        self.work.run
    }

    /// How long a call may go on after its answer was lost.
    pub(super) fn settle(&self) -> Duration {
        Duration::from_millis(self.spec.infrastructure.node.settle_ms).min(SETTLED)
    }

    /// A line for whoever may see the update.
    pub(super) async fn log(&self, line: String) {
        self.run().log(Audience::Everyone, line).await;
    }
}
