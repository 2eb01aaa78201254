//! Redis servers that belong together: a master with its replica and sentinels, a cluster, servers that speak TLS.

use std::{fs, io, path::Path, process::Command, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustix::process::Signal;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

use crate::{
    guard::{Guarded, Program, free_port},
    scratch::Scratch,
    until::{PATIENCE, until, until_true},
};

/// One server with arguments of its own, running or stopped; always on the same port.
#[derive(Debug)]
pub struct Kin {
    /// Where it is, at 127.0.0.1.
    pub port: u16,
    arguments: Vec<String>,
    process: Option<Guarded>,
    scratch: Scratch,
}

impl Kin {
    /// Starts one; `PORT` in an argument is its port. It listens there without TLS unless the arguments say otherwise.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn new<S: AsRef<str>>(arguments: impl IntoIterator<Item = S>) -> Self {
        let given: Vec<String> = arguments.into_iter().map(|argument| argument.as_ref().to_owned()).collect();
        loop {
            let (port, scratch) = (free_port(), Scratch::new("kin"));
            let mut arguments = vec!["redis-server".to_owned()];
            arguments.extend(given.iter().map(|argument| argument.replace("PORT", &port.to_string())));
            if !given.iter().any(|argument| argument == "--tls-port") {
                arguments.extend(["--port".to_owned(), port.to_string()]);
            }
            arguments.extend(["--bind", "127.0.0.1", "--save", "", "--dir", &scratch.at("")].map(str::to_owned));
            let mut kin = Self { port, arguments, process: None, scratch };
            if kin.start().await {
                return kin;
            }
        }
    }

    /// A sentinel of the master `main` at this port, which takes it for dead after three seconds. `lines` are more of its configuration.
    ///
    /// # Panics
    /// As [`Kin::new`].
    pub async fn sentinel(master: u16, quorum: usize, lines: &str) -> Self {
        let folder = Scratch::new("sentinel");
        let configuration = folder.at("sentinel.conf");
        let port = free_port();
        let text = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor main 127.0.0.1 {master} {quorum}\n\
             sentinel down-after-milliseconds main 3000\nsentinel failover-timeout main 6000\n{lines}\n",
            folder.at("")
        );
        fs::write(&configuration, text.replace("PORT", &port.to_string())).unwrap();
        let arguments = ["redis-server", &configuration, "--sentinel"].map(str::to_owned).to_vec();
        let mut kin = Self { port, arguments, process: None, scratch: folder };
        assert!(kin.start().await, "a sentinel found its port taken");
        kin
    }

    /// Starts it again. False when its port is taken.
    ///
    /// # Panics
    /// When it fails for another reason.
    pub async fn start(&mut self) -> bool {
        let log = self.scratch.path().join("log");
        let process = Program::new(self.arguments.clone(), &log).start();
        let up = until("Redis", PATIENCE, || async {
            if process.exit_code().is_some() {
                assert!(process.log().contains("in use"), "Redis did not start: {}", process.log_tail());
                return Some(false);
            }
            TcpStream::connect(("127.0.0.1", self.port)).await.is_ok().then_some(true)
        })
        .await;
        self.process = up.then_some(process);
        up
    }

    /// SIGKILL.
    pub async fn stop(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill().await;
        }
    }

    /// SIGSTOP: its port still takes connections, and nobody answers.
    ///
    /// # Panics
    /// When it does not run.
    pub fn pause(&self) {
        self.process.as_ref().expect("a server that runs").signal(Signal::STOP);
    }

    /// SIGCONT.
    ///
    /// # Panics
    /// When it does not run.
    pub fn wake(&self) {
        self.process.as_ref().expect("a server that runs").signal(Signal::CONT);
    }

    /// Its answer to a command in one line, as it comes, without TLS.
    ///
    /// # Errors
    /// When it is away.
    pub async fn ask(&self, line: &str) -> io::Result<String> {
        let asked = async {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
            stream.write_all(format!("{line}\r\n").as_bytes()).await?;
            let mut answer = String::new();
            let mut stream = BufReader::new(stream);
            let mut lines = 1;
            while lines > 0 {
                let begun = answer.len();
                stream.read_line(&mut answer).await?;
                lines -= 1;
                // An array says how many follow, a text that it is on the next line, or the next ones.
                match answer[begun..].trim_end().split_at_checked(1) {
                    Some(("*", many)) => lines += many.parse::<usize>().unwrap_or(0),
                    Some(("$", bytes)) => {
                        let mut text = vec![0; bytes.parse::<usize>().map_or(0, |bytes| bytes + 2)];
                        stream.read_exact(&mut text).await?;
                        answer.push_str(&String::from_utf8_lossy(&text));
                    }
                    Some(_) => {}
                    None => return Err(io::ErrorKind::UnexpectedEof.into()),
                }
            }
            Ok(answer.trim_end().to_owned())
        };
        tokio::time::timeout(Duration::from_secs(1), asked)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Its answer to a command, over TLS.
    ///
    /// # Panics
    /// When there is none.
    pub fn tool(&self, certificates: &Certificates, command: &[&str]) -> String {
        let port = self.port.to_string();
        let ca = certificates.at("ca.pem");
        let output = Command::new("redis-cli").args(["--tls", "--cacert", &ca, "-p", &port]).args(command).output();
        let output = output.expect("`redis-cli`");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Waits until the answer to a command holds `text`.
    ///
    /// # Panics
    /// When it does not in time.
    pub async fn until_says(&self, command: &str, text: &str) {
        until_true(&format!("\"{text}\" in {command} at {}", self.port), PATIENCE, || async {
            self.ask(command).await.is_ok_and(|answer| answer.contains(text))
        })
        .await;
    }
}

/// Makes a cluster of these servers, each a part of the slots; each of `replicas` follows the master of this number.
///
/// # Panics
/// When they do not find together.
pub async fn cluster(masters: &[&Kin], replicas: &[(&Kin, usize)]) {
    let first = masters[0];
    let share = 16_384_usize.div_ceil(masters.len());
    for (number, node) in masters.iter().enumerate() {
        let (from, to) = (number * share, ((number + 1) * share).min(16_384) - 1);
        assert_eq!(node.ask(&format!("CLUSTER ADDSLOTSRANGE {from} {to}")).await.unwrap(), "+OK");
        assert_eq!(node.ask(&format!("CLUSTER SET-CONFIG-EPOCH {}", number + 1)).await.unwrap(), "+OK");
    }
    let all: Vec<&Kin> = masters.iter().copied().chain(replicas.iter().map(|(node, _)| *node)).collect();
    for node in &all[1..] {
        node.ask(&format!("CLUSTER MEET 127.0.0.1 {} {}", first.port, bus(first).await)).await.unwrap();
    }
    for node in &all {
        node.until_says("CLUSTER INFO", &format!("cluster_known_nodes:{}", all.len())).await;
        node.until_says("CLUSTER INFO", "cluster_state:ok").await;
    }
    for (node, master) in replicas {
        let id = masters[*master].ask("CLUSTER MYID").await.unwrap();
        let id = id.lines().last().unwrap().to_owned();
        until_true("a replica", PATIENCE, || async {
            node.ask(&format!("CLUSTER REPLICATE {id}")).await.is_ok_and(|answer| answer == "+OK")
        })
        .await;
        node.until_says("INFO replication", "master_link_status:up").await;
        first.until_says("CLUSTER SLOTS", &format!(":{}\r\n", node.port)).await;
    }
}

async fn bus(node: &Kin) -> u16 {
    let told = node.ask("CONFIG GET cluster-port").await.unwrap();
    told.lines().last().unwrap().parse().unwrap()
}

/// Arguments of a node of a cluster, with a bus port of its own.
pub fn node_arguments() -> Vec<String> {
    let bus = free_port().to_string();
    ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-port", &bus].map(str::to_owned).to_vec()
}

fn pem(what: &str, der: &[u8]) -> String {
    format!("-----BEGIN {what}-----\n{}\n-----END {what}-----\n", BASE64_STANDARD.encode(der))
}

/// An authority with certificates for a server at 127.0.0.1 and for a client, as PEM files.
#[derive(Debug)]
pub struct Certificates {
    folder: Scratch,
}

impl Certificates {
    /// Makes them.
    ///
    /// # Panics
    /// When that fails.
    pub fn new() -> Self {
        let folder = Scratch::new("certificates");
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        // An authority of the same name as what it signs would seem to sign itself.
        authority.distinguished_name.push(DnType::CommonName, "an authority");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        fs::write(folder.at("ca.pem"), pem("CERTIFICATE", authority.der())).unwrap();
        for name in ["127.0.0.1", "client"] {
            let key = KeyPair::generate().unwrap();
            let certificate =
                CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
            fs::write(folder.at(&format!("{name}.pem")), pem("CERTIFICATE", certificate.der())).unwrap();
            fs::write(folder.at(&format!("{name}.key")), pem("PRIVATE KEY", &key.serialize_der())).unwrap();
        }
        Self { folder }
    }

    /// A file: `ca.pem`, `127.0.0.1.pem`, `127.0.0.1.key`, `client.pem`, `client.key`.
    pub fn at(&self, name: &str) -> String {
        self.folder.at(name)
    }

    /// What a file holds.
    ///
    /// # Panics
    /// When there is no such file.
    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(Path::new(&self.at(name))).unwrap()
    }

    /// Arguments of a server that speaks TLS alone, and asks clients for a certificate if `clients`.
    pub fn arguments(&self, clients: bool) -> Vec<String> {
        let (ca, pem, key) = (self.at("ca.pem"), self.at("127.0.0.1.pem"), self.at("127.0.0.1.key"));
        let clients = if clients { "yes" } else { "no" };
        let arguments = [
            ["--port", "0"],
            ["--tls-port", "PORT"],
            ["--tls-ca-cert-file", &ca],
            ["--tls-cert-file", &pem],
            ["--tls-key-file", &key],
            ["--tls-auth-clients", clients],
        ];
        arguments.concat().into_iter().map(str::to_owned).collect()
    }
}

impl Default for Certificates {
    fn default() -> Self {
        Self::new()
    }
}
