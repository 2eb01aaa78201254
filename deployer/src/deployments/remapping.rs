//! Which remappings are in force for a deployment, and where they are otherwise than its infrastructure's.

use std::collections::{BTreeMap, HashMap};

use entities::{deployment, infrastructure};
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _};
use targets::spec::Remapping;

use super::{Deployment, Settings, list::views};
use crate::{
    Deployer,
    error::Result,
    infrastructures,
    paging::{Listing, Page},
    rights::{self, Access, Level},
    text,
    viewer::Viewer,
};

/// So many deployments are looked at in one query: each may hold a megabyte of local variables.
const BATCH: u64 = 50;
/// So many batches make a page at most, however few were found.
const BATCHES: usize = 20;

/// What is remapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemappingKind {
    /// A connection.
    Connection,
    /// A code env.
    CodeEnv,
    /// A container configuration.
    ContainerExec,
}

/// All remappings of a deployment, or of an infrastructure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remappings {
    /// Of connections.
    pub connections: Vec<Remapping>,
    /// Of code envs.
    pub code_envs: Vec<Remapping>,
    /// Of container configurations.
    pub container_execs: Vec<Remapping>,
}

/// One name that a deployment remaps otherwise than its infrastructure does today.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemappingDifference {
    /// What it names.
    pub kind: RemappingKind,
    /// The name in the bundle.
    pub source: String,
    /// What the deployment makes of it; None leaves the name.
    pub deployment: Option<String>,
    /// What the infrastructure makes of it; None leaves the name.
    pub infrastructure: Option<String>,
}

/// A deployment that remaps otherwise than its infrastructure does today.
#[derive(Clone, Debug, PartialEq)]
pub struct Remapped {
    /// The deployment.
    pub deployment: Deployment,
    /// What is different. Empty for one alone that ends a page on which none was found: more were looked at than one page may, and the next goes on behind it.
    pub differences: Vec<RemappingDifference>,
}

impl Remappings {
    /// An infrastructure's.
    #[must_use]
    pub fn of(place: &infrastructures::Settings) -> Self {
        Self {
            connections: place.connection_remapping.clone(),
            code_envs: place.code_env_remapping.clone(),
            container_execs: place.container_exec_remapping.clone(),
        }
    }

    /// What is remapped otherwise by these, a deployment's, than by an infrastructure's.
    fn differences(&self, place: &Self) -> Vec<RemappingDifference> {
        [
            (RemappingKind::Connection, &self.connections, &place.connections),
            (RemappingKind::CodeEnv, &self.code_envs, &place.code_envs),
            (RemappingKind::ContainerExec, &self.container_execs, &place.container_execs),
        ]
        .into_iter()
        .flat_map(|(kind, ours, theirs)| {
            let mut each: BTreeMap<&str, [Option<&str>; 2]> = BTreeMap::new();
            for (side, list) in [ours, theirs].into_iter().enumerate() {
                for one in list {
                    each.entry(&one.source).or_default()[side] = Some(&one.target);
                }
            }
            let differ = each.into_iter().filter(|(_, [ours, theirs])| ours != theirs);
            differ.map(move |(source, [ours, theirs])| RemappingDifference {
                kind,
                source: source.to_owned(),
                deployment: ours.map(str::to_owned),
                infrastructure: theirs.map(str::to_owned),
            })
        })
        .collect()
    }
}

impl Settings {
    /// What an update would use now: the deployment's own, and, if it is set to merge, its infrastructure's for other names.
    #[must_use]
    pub fn remappings(&self, place: &Remappings) -> Remappings {
        let merged = |own: &[Remapping], theirs: &[Remapping]| {
            let other = |theirs: &&Remapping| own.iter().all(|own| own.source != theirs.source);
            let theirs = theirs.iter().filter(|_| self.merge_infrastructure_remapping).filter(other);
            own.iter().chain(theirs).cloned().collect()
        };
        Remappings {
            connections: merged(&self.connection_remapping, &place.connections),
            code_envs: merged(self.code_env_remapping.as_deref().unwrap_or_default(), &place.code_envs),
            container_execs: merged(
                self.container_exec_remapping.as_deref().unwrap_or_default(),
                &place.container_execs,
            ),
        }
    }
}

/// The deployments that the viewer may see, and whose remappings are otherwise than their infrastructure's today, by id. An infrastructure's
/// remappings are told to those who may deploy on it alone: they get a copy with each deployment that they make. A page may be short although more follow.
///
/// # Errors
/// Faults only.
pub async fn remapped_otherwise(
    deployer: &Deployer,
    viewer: &Viewer,
    infrastructure: Option<&str>,
    page: &Page,
) -> Result<Listing<Remapped>> {
    let db = deployer.db.pool();
    let mut found: Vec<(deployment::Model, Vec<RemappingDifference>)> = Vec::new();
    let mut places: HashMap<String, Remappings> = HashMap::new();
    let mut after = page.after.clone();
    let mut more = infrastructure.is_none_or(text::storable);
    let (mut batches, mut last) = (0, None);
    while more && batches < BATCHES && (found.len() as u64) < page.limit() {
        batches += 1;
        let mut query = deployment::Entity::find()
            .filter(rights::deployments_where(viewer, Access::See))
            .filter(rights::infrastructures_where(viewer, deployment::Column::InfrastructureId, Level::Deploy));
        if let Some(infrastructure) = infrastructure {
            query = query.filter(deployment::Column::InfrastructureId.eq(infrastructure));
        }
        if let Some(after) = &after {
            query = query.filter(deployment::Column::Id.gt(after));
        }
        let rows = query.order_by_asc(deployment::Column::Id).limit(BATCH).all(db).await?;
        more = rows.len() as u64 == BATCH;
        after = rows.last().map(|row| row.id.clone());
        let ids = rows.iter().map(|row| &row.infrastructure_id).filter(|id| !places.contains_key(*id)).cloned();
        let ids: Vec<String> = ids.collect();
        for row in infrastructure::Entity::find().filter(infrastructure::Column::Id.is_in(ids)).all(db).await? {
            places.insert(row.id, Remappings::of(&infrastructures::Settings::read(&row.settings)?));
        }
        last = rows.last().cloned();
        for row in rows {
            // None: the infrastructure went with its deployments meanwhile.
            let Some(place) = places.get(&row.infrastructure_id) else { continue };
            let own: Settings = serde_json::from_str(&row.settings)?;
            let differences = own.remappings(place).differences(place);
            if !differences.is_empty() {
                found.push((row, differences));
            }
        }
    }
    let short = more && (found.len() as u64) < page.limit();
    if short && found.is_empty() {
        found.extend(last.map(|row| (row, Vec::new())));
    }
    found.truncate(usize::try_from(page.limit()).unwrap_or(usize::MAX));
    let (rows, mut differences): (Vec<_>, HashMap<_, _>) = found
        .into_iter()
        .map(|(row, differences)| {
            let id = row.id.clone();
            (row, (id, differences))
        })
        .unzip();
    let remapped = views(deployer, viewer, rows).await?.into_iter().map(|deployment| {
        let differences = differences.remove(&deployment.id).unwrap_or_default();
        Remapped { deployment, differences }
    });
    let listing = page.listing(remapped.collect(), |one| one.deployment.id.clone());
    Ok(match after {
        Some(after) if short => listing.cut(&after),
        _ => listing,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(pairs: &[(&str, &str)]) -> Vec<Remapping> {
        pairs.iter().map(|(a, b)| Remapping { source: (*a).to_owned(), target: (*b).to_owned() }).collect()
    }

    #[test]
    fn the_deployments_own_win_where_both_remap_a_name() {
        let place = Remappings {
            connections: list(&[("a", "theirs"), ("b", "theirs")]),
            code_envs: list(&[("py", "py311")]),
            ..Remappings::default()
        };
        let mut own = Settings { connection_remapping: list(&[("b", "ours"), ("c", "ours")]), ..Settings::default() };
        assert_eq!(own.remappings(&place).connections, own.connection_remapping);
        own.merge_infrastructure_remapping = true;
        let both = own.remappings(&place);
        assert_eq!(both.connections, list(&[("b", "ours"), ("c", "ours"), ("a", "theirs")]));
        assert_eq!(both.code_envs, place.code_envs);
        let told: Vec<_> = both.differences(&place).into_iter().map(|one| (one.source, one.infrastructure)).collect();
        assert_eq!(told, [("b".to_owned(), Some("theirs".to_owned())), ("c".to_owned(), None)]);
    }

    #[test]
    fn the_order_of_a_list_is_no_difference() {
        let place = Remappings { connections: list(&[("a", "1"), ("b", "2")]), ..Remappings::default() };
        let ours = Remappings { connections: list(&[("b", "2"), ("a", "1")]), ..Remappings::default() };
        assert_eq!(ours.differences(&place), []);
    }
}
