//! Google Cloud: its sign-in, the resource manager and Vertex AI in one project and region, all at one place.
//!
//! `sign_in` checks signatures; `wire` holds what the vendor's discovery document says of bodies; `vertex` the endpoints and models.

mod sign_in;
mod vertex;
mod wire;

use super::door::{Asked, Reply, StandIn};
use super::images::Images;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use std::sync::{Mutex, MutexGuard, PoisonError};
use vertex::Vertex;

/// A service account's private key, for practice alone: it opens nothing.
const KEY: &str = include_str!("google/practice-key.pem");
/// The project, its number, and the region that there are.
pub const PLACE: [&str; 3] = ["scoring-prod", "471147114711", "europe-west1"];
/// The token that all APIs take.
pub const TOKEN: &str = "ya29.token-of-the-account";

/// What the stand-in knows.
#[derive(Clone, Debug)]
pub struct GoogleSettings {
    /// The service account.
    pub account: String,
    /// What it may do.
    pub permissions: Option<Vec<String>>,
    /// An operation takes so many looks.
    pub looks: u32,
    /// The token of a machine.
    pub subject: String,
}

impl Default for GoogleSettings {
    fn default() -> Self {
        Self {
            account: "slipway@scoring-prod.iam.gserviceaccount.com".to_owned(),
            permissions: None,
            looks: 3,
            subject: "t0ken-of-the-machine".to_owned(),
        }
    }
}

/// The stand-in.
pub struct Google {
    settings: GoogleSettings,
    vertex: Mutex<Vertex>,
    images: Mutex<Images>,
}

impl Google {
    /// Empty.
    pub fn new(settings: GoogleSettings) -> Self {
        let vertex = Mutex::new(Vertex::new(settings.looks));
        Self { settings, vertex, images: Mutex::new(Images::new()) }
    }

    /// The file of a key of the service account, which names this address for tokens.
    pub fn key_file(&self, token_uri: &str) -> String {
        json!({
            "type": "service_account", "project_id": PLACE[0], "private_key_id": "practice", "private_key": KEY,
            "client_email": self.settings.account, "client_id": "1", "token_uri": token_uri,
        })
        .to_string()
    }

    fn lock(&self) -> MutexGuard<'_, Vertex> {
        self.vertex.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What its registry holds: layers and configurations.
    pub fn blobs(&self) -> Vec<bytes::Bytes> {
        self.images().blobs()
    }

    fn images(&self) -> MutexGuard<'_, Images> {
        self.images.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next model that is deployed fails with this gRPC code and sentence.
    pub fn fail_next(&self, code: u32, message: &str) {
        self.lock().fail_next(code, message);
    }

    /// What others did: the resource under this path (from the region on) is this now; null takes it away.
    pub fn meddle(&self, path: &str, resource: Value) {
        self.lock().meddle(path, resource);
    }

    /// A resource, by its path from the region on.
    pub fn resource(&self, path: &str) -> Value {
        self.lock().resource(path)
    }

    /// The registry takes a user and a password, without any token of its own.
    fn image(&self, asked: &Asked) -> Reply {
        let login = asked.header("authorization").and_then(|login| login.strip_prefix("Basic "));
        let login = login.and_then(|login| BASE64_STANDARD.decode(login).ok()).unwrap_or_default();
        if login != format!("oauth2accesstoken:{TOKEN}").as_bytes() {
            let told = json!({"errors": [{"code": "UNAUTHORIZED"}]});
            return Reply::json(401, told).with("www-authenticate", "Basic realm=\"registry\"");
        }
        self.images().answer(asked)
    }

    fn rights(&self, asked: &Asked) -> Reply {
        let Some(body) = asked.json().filter(|body| body["permissions"].is_array()) else {
            return refused(400, "INVALID_ARGUMENT", "permissions");
        };
        let wanted = body["permissions"].as_array().cloned().unwrap_or_default();
        let has = |one: &Value| {
            self.settings.permissions.as_ref().is_none_or(|all| all.iter().any(|had| one == had.as_str()))
        };
        let given: Vec<Value> = wanted.into_iter().filter(has).collect();
        Reply::json(200, if given.is_empty() { json!({}) } else { json!({"permissions": given}) })
    }
}

/// A refusal of Google's APIs.
pub(super) fn refused(code: u16, status: &str, message: &str) -> Reply {
    Reply::json(code, json!({"error": {"code": code, "message": message, "status": status}}))
}

impl StandIn for Google {
    fn answer(&self, asked: &Asked, _: &str) -> Reply {
        let rights = format!("{}:testIamPermissions", PLACE[0]);
        match (asked.method.as_str(), &asked.segments()[..]) {
            ("POST", ["token"]) => sign_in::by_key(&self.settings, KEY, asked),
            ("POST", ["sts"]) => sign_in::exchange(&self.settings, asked),
            ("POST", ["impersonate"]) => sign_in::impersonate(asked),
            (_, ["v2", ..]) => self.image(asked),
            ("GET", ["subject"]) => sign_in::subject(&self.settings, asked),
            _ if asked.bearer() != Some(TOKEN) => {
                refused(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.")
            }
            ("POST", ["v3", "projects", one]) if *one == rights => self.rights(asked),
            (_, ["v1", "projects", project, "locations", location, rest @ ..])
                if PLACE[..2].contains(project) && *location == PLACE[2] =>
            {
                self.lock().answer(rest, asked)
            }
            _ => refused(404, "NOT_FOUND", "no such path"),
        }
    }

    fn effects(&self) -> Value {
        let mut effects = self.lock().effects();
        effects["registry"] = self.images().effects();
        effects
    }

    fn bookmark(&self) -> Box<dyn Fn(&Self)> {
        let (vertex, images) = (self.lock().clone(), self.images().clone());
        Box::new(move |stand| {
            *stand.lock() = vertex.clone();
            *stand.images() = images.clone();
        })
    }
}
