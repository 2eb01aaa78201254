//! A registry of images: Debian's `docker-registry`, with a login, with TLS or without.

use std::{fs, process::Command};

use serde_json::Value;

use crate::{
    PATIENCE,
    guard::{Guarded, Program, free_port},
    kin::Certificates,
    scratch::Scratch,
    until,
};

/// Who may push and pull.
pub const USER: &str = "pusher";
/// With which password.
pub const PASSWORD: &str = "a-password-for-tests";
/// The same, hashed as the registry wants it.
const HASHED: &str = "$2y$05$abcdefghijklmnopqrstuuBLXRD1do2sv2yeOR4KP05rNE/mCs5mW";

/// A running registry.
#[derive(Debug)]
pub struct Registry {
    port: u16,
    server: Guarded,
    scratch: Scratch,
    certificates: Option<Certificates>,
}

impl Registry {
    /// Starts one.
    ///
    /// # Panics
    /// With what to install when it is missing, and with its log when it does not start.
    pub async fn launch(tls: bool) -> Self {
        let scratch = Scratch::new("registry");
        let certificates = tls.then(Certificates::new);
        fs::write(scratch.at("users"), format!("{USER}:{HASHED}\n")).unwrap();
        loop {
            let port = free_port();
            let config = scratch.at(&format!("config-{port}.json"));
            fs::write(&config, settings(port, &scratch, certificates.as_ref()).to_string()).unwrap();
            let log = scratch.path().join(format!("log-{port}"));
            let server = Program::new(["docker-registry", "serve", config.as_str()], &log).start();
            let up = until("the registry", PATIENCE, || async {
                if server.exit_code().is_some() {
                    return Some(false);
                }
                tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok().map(|_| true)
            })
            .await;
            if up {
                return Self { port, server, scratch, certificates };
            }
            let said = server.log_tail();
            assert!(said.contains("in use"), "docker-registry (Debian: apt-get install docker-registry) said: {said}");
        }
    }

    /// Its host and port.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The authority of its certificate.
    pub fn authority(&self) -> Option<Vec<u8>> {
        self.certificates.as_ref().map(|certificates| certificates.read("ca.pem"))
    }

    /// The requests that it has answered so far: method and path, in the order of their answers.
    pub fn requests(&self) -> Vec<String> {
        let log = self.server.log();
        let line = |line: &str| {
            let (_, rest) = line.split_once("] \"")?;
            let mut words = rest.split(' ');
            Some(format!("{} {}", words.next()?, words.next()?))
        };
        log.lines().filter_map(line).collect()
    }

    /// Copies an image between an OCI layout in a folder and here: another program's judgement of both.
    ///
    /// # Panics
    /// When it can't be done.
    pub fn skopeo(&self, from: &str, to: &str) {
        let login = format!("{USER}:{PASSWORD}");
        let mut command = Command::new("skopeo");
        command.args(["--insecure-policy", "copy", "--preserve-digests"]);
        for side in ["src", "dest"] {
            let ours = if side == "src" { from } else { to };
            if ours.starts_with("docker:") {
                command.arg(format!("--{side}-creds={login}")).arg(format!("--{side}-tls-verify=false"));
            }
        }
        run(command.args([from, to]).env("XDG_RUNTIME_DIR", self.scratch.path()));
    }
}

/// Runs a program to its end.
///
/// # Panics
/// With what it said, when it failed; with its name, when it is not there.
pub fn run(command: &mut Command) -> String {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().unwrap_or_else(|error| panic!("{name} (Debian: apt-get install {name}): {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn settings(port: u16, scratch: &Scratch, certificates: Option<&Certificates>) -> Value {
    let tls = certificates.map(|certificates| {
        serde_json::json!({"certificate": certificates.at("127.0.0.1.pem"), "key": certificates.at("127.0.0.1.key")})
    });
    let mut http = serde_json::json!({"addr": format!("127.0.0.1:{port}"), "secret": "of-tests"});
    if let Some(tls) = tls {
        http["tls"] = tls;
    }
    // JSON is YAML.
    serde_json::json!({
        "version": 0.1,
        "log": {"level": "info", "accesslog": {"disabled": false}},
        "storage": {"filesystem": {"rootdirectory": scratch.at("store")}, "delete": {"enabled": true}},
        "http": http,
        "auth": {"htpasswd": {"realm": "tests", "path": scratch.at("users")}},
    })
}
