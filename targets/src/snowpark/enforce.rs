//! Step `enforce_run_as`: who may use the service. Containers run under the service's own identity, which is its owner's role.

use std::collections::BTreeSet;

use engine::failure::{StepError, StepOutcome, StepResult};
use serde_json::json;

use super::session::{Change, Session};
use crate::snowflake::ident::Ident;

/// The roles of the setting, and they alone, may call the function; and reach the endpoint, where it is public. An empty setting leaves grants alone.
pub(super) async fn enforce(session: &Session<'_>) -> StepResult {
    let goal = &session.site.goal;
    if goal.grantees.is_empty() {
        return Ok(StepOutcome::output(json!({"grants": "left alone"})));
    }
    if let Some(check_in) = grants(session).await? {
        return Ok(StepOutcome::NotYet { check_in });
    }
    let roles: Vec<_> = goal.grantees.iter().map(Ident::as_str).collect();
    Ok(StepOutcome::output(json!({"grants": roles})))
}

async fn grants(session: &Session<'_>) -> Result<Option<std::time::Duration>, StepError> {
    let (site, goal) = (&session.site, &session.site.goal);
    let wanted: BTreeSet<&Ident> = goal.grantees.iter().collect();
    let function = format!("USAGE ON FUNCTION {}", goal.function.signature(site.within()));
    let mut rights = vec![(function, site.callers(&goal.function).await?)];
    if site.place.settings.public_endpoint {
        let role = format!("SERVICE ROLE {}!ALL_ENDPOINTS_USAGE", goal.service_path(&site.place));
        rights.push((role, site.endpoint_users().await?));
    }
    for (right, there) in rights {
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
