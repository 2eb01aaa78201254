//! What lies on a node under the names that we need: whether it is ours. Only our own record says so.

use engine::failure::{Failure, StepError};

use super::{client::Generations, deliver::problem, session::Place};
use crate::{
    codes,
    service::ServiceVersionSpec,
    service_package,
    target::{Import, ImportRecords, Problem},
};

/// Whether the infrastructure takes what is there for ours.
pub(super) fn is_trusted(place: &Place<'_>) -> bool {
    place.settings.trust_foreign_generations || place.spec.infrastructure.trust_foreign_bundles
}

/// Whether our own record knows one of these generations of the service.
pub(super) async fn is_ours(
    place: &Place<'_>,
    imports: &dyn ImportRecords,
    found: &Generations,
) -> Result<bool, StepError> {
    for one in &found.items {
        if imports.find(place.api.url(), place.id(), &one.name).await?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Why a service with these generations is somebody else's; None of one that is empty, or ours.
pub(super) async fn service(
    place: &Place<'_>,
    imports: &dyn ImportRecords,
    found: &Generations,
) -> Result<Option<Failure>, StepError> {
    if found.items.is_empty() || is_trusted(place) || is_ours(place, imports, found).await? {
        return Ok(None);
    }
    let id = place.id();
    let message = match brought_as(place, imports, found).await? {
        Some(other) => format!(
            "The node has a service {id} with generations that Slipway brought to {other}: the two URLs seem to lead to one node. Take one of them out of the infrastructure."
        ),
        None => format!(
            "The node has a service {id} with generations, and Slipway has no record that it brought one of them there under this URL. Deploy under another id, delete that service, or let the infrastructure trust what is there."
        ),
    };
    Ok(Some(Failure::new(codes::SERVICE_NAME_TAKEN, message)))
}

/// The URL of another node of the infrastructure to which our own record says that these generations were brought.
async fn brought_as(
    place: &Place<'_>,
    imports: &dyn ImportRecords,
    found: &Generations,
) -> Result<Option<String>, StepError> {
    for node in place.settings.nodes() {
        let url = node.node.url;
        for one in found.items.iter().filter(|_| url != place.api.url()) {
            if imports.find(&url, place.id(), &one.name).await?.is_some() {
                return Ok(Some(url));
            }
        }
    }
    Ok(None)
}

/// Why the generation of this name can't be this version; None where it is, or is not there yet.
pub(super) fn generation(
    place: &Place<'_>,
    version: &ServiceVersionSpec,
    name: &str,
    record: Option<&Import>,
    is_listed: bool,
) -> Option<Failure> {
    match record {
        Some(record) if record.sha256 != version.sha256 => {
            let message = format!(
                "The node got another content as generation {name} before. Upload the version anew under another name."
            );
            Some(Failure::new(codes::BUNDLE_CONTENT_DIFFERS, message))
        }
        None if is_listed && !is_trusted(place) => {
            let message = format!(
                "The node has a generation {name} of {} that Slipway did not bring, so nobody knows what it holds. Upload the version under another name, or let the infrastructure trust what is there.",
                place.id()
            );
            Some(Failure::new(codes::GENERATION_FOREIGN, message))
        }
        _ => None,
    }
}

/// All of it that would stop an update.
pub(super) async fn problems(place: &Place<'_>, imports: &dyn ImportRecords) -> Result<Vec<Problem>, StepError> {
    let found = place.api.generations(place.id()).await?.unwrap_or_default();
    if let Some(failure) = service(place, imports, &found).await? {
        return Ok(vec![problem(failure)]);
    }
    let mut all = Vec::new();
    for version in &place.service.versions {
        let name = service_package::generation(place.service, version);
        let record = imports.find(place.api.url(), place.id(), &name).await?;
        all.extend(generation(place, version, &name, record.as_ref(), found.find(&name).is_some()).map(problem));
    }
    Ok(all)
}
