//! The vendors' own models, asked about what was really sent.

use std::{
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
    sync::LazyLock,
};

use sandbox::clouds::CloudCall;

/// The vendors' own clients, for their models.
const PACKAGES: [&str; 2] = ["azure-mgmt-machinelearningservices==2.0.0b2", "google-api-python-client==2.202.0"];

/// A Python with them, made once and kept with the build. `SLIPWAY_JUDGES_PYTHON` names another one.
static PYTHON: LazyLock<PathBuf> = LazyLock::new(|| {
    if let Some(python) = std::env::var_os("SLIPWAY_JUDGES_PYTHON") {
        return python.into();
    }
    let folder = PathBuf::from(concat!(env!("CARGO_TARGET_TMPDIR"), "/judges-1"));
    let (python, done) = (folder.join("bin/python"), folder.join("done"));
    if !done.exists() {
        ran(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder));
        ran(Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
            .args(PACKAGES));
        std::fs::write(done, "").unwrap();
    }
    python
});

fn ran(command: &mut Command) {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} (Debian: apt-get install python3-venv): {said}");
}

/// Asks `judges/{script}`, which answers a line for each problem.
///
/// # Panics
/// With what to install where Python lacks something; with the problems.
pub(crate) fn assert_right(script: &str, calls: &[CloudCall]) {
    let here = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/judges"));
    let mut command = Command::new(&*PYTHON);
    command.arg(here.join(script)).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    for call in calls {
        writeln!(stdin, "{}", call.to_json()).unwrap();
    }
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let (said, wrong) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{wrong}");
    assert!(said.trim().is_empty(), "{said}");
}
