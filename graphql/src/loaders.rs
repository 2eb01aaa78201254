//! Loaders: what many resolvers of one operation ask one by one is read with one call. They keep nothing, so a subscription's next event is read
//! anew.

use std::{collections::HashMap, hash::Hash, sync::Arc};

use async_graphql::dataloader::Loader;
use deployer::{bundles, deployments, hooks, infrastructures, projects, updates};
use engine::ids::RunId;

use crate::{
    error::{ApiError, Result},
    session::Session,
};

/// Loads for one session.
pub(crate) struct Loads(pub(crate) Arc<Session>);

macro_rules! loader {
    ($(#[$doc:meta])* $key:ident($inner:ty) -> $value:ty, |$deployer:ident, $viewer:ident, $ids:ident| $read:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub(crate) struct $key(pub(crate) $inner);

        impl Loader<$key> for Loads {
            type Value = $value;
            type Error = ApiError;

            async fn load(&self, keys: &[$key]) -> Result<HashMap<$key, $value>> {
                let ($deployer, $viewer) = (&self.0.deployer, &*self.0.viewer());
                let ids: Vec<$inner> = keys.iter().map(|key| key.0.clone()).collect();
                let $ids = ids.as_slice();
                let found = $read.await?;
                Ok(found.into_iter().map(|(id, value)| ($key(id), value)).collect())
            }
        }
    };
}

loader!(
    /// An infrastructure by id.
    InfrastructureById(String) -> infrastructures::Infrastructure,
    |deployer, viewer, ids| infrastructures::by_ids(deployer, viewer, ids)
);
loader!(
    /// The rights on an infrastructure, for its administrators.
    PermissionsOf(String) -> Vec<infrastructures::Permission>,
    |deployer, viewer, ids| infrastructures::permissions_by_ids(deployer, viewer, ids)
);
loader!(
    /// The hooks of an infrastructure, for its administrators.
    HooksOf(String) -> Vec<hooks::Hook>,
    |deployer, viewer, ids| hooks::by_infrastructures(deployer, viewer, ids)
);
loader!(
    /// How many hooks an infrastructure has.
    HookCountsOf(String) -> hooks::HookCounts,
    |deployer, viewer, ids| hooks::counts(deployer, viewer, ids)
);
loader!(
    /// A published project by key.
    ProjectByKey(String) -> projects::Project,
    |deployer, viewer, ids| projects::by_keys(deployer, viewer, ids)
);
loader!(
    /// A bundle.
    BundleByKey(bundles::BundleKey) -> bundles::Bundle,
    |deployer, viewer, ids| bundles::by_ids(deployer, viewer, ids)
);
loader!(
    /// A deployment by id.
    DeploymentById(String) -> deployments::Deployment,
    |deployer, viewer, ids| deployments::by_ids(deployer, viewer, ids)
);
loader!(
    /// An update by id.
    UpdateById(RunId) -> updates::Update,
    |deployer, viewer, ids| updates::by_ids(deployer, viewer, ids)
);
loader!(
    /// The newest update of a deployment.
    LatestUpdateOf(String) -> updates::Update,
    |deployer, viewer, ids| updates::latest_of(deployer, viewer, ids)
);
