//! `slipway migrate`.

use super::say;
use crate::{config::Config, failure::Failure, parts};

pub(crate) async fn run(config: &Config) -> Result<(), Failure> {
    let db = parts::database(config).await?;
    let pending = migration::pending(db.pool()).await?;
    migration::migrate(db.pool()).await?;
    match pending {
        0 => say("The schema is up to date."),
        n => say(format!("Applied {n} migrations.")),
    }
    if let Some(key) = deployer::bootstrap::first_start(&db, parts::given_admin_key().as_ref()).await?
        && parts::given_admin_key().is_none()
    {
        say("The first administrator is `admin`. Its key, shown this once:");
        say(key.expose());
    }
    Ok(())
}
