//! Reading the audit: global administrators read all of it, an infrastructure's administrators what concerns theirs.

use entities::audit_event;
use sea_orm::{
    ColumnTrait as _, Condition, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _, sea_query::Expr,
};
use serde_json::{Value, json};

use super::object::{ObjectKind, Outcome};
use crate::{
    Deployer,
    error::{Error, Result},
    halves,
    paging::{Listing, Page},
    rights::{self, Level, Right},
    text,
    viewer::Viewer,
};

/// One record, as one viewer sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Random.
    pub id: String,
    /// When, in µs since the Unix epoch.
    pub at: i64,
    /// Who.
    pub login: String,
    /// By which key.
    pub key_id: Option<String>,
    /// Which way it came.
    pub via: String,
    /// The client's address.
    pub address: Option<String>,
    /// The request's number in the log.
    pub request_id: Option<String>,
    /// The name of the mutation.
    pub action: String,
    /// What kind of thing.
    pub object_kind: String,
    /// Which one.
    pub object_id: String,
    /// The infrastructure that it concerns.
    pub infrastructure_id: Option<String>,
    /// The published project that it concerns.
    pub project_key: Option<String>,
    /// DONE, REFUSED or FAILED.
    pub outcome: String,
    /// Why not.
    pub codes: Vec<String>,
    /// What changed, as it was.
    pub before: Value,
    /// What changed, as it is.
    pub after: Value,
    /// The updates that it made or ended.
    pub run_ids: Vec<String>,
    /// How many equal ones it stands for.
    pub times: i64,
    /// Its place in the chain: for global administrators alone, since it counts what others did.
    pub chained: Option<Chained>,
}

/// A record's place in the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chained {
    /// From 1, without a gap.
    pub seq: i64,
    /// The hash of the row before.
    pub prev: String,
    /// Its own hash.
    pub hash: String,
    /// What proves that it was written with the master key.
    pub signature: Option<String>,
}

impl Event {
    /// With its place in the chain.
    pub(crate) fn of(row: audit_event::Model) -> Result<Self> {
        Ok(Self {
            codes: serde_json::from_str(&row.codes)?,
            before: serde_json::from_str(&row.old_values)?,
            after: serde_json::from_str(&row.new_values)?,
            run_ids: serde_json::from_str(&row.run_ids)?,
            id: row.id,
            at: row.at,
            login: row.login,
            key_id: row.key_id,
            via: row.via,
            address: row.address,
            request_id: row.request_id,
            action: row.action,
            object_kind: row.object_kind,
            object_id: row.object_id,
            infrastructure_id: row.infrastructure_id,
            project_key: row.project_key.map(|key| halves::shown(&key).to_owned()),
            outcome: row.outcome,
            times: row.times,
            chained: Some(Chained { seq: row.seq, prev: row.prev, hash: row.hash, signature: row.signature }),
        })
    }

    /// As one line of an export.
    pub fn to_json(&self) -> Value {
        let chained = self.chained.as_ref();
        json!({
            "seq": chained.map(|place| place.seq),
            "id": self.id,
            "at": self.at,
            "login": self.login,
            "keyId": self.key_id,
            "via": self.via,
            "address": self.address,
            "requestId": self.request_id,
            "action": self.action,
            "objectKind": self.object_kind,
            "objectId": self.object_id,
            "infrastructureId": self.infrastructure_id,
            "projectKey": self.project_key,
            "outcome": self.outcome,
            "codes": self.codes,
            "before": self.before,
            "after": self.after,
            "runIds": self.run_ids,
            "times": self.times,
            "prev": chained.map(|place| &place.prev),
            "hash": chained.map(|place| &place.hash),
            "signature": chained.map(|place| &place.signature),
        })
    }
}

/// Which records. All conditions hold together.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Who.
    pub login: Option<String>,
    /// By which key.
    pub key_id: Option<String>,
    /// The name of the mutation.
    pub action: Option<String>,
    /// What kind of thing.
    pub kind: Option<ObjectKind>,
    /// Which one.
    pub object_id: Option<String>,
    /// Concerning this infrastructure.
    pub infrastructure_id: Option<String>,
    /// Concerning this published project.
    pub project_key: Option<String>,
    /// What became of it.
    pub outcome: Option<Outcome>,
    /// From this moment on, in µs since the Unix epoch.
    pub since: Option<i64>,
    /// Before this moment, in µs since the Unix epoch.
    pub until: Option<i64>,
}

impl Filter {
    fn condition(&self) -> Condition {
        use audit_event::Column as C;
        let texts = [
            (C::Login, &self.login),
            (C::KeyId, &self.key_id),
            (C::Action, &self.action),
            (C::ObjectId, &self.object_id),
            (C::InfrastructureId, &self.infrastructure_id),
            (C::ProjectKey, &self.project_key),
        ];
        let mut all = Condition::all();
        for (column, wanted) in texts {
            all = match wanted {
                Some(text) if text::storable(text) => all.add(column.eq(text.as_str())),
                Some(_) => all.add(Expr::cust("1 = 0")),
                None => all,
            };
        }
        all.add_option(self.kind.map(|kind| C::ObjectKind.eq(kind.as_str())))
            .add_option(self.outcome.map(|outcome| C::Outcome.eq(outcome.as_str())))
            .add_option(self.since.map(|at| C::At.gte(at)))
            .add_option(self.until.map(|at| C::At.lt(at)))
    }
}

/// What the viewer may read. A thing that was deleted takes its records along: who makes another of the same id must not learn of the first one's.
fn visible(viewer: &Viewer) -> Condition {
    use audit_event::Column as C;
    // Numbers begin at 1: a row below was put in.
    let genuine = Condition::all().add(C::Seq.gt(0));
    if viewer.is_admin() {
        return genuine;
    }
    let same_place = "EXISTS (SELECT 1 FROM infrastructure i WHERE i.id = audit_event.infrastructure_id \
                      AND i.created_at <= audit_event.at)";
    let same_project = "EXISTS (SELECT 1 FROM published_project p WHERE p.key = audit_event.project_key \
                        AND p.created_at <= audit_event.at)";
    let of_project =
        Condition::all().add(rights::projects_where(viewer, C::ProjectKey, Right::Read)).add(Expr::cust(same_project));
    genuine
        .add(rights::infrastructures_where(viewer, C::InfrastructureId, Level::Admin))
        .add(Expr::cust(same_place))
        .add(Condition::any().add(C::ProjectKey.is_null()).add(of_project))
}

/// A page of the records that the viewer may read, newest first: none for whoever administers nothing.
///
/// # Errors
/// `PAGE_INVALID`; the database's.
pub async fn list(deployer: &Deployer, viewer: &Viewer, filter: &Filter, page: &Page) -> Result<Listing<Event>> {
    let db = deployer.db.pool();
    let mut select = audit_event::Entity::find().filter(visible(viewer)).filter(filter.condition());
    if let Some(id) = &page.after {
        // A cursor is a record's random id, so that it does not tell how many there are.
        let seen = audit_event::Entity::find()
            .filter(audit_event::Column::Id.eq(id.as_str()))
            .filter(visible(viewer))
            .one(db)
            .await?
            .ok_or_else(|| Error::field("PAGE_INVALID", "after", "This cursor is not one of this list."))?;
        select = select.filter(audit_event::Column::Seq.lt(seen.seq));
    }
    let rows = select.order_by_desc(audit_event::Column::Seq).limit(page.limit()).all(db).await?;
    let events = rows.into_iter().map(Event::of).collect::<Result<Vec<_>>>()?;
    let events =
        events.into_iter().map(|event| Event { chained: event.chained.filter(|_| viewer.is_admin()), ..event });
    Ok(page.listing(events.collect(), |event| event.id.clone()))
}
