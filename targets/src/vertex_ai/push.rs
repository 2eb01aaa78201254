//! Step `push_bundle`: each version's image is in the registry, and a model of the model registry names it.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use engine::failure::{StepError, StepOutcome, StepResult};
use serde_json::{Value, json};

use super::{
    change::{Change, bring},
    session::{Planned, Session},
    settings::Settings,
};
use crate::{
    gcp::connection::{Gcp, GcpSettings},
    http::{CallError, Method},
    image::{front::Front, registry::Login},
    managed::{
        image::{self, Place, pushed},
        notes, ready,
    },
    target::Work,
};

pub(super) async fn push(gcp: &Gcp, s: &Session<'_>, work: &Work<'_>) -> StepResult {
    let images = match pushed(work.run, s.service) {
        Some(images) => images,
        None => {
            let login = gcp.registry_login(&s.connection, s.opener).await?;
            let (url, repository) = (s.connection.registry_url(), repository(s));
            let place = of_session(gcp, s, login, (&url, &repository));
            let mut images: BTreeMap<String, String> = BTreeMap::new();
            for version in &s.service.versions {
                images.insert(version.version.clone(), place.ensure(work, version).await?);
            }
            notes::write(work.run, image::IMAGES, &images).await?;
            images
        }
    };
    for one in &s.plan(work.run)? {
        ready!(bring(s, work.run, &Upload { one }).await?);
    }
    Ok(StepOutcome::output(json!({"images": images})))
}

/// Where the images are made and go.
pub(super) fn place<'a>(
    gcp: &'a Gcp,
    (settings, connection): (&'a Settings, &'a GcpSettings),
    login: Login,
    (url, repository): (&'a str, &'a str),
    patience_ms: u64,
) -> Place<'a> {
    Place {
        tools: &gcp.tools,
        front: Front::VertexAi,
        base: &settings.base_image,
        registry: &connection.registry,
        url,
        repository,
        login,
        transfer: Duration::from_millis(patience_ms),
    }
}

/// The same of a run.
pub(super) fn of_session<'a>(gcp: &'a Gcp, s: &'a Session<'_>, login: Login, named: (&'a str, &'a str)) -> Place<'a> {
    place(gcp, (&s.settings, &s.connection), login, named, s.spec.infrastructure.node.call_timeout_ms)
}

/// Where a deployment's images lie in the registry: nobody else's lie there.
pub(super) fn repository(s: &Session<'_>) -> String {
    format!("{}/{}", s.settings.repository, s.endpoint)
}

/// A model goes into the registry.
struct Upload<'a> {
    one: &'a Planned<'a>,
}

#[async_trait]
impl Change for Upload<'_> {
    fn note(&self) -> String {
        format!("model.{}", self.one.model_id)
    }

    fn doing(&self) -> String {
        format!("uploading the model of version {}", self.one.version.version)
    }

    async fn seen(&self, s: &Session<'_>) -> Result<Option<Value>, StepError> {
        Ok(s.model(&self.one.model_id).await?)
    }

    fn resource<'p>(&'p self, s: &'p Session<'_>) -> Vec<&'p str> {
        s.path(&["models", &self.one.model_id])
    }

    async fn call(&self, s: &Session<'_>) -> Result<Option<Value>, CallError> {
        let body = json!({"model": self.one.model, "modelId": self.one.model_id});
        s.google.call(Method::POST, &s.path(&["models:upload"]), &[], body, &self.doing()).await.map(Some)
    }
}
