//! The demo's last words.

use crate::{commands::say, failure::Failure};

/// How to go on by hand.
pub(super) fn what_next(base: &str, key: &str) -> Result<(), Failure> {
    say("")?;
    say(format!("GraphiQL            {base}/graphiql"))?;
    say(format!("Administrator's key {key}"))?;
    say("Try:")?;
    say(format!(
        "  curl -s {base}/graphql -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' \\\n    -d '{{\"query\":\"{{ updates(first: 1) {{ nodes {{ id status steps {{ name status }} }} }} }}\"}}'"
    ))?;
    say("Ctrl-C ends it; nothing is kept.")
}
