//! The bundle comes to the node: the project is made from it, or it is imported into the project.

use async_trait::async_trait;
use engine::{
    failure::{Failure, StepError},
    packages::{PackageError, PackageKey},
};
use serde_json::{Value, json};

use super::{
    calls::FromBundle,
    flight::{EffectCall, Flight, Flown, check_in, remaining},
    notes::{self, Created},
    session::Session,
};
use crate::{
    codes,
    http::{CallError, Effect, Upload},
    report::Report,
    spec::PermissionsPropagation,
};

/// What [`ensure_imported`] came to.
pub(super) type Imported = Flown;

/// Sees to it that the node has the bundle, and that it is ours.
pub(super) async fn ensure_imported(session: &Session<'_>) -> Result<Imported, StepError> {
    let (imports, package) = (session.imports(), &session.spec().package);
    let url = session.api.url();
    let seen = Seen::look(session).await?;
    let record = imports.find(url, session.key(), &package.bundle_id).await?;
    if record.as_ref().is_some_and(|record| record.sha256 != package.sha256) {
        return Err(content_differs(session).permanent());
    }
    let Some(record) = record else {
        if !seen.listed {
            return bring(session, seen).await;
        }
        if !session.infrastructure().trust_foreign_bundles {
            return Err(foreign(session).permanent());
        }
        imports.intend(url, session.key(), &package.bundle_id, &package.sha256).await?;
        imports.confirm(url, session.key(), &package.bundle_id, &package.sha256).await?;
        let warning = format!(
            "The node already had bundle {}, which Slipway did not import; the infrastructure trusts such bundles.",
            package.bundle_id
        );
        return Ok(Flown::Done(vec![warning]));
    };
    if seen.listed {
        if !record.confirmed {
            // An answer of ours was lost.
            imports.confirm(url, session.key(), &package.bundle_id, &package.sha256).await?;
        }
        return Ok(Flown::Done(Vec::new()));
    }
    // An import of an earlier run may still be going on.
    let ours = session.run().note(notes::IMPORT).is_some();
    if !record.confirmed
        && !ours
        && let Some(rest) = remaining(record.at, session.settle(), session.run().now().await?)
    {
        let (bundle, rest_s) = (session.bundle(), rest.as_secs().max(1));
        session
            .log(format!(
                "An earlier update began to import bundle {bundle}, and nobody knows how that ended; looking again (at most {rest_s} s)."
            ))
            .await;
        return Ok(Flown::Wait(check_in(rest)));
    }
    bring(session, seen).await
}

async fn bring(session: &Session<'_>, seen: Seen) -> Result<Imported, StepError> {
    let source_key = session.work.contents.project_key.as_deref().unwrap_or(&session.spec().package.project_key);
    let from_bundle = !seen.exists && source_key == session.key();
    if !seen.exists && !from_bundle {
        // A bundle makes a project under its own key only.
        if let wait @ Flown::Wait(_) = session.perform(&CreateProject { session }).await? {
            return Ok(wait);
        }
    }
    let flight = Flight { run: session.run(), note: notes::IMPORT, settle: session.settle() };
    let imported_before = flight.intent().is_some_and(|intent| intent.is_done());
    if seen.exists && !imported_before && notes::read(session.run(), notes::CREATED) == Some(Created::FromBundle) {
        // The node made the project and not the import: it propagated nothing, so we do.
        notes::write(session.run(), notes::CREATED, &Created::Empty).await?;
    }
    let flown = match session.perform(&Import { session, from_bundle }).await {
        Ok(flown) => flown,
        Err(error) => {
            // The verdict on the import is what the step tells, whatever becomes of our own record.
            return match withdraw(session, &flight).await {
                Err(StepError::LeaseLost) => Err(StepError::LeaseLost),
                Err(ours) => {
                    tracing::warn!(error = ?ours, "the record of an import that the node refused could not be withdrawn");
                    Err(error)
                }
                Ok(()) => Err(error),
            };
        }
    };
    if matches!(flown, Flown::Done(_)) {
        let package = &session.spec().package;
        session.imports().confirm(session.api.url(), session.key(), &package.bundle_id, &package.sha256).await?;
    }
    Ok(flown)
}

/// The node answered that it did not take the bundle, and does not show it: the next update has nothing to wait for.
async fn withdraw(session: &Session<'_>, flight: &Flight<'_>) -> Result<(), StepError> {
    let Some(intent) = flight.intent().filter(|intent| !intent.is_open() && !intent.is_done()) else { return Ok(()) };
    // A node that can't be asked now may have it all the same. What stopped the import is what the step tells.
    let gone = !intent.may_have_acted() || Seen::look(session).await.is_ok_and(|seen| !seen.listed);
    if gone {
        let package = &session.spec().package;
        session.imports().withdraw(session.api.url(), session.key(), &package.bundle_id, &package.sha256).await?;
    }
    Ok(())
}

/// What the node shows of project and bundle.
#[derive(Clone, Copy)]
struct Seen {
    exists: bool,
    listed: bool,
}

impl Seen {
    async fn look(session: &Session<'_>) -> Result<Self, CallError> {
        let exists = session.api.project(session.key()).await?.is_some();
        let listed = exists && session.api.imported_bundles(session.key()).await?.contains(session.bundle());
        Ok(Self { exists, listed })
    }
}

/// `POST /projects/`.
struct CreateProject<'a> {
    session: &'a Session<'a>,
}

#[async_trait]
impl EffectCall for CreateProject<'_> {
    fn note(&self) -> &'static str {
        notes::CREATE
    }

    fn purpose(&self) -> Value {
        json!({"project": self.session.key()})
    }

    async fn look(&self) -> Result<Value, StepError> {
        Ok(Value::Bool(self.session.api.project(self.session.key()).await?.is_some()))
    }

    fn done_since(&self, _: &Value, now: &Value) -> bool {
        self.holds(now)
    }

    fn holds(&self, now: &Value) -> bool {
        *now == Value::Bool(true)
    }

    async fn prepare(&self) -> Result<(), StepError> {
        notes::write(self.session.run(), notes::CREATED, &Created::Empty).await
    }

    async fn call(&self) -> Result<Report, CallError> {
        let spec = self.session.spec();
        self.session.api.create_project(self.session.key(), spec.project_folder.as_deref(), &spec.acting_user).await?;
        Ok(Report::default())
    }

    fn doing(&self) -> String {
        format!("creating project {}", self.session.key())
    }
}

/// The upload.
struct Import<'a> {
    session: &'a Session<'a>,
    /// The project is made of the bundle.
    from_bundle: bool,
}

#[async_trait]
impl EffectCall for Import<'_> {
    fn note(&self) -> &'static str {
        notes::IMPORT
    }

    fn purpose(&self) -> Value {
        json!({"bundle": self.session.bundle(), "sha256": self.session.spec().package.sha256})
    }

    async fn look(&self) -> Result<Value, StepError> {
        Ok(Value::Bool(Seen::look(self.session).await?.listed))
    }

    fn done_since(&self, _: &Value, now: &Value) -> bool {
        self.holds(now)
    }

    fn holds(&self, now: &Value) -> bool {
        *now == Value::Bool(true)
    }

    async fn prepare(&self) -> Result<(), StepError> {
        let (session, package) = (self.session, &self.session.spec().package);
        if self.from_bundle {
            notes::write(session.run(), notes::CREATED, &Created::FromBundle).await?;
        }
        session.imports().intend(session.api.url(), session.key(), &package.bundle_id, &package.sha256).await
    }

    async fn call(&self) -> Result<Report, CallError> {
        let session = self.session;
        let upload = open(session).await.map_err(unreadable)?;
        if self.from_bundle {
            let permissions = match session.infrastructure().permissions_propagation {
                PermissionsPropagation::None => "NONE",
                PermissionsPropagation::Limited => "READ_ONLY",
                PermissionsPropagation::Full => "ALL",
            };
            let how = FromBundle { permissions, folder: session.spec().project_folder.as_deref() };
            session.api.create_project_from_bundle(&how, upload).await?;
        } else {
            session.api.import_bundle(session.key(), upload).await?;
        }
        Ok(Report::default())
    }

    fn doing(&self) -> String {
        format!("importing bundle {}", self.session.bundle())
    }
}

/// Opens the package; it is streamed, whatever its size.
async fn open(session: &Session<'_>) -> Result<Upload, PackageError> {
    let package = &session.spec().package;
    let (size, content) = session.work.packages.open_package(&PackageKey::of(&package.sha256)?).await?;
    if size != package.size {
        return Err(PackageError::Corrupt);
    }
    Ok(Upload { name: format!("{}.zip", package.bundle_id), size, content })
}

/// The package store's failure, before anything was sent.
fn unreadable(error: PackageError) -> CallError {
    tracing::warn!(error = %error, cause = ?std::error::Error::source(&error).map(ToString::to_string), "a package can't be read");
    let retryable = matches!(error, PackageError::Failed { .. });
    CallError { retryable, ..CallError::permanent(error.code(), error.to_string(), Effect::None) }
}

fn foreign(session: &Session<'_>) -> Failure {
    let message = format!(
        "The node already has a bundle {} in project {}, and it was not Slipway that imported it: it may hold something else. Delete it there, publish under another id, or let the infrastructure trust such bundles.",
        session.bundle(),
        session.key()
    );
    Failure::new(codes::BUNDLE_ID_FOREIGN, message)
}

fn content_differs(session: &Session<'_>) -> Failure {
    let message = format!(
        "Bundle {} of project {} was imported to this node before with another content, and an id means one content for good. Publish the new content under a new bundle id.",
        session.bundle(),
        session.key()
    );
    Failure::new(codes::BUNDLE_CONTENT_DIFFERS, message)
}
