//! Step `validate_remap`: everything that can be known without changing anything, all of it at once.

use engine::failure::{Code, Failure, StepError, StepOutcome, StepResult};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{
    K8s,
    activate::replicas,
    apply::apply,
    manifests::Goal,
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
        [] => Ok(StepOutcome::done()),
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
    named_objects(&place, &mut all).await?;
    if may_try && all.is_empty() {
        tried(&place, &mut all).await?;
    }
    Ok((Some(place), all))
}

/// The rights that the credentials lack.
pub(super) async fn lacking(place: &Place<'_>) -> Result<Vec<String>, StepError> {
    let wanted = rights::of(&place.goal);
    let asked = wanted.into_iter().map(|right| async move {
        let may = place.api.may(right.verb, right.group, right.resource).await?;
        Ok::<_, StepError>((!may).then(|| right.to_string()))
    });
    let denied: Vec<Option<String>> = stream::iter(asked).buffered(AT_ONCE).try_collect().await?;
    Ok(denied.into_iter().flatten().collect())
}

/// What the settings name in the namespace must be there.
async fn named_objects(place: &Place<'_>, all: &mut Vec<Problem>) -> Result<(), StepError> {
    let account = place.goal.workload.service_account_name.iter().filter(|name| !name.is_empty());
    let accounts = account.map(|name| kind("v1", "ServiceAccount").named(name));
    let secrets = place.goal.settings.image_pull_secrets.iter().map(|name| kind("v1", "Secret").named(name));
    for id in accounts.chain(secrets) {
        match place.api.metadata(&id).await {
            Ok(Some(_)) => {}
            Ok(None) => {
                let message = format!("The {id} is not in namespace {}.", place.goal.namespace());
                all.push(problem(codes::K8S_OBJECT_MISSING, message));
            }
            // The right is asked about by itself.
            Err(error) if error.is(&codes::NODE_FORBIDDEN) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
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
