//! The audit.

use async_graphql::{Enum, ID, InputObject, Json, SimpleObject};
use deployer::audit::list;
use serde_json::Value;

use crate::scalars::{DateTime, Long};

/// What kind of thing a record of the audit is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "deployer::audit::ObjectKind")]
pub(crate) enum AuditObjectKind {
    /// An infrastructure, with its settings, rights and hooks.
    Infrastructure,
    /// A published project.
    PublishedProject,
    /// A bundle: its id is `PROJECT/ID`.
    Bundle,
    /// A published API service.
    PublishedService,
    /// A version of a published API service: its id is `SERVICE/VERSION`.
    ServiceVersion,
    /// A connection to a platform.
    Connection,
    /// A deployment.
    Deployment,
    /// An update.
    Update,
    /// A stage: its id is `LIST/ID`; a whole list: `LIST`.
    Stage,
    /// A user.
    User,
    /// A group.
    Group,
    /// An API key.
    ApiKey,
    /// A pool of slots.
    Pool,
    /// A worker.
    Worker,
    /// What somebody else asked to keep: its id is the type.
    Custom,
    /// Further refusals, too many to be kept one by one.
    Many,
}

/// What became of a change that somebody asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "deployer::audit::Outcome")]
pub(crate) enum AuditOutcome {
    /// It was done; without changed values there was nothing left to do.
    Done,
    /// Refused: nothing was changed.
    Refused,
    /// It failed on our side. If it was done all the same, that has a record of its own.
    Failed,
}

/// Which records of the audit. All conditions hold together.
#[derive(Clone, Debug, Default, InputObject)]
pub(crate) struct AuditFilter {
    /// Who asked: a login.
    login: Option<String>,
    /// By which API key: its id.
    key_id: Option<ID>,
    /// The name of the mutation, such as `startUpdate`.
    action: Option<String>,
    /// What kind of thing.
    object_kind: Option<AuditObjectKind>,
    /// Which one.
    object_id: Option<ID>,
    /// Concerning this infrastructure: itself, the deployments on it and their updates.
    infrastructure: Option<ID>,
    /// Concerning this published project: itself, its bundles and its deployments.
    project_key: Option<String>,
    /// What became of it.
    outcome: Option<AuditOutcome>,
    /// From this moment on.
    since: Option<DateTime>,
    /// Before this moment.
    until: Option<DateTime>,
}

impl From<AuditFilter> for list::Filter {
    fn from(filter: AuditFilter) -> Self {
        Self {
            login: filter.login,
            key_id: filter.key_id.map(|id| id.0),
            action: filter.action,
            kind: filter.object_kind.map(Into::into),
            object_id: filter.object_id.map(|id| id.0),
            infrastructure_id: filter.infrastructure.map(|id| id.0),
            project_key: filter.project_key,
            outcome: filter.outcome.map(Into::into),
            since: filter.since.map(|at| at.0),
            until: filter.until.map(|at| at.0),
        }
    }
}

/// A record of the audit: one change that was made, or refused.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct AuditEvent {
    /// Unique.
    id: ID,
    /// When.
    at: DateTime,
    /// Who: a login; `(operator)` on the command line, `(worker)` for a worker.
    login: String,
    /// By which API key: its id.
    key_id: Option<ID>,
    /// Which way it came: GRAPHQL, REST, COMMAND_LINE, WORKER or INTERNAL.
    via: String,
    /// The client's address as the API saw it; behind a load balancer that is the balancer's.
    address: Option<String>,
    /// The request's number in the log (`x-request-id`).
    request_id: Option<String>,
    /// The name of the mutation.
    action: String,
    /// What kind of thing.
    object_kind: String,
    /// Which one.
    object_id: ID,
    /// The infrastructure that it concerns.
    infrastructure_id: Option<ID>,
    /// The published project, or service, that it concerns.
    project_key: Option<String>,
    /// DONE, REFUSED or FAILED.
    outcome: String,
    /// The codes of the refusals, or of the failure.
    codes: Vec<String>,
    /// What changed, by field, as it was. Secrets are not told; long values, hook code and local variables are their hash and size.
    before: Json<Value>,
    /// What changed, by field, as it is.
    after: Json<Value>,
    /// The updates that it made or ended.
    update_ids: Vec<ID>,
    /// How many equal ones it stands for: repeated refusals are counted.
    times: Long,
    /// Its number in the chain, from 1; null unless you are a global administrator.
    seq: Option<Long>,
    /// Its hash in the chain; null unless you are a global administrator.
    hash: Option<String>,
}

impl From<list::Event> for AuditEvent {
    fn from(event: list::Event) -> Self {
        let (seq, hash) = event.chained.map(|place| (place.seq.into(), place.hash)).unzip();
        Self {
            id: ID(event.id),
            at: event.at.into(),
            login: event.login,
            key_id: event.key_id.map(ID),
            via: event.via,
            address: event.address,
            request_id: event.request_id,
            action: event.action,
            object_kind: event.object_kind,
            object_id: ID(event.object_id),
            infrastructure_id: event.infrastructure_id.map(ID),
            project_key: event.project_key,
            outcome: event.outcome,
            codes: event.codes,
            before: Json(event.before),
            after: Json(event.after),
            update_ids: event.run_ids.into_iter().map(ID).collect(),
            times: event.times.into(),
            seq,
            hash,
        }
    }
}
