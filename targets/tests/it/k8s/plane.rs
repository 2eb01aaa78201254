//! A real control plane, on this machine: etcd, the API server with RBAC, and the controller manager, each on ports of its own. It has no nodes: a loop of the tests
//! does what a kubelet would.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};

use super::hand::Hand;

/// Whoever may do anything.
pub(crate) const ADMIN: &str = "adm1n-t0ken-of-the-plane";
/// Whoever has the Role of the docs in every namespace of a test.
pub(crate) const SLIPWAY: &str = "slipw4y-t0ken-of-the-plane";

/// Its processes end with it.
pub(crate) struct Plane {
    pub(crate) url: String,
    /// The certificate of whoever signed the API server's, PEM.
    pub(crate) authority: String,
    processes: Vec<Child>,
    _folder: tempfile::TempDir,
}

impl Drop for Plane {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// The folder with `etcd`, `kube-apiserver` and `kube-controller-manager`, if the environment names one.
pub(crate) fn programs() -> Option<PathBuf> {
    let folder = PathBuf::from(std::env::var_os("CONTROL_PLANE")?);
    let there = ["etcd", "kube-apiserver", "kube-controller-manager"].iter().all(|name| folder.join(name).is_file());
    assert!(there, "CONTROL_PLANE names {}, which lacks a program", folder.display());
    Some(folder)
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

struct Signed {
    authority: String,
    certificate: String,
    key: String,
}

fn pem(what: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {what}-----\n{}\n-----END {what}-----\n", lines.join("\n"))
}

fn certificates() -> Signed {
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let signed = authority.self_signed(&authority_key).unwrap();
    let issuer = Issuer::from_params(&authority, &authority_key);
    let mut server = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    server.subject_alt_names.push(SanType::IpAddress("127.0.0.1".parse().unwrap()));
    let key = KeyPair::generate().unwrap();
    let certificate = server.signed_by(&key, &issuer).unwrap();
    Signed {
        authority: pem("CERTIFICATE", signed.der()),
        certificate: pem("CERTIFICATE", certificate.der()),
        key: pem("PRIVATE KEY", &key.serialize_der()),
    }
}

fn start(program: PathBuf, log: &Path, arguments: &[String]) -> Child {
    let log = fs::File::create(log).unwrap();
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    command.spawn().unwrap()
}

impl Plane {
    /// Starts all of it, and waits until it is ready.
    pub(crate) async fn start(programs: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let signed = certificates();
        fs::write(at("ca.pem"), &signed.authority).unwrap();
        fs::write(at("server.pem"), &signed.certificate).unwrap();
        fs::write(at("server.key"), &signed.key).unwrap();
        let tokens = format!("{ADMIN},admin,1,system:masters\n{SLIPWAY},slipway-tests,2\n");
        fs::write(at("tokens.csv"), tokens).unwrap();

        let (etcd, peer, api) = (free_port(), free_port(), free_port());
        let etcd_url = format!("http://127.0.0.1:{etcd}");
        let mut processes = vec![start(
            programs.join("etcd"),
            &folder.path().join("etcd.log"),
            &[
                format!("--data-dir={}", at("etcd")),
                format!("--listen-client-urls={etcd_url}"),
                format!("--advertise-client-urls={etcd_url}"),
                format!("--listen-peer-urls=http://127.0.0.1:{peer}"),
                format!("--initial-advertise-peer-urls=http://127.0.0.1:{peer}"),
                format!("--initial-cluster=default=http://127.0.0.1:{peer}"),
            ],
        )];
        processes.push(start(
            programs.join("kube-apiserver"),
            &folder.path().join("api.log"),
            &[
                format!("--etcd-servers={etcd_url}"),
                format!("--secure-port={api}"),
                "--bind-address=127.0.0.1".to_owned(),
                "--advertise-address=127.0.0.1".to_owned(),
                format!("--tls-cert-file={}", at("server.pem")),
                format!("--tls-private-key-file={}", at("server.key")),
                format!("--token-auth-file={}", at("tokens.csv")),
                "--authorization-mode=RBAC".to_owned(),
                "--service-cluster-ip-range=10.99.0.0/24".to_owned(),
                "--service-account-issuer=https://127.0.0.1".to_owned(),
                // The server's own pair signs its accounts' tokens, too.
                format!("--service-account-key-file={}", at("server.pem")),
                format!("--service-account-signing-key-file={}", at("server.key")),
                format!("--cert-dir={}", at("certs")),
                "--endpoint-reconciler-type=none".to_owned(),
            ],
        ));
        let url = format!("https://127.0.0.1:{api}");
        let kubeconfig = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\nclusters: [{{name: c, cluster: {{server: '{url}', certificate-authority: {}}}}}]\nusers: [{{name: u, user: {{token: {ADMIN}}}}}]\n",
            at("ca.pem")
        );
        fs::write(at("kubeconfig"), kubeconfig).unwrap();
        let mut plane = Self { url, authority: signed.authority, processes, _folder: folder };
        plane.ready().await;
        let folder = plane._folder.path();
        let manager = start(
            programs.join("kube-controller-manager"),
            &folder.join("manager.log"),
            &[
                format!("--kubeconfig={}", folder.join("kubeconfig").display()),
                format!("--service-account-private-key-file={}", folder.join("server.key").display()),
                format!("--root-ca-file={}", folder.join("ca.pem").display()),
                "--controllers=deployment,replicaset,garbagecollector,namespace,serviceaccount,serviceaccount-token,disruption,horizontalpodautoscaling,endpoint".to_owned(),
                "--leader-elect=false".to_owned(),
                "--secure-port=0".to_owned(),
                "--port=0".to_owned(),
            ],
        );
        plane.processes.push(manager);
        plane
    }

    pub(crate) fn hand(&self) -> Hand {
        Hand::new(&self.url, Some(&self.authority), ADMIN)
    }

    async fn ready(&mut self) {
        let hand = self.hand();
        let deadline = Instant::now() + Duration::from_secs(120);
        while !hand.is_ready().await {
            for process in &mut self.processes {
                let log = || fs::read_to_string(self._folder.path().join("api.log")).unwrap_or_default();
                assert!(process.try_wait().unwrap().is_none(), "a part of the control plane ended: {}", log());
            }
            assert!(Instant::now() < deadline, "the control plane does not get ready");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}
