//! Certificates: checked, unless the infrastructure accepts any.

use std::sync::Arc;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, pki_types::PrivateKeyDer},
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
