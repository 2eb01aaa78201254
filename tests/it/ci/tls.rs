//! TLS before an API, as a reverse proxy ends it.

use std::{io::BufReader, sync::Arc};

use tests::{client, kin::Certificates};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    },
};

/// An address that speaks TLS with the certificate for 127.0.0.1, and passes on to this port.
pub(crate) async fn before(port: u16, certificates: &Certificates) -> String {
    // It brings the provider of TLS.
    client::http();
    let read = |name: &str| BufReader::new(std::io::Cursor::new(certificates.read(name)));
    let chain = CertificateDer::pem_reader_iter(read("127.0.0.1.pem")).collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_reader(read("127.0.0.1.key")).unwrap();
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // Who does not trust us breaks off.
                let Ok(mut client) = acceptor.accept(stream).await else { return };
                let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
                let _ = copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    url
}
