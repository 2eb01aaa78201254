//! Moving the endpoint to a configuration, and following it there: looked at first, noted before each call, never called twice for one effect.

use std::time::Duration;

use engine::failure::{Failure, StepError};
use serde_json::{Value, json};

use super::{
    api::{Endpoint, State, Thing},
    notes::{self, End, Intent},
    session::{Place, Session},
};
use crate::{
    aws::{AwsError, Kind},
    codes,
    http::Effect,
    managed::{Flow, patience},
};

/// An endpoint that is on its way is looked at again after this.
const LOOK: Duration = Duration::from_secs(15);
/// One that was just told something, after this.
const SOON: Duration = Duration::from_secs(2);

/// Where to.
pub(super) struct Move<'a> {
    /// The configuration.
    pub(super) config: &'a str,
    /// Under which the intent is noted.
    pub(super) note: &'static str,
    /// How queries move; None leaves that to SageMaker.
    pub(super) rollout: Option<Value>,
}

/// What came of one attempt.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Moved {
    /// It serves the configuration.
    Done,
    /// Look again after this.
    Wait(Duration),
}

impl Session<'_> {
    /// One attempt.
    pub(super) async fn bring(&self, to: &Move<'_>) -> Result<Moved, StepError> {
        let intent: Option<Intent> = notes::read(self.run(), to.note);
        let intent = intent
            .filter(|intent| intent.is_open() && intent.config == to.config && intent.endpoint == self.names.endpoint);
        let found = self.endpoint().await.map_err(StepError::from);
        let found = match &intent {
            None => found?,
            Some(intent) if intent.end == Some(End::Taken) => {
                match patience::looked(self.run(), found).await.map_err(unknown)? {
                    Flow::Ready(found) => found,
                    Flow::Wait(check_in) => return Ok(Moved::Wait(check_in)),
                }
            }
            // What the call came to can't be seen.
            Some(_) => found.map_err(unknown)?,
        };
        let Some(found) = found else {
            return match self.rest(to, intent).await? {
                Some(rest) => Ok(Moved::Wait(rest)),
                None => self.create(to).await,
            };
        };
        let changed = intent.as_ref().is_some_and(|intent| intent.before != found.last_modified_time);
        match found.state() {
            State::Changing | State::Deleting => Ok(Moved::Wait(LOOK)),
            State::Mixed => Err(self.ended(to, intent, self.mixed(&found)).await?.permanent()),
            State::Serving if found.config.as_deref() == Some(to.config) => {
                if let Some(intent) = intent {
                    self.end(to, intent, End::Done).await?;
                }
                Ok(Moved::Done)
            }
            State::Serving if changed => Err(self.ended(to, intent, self.rolled_back(&found)).await?.permanent()),
            State::Failed if changed => Err(self.ended(to, intent, self.failed(&found)).await?.permanent()),
            State::Serving => match self.rest(to, intent).await? {
                Some(rest) => Ok(Moved::Wait(rest)),
                None => self.update(to, &found).await,
            },
            // What failed before can't be moved: it makes room.
            State::Failed => {
                self.own(&format!("an endpoint {}", self.names.endpoint), &found.arn).await?;
                self.log(format!("Deleting the endpoint {}, which failed earlier.", self.names.endpoint)).await;
                self.account.delete(Thing::Endpoint, &self.names.endpoint).await?;
                Ok(Moved::Wait(SOON))
            }
        }
    }

    /// When to look again for what a move comes to that nobody has seen the end of; None when it is over.
    pub(super) async fn over(&self, note: &'static str) -> Result<Option<Duration>, StepError> {
        let intent = notes::read::<Intent>(self.run(), note).filter(Intent::is_open);
        let Some(intent) = intent.filter(|intent| intent.endpoint == self.names.endpoint) else { return Ok(None) };
        let found = match patience::looked(self.run(), self.endpoint().await.map_err(StepError::from)).await? {
            Flow::Ready(found) => found,
            Flow::Wait(check_in) => return Ok(Some(check_in)),
        };
        let is_changing = |found: &Endpoint| matches!(found.state(), State::Changing | State::Deleting);
        if found.as_ref().is_some_and(is_changing) {
            return Ok(Some(LOOK));
        }
        let config = intent.config.clone();
        let to = Move { config: &config, note, rollout: None };
        let shown = found.map_or(Value::Null, |found| found.last_modified_time);
        if shown != intent.before {
            self.end(&to, intent, End::Failed).await?;
            return Ok(None);
        }
        let rest = self.rest(&to, Some(intent.clone())).await?;
        if rest.is_none() {
            self.end(&to, intent, End::Refused).await?;
        }
        Ok(rest)
    }

    async fn create(&self, to: &Move<'_>) -> Result<Moved, StepError> {
        let name = &self.names.endpoint;
        self.log(format!("Creating the endpoint {name}.")).await;
        let tags = self.endpoint_tags();
        let body = json!({"EndpointName": name, "EndpointConfigName": to.config, "Tags": tags});
        let intent = self.intend(to, Value::Null).await?;
        let called = self.account.create(Thing::Endpoint, name, &body).await;
        self.called(to, intent, called).await
    }

    async fn update(&self, to: &Move<'_>, found: &Endpoint) -> Result<Moved, StepError> {
        let name = &self.names.endpoint;
        self.own(&format!("an endpoint {name}"), &found.arn).await?;
        self.log(format!("Moving the endpoint {name} to the configuration {}.", to.config)).await;
        let mut body = json!({"EndpointName": name, "EndpointConfigName": to.config});
        if let Some(rollout) = &to.rollout {
            body["DeploymentConfig"] = rollout.clone();
        }
        let intent = self.intend(to, found.last_modified_time.clone()).await?;
        let called = self.account.update_endpoint(name, &body).await;
        self.called(to, intent, called).await
    }

    async fn intend(&self, to: &Move<'_>, before: Value) -> Result<Intent, StepError> {
        let (endpoint, config) = (self.names.endpoint.clone(), to.config.to_owned());
        let intent = Intent { endpoint, config, before, lost_at: None, end: None };
        notes::write(self.run(), to.note, &intent).await?;
        Ok(intent)
    }

    /// What a call's answer says of it.
    async fn called(&self, to: &Move<'_>, intent: Intent, called: Result<(), AwsError>) -> Result<Moved, StepError> {
        match called {
            // What was taken may take a moment to show.
            Ok(()) => {
                let lost_at = Some(self.run().now().await?);
                self.end(to, Intent { lost_at, ..intent }, End::Taken).await?;
                Ok(Moved::Wait(SOON))
            }
            // Another call was there first, perhaps ours: the endpoint itself says which.
            Err(error) if matches!(error.kind, Kind::Exists | Kind::InProgress) => {
                self.end(to, intent, End::Refused).await?;
                Ok(Moved::Wait(SOON))
            }
            Err(error) if error.error.effect == Effect::Unknown => {
                let lost_at = Some(self.run().now().await?);
                notes::write(self.run(), to.note, &Intent { lost_at, ..intent }).await?;
                Err(unknown(error.into()))
            }
            Err(error) => {
                self.end(to, intent, End::Refused).await?;
                Err(error.into())
            }
        }
    }

    async fn end(&self, to: &Move<'_>, intent: Intent, end: End) -> Result<(), StepError> {
        notes::write(self.run(), to.note, &Intent { end: Some(end), ..intent }).await
    }

    async fn ended(&self, to: &Move<'_>, intent: Option<Intent>, failure: Failure) -> Result<Failure, StepError> {
        if let Some(intent) = intent {
            self.end(to, intent, End::Failed).await?;
        }
        Ok(failure)
    }

    /// How long until a call that shows no effect may be taken for over; None when it is, or when there was none.
    async fn rest(&self, to: &Move<'_>, intent: Option<Intent>) -> Result<Option<Duration>, StepError> {
        let Some(intent) = intent else { return Ok(None) };
        let now = self.run().now().await?;
        let Some(lost) = intent.lost_at else {
            // Whoever made the call is gone. It was heard until some time before now.
            notes::write(self.run(), to.note, &Intent { lost_at: Some(now), ..intent }).await?;
            return Ok(Some(SOON).filter(|_| !self.settle().is_zero()));
        };
        let passed = Duration::from_micros(u64::try_from(now.saturating_sub(lost)).unwrap_or_default());
        let rest = self.settle().checked_sub(passed).filter(|rest| !rest.is_zero());
        Ok(rest.map(|rest| (rest / 4).clamp(SOON, LOOK)))
    }
}

impl Place<'_> {
    fn reason(&self, found: &Endpoint) -> String {
        let reason = found.failure_reason.as_deref().map(|reason| self.clean(reason)).unwrap_or_default();
        if reason.is_empty() {
            "It gives no reason.".to_owned()
        } else {
            format!("Its reason: {}.", reason.trim_end_matches('.'))
        }
    }

    pub(super) fn failed(&self, found: &Endpoint) -> Failure {
        let message = format!(
            "SageMaker could not bring the endpoint {} into service. {}",
            self.names.endpoint,
            self.reason(found)
        );
        Failure::new(codes::SAGEMAKER_ENDPOINT_FAILED, message)
    }

    fn rolled_back(&self, found: &Endpoint) -> Failure {
        let config = found.config.as_deref().map(|config| self.clean(config)).unwrap_or_default();
        let message = format!(
            "SageMaker rolled the endpoint {} back: it serves the configuration {config} as before. {}",
            self.names.endpoint,
            self.reason(found)
        );
        Failure::new(codes::SAGEMAKER_ROLLED_BACK, message)
    }

    pub(super) fn mixed(&self, found: &Endpoint) -> Failure {
        let message = format!(
            "An update of the endpoint {} failed, and so did SageMaker's way back: machines of both configurations may serve. {} Delete the endpoint, or turn to AWS' support.",
            self.names.endpoint,
            self.reason(found)
        );
        Failure::new(codes::SAGEMAKER_ROLLBACK_FAILED, message)
    }
}

/// The same error, with its outcome marked as unknown: if no later attempt finds out, a human must.
pub(super) fn unknown(error: StepError) -> StepError {
    match error {
        StepError::Permanent(failure) => StepError::Permanent(failure.outcome_unknown()),
        StepError::Retryable { failure, retry_after } => {
            StepError::Retryable { failure: failure.outcome_unknown(), retry_after }
        }
        other => other,
    }
}
