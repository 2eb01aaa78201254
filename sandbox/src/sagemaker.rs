//! A practice Amazon SageMaker, with as much of STS, ECR and the runtime as deployments there need. It checks signatures, refuses what AWS refuses, changes its
//! endpoints step by step (one at each look), and can be told to fail. Nothing of it is AWS'.
//!
//! * `door`: the way of one request. `signature`: who calls. `wanted`: what a request must hold.
//! * `state`: what there is. `control`: SageMaker's operations. `registry`: ECR's, `images`: what is pushed and pulled there. `sessions`: STS'. `runtime`: queries.

mod control;
mod door;
mod images;
mod registry;
mod runtime;
mod sessions;
mod signature;
mod state;
mod wanted;

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{fmt, io};

use poem::Server;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::desk::Desk;
use crate::socket::{PlugAcceptor, Plugs};
use door::CloudDoor;
use state::{Coming, State};

/// The account that everything is in.
pub const ACCOUNT: &str = "123456789012";

/// A practice SageMaker that listens, until it is dropped.
pub struct SageMaker {
    core: Arc<Core>,
    addr: SocketAddr,
    plugs: Arc<Plugs>,
    stop: CancellationToken,
}

/// All of it but its connections.
pub(crate) struct Core {
    pub(crate) desk: Desk,
    pub(crate) region: String,
    state: Mutex<State>,
}

impl Core {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SageMaker {
    /// Starts one in this region that knows this access key; port 0 takes a free one.
    ///
    /// # Errors
    /// When the address can't be listened at.
    pub async fn start(listen: SocketAddr, region: &str, key_id: &str, secret: &str) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let addr = listener.local_addr()?;
        let mut state = State::new(region, &addr.to_string());
        state.keys.insert(key_id.to_owned(), (secret.to_owned(), None));
        let core = Arc::new(Core { desk: Desk::default(), region: region.to_owned(), state: Mutex::new(state) });
        let (plugs, stop) = (Arc::new(Plugs::default()), CancellationToken::new());
        let door = CloudDoor { core: Arc::clone(&core), plugs: Arc::clone(&plugs), stop: stop.clone() };
        let acceptor = PlugAcceptor { listener, plugs: Arc::clone(&plugs) };
        let signal = stop.clone().cancelled_owned();
        let server = Server::new_with_acceptor(acceptor);
        tokio::spawn(async move {
            if let Err(error) = server.run_with_graceful_shutdown(door, signal, Some(Default::default())).await {
                tracing::warn!(%error, "the practice SageMaker did not end well");
            }
        });
        Ok(Self { core, addr, plugs, stop })
    }

    /// The base URL of all of its services.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The end state: models, configurations, endpoints, repositories with their tags. For comparing.
    pub fn effects(&self) -> Value {
        self.core.state().snapshot()
    }

    /// What puts everything there is back to where it is now.
    pub fn bookmark(&self) -> impl Fn(&Self) + use<> {
        let state = self.core.state().clone();
        move |cloud| cloud.core.state().clone_from(&state)
    }

    /// The calls that changed something, in order: operation and name.
    pub fn changes(&self) -> Vec<(String, String)> {
        self.core.state().changes.clone()
    }

    /// The requests as they came, with headers and bodies, for judges of others.
    pub fn captured(&self) -> Vec<Value> {
        self.core.state().captured.clone()
    }

    /// Makes a repository for images.
    pub fn add_repository(&self, name: &str) {
        self.core.state().repositories.entry(name.to_owned()).or_default();
    }

    /// Puts a base image, of a single empty layer, into a repository. Its reference.
    pub fn add_base_image(&self, repository: &str, tag: &str) -> String {
        let mut state = self.core.state();
        images::add_base(&mut state, repository, tag, "/node");
        format!("{}/{repository}:{tag}", state.registry)
    }

    /// What its registry holds: layers and configurations.
    pub fn blobs(&self) -> Vec<Vec<u8>> {
        self.core.state().blobs.values().cloned().collect()
    }

    /// The base image of this tag is another one from now on.
    pub fn mend_base_image(&self, repository: &str, tag: &str) {
        images::add_base(&mut self.core.state(), repository, tag, "/mended");
    }

    /// The next creation or update of an endpoint fails with this reason: a creation ends Failed, an update is rolled back.
    pub fn fail_next_change(&self, reason: &str) {
        self.core.state().coming = Some(Coming::Failure(reason.to_owned()));
    }

    /// The next update fails, and so does its way back.
    pub fn fail_next_rollback(&self, reason: &str) {
        self.core.state().coming = Some(Coming::Mixed(reason.to_owned()));
    }

    /// How many looks a change lasts; 2 at first.
    pub fn set_slowness(&self, looks: u32) {
        self.core.state().slowness = looks;
    }

    /// Its clock goes wrong by so many seconds. Requests whose time differs by more than five minutes are refused.
    pub fn set_clock(&self, seconds: i64) {
        self.core.state().skew = seconds;
    }

    /// Operations that the credentials may not call.
    pub fn deny(&self, operations: &[&str]) {
        self.core.state().denied = operations.iter().map(|&operation| operation.to_owned()).collect();
    }

    /// Ends all sessions.
    pub fn expire_sessions(&self) {
        self.core.state().expire_sessions();
    }

    /// The container answers queries with this status and body, instead of an echo.
    pub fn set_model_error(&self, status: u16, body: &str) {
        self.core.state().model_error = Some((status, body.to_owned()));
    }

    /// Changes an endpoint's weights past everybody, as somebody with rights could.
    pub fn set_weight(&self, endpoint: &str, variant: &str, weight: f64) {
        self.core.state().set_weight(endpoint, variant, weight);
    }

    /// What a model is now, as somebody with rights could delete one and make another of its name; null takes it away.
    pub fn replace_model(&self, name: &str, model: Value) {
        let mut state = self.core.state();
        if model.is_null() {
            state.models.remove(name);
        } else {
            state.models.insert(name.to_owned(), model);
        }
    }

    /// Makes an endpoint that is somebody else's.
    pub fn add_foreign_endpoint(&self, name: &str) {
        self.core.state().add_foreign_endpoint(name);
    }
}

impl Deref for SageMaker {
    type Target = Desk;

    /// Its log of calls, and its faults. A call's path is `/SERVICE/OPERATION`, such as `/sagemaker/CreateModel`.
    fn deref(&self) -> &Desk {
        &self.core.desk
    }
}

impl Drop for SageMaker {
    fn drop(&mut self) {
        self.stop.cancel();
        self.plugs.pull_all();
    }
}

impl fmt::Debug for SageMaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SageMaker({})", self.addr)
    }
}
