//! `slipway completions`: what a shell offers after `slipway`.

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::{args::Cli, commands::say, failure::Failure};

pub(super) fn run(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "slipway", &mut script);
    say(String::from_utf8_lossy(&script).trim_end())
}
