//! `slipway secrets`.

use std::{io::Write, os::unix::fs::OpenOptionsExt, path::Path};

use engine::secrets::Keyring;

use super::{count, say};
use crate::{config::Config, failure::Failure, parts};

pub(crate) fn generate(file: &Path) -> Result<(), Failure> {
    Keyring::create(file).map_err(|error| Failure::new(error.code().as_str(), error.to_string()))?;
    say(format!("Made a master key in {}. Keep a copy apart from the database's backups.", file.display()))
}

/// Puts a new key first. The file is replaced as a whole, so that a crash leaves the old one or the new one.
pub(crate) fn new_key(config: &Config) -> Result<(), Failure> {
    if parts::given_master_key().is_some() {
        return Err(Failure::new(
            "CONFIG_INVALID",
            "SLIPWAY_MASTER_KEY is set and goes before the file: a new key there would seal nothing. Unset it here if the file is what the \
             processes read; else put a new KEYID:BASE64 first in the variable, before a comma.",
        ));
    }
    let path = parts::master_key_file(config)?;
    let keyring = Keyring::load(path).map_err(|error| Failure::new(error.code().as_str(), error.to_string()))?;
    let next = keyring.with_new_active();
    let beside = path.with_extension("new");
    let at = |error: std::io::Error| Failure::io(format!("{}: {error}", beside.display()));
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside).map_err(at)?;
    file.write_all(next.to_text().as_bytes()).map_err(at)?;
    file.sync_all().map_err(at)?;
    std::fs::rename(&beside, path).map_err(at)?;
    say(format!(
        "Key {} is first in {}. Bring the file to every machine; restart the workers, then the API; then run `slipway secrets rotate`.",
        next.active().as_str(),
        path.display()
    ))
}

pub(crate) async fn rotate(config: &Config) -> Result<(), Failure> {
    let db = parts::migrated(config).await?;
    let keyring = parts::keyring(config)?;
    let rotation = deployer::rotate::rotate(&db, &keyring).await?;
    say(format!("Sealed {} anew with key {}.", count(rotation.resealed, "secret"), keyring.active().as_str()))?;
    for line in &rotation.unreadable {
        say(line)?;
    }
    match rotation.unreadable.len() {
        0 => Ok(()),
        n => {
            let secrets = count(n as u64, "secret");
            Err(Failure::new("SECRET_KEY_UNKNOWN", format!("{secrets} could not be opened and stayed unchanged.")))
        }
    }
}
