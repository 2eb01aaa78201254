//! `slipway soak backlog` and `slipway soak flood`: what a long line of updates costs, and what a flood of requests does. `slipway bench events`: what
//! the Event Server does.
//!
//! * [`backlog`], [`flood`], [`events`]: the experiments, each with its table.
//! * `ground`: the servers and processes. `line`: many rows at once. `ends`: whether what was accepted has ended. `memory`: what processes use.

pub mod backlog;
mod ends;
pub mod events;
pub mod flood;
mod ground;
mod line;
mod memory;

use std::fmt;

/// Rows of a table: what it is, and its values below one another.
fn table(f: &mut fmt::Formatter<'_>, rows: &[(&str, String)]) -> fmt::Result {
    for (name, value) in rows {
        for (number, line) in value.lines().enumerate() {
            writeln!(f, "{:<46} {line}", if number == 0 { name } else { "" })?;
        }
    }
    Ok(())
}

/// The last lines of a table.
fn verdict(f: &mut fmt::Formatter<'_>, broken: &[String]) -> fmt::Result {
    if broken.is_empty() {
        return f.write_str("Every promise was kept.");
    }
    writeln!(f, "{} promises were broken:", broken.len())?;
    broken.iter().try_for_each(|what| writeln!(f, "  {what}"))
}
