//! The `slipway` binary, and the interpreter for its hooks.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
    sync::LazyLock,
};

use serde_json::Value;

/// The binary: TEST_SLIPWAY_BIN if that is set, else built once by cargo.
///
/// # Panics
/// When it does not build.
pub fn binary() -> PathBuf {
    static BINARY: LazyLock<PathBuf> = LazyLock::new(find);
    BINARY.clone()
}

fn find() -> PathBuf {
    if let Some(given) = std::env::var_os("TEST_SLIPWAY_BIN") {
        let given = PathBuf::from(given);
        assert!(given.is_file(), "TEST_SLIPWAY_BIN names no file: {}", given.display());
        return given;
    }
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    let build =
        ["build", "--quiet", "-p", "slipway", "--bin", "slipway", "--message-format", "json", "--manifest-path"];
    let output = cargo().args(build).arg(manifest).stderr(Stdio::inherit()).output().expect("cargo");
    assert!(output.status.success(), "`cargo build -p slipway` failed");
    let messages = String::from_utf8_lossy(&output.stdout);
    let built = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let built = built.filter_map(|message| Some(PathBuf::from(message.get("executable")?.as_str()?))).next_back();
    built.expect("cargo says where the binary is")
}

/// Cargo as it was called from outside: what it tells tests of their package would make it build others anew, whose build scripts look at that.
pub fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let told = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(told) {
            cargo.env_remove(name);
        }
    }
    cargo
}

/// The Python interpreter itself, found through whatever `python3` is in PATH: a wrapper needs an environment, hooks have none.
///
/// # Panics
/// With what to install when there is none.
pub fn python() -> String {
    static PYTHON: LazyLock<String> =
        LazyLock::new(|| lab::servers::programs::python().unwrap_or_else(|error| panic!("{error}")));
    PYTHON.clone()
}
