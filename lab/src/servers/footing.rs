//! What a fleet stands on.

use std::path::Path;

use engine::secrets::Keyring;

use super::{postgres::Postgres, programs, redis::Redis, slipway::Slipway};
use crate::failure::LabError;

/// PostgreSQL with a migrated database, Redis, a folder for packages and a master key: the processes of a fleet are told where.
#[derive(Debug)]
pub struct Footing {
    /// The server.
    pub postgres: Postgres,
    /// The server.
    pub redis: Redis,
    /// The database's URL.
    pub database: String,
}

impl Footing {
    /// Starts the servers, and sets what they need for all processes of `slipway`. Files lie in `data`, which is there.
    ///
    /// # Errors
    /// When a part does not start.
    pub async fn lay(slipway: &mut Slipway, data: &Path) -> Result<Self, LabError> {
        programs::redis_server()?;
        let (postgres, redis) = (Postgres::launch(false).await?, Redis::launch(false).await?);
        let database = postgres.database().await?;
        let master = data.join("master.key");
        Keyring::create(&master).map_err(|error| LabError::failed("a master key", error))?;
        slipway.set("SLIPWAY_SECRETS_MASTER_KEY_FILE", master.display());
        slipway.set("SLIPWAY_PACKAGES_LOCATION", data.join("packages").display());
        slipway.set("SLIPWAY_PACKAGES_STAGING", data.join("staging").display());
        slipway.set("SLIPWAY_QUEUE_REDIS_URL", redis.url());
        slipway.set("SLIPWAY_DATABASE_URL", &database);
        slipway.migrate()?;
        Ok(Self { postgres, redis, database })
    }
}
