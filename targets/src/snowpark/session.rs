//! One attempt at one step: the account, the run, and what is changed there.
//!
//! A statement is submitted under an id of ours that was noted before. Whoever goes on after a lost answer, or a crash, submits it under the same id again, and
//! Snowflake answers what came of the first one.

use std::time::Duration;

use engine::{
    clock,
    failure::StepError,
    step::{Audience, StepContext},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{mark, notes, site::Site};
use crate::{
    codes,
    http::{CallError, Effect, Http, Method},
    snowflake::{
        client::Call,
        statements::{Answer, Statement},
        vault::Vault,
    },
    target::Work,
};

/// What runs is asked for after this.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(3);

/// What should be done at once is looked at after this.
pub(super) const LOOK_SOON: Duration = Duration::from_millis(200);

/// What a step works with.
pub(super) struct Session<'a> {
    pub(super) site: Site,
    pub(super) work: &'a Work<'a>,
}

/// What came of a change.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It is done.
    Done,
    /// Look again after this.
    Wait(Duration),
}

/// A statement that was, or will be, submitted. There is one at a time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Submitted {
    /// Where it goes and what it says, by its hash.
    statement: String,
    /// The id under which it is known.
    request: String,
    /// What it is asked for by, once it is known to run.
    handle: Option<String>,
    /// When it was noted, by the database's clock.
    at: i64,
    pub(super) ended: bool,
    /// It ended, and did what it says.
    done: bool,
}

/// Of a run's notes, the statement whose end nobody knows.
pub(super) fn open_statement(note: &dyn Fn(&str) -> Option<Value>) -> Option<Value> {
    note(notes::STATEMENT).filter(|submitted| submitted["ended"] == false)
}

impl<'a> Session<'a> {
    /// Reads the spec, and takes out what signs in. Talks to nobody.
    pub(super) async fn open(http: &Http, work: &'a Work<'a>) -> Result<Self, StepError> {
        let site = Site::open(http, work.spec, Vault::Run(work.run)).await?;
        Ok(Self { site, work })
    }

    pub(super) fn run(&self) -> &'a dyn StepContext {
        self.work.run
    }

    /// A line for whoever may see the update.
    pub(super) async fn tell(&self, line: impl Into<String>) {
        self.run().log(Audience::Everyone, line.into()).await;
    }

    /// Runs statements one after the other, each once. Each is noted only after the one before it was done, so the note alone says where to go on.
    pub(super) async fn changes(&self, all: &[String], doing: &str) -> Result<Change, StepError> {
        let noted: Option<Submitted> = notes::read(self.run(), notes::STATEMENT);
        let at = noted.and_then(|noted| {
            let at = all.iter().position(|sql| self.hash(sql) == noted.statement)?;
            Some(if noted.done { at + 1 } else { at })
        });
        // All were done, and are called for again: somebody undid them.
        let at = at.filter(|at| *at < all.len()).unwrap_or(0);
        for sql in all.iter().skip(at) {
            if let Change::Wait(check_in) = self.change(sql.clone(), doing).await? {
                return Ok(Change::Wait(check_in));
            }
        }
        Ok(Change::Done)
    }

    /// Ends a statement of these whose end nobody heard, by asking for it under its id again: it is not done twice.
    pub(super) async fn finish(&self, all: &[String], doing: &str) -> Result<Change, StepError> {
        let open: Option<Submitted> =
            notes::read(self.run(), notes::STATEMENT).filter(|noted: &Submitted| !noted.ended);
        match open.and_then(|open| all.iter().find(|sql| self.hash(sql) == open.statement)) {
            Some(sql) => self.change(sql.clone(), doing).await,
            None => Ok(Change::Done),
        }
    }

    /// Waits for the end of a statement of these that another step submitted, and that nobody heard the end of. It is never submitted here: it may be what is to be
    /// undone. `shows` says whether its effect is there. Some: look again after this.
    pub(super) async fn awaited(
        &self,
        all: &[String],
        shows: impl Fn(&str) -> bool,
        doing: &str,
    ) -> Result<Option<Duration>, StepError> {
        let open: Option<Submitted> =
            notes::read(self.run(), notes::STATEMENT).filter(|noted: &Submitted| !noted.ended);
        let found = open.and_then(|open| Some((all.iter().find(|sql| self.hash(sql) == open.statement)?, open)));
        let Some((sql, open)) = found else { return Ok(None) };
        if shows(sql) {
            self.ended(Submitted { done: true, ..open }).await?;
            return Ok(None);
        }
        Ok(Some(self.settled(open, doing).await?.unwrap_or(LOOK_SOON)))
    }

    /// Where a statement goes and what it says.
    fn hash(&self, sql: &str) -> String {
        mark::hash(&[self.site.api.url(), sql])
    }

    /// Runs a statement that changes something, once.
    pub(super) async fn change(&self, sql: String, doing: &str) -> Result<Change, StepError> {
        let run = self.run();
        notes::write(run, notes::CHANGED, &true).await?;
        let hash = self.hash(&sql);
        let mut open: Option<Submitted> = notes::read(run, notes::STATEMENT).filter(|noted: &Submitted| !noted.ended);
        if let Some(other) = open.take_if(|open| open.statement != hash)
            && let Some(wait) = self.settled(other, doing).await?
        {
            return Ok(Change::Wait(wait));
        }
        let again = open.is_some();
        let mut submitted = match open {
            Some(submitted) => submitted,
            None => {
                let at = run.now().await?;
                let fresh = Submitted { statement: hash, request: request_id(), at, ..Submitted::default() };
                notes::write(run, notes::STATEMENT, &fresh).await?;
                fresh
            }
        };
        let context = self.site.place.context();
        let statement = Statement { sql, bindings: Vec::new(), context: &context, doing };
        let asked = match &submitted.handle {
            Some(handle) => self.site.api.ask(handle, doing).await,
            None => self.site.api.submit(&statement, Some((&submitted.request, again))).await,
        };
        match asked {
            Ok(Answer::Done(_)) => {
                self.ended(Submitted { done: true, ..submitted }).await?;
                Ok(Change::Done)
            }
            Ok(Answer::Running(handle)) => {
                submitted.handle = Some(handle);
                notes::write(run, notes::STATEMENT, &submitted).await?;
                Ok(Change::Wait(LOOK_EVERY))
            }
            // Snowflake forgets handles after a day: then what is there tells.
            Err(error) if submitted.handle.is_some() && error.is(&codes::NODE_NOT_FOUND) => {
                self.ended(submitted).await?;
                Err(error.failure.retryable(None))
            }
            Err(error) => {
                // What may pass is submitted again under the same id. Of one that was submitted before, a refusal says nothing.
                let first = !again && submitted.handle.is_none();
                let known = match error.effect {
                    Effect::None => first,
                    Effect::Ended => !error.retryable,
                    Effect::Unknown => false,
                };
                if known {
                    self.ended(submitted).await?;
                }
                Err(error.into())
            }
        }
    }

    async fn ended(&self, submitted: Submitted) -> Result<(), StepError> {
        notes::write(self.run(), notes::STATEMENT, &Submitted { ended: true, ..submitted }).await
    }

    /// For the end of a step, where everything is as it should be: no statement of ours runs any more. Some: look again after this.
    pub(super) async fn quiet(&self) -> Result<Option<Duration>, StepError> {
        let open: Option<Submitted> = notes::read(self.run(), notes::STATEMENT);
        let Some(open) = open.filter(|open| !open.ended) else { return Ok(None) };
        if let Some(handle) = &open.handle
            && self.runs(handle, "waiting for a statement").await?
        {
            return Ok(Some(LOOK_EVERY));
        }
        // What it was to do is there.
        self.ended(Submitted { done: true, ..open }).await?;
        Ok(None)
    }

    /// Whether a statement still runs. How it ended is seen by what is there.
    async fn runs(&self, handle: &str, doing: &str) -> Result<bool, StepError> {
        match self.site.api.ask(handle, doing).await {
            Ok(Answer::Running(_)) => Ok(true),
            Ok(Answer::Done(_)) => Ok(false),
            // It failed, or ended so long ago that its handle is forgotten.
            Err(error) if !error.retryable && (error.effect == Effect::Ended || error.is(&codes::NODE_NOT_FOUND)) => {
                Ok(false)
            }
            // Whoever may not ask (a rejected key, say) knows nothing of it.
            Err(error) => Err(error.into()),
        }
    }

    /// Another statement may still run: it is waited for before this one, so that it can't undo it.
    async fn settled(&self, other: Submitted, doing: &str) -> Result<Option<Duration>, StepError> {
        match &other.handle {
            Some(handle) => {
                if self.runs(handle, doing).await? {
                    return Ok(Some(LOOK_EVERY));
                }
            }
            None => {
                let settle = Duration::from_millis(self.work.spec.infrastructure.node.settle_ms);
                let passed = self.run().now().await?.saturating_sub(other.at);
                let passed = Duration::from_micros(u64::try_from(passed).unwrap_or_default());
                if let Some(rest) = settle.checked_sub(passed).filter(|rest| !rest.is_zero()) {
                    return Ok(Some(rest.min(LOOK_EVERY)));
                }
            }
        }
        self.ended(other).await?;
        Ok(None)
    }

    /// Makes a call of the REST API on one of the services, or on their list, that changes something. None where there is no such thing.
    async fn act(
        &self,
        verb: Method,
        last: &str,
        query: &[(&str, &str)],
        body: Option<Value>,
        doing: &str,
    ) -> Result<Option<Value>, CallError> {
        let (database, schema) = (self.site.place.database.rest(), self.site.place.schema.rest());
        let mut path = vec!["api", "v2", "databases", &database, "schemas", &schema, "services"];
        path.extend(Some(last).filter(|last| !last.is_empty()));
        self.site.api.rest_if_there(Call { verb, path: &path, query, body, doing }).await
    }

    /// Makes the service; false if there is one of its name already.
    pub(super) async fn create_service(&self) -> Result<bool, StepError> {
        notes::write(self.run(), notes::CHANGED, &true).await?;
        let query = [("createMode", "errorIfExists")];
        let body = self.site.goal.body(&self.site.place);
        match self.act(Method::POST, "", &query, Some(body), "making the service").await {
            Ok(Some(_)) => Ok(true),
            Ok(None) => Err(missing("making the service").into()),
            Err(error) if error.is(&codes::NODE_REFUSED) && error.failure.message.contains("status 409") => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// `suspend` or `resume`.
    pub(super) async fn switch(&self, action: &str, doing: &str) -> Result<(), StepError> {
        notes::write(self.run(), notes::CHANGED, &true).await?;
        let last = format!("{}:{action}", self.site.goal.service.rest());
        match self.act(Method::POST, &last, &[], None, doing).await? {
            Some(_) => Ok(()),
            None => Err(missing(doing).into()),
        }
    }

    /// Takes the service away; one that is not there is gone.
    pub(super) async fn delete_service(&self) -> Result<(), StepError> {
        notes::write(self.run(), notes::CHANGED, &true).await?;
        let last = self.site.goal.service.rest();
        self.act(Method::DELETE, &last, &[], None, "deleting the service").await?;
        Ok(())
    }
}

fn missing(doing: &str) -> CallError {
    let message = format!("Snowflake does not have what was asked for while {doing}. Another attempt looks again.");
    CallError::retryable(codes::NODE_NOT_FOUND, message, Effect::None)
}

/// A UUID of random bits.
fn request_id() -> String {
    let mut bytes = [0; 16];
    clock::random_bytes(&mut bytes);
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    #[test]
    fn request_ids_are_uuids() {
        let id = super::request_id();
        let parts: Vec<usize> = id.split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12]);
        assert_eq!(&id[14..15], "4");
        assert_ne!(id, super::request_id());
    }
}
