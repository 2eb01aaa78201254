//! What the resolvers of one operation work with: the house, who asks, and loaders that read many things at once.

use std::sync::{Arc, PoisonError, RwLock};

use async_graphql::{Context, Data, dataloader::DataLoader};
use deployer::{Deployer, keys, viewer::Viewer};

use crate::{
    error::{ApiError, Result},
    loaders::Loads,
    tail::Tail,
};

/// The most that one call of a loader reads.
const MOST_AT_ONCE: usize = 200;

/// One operation: a query, a mutation, or a subscription from its beginning to its end.
pub struct Session {
    /// The house.
    pub(crate) deployer: Deployer,
    /// Wakes subscriptions up.
    pub(crate) tail: Tail,
    /// The number under which the request is logged.
    pub(crate) request_id: String,
    /// Whoever asks, with the rights of the moment at which it was last looked up.
    viewer: RwLock<Arc<Viewer>>,
}

/// What to put into the context of one operation.
pub fn request_data(deployer: &Deployer, tail: &Tail, viewer: Viewer, request_id: &str) -> Data {
    let session = Arc::new(Session {
        deployer: deployer.clone(),
        tail: tail.clone(),
        request_id: request_id.to_owned(),
        viewer: RwLock::new(Arc::new(viewer)),
    });
    let mut data = Data::default();
    data.insert(DataLoader::new(Loads(session.clone()), tokio::spawn).max_batch_size(MOST_AT_ONCE));
    data.insert(session);
    data
}

impl Session {
    pub(crate) fn viewer(&self) -> Arc<Viewer> {
        self.viewer.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks again who asks. A subscription does so before each batch that it sends: rights change, keys are revoked.
    pub(crate) async fn renew(&self) -> Result<Arc<Viewer>> {
        let now = keys::refresh(&self.deployer.db, &self.viewer()).await?.ok_or_else(ApiError::unauthenticated)?;
        let now = Arc::new(now);
        *self.viewer.write().unwrap_or_else(PoisonError::into_inner) = now.clone();
        Ok(now)
    }
}

/// Short names for what a resolver finds in its context.
pub(crate) trait Asked {
    /// The session.
    fn session(&self) -> Result<&Arc<Session>>;
    /// The loaders.
    fn loader(&self) -> Result<&DataLoader<Loads>>;
}

impl Asked for Context<'_> {
    fn session(&self) -> Result<&Arc<Session>> {
        self.data_opt().ok_or_else(missing)
    }

    fn loader(&self) -> Result<&DataLoader<Loads>> {
        self.data_opt().ok_or_else(missing)
    }
}

fn missing() -> ApiError {
    deployer::error::Error::fault("the operation has no session: whoever executes the schema must give it request_data")
        .into()
}
