//! `slipway migrate`.

use super::{count, say, show_first_key};
use crate::{config::Config, failure::Failure, parts};

pub(crate) async fn run(config: &Config) -> Result<(), Failure> {
    parts::check_given_admin_key()?;
    let db = parts::database(config).await?;
    match migration::migrate(db.pool()).await? {
        0 => say("The schema is up to date.")?,
        n => say(format!("Applied {}.", count(n as u64, "migration")))?,
    }
    show_first_key(&db).await
}
