//! Azure: Microsoft's sign-in, the management API with one Azure ML workspace, a container registry's login, and the endpoints' own address, all at one place.
//!
//! `wire` holds what the vendor's model says of bodies, `resources` the workspace, `registry` the registry's login.

mod registry;
mod resources;
mod wire;

use super::door::{Asked, Reply, StandIn};
use super::images::Images;
use resources::Workspace;
use serde_json::{Value, json};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What the stand-in knows of its only app.
#[derive(Clone, Debug)]
pub struct AzureSettings {
    /// The directory.
    pub tenant: String,
    /// The app.
    pub client: String,
    /// Its secret.
    pub secret: String,
    /// The token of a machine that may sign in as the app.
    pub federated: String,
    /// The workspace's region.
    pub location: String,
    /// An operation takes so many looks.
    pub looks: u32,
    /// What the app may do in the workspace.
    pub actions: Vec<String>,
    /// What it may do in the registry.
    pub registry_actions: Vec<String>,
}

impl Default for AzureSettings {
    fn default() -> Self {
        let text = str::to_owned;
        Self {
            tenant: text("11111111-2222-3333-4444-555555555555"),
            client: text("66666666-7777-8888-9999-000000000000"),
            secret: text("s3cr3t-of-the-app"),
            federated: text("t0ken-of-the-machine"),
            location: text("westeurope"),
            looks: 3,
            actions: vec![text("*")],
            registry_actions: vec![text("pull"), text("push")],
        }
    }
}

/// The subscription, resource group and workspace that there are.
pub const PLACE: [&str; 3] = ["aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", "models", "scoring"];
/// The registry's name.
pub const REGISTRY: &str = "team.azurecr.io";
/// The token that the management API takes.
pub(super) const TOKEN: &str = "managem3nt-token";
/// The primary key of every endpoint.
pub const ENDPOINT_KEY: &str = "pr1mary-key-of-the-endpoint";

/// The stand-in.
pub struct Azure {
    pub(super) settings: AzureSettings,
    pub(super) workspace: Mutex<Workspace>,
    images: Mutex<Images>,
}

impl Azure {
    /// Empty.
    pub fn new(settings: AzureSettings) -> Self {
        let workspace = Mutex::new(Workspace::new(&settings));
        Self { settings, workspace, images: Mutex::new(Images::new()) }
    }

    fn lock(&self) -> MutexGuard<'_, Workspace> {
        self.workspace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What its registry holds: layers and configurations.
    pub fn blobs(&self) -> Vec<bytes::Bytes> {
        self.images().blobs()
    }

    fn images(&self) -> MutexGuard<'_, Images> {
        self.images.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next deployment that is made fails with this code and sentence, after its container said `log`.
    pub fn fail_next(&self, code: &str, message: &str, log: &str) {
        self.lock().fail_next(code, message, log);
    }

    /// The next change of an endpoint's traffic takes effect, and is said to have failed with this code and sentence.
    pub fn fail_next_traffic(&self, code: &str, message: &str) {
        self.lock().fail_next_traffic(code, message);
    }

    /// What others did: the resource under this path (from the workspace on) is this now; null takes it away.
    pub fn meddle(&self, path: &str, resource: Value) {
        self.lock().meddle(path, resource);
    }

    /// A resource, by its path from the workspace on.
    pub fn resource(&self, path: &str) -> Value {
        self.lock().resource(path)
    }

    fn token(&self, asked: &Asked) -> Reply {
        let field = |name: &str| asked.form(name).unwrap_or_default();
        let refusal = |status: u16, code: &str, text: &str| {
            Reply::json(status, json!({"error": code, "error_description": format!("AADSTS0: {text}\r\nTrace ID: 0")}))
        };
        if field("grant_type") != "client_credentials" {
            return refusal(400, "unsupported_grant_type", "grant_type");
        }
        if field("client_id") != self.settings.client {
            return refusal(400, "unauthorized_client", "application not found in the directory");
        }
        if field("scope") != "https://management.azure.com/.default" {
            return refusal(400, "invalid_scope", "scope");
        }
        let by_secret = field("client_secret") == self.settings.secret;
        let by_machine = field("client_assertion_type") == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
            && field("client_assertion") == self.settings.federated;
        if !by_secret && !by_machine {
            return refusal(401, "invalid_client", "invalid client secret provided");
        }
        Reply::json(
            200,
            json!({"token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599, "access_token": TOKEN}),
        )
    }
}

/// A refusal of the management API.
pub(super) fn refused(status: u16, code: &str, message: &str) -> Reply {
    Reply::json(status, json!({"error": {"code": code, "message": message}}))
}

impl StandIn for Azure {
    fn answer(&self, asked: &Asked, base: &str) -> Reply {
        match asked.segments()[..] {
            [tenant, "oauth2", "v2.0", "token"] if asked.method == "POST" && tenant == self.settings.tenant => {
                self.token(asked)
            }
            ["oauth2", "exchange" | "token"] => registry::answer(self, asked),
            ["v2", ..] => match registry::gate(asked, base) {
                Some(closed) => closed,
                None => self.images().answer(asked),
            },
            [endpoint, "score"] if asked.method == "POST" => self.lock().score(endpoint, asked),
            _ if asked.bearer() != Some(TOKEN) => {
                refused(401, "InvalidAuthenticationToken", "The access token is invalid.")
            }
            ["subscriptions"] => Reply::json(200, json!({"value": [{"subscriptionId": PLACE[0]}]})),
            _ => self.lock().answer(&self.settings, asked, base),
        }
    }

    fn effects(&self) -> Value {
        let mut effects = self.lock().effects();
        effects["registry"] = self.images().effects();
        effects
    }

    fn bookmark(&self) -> Box<dyn Fn(&Self)> {
        let (workspace, images) = (self.lock().clone(), self.images().clone());
        Box::new(move |stand| {
            *stand.lock() = workspace.clone();
            *stand.images() = images.clone();
        })
    }
}
