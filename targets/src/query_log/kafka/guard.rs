//! Where Kafka's client is let through. It connects to whatever brokers name, and takes no resolver and no hook of ours, but a SOCKS5 proxy (RFC 1928): this is
//! one, on the loopback interface, for this process's user alone. It looks names up, and connects to none of the forbidden addresses. TLS goes through unread.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::MetadataExt as _,
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream, lookup_host},
    sync::{Notify, Semaphore},
    task::JoinHandle,
    time::timeout,
};

use crate::http::BlockList;

/// A connection must stand within this.
const CONNECT: Duration = Duration::from_secs(10);
/// The most connections at once: more than a cluster has brokers that matter to one topic.
const MOST: usize = 64;

const VERSION: u8 = 5;
const NO_LOGIN: u8 = 0;
const CONNECT_COMMAND: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// What is answered.
#[derive(Clone, Copy)]
enum Reply {
    Connected = 0,
    Forbidden = 2,
    Unreachable = 4,
    Unsupported = 7,
}

/// A running guard; it ends when it is dropped, with all connections.
pub(super) struct Guard {
    address: SocketAddr,
    forbade: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Guard {
    pub(super) async fn start(blocked: Arc<BlockList>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (address, forbade) = (listener.local_addr()?, Arc::new(Notify::new()));
        let task = tokio::spawn(serve(listener, address, blocked, Arc::clone(&forbade)));
        Ok(Self { address, forbade, task })
    }

    pub(super) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Returns when a connection was forbidden.
    pub(super) async fn forbade(&self) {
        self.forbade.notified().await;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, address: SocketAddr, blocked: Arc<BlockList>, forbade: Arc<Notify>) {
    let places = Arc::new(Semaphore::new(MOST));
    // With this task all of them end.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok((client, from)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        if !is_ours(from, address) {
            tracing::warn!(from = %from, "another user of this machine asked for a connection to Kafka, and got none");
            continue;
        }
        let (blocked, forbade) = (Arc::clone(&blocked), Arc::clone(&forbade));
        connections.spawn(async move {
            if let Err(error) = pass(client, &blocked, &forbade).await {
                tracing::debug!(error = %error, "a connection to Kafka ended");
            }
            drop(place);
        });
    }
}

/// Whether the other end of a connection from the loopback interface belongs to this process's user, as the kernel lists it.
fn is_ours(from: SocketAddr, to: SocketAddr) -> bool {
    let hex = |address: SocketAddr| match address {
        SocketAddr::V4(v4) => format!("{:08X}:{:04X}", u32::from_ne_bytes(v4.ip().octets()), v4.port()),
        SocketAddr::V6(_) => String::new(),
    };
    let (from, to) = (hex(from), hex(to));
    let user = std::fs::metadata("/proc/self").map(|own| own.uid().to_string());
    let (Ok(user), Ok(table)) = (user, std::fs::read_to_string("/proc/self/net/tcp")) else { return false };
    // sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid …
    table.lines().skip(1).any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        fields.next() == Some(&from) && fields.next() == Some(&to) && fields.nth(4) == Some(&user)
    })
}

async fn pass(mut client: TcpStream, blocked: &BlockList, forbade: &Notify) -> io::Result<()> {
    let late = || io::Error::from(io::ErrorKind::TimedOut);
    let asked = timeout(CONNECT, asked(&mut client)).await.map_err(|_| late())??;
    let Some((host, port)) = asked else { return reply(&mut client, Reply::Unsupported).await };
    let found: Vec<SocketAddr> = match timeout(CONNECT, lookup_host((host.as_str(), port))).await {
        Ok(Ok(found)) => found.collect(),
        Ok(Err(_)) | Err(_) => return reply(&mut client, Reply::Unreachable).await,
    };
    let any = !found.is_empty();
    let good: Vec<SocketAddr> = found.into_iter().filter(|address| !blocked.forbids(address.ip())).collect();
    if any && good.is_empty() {
        forbade.notify_one();
        return reply(&mut client, Reply::Forbidden).await;
    }
    // To the addresses that were looked at, not to the name again.
    let Ok(Ok(mut broker)) = timeout(CONNECT, TcpStream::connect(good.as_slice())).await else {
        return reply(&mut client, Reply::Unreachable).await;
    };
    reply(&mut client, Reply::Connected).await?;
    copy_bidirectional(&mut client, &mut broker).await.map(drop)
}

/// Where the client wants to go; None for what it may not ask.
async fn asked(client: &mut TcpStream) -> io::Result<Option<(String, u16)>> {
    let broken = || io::Error::from(io::ErrorKind::InvalidData);
    let [version, methods] = read(client).await?;
    if version != VERSION {
        return Err(broken());
    }
    let mut offered = vec![0; usize::from(methods)];
    client.read_exact(&mut offered).await?;
    if !offered.contains(&NO_LOGIN) {
        return Err(broken());
    }
    client.write_all(&[VERSION, NO_LOGIN]).await?;
    let [version, command, _, kind] = read(client).await?;
    if version != VERSION {
        return Err(broken());
    }
    let host = match kind {
        IPV4 => std::net::IpAddr::from(read::<4>(client).await?).to_string(),
        IPV6 => std::net::IpAddr::from(read::<16>(client).await?).to_string(),
        NAME => {
            let [length] = read(client).await?;
            let mut name = vec![0; usize::from(length)];
            client.read_exact(&mut name).await?;
            String::from_utf8(name).map_err(|_| broken())?
        }
        _ => return Ok(None),
    };
    let port = u16::from_be_bytes(read(client).await?);
    Ok((command == CONNECT_COMMAND).then_some((host, port)))
}

async fn read<const N: usize>(client: &mut TcpStream) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    client.read_exact(&mut bytes).await?;
    Ok(bytes)
}

async fn reply(client: &mut TcpStream, reply: Reply) -> io::Result<()> {
    client.write_all(&[VERSION, reply as u8, 0, IPV4, 0, 0, 0, 0, 0, 0]).await
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks the guard for a connection: what it replied, and the connection.
    async fn ask(guard: &Guard, host: &str, port: u16) -> (u8, TcpStream) {
        let mut stream = TcpStream::connect(guard.address()).await.unwrap();
        stream.write_all(&[VERSION, 1, NO_LOGIN]).await.unwrap();
        assert_eq!(read(&mut stream).await.unwrap(), [VERSION, NO_LOGIN]);
        let mut request = vec![VERSION, CONNECT_COMMAND, 0, NAME, u8::try_from(host.len()).unwrap()];
        request.extend_from_slice(host.as_bytes());
        request.extend_from_slice(&port.to_be_bytes());
        stream.write_all(&request).await.unwrap();
        let [_, said, ..]: [u8; 10] = read(&mut stream).await.unwrap();
        (said, stream)
    }

    #[tokio::test]
    async fn names_and_addresses_are_checked_where_they_are_connected_to() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let open = Guard::start(Arc::new(BlockList::default())).await.unwrap();
        let (said, mut stream) = ask(&open, "localhost", port).await;
        assert_eq!(said, Reply::Connected as u8);
        let (mut other, _) = listener.accept().await.unwrap();
        stream.write_all(b"ping").await.unwrap();
        assert_eq!(&read::<4>(&mut other).await.unwrap(), b"ping");

        for host in ["169.254.169.254", "::ffff:169.254.169.254", "0.0.0.0"] {
            assert_eq!(ask(&open, host, 80).await.0, Reply::Forbidden as u8, "{host}");
            open.forbade().await;
        }
        let closed = Guard::start(Arc::new(BlockList::parse(["127.0.0.0/8", "::1"]).unwrap())).await.unwrap();
        assert_eq!(ask(&closed, "localhost", port).await.0, Reply::Forbidden as u8);
        closed.forbade().await;
        assert_eq!(ask(&open, "no.such.host.invalid", 80).await.0, Reply::Unreachable as u8);
    }

    #[tokio::test]
    async fn only_this_user_is_let_through() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let to = listener.local_addr().unwrap();
        let client = TcpStream::connect(to).await.unwrap();
        let from = client.local_addr().unwrap();
        assert!(is_ours(from, to));
        drop(client);
        // What the kernel does not list is nobody's.
        assert!(!is_ours((Ipv4Addr::LOCALHOST, 0).into(), to));
    }
}
