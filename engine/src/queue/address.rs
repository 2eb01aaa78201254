//! Where Redis is: one server, the master that sentinels name, or the node of a cluster that holds our keys. Read once, at the start, so that
//! whatever is wrong is refused there.

use std::{
    fmt,
    sync::{Arc, atomic::AtomicUsize},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use redis::{Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, TlsCertificates};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

use super::QueueError;

/// The port of a sentinel whose URL names none.
const SENTINEL_PORT: u16 = 26_379;
/// The port of a server whose URL names none.
const PORT: u16 = 6_379;

/// Certificates for `rediss`, as PEM.
#[derive(Clone, Default)]
pub struct RedisTls {
    /// Authorities that are trusted beside those of the system.
    pub ca: Option<Vec<u8>>,
    /// Our own certificate and its key, for servers that ask for one.
    pub client: Option<(Vec<u8>, Vec<u8>)>,
}

/// Where Redis is, and how to get in. Cheap to clone; shows nothing of it, since it holds passwords.
#[derive(Clone)]
pub struct Redis {
    pub(super) shape: Arc<Shape>,
    /// Whom to ask first, the next time: one that answers nonsense must not be asked first for ever.
    pub(super) turn: Arc<AtomicUsize>,
}

pub(super) enum Shape {
    One(ConnectionInfo),
    /// `server` holds everything about the master but where it is.
    Sentinel {
        sentinels: Vec<ConnectionInfo>,
        master: String,
        server: ConnectionInfo,
    },
    Cluster(Vec<ConnectionInfo>),
}

impl Redis {
    /// Reads a URL: `redis://`, `rediss://`, `redis+sentinel://H1:26379,H2:26379/MASTER/DB`, `redis+cluster://H1:7000,H2:7001`, the latter two
    /// with `rediss`, too. Asks nobody.
    ///
    /// # Errors
    /// What is wrong with it, without the URL itself.
    pub fn new(url: &str, tls: &RedisTls) -> Result<Self, QueueError> {
        let mut shape = Shape::read(url).map_err(QueueError::Url)?;
        shape.trust(tls)?;
        Ok(Self { shape: Arc::new(shape), turn: Arc::default() })
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redis(…)")
    }
}

impl fmt::Debug for RedisTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedisTls(…)")
    }
}

type Read<T> = Result<T, &'static str>;

impl Shape {
    fn read(url: &str) -> Read<Self> {
        if url.contains('#') {
            return Err(
                "nothing may follow a `#`: certificates are always checked, and in a password it is written %23",
            );
        }
        let (scheme, rest) = url.split_once("://").ok_or("it has no scheme")?;
        match scheme {
            "redis+sentinel" => Self::sentinel("redis", rest),
            "rediss+sentinel" => Self::sentinel("rediss", rest),
            "redis+cluster" => Self::cluster("redis", rest),
            "rediss+cluster" => Self::cluster("rediss", rest),
            _ => Ok(Self::One(url.into_connection_info().map_err(|_| "it cannot be read")?)),
        }
    }

    fn sentinel(scheme: &str, rest: &str) -> Read<Self> {
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (user, hosts, path) = parts(rest)?;
        let (master, db) = path.split_once('/').unwrap_or((path, ""));
        if master.is_empty() || !master.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) {
            return Err(
                "the name of the master follows the sentinels, in letters, digits, dots, dashes and underscores",
            );
        }
        let (mut own_user, mut own_password) = ("", None);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("sentinel_user", value)) => own_user = value,
                Some(("sentinel_password", value)) => own_password = Some(value),
                _ => return Err("only sentinel_user and sentinel_password may follow the `?`"),
            }
        }
        let own = own_password.map(|password| format!("{own_user}:{password}@")).unwrap_or_default();
        let sentinels = hosts.iter().map(|host| at(scheme, &own, host, SENTINEL_PORT, ""));
        Ok(Self::Sentinel {
            sentinels: sentinels.collect::<Read<_>>()?,
            master: master.to_owned(),
            server: at(scheme, user, "localhost", PORT, db)?,
        })
    }

    fn cluster(scheme: &str, rest: &str) -> Read<Self> {
        let (user, hosts, path) = parts(rest)?;
        if !matches!(path, "" | "0") {
            return Err("a cluster has no other database than 0");
        }
        Ok(Self::Cluster(hosts.iter().map(|host| at(scheme, user, host, PORT, "")).collect::<Read<_>>()?))
    }

    fn all(&mut self) -> Vec<&mut ConnectionInfo> {
        match self {
            Self::One(server) => vec![server],
            Self::Sentinel { sentinels, server, .. } => sentinels.iter_mut().chain([server]).collect(),
            Self::Cluster(seeds) => seeds.iter_mut().collect(),
        }
    }

    /// Puts the certificates to every address.
    fn trust(&mut self, tls: &RedisTls) -> Result<(), QueueError> {
        if tls.ca.is_none() && tls.client.is_none() {
            return Ok(());
        }
        let certificates = TlsCertificates {
            client_tls: tls.client.clone().map(|(client_cert, client_key)| ClientTlsConfig { client_cert, client_key }),
            root_cert: tls.ca.as_deref().map(beside_the_systems).transpose()?,
        };
        for info in self.all() {
            if !matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
                return Err(QueueError::NoTls);
            }
            // The authorities were read before this: what is left is ours.
            let client = Client::build_with_tls(info.clone(), certificates.clone())
                .map_err(|_| QueueError::ClientCertificate)?;
            *info = client.get_connection_info().clone();
        }
        Ok(())
    }
}

/// User with `@`, hosts, and what follows the `/`.
fn parts(rest: &str) -> Read<(&str, Vec<&str>, &str)> {
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let split = authority.rfind('@').map_or(0, |at| at + 1);
    let (user, hosts) = authority.split_at(split);
    Ok((user, hosts.split(',').collect(), path))
}

fn at(scheme: &str, user: &str, host: &str, port: u16, db: &str) -> Read<ConnectionInfo> {
    // An IPv6 address stands in brackets.
    let named = host.rsplit(']').next().is_some_and(|rest| rest.contains(':'));
    let port = if named { String::new() } else { format!(":{port}") };
    let read = format!("{scheme}://{user}{host}{port}/{db}");
    read.into_connection_info().map_err(|_| "a host, the user or the database cannot be read")
}

/// The system's authorities and these, as PEM: the driver takes either its own or ours.
fn beside_the_systems(ca: &[u8]) -> Result<Vec<u8>, QueueError> {
    let ours: Vec<CertificateDer<'_>> =
        CertificateDer::pem_slice_iter(ca).collect::<Result<_, _>>().map_err(|_| QueueError::Ca)?;
    let sound = |certificate: &CertificateDer<'_>| RootCertStore::empty().add(certificate.clone()).is_ok();
    if ours.is_empty() || !ours.iter().all(sound) {
        return Err(QueueError::Ca);
    }
    // Without a store of its own, or with parts that cannot be read, the system trusts nobody by that.
    let systems = rustls_native_certs::load_native_certs().certs;
    let mut pem = String::new();
    for certificate in systems.iter().filter(|certificate| sound(certificate)).chain(&ours) {
        pem.push_str("-----BEGIN CERTIFICATE-----\n");
        pem.push_str(&BASE64_STANDARD.encode(certificate));
        pem.push_str("\n-----END CERTIFICATE-----\n");
    }
    Ok(pem.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(url: &str) -> Vec<String> {
        let mut shape = Shape::read(url).unwrap();
        shape.all().iter().map(|info| info.addr().to_string()).collect()
    }

    #[test]
    fn each_shape_is_read() {
        assert_eq!(addresses("redis://h"), ["h:6379"]);
        assert_eq!(addresses("redis+sentinel://a,b:1,[::1]/main/3"), ["a:26379", "b:1", "::1:26379", "localhost:6379"]);
        assert_eq!(addresses("rediss+cluster://:p%2Fw@a:7000,b/"), ["a:7000", "b:6379"]);
        let read = Shape::read("rediss+sentinel://u:p%40w@a,b/main/3?sentinel_password=s").unwrap();
        let Shape::Sentinel { sentinels, master, server } = read else { panic!() };
        assert_eq!((master.as_str(), sentinels.len(), server.redis_settings().db()), ("main", 2, 3));
        assert_eq!((server.redis_settings().username(), server.redis_settings().password()), (Some("u"), Some("p@w")));
        assert_eq!(sentinels[0].redis_settings().password(), Some("s"));
        assert!(matches!(server.addr(), ConnectionAddr::TcpTls { insecure: false, .. }));
    }

    #[test]
    fn what_is_wrong_is_refused_without_its_password() {
        for wrong in [
            "secret",
            "http://h:secret@h",
            "redis://:secret@h/x",
            "redis://a:1,b:2",
            "rediss://:secret@h/#insecure",
            "redis+sentinel://:secret@a,b",
            "redis+sentinel://a/main/x",
            "redis+sentinel://a,/main",
            "redis+sentinel:///main",
            "redis+sentinel://a/main?secret=1",
            "redis+sentinel://a:port/main",
            "redis+cluster://:secret@a/1",
            "redis+cluster://",
            "redis+cluster://a:70000",
            "redis+sentinel://a/m n",
        ] {
            let refused = Redis::new(wrong, &RedisTls::default()).unwrap_err().to_string();
            assert!(
                refused.starts_with("queue.redis_url") && refused.contains("redis+cluster://"),
                "{wrong}: {refused}"
            );
            assert!(!refused.contains("secret"), "{refused}");
        }
        let tls = |ca: &str| RedisTls { ca: Some(ca.into()), client: None };
        let refused = |url: &str, tls: &RedisTls| Redis::new(url, tls).unwrap_err().to_string();
        assert!(refused("rediss://h", &tls("")).starts_with("queue.ca_file"));
        assert!(
            refused("rediss://h", &tls("-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"))
                .starts_with("queue.ca_file")
        );
        let client = RedisTls { ca: None, client: Some((b"x".to_vec(), b"y".to_vec())) };
        assert!(refused("rediss://h", &client).starts_with("queue.client_certificate_file"));
        assert!(refused("redis://h", &client).contains("rediss"));
    }
}
