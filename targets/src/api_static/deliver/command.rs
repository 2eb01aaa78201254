//! A copy command that the worker's operator declared: a program and its arguments. No shell reads them; `{file}`, `{host}` and `{target}` are replaced within each
//! argument, and can't become an option of their own, for a file and a target begin with `/`, and a host with a letter or digit.
//!
//! A command is known by its end alone, so a package that the node has not imported is copied again. A command called `<name>.remove`, if there is one, removes
//! what was copied; it is given `{host}` and `{target}`. A supervisor ends a command whose worker was killed ([`crate::copy_exec`]).

use std::{path::Path, process::Stdio, time::Duration};

use engine::failure::{Failure, StepError};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::{Child, Command},
    time::timeout,
};
use url::{Host, Url};

use super::{failed, problem, problem_of, undeclared};
use crate::{codes, service_package::ServicePackage, target::Problem, tools::HostSettings};

/// Of what a command prints, so many bytes are kept, for the detail of a failure.
const KEPT: usize = 4 * 1024;
/// What a command gets of this process's environment: not its settings, which may hold secrets.
const ENVIRONMENT: [&str; 6] = ["PATH", "HOME", "USER", "LANG", "TZ", "SSH_AUTH_SOCK"];

/// A copy command to one node.
pub(in crate::api_static) struct Copying {
    name: String,
    supervisor: Vec<String>,
    words: Result<Vec<String>, Failure>,
    remover: Option<Vec<String>>,
    host: String,
    there: String,
    patience: Duration,
}

impl Copying {
    pub(super) fn new(
        settings: &HostSettings,
        name: String,
        there: String,
        node_url: &str,
        patience: Duration,
    ) -> Result<Self, Failure> {
        let declared = settings.copy_commands.get(&name).filter(|words| !words.is_empty()).cloned();
        let words = declared.ok_or_else(|| undeclared("copy command", &name, &settings.copy_commands));
        let remover = settings.copy_commands.get(&format!("{name}.remove")).filter(|words| !words.is_empty()).cloned();
        let supervisor = settings.copy_supervisor.clone();
        Ok(Self { name, supervisor, words, remover, host: host(node_url)?, there, patience })
    }

    pub(super) fn problems(&self) -> Vec<Problem> {
        match &self.words {
            Err(failure) => vec![problem(failure.clone())],
            Ok(words) => is_runnable(&words[0])
                .err()
                .map(|why| {
                    problem_of(
                        &codes::DELIVERY_FAILED,
                        format!("The copy command \"{}\" can't be run: {why}", self.name),
                    )
                })
                .into_iter()
                .collect(),
        }
    }

    pub(super) async fn put(&self, name: &str, package: &ServicePackage, scratch: &Path) -> Result<String, StepError> {
        let words = self.words.clone()?;
        let target = format!("{}/{name}", self.there);
        let file = package.file(scratch).await?;
        let path = std::path::absolute(file.path())
            .map_err(|error| self.failed("could not be given the package", error.to_string()))?;
        self.run(&words, &path.to_string_lossy(), &target).await?;
        Ok(target)
    }

    /// What was copied before can't be listed: with a remover, what is to be kept is known, and nothing else.
    pub(super) async fn remove(&self, prefix: &str, keep: &[String]) -> Result<Option<String>, StepError> {
        let left = || {
            let file = format!("{}/{prefix}*.zip", self.there);
            format!(
                "Files that were copied to the node are left there, as no copy command \"{}.remove\" is declared: {file}",
                self.name
            )
        };
        // While a deployment lives, the files of its earlier versions stay, too.
        if !keep.is_empty() {
            return Ok(None);
        }
        let Some(words) = &self.remover else { return Ok(Some(left())) };
        self.run(words, "", &format!("{}/{prefix}", self.there)).await?;
        Ok(None)
    }

    async fn run(&self, words: &[String], file: &str, target: &str) -> Result<(), StepError> {
        let fill = |word: &String| filled(word, &[("{file}", file), ("{host}", &self.host), ("{target}", target)]);
        // What the operator wrote is the program itself: nothing in it is replaced.
        let program = std::iter::once(words[0].clone()).chain(words[1..].iter().map(fill));
        let mut all = self.supervisor.iter().cloned().chain(program);
        let mut command = Command::new(all.next().unwrap_or_default());
        command.args(all).env_clear().current_dir("/").process_group(0);
        command.envs(ENVIRONMENT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        // The supervisor hears by its input that this process is gone.
        command.stdin(if self.supervisor.is_empty() { Stdio::null() } else { Stdio::piped() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let started = command.spawn().map_err(|error| self.failed("could not be started", error.to_string()))?;
        let mut group = Group { leader: started.id(), child: started };
        // Waiting for a child closes its input.
        let _held = group.child.stdin.take();
        let (out, err) = (group.child.stdout.take(), group.child.stderr.take());
        let ended = async {
            let (out, err, status) = tokio::join!(kept(out), kept(err), group.child.wait());
            (status, format!("{out}{err}"))
        };
        let Ok((status, said)) = timeout(self.patience, ended).await else {
            let message = format!(
                "The copy command \"{}\" did not end within {} s, and was ended. Look at the way to the node, or raise the infrastructure's time limit for calls.",
                self.name,
                self.patience.as_secs()
            );
            return Err(Failure::new(codes::DELIVERY_TIMED_OUT, message).retryable(None));
        };
        // Reaped: its number may be another's by now.
        group.leader = None;
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(self.failed(&format!("failed ({status})"), said)),
            Err(error) => Err(self.failed("could not be waited for", error.to_string())),
        }
    }

    fn failed(&self, what: &str, detail: String) -> StepError {
        let message = format!("The copy command \"{}\" {what}. An administrator sees what it said.", self.name);
        failed(message, detail).retryable(None)
    }
}

/// One pass over the word: what a value holds is never replaced again.
fn filled(word: &str, values: &[(&str, &str)]) -> String {
    let (mut out, mut rest) = (String::new(), word);
    while let Some((at, (name, value))) =
        values.iter().filter_map(|one| Some((rest.find(one.0)?, *one))).min_by_key(|(at, _)| *at)
    {
        out.push_str(&rest[..at]);
        out.push_str(value);
        rest = &rest[at + name.len()..];
    }
    out.push_str(rest);
    out
}

/// The host of a node's URL, fit for a command line.
fn host(node_url: &str) -> Result<String, Failure> {
    let host = Url::parse(node_url.trim()).ok().and_then(|url| match url.host()? {
        Host::Domain(name) => Some(name.to_owned()),
        Host::Ipv4(address) => Some(address.to_string()),
        Host::Ipv6(address) => Some(address.to_string()),
    });
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    let fits = |host: &String| !host.is_empty() && !host.starts_with(['-', '.']) && host.chars().all(plain);
    host.filter(fits).ok_or_else(|| {
        Failure::new(codes::SETTING_INVALID, "The host of the node's URL can't be given to a copy command: letters, digits, dots and hyphens are wanted.")
    })
}

/// Whether a program is there; without a slash it is looked for where the system does.
fn is_runnable(program: &str) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt as _;
    let runs = |path: &Path| {
        std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    let found = if program.contains('/') {
        runs(Path::new(program))
    } else {
        std::env::var_os("PATH")
            .is_some_and(|path| std::env::split_paths(&path).any(|folder| runs(&folder.join(program))))
    };
    if found { Ok(()) } else { Err("its program is not on this worker.".to_owned()) }
}

/// The first bytes; the rest is read and forgotten, so that nobody blocks on a full pipe.
async fn kept(from: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut from) = from else { return String::new() };
    let (mut kept, mut piece) = (Vec::new(), [0; 1024]);
    while let Ok(read @ 1..) = from.read(&mut piece).await {
        let room = KEPT.saturating_sub(kept.len()).min(read);
        kept.extend_from_slice(&piece[..room]);
    }
    String::from_utf8_lossy(&kept).chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A process group that ends with this value, also when the future that waits for it is dropped.
struct Group {
    child: Child,
    /// None once it was reaped: its number may be another's by then.
    leader: Option<u32>,
}

impl Drop for Group {
    fn drop(&mut self) {
        // What the command left running in its group goes, too.
        let leader = self.leader.and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        if let Some(leader) = leader {
            match kill_process_group(leader, Signal::KILL) {
                Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                Err(error) => tracing::warn!(%error, "a copy command could not be ended"),
            }
        }
        // The runtime reaps it.
        let _ = self.child.start_kill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_filled_once() {
        let fill = |word| filled(word, &[("{file}", "/a/{host}"), ("{host}", "h"), ("{target}", "/t")]);
        assert_eq!(fill("{host}:{target}"), "h:/t");
        assert_eq!(fill("{file}"), "/a/{host}");
        assert_eq!(fill("--x={target}{other}"), "--x=/t{other}");
    }

    #[test]
    fn a_host_is_no_option() {
        assert_eq!(host("http://api-1.example.com:12000").unwrap(), "api-1.example.com");
        assert_eq!(host("http://[::1]:1/").unwrap(), "::1");
        for bad in ["http://-oProxyCommand=x/", "http://a$b/", "nothing"] {
            assert_eq!(host(bad).unwrap_err().code, codes::SETTING_INVALID, "{bad}");
        }
    }
}
