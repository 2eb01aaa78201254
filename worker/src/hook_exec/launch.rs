//! Starts the interpreter of a hook.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::Pid;

use super::os_user::{self, OsUser};
use super::protocol::{Refusal, Spec};

/// Reads the runner from standard input, length first, and runs it. So neither the runner nor what it is given stands in the process list.
const BOOT: &str = "import os
def take(n):
    data = b''
    while len(data) < n:
        part = os.read(0, n - len(data))
        if not part:
            raise SystemExit(70)
        data += part
    return data
exec(compile(take(int.from_bytes(take(4), 'big')), '<slipway hook runner>', 'exec'))";

/// A refusal with its sentence for operators.
pub(super) type Refused = (Refusal, String);

/// Makes the scratch directory and starts the interpreter with `stdin` as its standard input, in a process group of its own.
pub(super) fn launch(spec: &Spec, stdin: UnixStream) -> Result<Pid, Refused> {
    let user = spec.os_user.as_deref().map(os_user::resolve).transpose().map_err(|e| (Refusal::User, e))?.flatten();
    check_interpreter(&spec.python)?;
    make_scratch(&spec.scratch, user).map_err(|e| (Refusal::System, format!("no scratch directory: {e}")))?;

    let mut command = Command::new(&spec.python);
    // Isolated (neither the working directory nor the user's site packages), no byte code files, unbuffered, UTF-8.
    command.args(["-I", "-B", "-u", "-X", "utf8", "-c", BOOT, "slipway-hook", &spec.label]);
    command.env_clear().envs(environment(spec)).current_dir(&spec.scratch);
    command.stdin(Stdio::from(OwnedFd::from(stdin))).process_group(0);
    if let Some(user) = user {
        // With a uid given, the supplementary groups are dropped, too.
        command.uid(user.uid).gid(user.gid);
    }
    // The handle is dropped unwaited: the supervisor reaps whatever child ends, and knows this one by its pid.
    let child = command.spawn().map_err(|e| explain(spec, user, &e))?;
    i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or((Refusal::System, "a pid out of range".to_owned()))
}

fn check_interpreter(python: &Path) -> Result<(), Refused> {
    match std::fs::metadata(python) {
        Ok(found) if found.is_file() => Ok(()),
        Ok(_) => Err((Refusal::Interpreter, format!("{} is no file", python.display()))),
        Err(e) => Err((Refusal::Interpreter, format!("{}: {e}", python.display()))),
    }
}

fn make_scratch(path: &Path, user: Option<OsUser>) -> io::Result<()> {
    std::fs::DirBuilder::new().mode(0o700).create(path)?;
    match user {
        Some(user) => chown(path, Some(user.uid), Some(user.gid)),
        None => Ok(()),
    }
}

/// All that a hook's environment holds.
fn environment(spec: &Spec) -> BTreeMap<String, String> {
    let mut path = "/usr/local/bin:/usr/bin:/bin".to_owned();
    if let Some(bin) = spec.python.parent() {
        path = format!("{}:{path}", bin.display());
    }
    let scratch = spec.scratch.display().to_string();
    let fixed = [
        ("PATH", path),
        ("HOME", scratch.clone()),
        ("TMPDIR", scratch),
        ("LANG", "C.UTF-8".to_owned()),
        ("PYTHONUNBUFFERED", "1".to_owned()),
    ];
    let mut all = spec.environment.clone();
    all.extend(fixed.map(|(name, value)| (name.to_owned(), value)));
    all
}

fn explain(spec: &Spec, user: Option<OsUser>, error: &io::Error) -> Refused {
    let python = spec.python.display();
    match (error.kind(), user) {
        (io::ErrorKind::PermissionDenied, Some(_)) => {
            let name = spec.os_user.as_deref().unwrap_or_default();
            (Refusal::User, format!("OS user {name:?} can't run {python}, or can't enter {}", spec.scratch.display()))
        }
        (io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound, _) => {
            (Refusal::Interpreter, format!("{python}: {error}"))
        }
        // ENOEXEC: neither a program nor a script.
        _ if error.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error()) => {
            (Refusal::Interpreter, format!("{python} is no program"))
        }
        _ => (Refusal::System, format!("{python} can't be started: {error}")),
    }
}
