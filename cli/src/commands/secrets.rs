//! `slipway secrets`.

use std::{io::Write, os::unix::fs::OpenOptionsExt, path::Path};

use engine::secrets::Keyring;

use super::say;
use crate::{config::Config, failure::Failure, parts};

pub(crate) fn generate(file: &Path) -> Result<(), Failure> {
    Keyring::create(file).map_err(|error| Failure::new(error.code().as_str(), error.to_string()))?;
    say(format!("Made a master key in {}. Keep a copy apart from the database's backups.", file.display()));
    Ok(())
}

/// Puts a new key first. The file is replaced as a whole, so that a crash leaves the old one or the new one.
pub(crate) fn new_key(config: &Config) -> Result<(), Failure> {
    let path = Path::new(&config.secrets.master_key_file);
    let keyring = Keyring::load(path).map_err(|error| Failure::new(error.code().as_str(), error.to_string()))?;
    let next = keyring.with_new_active();
    let beside = path.with_extension("new");
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    file.write_all(next.to_text().as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    say(format!(
        "Key {} is active. Restart the API and the workers, then run `slipway secrets rotate`.",
        next.active().as_str()
    ));
    Ok(())
}

pub(crate) async fn rotate(config: &Config) -> Result<(), Failure> {
    let db = parts::database(config).await?;
    let keyring = parts::keyring(config)?;
    let rotation = deployer::rotate::rotate(&db, &keyring).await?;
    say(format!("Sealed {} secrets anew with key {}.", rotation.resealed, keyring.active().as_str()));
    for line in &rotation.unreadable {
        say(line);
    }
    match rotation.unreadable.len() {
        0 => Ok(()),
        n => {
            Err(Failure::new("SECRET_KEY_UNKNOWN", format!("{n} secrets could not be opened; they are as they were.")))
        }
    }
}
