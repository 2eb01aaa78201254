//! Deployments: standing intentions to have one bundle on one infrastructure, with these settings.
//!
//! * [`settings`]: what can be set, and what is wrong with it. [`api`]: what can be set of an API service.
//! * [`mod@write`]: making, changing and deleting one.
//! * [`mod@remapping`]: what is in force, and where it is otherwise than the infrastructure's.
//! * [`removal`]: deleting one, with a choice of what becomes of its project on the node.
//! * [`mod@list`]: finding them; [`mod@of_parents`]: those of many infrastructures or projects at once.

pub mod api;
pub mod list;
pub mod of_parents;
pub mod remapping;
pub mod removal;
pub mod settings;
pub mod write;

use entities::deployment;
use targets::target::Half;

pub use self::{
    api::{ApiChange, ApiSettings},
    list::{Filter, by_ids, get, list},
    of_parents::{Parent, of_parents},
    remapping::{Remapped, RemappingDifference, RemappingKind, Remappings, remapped_otherwise},
    removal::{Deletion, OnNode, delete_wholly, delete_with},
    settings::{Change, Settings, SettingsChange},
    write::{NewDeployment, create, delete, update_settings},
};
use crate::{error::Result, halves, rights::DeploymentRights, schema};

/// A deployment, as one viewer sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Deployment {
    /// Unique, case-sensitive.
    pub id: String,
    /// What can be deployed by it.
    pub half: Half,
    /// The published project, or service; never changes.
    pub project_key: String,
    /// Where to; never changes.
    pub infrastructure_id: String,
    /// What: of an API service its version, the first of several.
    pub bundle_id: String,
    /// The project key, or the service's id, on the node.
    pub deployed_project_key: String,
    /// How; with a mask for each secret.
    pub settings: Settings,
    /// Counts changes; editors name the one they saw.
    pub version: i64,
    /// The newest version that somebody else made than the one after it.
    pub other_version: i64,
    /// The number of its newest update; 0 before the first.
    pub last_update_no: i64,
    /// When, in µs since the Unix epoch.
    pub created_at: i64,
    /// Who: a login.
    pub created_by: String,
    /// When, in µs since the Unix epoch.
    pub updated_at: i64,
    /// Who: a login.
    pub updated_by: String,
    /// What the viewer may do with it.
    pub rights: DeploymentRights,
}

/// Settings as people see them: no reference to a secret.
fn shown(settings: Settings) -> Settings {
    let api = settings.api.map(|api| ApiSettings {
        authorization: schema::masked(&api.authorization),
        query_log: schema::masked(&api.query_log),
        platform: schema::masked(&api.platform),
        ..api
    });
    Settings { api, ..settings }
}

impl Deployment {
    fn of(row: deployment::Model, rights: DeploymentRights) -> Result<Self> {
        Ok(Self {
            settings: shown(Settings::read(&row.settings)?),
            id: row.id,
            half: halves::half_of(&row.project_key),
            project_key: halves::shown(&row.project_key).to_owned(),
            infrastructure_id: row.infrastructure_id,
            bundle_id: row.bundle_id,
            deployed_project_key: row.deployed_project_key,
            version: row.version,
            other_version: row.other_version,
            last_update_no: row.last_run_no,
            created_at: row.created_at,
            created_by: row.created_by,
            updated_at: row.updated_at,
            updated_by: row.updated_by,
            rights,
        })
    }
}
