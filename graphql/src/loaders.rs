//! Loaders: what many resolvers of one operation ask one by one is read with one call. They keep nothing, so a subscription's next event is read
//! anew.

use std::{collections::HashMap, hash::Hash, sync::Arc};

use async_graphql::dataloader::Loader;
use deployer::{
    bundles, deployments, drift, enrolment, hooks, infrastructures,
    paging::{Listing, Page},
    projects, services, updates,
};
use engine::ids::RunId;
use serde_json::Value;
use targets::spec::BundleContents;

use crate::{
    error::{ApiError, Result},
    session::Session,
};

/// Loads for one session.
pub(crate) struct Loads(pub(crate) Arc<Session>);

/// A window of what an update's journal or log holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct JournalWindow {
    pub(crate) run: RunId,
    pub(crate) after: i64,
    pub(crate) first: u64,
}

/// Those that ask for the same window are read together; as a rule all do.
macro_rules! each_window {
    ($windows:ident, |$ids:ident, $after:ident, $first:ident| $read:expr) => {
        async {
            let mut same: HashMap<(i64, u64), Vec<RunId>> = HashMap::new();
            for window in $windows {
                same.entry((window.after, window.first)).or_default().push(window.run);
            }
            let mut found = HashMap::with_capacity($windows.len());
            for (($after, $first), ids) in same {
                let $ids = ids.as_slice();
                let read = $read.await?;
                found.extend(
                    read.into_iter().map(|(run, read)| (JournalWindow { run, after: $after, first: $first }, read)),
                );
            }
            Ok::<_, deployer::error::Error>(found)
        }
    };
}

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
    /// The one-time tokens of an infrastructure, for its administrators.
    EnrolmentTokensOf(String) -> Vec<enrolment::EnrolmentToken>,
    |deployer, viewer, ids| enrolment::tokens_by_infrastructures(deployer, viewer, ids)
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
    /// A published API service by id.
    ServiceById(String) -> services::Service,
    |deployer, viewer, ids| services::by_ids(deployer, viewer, ids)
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
    /// What was found when a deployment's node was last compared.
    DriftOf(String) -> drift::Drift,
    |deployer, viewer, ids| drift::by_deployments(deployer, viewer, ids)
);
loader!(
    /// What a bundle holds: perhaps megabytes.
    ContentsOf(bundles::BundleKey) -> Arc<BundleContents>,
    |deployer, viewer, ids| async { shared(bundles::contents_of(deployer, viewer, ids).await) }
);
loader!(
    /// A bundle's manifest: perhaps megabytes.
    ManifestOf(bundles::BundleKey) -> Arc<Value>,
    |deployer, viewer, ids| async { shared(bundles::manifests_of(deployer, viewer, ids).await) }
);
loader!(
    /// An update by id, with its journal folded.
    UpdateById(RunId) -> Arc<updates::Update>,
    |deployer, viewer, ids| async { shared(updates::by_ids(deployer, viewer, ids).await) }
);
loader!(
    /// What an update deploys.
    FrozenOf(RunId) -> updates::Frozen,
    |deployer, viewer, ids| updates::frozen(deployer, viewer, ids)
);
loader!(
    /// The newest update of a deployment.
    LatestUpdateOf(String) -> updates::Brief,
    |deployer, viewer, ids| updates::latest_briefs(deployer, viewer, ids)
);

loader!(
    /// A window of an update's journal: after this event, this many.
    EventsOf(JournalWindow) -> Vec<updates::UpdateEvent>,
    |deployer, viewer, windows| each_window!(windows, |ids, after, first| updates::events_of(deployer, viewer, ids, after, first))
);
loader!(
    /// A window of an update's log.
    LogOf(JournalWindow) -> Vec<updates::LogLine>,
    |deployer, viewer, windows| each_window!(windows, |ids, after, first| updates::log_of(deployer, viewer, ids, after, first))
);

/// What is large is not copied for each who asks.
fn shared<K: Eq + Hash, T>(
    found: deployer::error::Result<HashMap<K, T>>,
) -> deployer::error::Result<HashMap<K, Arc<T>>> {
    Ok(found?.into_iter().map(|(key, value)| (key, Arc::new(value))).collect())
}

macro_rules! list_of {
    ($(#[$doc:meta])* $key:ident -> $value:ty, |$deployer:ident, $viewer:ident, $parents:ident, $page:ident| $read:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub(crate) struct $key(pub(crate) String, pub(crate) Page);

        impl Loader<$key> for Loads {
            type Value = Listing<$value>;
            type Error = ApiError;

            async fn load(&self, keys: &[$key]) -> Result<HashMap<$key, Self::Value>> {
                let ($deployer, $viewer) = (&self.0.deployer, &*self.0.viewer());
                // As a rule all of them ask for the same page.
                let mut pages: HashMap<&Page, Vec<String>> = HashMap::new();
                for $key(parent, page) in keys {
                    pages.entry(page).or_default().push(parent.clone());
                }
                let mut found = HashMap::with_capacity(keys.len());
                for ($page, parents) in pages {
                    let $parents = parents.as_slice();
                    let listings = $read.await?;
                    found.extend(listings.into_iter().map(|(parent, listing)| ($key(parent, $page.clone()), listing)));
                }
                Ok(found)
            }
        }
    };
}

list_of!(
    /// A page of the updates of a deployment.
    UpdatesOf -> updates::Brief,
    |deployer, viewer, parents, page| updates::of_deployments(deployer, viewer, parents, page)
);
list_of!(
    /// A page of the bundles of a published project.
    BundlesOf -> bundles::Bundle,
    |deployer, viewer, parents, page| bundles::of_projects(deployer, viewer, parents, page)
);
list_of!(
    /// A page of the deployments of a published project.
    DeploymentsOfProject -> deployments::Deployment,
    |deployer, viewer, parents, page| {
        deployments::of_parents(deployer, viewer, deployments::Parent::Project, parents, page)
    }
);
list_of!(
    /// A page of the deployments on an infrastructure.
    DeploymentsOn -> deployments::Deployment,
    |deployer, viewer, parents, page| {
        deployments::of_parents(deployer, viewer, deployments::Parent::Infrastructure, parents, page)
    }
);
