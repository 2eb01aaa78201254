//! `slipway bench`.

use std::{process::ExitCode, sync::Arc, time::Duration};

use lab::load::events;

use super::{
    say,
    soak::{progress, undisturbed},
};
use crate::{args::BenchCommand, failure::Failure};

/// Without a pace, and with the default one.
const PACES: [u64; 2] = [0, 100];

pub(crate) async fn run(command: BenchCommand) -> Result<ExitCode, Failure> {
    let BenchCommand::Events { clients, seconds, paces, folder } = command;
    let settings = events::Settings {
        binary: std::env::current_exe()?,
        folder: folder.unwrap_or_else(std::env::temp_dir),
        clients: usize::from(clients),
        lasts: Duration::from_secs(seconds.into()),
        paces: if paces.is_empty() { PACES.to_vec() } else { paces },
        sizes: vec![1, 10, 100],
    };
    let report = undisturbed(events::run(&settings, Arc::new(progress))).await?;
    say("")?;
    say(&report)?;
    Ok(ExitCode::SUCCESS)
}
