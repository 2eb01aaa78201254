//! An act: one mutation on its way, from who asks to the record of what became of it.

use std::{
    cell::Cell,
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use engine::{
    db::{Db, Tx},
    ids::RunId,
    secrets::Keyring,
};
use entities::audit_event;
use serde_json::{Map, Value, json};

use super::{
    chain::{self, Head},
    ledger::{Counted, Ledger, Refused},
    object::{Object, Outcome},
    seen::{self, Seen},
};
use crate::{
    Deployer,
    again::again,
    error::{Error, Result},
    sealed, still,
    viewer::{Origin, Via, Viewer},
};

/// The code of a failure of ours in a record.
const INTERNAL: &str = "INTERNAL";
/// The code of one that may pass.
const UNAVAILABLE: &str = "DATABASE_UNAVAILABLE";

/// Under this name a record says by whom somebody was acted for.
pub(super) const ACTED_BY: &str = "actedBy";

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) login: String,
    pub(crate) key_id: Option<String>,
    pub(crate) origin: Origin,
    /// The groups whose rights were counted on.
    pub(crate) groups: BTreeSet<String>,
}

impl Caller {
    /// Somebody without a key.
    pub(crate) fn of(login: &str) -> Self {
        Self { login: login.to_owned(), key_id: None, origin: Origin::default(), groups: BTreeSet::new() }
    }

    /// Whether they came from outside: with a key, or by one of the APIs. Else it is us: the command line, or a worker.
    fn is_from_outside(&self) -> bool {
        self.key_id.is_some() || matches!(self.origin.via, Via::GraphQl | Via::Rest)
    }
}

tokio::task_local! {
    /// Whether an act of the work around us was recorded.
    static RECORDED: Cell<bool>;
}

/// The work's answer, and whether an act within it was recorded.
pub(super) async fn watched<T>(work: impl Future<Output = T>) -> (T, bool) {
    let answer = RECORDED.scope(Cell::new(false), async {
        let answer = work.await;
        (answer, RECORDED.with(Cell::get))
    });
    let (answer, recorded) = answer.await;
    if recorded {
        note_recorded();
    }
    (answer, recorded)
}

/// Nobody watches most of the time.
fn note_recorded() {
    let _ = RECORDED.try_with(|recorded| recorded.set(true));
}

/// What is known of the act so far.
#[derive(Clone, Debug)]
struct Told {
    object: Object,
    before: Option<Seen>,
    /// What is changed along with it, as it was.
    along: Vec<(Object, Seen)>,
    /// What the rows do not tell.
    notes: Map<String, Value>,
    runs: Vec<RunId>,
    /// Whoever asked was found to be still who they were.
    stands: bool,
    recorded: bool,
}

impl Told {
    fn of(object: Object) -> Self {
        Self {
            object,
            before: None,
            along: Vec::new(),
            notes: Map::new(),
            runs: Vec::new(),
            stands: false,
            recorded: false,
        }
    }
}

/// One mutation on its way.
pub(crate) struct Act<'a> {
    db: &'a Db,
    keyring: Option<&'a Keyring>,
    /// Bounds refusals; those of the command line and of workers are few.
    ledger: Option<&'a Ledger>,
    caller: Caller,
    action: &'static str,
    object: Object,
    /// The mutation itself looks whether whoever asks is still who they were.
    vouched: bool,
    told: Mutex<Told>,
}

impl<'a> Act<'a> {
    /// `viewer` asks for `action`, the name of the mutation, on `object`.
    pub(crate) fn new(deployer: &'a Deployer, viewer: &Viewer, action: &'static str, object: Object) -> Self {
        let caller = Caller {
            login: viewer.login.clone(),
            key_id: viewer.key_id.clone(),
            origin: viewer.origin.clone(),
            groups: viewer.groups.clone(),
        };
        Self {
            keyring: Some(&deployer.keyring),
            ledger: Some(&deployer.audit),
            ..Self::bare(&deployer.db, caller, action, object)
        }
    }

    /// Nobody is signed in: the command line, or a worker.
    pub(crate) fn unsigned(
        db: &'a Db,
        keyring: Option<&'a Keyring>,
        via: Via,
        action: &'static str,
        object: Object,
    ) -> Self {
        let login = if via == Via::Worker { "(worker)" } else { "(operator)" };
        let mut caller = Caller::of(login);
        caller.origin.via = via;
        Self { keyring, ..Self::bare(db, caller, action, object) }
    }

    fn bare(db: &'a Db, caller: Caller, action: &'static str, object: Object) -> Self {
        let told = Mutex::new(Told::of(object.clone()));
        Self { db, keyring: None, ledger: None, caller, action, object, vouched: false, told }
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does the work, over again when its transaction was broken off ([`again`]), and records whatever was not recorded by [`Act::commit`].
    pub(crate) async fn run<T, F: Future<Output = Result<T>>>(&self, mut work: impl FnMut() -> F) -> Result<T> {
        let answer = again(|| {
            *self.told() = Told::of(self.object.clone());
            work()
        });
        self.end(answer.await).await
    }

    /// The same for work that can't be done over.
    pub(crate) async fn once<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.end(work.await).await
    }

    /// The thing is known only now, or has another name from here on.
    pub(crate) fn about(&self, object: Object) {
        self.told().object = object;
    }

    /// It made or ended this update.
    pub(crate) fn update(&self, run: RunId) {
        self.told().runs.push(run);
    }

    /// What the rows do not tell of what was done.
    pub(crate) fn note(&self, fields: Map<String, Value>) {
        self.told().notes.extend(fields);
    }

    /// Looks at the thing before it is changed. The caller holds its lock: nobody else changes it until the commit. What is made needs no such look.
    ///
    /// # Errors
    /// As [`still::require`]: here, so that an act which ends its own key or user is not held for one of a dead key.
    pub(crate) async fn before(&self, tx: &Tx) -> Result<()> {
        self.stands(tx).await?;
        let object = self.told().object.clone();
        let seen = seen::look(&**tx, &object).await?;
        self.told().before = Some(seen);
        Ok(())
    }

    /// Whoever asks shows something else than a user's key: the mutation itself looks, in its transaction, whether that is still good.
    pub(crate) fn vouched(self) -> Self {
        Self { vouched: true, ..self }
    }

    async fn stands(&self, tx: &Tx) -> Result<()> {
        if self.caller.is_from_outside() && !self.vouched && !self.told().stands {
            still::require(tx, &self.caller).await?;
            self.told().stands = true;
        }
        Ok(())
    }

    /// Another thing is changed along with it, and gets a record of its own: looked at before, under its lock.
    pub(crate) async fn along(&self, tx: &Tx, object: Object) -> Result<()> {
        let seen = seen::look(&**tx, &object).await?;
        self.told().along.push((object, seen));
        Ok(())
    }

    /// Whoever does it.
    pub(crate) fn login(&self) -> &str {
        &self.caller.login
    }

    /// Records what changes nothing here: somebody asks a node. Before it is asked, so that there is a record whatever becomes of the question.
    pub(crate) async fn record(&self) -> Result<()> {
        let tx = self.db.begin().await?;
        self.before(&tx).await?;
        self.commit(tx).await
    }

    /// Commits the change together with its record.
    ///
    /// # Errors
    /// As [`still::require`], asked in this transaction, here or by [`Act::before`]; the database's.
    pub(crate) async fn commit(&self, tx: Tx) -> Result<()> {
        self.stands(&tx).await?;
        let told = self.told().clone();
        let after = seen::look(&*tx, &told.object).await?;
        let row = self.row(&told, Some(&after), Outcome::Done, &[])?;
        let mut heads = vec![chain::append(&tx, self.keyring, row).await?];
        for (object, before) in told.along {
            let after = seen::look(&*tx, &object).await?;
            let one = Told { before: Some(before), ..Told::of(object) };
            let row = self.row(&one, Some(&after), Outcome::Done, &[])?;
            heads.push(chain::append(&tx, self.keyring, row).await?);
        }
        tx.commit().await?;
        self.told().recorded = true;
        note_recorded();
        for head in &heads {
            self.log(head, Outcome::Done);
        }
        Ok(())
    }

    async fn end<T>(&self, answer: Result<T>) -> Result<T> {
        let recorded = self.told().recorded;
        match &answer {
            _ if recorded => {}
            // Nothing was left to change: that was asked for all the same.
            Ok(_) => {
                let told = self.told().clone();
                let tx = self.db.begin().await?;
                let after = seen::look(&*tx, &told.object).await?;
                let told = Told { before: Some(after.clone()), ..told };
                let row = self.row(&told, Some(&after), Outcome::Done, &[])?;
                let head = chain::append(&tx, self.keyring, row).await?;
                tx.commit().await?;
                note_recorded();
                self.log(&head, Outcome::Done);
            }
            Err(error) => self.turned_down(error).await,
        }
        self.counted().await;
        answer
    }

    /// Records why nothing was done. Whoever asked learns that whether or not it could be recorded: the log says so then.
    pub(crate) async fn turned_down(&self, error: &Error) {
        note_recorded();
        let (outcome, codes) = match error {
            Error::Refused(refusals) => {
                let mut codes: Vec<_> = refusals.iter().map(|refusal| refusal.code.to_owned()).collect();
                codes.dedup();
                (Outcome::Refused, codes)
            }
            Error::Fault(fault) => {
                (Outcome::Failed, vec![if fault.transient { UNAVAILABLE } else { INTERNAL }.to_owned()])
            }
        };
        let refused = Refused { action: self.action, object: self.told().object.clone(), outcome, codes };
        if self.ledger.is_some_and(|ledger| !ledger.is_new(&self.caller, &refused, Instant::now())) {
            tracing::info!(
                by = self.caller.login,
                action = self.action,
                object = refused.object.id,
                codes = ?refused.codes,
                "refused again, and counted"
            );
            return;
        }
        if let Err(error) = self.write_refused(&refused).await {
            tracing::error!(error = ?error, action = self.action, by = self.caller.login, "a refusal could not be recorded");
        }
    }

    async fn write_refused(&self, refused: &Refused) -> Result<()> {
        let tx = self.db.begin().await?;
        let told = Told::of(refused.object.clone());
        // For whom this is to read, not what it looked like.
        let scope = Seen { fields: Map::new(), ..seen::look(&*tx, &refused.object).await? };
        let row = self.row(&told, Some(&scope), refused.outcome, &refused.codes)?;
        let head = chain::append(&tx, self.keyring, row).await?;
        tx.commit().await?;
        self.log(&head, refused.outcome);
        Ok(())
    }

    /// Records the counts of minutes that are over.
    async fn counted(&self) {
        let Some(ledger) = self.ledger else { return };
        for counted in ledger.over(Instant::now()) {
            let (caller, times) = (counted.caller.login.clone(), counted.times);
            if let Err(error) = self.write_counted(counted).await {
                tracing::error!(error = ?error, by = caller, times, "counted refusals could not be recorded");
            }
        }
    }

    async fn write_counted(&self, counted: Counted) -> Result<()> {
        let Counted { caller, refused, times } = counted;
        let act = Self {
            caller,
            keyring: self.keyring,
            ..Self::bare(self.db, Caller::of(""), refused.action, refused.object.clone())
        };
        let tx = self.db.begin().await?;
        let scope = Seen { fields: Map::new(), ..seen::look(&*tx, &refused.object).await? };
        let told = Told::of(refused.object.clone());
        let row = act.row(&told, Some(&scope), refused.outcome, &refused.codes)?;
        chain::append(&tx, self.keyring, audit_event::Model { times, ..row }).await?;
        Ok(tx.commit().await?)
    }

    fn row(&self, told: &Told, after: Option<&Seen>, outcome: Outcome, codes: &[String]) -> Result<audit_event::Model> {
        let nothing = Seen::default();
        let (before, after) = (told.before.as_ref().unwrap_or(&nothing), after.unwrap_or(&nothing));
        let (old, mut new) = seen::changes(before, after);
        new.extend(told.notes.clone());
        if let Some(acting) = &self.caller.origin.acting {
            new.insert(ACTED_BY.to_owned(), json!(acting));
        }
        // What was not done is filed where whoever asked said: else whoever may read there would learn from a refusal that a hidden thing has this id.
        let (object, done) = (&told.object, outcome == Outcome::Done);
        let named = object.infrastructure.is_some() || object.project.is_some();
        let scope = |of: fn(&Seen) -> &Option<String>, own: &Option<String>| {
            if named && !done {
                return own.clone();
            }
            of(after).clone().or_else(|| of(before).clone()).or_else(|| own.clone())
        };
        let runs: Vec<_> = told.runs.iter().map(ToString::to_string).collect();
        Ok(audit_event::Model {
            seq: 0,
            id: sealed::random_id(),
            at: 0,
            login: self.caller.login.clone(),
            key_id: self.caller.key_id.clone(),
            via: self.caller.origin.via.as_str().to_owned(),
            address: self.caller.origin.address.clone(),
            request_id: self.caller.origin.request_id.clone(),
            action: self.action.to_owned(),
            object_kind: told.object.kind.as_str().to_owned(),
            object_id: told.object.id.clone(),
            infrastructure_id: scope(|seen| &seen.infrastructure, &told.object.infrastructure),
            project_key: scope(|seen| &seen.project, &told.object.project),
            outcome: outcome.as_str().to_owned(),
            codes: serde_json::to_string(codes)?,
            old_values: Value::Object(old).to_string(),
            new_values: Value::Object(new).to_string(),
            run_ids: json!(runs).to_string(),
            times: 1,
            prev: String::new(),
            hash: String::new(),
            signature: None,
        })
    }

    /// Beside the database, on purpose: whoever shortens the audit there has not shortened the log.
    fn log(&self, head: &Head, outcome: Outcome) {
        tracing::info!(
            audit.seq = head.seq,
            audit.hash = head.hash,
            by = self.caller.login,
            action = self.action,
            outcome = outcome.as_str(),
            "recorded in the audit"
        );
    }
}
