//! What a front serves: from its command line, the platform's variables, and the image's deployment.json.

use std::{fs::File, io::Read as _, net::SocketAddr, path::Path, time::Duration};

use api::front::{FrontSettings, Platform, Verb};
use engine::secrets::Secret;
use reqwest::Url;
use targets::image::contract::{EndpointType, ServedDeployment};

use super::upstream::KEY_VARIABLE;
use crate::{
    args::{FrontArgs, FrontPlatform},
    failure::Failure,
};

/// A larger deployment.json is not read, in bytes; its reader's own bound is smaller.
const LARGEST: u64 = 1 << 20;

/// All that a front needs to know. No `Debug`: there may be a key in it.
pub(super) struct Plan {
    pub(super) front: FrontSettings,
    pub(super) service: String,
    pub(super) endpoint: String,
    pub(super) upstream: Url,
    pub(super) listen: SocketAddr,
    pub(super) key: Option<Secret>,
    pub(super) start: Duration,
    pub(super) drain: Duration,
    /// Health says 503 for so long at least before nobody listens any more.
    pub(super) notice: Duration,
}

impl Plan {
    /// `variable` reads the environment.
    pub(super) fn of(args: &FrontArgs, variable: impl Fn(&str) -> Option<String>) -> Result<Self, Failure> {
        let platform = match args.platform {
            FrontPlatform::Sagemaker => Platform::SageMaker,
            FrontPlatform::Vertex => Platform::VertexAi,
            FrontPlatform::Azure => Platform::AzureMl,
            FrontPlatform::Snowflake => Platform::Snowflake,
        };
        // Vertex AI says these in its containers alone.
        let vertex = |name: &str| variable(name).filter(|text| platform == Platform::VertexAi && !text.is_empty());
        let mut routes = platform.routes();
        if let Some(health) = args.health_route.clone().or_else(|| vertex("AIP_HEALTH_ROUTE")) {
            routes.health = health;
        }
        if let Some(predict) = args.predict_route.clone().or_else(|| vertex("AIP_PREDICT_ROUTE")) {
            routes.predict = predict;
        }
        if routes.alive.is_some() && args.liveness_route.is_some() {
            routes.alive.clone_from(&args.liveness_route);
        }
        let port = match vertex("AIP_HTTP_PORT") {
            Some(port) => port.parse().map_err(|_| wrong("AIP_HTTP_PORT", "it is no port"))?,
            None => platform.port(),
        };
        let said = read(&args.deployment, named(args))?;
        let told = said.as_ref().and_then(|said| said.endpoint.as_ref());
        let missing = |field: &str| wrong(field, "it is neither named nor in deployment.json");
        let service = args.service.clone().or_else(|| Some(said.as_ref()?.service_id.clone()));
        let endpoint = args.endpoint.clone().or_else(|| Some(told?.id.clone()));
        let kind = match &args.endpoint_type {
            Some(text) => Some(
                serde_json::from_value::<EndpointType>(serde_json::Value::from(text.as_str()))
                    .map_err(|_| wrong("--endpoint-type", "there is no such type"))?,
            ),
            None => told.map(|told| told.kind),
        };
        let arguments = args.arguments.clone().or_else(|| Some(told?.arguments.clone())).unwrap_or_default();
        let front = FrontSettings {
            platform,
            routes,
            verb: verb(kind.ok_or_else(|| missing("--endpoint-type"))?),
            arguments,
            body_limit: usize::from(args.body_limit) << 20,
            timeout: Duration::from_secs(args.timeout),
            at_once: usize::from(args.at_once),
        };
        let upstream = Url::parse(&args.upstream).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        Ok(Self {
            front,
            service: plain("--service", service.ok_or_else(|| missing("--service"))?)?,
            endpoint: plain("--endpoint", endpoint.ok_or_else(|| missing("--endpoint"))?)?,
            upstream: upstream.ok_or_else(|| wrong("--upstream", "it is no URL such as http://127.0.0.1:12000"))?,
            listen: args.listen.unwrap_or(SocketAddr::from(([0, 0, 0, 0], port))),
            key: variable(KEY_VARIABLE).filter(|key| !key.is_empty()).map(Secret::from),
            start: Duration::from_secs(args.start_timeout),
            drain: Duration::from_secs(args.drain_timeout),
            notice: Duration::from_secs(args.notice_timeout.min(args.drain_timeout)),
        })
    }
}

fn verb(kind: EndpointType) -> Verb {
    match kind {
        EndpointType::StdPrediction
        | EndpointType::StdClustering
        | EndpointType::StdMultitargetPrediction
        | EndpointType::CustomPrediction
        | EndpointType::CustomRPrediction => Verb::Predict,
        EndpointType::StdCausalPrediction => Verb::PredictEffect,
        EndpointType::StdForecast => Verb::Forecast,
        EndpointType::RFunction | EndpointType::PyFunction => Verb::Run,
        EndpointType::DatasetsLookup => Verb::Lookup,
        EndpointType::SqlQuery => Verb::Query,
    }
}

/// Whether the command line says everything itself.
fn named(args: &FrontArgs) -> bool {
    args.service.is_some() && args.endpoint.is_some() && args.endpoint_type.is_some()
}

/// The document, which need not be there if everything is named.
fn read(path: &Path, optional: bool) -> Result<Option<ServedDeployment>, Failure> {
    let unreadable = |problem: std::io::Error| {
        Failure::refused("IO_FAILED", format!("{}: {problem}", path.display())).about(Some("--deployment"))
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(_) if optional => return Ok(None),
        Err(problem) => return Err(unreadable(problem)),
    };
    let mut text = Vec::new();
    file.take(LARGEST).read_to_end(&mut text).map_err(unreadable)?;
    let read = ServedDeployment::parse(&text);
    read.map(Some).map_err(|error| Failure::refused(error.code().as_str(), error.to_string()))
}

/// A name that stays one part of an address.
fn plain(field: &str, name: String) -> Result<String, Failure> {
    if matches!(name.as_str(), "" | "." | "..") {
        Err(wrong(field, "it can't be a name in an address"))
    } else {
        Ok(name)
    }
}

fn wrong(field: &str, problem: &str) -> Failure {
    Failure::refused("FIELD_INVALID", format!("{field}: {problem}.")).about(Some(field))
}
