//! Step `push_bundle`: the image of this service is in the registry, known by its digest. The same parts always make the same image, so one that is there is not
//! sent again.

use std::sync::Arc;

use engine::failure::{Failure, StepError, StepOutcome, StepResult};
use serde_json::json;
use tokio::sync::mpsc;

use super::{
    K8s,
    manifests::{Goal, config},
    names::slug,
    notes,
    offered::Offered,
    place::{self, log},
    settings::Settings,
};
use crate::{
    codes,
    http::CallError,
    image::{
        Platform,
        build::{Build, Changes, Image},
        contract::{Authentication, ServedDeployment, ServedGeneration},
        layer::{Content, Layer, LayerPlan},
        reference::Reference,
        registry::{Access, Login, Registry},
    },
    managed::opener::Opener,
    service::Authorization,
    service_package,
    target::Work,
};

pub(super) async fn push(k8s: &K8s, work: &Work<'_>) -> StepResult {
    let goal = place::goal(work.spec, Offered::default())?;
    let [base, target] = images(&goal.settings, &image_name(&goal), Opener::Run(work.run)).await?;
    log(work.run, format!("Making the image {} on {}.", target.reference, base.reference)).await;
    let layers = [service(k8s, &goal, work).await?];
    let (changes, platform) = (Changes::default(), Platform::default());
    let build = Build { base: &base, target: &target, layers: &layers, changes: &changes, platform: &platform };
    let (lines, mut told) = mpsc::unbounded_channel();
    let progress = move |line: &str| drop(lines.send(line.to_owned()));
    let pushing = async move {
        let pushed = build.push(&k8s.http, &progress).await;
        drop(progress);
        pushed
    };
    // Each line is told while the rest goes on.
    let telling = async {
        while let Some(line) = told.recv().await {
            log(work.run, line).await;
        }
    };
    let (pushed, ()) = tokio::join!(pushing, telling);
    let reference = pushed?.reference.to_string();
    notes::write(work.run, notes::IMAGE, &notes::Image { reference: reference.clone() }).await?;
    Ok(StepOutcome::output(json!({"image": reference})))
}

/// What is wrong with the registry, or its images' names, as far as can be seen without sending anything.
pub(super) async fn problems(k8s: &K8s, goal: &Goal<'_>, opener: Opener<'_>) -> Result<Vec<Failure>, StepError> {
    of_registry(k8s, &goal.settings, &image_name(goal), opener).await
}

/// The same of the settings alone, for an image of this name.
pub(super) async fn of_registry(
    k8s: &K8s,
    settings: &Settings,
    name: &str,
    opener: Opener<'_>,
) -> Result<Vec<Failure>, StepError> {
    let [base, target] = match images(settings, name, opener).await {
        Ok(images) => images,
        Err(StepError::Permanent(failure)) => return Ok(vec![failure]),
        Err(error) => return Err(error),
    };
    let mut found: Vec<Failure> = Vec::new();
    let of_base = async {
        let registry = Registry::of(&k8s.http, &base.reference, base.access)?;
        registry.check().await?;
        match registry.digest_of(base.reference.wanted()).await? {
            Some(_) => Ok(()),
            None => {
                let message = format!(
                    "The registry has no image {} (baseImageTag). Check its name, and that the login may read it.",
                    base.reference
                );
                Err(CallError::reported(Failure::new(codes::IMAGE_BASE_NOT_FOUND, message)))
            }
        }
    };
    let of_target = async { Registry::of(&k8s.http, &target.reference, target.access)?.check().await };
    for checked in [of_base.await, of_target.await] {
        match checked {
            Ok(()) => {}
            Err(error) if error.retryable => return Err(error.into()),
            Err(error) if found.contains(&error.failure) => {}
            Err(error) => found.push(error.failure),
        }
    }
    Ok(found)
}

fn image_name(goal: &Goal<'_>) -> String {
    slug(&goal.service.service_id, 100)
}

/// The base image, and where the service's own goes, which has this name.
async fn images(settings: &Settings, name: &str, opener: Opener<'_>) -> Result<[Image; 2], StepError> {
    let (host, prefix) = (settings.registry_host.as_str(), settings.images_name_prefix.as_str());
    let name = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
    let target = format!("{host}/{name}").parse::<Reference>().map_err(Failure::from)?;
    let base = base_name(host, &settings.base_image_tag).parse::<Reference>().map_err(Failure::from)?;
    let user = settings.registry_user.clone().filter(|user| !user.is_empty());
    let login = match (user, &settings.registry_password) {
        (Some(user), Some(password)) => Some(Login { user, password: opener.open(password).await? }),
        _ => None,
    };
    let authorities = settings.registry_certificate_authority.clone().filter(|text| !text.trim().is_empty());
    let own = Access {
        login,
        plain_http: settings.registry_plain_http,
        authorities: authorities.map(String::into_bytes),
        ..Access::default()
    };
    // The login is the registry's, and no other's.
    let of_base = if base.registry() == target.registry() { own.clone() } else { Access::default() };
    Ok([Image { reference: base, access: of_base }, Image { reference: target, access: own }])
}

/// A whole reference, or what follows the registry's host.
pub(super) fn base_name(host: &str, tag: &str) -> String {
    let names_a_host = |first: &str| first.contains(['.', ':']) || first == "localhost";
    match tag.split_once('/') {
        Some((first, _)) if names_a_host(first) => tag.to_owned(),
        _ => format!("{host}/{tag}"),
    }
}

/// The layer with the packages, and the document that says what they are.
async fn service(k8s: &K8s, goal: &Goal<'_>, work: &Work<'_>) -> Result<Layer, StepError> {
    let (mut generations, mut packages) = (Vec::new(), Vec::new());
    for (n, version) in goal.service.versions.iter().enumerate() {
        generations.push(ServedGeneration {
            generation: version.version.clone(),
            file: format!("{}.zip", n + 1),
            proba: version.probability,
        });
        let (size, content) = service_package::open(work, version).await?;
        packages.push(Content::Stream { size, content });
    }
    let served = ServedDeployment {
        generations,
        authentication: authentication(goal),
        auditing: goal.service.auditing.as_ref().map(|log| log.container_settings(Some(config::AUDIT_KEY))),
        ..ServedDeployment::single(&goal.service.service_id, "")
    };
    let mut plan = LayerPlan::default();
    served.lay(packages, &mut plan)?;
    let folder = Arc::new(k8s.tools.host.scratch());
    Ok(plan.make(&folder).await.map_err(CallError::from)?)
}

/// Who may query. Keys are in the Secret that Pods read, never in the image.
fn authentication(goal: &Goal<'_>) -> Option<Authentication> {
    Some(match goal.service.authorization.as_ref()? {
        Authorization::Public => Authentication::Public,
        Authorization::ApiKeys { .. } => Authentication::Keys { variable: config::KEYS.to_owned() },
        Authorization::Oauth2(settings) => Authentication::Jwt { settings: json!(settings) },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_images_are_named_with_or_without_their_host() {
        let host = "registry.example.com:5000";
        for (tag, name) in [
            ("base:1", "registry.example.com:5000/base:1"),
            ("team/base:1", "registry.example.com:5000/team/base:1"),
            ("other.example.com/base:1", "other.example.com/base:1"),
            ("localhost/base", "localhost/base"),
        ] {
            assert_eq!(base_name(host, tag), name);
        }
    }
}
