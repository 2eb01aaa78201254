//! Step `enforce_run_as`: who may use the service. Containers run under the service's own identity, which is its owner's role.

use std::{collections::BTreeSet, time::Duration};

use engine::failure::{StepError, StepOutcome, StepResult};
use serde_json::{Value, json};

use super::{
    function::Function,
    session::{Change, Session},
    site::Site,
};
use crate::{http::CallError, snowflake::ident::Ident};

/// The roles of the setting, and they alone, may call the function; and reach the endpoint, where it is public. An empty setting leaves grants alone.
pub(super) async fn enforce(session: &Session<'_>) -> StepResult {
    let goal = &session.site.goal;
    if goal.grantees.is_empty() {
        return Ok(StepOutcome::output(json!({"grants": "left alone"})));
    }
    let users = session.site.place.settings.public_endpoint.then_some(goal.grantees.as_slice());
    if let Some(check_in) = grants(session, &goal.function, Some(&goal.grantees), users).await? {
        return Ok(StepOutcome::NotYet { check_in });
    }
    if let Some(check_in) = session.quiet().await? {
        return Ok(StepOutcome::NotYet { check_in });
    }
    let roles: Vec<_> = goal.grantees.iter().map(Ident::as_str).collect();
    Ok(StepOutcome::output(json!({"grants": roles})))
}

/// Where who may use the service is otherwise than the setting says: what, as it is, as it is to be.
pub(super) async fn otherwise(
    site: &Site,
    function: &Function,
) -> Result<Vec<(&'static str, Value, Value)>, CallError> {
    let wanted = &site.goal.grantees;
    let mut all = Vec::new();
    if wanted.is_empty() {
        return Ok(all);
    }
    let names = |roles: &[Ident]| json!(roles.iter().map(Ident::as_str).collect::<BTreeSet<_>>());
    all.push(("the roles that may call the function", names(&site.callers(function).await?), names(wanted)));
    if site.place.settings.public_endpoint {
        all.push(("the roles that may reach the endpoint", names(&site.endpoint_users().await?), names(wanted)));
    }
    all.retain(|(_, found, wanted)| found != wanted);
    Ok(all)
}

/// These roles, and they alone, may call the function and reach the endpoint; None leaves that alone. Some: look again after this.
pub(super) async fn grants(
    session: &Session<'_>,
    function: &Function,
    callers: Option<&[Ident]>,
    users: Option<&[Ident]>,
) -> Result<Option<Duration>, StepError> {
    let site = &session.site;
    let mut rights = Vec::new();
    if let Some(wanted) = callers {
        let right = format!("USAGE ON FUNCTION {}", function.signature(site.within()));
        rights.push((right, site.callers(function).await?, wanted));
    }
    if let Some(wanted) = users {
        let right = format!("SERVICE ROLE {}!ALL_ENDPOINTS_USAGE", site.goal.service_path(&site.place));
        rights.push((right, site.endpoint_users().await?, wanted));
    }
    for (right, there, wanted) in rights {
        let wanted: BTreeSet<&Ident> = wanted.iter().collect();
        let there: BTreeSet<&Ident> = there.iter().collect();
        let give = wanted.difference(&there).map(|role| (format!("GRANT {right} TO ROLE {}", role.sql()), *role));
        let take = there.difference(&wanted).map(|role| (format!("REVOKE {right} FROM ROLE {}", role.sql()), *role));
        for (sql, role) in give.chain(take) {
            session.tell(format!("Changing what role {role} may use.")).await;
            if let Change::Wait(check_in) = session.change(sql, "changing who may use the service").await? {
                return Ok(Some(check_in));
            }
        }
    }
    Ok(None)
}
