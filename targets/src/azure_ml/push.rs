//! Step `push_bundle`: each version's image is in the registry, and the workspace knows how it is run.

use std::{collections::BTreeMap, time::Duration};

use engine::failure::{StepOutcome, StepResult};
use serde_json::json;

use super::{
    bodies,
    change::{Resource, bring},
    names,
    session::Session,
    settings::Settings,
};
use crate::{
    azure::connection::{Azure, AzureSettings},
    image::{front::Front, registry::Login},
    managed::{
        image::{self, Place, pushed},
        notes, ready,
    },
    target::Work,
};

pub(super) async fn push(azure: &Azure, s: &Session<'_>, work: &Work<'_>) -> StepResult {
    let images = match pushed(work.run, s.service) {
        Some(images) => images,
        None => {
            let registry = azure.registry(&s.connection, s.opener).await?;
            let (url, repository) = (s.connection.registry_url(), repository(s));
            let place = of_session(azure, s, registry.login(), (&url, &repository));
            let mut images: BTreeMap<String, String> = BTreeMap::new();
            for version in &s.service.versions {
                images.insert(version.version.clone(), place.ensure(work, version).await?);
            }
            notes::write(work.run, image::IMAGES, &images).await?;
            images
        }
    };
    for (version, image) in &images {
        let id = names::environment_version(image);
        let body = |_: Option<&serde_json::Value>| Some(bodies::environment(s.spec, version, image));
        let holds = |there: &serde_json::Value| there["properties"]["image"] == image.as_str();
        ready!(bring(s, work.run, &Resource::environment(s, &id), body, holds).await?);
    }
    Ok(StepOutcome::output(json!({"images": images})))
}

/// Where the images are made and go.
pub(super) fn place<'a>(
    azure: &'a Azure,
    (settings, connection): (&'a Settings, &'a AzureSettings),
    login: Login,
    (url, repository): (&'a str, &'a str),
    patience_ms: u64,
) -> Place<'a> {
    Place {
        tools: &azure.tools,
        front: Front::AzureMl,
        base: &settings.base_image,
        registry: &connection.registry,
        url,
        repository,
        login,
        transfer: Duration::from_millis(patience_ms),
    }
}

/// The same of a run.
pub(super) fn of_session<'a>(
    azure: &'a Azure,
    s: &'a Session<'_>,
    login: Login,
    named: (&'a str, &'a str),
) -> Place<'a> {
    place(azure, (&s.settings, &s.connection), login, named, s.spec.infrastructure.node.call_timeout_ms)
}

/// Where a deployment's images lie in the registry: nobody else's lie there.
pub(super) fn repository(s: &Session<'_>) -> String {
    format!("{}/{}", s.settings.repository_prefix, s.endpoint)
}
