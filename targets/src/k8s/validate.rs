//! Step `validate_remap`: everything that can be known without changing anything, all of it at once.

use engine::failure::{Code, Failure, StepError, StepOutcome, StepResult};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::Value;

use super::{
    K8s,
    activate::replicas,
    api::Api,
    apply::apply,
    manifests::Goal,
    names::kinds_of,
    objects::Id,
    offered::Offered,
    place::{self, Place, kind},
    problems, push, rights,
};
use crate::{
    codes,
    managed::opener::Opener,
    target::{Look, Problem, Work},
};

/// Stands for the image that is not made yet, where manifests are tried.
pub(super) const ANY_IMAGE: &str = "slipway.invalid/not-pushed-yet";
/// So many questions are under way at once.
const AT_ONCE: usize = 8;

pub(super) async fn validate(k8s: &K8s, work: &Work<'_>) -> StepResult {
    let goal = place::goal(work.spec, Offered::default())?;
    let found = found(k8s, goal, Opener::Run(work.run)).await?.1;
    match found.as_slice() {
        [] => {
            let warnings = work.spec.service.iter().filter_map(|service| service.endpoints_of_some()).collect();
            Ok(StepOutcome::Done { output: Value::Null, warnings })
        }
        [one] => Err(Failure::new(code(&one.code), one.message.clone()).permanent()),
        several => {
            let same = several.iter().all(|one| one.code == several[0].code);
            let code = if same { code(&several[0].code) } else { codes::VALIDATION_FAILED };
            let lines: Vec<_> = several.iter().map(|one| one.message.as_str()).collect();
            Err(Failure::new(code, lines.join("\n")).permanent())
        }
    }
}

/// The same outside a run; the place, if it was reached.
pub(super) async fn look<'a>(k8s: &K8s, look: Look<'a>) -> Result<(Option<Place<'a>>, Vec<Problem>), StepError> {
    found(k8s, place::goal(look.spec, Offered::default())?, Opener::Look(look.secrets)).await
}

fn code(text: &str) -> Code {
    let known = codes::ALL.iter().find(|code| **code == text);
    known.map_or(codes::VALIDATION_FAILED, |code| Code::new(code))
}

fn problem(code: Code, message: impl Into<String>) -> Problem {
    Problem { code: code.as_str().to_owned(), message: message.into() }
}

async fn found<'a>(
    k8s: &K8s,
    mut goal: Goal<'a>,
    opener: Opener<'a>,
) -> Result<(Option<Place<'a>>, Vec<Problem>), StepError> {
    let mut all = Vec::new();
    for (path, said) in problems::missing(&goal.settings) {
        all.push(problem(codes::SETTING_MISSING, format!("{path}: {said}")));
    }
    for (path, said) in problems::of_goal(&goal) {
        all.push(problem(codes::SETTING_INVALID, format!("{path}: {said}")));
    }
    if all.is_empty() {
        let of_registry = push::problems(k8s, &goal, opener).await?;
        all.extend(of_registry.into_iter().map(|failure| problem(failure.code, failure.message)));
    }
    if !problems::can_reach(&goal.settings) {
        return Ok((None, all));
    }
    let api = place::api(k8s, &goal.settings, opener).await?;
    goal.offered = Offered::new(api.group_versions().await?);
    let place = Place { api, goal, opener };
    let denied = lacking(&place).await?;
    let may_try = denied.is_empty();
    all.extend(denied.into_iter().map(|right| {
        let message = format!("The credentials may not {right} in namespace {}.", place.goal.namespace());
        problem(codes::K8S_RIGHT_MISSING, message)
    }));
    for version in rights::versions(&place.goal) {
        if !place.goal.offered.has(version) {
            all.push(problem(
                codes::K8S_API_MISSING,
                format!("The cluster does not offer {version}. It may be too old."),
            ));
        }
    }
    let account = place.goal.workload.service_account_name.as_deref();
    for id in absent(&place.api, account, &place.goal.settings.image_pull_secrets).await? {
        let message = format!("The {id} is not in namespace {}.", place.goal.namespace());
        all.push(problem(codes::K8S_OBJECT_MISSING, message));
    }
    if may_try && all.is_empty() {
        tried(&place, &mut all).await?;
    }
    Ok((Some(place), all))
}

/// The rights that the credentials lack.
pub(super) async fn lacking(place: &Place<'_>) -> Result<Vec<String>, StepError> {
    let mut wanted = rights::of(&place.goal);
    let live = match place.api.metadata(&place.deployment_id()).await {
        // The right is asked about by itself.
        Err(error) if error.is(&codes::NODE_FORBIDDEN) => None,
        live => live?,
    };
    // What an earlier version made must be found again.
    let mut made = live.as_ref().map(kinds_of).unwrap_or_default();
    // What the server does not know any more is not there either.
    let offered = place.goal.offered.kinds();
    made.retain(|name| offered.iter().any(|kind| kind.name == *name));
    wanted.extend(rights::of_kinds(&made));
    wanted.sort();
    wanted.dedup();
    let asked = wanted.into_iter().map(|right| async move {
        let may = place.api.may(right.verb, right.group, right.resource).await?;
        Ok::<_, StepError>((!may).then(|| right.to_string()))
    });
    let denied: Vec<Option<String>> = stream::iter(asked).buffered(AT_ONCE).try_collect().await?;
    Ok(denied.into_iter().flatten().collect())
}

/// What settings name in the namespace and is not there: the Pods' service account, Secrets with logins of registries.
pub(super) async fn absent(api: &Api, account: Option<&str>, secrets: &[String]) -> Result<Vec<Id>, StepError> {
    let account = account.filter(|name| !name.is_empty());
    let accounts = account.into_iter().map(|name| kind("v1", "ServiceAccount").named(name));
    let secrets = secrets.iter().map(|name| kind("v1", "Secret").named(name));
    let mut absent = Vec::new();
    for id in accounts.chain(secrets) {
        match api.metadata(&id).await {
            Ok(Some(_)) => {}
            Ok(None) => absent.push(id),
            // The right is asked about by itself.
            Err(error) if error.is(&codes::NODE_FORBIDDEN) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(absent)
}

/// Every object is tried: what the API server would refuse, it refuses now. So are names that are taken, and fields that somebody else manages.
async fn tried(place: &Place<'_>, all: &mut Vec<Problem>) -> Result<(), StepError> {
    let live = match place.deployment().await {
        Ok(live) => live,
        Err(StepError::Permanent(failure)) if failure.code == codes::PLATFORM_NAME_TAKEN => None,
        Err(error) => return Err(error),
    };
    let manifests = match place.goal.manifests(ANY_IMAGE, replicas(live.as_ref())) {
        Ok(manifests) => manifests,
        Err(said) => {
            all.push(problem(codes::K8S_API_MISSING, said));
            return Ok(());
        }
    };
    for manifest in place.secrets().await?.iter().chain(&manifests) {
        match apply(place, manifest, true).await {
            Ok(_) => {}
            Err(StepError::Permanent(failure)) if is_verdict(&failure) => {
                let code = if failure.code == codes::NODE_REFUSED { codes::K8S_OBJECT_REFUSED } else { failure.code };
                all.push(problem(code, failure.message));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// About this object, not about the credentials or the connection.
fn is_verdict(failure: &Failure) -> bool {
    [
        codes::NODE_REFUSED,
        codes::NODE_NOT_FOUND,
        codes::NODE_FORBIDDEN,
        codes::PLATFORM_NAME_TAKEN,
        codes::K8S_FIELD_CONFLICT,
    ]
    .contains(&failure.code)
}
