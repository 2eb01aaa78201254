//! `slipway image`: what a deployment does with images, by hand.

mod logins;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use deployer::archive;
use serde_json::json;
use targets::{
    http::{CallError, Http, HttpSettings},
    image::{
        Platform,
        build::{Build, Changes, Image},
        contract::{BINARY, NODE_PORT, SERVICE_FOLDER, ServedDeployment, ServedEndpoint},
        front::Front,
        layer::{Content, LayerError, LayerPlan},
        reference::Reference,
        registry::Access,
    },
};

use self::logins::Logins;
use super::{say, say_json};
use crate::{
    args::{FrontPlatform, ImageBuild, ImageCommand},
    failure::Failure,
};

/// The longest file of certificates, in bytes.
const CA_FILE: u64 = 16 << 20;

pub(crate) async fn run(command: ImageCommand) -> Result<ExitCode, Failure> {
    match command {
        ImageCommand::Base { from } => say(dockerfile(&from)?)?,
        ImageCommand::Build(args) => build(*args).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The base image of the practice API node, as docs/IMAGES.md wants it.
fn dockerfile(from: &str) -> Result<String, Failure> {
    if from.is_empty() || from.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(wrong("--from", "it is no name of an image"));
    }
    let health = targets::image::contract::HEALTH_PATH;
    Ok(format!(
        r#"# A base image around Slipway's practice API node. A layer with a service goes on top of it.
FROM {from}
COPY --chmod=0755 slipway {BINARY}
RUN mkdir -p {SERVICE_FOLDER} \
 && echo 'node:x:10001:10001::/tmp:/usr/sbin/nologin' >> /etc/passwd \
 && echo 'node:x:10001:' >> /etc/group
USER 10001:10001
WORKDIR /tmp
# Alive, at {health}, once every package in the folder is served.
EXPOSE {NODE_PORT}
ENTRYPOINT ["{BINARY}", "sandbox", "--api-node", "--listen", "0.0.0.0:{NODE_PORT}", "--serve-folder", "{SERVICE_FOLDER}"]"#
    ))
}

async fn build(args: ImageBuild) -> Result<(), Failure> {
    let reference = |field: &str, text: &str| {
        text.parse::<Reference>()
            .map_err(|error| Failure::refused(error.code().as_str(), error.to_string()).about(Some(field)))
    };
    let (base, target) = (reference("--base", &args.base)?, reference("--to", &args.to)?);
    let wanted: Platform = args.platform.parse().map_err(|error: targets::image::PlatformInvalid| {
        wrong("--platform", error.to_string().trim_end_matches('.'))
    })?;
    let authorities = args.ca_file.as_deref().map(|file| {
        let unreadable = |problem: String| {
            Failure::refused("CONFIG_UNREADABLE", format!("the CA file {}: {problem}", file.display()))
        };
        crate::login::read(file, CA_FILE).map_err(unreadable)
    });
    let authorities = authorities.transpose()?;
    let logins = Logins::read(args.docker_config.as_deref(), |name| std::env::var(name).ok())?;
    let image = |reference: &Reference, pushed: bool| Image {
        reference: reference.clone(),
        access: Access {
            login: logins.of(reference.registry(), pushed),
            plain_http: args.plain_http,
            authorities: authorities.clone(),
            ..Access::default()
        },
    };
    let (base, target) = (image(&base, base.registry() == target.registry()), image(&target, true));
    let folder = tempfile::tempdir()?;
    let mut layers = vec![service(&args).await?.make(folder.path()).await.map_err(told)?];
    let mut changes = Changes::default();
    if let Some(front) = args.front {
        let binary = match &args.binary {
            Some(binary) => binary.clone(),
            None => std::env::current_exe()?,
        };
        layers.push(Front::layer(&binary, folder.path()).await.map_err(told)?);
        changes = platform(front).changes();
    }
    let http = Http::new(HttpSettings::default()).map_err(Failure::io)?;
    let build = Build { base: &base, target: &target, layers: &layers, changes: &changes, platform: &wanted };
    let progress = |line: &str| {
        if !args.json {
            // Whoever read it may have gone; the image is pushed all the same.
            drop(say(line));
        }
    };
    let pushed = build.push(&http, &progress).await.map_err(failed)?;
    if args.json {
        return say_json(&json!({
            "type": "image", "image": pushed.reference.to_string(), "tag": pushed.tag, "digest": pushed.digest.as_str(),
            "size": pushed.size, "sent": pushed.sent,
        }));
    }
    say(format!("{} bytes sent of {}", pushed.sent, pushed.size))
}

/// The layer with the package. What is wrong with it would only show when the image runs, so it is read.
async fn service(args: &ImageBuild) -> Result<LayerPlan, Failure> {
    readable(&args.service)?;
    let read = archive::read_service(&args.service, archive::Limits::default()).await;
    let package = read.map_err(|error| Failure::refused(error.code(), error.to_string()).about(Some("--service")))?;
    if args.service_id.as_ref().is_some_and(|id| *id != package.service_id) {
        return Err(wrong("--service-id", &format!("the package is of service {}", package.service_id)));
    }
    let generation = args.generation.clone().unwrap_or(package.generation);
    let mut deployment = ServedDeployment::single(&package.service_id, &generation);
    if let Some(id) = &args.endpoint {
        let all = &package.manifest.endpoints;
        let named = all.iter().find(|one| one.id == *id);
        // One that names none may have any.
        if named.is_none() && !all.is_empty() {
            let known: Vec<_> = all.iter().map(|one| one.id.as_str()).collect();
            return Err(wrong(
                "--endpoint",
                &format!("the package has no such endpoint. It has: {}", known.join(", ")),
            ));
        }
        let kind = match (&args.endpoint_type, named.and_then(|named| named.kind.as_ref())) {
            (Some(given), Some(own)) if given != own => {
                return Err(wrong("--endpoint-type", &format!("the package says {own}")));
            }
            (Some(kind), _) | (None, Some(kind)) => kind,
            (None, None) => return Err(wrong("--endpoint-type", "the package does not say it, so it is needed")),
        };
        let kind = serde_json::from_value(kind.as_str().into());
        let kind = kind.map_err(|_| wrong("--endpoint-type", "a front serves no endpoint of this type"))?;
        deployment.endpoint = Some(ServedEndpoint { id: id.clone(), kind, arguments: args.arguments.clone() });
    }
    let mut plan = LayerPlan::default();
    let package = Content::File(PathBuf::from(&args.service));
    deployment
        .lay(vec![package], &mut plan)
        .map_err(|failure| Failure::refused(failure.code.as_str(), failure.message))?;
    Ok(plan)
}

fn readable(package: &Path) -> Result<(), Failure> {
    let metadata = std::fs::metadata(package);
    let metadata = metadata.map_err(|error| Failure::io(format!("{}: {error}", package.display())))?;
    if metadata.is_file() { Ok(()) } else { Err(wrong("--service", "it is no file")) }
}

fn platform(front: FrontPlatform) -> Front {
    match front {
        FrontPlatform::Sagemaker => Front::SageMaker,
        FrontPlatform::Vertex => Front::VertexAi,
        FrontPlatform::Azure => Front::AzureMl,
        FrontPlatform::Snowflake => Front::Snowflake,
    }
}

fn told(error: LayerError) -> Failure {
    Failure::new(error.code().as_str(), error.to_string())
}

fn failed(error: CallError) -> Failure {
    let detail = error.failure.detail.map(|detail| format!(" ({detail})")).unwrap_or_default();
    Failure::new(error.failure.code.as_str(), format!("{}{detail}", error.failure.message))
}

fn wrong(field: &str, problem: &str) -> Failure {
    Failure::refused("FIELD_INVALID", format!("{field}: {problem}.")).about(Some(field))
}
