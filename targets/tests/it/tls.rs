//! Certificates: checked, unless the infrastructure accepts any.

use std::sync::Arc;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{RootCertStore, ServerConfig, pki_types::PrivateKeyDer, server::WebPkiClientVerifier},
};

use crate::support::{Step, world};

/// Answers every request over TLS with a certificate of its own making and JSON of a strange shape.
async fn self_signed() -> String {
    targets::http::install_crypto_provider();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config =
        ServerConfig::builder().with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A client that does not trust us goes away here.
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut request = vec![0; 4_096];
            if stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                let answer = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 3\r\n\r\n[1]";
                stream.write_all(answer.as_bytes()).await.unwrap();
                stream.shutdown().await.unwrap();
            }
        }
    });
    url
}

/// A TLS server before an address without TLS; it lets in whom its own authority signed.
pub(crate) struct Gate {
    pub(crate) url: String,
    /// The authority, PEM.
    pub(crate) authority: String,
    /// The certificate and the key of a client that is let in, PEM.
    pub(crate) client: [String; 2],
}

impl Gate {
    pub(crate) async fn before(address: &str) -> Self {
        targets::http::install_crypto_provider();
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        // An authority of the same name as what it signs would seem to sign itself.
        authority.distinguished_name.push(DnType::CommonName, "an authority");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let sign = |name: &str| {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
            (params.signed_by(&key, &authority).unwrap(), key.serialize_der())
        };
        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone()).unwrap();
        let lets_in = WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
        let (certificate, key) = sign("localhost");
        let config = ServerConfig::builder()
            .with_client_cert_verifier(lets_in)
            .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::try_from(key).unwrap())
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let behind = address.trim_start_matches("http://").to_owned();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, behind) = (acceptor.clone(), behind.clone());
                tokio::spawn(async move {
                    // Who is not let in, or does not trust us, goes away here.
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let mut behind = TcpStream::connect(behind).await.unwrap();
                    // Either side may go first.
                    let _ = copy_bidirectional(&mut stream, &mut behind).await;
                });
            }
        });
        let (certificate, key) = sign("client");
        let client = [pem("CERTIFICATE", certificate.der()), pem("PRIVATE KEY", &key)];
        Self { url, authority: pem("CERTIFICATE", authority.der()), client }
    }
}

fn pem(what: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {what}-----\n{}\n-----END {what}-----\n", lines.join("\n"))
}

#[tokio::test]
async fn a_certificate_that_nobody_signed() {
    let mut world = world().await;
    world.spec.infrastructure.node.url = self_signed().await;
    let failure = world.failure(Step::Validate).await;
    assert_eq!(failure.code.as_str(), "NODE_TLS_FAILED", "{failure:?}");
    world.spec.infrastructure.node.trust_all_certificates = true;
    let failure = world.failure(Step::Validate).await;
    assert_eq!(failure.code.as_str(), "NODE_ANSWER_UNEXPECTED", "{failure:?}");
}
