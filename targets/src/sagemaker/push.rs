//! Step `push_bundle`: images, models and the configuration are there. None of it changes what runs, and none costs by the hour.

use engine::failure::{Failure, StepError, StepOutcome, StepResult};
use serde_json::{Value, json};

use super::{
    api::{Config, Model, Thing},
    goal::Made,
    image,
    notes::{self, Pushed},
    session::Session,
};
use crate::{
    aws::{Kind, Repository},
    codes,
};

pub(super) async fn push(session: &Session<'_>) -> StepResult {
    let repository = repository(session).await?;
    let mut images = Vec::new();
    for version in &session.service.versions {
        images.push(image::ensure(session, &repository, version).await?);
    }
    let goal = session.goal(&images);
    for model in &goal.models {
        make(session, Thing::Model, model).await?;
    }
    make(session, Thing::Config, &goal.config).await?;
    let pushed = Pushed { config: goal.config.name, images };
    notes::write(session.run(), notes::PUSHED, &pushed).await?;
    Ok(StepOutcome::output(json!({"configuration": pushed.config, "images": pushed.images})))
}

async fn repository(session: &Session<'_>) -> Result<Repository, StepError> {
    let name = session.settings.repository();
    if let Some(found) = session.account.repository(name).await? {
        return Ok(found);
    }
    let missing = || {
        let message = format!("There is no ECR repository {name}. Create it, or let Slipway do so (createRepository).");
        Failure::new(codes::SAGEMAKER_REPOSITORY_MISSING, message).permanent()
    };
    if !session.settings.create_repository {
        return Err(missing());
    }
    session.log(format!("Creating the ECR repository {name}.")).await;
    // It serves every deployment, so it has no deployment's mark.
    let tags: Value = session.settings.tags.iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect();
    session.account.create_repository(name, &tags).await?;
    session.account.repository(name).await?.ok_or_else(missing)
}

/// Makes a thing whose name says its content: one that is there is as it should be, if it is ours.
async fn make(session: &Session<'_>, thing: Thing, made: &Made) -> Result<(), StepError> {
    if there(session, thing, made).await? {
        return Ok(());
    }
    session.log(format!("Creating {} {}.", article(thing), made.name)).await;
    match session.account.create(thing, &made.name, &made.body).await {
        Err(error) if error.kind == Kind::Exists => {}
        created => created?,
    }
    if there(session, thing, made).await? {
        return Ok(());
    }
    let message = format!("SageMaker answered success, but does not show {} {}.", article(thing), made.name);
    Err(Failure::new(codes::NODE_EFFECT_MISSING, message).retryable(None))
}

fn article(thing: Thing) -> &'static str {
    match thing {
        Thing::Endpoint => "the endpoint",
        Thing::Config => "the endpoint configuration",
        Thing::Model => "the model",
    }
}

/// Whether it is there; refused if it is not ours.
async fn there(session: &Session<'_>, thing: Thing, made: &Made) -> Result<bool, StepError> {
    let (arn, model) = match thing {
        Thing::Model => {
            let found = session.account.described::<Model>(thing, &made.name).await?;
            (found.as_ref().map(|model| model.arn.clone()), found)
        }
        _ => (session.account.described::<Config>(thing, &made.name).await?.map(|config| config.arn), None),
    };
    let Some(arn) = arn else { return Ok(false) };
    session.own(&format!("{} {}", article(thing).replacen("the", "a", 1), made.name), &arn).await?;
    match model {
        Some(model) if !made.is_model(&model) => Err(replaced(&made.name).permanent()),
        _ => Ok(true),
    }
}

fn replaced(model: &str) -> Failure {
    let message = format!(
        "The model {model} has another image, other variables or another role than Slipway made it with: somebody replaced it. Delete it in SageMaker, and disable and enable the deployment; then it is made anew."
    );
    Failure::new(codes::PLATFORM_NAME_TAKEN, message)
}
