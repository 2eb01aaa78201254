//! `slipway audit`: straight on the database.

use deployer::{audit::verify, bootstrap::Operator};

use super::{count, say};
use crate::{args::Audit, config::Config, failure::Failure, parts};

pub(crate) async fn run(command: Audit, config: &Config) -> Result<(), Failure> {
    match command {
        Audit::Verify { head } => check(config, head.as_deref()).await,
        Audit::Export { after } => export(config, after).await,
    }
}

async fn check(config: &Config, known: Option<&str>) -> Result<(), Failure> {
    let known = known.map(verify::parse_head).transpose()?;
    let db = parts::migrated(config).await?;
    let keyring = parts::keyring(config);
    let report = verify::verify(&db, keyring.as_ref().ok(), known.as_ref()).await?;
    match &keyring {
        Ok(_) => say(format!(
            "Checked {}: {} signed, {} of the command line or of workers not.",
            count(report.rows, "record"),
            report.signed,
            report.unsigned
        ))?,
        Err(_) => say(format!(
            "Checked the hashes of {}. There is no master key here, so signatures were not checked: whoever can write to the database could have \
             computed these hashes anew.",
            count(report.rows, "record")
        ))?,
    }
    for finding in &report.findings {
        say(format!("Record {}: {}.", finding.seq, finding.what))?;
    }
    if report.findings.is_empty() {
        // Of a broken audit none is printed: it would be kept in place of the one that still tells.
        return say(format!("The head is {}:{}", report.head.seq, report.head.hash));
    }
    Err(Failure::new("AUDIT_BROKEN", "The audit is not as it was written."))
}

async fn export(config: &Config, mut after: i64) -> Result<(), Failure> {
    let db = parts::migrated(config).await?;
    loop {
        let events = verify::export(&db, Operator::at_the_database(), after).await?;
        let Some(last) = events.last().and_then(|event| event.chained.as_ref()).map(|place| place.seq) else {
            return Ok(());
        };
        for event in &events {
            say(event.to_json())?;
        }
        after = last;
    }
}
