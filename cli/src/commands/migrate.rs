//! `slipway migrate`.

use migration::Migrated;

use super::{count, say, show_first_key};
use crate::{config::Config, failure::Failure, parts};

pub(crate) async fn run(config: &Config) -> Result<(), Failure> {
    parts::check_given_admin_key()?;
    let db = parts::database(config).await?;
    match migration::migrate(db.pool()).await? {
        Migrated::Applied(0) => say("The schema is up to date.")?,
        Migrated::Applied(n) => say(format!("Applied {}.", count(n as u64, "migration")))?,
        Migrated::Later(names) => say(format!(
            "The schema is of a later version of Slipway ({}) and was left as it is. This version runs on it if it is the one before that.",
            names.join(", ")
        ))?,
    }
    show_first_key(&db).await
}
