//! The image of one version of a service: the base image, the service's layer and the platform's front, in the platform's own registry.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use engine::{
    failure::{Failure, StepError},
    step::{Audience, StepContext},
};
use serde_json::json;

use super::{
    is_left, notes,
    opener::{internal, told},
    patience,
};
use crate::{
    codes,
    http::CallError,
    image::{
        Digest, Platform,
        build::{Build, Image, TAG_PREFIX},
        contract::{Authentication, EndpointType, ServedDeployment, ServedEndpoint},
        front::{self, Front},
        layer::{Content, Layer, LayerPlan},
        reference::Reference,
        registry::{Access, Login, Registry},
    },
    service::{ServiceSpec, ServiceVersionSpec},
    service_package,
    target::Work,
    tools::Tools,
};

/// The note of each version's image, by version.
pub(crate) const IMAGES: &str = "images";

/// The images that this run pushed, once the platform took something on that names them: then they need not be looked for at each look.
pub(crate) fn pushed(run: &dyn StepContext, service: &ServiceSpec) -> Option<BTreeMap<String, String>> {
    let images: BTreeMap<String, String> = notes::read(run, IMAGES).filter(|_| patience::follows(run))?;
    service.versions.iter().all(|version| images.contains_key(&version.version)).then_some(images)
}

/// Where images are made and go.
pub(crate) struct Place<'a> {
    pub(crate) tools: &'a Tools,
    pub(crate) front: Front,
    /// The base image.
    pub(crate) base: &'a str,
    /// What the platform calls its registry.
    pub(crate) registry: &'a str,
    /// Where that registry's API is.
    pub(crate) url: &'a str,
    /// Where in it images lie.
    pub(crate) repository: &'a str,
    pub(crate) login: Login,
    /// A transfer may take this long.
    pub(crate) transfer: Duration,
}

impl Place<'_> {
    /// Makes the image unless it is there. Answers its reference by digest, as the platform calls it.
    pub(crate) async fn ensure(&self, work: &Work<'_>, version: &ServiceVersionSpec) -> Result<String, StepError> {
        let scratch = self.tools.host.scratch();
        let layers = [self.service(work, version).await?, self.front(&scratch).await?];
        let base = self.base()?;
        let target = Image { reference: self.target()?, access: self.access() };
        let changes = self.front.changes();
        let build =
            Build { base: &base, target: &target, layers: &layers, changes: &changes, platform: &Platform::default() };
        let pushed = build.push(&self.tools.http, &|_| {}).await?;
        let sent =
            if pushed.sent == 0 { "was there already".to_owned() } else { format!("{} bytes sent", pushed.sent) };
        work.run.log(Audience::Everyone, format!("The image of version {}: {sent}.", version.version)).await;
        Ok(format!("{}/{}@{}", self.registry, self.repository, pushed.digest.as_str()))
    }

    /// Whether the base image is there.
    pub(crate) async fn check_base(&self) -> Result<(), CallError> {
        let base = self.base().map_err(CallError::reported)?;
        let registry = Registry::of(&self.tools.http, &base.reference, base.access)?;
        if registry.digest_of(base.reference.wanted()).await?.is_some() {
            return Ok(());
        }
        let message =
            format!("The registry has no image {}. Check its name, and that the login may read it.", self.base);
        Err(CallError::reported(Failure::new(codes::IMAGE_BASE_NOT_FOUND, message)))
    }

    /// Deletes an image of ours, as [`Place::ensure`] named it, also where the repository's prefix was another one then. Answers why it stays, if it does: a registry may
    /// keep what it has.
    async fn delete(&self, image: &str) -> Result<Option<Failure>, StepError> {
        let named = image.strip_prefix(self.registry).and_then(|rest| rest.strip_prefix('/')?.split_once('@'));
        let last = |repository: &str| repository.rsplit('/').next().map(str::to_owned);
        let ours = named.filter(|(repository, _)| last(repository) == last(self.repository));
        let Some((repository, Ok(digest))) = ours.map(|(of, digest)| (of, digest.parse::<Digest>())) else {
            let message = "It lies elsewhere than the connection says now. Delete it there.";
            return Ok(Some(Failure::new(codes::REGISTRY_REPOSITORY_MISSING, message)));
        };
        let deleted = async {
            let target = self.target_at(repository).map_err(CallError::reported)?;
            Registry::of(&self.tools.http, &target, self.access())?.delete(&digest).await
        };
        match deleted.await {
            Ok(()) => Ok(None),
            Err(error) if error.retryable => Err(error.into()),
            Err(error) if error.is(&codes::REGISTRY_REPOSITORY_MISSING) => Ok(None),
            Err(error) => Ok(Some(error.failure)),
        }
    }

    /// Deletes what else of ours lies in the repository, beside `tried`: images that nothing ever named, since what was to name them failed.
    async fn delete_rest(&self, run: &dyn StepContext, tried: &[String]) -> Result<(), StepError> {
        let read = async {
            let target = self.target().map_err(CallError::reported)?;
            let registry = Registry::of(&self.tools.http, &target, self.access())?;
            let mut digests = Vec::new();
            for tag in registry.tags().await?.iter().filter(|tag| tag.starts_with(TAG_PREFIX)) {
                digests.extend(registry.digest_of(tag).await?);
            }
            Ok::<_, CallError>(digests)
        };
        let digests = match read.await {
            Ok(digests) => digests,
            Err(error) => return kept(run, self.repository, error.into()).await,
        };
        for digest in digests {
            let image = format!("{}/{}@{}", self.registry, self.repository, digest.as_str());
            if !tried.contains(&image) {
                self.take_away(run, &image).await?;
            }
        }
        Ok(())
    }

    /// Deletes these images, and what else of ours lies in the repository.
    ///
    /// # Errors
    /// What may pass.
    pub(crate) async fn delete_all(&self, run: &dyn StepContext, images: &[String]) -> Result<(), StepError> {
        for image in images {
            self.take_away(run, image).await?;
        }
        self.delete_rest(run, images).await
    }

    /// [`Place::delete`], where a registry that keeps what it has is told of, and stops nothing.
    async fn take_away(&self, run: &dyn StepContext, image: &str) -> Result<(), StepError> {
        let failure = match self.delete(image).await {
            Ok(None) => return Ok(()),
            Ok(Some(failure)) => failure,
            Err(error) if is_left(run, &error) => told(error),
            Err(error) => return Err(error),
        };
        stays(run, format!("The image {image} stays: {}", failure.message)).await;
        Ok(())
    }

    /// `host[:port]` of the registry's API.
    fn host(&self) -> &str {
        self.url.split_once("://").map_or(self.url, |(_, host)| host.trim_end_matches('/'))
    }

    fn target(&self) -> Result<Reference, Failure> {
        self.target_at(self.repository)
    }

    fn target_at(&self, repository: &str) -> Result<Reference, Failure> {
        Ok(format!("{}/{repository}", self.host()).parse::<Reference>()?)
    }

    /// The way into the platform's registry.
    fn access(&self) -> Access {
        Access {
            login: Some(self.login.clone()),
            plain_http: self.url.starts_with("http://"),
            transfer_timeout: self.transfer,
            ..Access::default()
        }
    }

    /// The base image. In the platform's own registry it is read with the same login, elsewhere with none.
    fn base(&self) -> Result<Image, Failure> {
        let reference = self.base.parse::<Reference>()?;
        let own = [self.registry, self.host()].contains(&reference.registry());
        if !own {
            let access = Access { transfer_timeout: self.transfer, ..Access::default() };
            return Ok(Image { reference, access });
        }
        let rest = self.base.split_once('/').map_or("", |(_, rest)| rest);
        Ok(Image { reference: format!("{}/{rest}", self.host()).parse::<Reference>()?, access: self.access() })
    }

    async fn service(&self, work: &Work<'_>, version: &ServiceVersionSpec) -> Result<Layer, StepError> {
        let service = work.spec.service.as_deref().ok_or_else(|| internal("an image of no service").permanent())?;
        let mut served = ServedDeployment::single(&service.service_id, &version.version);
        // A version's id may have characters that no file's name can have.
        "1.zip".clone_into(&mut served.generations[0].file);
        // The platform's own gate stands before the container, and the front asks without a key.
        served.authentication = Some(Authentication::Public);
        served.auditing = service.auditing.as_ref().map(|log| log.container_settings(None));
        served.endpoint = Some(endpoint(service.endpoint.as_deref().unwrap_or_default(), version)?);
        let (size, content) = service_package::open(work, version).await?;
        let mut plan = LayerPlan::default();
        served.lay(vec![Content::Stream { size, content }], &mut plan)?;
        Ok(plan.make(&self.tools.host.scratch()).await.map_err(CallError::from)?)
    }

    async fn front(&self, scratch: &std::path::Path) -> Result<Layer, StepError> {
        let binary = front::program(&self.tools.host)?;
        Ok(Front::layer(&binary, scratch).await.map_err(CallError::from)?)
    }
}

/// Images that can't be looked at stay, and stop no deletion.
///
/// # Errors
/// What may pass, at first.
pub(crate) async fn kept(run: &dyn StepContext, repository: &str, error: StepError) -> Result<(), StepError> {
    if !is_left(run, &error) {
        return Err(error);
    }
    let message = told(error).message;
    stays(run, format!("Whether images are left in {repository} can't be seen: {message}")).await;
    Ok(())
}

/// The update's log goes with the deployment: what costs on is told to the operator, too.
async fn stays(run: &dyn StepContext, line: String) {
    tracing::warn!(run.id = %run.run(), "{line}");
    run.log(Audience::Everyone, line).await;
}

/// The images that a deletion is to take along, by what named them when it began: that goes first.
///
/// # Errors
/// Those of the note.
pub(crate) async fn to_go(run: &dyn StepContext, named: Vec<String>) -> Result<Vec<String>, StepError> {
    const NOTE: &str = "imagesToGo";
    // An earlier run of the deletion may have come so far that nothing names them any more.
    let noted: Vec<String> = notes::read(run, NOTE).unwrap_or_default();
    let all: BTreeSet<String> = noted.iter().cloned().chain(named).collect();
    let images: Vec<String> = all.into_iter().collect();
    if images != noted {
        notes::write(run, NOTE, &images).await?;
    }
    Ok(images)
}

/// The endpoint that the front serves.
///
/// # Errors
/// `ENDPOINT_MISSING`, also where it is of a type that no front serves.
pub(crate) fn endpoint(id: &str, version: &ServiceVersionSpec) -> Result<ServedEndpoint, Failure> {
    let Some(named) = version.endpoints.iter().find(|one| one.id == id) else {
        let message =
            format!("Version {} has no endpoint {id}. Choose another one, or another version.", version.version);
        return Err(Failure::new(codes::ENDPOINT_MISSING, message));
    };
    let kind = named.kind.as_deref().unwrap_or_default();
    let kind: EndpointType = serde_json::from_value(json!(kind)).map_err(|_| {
        let message = format!("Endpoint {id} of version {} is of a type that no front serves.", version.version);
        Failure::new(codes::ENDPOINT_MISSING, message)
    })?;
    Ok(ServedEndpoint { id: id.to_owned(), kind, arguments: Vec::new() })
}
