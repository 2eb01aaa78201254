//! Whether a bundle may be deployed, by its governance source and by the project standards report in it, and what the infrastructure's policies
//! make of the answers.
//!
//! | policy | when a deployment is made or changed | at an update, in step `check_policy` |
//! |---|---|---|
//! | WARN | refused with the warning, unless it is to be ignored | told as a warning |
//! | PREVENT | nothing | the update fails |
//!
//! A source that can't be asked is one that warns. Under PREVENT it is asked again, as the step's policy says, and then the update fails.

use engine::failure::{Code, Failure, StepError};
use entities::{bundle, infrastructure};
use futures_util::future::join_all;
use sea_orm::{ConnectionTrait, EntityTrait as _, QuerySelect as _};
use targets::{
    governance::{Message, Question, Severity, Verdict},
    spec::{DeploySpec, GovernCheckPolicy, GovernanceSource, ProjectStandardsPolicy},
    target::Half,
};

use crate::{
    Deployer, bundles,
    error::{Error, Refusal, Result},
    halves,
    infrastructures::{self, Settings},
    policy::unavailable,
    rights::{self, Access},
    sealed, standards,
    viewer::Viewer,
};

/// The governance source says no, and the policy is PREVENT.
pub const GOVERNANCE_PREVENTED: Code = Code::new("GOVERNANCE_PREVENTED");
/// The project standards report says no, and the policy is PREVENT.
pub const PROJECT_STANDARDS_PREVENTED: Code = Code::new("PROJECT_STANDARDS_PREVENTED");
/// Of all messages together, this many characters stand in a sentence.
const LONGEST: usize = 4_000;

/// What the governance source says of a bundle on a deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Governance {
    /// Whether there is a source that was asked.
    pub asked: bool,
    /// What it said, or that it could not be asked; empty without a source.
    pub messages: Vec<Message>,
}

/// Asks the governance source about a bundle on a deployment, whatever the policy is. None is the deployment's own bundle.
///
/// # Errors
/// `NOT_FOUND`; `BUNDLE_UNKNOWN` when the deployment's project has no such bundle.
pub async fn status(
    deployer: &Deployer,
    viewer: &Viewer,
    deployment_id: &str,
    bundle_id: Option<&str>,
) -> Result<Governance> {
    let db = deployer.db.pool();
    let row = rights::require_deployment(db, viewer, deployment_id, Access::See, "deploymentId").await?;
    let own = row.bundle_id.clone();
    let bundle_id = bundle_id.unwrap_or(&own);
    let half = halves::half_of(&row.project_key);
    let message = format!("The {} has no {} with this id.", halves::noun(half), halves::package(half));
    let unknown = || Error::field("BUNDLE_UNKNOWN", "bundleId", message.clone());
    if !crate::text::storable(bundle_id) {
        return Err(unknown());
    }
    let sha256 = sha256_of(db, &row.project_key, bundle_id).await?.ok_or_else(unknown)?;
    let place = infrastructure::Entity::find_by_id(row.infrastructure_id.clone()).one(db).await?;
    let place = place.ok_or_else(|| Error::fault(format!("deployment {} has no infrastructure", row.id)))?;
    let Some(source) = infrastructures::governance_source(&place, &Settings::read(&place.settings)?) else {
        return Ok(Governance::default());
    };
    let question = Question {
        deployment_id: row.id,
        infrastructure_id: row.infrastructure_id,
        kind: halves::half_of(&row.project_key),
        project_key: halves::shown(&row.project_key).to_owned(),
        deployed_project_key: row.deployed_project_key,
        bundle_id: bundle_id.to_owned(),
        sha256,
        requester: viewer.login.clone(),
    };
    let messages = match ask(deployer, &source, &question).await {
        Ok(verdict) => said(verdict),
        Err(error) => vec![unasked(error)?],
    };
    Ok(Governance { asked: true, messages })
}

/// What somebody wants to deploy, before it is written down.
pub(crate) struct Wish<'a> {
    pub(crate) deployment_id: &'a str,
    pub(crate) project_key: &'a str,
    pub(crate) deployed_project_key: &'a str,
    /// All that would be deployed: a bundle, or the versions of a service.
    pub(crate) bundles: Vec<&'a str>,
}

/// Refuses a wish that an infrastructure's policies warn of. A bundle that is not there is refused elsewhere.
///
/// # Errors
/// `GOVERNANCE_WARNING`, `PROJECT_STANDARDS_WARNING`, both on the bundle.
pub(crate) async fn refuse_warnings(
    deployer: &Deployer,
    viewer: &Viewer,
    place: &infrastructure::Model,
    wish: Wish<'_>,
) -> Result<()> {
    let settings = Settings::read(&place.settings)?;
    let db = deployer.db.pool();
    let mut refusals = Vec::new();
    let half = halves::half_of(wish.project_key);
    let field = if wish.bundles.len() > 1 { "versions" } else { bundles::field(half) };
    let mut warn = |code, words: String| {
        let message = format!("{words} To go on nevertheless, ask again with ignoreWarnings.");
        refusals.push(Refusal { code, field: Some(field.to_owned()), message });
    };
    let source = infrastructures::governance_source(place, &settings);
    if let (GovernCheckPolicy::Warn, Some(source)) = (settings.govern_check_policy, source) {
        let mut questions = Vec::new();
        for bundle_id in &wish.bundles {
            let Some(sha256) = sha256_of(db, wish.project_key, bundle_id).await? else { continue };
            questions.push(Question {
                deployment_id: wish.deployment_id.to_owned(),
                infrastructure_id: place.id.clone(),
                kind: half,
                project_key: halves::shown(wish.project_key).to_owned(),
                deployed_project_key: wish.deployed_project_key.to_owned(),
                bundle_id: (*bundle_id).to_owned(),
                sha256,
                requester: viewer.login.clone(),
            });
        }
        let answers = join_all(questions.iter().map(|question| ask(deployer, &source, question))).await;
        for (question, answer) in questions.iter().zip(answers) {
            let of = of_several(wish.bundles.len(), &question.bundle_id);
            match answer {
                Ok(verdict) if verdict.status < Severity::Warning => {}
                Ok(verdict) => warn("GOVERNANCE_WARNING", format!("{of}{}", sentence(verdict))),
                Err(error) => warn("GOVERNANCE_WARNING", format!("{of}{}", unasked(error)?.message)),
            }
        }
    }
    if half == Half::Project && settings.project_standards_policy == ProjectStandardsPolicy::Warn {
        for bundle_id in wish.bundles {
            let found = standards::of_bundle(db, wish.project_key, bundle_id).await?.unwrap_or_default();
            if !found.is_empty() {
                warn("PROJECT_STANDARDS_WARNING", joined(found));
            }
        }
    }
    if refusals.is_empty() { Ok(()) } else { Err(Error::Refused(refusals)) }
}

/// What a run's policies make of its bundle: warnings, or the end. `last`: there is no attempt after this one.
pub(crate) async fn check(
    deployer: &Deployer,
    requester: &str,
    spec: &DeploySpec,
    last: bool,
) -> std::result::Result<Vec<String>, StepError> {
    let (place, package) = (&spec.infrastructure, &spec.package);
    let mut warnings = Vec::new();
    if spec.service.is_none() && place.project_standards_policy != ProjectStandardsPolicy::Ignore {
        let found = standards::of_bundle(deployer.db.pool(), &package.project_key, &package.bundle_id).await;
        let found = found.map_err(unavailable)?.unwrap_or_default();
        if place.project_standards_policy == ProjectStandardsPolicy::Prevent && !found.is_empty() {
            let message = format!("{} The infrastructure deploys no such bundle.", joined(found));
            return Err(Failure::new(PROJECT_STANDARDS_PREVENTED, message).permanent());
        }
        warnings.extend(found);
    }
    let Some(source) = place.governance.as_ref().filter(|_| place.govern_check_policy != GovernCheckPolicy::NoCheck)
    else {
        return Ok(warnings);
    };
    let prevent = place.govern_check_policy == GovernCheckPolicy::Prevent;
    let half = halves::half_of(&package.project_key);
    // Each version that answers queries, whatever its share.
    let packages: Vec<(&str, &str)> = match &spec.service {
        Some(service) => service.versions.iter().map(|one| (&*one.version, &*one.sha256)).collect(),
        None => vec![(&package.bundle_id, &package.sha256)],
    };
    let questions = packages.iter().map(|(bundle_id, sha256)| Question {
        deployment_id: spec.deployment.clone(),
        infrastructure_id: place.id.clone(),
        kind: half,
        project_key: halves::shown(&package.project_key).to_owned(),
        deployed_project_key: spec.deployed_project_key.clone(),
        bundle_id: (*bundle_id).to_owned(),
        sha256: (*sha256).to_owned(),
        requester: requester.to_owned(),
    });
    let questions: Vec<_> = questions.collect();
    // At once: a source that hangs takes its patience once, not once for each version.
    let answers = join_all(questions.iter().map(|question| ask(deployer, source, question))).await;
    for (question, answer) in questions.iter().zip(answers) {
        let of = of_several(packages.len(), &question.bundle_id);
        match answer {
            Ok(verdict) if prevent && verdict.status == Severity::Error => {
                let such = halves::package(half);
                let message = format!("{of}{} The infrastructure deploys no such {such}.", sentence(verdict));
                return Err(Failure::new(GOVERNANCE_PREVENTED, message).permanent());
            }
            Ok(verdict) if verdict.status >= Severity::Warning => warnings.push(format!("{of}{}", sentence(verdict))),
            Ok(_) => {}
            Err(StepError::Retryable { failure, .. }) if !prevent && last => {
                warnings.push(format!("{of}{}", failure.message));
            }
            Err(StepError::Permanent(failure)) if !prevent => warnings.push(format!("{of}{}", failure.message)),
            Err(error) => return Err(error),
        }
    }
    Ok(warnings)
}

/// How a sentence begins that is about one of several.
fn of_several(several: usize, bundle_id: &str) -> String {
    if several > 1 { format!("{bundle_id}: ") } else { String::new() }
}

/// Of a bundle's archive; None when there is no such bundle. Its documents may be megabytes, and are not read.
async fn sha256_of<C: ConnectionTrait>(db: &C, project_key: &str, bundle_id: &str) -> Result<Option<String>> {
    let query = bundle::Entity::find_by_id((project_key.to_owned(), bundle_id.to_owned()));
    Ok(query.select_only().column(bundle::Column::Sha256).into_tuple().one(db).await?)
}

async fn ask(
    deployer: &Deployer,
    source: &GovernanceSource,
    question: &Question,
) -> std::result::Result<Verdict, StepError> {
    let key = match &source.key {
        None => None,
        Some(reference) => match sealed::open(&deployer.db, &deployer.keyring, reference).await {
            Ok(Some(key)) => Some(key),
            Ok(None) => {
                let message = "The key of the governance source was removed since. Start a new update.";
                return Err(Failure::new(targets::codes::GOVERNANCE_SOURCE_INVALID, message).permanent());
            }
            Err(Error::Refused(refusals)) => {
                let message = refusals.into_iter().map(|refusal| refusal.message).collect::<Vec<_>>().join(" ");
                return Err(Failure::new(Code::new(sealed::KEY_UNKNOWN), message).permanent());
            }
            Err(error) => return Err(unavailable(error)),
        },
    };
    let verdict = deployer.targets.ask_governance(&source.url, key.as_ref(), question).await?;
    // Who says OK and names an error has not read their own words: the worse one counts.
    let worst = verdict.messages.iter().map(|message| message.severity).fold(verdict.status, Severity::max);
    Ok(Verdict { status: worst, ..verdict })
}

/// That a source could not be asked, as a message.
fn unasked(error: StepError) -> Result<Message> {
    match error {
        StepError::Retryable { failure, .. } | StepError::Permanent(failure) => Ok(Message {
            severity: Severity::Error,
            code: failure.code.to_string(),
            title: String::new(),
            message: failure.message,
        }),
        other => Err(Error::fault(format!("a governance source answered {other:?}"))),
    }
}

/// The messages of a verdict; one that says the status, if the source gave no other.
fn said(verdict: Verdict) -> Vec<Message> {
    if !verdict.messages.is_empty() || verdict.status < Severity::Warning {
        return verdict.messages;
    }
    let word = if verdict.status == Severity::Error { "ERROR" } else { "WARNING" };
    let message = format!("The governance source answers {word} for this bundle, and does not say why.");
    vec![Message { severity: verdict.status, code: String::new(), title: String::new(), message }]
}

fn sentence(verdict: Verdict) -> String {
    let told = said(verdict).into_iter().map(|message| {
        let Message { title, message, .. } = message;
        match (title.is_empty(), message.is_empty()) {
            (false, false) => format!("{title}: {message}"),
            (false, true) => title,
            _ => message,
        }
    });
    joined(told.collect())
}

fn joined(sentences: Vec<String>) -> String {
    let all = sentences.into_iter().map(|text| {
        let ended = text.trim_end().ends_with(['.', '!', '?', '…']);
        if ended { text } else { format!("{text}.") }
    });
    let mut text = all.collect::<Vec<_>>().join(" ");
    if let Some((cut, _)) = text.char_indices().nth(LONGEST) {
        text.truncate(cut);
        text.push('…');
    }
    text
}
