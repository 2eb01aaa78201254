//! The image of a version, in the account's registry: the base image, the service's layer, and the front that speaks SageMaker's container contract.

use std::sync::{Mutex, PoisonError};

use engine::failure::{Failure, StepError};
use serde_json::{Value, json};

use super::{
    session::{Place, Session},
    settings::Settings,
};
use crate::{
    aws::{Account, Login, Repository},
    codes,
    http::CallError,
    image::{
        Platform,
        build::{Build, Image},
        contract::{Authentication, ServedDeployment, ServedEndpoint},
        front::{self, Front},
        layer::{Content, LayerPlan},
        reference::Reference,
        registry::{self, Access, Registry},
    },
    managed::{self, opener::Opener},
    service_package,
    spec::ServiceVersionSpec,
};

/// Makes sure that the version's image is in the repository. Its reference, by digest.
pub(super) async fn ensure(
    session: &Session<'_>,
    repository: &Repository,
    version: &ServiceVersionSpec,
) -> Result<String, StepError> {
    let tag = session.image_tag(version);
    let note = format!("sagemaker/image/{tag}");
    // What this run has pushed need not be made again to know that it is there.
    let name = session.settings.repository();
    if let Some(pushed) = session.run().note(&note).as_ref().and_then(Value::as_str)
        && let Some(digest) = session.account.image_digest(name, &tag).await?
        && pushed == format!("{}@{digest}", repository.uri)
    {
        return Ok(pushed.to_owned());
    }
    let login = session.account.registry_login().await?;
    let base = base(&session.settings, session.opener, &[&repository.uri], &login).await?;
    let target = named(&format!("{}:{tag}", repository.uri))?;
    let target = Image { reference: target, access: access(&login) };
    let folder = session.account.aws.host.scratch();
    let served = served(session, version)?;
    let (size, content) = service_package::open(session.work, version).await?;
    let mut plan = LayerPlan::default();
    served.lay(vec![Content::Stream { size, content }], &mut plan)?;
    let layers = [
        plan.make(&folder).await.map_err(CallError::from)?,
        Front::layer(&front::program(&session.account.aws.host)?, &folder).await.map_err(CallError::from)?,
    ];
    let changes = Front::SageMaker.changes();
    let platform = Platform::default();
    let build = Build { base: &base, target: &target, layers: &layers, changes: &changes, platform: &platform };
    let lines = Mutex::new(Vec::new());
    let progress = |line: &str| lines.lock().unwrap_or_else(PoisonError::into_inner).push(line.to_owned());
    let pushed = build.push(&session.account.aws.http, &progress).await;
    for line in lines.into_inner().unwrap_or_else(PoisonError::into_inner) {
        session.log(format!("Image of version {}: {line}.", version.version)).await;
    }
    let reference = pushed?.reference.to_string();
    session.run().put_note(&note, json!(reference)).await?;
    Ok(reference)
}

/// What is wrong with the base image, if it can be told: that it is not there, or may not be read.
pub(super) async fn check_base(
    account: &Account,
    settings: &Settings,
    opener: Opener<'_>,
) -> Result<Option<Failure>, StepError> {
    if settings.base_image.is_none() {
        return Ok(None);
    }
    let found = async {
        let login = account.registry_login().await?;
        let base = base(settings, opener, &[], &login).await?;
        let registry = Registry::of(&account.aws.http, &base.reference, base.access)?;
        Ok::<_, StepError>(registry.digest_of(base.reference.wanted()).await?)
    };
    match found.await {
        Ok(Some(_)) => Ok(None),
        Ok(None) => {
            let name = settings.base_image.as_deref().unwrap_or_default();
            let message = format!(
                "The registry has no image {name} (baseImage). Check its name, and that the login may read it."
            );
            Ok(Some(Failure::new(codes::IMAGE_BASE_NOT_FOUND, message)))
        }
        Err(StepError::Permanent(failure)) => Ok(Some(failure)),
        Err(error) => Err(error),
    }
}

/// The base image, and who pulls it: whoever the settings name, or the account itself where it lies in its own registry.
async fn base(settings: &Settings, opener: Opener<'_>, own: &[&str], login: &Login) -> Result<Image, StepError> {
    let Some(text) = &settings.base_image else {
        let message = "The infrastructure's setting baseImage is needed, and is not set.";
        return Err(Failure::new(codes::SETTING_MISSING, message).permanent());
    };
    let reference = named(text)?;
    let mut registries = vec![login.registry.clone()];
    for uri in own {
        registries.push(named(uri)?.registry().to_owned());
    }
    let own = registries.iter().any(|registry| registry == reference.registry());
    let mut way = access(login);
    if !own {
        way.login = None;
        way.plain_http = false;
    }
    if let (Some(user), Some(password)) = (&settings.base_image_username, &settings.base_image_password) {
        let password = opener.open(password).await?;
        way.login = Some(registry::Login { user: user.clone(), password });
    }
    Ok(Image { reference, access: way })
}

fn named(text: &str) -> Result<Reference, Failure> {
    text.parse::<Reference>().map_err(Failure::from)
}

fn access(login: &Login) -> Access {
    let password = login.password.clone();
    let own = registry::Login { user: login.user.clone(), password };
    Access { login: Some(own), plain_http: login.plain_http, ..Access::default() }
}

/// What the node in the image serves. IAM has let in whoever gets so far, so the node asks nobody for a key.
fn served(session: &Session<'_>, version: &ServiceVersionSpec) -> Result<ServedDeployment, Failure> {
    let mut served = ServedDeployment::single(&session.service.service_id, &version.version);
    "1.zip".clone_into(&mut served.generations[0].file);
    served.authentication = Some(Authentication::Public);
    served.auditing = session.service.auditing.as_ref().map(|log| log.container_settings(None));
    served.endpoint = Some(endpoint(session, version)?);
    Ok(served)
}

/// The endpoint that the front serves; why it can't be served, else.
pub(super) fn endpoint(place: &Place<'_>, version: &ServiceVersionSpec) -> Result<ServedEndpoint, Failure> {
    let Some(chosen) = &place.service.endpoint else {
        let message = "SageMaker serves one endpoint of a service. Choose one in the deployment's settings.";
        return Err(Failure::new(codes::ENDPOINT_NOT_CHOSEN, message));
    };
    managed::image::endpoint(chosen, version)
}
