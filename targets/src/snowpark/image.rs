//! Step `push_bundle`: the image of a service, in Snowflake's image repository.

use std::sync::Arc;

use engine::failure::{Failure, StepError, StepOutcome, StepResult};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{
    goal::argument_names,
    notes::{self, Pushed},
    session::Session,
    site::{Site, read},
};
use crate::{
    codes,
    http::{CallError, Effect},
    image::{
        Platform,
        build::{Build, Image},
        contract::{Authentication, ServedDeployment, ServedEndpoint, ServedGeneration},
        front::{self, Front},
        layer::{Content, Layer, LayerPlan},
        reference::Reference,
        registry::{Access, Login},
    },
    service_package,
    snowflake::{client::Call, ident::Ident},
    tools::Tools,
};

#[derive(Default, Deserialize)]
#[serde(default)]
struct Listed {
    image_name: Option<String>,
    tags: Option<String>,
    digest: Option<String>,
    image_path: Option<String>,
}

/// The image is in the repository. Its tag says what is in it, so one that is there is not made again.
pub(super) async fn push(session: &Session<'_>, tools: &Tools) -> StepResult {
    let (site, image) = (&session.site, &session.site.goal.image);
    if let Some(found) = find(site).await? {
        return done(session, found).await;
    }
    session.tell(format!("Making the image {}.", image.path)).await;
    let (base, target) = (base(session).await?, target(session).await?);
    let layers = layers(session, tools).await?;
    let changes = Front::Snowflake.changes();
    let platform = Platform::default();
    let build = Build { base: &base, target: &target, layers: &layers, changes: &changes, platform: &platform };
    let (lines, mut told) = mpsc::unbounded_channel();
    let progress = move |line: &str| drop(lines.send(line.to_owned()));
    let pushed = build.push(&tools.http, &progress).await;
    drop(progress);
    while let Some(line) = told.recv().await {
        session.tell(line).await;
    }
    let pushed = pushed?;
    // What the repository shows may be a moment late; what was pushed is known.
    let shown = find(site).await?.and_then(|found| found.digest);
    if let Some(shown) = shown.filter(|shown| shown != pushed.digest.as_str()) {
        let message = format!("The repository shows another image under the tag that was just pushed: {shown}.");
        return Err(CallError::retryable(codes::NODE_EFFECT_MISSING, message, Effect::Ended).into());
    }
    done(session, Pushed { tag: image.tag.clone(), digest: Some(pushed.digest.as_str().to_owned()) }).await
}

async fn done(session: &Session<'_>, pushed: Pushed) -> StepResult {
    notes::write(session.run(), notes::PUSHED, &pushed).await?;
    Ok(StepOutcome::output(json!({"image": session.site.goal.image.path, "digest": pushed.digest})))
}

/// A path of the image repository's.
async fn repository(site: &Site, part: &[&str], doing: &str) -> Result<Option<Value>, CallError> {
    let [database, schema, name] = site.place.repository.each_ref().map(Ident::rest);
    let mut path = vec!["api", "v2", "databases", &database, "schemas", &schema, "image-repositories", &name];
    path.extend(part);
    site.api.rest_if_there(Call::get(&path, doing)).await
}

/// The image of our tag, if the repository lists it.
async fn find(site: &Site) -> Result<Option<Pushed>, CallError> {
    let doing = "reading the images";
    let found = repository(site, &["images"], doing).await?.unwrap_or_else(|| Value::Array(Vec::new()));
    let all: Vec<Listed> = read(found, doing)?;
    let image = &site.goal.image;
    let ours = |one: &&Listed| {
        let tagged = one.tags.as_deref().is_some_and(|tags| tags.split(',').any(|tag| tag.trim() == image.tag));
        let path = one.image_path.as_deref().unwrap_or_default().trim_start_matches('/');
        (tagged && one.image_name.as_deref() == Some(&image.name)) || path == image.path.trim_start_matches('/')
    };
    let digest = |one: &Listed| one.digest.clone().filter(|digest| digest.starts_with("sha256:") && digest.len() == 71);
    Ok(all.iter().find(ours).map(|one| Pushed { tag: image.tag.clone(), digest: digest(one) }))
}

/// A reference, and whether its registry is spoken to without TLS: `http://` before it says so.
pub(super) fn base_reference(text: &str) -> Result<(Reference, bool), Failure> {
    let text = text.trim();
    let (rest, plain) = text.strip_prefix("http://").map_or((text, false), |rest| (rest, true));
    Ok((rest.parse::<Reference>()?, plain))
}

/// The image with the node.
async fn base(session: &Session<'_>) -> Result<Image, StepError> {
    let settings = &session.site.place.settings;
    let (reference, plain_http) = base_reference(&settings.base_image)?;
    let login = match &settings.base_image_password {
        Some(password) if !settings.base_image_user.is_empty() => {
            let password = session.run().secret(&password.id).await?;
            Some(Login { user: settings.base_image_user.clone(), password })
        }
        _ => None,
    };
    Ok(Image { reference, access: Access { login, plain_http, ..Access::default() } })
}

/// The image in Snowflake's repository. Where that is Snowflake says; the login is sent to Snowflake's own hosts alone, and to one that the connection names.
async fn target(session: &Session<'_>) -> Result<Image, StepError> {
    let site = &session.site;
    let (connection, doing) = (&site.place.connection, "reading where the image repository is");
    let found = repository(site, &[], doing).await?.unwrap_or_default();
    let url = found["repository_url"].as_str().unwrap_or_default().trim_end_matches('/');
    let name = format!("{url}/{}:{}", site.goal.image.name, site.goal.image.tag);
    let reference = name.parse::<Reference>().map_err(|error| {
        let message = format!("Snowflake does not say where the image repository is. {error}");
        Failure::new(codes::NODE_ANSWER_UNEXPECTED, message).detail(site.api.clean(url, 300)).permanent()
    })?;
    let host = reference.registry().to_owned();
    let Some(plain_http) = connection.trusts_registry(&host) else {
        let message = format!(
            "Snowflake says that the image repository is at {}, which is none of its own hosts. The login was not sent there. If it is right, name it as registryHost in the connection.",
            site.api.clean(&host, 300)
        );
        return Err(Failure::new(codes::NODE_REDIRECTED, message).permanent());
    };
    let Some(password) = connection.registry_secret() else {
        let message = "connection.registryPassword: the image repository takes a password or a programmatic access token, and none is entered.";
        return Err(Failure::new(codes::SETTING_MISSING, message).permanent());
    };
    let password = session.run().secret(&password.id).await?;
    let login = Some(Login { user: connection.user.clone(), password });
    Ok(Image { reference, access: Access { login, plain_http, ..Access::default() } })
}

/// The service, and above it the front.
async fn layers(session: &Session<'_>, tools: &Tools) -> Result<Vec<Layer>, StepError> {
    let goal = &session.site.goal;
    let Some(service) = session.work.spec.service.as_deref() else { return Ok(Vec::new()) };
    let (mut generations, mut packages) = (Vec::new(), Vec::new());
    for (n, version) in service.versions.iter().enumerate() {
        generations.push(ServedGeneration {
            generation: version.version.clone(),
            file: format!("{}.zip", n + 1),
            proba: version.probability,
        });
        let (size, content) = service_package::open(session.work, version).await?;
        packages.push(Content::Stream { size, content });
    }
    let deployment = ServedDeployment {
        generations,
        // Grants say who may call; nothing else reaches the container.
        authentication: Some(Authentication::Public),
        auditing: service.auditing.as_ref().map(|log| log.container_settings(None)),
        endpoint: Some(ServedEndpoint {
            id: goal.endpoint.id.clone(),
            kind: goal.kind,
            arguments: argument_names(&goal.function),
        }),
        ..ServedDeployment::single(&service.service_id, "")
    };
    let folder = Arc::new(tools.host.scratch());
    let mut plan = LayerPlan::default();
    deployment.lay(packages, &mut plan)?;
    let service = plan.make(&folder).await.map_err(CallError::from)?;
    let front = Front::layer(&front::program(&tools.host)?, &folder).await.map_err(CallError::from)?;
    Ok(vec![service, front])
}
