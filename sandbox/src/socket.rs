//! Connections that a fault can tear down: below HTTP, so that a client sees a reset and no answer.

use futures_util::task::AtomicWaker;
use poem::http::uri::Scheme;
use poem::listener::Acceptor;
use poem::web::{LocalAddr, RemoteAddr};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

/// The handle by which a connection is torn down.
#[derive(Default)]
pub(crate) struct Plug {
    pulled: AtomicBool,
    reader: AtomicWaker,
}

impl Plug {
    /// Resets the connection: what was not yet sent is lost.
    pub(crate) fn pull(&self) {
        self.pulled.store(true, Ordering::SeqCst);
        self.reader.wake();
    }

    fn check(&self) -> io::Result<()> {
        if self.pulled.load(Ordering::SeqCst) {
            return Err(io::Error::new(io::ErrorKind::ConnectionReset, "torn down"));
        }
        Ok(())
    }
}

/// The plugs of all open connections, by the address of the peer.
#[derive(Default)]
pub(crate) struct Plugs(Mutex<HashMap<SocketAddr, Arc<Plug>>>);

impl Plugs {
    fn lock(&self) -> MutexGuard<'_, HashMap<SocketAddr, Arc<Plug>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn of(&self, peer: &RemoteAddr) -> Arc<Plug> {
        peer.0.as_socket_addr().and_then(|peer| self.lock().get(peer).cloned()).unwrap_or_default()
    }

    pub(crate) fn pull_all(&self) {
        for plug in self.lock().values() {
            plug.pull();
        }
    }
}

/// Accepts TCP connections and keeps their plugs.
pub(crate) struct PlugAcceptor {
    pub(crate) listener: TcpListener,
    pub(crate) plugs: Arc<Plugs>,
}

impl Acceptor for PlugAcceptor {
    type Io = PlugStream;

    fn local_addr(&self) -> Vec<LocalAddr> {
        self.listener.local_addr().map(|addr| LocalAddr(addr.into())).into_iter().collect()
    }

    async fn accept(&mut self) -> io::Result<(PlugStream, LocalAddr, RemoteAddr, Scheme)> {
        let (stream, peer) = self.listener.accept().await?;
        // Small answers should leave at once.
        stream.set_nodelay(true)?;
        let local = stream.local_addr()?;
        let plug = Arc::new(Plug::default());
        self.plugs.lock().insert(peer, Arc::clone(&plug));
        let stream = PlugStream { stream, peer, plug, plugs: Arc::clone(&self.plugs) };
        Ok((stream, LocalAddr(local.into()), RemoteAddr(peer.into()), Scheme::HTTP))
    }
}

/// A TCP connection with a plug.
pub(crate) struct PlugStream {
    stream: TcpStream,
    peer: SocketAddr,
    plug: Arc<Plug>,
    plugs: Arc<Plugs>,
}

impl Drop for PlugStream {
    fn drop(&mut self) {
        if self.plug.pulled.load(Ordering::SeqCst)
            && let Err(error) = self.stream.set_zero_linger()
        {
            // Without it the peer sees an orderly end instead of a reset: still no answer.
            tracing::debug!(%error, "a practice connection could not be reset");
        }
        let mut plugs = self.plugs.lock();
        if plugs.get(&self.peer).is_some_and(|known| Arc::ptr_eq(known, &self.plug)) {
            plugs.remove(&self.peer);
        }
    }
}

impl AsyncRead for PlugStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.plug.reader.register(cx.waker());
        self.plug.check()?;
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for PlugStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.plug.check()?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.plug.check()?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.plug.check()?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
