//! Step `push_bundle`: each version's image is in the registry, and a model of the model registry names it.

use std::collections::BTreeMap;

use async_trait::async_trait;
use engine::failure::{StepError, StepOutcome, StepResult};
use serde_json::{Value, json};

use super::{
    change::{Change, bring},
    session::{IMAGES, Planned, Session},
};
use crate::{
    gcp::connection::Gcp,
    http::{Body, CallError, Method},
    managed::{image, notes, ready},
    target::Work,
};

pub(super) async fn push(gcp: &Gcp, s: &Session<'_>, work: &Work<'_>) -> StepResult {
    let login = gcp.registry_login(&s.connection, s.opener).await?;
    let mut images: BTreeMap<String, String> = BTreeMap::new();
    for version in &s.service.versions {
        let order = image::Order {
            work,
            version,
            base: &s.settings.base_image,
            repository: &format!("{}/{}/{}", s.connection.registry, s.settings.repository, s.endpoint),
            login: login.clone(),
        };
        images.insert(version.version.clone(), image::ensure(&order).await?);
    }
    notes::write(work.run, IMAGES, &images).await?;
    for one in &s.plan(work.run)? {
        ready!(bring(s, work.run, &Upload { one }).await?);
    }
    Ok(StepOutcome::output(json!({"images": images})))
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
        let body = Body::Json(json!({"model": self.one.model, "modelId": self.one.model_id}));
        s.google.call(Method::POST, &s.path(&["models:upload"]), &[], body, &self.doing()).await.map(Some)
    }
}
