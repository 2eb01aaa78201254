//! The house behind the HTTP edge: the deployer.

use std::time::Duration;

use api::{
    Arrival, ByteStream, Download, Failure, House, Key, Package, Parent, Pass, Problem, Readiness, RestAnswer,
    RestCall, StatusCode,
};
use deployer::{
    Deployer,
    bundles::{self, BundleKey},
    enrolment,
    error::{Error, Refusal},
    services::versions,
    viewer::{Origin, Via, Viewer},
};
use engine::bell::Bell;
use futures_util::TryStreamExt;
use serde_json::{Value, json};

/// The deployer, as the edge sees it.
pub(crate) struct Deployment {
    deployer: Deployer,
    tail: graphql::Tail,
    /// The largest bundle, in bytes.
    largest: u64,
    instance: rest::Instance,
}

impl Deployment {
    pub(crate) fn new(deployer: Deployer, bell: &Bell, largest: u64, node_id: &str) -> Self {
        let tail = graphql::Tail::start(&deployer, bell);
        Self { deployer, tail, largest, instance: rest::Instance { node_id: node_id.to_owned() } }
    }
}

/// How long the database may take until it counts as away.
const READY_IN: Duration = Duration::from_secs(5);

/// Whether requests can be served.
pub(crate) async fn readiness(deployer: &Deployer) -> Readiness {
    // Whoever asks has patience of its own, and a database that does not answer in time is as good as none.
    let checks = async {
        let database = deployer.db.takes_writes().await.is_ok_and(|writes| writes);
        (database, database && migration::pending(deployer.db.pool()).await.is_ok_and(|pending| pending == 0))
    };
    let (database, migrations) = tokio::time::timeout(READY_IN, checks).await.unwrap_or_default();
    let queue = if deployer.queue.is_degraded() { "degraded: sweeping" } else { "ok" };
    Readiness { database, migrations, queue: queue.to_owned() }
}

impl House for Deployment {
    type Viewer = Viewer;

    async fn authenticate(&self, key: &Key) -> Result<Option<Viewer>, Failure> {
        deployer::keys::authenticate(&self.deployer.db, key.expose()).await.map_err(failure)
    }

    fn login<'a>(&self, viewer: &'a Viewer) -> &'a str {
        &viewer.login
    }

    fn arrived(&self, viewer: &mut Viewer, from: &Arrival) {
        viewer.origin = origin(from);
    }

    fn request_data(&self, pass: &Pass<Viewer>, request_id: &str) -> async_graphql::Data {
        graphql::request_data(&self.deployer, &self.tail, pass.viewer.clone(), request_id)
    }

    async fn readiness(&self) -> Readiness {
        readiness(&self.deployer).await
    }

    async fn upload(
        &self,
        viewer: &Viewer,
        parent: Parent<'_>,
        file_name: &str,
        content: ByteStream,
    ) -> Result<Value, Failure> {
        let project_key = match parent {
            Parent::Project(key) => key,
            Parent::Service(id) => return self.upload_version(viewer, id, file_name, content).await,
        };
        let upload = bundles::upload(&self.deployer, viewer, project_key, file_name, content, self.largest);
        let upload = upload.await.map_err(failure)?;
        let bundle = &upload.bundle;
        Ok(json!({
            "projectKey": bundle.key.project_key,
            "bundleId": bundle.key.bundle_id,
            "sha256": bundle.sha256,
            "size": bundle.size,
            "inferred": bundle.inferred,
            "createdProject": upload.created_project,
            "warnings": upload.warnings,
        }))
    }

    async fn download(&self, viewer: &Viewer, package: Package<'_>) -> Result<Download, Failure> {
        let (project_key, bundle_id) = match package {
            Package::Bundle(key, id) => (key, id),
            Package::Version(service, version) => {
                let found = versions::open(&self.deployer, viewer, service, version).await;
                let (found, content) = found.map_err(failure)?;
                let (size, sha256, file_name) = (found.size, found.sha256, format!("{service}-{version}.zip"));
                return Ok(Download {
                    content: Box::pin(content.map_err(std::io::Error::other)),
                    size,
                    sha256,
                    file_name,
                });
            }
        };
        let key = BundleKey { project_key: project_key.to_owned(), bundle_id: bundle_id.to_owned() };
        let (bundle, content) = bundles::open(&self.deployer, viewer, &key).await.map_err(failure)?;
        let content = content.map_err(std::io::Error::other);
        Ok(Download {
            content: Box::pin(content),
            size: bundle.size,
            sha256: bundle.sha256,
            file_name: format!("{bundle_id}.zip"),
        })
    }

    async fn act_for(&self, viewer: &Viewer, login: &str) -> Result<Viewer, Failure> {
        deployer::keys::act_for(&self.deployer, viewer, login).await.map_err(failure)
    }

    fn is_patient(&self, call: &RestCall) -> bool {
        read(call.clone()).is_ok_and(|call| rest::is_patient(&call))
    }

    async fn rest(&self, viewer: &Viewer, call: RestCall) -> Result<RestAnswer, Failure> {
        let call = read(call)?;
        match rest::answer(&self.deployer, viewer, &self.instance, &call).await.map_err(failure)? {
            rest::Answer::Json(document) => Ok(RestAnswer::Json(document)),
            rest::Answer::Bundle(key) => {
                let package = Package::Bundle(&key.project_key, &key.bundle_id);
                self.download(viewer, package).await.map(RestAnswer::Package)
            }
            rest::Answer::Version(service, version) => {
                let package = Package::Version(&service, &version);
                self.download(viewer, package).await.map(RestAnswer::Package)
            }
        }
    }

    type Node = rest::FleetCall;

    async fn node(&self, token: Option<&Key>, method: &str, from: &Arrival) -> Result<rest::FleetCall, Failure> {
        rest::FleetCall::admit(&self.deployer, &origin(from), method, token.map(Key::expose)).await.map_err(failure)
    }

    fn node_login<'a>(&self, node: &'a rest::FleetCall) -> &'a str {
        node.login()
    }

    async fn fleet(&self, node: &rest::FleetCall, body: bytes::Bytes) -> Result<Value, Failure> {
        node.answer(&self.deployer, &body).await.map_err(failure)
    }

    async fn rest_upload(
        &self,
        viewer: &Viewer,
        call: RestCall,
        file_name: &str,
        content: ByteStream,
    ) -> Result<RestAnswer, Failure> {
        let call = read(call)?;
        let parent = match rest::upload_to(&call).map_err(failure)? {
            rest::UploadTo::Project(key) => Parent::Project(key),
            rest::UploadTo::Service(id) => Parent::Service(Some(id)),
        };
        self.upload(viewer, parent, file_name, content).await.map(RestAnswer::Json)
    }
}

impl Deployment {
    async fn upload_version(
        &self,
        viewer: &Viewer,
        service: Option<&str>,
        file_name: &str,
        content: ByteStream,
    ) -> Result<Value, Failure> {
        let stored = versions::upload(&self.deployer, viewer, service, file_name, content, self.largest).await;
        let version = stored.map_err(failure)?;
        Ok(json!({
            "serviceId": version.service_id,
            "version": version.version,
            "sha256": version.sha256,
            "size": version.size,
            "endpoints": version.endpoints,
        }))
    }
}

/// Where a request came from, for the audit.
fn origin(from: &Arrival) -> Origin {
    Origin {
        via: if from.graphql { Via::GraphQl } else { Via::Rest },
        address: from.address.as_deref().map(str::to_owned),
        request_id: from.request_id.as_deref().map(str::to_owned),
        acting: None,
    }
}

/// A call, as the REST API's room reads it.
fn read(call: RestCall) -> Result<rest::Call, Failure> {
    let RestCall { method, path, query, body } = call;
    let method = rest::Method::of(&method).ok_or_else(|| {
        let message = "This address does not know this method.";
        Failure::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", message)
    })?;
    Ok(rest::Call { method, path, query, body })
}

/// A refusal with its status; a fault is logged here, once.
fn failure(error: Error) -> Failure {
    let refusals = match error {
        Error::Refused(refusals) => refusals,
        Error::Fault(fault) => {
            tracing::error!(error = fault.detail, transient = fault.transient, "a request failed");
            return if fault.transient { Failure::unavailable() } else { Failure::internal() };
        }
    };
    let status = match refusals.first().map(|refusal| refusal.code) {
        Some("NOT_FOUND") => StatusCode::NOT_FOUND,
        Some("FORBIDDEN") => StatusCode::FORBIDDEN,
        // The key died while the request was on its way.
        Some("UNAUTHENTICATED") => StatusCode::UNAUTHORIZED,
        Some(enrolment::TOKEN_INVALID) => StatusCode::UNAUTHORIZED,
        Some("METHOD_NOT_ALLOWED") => StatusCode::METHOD_NOT_ALLOWED,
        Some("NODE_FAILED" | "PRE_DELETE_FAILED") => StatusCode::BAD_GATEWAY,
        Some("CONTENT_TYPE_INVALID") => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Some(
            "ID_NOT_AVAILABLE"
            | "NODE_NAME_TAKEN"
            | "BUNDLE_EXISTS"
            | "BUNDLE_ID_BOUND"
            | "IN_USE"
            | "VERSION_CONFLICT"
            | "UPDATE_RUNNING"
            | "TEST_SCENARIOS_BUSY"
            | "DEPLOYMENT_STUCK"
            | "DEPLOYED_PROJECT_KEY_TAKEN"
            | "PRE_DELETE_UNFINISHED",
        ) => StatusCode::CONFLICT,
        Some("PACKAGE_TOO_LARGE" | "BUNDLE_TOO_LARGE") => StatusCode::PAYLOAD_TOO_LARGE,
        _ => StatusCode::BAD_REQUEST,
    };
    let problem =
        |refusal: Refusal| Problem { code: refusal.code.into(), field: refusal.field, message: refusal.message };
    Failure { status, problems: refusals.into_iter().map(problem).collect() }
}
