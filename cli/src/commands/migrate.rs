//! `slipway migrate`.

use migration::Migrated;

use super::say;
use crate::{config::Config, failure::Failure, parts};

pub(crate) async fn run(config: &Config) -> Result<(), Failure> {
    let db = parts::database(config).await?;
    match migration::migrate(db.pool()).await? {
        Migrated::Applied(0) => say("The schema is up to date."),
        Migrated::Applied(n) => say(format!("Applied {n} migrations.")),
        Migrated::Later(names) => say(format!(
            "The schema is of a later version of Slipway ({}) and was left as it is. This version runs on it if it is the one before that.",
            names.join(", ")
        )),
    }
    if let Some(key) = deployer::bootstrap::first_start(&db, parts::given_admin_key().as_ref()).await?
        && parts::given_admin_key().is_none()
    {
        say("The first administrator is `admin`. Its key, shown this once:");
        say(key.expose());
    }
    Ok(())
}
