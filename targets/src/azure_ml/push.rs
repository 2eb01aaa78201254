//! Step `push_bundle`: each version's image is in the registry, and the workspace knows how it is run.

use std::collections::BTreeMap;

use engine::failure::{StepOutcome, StepResult};
use serde_json::json;

use super::{
    bodies,
    change::{Resource, bring},
    names,
    session::{IMAGES, Session},
};
use crate::{
    azure::connection::Azure,
    managed::{image, notes, ready},
    target::Work,
};

pub(super) async fn push(azure: &Azure, s: &Session<'_>, work: &Work<'_>) -> StepResult {
    let registry = azure.registry(&s.connection, s.opener).await?;
    let repository = repository(s);
    let mut images: BTreeMap<String, String> = BTreeMap::new();
    for version in &s.service.versions {
        let login = registry.login();
        let order = image::Order {
            work,
            version,
            base: &s.settings.base_image,
            repository: &format!("{}/{repository}", s.connection.registry),
            login: (login.user, login.password),
        };
        images.insert(version.version.clone(), image::ensure(&order).await?);
    }
    notes::write(work.run, IMAGES, &images).await?;
    for (version, image) in &images {
        let id = names::environment_version(image);
        let body = |_: Option<&serde_json::Value>| bodies::environment(s.spec, version, image);
        let holds = |there: &serde_json::Value| there["properties"]["image"] == image.as_str();
        ready!(bring(s, work.run, &Resource::environment(s, &id), body, holds).await?);
    }
    Ok(StepOutcome::output(json!({"images": images})))
}

/// Where a deployment's images lie in the registry: nobody else's lie there.
pub(super) fn repository(s: &Session<'_>) -> String {
    format!("{}/{}", s.settings.repository_prefix, s.endpoint)
}
