//! Whether the audit is as it was written, and all of it as lines. For whoever holds the database.

use engine::{
    db::{Db, sql_with},
    secrets::{Keyring, Secret},
};
use entities::{audit_event, audit_head};
use sea_orm::{
    ColumnTrait as _, Condition, ConnectionTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _,
};

use super::{
    chain::{self, Head},
    list::Event,
};
use crate::{
    bootstrap::Operator,
    error::{Error, Result},
    viewer::Via,
};

/// So many rows are read at once.
const BATCH: u64 = 500;
/// So many findings are told.
const MOST: usize = 100;

/// What a check of the audit found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How many rows there are.
    pub rows: u64,
    /// How many of them have a signature that was checked.
    pub signed: u64,
    /// How many were written where no master key is: on the command line, or by a worker.
    pub unsigned: u64,
    /// The newest row. Keep it elsewhere: a later check that is given it finds rows that were cut off at the end.
    pub head: Head,
    /// What is wrong, by row; the first hundred.
    pub findings: Vec<Finding>,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The row's number.
    pub seq: i64,
    /// What is wrong.
    pub what: String,
}

impl Report {
    fn add(&mut self, seq: i64, what: impl Into<String>) {
        if self.findings.len() < MOST {
            self.findings.push(Finding { seq, what: what.into() });
        }
    }
}

/// Goes through the whole chain. Without a keyring signatures are not checked; `known` is a head that somebody kept, which must still be there.
///
/// # Errors
/// The database's.
pub async fn verify(db: &Db, keyring: Option<&Keyring>, known: Option<&Head>) -> Result<Report> {
    let mut report = Report::default();
    let key = match keyring {
        Some(keyring) => signing_key(db, keyring, &mut report).await?,
        None => None,
    };
    let mut known = known.cloned();
    let mut after = None;
    loop {
        let rows = batch(db, after).await?;
        let Some(last) = rows.last() else { break };
        after = Some(last.seq);
        for row in rows {
            if row.seq < 1 {
                report.rows += 1;
                report.add(row.seq, "it was put in: numbers begin at 1");
                continue;
            }
            check(&row, key.as_ref(), keyring.is_some(), &mut report);
            if known.as_ref().is_some_and(|known| known.seq == row.seq) {
                if known.as_ref().is_some_and(|known| known.hash != row.hash) {
                    report.add(row.seq, "it is not the row that was kept: the audit was written anew");
                }
                known = None;
            }
            report.rows += 1;
            report.head = Head { seq: row.seq, hash: row.hash };
        }
    }
    if let Some(known) = known.filter(|known| known.seq > 0) {
        report.add(known.seq, "this row was there once, and is not now: rows were cut off");
    }
    // Nothing is appended while this is held.
    let tx = db.begin().await?;
    tx.lock("audit_head", "id = $1", 1i64).await?;
    let head = audit_head::Entity::find_by_id(1).one(&*tx).await?;
    let sql = "SELECT COALESCE(MAX(seq), 0) AS seq FROM audit_event";
    let newest: i64 = match tx.query_one_raw(sql_with(&*tx, sql, [])).await? {
        Some(row) => row.try_get("", "seq")?,
        None => 0,
    };
    match head {
        None => report.add(newest, "the head of the chain is gone"),
        Some(head) if head.seq > newest => {
            report
                .add(head.seq, format!("the chain ends at row {newest}, its head at {}: rows were cut off", head.seq));
        }
        Some(head) if head.seq < newest => report.add(newest, "there are rows beyond the head of the chain"),
        Some(head) if head.seq == report.head.seq && head.hash != report.head.hash => {
            report.add(head.seq, "the head names another row: the end of the chain was replaced");
        }
        Some(_) => {}
    }
    Ok(report)
}

fn check(row: &audit_event::Model, key: Option<&Secret>, told: bool, report: &mut Report) {
    let expected = report.head.seq + 1;
    if row.seq > expected {
        report.add(expected, format!("rows {expected} to {} are missing", row.seq - 1));
    } else if row.prev != report.head.hash {
        report.add(row.seq, "it does not follow from the row before");
    }
    if chain::hash(row) != row.hash {
        report.add(row.seq, "it was changed");
    }
    match (&row.signature, key) {
        (Some(signature), Some(key)) if chain::is_signed(key, &row.hash, signature) => report.signed += 1,
        (Some(_), Some(_)) => report.add(row.seq, "its signature is wrong"),
        (Some(_), None) if told => {
            report.add(row.seq, "its signature cannot be checked: the key that signs is not there")
        }
        (Some(_), None) => {}
        (None, _) if [Via::CommandLine.as_str(), Via::Worker.as_str()].contains(&row.via.as_str()) => {
            report.unsigned += 1
        }
        (None, _) if told => report.add(row.seq, "it is not signed"),
        (None, _) => report.unsigned += 1,
    }
}

async fn signing_key(db: &Db, keyring: &Keyring, report: &mut Report) -> Result<Option<Secret>> {
    let head = audit_head::Entity::find_by_id(1).one(db.pool()).await?;
    // Before the first signed row there is none.
    let Some(sealed) = head.and_then(|head| head.sealed_key) else { return Ok(None) };
    match keyring.open(&sealed, chain::KEY_ROW) {
        Ok(key) => Ok(Some(key)),
        Err(error) => {
            report.add(0, format!("the key that signs cannot be opened, so signatures cannot be checked: {error}"));
            Ok(None)
        }
    }
}

async fn batch(db: &Db, after: Option<i64>) -> Result<Vec<audit_event::Model>> {
    Ok(audit_event::Entity::find()
        .filter(Condition::all().add_option(after.map(|after| audit_event::Column::Seq.gt(after))))
        .order_by_asc(audit_event::Column::Seq)
        .limit(BATCH)
        .all(db.pool())
        .await?)
}

/// The records after this number, oldest first, some at a time: an export goes on with the last one's number until none is left.
///
/// # Errors
/// The database's.
pub async fn export(db: &Db, _: Operator<'_>, after: i64) -> Result<Vec<Event>> {
    batch(db, Some(after)).await?.into_iter().map(Event::of).collect()
}

/// Reads a head as `verify` prints it: `SEQ:HASH`. Nothing, and `0:`, is the head of an audit without records.
///
/// # Errors
/// `TEXT_INVALID`.
pub fn parse_head(text: &str) -> Result<Head> {
    if matches!(text.trim(), "" | "0:") {
        return Ok(Head::default());
    }
    let read = text.trim().split_once(':').and_then(|(seq, hash)| Some((seq.parse().ok()?, hash)));
    read.filter(|(_, hash)| hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit()))
        .map(|(seq, hash)| Head { seq, hash: hash.to_ascii_lowercase() })
        .ok_or_else(|| {
            Error::field("TEXT_INVALID", "head", "A head is NUMBER:HASH, as slipway audit verify prints it.")
        })
}
