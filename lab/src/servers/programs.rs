//! Programs that must be on this machine.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use crate::failure::LabError;

const POSTGRES: &str = "Install PostgreSQL 13 or later (Debian: apt-get install postgresql).";
const REDIS: &str = "Install Redis 7 or later (Debian: apt-get install redis-server).";
const PYTHON: &str = "Install Python 3.9 or later (Debian: apt-get install python3).";

fn path() -> Vec<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect()
}

fn find(folders: Vec<PathBuf>, program: &str, install: &'static str) -> Result<PathBuf, LabError> {
    let found = folders.into_iter().map(|folder| folder.join(program)).find(|program| program.is_file());
    found.ok_or_else(|| LabError::ProgramMissing { program: program.to_owned(), install })
}

/// A program of PostgreSQL: where Debian keeps it, or in PATH.
///
/// # Errors
/// With what to install.
pub fn of_postgres(program: &str) -> Result<PathBuf, LabError> {
    let mut folders: Vec<PathBuf> = Vec::new();
    if let Ok(versions) = fs::read_dir("/usr/lib/postgresql") {
        let mut versions: Vec<PathBuf> = versions.filter_map(|entry| Some(entry.ok()?.path())).collect();
        versions.sort();
        folders.extend(versions.into_iter().rev().map(|version| version.join("bin")));
    }
    folders.extend(path());
    find(folders, program, POSTGRES)
}

/// `redis-server`.
///
/// # Errors
/// With what to install.
pub fn redis_server() -> Result<PathBuf, LabError> {
    find(path(), "redis-server", REDIS)
}

/// The Python interpreter itself, found through whatever `python3` is in PATH: a wrapper needs an environment, hooks have none.
///
/// # Errors
/// With what to install.
pub fn python() -> Result<String, LabError> {
    let missing = || LabError::ProgramMissing { program: "python3".to_owned(), install: PYTHON };
    let asked = Command::new("python3")
        .args(["-c", "import sys; print(sys.executable)"])
        .stdin(Stdio::null())
        .output()
        .map_err(|_| missing())?;
    let found = String::from_utf8_lossy(&asked.stdout).trim().to_owned();
    if found.is_empty() { Err(missing()) } else { Ok(found) }
}
